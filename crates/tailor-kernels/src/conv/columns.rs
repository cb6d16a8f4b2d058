//! The input gradient of a convolution over few channels, whose kernel spans few inputs (3×3 of three channels: 27).
//!
//! There a vector of input channels would be almost empty. A matrix product gives instead what each output passes back to
//! all inputs under its kernel (a row of columns, as the reverse of "im2col"), which is then added up where kernels
//! overlap.

use super::Convolution;
use super::window::Window;
use crate::buffer::AlignedBuffer;
use crate::matrix::multiply;
use crate::panels::Panels;
use crate::simd::{Isa, Kernel, Simd};
use crate::tile::Layout;

/// Outputs whose columns are computed at a time, so that they stay in the first-level cache.
const OUTPUTS: usize = 192;

/// The weights, packed once for all images.
pub(super) struct Columns<'a> {
    conv: &'a Convolution,
    isa: Isa,
    panels: Panels,
    window: Window,
}

/// Room that one thread needs.
#[derive(Default)]
pub(super) struct Room {
    columns: AlignedBuffer,
    /// The padded input gradient.
    padded: AlignedBuffer,
}

impl<'a> Columns<'a> {
    /// Of a convolution without groups, whose weights are `[Co, Kh, Kw, Ci]`.
    pub fn new(conv: &'a Convolution, isa: Isa, weights: &[f32]) -> Self {
        let taps = conv.reduction();
        let panels = Panels::from_rows(isa, weights, taps, conv.out_channels, None, |output| output * taps);
        Self { conv, isa, panels, window: Window::new(conv, conv.in_channels) }
    }

    /// `dx [H, W, Ci]` of one image's `dz [Ho, Wo, Co]`.
    pub fn image(&self, dz: &[f32], room: &mut Room, dx: &mut [f32]) {
        let [_, rows, columns, channels] = self.conv.output_shape();
        let taps = self.conv.reduction();
        let band = (OUTPUTS / columns).max(1);
        room.columns.resize(band * columns * taps);
        room.padded.resize(self.window.image);
        room.padded.fill(0.);
        for first in (0..rows).step_by(band) {
            let band = first..rows.min(first + band);
            let outputs = band.len() * columns;
            let dz = &dz[band.start * columns * channels..band.end * columns * channels];
            let layout = Layout::matrix(outputs, channels, channels, 1);
            multiply(&self.panels, layout, dz, &mut room.columns, taps);
            self.isa.run(AddUp {
                extent: [band.len(), columns],
                step: [self.conv.stride[0] * self.window.row, self.conv.stride[1] * self.conv.in_channels],
                kernel_rows: self.conv.kernel[0],
                run: self.conv.kernel[1] * self.conv.in_channels,
                row: self.window.row,
                columns: &room.columns,
                inputs: &mut room.padded[band.start * self.conv.stride[0] * self.window.row..],
            });
        }
        self.window.copy_back(&room.padded, 0, self.conv.in_channels, dx);
    }
}

/// Adds each output's columns to the inputs under its kernel.
struct AddUp<'a> {
    /// Rows and columns of outputs, and how far apart their inputs begin.
    extent: [usize; 2],
    step: [usize; 2],
    /// A kernel is `kernel_rows` runs of `run` inputs, `row` apart.
    kernel_rows: usize,
    run: usize,
    row: usize,
    /// `[extent, kernel_rows, run]`
    columns: &'a [f32],
    inputs: &'a mut [f32],
}

impl Kernel for AddUp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { extent: [rows, columns], step, kernel_rows, run, row: row_step, .. } = self;
        let last = (rows - 1) * step[0] + (columns - 1) * step[1] + (kernel_rows - 1) * row_step + run;
        assert!(last <= self.inputs.len(), "the last kernel lies in the padded image");
        assert!(self.columns.len() >= rows * columns * kernel_rows * run);
        let mut from = self.columns.as_ptr();
        for row in 0..rows {
            for column in 0..columns {
                for kernel_row in 0..kernel_rows {
                    let at = row * step[0] + column * step[1] + kernel_row * row_step;
                    for i in (0..run).step_by(S::LANES) {
                        let live = (run - i).min(S::LANES);
                        // SAFETY: the assertions bound the last run, and all others lie before it.
                        unsafe {
                            let to = self.inputs.as_mut_ptr().add(at + i);
                            s.store_n(to, live, s.add(s.load_n(to, live), s.load_n(from.add(i), live)));
                        }
                    }
                    // SAFETY: as above.
                    from = unsafe { from.add(run) };
                }
            }
        }
    }
}
