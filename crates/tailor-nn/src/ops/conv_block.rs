//! Convolution, bias, activation and pooling as one operation.

use std::sync::Arc;

use burn::tensor::Tensor;
use tailor_kernels::activation::Activation;
use tailor_kernels::bf16::Precision;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::conv::{ConvBlock, ConvGradient, Convolution, Padding, Saved};
use tailor_kernels::pool::Pool;

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply, first};

/// What a block does, beside the shapes that its tensors tell.
#[derive(Clone, Copy, Debug)]
pub struct BlockSpec {
    /// In rows and columns.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: Padding,
    /// Groups of channels, each with filters of its own.
    pub groups: usize,
    /// Of the convolution's result.
    pub activation: Activation,
    /// Of the activations.
    pub pool: Option<Pool>,
    /// How the convolution's operands are rounded.
    pub precision: Precision,
}

impl BlockSpec {
    /// For images `[N, H, W, C]` and weights `[C_out, K, K, C / groups]`.
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
                groups: self.groups,
            },
            activation: self.activation,
            pool: self.pool,
            precision: self.precision,
        }
    }
}

/// From `[N, H, W, C]`, weights `[C_out, K, K, C / groups]` and bias `[C_out]` to `[N, H', W', C_out]`.
pub fn conv_block(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, spec: BlockSpec) -> Tensor<4> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    match bias {
        Some(bias) => apply([x, weight, bias.into_dispatch()], spec),
        None => apply([x, weight], spec),
    }
}

/// Image, weights and, with `N` = 3, the bias.
impl<const N: usize> Kernel<N> for BlockSpec {
    type Saved = Arc<Saved>;

    fn forward(&self, inputs: &[FlexTensor; N]) -> (FlexTensor, Arc<Saved>) {
        let [x, weight] = [&inputs[0], &inputs[1]];
        let block = self.block(extents(x), extents(weight));
        let mut y = AlignedBuffer::new(block.output_shape().iter().product());
        let saved = block.forward(values(x), values(weight), inputs.get(2).map(values), &mut y);
        (tensor(y, block.output_shape()), Arc::new(saved))
    }

    fn infer(&self, inputs: &[FlexTensor; N]) -> FlexTensor {
        let [x, weight] = [&inputs[0], &inputs[1]];
        let block = self.block(extents(x), extents(weight));
        let mut y = AlignedBuffer::new(block.output_shape().iter().product());
        let filter = block.pack(values(weight), inputs.get(2).map(values), None);
        block.infer(&filter, values(x), &mut y);
        tensor(y, block.output_shape())
    }

    fn backward(&self, call: Call<N, Arc<Saved>>) -> [Option<AlignedBuffer>; N] {
        let block = self.block(extents(&call.inputs[0]), extents(&call.inputs[1]));
        let mut dx = call.wanted[0].then(|| call.gradient_of(0));
        // Where the layer is frozen, neither is wanted.
        let mut dw = call.wanted[1].then(|| call.gradient_of(1));
        let mut db = (N == 3 && call.wanted[2]).then(|| call.gradient_of(2));
        block.backward(ConvGradient {
            x: call.input(0),
            weights: call.input(1),
            y: values(call.output),
            saved: call.saved,
            dy: call.gradient,
            dx: dx.as_deref_mut(),
            dw: dw.as_deref_mut(),
            db: db.as_deref_mut(),
        });
        first([dx, dw, db])
    }
}
