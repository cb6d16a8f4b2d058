//! Where a backward pass begins, for who times it.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;

use super::buffer::{FlexTensor, tensor};
use super::kernel::{Call, Kernel, apply};
use super::on_kernels;

/// How long the backward pass takes from where the gradient of `x`, which is 1 everywhere, is there: in training it comes from
/// the layer that follows. On other devices than the kernels' making it counts as well.
pub fn seconds_of_backward<const D: usize>(x: Tensor<D>) -> f64 {
    if !on_kernels(&x.device()) {
        let start = Instant::now();
        drop(x.backward());
        return start.elapsed().as_secs_f64();
    }
    let clock = Clock::default();
    let began = Arc::clone(&clock.0);
    let sum: Tensor<1> = apply([x.into_dispatch()], clock);
    drop(sum.backward());
    began.get().expect("x has a gradient").elapsed().as_secs_f64()
}

/// A number whose gradient with respect to each value of its input is 1, and, once its backward pass has handed these to
/// whatever computed the input, when that was.
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
