//! Histograms of brightness over a grid of cells.

use serde::{Deserialize, Serialize};
use tailor_data::ImageShape;

/// How often each level of brightness occurs in each cell of a grid, per channel; the levels of a cell sum to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Histogram {
    /// Levels between black and white.
    pub bins: usize,
    /// Cells along each side of the image; 1 is a histogram of the whole image.
    pub grid: usize,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { bins: 16, grid: 1 }
    }
}

impl Histogram {
    pub(crate) fn len(&self, shape: ImageShape) -> usize {
        self.grid * self.grid * shape.channels * self.bins
    }

    pub(crate) fn check(&self, shape: ImageShape) -> Result<(), String> {
        if !(1..=256).contains(&self.bins) {
            return Err(format!("bins must be 1 to 256, not {}", self.bins));
        }
        let side = shape.height.min(shape.width);
        if !(1..=side).contains(&self.grid) {
            return Err(format!("grid must be 1 to {side}, the pixels of a side, not {}", self.grid));
        }
        Ok(())
    }

    /// The numbers of an image `[H, W, C]`: `[grid, grid, C, bins]`.
    pub(crate) fn describe(&self, image: &[u8], shape: ImageShape, to: &mut [f32]) {
        let ImageShape { height, width, channels } = shape;
        to.fill(0.0);
        for (y, row) in image.chunks_exact(width * channels).enumerate() {
            for (x, pixel) in row.chunks_exact(channels).enumerate() {
                let cell = y * self.grid / height * self.grid + x * self.grid / width;
                for (channel, &value) in pixel.iter().enumerate() {
                    let bin = usize::from(value) * self.bins / 256;
                    to[(cell * channels + channel) * self.bins + bin] += 1.0;
                }
            }
        }
        for levels in to.chunks_exact_mut(self.bins) {
            let pixels: f32 = levels.iter().sum();
            levels.iter_mut().for_each(|level| *level /= pixels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_counts_its_own_pixels() {
        // Two bins: below 128 and above. Top left all dark, top right half and half, below all bright.
        let image = [0, 127, 0, 128, 5, 9, 255, 200, 200, 200, 200, 200, 200, 200, 200, 200];
        let mut levels = [0.0; 8];
        Histogram { bins: 2, grid: 2 }.describe(&image, ImageShape::new(4, 4, 1), &mut levels);
        assert_eq!(levels, [1.0, 0.0, 0.25, 0.75, 0.0, 1.0, 0.0, 1.0]);
    }
}
