//! Convolution, bias, activation and pooling as one operation.

use std::sync::Arc;

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use tailor_kernels::activation::Activation;
use tailor_kernels::bf16::Precision;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::conv::{ConvBlock, ConvGradient, Convolution, Padding, Saved};
use tailor_kernels::pool::Pool;

use super::buffer::{FlexTensor, extents, register, tensor, values};

/// What a block does, beside the shapes that its tensors tell.
#[derive(Clone, Copy, Debug)]
pub struct BlockSpec {
    /// In rows and columns.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: Padding,
    /// Of the convolution's result.
    pub activation: Activation,
    /// Of the activations.
    pub pool: Option<Pool>,
}

impl BlockSpec {
    /// For images `[N, H, W, C]` and weights `[C_out, K, K, C]`.
    pub fn block(&self, image: [usize; 4], weight: [usize; 4]) -> ConvBlock {
        let [batch, height, width, in_channels] = image;
        let [out_channels, rows, columns, _] = weight;
        ConvBlock {
            convolution: Convolution {
                batch,
                height,
                width,
                in_channels,
                out_channels,
                kernel: [rows, columns],
                stride: [self.stride; 2],
                padding: self.padding,
                groups: 1,
            },
            activation: self.activation,
            pool: self.pool,
            precision: Precision::default(),
        }
    }
}

/// From `[N, H, W, C]`, weights `[C_out, K, K, C]` and bias `[C_out]` to `[N, H', W', C_out]`.
pub fn conv_block(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, spec: BlockSpec) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::conv_block(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        spec,
    ))
}

#[backend_extension(Flex, Autodiff)]
trait ConvBlockOp: Backend {
    fn conv_block(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        spec: BlockSpec,
    ) -> FloatTensor<Self>;
}

impl ConvBlockOp for Flex {
    fn conv_block(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, spec: BlockSpec) -> FlexTensor {
        let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
        let block = spec.block(extents(&x), extents(&weight));
        let mut y = AlignedBuffer::new(block.output_shape().iter().product());
        let filter = block.pack(values(&weight), Some(values(&bias)), None);
        block.infer(&filter, values(&x), &mut y);
        tensor(y, block.output_shape())
    }
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct State {
    x: FlexTensor,
    weight: FlexTensor,
    y: FlexTensor,
    saved: Arc<Saved>,
    block: ConvBlock,
}

impl<C: CheckpointStrategy> ConvBlockOp for Autodiff<Flex, C> {
    fn conv_block(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        spec: BlockSpec,
    ) -> FloatTensor<Self> {
        let ((x, of_x), (weight, of_weight), (bias, of_bias)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        match ConvBlockBackward.prepare::<C>([of_x, of_weight, of_bias]).compute_bound().stateful() {
            OpsKind::UnTracked(untracked) => untracked.finish(Flex::conv_block(x, weight, bias, spec)),
            OpsKind::Tracked(tracked) => {
                let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
                let block = spec.block(extents(&x), extents(&weight));
                let mut y = AlignedBuffer::new(block.output_shape().iter().product());
                let saved = block.forward(values(&x), values(&weight), Some(values(&bias)), &mut y);
                let y = tensor(y, block.output_shape());
                tracked.finish(State { x, weight, y: y.clone(), saved: Arc::new(saved), block }, y)
            }
        }
    }
}

#[derive(Debug)]
struct ConvBlockBackward;

impl Backward<Flex, 3> for ConvBlockBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [of_x, of_weight, of_bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        let State { x, weight, y, saved, block } = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let mut dx = of_x.is_some().then(|| AlignedBuffer::new(values(&x).len()));
        let mut dw = AlignedBuffer::new(values(&weight).len());
        let mut db = AlignedBuffer::new(block.convolution.out_channels);
        block.backward(ConvGradient {
            x: values(&x),
            weights: values(&weight),
            y: values(&y),
            saved: &saved,
            dy: values(&dy),
            dx: dx.as_deref_mut(),
            dw: &mut dw,
            db: Some(&mut db),
        });
        if let Some(dx) = dx {
            register(gradients, of_x, dx, extents::<4>(&x));
        }
        register(gradients, of_weight, dw, extents::<4>(&weight));
        register(gradients, of_bias, db, [block.convolution.out_channels]);
    }
}
