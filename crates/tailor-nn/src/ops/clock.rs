//! Where a backward pass begins, for who times it.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;

use super::buffer::{FlexTensor, tensor};
use super::kernel::{Call, Kernel, apply};

/// A number whose gradient with respect to each value of `x` is 1, and, once its backward pass has handed these to whatever
/// computed `x`, when that was.
pub fn clock<const D: usize>(x: Tensor<D>) -> (Tensor<1>, Arc<OnceLock<Instant>>) {
    let clock = Clock::default();
    let began = Arc::clone(&clock.0);
    (apply([x.into_dispatch()], clock), began)
}

#[derive(Clone, Debug, Default)]
struct Clock(Arc<OnceLock<Instant>>);

impl Kernel<1> for Clock {
    type Saved = ();

    fn forward(&self, _: &[FlexTensor; 1]) -> (FlexTensor, ()) {
        (tensor(AlignedBuffer::zeroed(1), [1]), ())
    }

    fn backward(&self, call: Call<1, ()>) -> [Option<AlignedBuffer>; 1] {
        let mut gradient = call.gradient_of(0);
        gradient.fill(1.0);
        self.0.get_or_init(Instant::now);
        [Some(gradient)]
    }
}
