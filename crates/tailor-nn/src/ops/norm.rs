//! Batch normalization in training as one operation.

use std::sync::{Arc, Mutex};

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::{Device, Tensor, TensorData};
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::norm::{BatchNorm, NormGradient, Statistics};

use super::buffer::{FlexTensor, extents, register, tensor, values};

/// Where the forward pass leaves the batch's statistics, which are no part of the graph.
#[derive(Clone, Debug, Default)]
pub struct BatchStatistics(Arc<Mutex<Option<Arc<Statistics>>>>);

impl BatchStatistics {
    /// Mean and biased variance `[C]` of the batch that went through the operation.
    ///
    /// # Panics
    /// Before it did.
    pub fn tensors(&self, device: &Device) -> [Tensor<1>; 2] {
        let statistics =
            self.0.lock().expect("no holder panics").clone().expect("the forward pass leaves them");
        [&statistics.mean, &statistics.variance]
            .map(|values| Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device))
    }

    pub(super) fn leave(&self, statistics: Arc<Statistics>) {
        *self.0.lock().expect("no holder panics") = Some(statistics);
    }
}

/// Normalizes `[M, C]` by the batch's own statistics, with weight and bias `[C]`.
pub fn batch_norm(
    x: Tensor<2>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
    statistics: BatchStatistics,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::train_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        epsilon,
        statistics,
    ))
}

#[backend_extension(Flex, Autodiff)]
trait TrainNormOp: Backend {
    fn train_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
        statistics: BatchStatistics,
    ) -> FloatTensor<Self>;
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct State {
    x: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    epsilon: f32,
    statistics: Arc<Statistics>,
}

impl State {
    fn norm(&self) -> BatchNorm<'_> {
        BatchNorm { gamma: values(&self.weight), beta: values(&self.bias), epsilon: self.epsilon }
    }
}

fn forward(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, epsilon: f32) -> (FlexTensor, State) {
    let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
    let mut y = AlignedBuffer::new(values(&x).len());
    let norm = BatchNorm { gamma: values(&weight), beta: values(&bias), epsilon };
    let statistics = Arc::new(norm.forward(values(&x), &mut y));
    (tensor(y, extents::<2>(&x)), State { x, weight, bias, epsilon, statistics })
}

impl TrainNormOp for Flex {
    fn train_norm(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        epsilon: f32,
        statistics: BatchStatistics,
    ) -> FlexTensor {
        let (y, state) = forward(x, weight, bias, epsilon);
        statistics.leave(Arc::clone(&state.statistics));
        y
    }
}

impl<C: CheckpointStrategy> TrainNormOp for Autodiff<Flex, C> {
    fn train_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f32,
        statistics: BatchStatistics,
    ) -> FloatTensor<Self> {
        let ((x, of_x), (weight, of_weight), (bias, of_bias)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        let (y, state) = forward(x, weight, bias, epsilon);
        statistics.leave(Arc::clone(&state.statistics));
        match TrainNormBackward.prepare::<C>([of_x, of_weight, of_bias]).compute_bound().stateful() {
            OpsKind::UnTracked(untracked) => untracked.finish(y),
            OpsKind::Tracked(tracked) => tracked.finish(state, y),
        }
    }
}

#[derive(Debug)]
struct TrainNormBackward;

impl Backward<Flex, 3> for TrainNormBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [of_x, of_weight, of_bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        let state = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let [rows, channels] = extents(&state.x);
        let mut dx = AlignedBuffer::new(rows * channels);
        let mut dgamma = AlignedBuffer::new(channels);
        let mut dbeta = AlignedBuffer::new(channels);
        state.norm().backward(NormGradient {
            x: values(&state.x),
            statistics: &state.statistics,
            dy: values(&dy),
            dx: &mut dx,
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        });
        register(gradients, of_x, dx, [rows, channels]);
        register(gradients, of_weight, dgamma, [channels]);
        register(gradients, of_bias, dbeta, [channels]);
    }
}
