//! Dropout as one operation; the backward pass draws the same mask again.

use burn::backend::TensorMetadata;
use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::dropout::Dropout;

use super::buffer::{FlexTensor, tensor, values};
use super::kernel::{Call, Kernel, apply};

/// Zeroes and scales values as `mask` says; any shape.
pub fn dropout<const D: usize>(x: Tensor<D>, mask: Dropout) -> Tensor<D> {
    apply([x.into_dispatch()], mask)
}

impl Kernel<1> for Dropout {
    type Saved = ();

    fn forward(&self, [x]: &[FlexTensor; 1]) -> (FlexTensor, ()) {
        let mut y = AlignedBuffer::new(values(x).len());
        Dropout::forward(self, values(x), &mut y);
        (tensor(y, x.shape()), ())
    }

    fn backward(&self, call: Call<1, ()>) -> [Option<AlignedBuffer>; 1] {
        let mut dx = call.gradient_of(0);
        Dropout::forward(self, call.gradient, &mut dx);
        [Some(dx)]
    }
}
