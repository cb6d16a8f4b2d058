//! The forward pass: tiles over all output pixels of the batch, split over the team.

use std::ops::Range;

use super::window::Window;
use super::winograd::Transformed;
use super::{ConvBlock, Convolution, FilterKind, PackedFilter, Padding, Saved};
use crate::activation::Activation;
use crate::bf16::Precision;
use crate::buffer::AlignedBuffer;
use crate::panels::Panels;
use crate::pointer::{ConstPointer, MutPointer};
use crate::team;
use crate::tile::{Layout, PairTiles, Tiles, Unit};

/// Multiply-adds that are not worth another thread.
const WORTH_SPLITTING: usize = 200_000;

/// Output pixels of a chunk: enough that tiles rarely end early, few enough that its inputs stay in cache.
pub(super) const CHUNK: usize = 144;

pub(super) fn run(
    block: &ConvBlock,
    filter: &PackedFilter,
    x: &[f32],
    y: &mut [f32],
    saved: Option<&mut Saved>,
) {
    let block = &block.live();
    let conv = &block.convolution;
    let [_, rows, columns, channels] = conv.output_shape();
    let training = saved.is_some();
    let (index, activations) = match saved {
        Some(saved) => (&mut saved.index[..], &mut saved.activations[..]),
        None => (&mut [][..], &mut [][..]),
    };
    check_filter(block, filter);
    let panels = filter.panels();
    if let (Some(unit), FilterKind::Winograd(filter)) = (block.unit(), &filter.kind) {
        let (y, index) = (MutPointer::new(y), (!index.is_empty()).then(|| MutPointer::new(index)));
        let (activation, x) = (block.activation, ConstPointer::new(x));
        let transformed = Transformed { conv, filter, activation, unit, x, y, index };
        let tiles = conv.batch * transformed.tiles_of_image();
        if conv.multiply_adds() < WORTH_SPLITTING {
            return transformed.tiles(0..tiles);
        }
        return team::split(tiles, |_, range| transformed.tiles(range));
    }
    if let Some(unit) = block.unit()
        && !panels.is_empty()
    {
        let (y, index) = (MutPointer::new(y), (!index.is_empty()).then(|| MutPointer::new(index)));
        let convolved =
            Convolved { conv, activation: block.activation, unit, panels, x: ConstPointer::new(x), y, index };
        return convolved.all();
    }
    if block.pool.is_none() && conv.batch < team::threads() && conv.is_row_by_row() {
        return rows_of_images(block, filter, x, y);
    }
    // Image by image into scratch, then pooled from there while it is in the cache.
    let (y, x) = (MutPointer::new(y), ConstPointer::new(x));
    let index = (!index.is_empty()).then(|| MutPointer::new(index));
    let keep = training && !activations.is_empty();
    let activations = MutPointer::new(activations);
    let y_len = block.output_shape()[1..].iter().product::<usize>();
    split_images(conv, |images| {
        let len = conv.output_len();
        let mut scratch = AlignedBuffer::new(if keep || block.pool.is_none() { 0 } else { len });
        for image in images {
            // SAFETY: each image's outputs belong to one thread.
            let (output, index) = unsafe {
                (y.slice(image * y_len, y_len), index.map(|index| index.slice(image * y_len, y_len)))
            };
            let Some(pool) = block.pool else {
                convolve_images(block, filter, x, image..image + 1, output);
                continue;
            };
            let convolved = if keep {
                // SAFETY: as above.
                unsafe { activations.slice(image * len, len) }
            } else {
                &mut scratch[..]
            };
            convolve_images(block, filter, x, image..image + 1, convolved);
            pool.forward_image(filter.isa, [rows, columns, channels], convolved, output, index);
        }
    });
}

/// Whether weights were packed for this block, which is computed as it is.
pub(super) fn check_filter(block: &ConvBlock, filter: &PackedFilter) {
    let conv = &block.convolution;
    let fits = match &filter.kind {
        FilterKind::Depthwise(taps) => conv.is_depthwise() && taps.fit(conv),
        FilterKind::Winograd(filter) => filter.fits(conv),
        FilterKind::Panels(_) | FilterKind::Groups(_) => {
            let reduction = conv.kernel[0] * conv.kernel[1] * conv.group_words(block.effective_precision());
            let shape = (conv.group_outputs(), reduction);
            let panels = filter.panels();
            panels.len() == conv.groups && panels.iter().all(|of| (of.channels(), of.reduction()) == shape)
        }
    };
    assert!(fits, "the filter was packed for this block");
}

/// Rows of fewer images than threads, split over the team.
fn rows_of_images(block: &ConvBlock, filter: &PackedFilter, x: &[f32], y: &mut [f32]) {
    let conv = &block.convolution;
    let [_, rows, columns, channels] = conv.output_shape();
    let (row, input_row) = (columns * channels, conv.width * conv.in_channels);
    let y = MutPointer::new(y);
    let some = |range: Range<usize>| {
        for image in range.start / rows..range.end.div_ceil(rows) {
            let first = image * rows;
            let band = range.start.max(first) - first..range.end.min(first + rows) - first;
            // SAFETY: each row belongs to one part.
            let y = unsafe { y.slice((first + band.start) * row, band.len() * row) };
            let (needed, conv) = conv.of_rows(band);
            let x =
                &x[image * block.convolution.image_len()..][needed.start * input_row..needed.end * input_row];
            convolve(&conv, block.activation, filter, x, y);
        }
    };
    let all = conv.batch * rows;
    if conv.multiply_adds() < WORTH_SPLITTING { some(0..all) } else { team::split(all, |_, part| some(part)) }
}

/// Splits the images of a batch over the team.
pub(super) fn split_images(conv: &Convolution, f: impl Fn(Range<usize>) + Sync) {
    if conv.multiply_adds() < WORTH_SPLITTING {
        f(0..conv.batch)
    } else {
        team::split(conv.batch, |_, images| f(images))
    }
}

/// Convolution and activation of some images on this thread, without pooling.
pub(super) fn convolve_images(
    block: &ConvBlock,
    filter: &PackedFilter,
    x: ConstPointer<f32>,
    images: Range<usize>,
    output: &mut [f32],
) {
    let block = &block.live();
    let conv = &Convolution { batch: images.len(), ..block.convolution };
    let image_len = conv.image_len();
    // SAFETY: the input is `batch` images, and these are some of them.
    let input =
        unsafe { std::slice::from_raw_parts(x.at(images.start * image_len), images.len() * image_len) };
    convolve(conv, block.activation, filter, input, output);
}

/// A convolution as it is computed, and an activation, on this thread.
pub(super) fn convolve(
    conv: &Convolution,
    activation: Activation,
    filter: &PackedFilter,
    input: &[f32],
    output: &mut [f32],
) {
    assert_eq!(input.len(), conv.batch * conv.image_len(), "the input is [N, H, W, Ci]");
    assert_eq!(output.len(), conv.batch * conv.output_len(), "the output is [N, Ho, Wo, Co]");
    match &filter.kind {
        FilterKind::Depthwise(taps) => {
            let outputs = output.chunks_exact_mut(conv.output_len());
            for (input, output) in input.chunks_exact(conv.image_len()).zip(outputs) {
                taps.forward_image(filter.isa, conv, activation, input, output);
            }
        }
        FilterKind::Winograd(filter) => {
            let (x, y) = (ConstPointer::new(input), MutPointer::new(output));
            let transformed = Transformed { conv, filter, activation, unit: Unit::Pixel, x, y, index: None };
            transformed.tiles(0..conv.batch * transformed.tiles_of_image());
        }
        FilterKind::Panels(_) | FilterKind::Groups(_) => {
            let panels = filter.panels();
            let (x, y) = (ConstPointer::new(input), MutPointer::new(output));
            let convolved = Convolved { conv, activation, unit: Unit::Pixel, panels, x, y, index: None };
            convolved.units(0..conv.batch * convolved.units_of_image());
        }
    }
}

/// A convolution with panels, pixels or 2×2 windows being its units.
pub(super) struct Convolved<'a> {
    pub conv: &'a Convolution,
    pub activation: Activation,
    pub unit: Unit,
    /// One set a group.
    pub panels: &'a [Panels],
    /// `[N, H, W, Ci]`
    pub x: ConstPointer<'a, f32>,
    /// `[N, units, Co]`
    pub y: MutPointer<'a, f32>,
    pub index: Option<MutPointer<'a, u8>>,
}

impl Convolved<'_> {
    /// Rows and columns of units.
    fn extent(&self) -> [usize; 2] {
        let [_, rows, columns, _] = self.conv.output_shape();
        match self.unit {
            Unit::Pixel => [rows, columns],
            Unit::MaxWindow => [rows / 2, columns / 2],
        }
    }

    pub fn units_of_image(&self) -> usize {
        self.extent().iter().product()
    }

    /// All units, split over the team.
    fn all(&self) {
        let units = self.conv.batch * self.units_of_image();
        if self.conv.multiply_adds() < WORTH_SPLITTING {
            self.units(0..units)
        } else {
            team::split(units, |_, range| self.units(range))
        }
    }

    /// Some units of the batch, on this thread.
    pub fn units(&self, range: Range<usize>) {
        let per_image = self.units_of_image();
        let images = (CHUNK / per_image.max(1)).max(1);
        let rounded = self.precision() == Precision::Bf16;
        let direct = self.conv.padding == Padding::default() && self.conv.groups == 1 && !rounded;
        let channels = self.conv.group_inputs();
        let window = Window::new(self.conv, self.conv.group_words(self.precision()));
        let mut copies =
            if direct { AlignedBuffer::new(0) } else { AlignedBuffer::zeroed(images * window.image) };
        let mut start = range.start;
        while start < range.end {
            let first_image = start / per_image;
            let end = range.end.min((first_image + images) * per_image);
            let layout = self.layout(window.row, window.image);
            let first_unit = start - first_image * per_image;
            let input = self.x.at(first_image * self.conv.image_len());
            if direct {
                self.tiles(0, layout, input, first_unit, start..end);
            } else {
                for group in 0..self.conv.groups {
                    for image in first_image..end.div_ceil(per_image) {
                        let len = self.conv.image_len();
                        // SAFETY: the input is `batch` images.
                        let from = unsafe { std::slice::from_raw_parts(self.x.at(image * len), len) };
                        let to = &mut copies[(image - first_image) * window.image..];
                        if rounded {
                            window.copy_as_pairs(self.panels[0].isa(), from, group * channels, channels, to);
                        } else {
                            window.copy(from, group * channels, channels, to);
                        }
                    }
                    self.tiles(group, layout, copies.as_ptr(), first_unit, start..end);
                }
            }
            start = end;
        }
    }

    fn precision(&self) -> Precision {
        self.panels[0].precision()
    }

    /// `units` of one group, whose inputs start at `input`, `first_unit` units before the first of them.
    fn tiles(&self, group: usize, layout: Layout, input: *const f32, first_unit: usize, units: Range<usize>) {
        let panels = &self.panels[group];
        let output_step = self.conv.out_channels;
        let at = units.start * output_step + group * self.conv.group_outputs();
        let tiles = Tiles {
            layout,
            unit: self.unit,
            input,
            first_unit,
            units: units.len(),
            panels,
            blocks: 0..panels.blocks(),
            activation: self.activation,
            output: self.y.at(at),
            output_step,
            adds: false,
            index: self.index.map_or(std::ptr::null_mut(), |index| index.at(at)),
        };
        match self.precision() {
            Precision::F32 => panels.isa().run(tiles),
            Precision::Bf16 => panels.isa().run_bf16(PairTiles(tiles)),
        }
    }

    /// With `row` and `image` words in a row and an image of the (padded) input.
    fn layout(&self, row: usize, image: usize) -> Layout {
        let Convolution { kernel, stride, .. } = *self.conv;
        let channels = self.conv.group_words(self.precision());
        let [rows, columns] = self.extent();
        let pixels = match self.unit {
            Unit::Pixel => 1,
            Unit::MaxWindow => 2,
        };
        let (pixel_right, pixel_down) = (stride[1] * channels, stride[0] * row);
        Layout {
            columns,
            rows,
            column_step: pixels * pixel_right,
            row_step: pixels * pixel_down,
            image_step: image,
            kernel_rows: kernel[0],
            kernel_row_step: row,
            run: kernel[1] * channels,
            run_step: 1,
            pixel_right,
            pixel_down,
        }
    }
}
