//! How the lists' inputs and weights are cut into slices of channels and bands of rows.

use std::ops::Range;

use super::window::Window;
use super::{Convolution, Padding};
use crate::buffer::AlignedBuffer;
use crate::pointer::MutPointer;
use crate::simd::{Isa, Kernel, Simd};
use crate::team;

/// Weights that are worth another thread.
const WORTH_SPLITTING: usize = 16 << 10;

/// Bytes of a slice that one band may touch: most of a first-level cache of 32 KiB.
const BAND_BYTES: usize = 26 << 10;

/// Images of which this many fit a band are not worth cutting up.
const SMALL_IMAGES: usize = 3;

/// Floats in a kernel row of a slice, about: six vectors of 16.
const ROW_FLOATS: usize = 96;

/// How inputs and weights are cut into slices.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub conv: &'a Convolution,
    pub isa: Isa,
    /// Slices of a group, and channels of each (the last one's may not all exist).
    pub slices: usize,
    pub window: Window,
    /// Floats of a kernel row in a slice, rounded up to whole vectors.
    pub row: usize,
    /// Images, and output rows (of windows, if pooled), that are listed at a time.
    pub images: usize,
    pub band: usize,
    /// Rows and columns of listed outputs, and how far apart their inputs begin in a slice.
    pub extent: [usize; 2],
    pub step: [usize; 2],
}

impl<'a> Plan<'a> {
    pub fn new(conv: &'a Convolution, isa: Isa) -> Self {
        let channels = conv.group_inputs();
        let widest = (ROW_FLOATS / conv.kernel[1]).next_multiple_of(16).max(16);
        let image_bytes = conv.padded_height() * conv.padded_width() * channels * size_of::<f32>();
        let small = SMALL_IMAGES * image_bytes <= BAND_BYTES;
        let slices = if small { 1 } else { channels.div_ceil(widest) };
        let window = Window::new(conv, channels.div_ceil(slices));
        let row = (conv.kernel[1] * window.channels).next_multiple_of(isa.lanes());
        Self { conv, isa, slices, window, row, images: 1, band: 1, extent: [0; 2], step: [0; 2] }
    }

    /// Decides what is listed at a time.
    pub fn bands(&self, windowed: bool) -> Self {
        let [_, rows, columns, _] = self.conv.output_shape();
        let size = if windowed { 2 } else { 1 };
        let [down, right] = self.conv.stride.map(|stride| stride * size);
        let (rows, columns) = (rows / size, columns / size);
        let image_bytes = self.window.image * size_of::<f32>();
        let input_rows =
            (BAND_BYTES / (self.window.row * size_of::<f32>())).saturating_sub(self.conv.kernel[0]);
        Self {
            images: (BAND_BYTES / image_bytes.max(1)).clamp(1, 16),
            band: if image_bytes <= BAND_BYTES {
                rows.max(1)
            } else {
                (input_rows / down).clamp(1, rows.max(1))
            },
            extent: [rows, columns],
            step: [down * self.window.row, right * self.window.channels],
            ..*self
        }
    }

    /// Where the inputs of each listed output begin in an image's slice.
    pub fn begins(&self) -> AlignedBuffer<u32> {
        let [rows, columns] = self.extent;
        let slices = self.conv.groups * self.slices * self.images * self.window.image;
        assert!(slices <= i32::MAX as usize, "images of {slices} floats: places in them have 31 bits");
        let mut begins = AlignedBuffer::new(rows * columns);
        for (output, begin) in begins.iter_mut().enumerate() {
            *begin = (output / columns * self.step[0] + output % columns * self.step[1]) as u32;
        }
        begins
    }

    /// Whether the weights of the only slice lie as in OHWI.
    fn is_whole(&self) -> bool {
        self.slices == 1 && self.conv.groups == 1 && self.row == self.conv.kernel[1] * self.window.channels
    }

    /// Whether the input itself can be read as the only slice.
    pub fn is_direct(&self) -> bool {
        self.is_whole() && self.conv.padding == Padding::default()
    }

    /// Channels of a slice that exist.
    pub fn live(&self, slice: usize) -> usize {
        self.window.channels.min(self.conv.group_inputs() - slice * self.window.channels)
    }

    /// Floats of one output channel's kernel in a slice: `[Kh, row]`.
    pub fn kernel_len(&self) -> usize {
        self.conv.kernel[0] * self.row
    }

    /// Floats of all kernels: `[groups][slices][outputs of a group][Kh, row]`.
    pub fn weights_len(&self) -> usize {
        self.conv.out_channels * self.slices * self.kernel_len()
    }

    /// The runs of some output channels' weights: start in OHWI, start in the slices, length.
    fn runs(&self, outputs: Range<usize>) -> impl Iterator<Item = (usize, usize, usize)> + use<'_, 'a> {
        let conv = self.conv;
        let [rows, columns] = conv.kernel;
        let (inputs, of_group) = (conv.group_inputs(), conv.group_outputs());
        // All of it is one run where slices lie as OHWI does.
        let whole = self.is_whole().then_some((
            outputs.start * self.kernel_len(),
            outputs.start * self.kernel_len(),
            outputs.len() * self.kernel_len(),
        ));
        let outputs = if self.is_whole() { 0..0 } else { outputs };
        let cut = outputs.flat_map(move |output| {
            (0..self.slices * rows * columns).map(move |run| {
                let (slice, row, column) = (run / (rows * columns), run / columns % rows, run % columns);
                let kernel = (output / of_group * self.slices + slice) * of_group + output % of_group;
                let from = (output * rows * columns + row * columns + column) * inputs;
                let to = kernel * self.kernel_len() + row * self.row + column * self.window.channels;
                (from + slice * self.window.channels, to, self.live(slice))
            })
        });
        whole.into_iter().chain(cut)
    }

    /// OHWI to slices, in `room` where they differ; floats that stand for no weight are zero.
    pub fn pack<'w>(&self, weights: &'w [f32], room: &'w mut AlignedBuffer) -> &'w [f32] {
        if self.is_whole() {
            return weights;
        }
        *room = AlignedBuffer::zeroed(self.weights_len());
        for (from, to, len) in self.runs(0..self.conv.out_channels) {
            room[to..to + len].copy_from_slice(&weights[from..from + len]);
        }
        room
    }

    /// From sums in slices, one after the other and each of `sums_len` floats, to the sum of all in OHWI; split over the
    /// team by output channels, as the optimizer's step is.
    pub fn unpack(&self, sums: &[f32], sums_len: usize, weights: &mut [f32]) {
        let channels = self.conv.out_channels;
        let reduction = weights.len() / channels;
        let parts = if weights.len() < WORTH_SPLITTING { 1 } else { team::threads().min(channels) };
        let weights = MutPointer::new(weights);
        team::run(parts, |part| {
            let outputs = team::part_of(channels, part, parts);
            // SAFETY: the weights of each output channel belong to one part.
            let weights = unsafe { weights.slice(outputs.start * reduction, outputs.len() * reduction) };
            self.isa.run(Unpack { plan: self, sums, sums_len, outputs, weights });
        });
    }

    /// The slices of one of the images that are copied together: first channel, channels, where the copy begins.
    pub fn copies(&self, image: usize) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let (slices, inputs, width) = (self.slices, self.conv.group_inputs(), self.window.channels);
        let (images, image_len) = (self.images, self.window.image);
        (0..self.conv.groups * slices).map(move |copy| {
            let (group, slice) = (copy / slices, copy % slices);
            let first = slice * width;
            (group * inputs + first, width.min(inputs - first), (copy * images + image) * image_len)
        })
    }
}

/// The weights of some output channels, summed up over all `sums`.
struct Unpack<'a> {
    plan: &'a Plan<'a>,
    sums: &'a [f32],
    sums_len: usize,
    outputs: Range<usize>,
    /// Of these output channels.
    weights: &'a mut [f32],
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, sums, sums_len, outputs, weights } = self;
        let first = outputs.start * (weights.len() / outputs.len().max(1));
        assert!(sums.len().is_multiple_of(sums_len));
        for (to, from, len) in plan.runs(outputs) {
            assert!(from + len <= sums_len);
            let to = &mut weights[to - first..][..len];
            for i in (0..len).step_by(S::LANES) {
                let live = (len - i).min(S::LANES);
                // SAFETY: `live` floats from `i` on lie in the run, which lies in each of the sums.
                unsafe {
                    let mut sum = s.load_n(sums.as_ptr().add(from + i), live);
                    for part in (sums_len..sums.len()).step_by(sums_len) {
                        sum = s.add(sum, s.load_n(sums.as_ptr().add(part + from + i), live));
                    }
                    s.store_n(to.as_mut_ptr().add(i), live, sum);
                }
            }
        }
    }
}
