//! Pooling on its own, where no convolution takes it in.

use std::sync::Arc;

use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::pool::{Pool, global_average, global_average_backward};

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply};

/// From `[N, H, W, C]` to `[N, H', W', C]`.
pub fn pool(x: Tensor<4>, pool: Pool) -> Tensor<4> {
    apply([x.into_dispatch()], pool)
}

/// From `[N, H, W, C]` to its mean over rows and columns, `[N, C]`.
pub fn global_average_pool(x: Tensor<4>) -> Tensor<2> {
    apply([x.into_dispatch()], GlobalAverage)
}

impl Kernel<1> for Pool {
    type Saved = Arc<AlignedBuffer<u8>>;

    fn forward(&self, [x]: &[FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        let shape = extents(x);
        let mut y = AlignedBuffer::new(self.output_shape(shape).iter().product());
        let index = Pool::forward(self, shape, values(x), &mut y);
        (tensor(y, self.output_shape(shape)), Arc::new(index))
    }

    fn backward(&self, call: Call<1, Self::Saved>) -> [Option<AlignedBuffer>; 1] {
        let mut dx = call.gradient_of(0);
        Pool::backward(self, extents(&call.inputs[0]), call.saved, call.gradient, &mut dx);
        [Some(dx)]
    }
}

#[derive(Clone, Debug)]
struct GlobalAverage;

impl Kernel<1> for GlobalAverage {
    type Saved = ();

    fn forward(&self, [x]: &[FlexTensor; 1]) -> (FlexTensor, ()) {
        let [images, height, width, channels] = extents(x);
        let mut y = AlignedBuffer::new(images * channels);
        global_average([images, height, width, channels], values(x), &mut y);
        (tensor(y, [images, channels]), ())
    }

    fn backward(&self, call: Call<1, ()>) -> [Option<AlignedBuffer>; 1] {
        let mut dx = call.gradient_of(0);
        global_average_backward(extents(&call.inputs[0]), call.gradient, &mut dx);
        [Some(dx)]
    }
}
