//! The weight gradient of depthwise convolutions: for a vector of channels the sums of several taps stay in registers
//! while the pixels go by.

use std::ops::Range;

use crate::conv::Convolution;
use crate::simd::{Kernel, Simd};

/// Adds some rows of outputs' part of the weight gradient.
pub(super) struct WeightGradient<'a> {
    pub conv: &'a Convolution,
    /// Of the output.
    pub rows: Range<usize>,
    /// `[H, W, C]`
    pub x: &'a [f32],
    /// `[Ho, Wo, C]`
    pub dz: &'a [f32],
    /// `[tap][channel]`, added to.
    pub dw: &'a mut [f32],
}

/// What padding is made of.
static ZEROS: [f32; 16] = [0.; 16];

impl Kernel for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Convolution { kernel, in_channels: channels, .. } = *self.conv;
        let [_, rows, columns, _] = self.conv.output_shape();
        assert_eq!(self.x.len(), self.conv.image_len());
        assert_eq!(self.dz.len(), rows * columns * channels);
        assert_eq!(self.dw.len(), kernel[0] * kernel[1] * channels);
        assert!(self.rows.end <= rows && S::LANES <= ZEROS.len());
        for c in (0..channels).step_by(S::LANES) {
            // SAFETY: the lengths were checked: `taps` reads inputs inside of the image only.
            unsafe {
                if kernel == [3, 3] {
                    self.taps::<S, 3, 3>(s, [0, 0], c);
                    continue;
                }
                for row in 0..kernel[0] {
                    if kernel[1] == 5 {
                        self.taps::<S, 1, 5>(s, [row, 0], c);
                        continue;
                    }
                    for column in 0..kernel[1] {
                        self.taps::<S, 1, 1>(s, [row, column], c);
                    }
                }
            }
        }
    }
}

impl WeightGradient<'_> {
    /// `KR × KC` taps from `first` on, for a vector of channels from `c` on.
    ///
    /// # Safety
    /// Channel `c` and the taps exist.
    #[inline(always)]
    unsafe fn taps<S: Simd, const KR: usize, const KC: usize>(&mut self, s: S, first: [usize; 2], c: usize) {
        let Convolution { kernel, stride, padding, height, width, in_channels: channels, .. } = *self.conv;
        let [_, _, columns, _] = self.conv.output_shape();
        let live = (channels - c).min(S::LANES);
        let at =
            |row: usize, column: usize| ((first[0] + row) * kernel[1] + first[1] + column) * channels + c;
        // The columns whose taps all lie in the image.
        let inner_start = padding.left.saturating_sub(first[1]).div_ceil(stride[1]).min(columns);
        let room = (width + padding.left + 1).saturating_sub(first[1] + KC);
        let inner_end = room.div_ceil(stride[1]).clamp(inner_start, columns);
        let mut sums = [[s.splat(0.); KC]; KR];
        for row in 0..KR {
            for column in 0..KC {
                // SAFETY: the taps and channels exist.
                sums[row][column] = unsafe { s.load_n(self.dw.as_ptr().add(at(row, column)), live) };
            }
        }
        for output_row in self.rows.clone() {
            // Where each tap's row of inputs begins, and how far apart its pixels are: rows of padding have one pixel.
            let mut inputs = [(ZEROS.as_ptr(), 0); KR];
            let mut any = false;
            for row in 0..KR {
                let input_row = output_row * stride[0] + first[0] + row;
                if input_row >= padding.top && input_row - padding.top < height {
                    let start = (input_row - padding.top) * width * channels + c;
                    let before = padding.left as isize - first[1] as isize;
                    let start = (start as isize - before * channels as isize) as usize;
                    inputs[row] = (self.x.as_ptr().wrapping_add(start), channels);
                    any = true;
                }
            }
            if !any {
                continue;
            }
            let dz = self.dz.as_ptr().wrapping_add(output_row * columns * channels + c);
            // SAFETY: inner columns' taps lie in the image or in `ZEROS`; the others' are checked one by one.
            unsafe {
                for column in (0..inner_start).chain(inner_end..columns) {
                    let dz = s.load_n(dz.add(column * channels), live);
                    for tap in 0..KC {
                        let input = column * stride[1] + first[1] + tap;
                        if input >= padding.left && input - padding.left < width {
                            for row in 0..KR {
                                let (start, pixel) = inputs[row];
                                let x = start.wrapping_add((column * stride[1] + tap) * pixel);
                                sums[row][tap] = s.fma(dz, s.load_n(x, live), sums[row][tap]);
                            }
                        }
                    }
                }
                for column in inner_start..inner_end {
                    let dz = s.load_n(dz.add(column * channels), live);
                    for row in 0..KR {
                        let (start, pixel) = inputs[row];
                        let x = start.wrapping_add(column * stride[1] * pixel);
                        for tap in 0..KC {
                            let x = s.load_n(x.wrapping_add(tap * pixel), live);
                            sums[row][tap] = s.fma(dz, x, sums[row][tap]);
                        }
                    }
                }
            }
        }
        for row in 0..KR {
            for column in 0..KC {
                // SAFETY: as above.
                unsafe { s.store_n(self.dw.as_mut_ptr().add(at(row, column)), live, sums[row][column]) };
            }
        }
    }
}
