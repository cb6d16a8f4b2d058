//! Dropout as one operation; the backward pass draws the same mask again.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension, tensor::FloatTensor,
};
use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::dropout::Dropout;

use super::buffer::{FlexTensor, tensor, values};

/// Zeroes and scales values as `mask` says; any shape.
pub fn dropout<const D: usize>(x: Tensor<D>, mask: Dropout) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::masked(x.into_dispatch(), mask))
}

#[backend_extension(Flex, Autodiff)]
trait MaskedOp: Backend {
    fn masked(x: FloatTensor<Self>, mask: Dropout) -> FloatTensor<Self>;
}

impl MaskedOp for Flex {
    fn masked(x: FlexTensor, mask: Dropout) -> FlexTensor {
        let x = x.to_contiguous();
        let mut y = AlignedBuffer::new(values(&x).len());
        mask.forward(values(&x), &mut y);
        tensor(y, x.shape())
    }
}

impl<C: CheckpointStrategy> MaskedOp for Autodiff<Flex, C> {
    fn masked(x: FloatTensor<Self>, mask: Dropout) -> FloatTensor<Self> {
        let (x, of_x) = x.into_parts();
        match MaskedBackward.prepare::<C>([of_x]).compute_bound().stateful() {
            OpsKind::UnTracked(untracked) => untracked.finish(Flex::masked(x, mask)),
            OpsKind::Tracked(tracked) => tracked.finish(mask, Flex::masked(x, mask)),
        }
    }
}

#[derive(Debug)]
struct MaskedBackward;

impl Backward<Flex, 1> for MaskedBackward {
    type State = Dropout;

    fn backward(self, ops: Ops<Dropout, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [of_x] = ops.parents;
        let dy = gradients.consume::<Flex>(&ops.node);
        if let Some(node) = of_x {
            gradients.register::<Flex>(node.id, Flex::masked(dy, ops.state));
        }
    }
}
