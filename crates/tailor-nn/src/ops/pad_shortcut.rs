//! The shortcut without weights of He et al. 2016, option A, as one operation.

use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply};

/// Every `stride`-th pixel of `[N, H, W, C]`, with zeros up to `filters` channels.
pub fn pad_shortcut(x: Tensor<4>, filters: usize, stride: usize) -> Tensor<4> {
    apply([x.into_dispatch()], PadChannels { filters, stride })
}

#[derive(Clone, Debug)]
struct PadChannels {
    filters: usize,
    stride: usize,
}

impl PadChannels {
    fn output_shape(&self, [n, h, w, _]: [usize; 4]) -> [usize; 4] {
        [n, h.div_ceil(self.stride), w.div_ceil(self.stride), self.filters]
    }

    /// Where each output pixel's values start in the input, in the order of the output.
    fn sources(&self, [n, h, w, c]: [usize; 4]) -> impl Iterator<Item = usize> {
        let stride = self.stride;
        (0..n).flat_map(move |image| {
            (0..h).step_by(stride).flat_map(move |row| {
                (0..w).step_by(stride).map(move |column| ((image * h + row) * w + column) * c)
            })
        })
    }
}

impl Kernel<1> for PadChannels {
    type Saved = ();

    fn forward(&self, [x]: &[FlexTensor; 1]) -> (FlexTensor, ()) {
        let shape = extents(x);
        let (channels, x) = (shape[3], values(x));
        let mut y = AlignedBuffer::zeroed(self.output_shape(shape).iter().product());
        for (pixel, source) in y.chunks_exact_mut(self.filters).zip(self.sources(shape)) {
            pixel[..channels].copy_from_slice(&x[source..source + channels]);
        }
        (tensor(y, self.output_shape(shape)), ())
    }

    fn backward(&self, call: Call<1, ()>) -> [Option<AlignedBuffer>; 1] {
        let shape: [usize; 4] = extents(&call.inputs[0]);
        let channels = shape[3];
        let mut dx = AlignedBuffer::zeroed(call.input(0).len());
        for (pixel, source) in call.gradient.chunks_exact(self.filters).zip(self.sources(shape)) {
            dx[source..source + channels].copy_from_slice(&pixel[..channels]);
        }
        [Some(dx)]
    }
}
