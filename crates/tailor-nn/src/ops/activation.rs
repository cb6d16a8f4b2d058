//! An activation by itself, where no layer takes it in.

use burn::backend::TensorMetadata;
use burn::tensor::Tensor;
use tailor_kernels::activation::Activation;
use tailor_kernels::buffer::AlignedBuffer;

use super::buffer::{FlexTensor, tensor, values};
use super::kernel::{Call, Kernel, apply};

/// Applies a function to each value; any shape.
pub fn activation<const D: usize>(x: Tensor<D>, function: Activation) -> Tensor<D> {
    apply([x.into_dispatch()], function)
}

impl Kernel<1> for Activation {
    type Saved = ();

    fn forward(&self, [x]: &[FlexTensor; 1]) -> (FlexTensor, ()) {
        let mut y = AlignedBuffer::new(values(x).len());
        Activation::forward(*self, values(x), &mut y);
        (tensor(y, x.shape()), ())
    }

    fn backward(&self, call: Call<1, ()>) -> [Option<AlignedBuffer>; 1] {
        let mut dx = call.gradient_of(0);
        self.backward_at(call.input(0), call.gradient, &mut dx);
        [Some(dx)]
    }
}
