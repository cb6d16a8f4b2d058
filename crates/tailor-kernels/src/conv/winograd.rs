//! 3×3 convolutions of stride 1 with fewer products: minimal filtering F(2×2, 3×3), Lavin & Gray 2016, "Fast Algorithms
//! for Convolutional Neural Networks", section 4.1.
//!
//! ```text
//! Y = Aᵀ ( Σ (G g Gᵀ) ⊙ (Bᵀ d B) ) A        Σ over input channels, ⊙ element by element
//! ```
//!
//! A 2×2 tile of outputs takes 16 products per pair of channels where the sum over the kernel takes 36. Their sums over
//! input channels are 16 matrix products, on the tiles of all convolutions; what is left are the additions of the
//! transforms. Rounding errors are no larger than those of the plain sum, which has more to add up.

use std::ops::Range;

use super::Convolution;
use crate::activation::Activation;
use crate::buffer::AlignedBuffer;
use crate::panels::Panels;
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::{Isa, Kernel, Simd};
use crate::tile::{Layout, Tiles, Unit, store, store_window};

/// Elements of a transformed tile.
const POSITIONS: usize = 16;

/// Channels in and out below which the transforms cost more than they save.
const FEWEST_CHANNELS: usize = 32;

/// Share of the outputs of all tiles that must exist.
const LEAST_USE: f32 = 0.7;

/// Floats of transformed inputs at a time: half of a second-level cache of 512 KiB.
const CHUNK_FLOATS: usize = 64 << 10;

/// Whether this is faster than the plain sum.
pub(super) fn pays(conv: &Convolution) -> bool {
    let [_, rows, columns, _] = conv.output_shape();
    let padded = rows.next_multiple_of(2) * columns.next_multiple_of(2);
    conv.kernel == [3, 3]
        && conv.stride == [1, 1]
        && conv.groups == 1
        && conv.in_channels.min(conv.out_channels) >= FEWEST_CHANNELS
        && (rows * columns) as f32 >= LEAST_USE * padded as f32
}

/// Weights transformed and packed.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    /// Output channels of a position, rounded up to whole blocks of the panels.
    width: usize,
    /// Of `[positions, width]` channels.
    panels: Panels,
    /// `[Co]`, as scale and shift.
    bias: AlignedBuffer,
    affine: Option<[AlignedBuffer; 2]>,
}

impl Filter {
    /// From OHWI weights, with what is added before and scaled and shifted after the activation.
    pub fn pack(
        conv: &Convolution,
        isa: Isa,
        weights: &[f32],
        bias: Option<&[f32]>,
        affine: Option<[&[f32]; 2]>,
    ) -> Self {
        let (inputs, outputs) = (conv.in_channels, conv.out_channels);
        let width = outputs.next_multiple_of(2 * isa.lanes());
        let mut to = AlignedBuffer::zeroed(POSITIONS * width * inputs);
        let (position_step, output_step) = (width * inputs, inputs);
        isa.run(Weights { weights, inputs, reversed: false, to: &mut to, position_step, output_step });
        let panels = Panels::from_channels(isa, &to, POSITIONS * width, inputs, None);
        let bias = bias.map_or_else(|| AlignedBuffer::zeroed(outputs), AlignedBuffer::from_slice);
        let affine = affine.map(|values| values.map(AlignedBuffer::from_slice));
        Self { isa, inputs, outputs, width, panels, bias, affine }
    }

    /// Whether it has a convolution's channels.
    pub fn fits(&self, conv: &Convolution) -> bool {
        (self.inputs, self.outputs) == (conv.in_channels, conv.out_channels)
    }

    /// The kernel turned around, from output gradients to input gradients.
    pub fn turned(conv: &Convolution, isa: Isa, weights: &[f32]) -> Self {
        let (inputs, outputs) = (conv.out_channels, conv.in_channels);
        let width = outputs.next_multiple_of(2 * isa.lanes());
        let row = POSITIONS * width;
        let mut to = AlignedBuffer::zeroed(inputs * row);
        let (position_step, output_step) = (width, row);
        isa.run(Weights {
            weights,
            inputs: outputs,
            reversed: true,
            to: &mut to,
            position_step,
            output_step,
        });
        let panels = Panels::from_rows(isa, &to, row, inputs, None, |input| input * row);
        let bias = AlignedBuffer::zeroed(outputs);
        Self { isa, inputs, outputs, width, panels, bias, affine: None }
    }
}

/// A convolution with a transformed filter; its outputs are pixels or 2×2 windows.
#[derive(Clone, Copy)]
pub(super) struct Transformed<'a> {
    pub conv: &'a Convolution,
    pub filter: &'a Filter,
    pub activation: Activation,
    pub unit: Unit,
    /// `[N, H, W, Ci]`
    pub x: ConstPointer<'a, f32>,
    /// `[N, units, Co]`
    pub y: MutPointer<'a, f32>,
    pub index: Option<MutPointer<'a, u8>>,
}

impl Transformed<'_> {
    /// Rows and columns of tiles in an image.
    fn extent(&self) -> [usize; 2] {
        let [_, rows, columns, _] = self.conv.output_shape();
        match self.unit {
            Unit::Pixel => [rows.div_ceil(2), columns.div_ceil(2)],
            Unit::MaxWindow => [rows / 2, columns / 2],
        }
    }

    pub fn tiles_of_image(&self) -> usize {
        self.extent().iter().product()
    }

    /// Some tiles of the batch, on this thread.
    pub fn tiles(&self, tiles: Range<usize>) {
        let Filter { isa, inputs, width, ref panels, .. } = *self.filter;
        assert!(self.filter.fits(self.conv), "the filter was packed for this convolution");
        // Twelve rows fill the matrix products' registers.
        let chunk = (CHUNK_FLOATS / POSITIONS / inputs).next_multiple_of(12).min(120).min(tiles.len());
        // A vector more than needed from position to position: powers of two would share few lines of the cache.
        let [input_step, output_step] = [inputs, width].map(|n| (chunk * n).next_multiple_of(16) + 16);
        let mut transformed = AlignedBuffer::new(POSITIONS * input_step);
        let mut products = AlignedBuffer::new(POSITIONS * output_step);
        for first in tiles.clone().step_by(chunk.max(1)) {
            let tiles = first..tiles.end.min(first + chunk);
            isa.run(Inputs { of: self, tiles: tiles.clone(), to: &mut transformed, step: input_step });
            for position in 0..POSITIONS {
                let blocks = panels.blocks() / POSITIONS;
                isa.run(Tiles {
                    layout: Layout::matrix(tiles.len(), inputs, inputs, 1),
                    unit: Unit::Pixel,
                    input: transformed[position * input_step..].as_ptr(),
                    first_unit: 0,
                    units: tiles.len(),
                    panels,
                    blocks: position * blocks..(position + 1) * blocks,
                    activation: Activation::Identity,
                    // Channels count from the first position's.
                    output: products[position * (output_step - width)..].as_mut_ptr(),
                    adds: false,
                    output_step: width,
                    index: std::ptr::null_mut(),
                });
            }
            isa.run(Outputs { of: self, tiles, from: &products, step: output_step });
        }
    }

    /// Image, row and column of a tile.
    #[inline(always)]
    fn place(&self, tile: usize) -> [usize; 3] {
        let [rows, columns] = self.extent();
        [tile / (rows * columns), tile / columns % rows, tile % columns]
    }
}

/// `G g Gᵀ`
struct Weights<'a> {
    /// `[Co, 3, 3, Ci]`
    weights: &'a [f32],
    inputs: usize,
    /// Whether kernels are turned around: `G` takes a reversed one to the same rows, the first and the last exchanged.
    reversed: bool,
    to: &'a mut [f32],
    /// From a position to the next, and from an output channel to the next.
    position_step: usize,
    output_step: usize,
}

impl Kernel for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { weights, inputs, to, position_step, output_step, .. } = self;
        let outputs = weights.len() / 9 / inputs;
        assert!(weights.len() == outputs * 9 * inputs && outputs > 0);
        assert!((POSITIONS - 1) * position_step + (outputs - 1) * output_step + inputs <= to.len());
        let order = if self.reversed { [3, 1, 2, 0] } else { [0, 1, 2, 3] };
        for output in 0..outputs {
            for input in (0..inputs).step_by(S::LANES) {
                let live = (inputs - input).min(S::LANES);
                // SAFETY: `live` inputs of this output's nine taps are read, and written at 16 positions.
                unsafe {
                    let from = weights.as_ptr().add(output * 9 * inputs + input);
                    let to = to.as_mut_ptr().add(output * output_step + input);
                    let mut columns = [[s.splat(0.); 3]; 4];
                    for column in 0..3 {
                        let mut g = [s.splat(0.); 3];
                        for row in 0..3 {
                            g[row] = s.load_n(from.add((3 * row + column) * inputs), live);
                        }
                        let rows = filter_rows(s, g);
                        for row in 0..4 {
                            columns[row][column] = rows[row];
                        }
                    }
                    for row in 0..4 {
                        let all = filter_rows(s, columns[row]);
                        for column in 0..4 {
                            let position = 4 * order[row] + order[column];
                            s.store_n(to.add(position * position_step), live, all[column]);
                        }
                    }
                }
            }
        }
    }
}

/// `G g`
#[inline(always)]
fn filter_rows<S: Simd>(s: S, g: [S::F; 3]) -> [S::F; 4] {
    let half = s.splat(0.5);
    let (outer, middle) = (s.mul(half, s.add(g[0], g[2])), s.mul(half, g[1]));
    [g[0], s.add(outer, middle), s.sub(outer, middle), g[2]]
}

/// `Bᵀ d`
#[inline(always)]
fn input_rows<S: Simd>(s: S, d: [S::F; 4]) -> [S::F; 4] {
    [s.sub(d[0], d[2]), s.add(d[1], d[2]), s.sub(d[2], d[1]), s.sub(d[1], d[3])]
}

/// `Aᵀ m`
#[inline(always)]
fn output_rows<S: Simd>(s: S, m: [S::F; 4]) -> [S::F; 2] {
    [s.add(s.add(m[0], m[1]), m[2]), s.sub(s.sub(m[1], m[2]), m[3])]
}

/// Transformed inputs `[positions, tiles, Ci]`.
struct Inputs<'a> {
    of: &'a Transformed<'a>,
    tiles: Range<usize>,
    to: &'a mut [f32],
    /// From a position to the next.
    step: usize,
}

impl Kernel for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { of, tiles, to, step } = self;
        let conv = of.conv;
        let channels = conv.in_channels;
        assert!(tiles.len() * channels <= step && to.len() == POSITIONS * step);
        for (i, tile) in tiles.enumerate() {
            let [image, row, column] = of.place(tile);
            let image = of.x.at(image * conv.image_len());
            // Where the tile's inputs are, unless outside.
            let mut from = [[std::ptr::null::<f32>(); 4]; 4];
            let mut inside = true;
            for r in 0..4 {
                for c in 0..4 {
                    let y = (2 * row + r).wrapping_sub(conv.padding.top);
                    let x = (2 * column + c).wrapping_sub(conv.padding.left);
                    if y < conv.height && x < conv.width {
                        from[r][c] = image.wrapping_add((y * conv.width + x) * channels);
                    } else {
                        inside = false;
                    }
                }
            }
            for channel in (0..channels).step_by(S::LANES) {
                let live = (channels - channel).min(S::LANES);
                // SAFETY: inputs that are not null lie in the image, of which `live` channels are read; as many are
                // written for a tile of the chunk.
                unsafe {
                    let to = to.as_mut_ptr().add(i * channels + channel);
                    if inside && live == S::LANES {
                        tile_inputs::<S, true>(s, &from, channel, live, to, step);
                    } else {
                        tile_inputs::<S, false>(s, &from, channel, live, to, step);
                    }
                }
            }
        }
    }
}

/// `Bᵀ d B` for some channels of one tile.
#[inline(always)]
unsafe fn tile_inputs<S: Simd, const WHOLE: bool>(
    s: S,
    from: &[[*const f32; 4]; 4],
    channel: usize,
    live: usize,
    to: *mut f32,
    step: usize,
) {
    // SAFETY: as the caller's.
    unsafe {
        let mut columns = [[s.splat(0.); 4]; 4];
        for c in 0..4 {
            let mut d = [s.splat(0.); 4];
            for r in 0..4 {
                if WHOLE {
                    d[r] = s.load(from[r][c].add(channel));
                } else if !from[r][c].is_null() {
                    d[r] = s.load_n(from[r][c].add(channel), live);
                }
            }
            let rows = input_rows(s, d);
            for r in 0..4 {
                columns[r][c] = rows[r];
            }
        }
        for r in 0..4 {
            let all = input_rows(s, columns[r]);
            for c in 0..4 {
                store(s, to.add((4 * r + c) * step), live, all[c]);
            }
        }
    }
}

/// Outputs from the products `[positions, tiles, width]`.
struct Outputs<'a> {
    of: &'a Transformed<'a>,
    tiles: Range<usize>,
    from: &'a [f32],
    /// From a position to the next.
    step: usize,
}

impl Kernel for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { of, tiles, from, step } = self;
        let [_, rows, columns, channels] = of.conv.output_shape();
        let Filter { width, bias, affine, .. } = of.filter;
        assert!(tiles.len() * width <= step && from.len() == POSITIONS * step);
        for (i, tile) in tiles.enumerate() {
            let [image, row, column] = of.place(tile);
            for channel in (0..channels).step_by(S::LANES) {
                let live = (channels - channel).min(S::LANES);
                // SAFETY: `live` channels are read of the products, bias, scale and shift, and written where outputs
                // exist; the outputs of a tile belong to one thread.
                unsafe {
                    let mut sums = tile_outputs(s, from.as_ptr().add(i * width + channel), step);
                    let bias = s.load_n(bias.as_ptr().add(channel), live);
                    for sum in &mut sums {
                        *sum = of.activation.apply(s, s.add(*sum, bias));
                    }
                    if let Some([scale, shift]) = affine {
                        let scale = s.load_n(scale.as_ptr().add(channel), live);
                        let shift = s.load_n(shift.as_ptr().add(channel), live);
                        for sum in &mut sums {
                            *sum = s.fma(scale, *sum, shift);
                        }
                    }
                    if of.unit == Unit::MaxWindow {
                        let at = tile * channels + channel;
                        let index = of.index.map_or(std::ptr::null_mut(), |index| index.at(at));
                        store_window(s, sums, of.activation, of.y.at(at), index, live);
                        continue;
                    }
                    for (place, sum) in sums.into_iter().enumerate() {
                        let (row, column) = (2 * row + place / 2, 2 * column + place % 2);
                        if row < rows && column < columns {
                            let pixel = (image * rows + row) * columns + column;
                            store(s, of.y.at(pixel * channels + channel), live, sum);
                        }
                    }
                }
            }
        }
    }
}

/// `Aᵀ m A` for a vector of channels of one tile, row by row.
#[inline(always)]
unsafe fn tile_outputs<S: Simd>(s: S, from: *const f32, step: usize) -> [S::F; 4] {
    let mut columns = [[s.splat(0.); 4]; 2];
    for c in 0..4 {
        let mut m = [s.splat(0.); 4];
        for r in 0..4 {
            // SAFETY: the caller vouches for the tile's products, of which there are whole vectors.
            m[r] = unsafe { s.load(from.add((4 * r + c) * step)) };
        }
        let rows = output_rows(s, m);
        columns[0][c] = rows[0];
        columns[1][c] = rows[1];
    }
    let (top, bottom) = (output_rows(s, columns[0]), output_rows(s, columns[1]));
    [top[0], top[1], bottom[0], bottom[1]]
}
