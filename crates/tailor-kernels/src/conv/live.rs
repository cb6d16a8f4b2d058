//! The part of a kernel that matters for images as small as these.
//!
//! Over an image of 1×1 pixels, padded by one, a kernel of 3×3 multiplies one pixel and eight zeros. Deep in a network of
//! many strides that is most of the work, and most of the gradient is zero. So a convolution is computed as another one:
//! without the rows and columns of taps that never meet the image, and, where the kernel is then as large as the image,
//! as a 1×1 convolution over all of the image's values.

use std::ops::Range;

use super::{ConvBlock, Convolution, Padding};
use crate::buffer::AlignedBuffer;
use crate::pointer::MutPointer;
use crate::team;

/// Rows and columns of taps within a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LiveTaps {
    rows: Range<usize>,
    columns: Range<usize>,
    /// Of the whole kernel.
    kernel: [usize; 2],
    /// Input channels of a group.
    inputs: usize,
}

impl Convolution {
    /// The taps that meet the image at some output, if that is not all of them.
    pub(super) fn live_taps(&self) -> Option<LiveTaps> {
        let Self { kernel, stride, padding, .. } = *self;
        let [_, rows, columns, _] = self.output_shape();
        let taps = LiveTaps {
            rows: meeting([kernel[0], stride[0], padding.top, self.height, rows])?,
            columns: meeting([kernel[1], stride[1], padding.left, self.width, columns])?,
            kernel,
            inputs: self.group_inputs(),
        };
        (taps.size() != kernel).then_some(taps)
    }

    /// The same function of the image, over live taps only.
    fn live(&self) -> Self {
        let mut live = *self;
        if let Some(LiveTaps { rows, columns, .. }) = self.live_taps() {
            let [_, output_rows, output_columns, _] = self.output_shape();
            let Padding { top, left, .. } = self.padding;
            let (top, left) = (top - rows.start, left - columns.start);
            let needed = |outputs: usize, stride: usize, taps: usize| (outputs - 1) * stride + taps;
            live.kernel = [rows.len(), columns.len()];
            live.padding = Padding {
                top,
                left,
                bottom: needed(output_rows, self.stride[0], rows.len()).saturating_sub(top + self.height),
                right: needed(output_columns, self.stride[1], columns.len())
                    .saturating_sub(left + self.width),
            };
        }
        let is_whole = live.kernel == [live.height, live.width] && live.padding == Padding::default();
        if is_whole && live.groups == 1 {
            let in_channels = live.image_len();
            return Self { height: 1, width: 1, in_channels, kernel: [1, 1], stride: [1, 1], ..live };
        }
        live
    }
}

impl ConvBlock {
    /// The block that is computed: see [`Convolution::live`]. What is rounded stays the same.
    pub(super) fn live(&self) -> Self {
        Self { convolution: self.convolution.live(), precision: self.effective_precision(), ..*self }
    }
}

/// Of `kernel` taps those that meet one of `size` pixels, behind `padding`, at one of the outputs: the first to the last.
fn meeting([kernel, stride, padding, size, outputs]: [usize; 5]) -> Option<Range<usize>> {
    let meets =
        |tap: &usize| (0..outputs).any(|output| (padding..padding + size).contains(&(output * stride + tap)));
    Some((0..kernel).find(meets)?..(0..kernel).rfind(meets)? + 1)
}

impl LiveTaps {
    /// Rows and columns.
    fn size(&self) -> [usize; 2] {
        [self.rows.len(), self.columns.len()]
    }

    /// Weights of a filter, before and after.
    fn lengths(&self) -> [usize; 2] {
        [self.kernel, self.size()].map(|[rows, columns]| rows * columns * self.inputs)
    }

    /// Where each row of live taps is in a filter.
    fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let start = |row| (row * self.kernel[1] + self.columns.start) * self.inputs;
        self.rows.clone().map(move |row| start(row)..start(row) + self.columns.len() * self.inputs)
    }

    /// Their weights, of OHWI.
    pub fn of(&self, weights: &[f32]) -> AlignedBuffer {
        let [whole, live] = self.lengths();
        let mut to = AlignedBuffer::new(weights.len() / whole * live);
        for (to, weights) in to.chunks_exact_mut(live).zip(weights.chunks_exact(whole)) {
            for (to, run) in to.chunks_exact_mut(live / self.rows.len()).zip(self.runs()) {
                to.copy_from_slice(&weights[run]);
            }
        }
        to
    }

    /// The gradient of all weights from theirs: that of all others is zero.
    pub fn spread(&self, live_gradient: &[f32], dw: &mut [f32]) {
        let [whole, live] = self.lengths();
        let filters = dw.len() / whole;
        let dw = MutPointer::new(dw);
        team::split(filters, |_, filters| {
            // SAFETY: each filter belongs to one part.
            let dw = unsafe { dw.slice(filters.start * whole, filters.len() * whole) };
            dw.fill(0.);
            let gradients = live_gradient[filters.start * live..filters.end * live].chunks_exact(live);
            for (dw, gradient) in dw.chunks_exact_mut(whole).zip(gradients) {
                for (gradient, run) in gradient.chunks_exact(live / self.rows.len()).zip(self.runs()) {
                    dw[run].copy_from_slice(gradient);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convolution(size: usize, kernel: usize, stride: usize, padding: usize) -> Convolution {
        Convolution {
            batch: 2,
            height: size,
            width: size,
            in_channels: 3,
            out_channels: 5,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: Padding::all(padding),
            groups: 1,
        }
    }

    #[test]
    fn taps_that_only_meet_zeros_are_left_out() {
        for (conv, live) in [
            (convolution(1, 3, 1, 1), Some(1..2)), // the center
            (convolution(2, 3, 2, 1), Some(1..3)), // one output: its last two rows
            (convolution(2, 3, 1, 1), None),       // each meets a pixel at one of four outputs
            (convolution(1, 5, 1, 2), Some(2..3)),
            (convolution(2, 5, 1, 2), Some(1..4)),
            (convolution(7, 3, 2, 1), None),
        ] {
            assert_eq!(conv.live_taps().map(|taps| taps.rows), live, "{conv:?}");
            assert_eq!(conv.live().output_shape(), conv.output_shape(), "{conv:?}");
        }
    }

    #[test]
    fn a_kernel_as_large_as_the_image_is_pointwise() {
        for conv in [
            convolution(3, 3, 1, 0),
            convolution(3, 3, 2, 0),
            convolution(2, 3, 2, 1),
            convolution(1, 3, 1, 1),
        ] {
            let live = conv.live();
            assert_eq!((live.kernel, live.stride, live.height), ([1, 1], [1, 1], 1), "{conv:?}");
            assert_eq!(live.in_channels, conv.height * conv.width * 3);
        }
        assert_eq!(convolution(4, 3, 1, 0).live(), convolution(4, 3, 1, 0));
    }

    #[test]
    fn weights_are_taken_out_and_gradients_put_back_where_they_were() {
        let taps = convolution(2, 3, 2, 1).live_taps().unwrap();
        let weights: Vec<f32> = (1..=5 * 27).map(|i| i as f32).collect();
        let live = taps.of(&weights);
        // Rows and columns 1 and 2 of 3, three channels each, of the first filter.
        let expected = [13., 14., 15., 16., 17., 18., 22., 23., 24., 25., 26., 27.];
        assert_eq!((live.len(), &live[..12]), (5 * 12, &expected[..]));
        let mut dw = vec![f32::NAN; weights.len()];
        taps.spread(&live, &mut dw);
        let kept = |(&dw, &weight): (&f32, &f32)| dw == weight || (dw == 0. && !live.contains(&weight));
        assert!(dw.iter().zip(&weights).all(kept), "{dw:?}");
        assert_eq!(dw.iter().filter(|&&value| value != 0.).count(), live.len());
    }
}
