//! Softmax and cross-entropy as one operation, which computes its gradient along the way.

use std::sync::Arc;

use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::loss::{Targets, cross_entropy as kernel};

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply};

/// Mean over the batch of −Σ target · ln softmax(logits); both are `[N, K]`. Targets get no gradient.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    apply([logits.into_dispatch(), targets.into_dispatch()], CrossEntropy)
}

#[derive(Clone, Debug)]
struct CrossEntropy;

impl CrossEntropy {
    fn loss([logits, targets]: &[FlexTensor; 2], gradient: Option<&mut [f32]>) -> FlexTensor {
        let [_, classes] = extents(logits);
        let loss = kernel(values(logits), classes, Targets::Distributions(values(targets)), 0.0, gradient);
        tensor(AlignedBuffer::from_slice(&[loss]), [1])
    }
}

impl Kernel<2> for CrossEntropy {
    /// The gradient with respect to the logits, for a loss that counts once.
    type Saved = Arc<AlignedBuffer>;

    fn forward(&self, inputs: &[FlexTensor; 2]) -> (FlexTensor, Arc<AlignedBuffer>) {
        let mut gradient = AlignedBuffer::new(values(&inputs[0]).len());
        let loss = Self::loss(inputs, Some(&mut gradient));
        (loss, Arc::new(gradient))
    }

    fn infer(&self, inputs: &[FlexTensor; 2]) -> FlexTensor {
        Self::loss(inputs, None)
    }

    fn backward(&self, call: Call<2, Arc<AlignedBuffer>>) -> [Option<AlignedBuffer>; 2] {
        let mut gradient = AlignedBuffer::from_slice(call.saved);
        let scale = call.gradient[0];
        if scale != 1.0 {
            gradient.iter_mut().for_each(|value| *value *= scale);
        }
        [Some(gradient), None]
    }
}
