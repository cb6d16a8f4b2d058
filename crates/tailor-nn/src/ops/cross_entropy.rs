//! Softmax and cross-entropy as one operation, which computes its gradient along the way.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::loss::{Targets, cross_entropy as kernel};

use super::buffer::{FlexTensor, extents, tensor, values};

/// Mean over the batch of −Σ target · ln softmax(logits); both are `[N, K]`. Targets get no gradient.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::softmax_cross_entropy(logits.into_dispatch(), targets.into_dispatch()))
}

#[backend_extension(Flex, Autodiff)]
trait CrossEntropyOp: Backend {
    fn softmax_cross_entropy(logits: FloatTensor<Self>, targets: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn forward(logits: &FlexTensor, targets: &FlexTensor, gradient: Option<&mut [f32]>) -> FlexTensor {
    let [_, classes] = extents(logits);
    let loss = kernel(values(logits), classes, Targets::Distributions(values(targets)), 0.0, gradient);
    tensor(AlignedBuffer::from_slice(&[loss]), [1])
}

impl CrossEntropyOp for Flex {
    fn softmax_cross_entropy(logits: FlexTensor, targets: FlexTensor) -> FlexTensor {
        forward(&logits.to_contiguous(), &targets.to_contiguous(), None)
    }
}

impl<C: CheckpointStrategy> CrossEntropyOp for Autodiff<Flex, C> {
    fn softmax_cross_entropy(logits: FloatTensor<Self>, targets: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((logits, of_logits), (targets, _)) = (logits.into_parts(), targets.into_parts());
        let (logits, targets) = (logits.to_contiguous(), targets.to_contiguous());
        match CrossEntropyBackward.prepare::<C>([of_logits]).compute_bound().stateful() {
            OpsKind::UnTracked(untracked) => untracked.finish(forward(&logits, &targets, None)),
            OpsKind::Tracked(tracked) => {
                let mut gradient = AlignedBuffer::new(values(&logits).len());
                let loss = forward(&logits, &targets, Some(&mut gradient));
                tracked.finish(tensor(gradient, extents::<2>(&logits)), loss)
            }
        }
    }
}

#[derive(Debug)]
struct CrossEntropyBackward;

impl Backward<Flex, 1> for CrossEntropyBackward {
    /// The gradient with respect to the logits, for a loss that counts once.
    type State = FlexTensor;

    fn backward(self, ops: Ops<FlexTensor, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [of_logits] = ops.parents;
        let scale = values(&gradients.consume::<Flex>(&ops.node))[0];
        if let Some(node) = of_logits {
            let gradient = match scale {
                1.0 => ops.state,
                _ => {
                    let mut scaled = AlignedBuffer::from_slice(values(&ops.state));
                    scaled.iter_mut().for_each(|value| *value *= scale);
                    tensor(scaled, extents::<2>(&ops.state))
                }
            };
            gradients.register::<Flex>(node.id, gradient);
        }
    }
}
