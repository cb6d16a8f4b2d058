//! Pooling on its own, where no convolution takes it in.

use std::sync::Arc;

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::pool::Pool;

use super::buffer::{FlexTensor, extents, register, tensor, values};

/// From `[N, H, W, C]` to `[N, H', W', C]`.
pub fn pool(x: Tensor<4>, pool: Pool) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::pooled(x.into_dispatch(), pool))
}

#[backend_extension(Flex, Autodiff)]
trait PooledOp: Backend {
    fn pooled(x: FloatTensor<Self>, pool: Pool) -> FloatTensor<Self>;
}

fn forward(x: &FlexTensor, pool: Pool) -> (FlexTensor, AlignedBuffer<u8>) {
    let shape = extents(x);
    let mut y = AlignedBuffer::new(pool.output_shape(shape).iter().product());
    let index = pool.forward(shape, values(x), &mut y);
    (tensor(y, pool.output_shape(shape)), index)
}

impl PooledOp for Flex {
    fn pooled(x: FlexTensor, pool: Pool) -> FlexTensor {
        forward(&x.to_contiguous(), pool).0
    }
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct State {
    shape: [usize; 4],
    pool: Pool,
    index: Arc<AlignedBuffer<u8>>,
}

impl<C: CheckpointStrategy> PooledOp for Autodiff<Flex, C> {
    fn pooled(x: FloatTensor<Self>, pool: Pool) -> FloatTensor<Self> {
        let (x, of_x) = x.into_parts();
        let x = x.to_contiguous();
        let (y, index) = forward(&x, pool);
        match PooledBackward.prepare::<C>([of_x]).compute_bound().stateful() {
            OpsKind::UnTracked(untracked) => untracked.finish(y),
            OpsKind::Tracked(tracked) => {
                tracked.finish(State { shape: extents(&x), pool, index: Arc::new(index) }, y)
            }
        }
    }
}

#[derive(Debug)]
struct PooledBackward;

impl Backward<Flex, 1> for PooledBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [of_x] = ops.parents;
        let State { shape, pool, index } = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node).to_contiguous();
        if let Some(node) = of_x {
            let mut dx = AlignedBuffer::new(shape.iter().product());
            pool.backward(shape, &index, values(&dy), &mut dx);
            register(gradients, Some(node.id), dx, shape);
        }
    }
}
