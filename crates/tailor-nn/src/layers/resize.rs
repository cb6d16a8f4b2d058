//! Images brought to another size, with pixels in or left out: layers without weights.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::ops::{on_kernels, pad_shortcut};

/// Bilinear interpolation with half-pixel centers and without antialiasing (PyTorch's `align_corners=False`).
#[derive(Module, Debug)]
pub struct Resize {
    height: usize,
    width: usize,
}

impl Resize {
    pub(super) fn new(height: usize, width: usize) -> Self {
        Resize { height, width }
    }

    /// `[N, H, W, C]` to `[N, height, width, C]`: rows and columns are each a matrix product with two weights a row.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let ([images, height, width, channels], device) = (x.dims(), x.device());
        if (height, width) == (self.height, self.width) {
            return x;
        }
        let rows = interpolation(height, self.height, &device);
        let columns = interpolation(width, self.width, &device);
        // [H', H] · [N, H, W·C], then [W', W] · [N·H', W, C]
        let x = rows.unsqueeze::<3>().expand([images, self.height, height]).matmul(x.reshape([
            images,
            height,
            width * channels,
        ]));
        let x = x.reshape([images * self.height, width, channels]);
        let y = columns.unsqueeze::<3>().expand([images * self.height, self.width, width]).matmul(x);
        y.reshape([images, self.height, self.width, channels])
    }
}

/// The weight of each input in each output, `[outputs, inputs]`.
fn interpolation(inputs: usize, outputs: usize, device: &Device) -> Tensor<2> {
    let mut weights = vec![0.0; outputs * inputs];
    let scale = inputs as f64 / outputs as f64;
    for (output, row) in weights.chunks_exact_mut(inputs).enumerate() {
        let center = ((output as f64 + 0.5) * scale - 0.5).clamp(0.0, (inputs - 1) as f64);
        let (left, share) = (center.floor() as usize, center.fract() as f32);
        row[left] += 1.0 - share;
        row[(left + 1).min(inputs - 1)] += share;
    }
    Tensor::from_data(TensorData::new(weights, [outputs, inputs]), device)
}

/// Every `stride`-th pixel, with channels of zeros appended (He et al. 2016, option A).
#[derive(Module, Debug)]
pub struct PadShortcut {
    filters: usize,
    stride: usize,
}

impl PadShortcut {
    pub(super) fn new(filters: usize, stride: usize) -> Self {
        PadShortcut { filters, stride }
    }

    /// `[N, H, W, C]` to `[N, ⌈H / stride⌉, ⌈W / stride⌉, filters]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if on_kernels(&x.device()) {
            return pad_shortcut(x, self.filters, self.stride);
        }
        let step = self.stride as isize;
        let x = if self.stride > 1 { x.slice(burn::tensor::s![.., ..;step, ..;step, ..]) } else { x };
        let [images, height, width, channels] = x.dims();
        match self.filters - channels {
            0 => x,
            missing => {
                let zeros = Tensor::zeros([images, height, width, missing], &x.device());
                Tensor::cat(vec![x, zeros], 3)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_values;

    fn image(values: &[f32], shape: [usize; 4]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    #[test]
    fn bilinear_weights_are_those_of_half_pixel_centers() {
        // Centers of four outputs over two inputs: -0.25, 0.25, 0.75, 1.25 of the way.
        let y = Resize::new(4, 4).forward(image(&[0.0, 1.0, 0.0, 1.0], [1, 2, 2, 1]));
        let rows: Vec<Vec<f32>> = host_values(y).chunks(4).map(<[f32]>::to_vec).collect();
        assert_eq!(rows, vec![vec![0.0, 0.25, 0.75, 1.0]; 4]);
    }

    #[test]
    fn a_padded_shortcut_skips_pixels_and_appends_zeros() {
        let x = image(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], [1, 3, 3, 1]);
        let y = PadShortcut::new(2, 2).forward(x);
        assert_eq!(host_values(y), [1.0, 0.0, 3.0, 0.0, 7.0, 0.0, 9.0, 0.0]);
    }
}
