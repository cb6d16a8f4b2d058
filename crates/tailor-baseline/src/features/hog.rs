//! Histograms of oriented gradients (Dalal and Triggs 2005, "Histograms of oriented gradients for human detection").
//!
//! Each pixel votes with the strength of its gradient for the gradient's orientation, in the cell where it lies; the
//! histograms of neighboring cells are normalized together as a block, and blocks overlap.

use serde::{Deserialize, Serialize};
use std::f32::consts::PI;
use tailor_data::ImageShape;

/// The descriptor's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Hog {
    /// Pixels along the side of a cell; what is left over at the right and at the bottom is not looked at.
    pub cell: usize,
    /// Cells along the side of a block.
    pub block: usize,
    /// Orientations.
    pub bins: usize,
    /// Whether a gradient and its opposite are different orientations.
    pub signed: bool,
    /// Whether a vote is shared between the two nearest orientations and the four nearest cells (section 6.4 of the
    /// paper), rather than given to the one in which it lies.
    pub interpolate: bool,
}

impl Default for Hog {
    fn default() -> Self {
        Hog { cell: 4, block: 2, bins: 9, signed: false, interpolate: true }
    }
}

/// Keeps blocks without any gradient finite.
const EPSILON: f32 = 1e-5;

/// No number of a block is larger before its second normalization: Lowe's "hys", section 6.4.
const CLIP: f32 = 0.2;

impl Hog {
    /// Cells down and across.
    fn cells(&self, shape: ImageShape) -> (usize, usize) {
        (shape.height / self.cell, shape.width / self.cell)
    }

    pub(crate) fn len(&self, shape: ImageShape) -> usize {
        let (down, across) = self.cells(shape);
        (down + 1 - self.block) * (across + 1 - self.block) * self.block * self.block * self.bins
    }

    pub(crate) fn check(&self, shape: ImageShape) -> Result<(), String> {
        if self.cell == 0 || self.block == 0 || !(1..=360).contains(&self.bins) {
            return Err("cell and block must be at least 1, and bins 1 to 360".into());
        }
        let (down, across) = self.cells(shape);
        if down.min(across) < self.block {
            let Hog { cell, block, .. } = self;
            return Err(format!(
                "a block of {block}×{block} cells of {cell}×{cell} pixels is larger than an image of {shape}"
            ));
        }
        Ok(())
    }

    /// The descriptor of an image `[H, W, C]`: `[blocks down, blocks across, block, block, bins]`.
    pub(crate) fn describe(&self, image: &[u8], shape: ImageShape, to: &mut [f32]) {
        let (down, across) = self.cells(shape);
        let mut cells = vec![0.0; down * across * self.bins];
        for y in 0..shape.height {
            for x in 0..shape.width {
                let (magnitude, orientation) = self.gradient(image, shape, y, x);
                if magnitude > 0.0 {
                    match self.interpolate {
                        true => self.share_vote(&mut cells, (down, across), (y, x), orientation, magnitude),
                        false => self.give_vote(&mut cells, (down, across), (y, x), orientation, magnitude),
                    }
                }
            }
        }
        let row = self.block * self.bins;
        let mut blocks = to.chunks_exact_mut(self.block * row);
        for top in 0..=down - self.block {
            for left in 0..=across - self.block {
                let block = blocks.next().expect("as many blocks as `len` says");
                for (i, to) in block.chunks_exact_mut(row).enumerate() {
                    to.copy_from_slice(&cells[((top + i) * across + left) * self.bins..][..row]);
                }
                normalize(block);
            }
        }
    }

    /// Magnitude, and orientation in bins, of the gradient at a pixel: of the channel in which it is strongest.
    /// Centered differences, zero across the border.
    fn gradient(&self, image: &[u8], shape: ImageShape, y: usize, x: usize) -> (f32, f32) {
        let ImageShape { height, width, channels } = shape;
        let at = |y: usize, x: usize, channel: usize| f32::from(image[(y * width + x) * channels + channel]);
        let inner = |position: usize, extent: usize| position > 0 && position + 1 < extent;
        let of_channel = |channel: usize| {
            let dy = if inner(y, height) { at(y + 1, x, channel) - at(y - 1, x, channel) } else { 0.0 };
            let dx = if inner(x, width) { at(y, x + 1, channel) - at(y, x - 1, channel) } else { 0.0 };
            (dx * dx + dy * dy, dx, dy)
        };
        let strongest =
            |best: (f32, f32, f32), next: (f32, f32, f32)| if next.0 > best.0 { next } else { best };
        let (squared, dx, dy) = (1..channels).map(of_channel).fold(of_channel(0), strongest);
        let turn = if self.signed { 2.0 * PI } else { PI };
        let bins = self.bins as f32;
        let orientation = dy.atan2(dx).rem_euclid(turn) / turn * bins;
        // `rem_euclid` of a tiny negative angle rounds to a whole turn.
        (squared.sqrt() / 255.0, if orientation < bins { orientation } else { 0.0 })
    }

    fn give_vote(
        &self,
        cells: &mut [f32],
        (down, across): (usize, usize),
        (y, x): (usize, usize),
        orientation: f32,
        magnitude: f32,
    ) {
        let (row, column) = (y / self.cell, x / self.cell);
        if row < down && column < across {
            // The mean over a cell rather than the sum, for the sake of `EPSILON`.
            let vote = magnitude / (self.cell * self.cell) as f32;
            cells[(row * across + column) * self.bins + orientation as usize] += vote;
        }
    }

    /// Linear in the distances to the middles of bins and cells.
    fn share_vote(
        &self,
        cells: &mut [f32],
        (down, across): (usize, usize),
        (y, x): (usize, usize),
        orientation: f32,
        magnitude: f32,
    ) {
        let vote = magnitude / (self.cell * self.cell) as f32;
        let nearest = |position: f32| {
            let first = (position - 0.5).floor();
            let second = position - 0.5 - first;
            [(first as isize, 1.0 - second), (first as isize + 1, second)]
        };
        let in_cells = |pixel: usize| nearest((pixel as f32 + 0.5) / self.cell as f32);
        for (row, row_share) in in_cells(y) {
            for (column, column_share) in in_cells(x) {
                if !(0..down as isize).contains(&row) || !(0..across as isize).contains(&column) {
                    continue;
                }
                let cell = row as usize * across + column as usize;
                for (bin, bin_share) in nearest(orientation) {
                    let bin = bin.rem_euclid(self.bins as isize) as usize;
                    cells[cell * self.bins + bin] += vote * row_share * column_share * bin_share;
                }
            }
        }
    }
}

/// To length 1, without numbers above [`CLIP`], and to length 1 again.
fn normalize(block: &mut [f32]) {
    let scale = |block: &mut [f32]| {
        let squares: f32 = block.iter().map(|value| value * value).sum();
        let length = (squares + EPSILON * EPSILON).sqrt();
        block.iter_mut().for_each(|value| *value /= length);
    };
    scale(block);
    block.iter_mut().for_each(|value| *value = value.min(CLIP));
    scale(block);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(hog: Hog, image: &[u8], shape: ImageShape) -> Vec<f32> {
        let mut numbers = vec![f32::NAN; hog.len(shape)];
        hog.describe(image, shape, &mut numbers);
        numbers
    }

    #[test]
    fn a_vertical_edge_points_sideways() {
        // Dark left, bright right: all gradients point along x, which is orientation 0.
        let shape = ImageShape::new(4, 4, 1);
        let image = [0, 0, 255, 255].repeat(4);
        let hog = Hog { cell: 4, block: 1, bins: 4, signed: false, interpolate: false };
        // One non-zero number: normalized to 1, clipped to .2, normalized to 1.
        let numbers = described(hog, &image, shape);
        assert!((numbers[0] - 1.0).abs() < 1e-6 && numbers[1..] == [0.0; 3], "{numbers:?}");
        // Orientation 0 lies on the border between the first bin and the last: half a vote each.
        let numbers = described(Hog { interpolate: true, ..hog }, &image, shape);
        assert!((numbers[0] - 0.5f32.sqrt()).abs() < 1e-6 && numbers[0] == numbers[3], "{numbers:?}");
        assert_eq!(numbers[1..3], [0.0; 2]);
        // The opposite edge is the same unsigned, and the opposite bin signed.
        let opposite: Vec<u8> = image.iter().map(|value| 255 - value).collect();
        assert_eq!(described(hog, &opposite, shape), described(hog, &image, shape));
        let signed = Hog { signed: true, ..hog };
        assert!((described(signed, &opposite, shape)[2] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn an_image_without_edges_is_all_zero() {
        let shape = ImageShape::new(8, 9, 3);
        assert!(described(Hog::default(), &[77; 216], shape).iter().all(|&value| value == 0.0));
    }
}
