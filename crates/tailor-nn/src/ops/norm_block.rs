//! Convolution, bias, activation, batch norm in training, and pooling as one operation.

use std::sync::Arc;

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::conv::{ConvBlock, NormBlock, NormBlockGradient, NormSaved};
use tailor_kernels::norm::BatchNorm;

use super::buffer::{FlexTensor, extents, register, tensor, values};
use super::{BatchStatistics, BlockSpec};

/// A batch norm's weight and bias, `[C]`, what is added to the variance, and where the batch's statistics are left.
pub struct NormOperands {
    pub weight: Tensor<1>,
    pub bias: Tensor<1>,
    pub epsilon: f32,
    pub statistics: BatchStatistics,
}

/// From `[N, H, W, C]`, weights `[C_out, K, K, C]` and bias `[C_out]` to `[N, H', W', C_out]`, normalized after the
/// activation and before the pool, which is none or a 2×2 maximum.
pub fn norm_block(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    spec: BlockSpec,
    norm: NormOperands,
) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::norm_block(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        norm.weight.into_dispatch(),
        norm.bias.into_dispatch(),
        spec,
        norm.epsilon,
        norm.statistics,
    ))
}

#[backend_extension(Flex, Autodiff)]
trait NormBlockOp: Backend {
    #[allow(
        clippy::too_many_arguments,
        reason = "Burn dispatches on tensors that are arguments of their own"
    )]
    fn norm_block(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        spec: BlockSpec,
        epsilon: f32,
        statistics: BatchStatistics,
    ) -> FloatTensor<Self>;
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct State {
    x: FlexTensor,
    weight: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    epsilon: f32,
    block: ConvBlock,
    saved: Arc<NormSaved>,
}

impl State {
    fn norm_block(&self) -> NormBlock<'_> {
        let norm = BatchNorm { gamma: values(&self.gamma), beta: values(&self.beta), epsilon: self.epsilon };
        NormBlock { block: self.block, norm }
    }
}

fn forward(
    [x, weight, bias, gamma, beta]: [FlexTensor; 5],
    spec: BlockSpec,
    epsilon: f32,
    statistics: &BatchStatistics,
) -> (FlexTensor, State) {
    let [x, weight, bias, gamma, beta] = [x, weight, bias, gamma, beta].map(|tensor| tensor.to_contiguous());
    let block = spec.block(extents(&x), extents(&weight));
    let norm = BatchNorm { gamma: values(&gamma), beta: values(&beta), epsilon };
    let mut y = AlignedBuffer::new(block.output_shape().iter().product());
    let saved = NormBlock { block, norm }.forward(values(&x), values(&weight), Some(values(&bias)), &mut y);
    statistics.leave(Arc::new(saved.statistics.clone()));
    (
        tensor(y, block.output_shape()),
        State { x, weight, gamma, beta, epsilon, block, saved: Arc::new(saved) },
    )
}

impl NormBlockOp for Flex {
    fn norm_block(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        spec: BlockSpec,
        epsilon: f32,
        statistics: BatchStatistics,
    ) -> FlexTensor {
        forward([x, weight, bias, gamma, beta], spec, epsilon, &statistics).0
    }
}

impl<C: CheckpointStrategy> NormBlockOp for Autodiff<Flex, C> {
    fn norm_block(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        spec: BlockSpec,
        epsilon: f32,
        statistics: BatchStatistics,
    ) -> FloatTensor<Self> {
        let parts = [x, weight, bias, gamma, beta].map(|tensor| tensor.into_parts());
        let (tensors, nodes): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let (tensors, nodes) = (tensors.try_into(), nodes.try_into());
        let (Ok(tensors), Ok(nodes)) = (tensors, nodes) else { unreachable!("five tensors stay five") };
        let (y, state) = forward(tensors, spec, epsilon, &statistics);
        match NormBlockBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(untracked) => untracked.finish(y),
            OpsKind::Tracked(tracked) => tracked.finish(state, y),
        }
    }
}

#[derive(Debug)]
struct NormBlockBackward;

impl Backward<Flex, 5> for NormBlockBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 5>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [of_x, of_weight, of_bias, of_gamma, of_beta] =
            ops.parents.map(|parent| parent.map(|node| node.id));
        let state = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let channels = state.block.convolution.out_channels;
        let mut dx = of_x.is_some().then(|| AlignedBuffer::new(values(&state.x).len()));
        let mut dw = AlignedBuffer::new(values(&state.weight).len());
        let [mut db, mut dgamma, mut dbeta] = [(); 3].map(|()| AlignedBuffer::new(channels));
        state.norm_block().backward(NormBlockGradient {
            x: values(&state.x),
            weights: values(&state.weight),
            saved: &state.saved,
            dy: values(&dy),
            dx: dx.as_deref_mut(),
            dw: &mut dw,
            db: &mut db,
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        });
        if let Some(dx) = dx {
            register(gradients, of_x, dx, extents::<4>(&state.x));
        }
        register(gradients, of_weight, dw, extents::<4>(&state.weight));
        for (node, gradient) in [(of_bias, db), (of_gamma, dgamma), (of_beta, dbeta)] {
            register(gradients, node, gradient, [channels]);
        }
    }
}
