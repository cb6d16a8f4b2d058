//! The one inner loop of convolutions, their input gradients, and dense layers.
//!
//! A *unit* is an output pixel (or a row of a matrix product, or a 2×2 pooling window of pixels); a *tile* is
//! a few units by two vectors of output channels, whose sums stay in registers:
//!
//! ```text
//! for each step of the reduction (kernel row × kernel column × input channel)
//!     load 2 vectors of weights                            panel: [reduction][2 vectors]
//!     for each pixel: broadcast one input, 2 fused multiply-adds
//! ```
//!
//! With 12 pixels × 2 vectors on AVX-512 (6 × 2 on 16 registers) 24 multiply-adds hide the 14 loads. Units may
//! start anywhere: a tile crosses the ends of rows and images, so nothing is wasted on small images.

use crate::activation::Activation;
use crate::panels::Panels;
use crate::simd::{Kernel, Simd, unrolled};

/// Where the inputs of each unit stand. All distances are in floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Units in a row, rows in an image.
    pub columns: usize,
    pub rows: usize,
    /// From a unit to the next in its row, from a row of units to the next, from an image to the next.
    pub column_step: usize,
    pub row_step: usize,
    pub image_step: usize,
    /// The reduction: `kernel_rows` runs, `kernel_row_step` apart, of `run` values, `run_step` apart.
    pub kernel_rows: usize,
    pub kernel_row_step: usize,
    pub run: usize,
    pub run_step: usize,
    /// For units that are pooling windows: from a pixel to its right and its lower neighbour.
    pub pixel_right: usize,
    pub pixel_down: usize,
}

impl Layout {
    /// Rows of a matrix whose reduction index has stride `reduction_step`.
    pub fn matrix(rows: usize, row_step: usize, reduction: usize, reduction_step: usize) -> Self {
        Self {
            columns: rows,
            rows: 1,
            column_step: row_step,
            row_step: 0,
            image_step: 0,
            kernel_rows: 1,
            kernel_row_step: 0,
            run: reduction,
            run_step: reduction_step,
            pixel_right: 0,
            pixel_down: 0,
        }
    }
}

/// What one unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Pixel,
    /// A 2×2 window whose maximum is the output.
    MaxWindow,
}

/// Code in the saved index of a 2×2 window through which no gradient flows: ReLU is flat there. Codes below
/// are positions, row by row.
pub(crate) const DEAD: u8 = 4;

/// Computes units `first_unit..first_unit + units` for some blocks of output channels.
///
/// `output[unit][channel] = pool(scale · activation(bias + Σ input · weight) + shift)`
pub(crate) struct Tiles<'a> {
    pub layout: Layout,
    pub unit: Unit,
    /// The image that `first_unit` counts from.
    pub input: *const f32,
    pub first_unit: usize,
    pub units: usize,
    pub panels: &'a Panels,
    pub blocks: std::ops::Range<usize>,
    pub activation: Activation,
    /// Channel 0 of the unit `first_unit`; units are `output_step` apart.
    pub output: *mut f32,
    pub output_step: usize,
    /// Whether pixels are added to what `output` holds.
    pub adds: bool,
    /// For windows: position of the maximum or [`DEAD`], one byte an output; null where nobody asks.
    pub index: *mut u8,
}

impl Kernel for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.blocks::<S, false>(s);
    }
}

/// Tiles whose inputs and weights are pairs of bf16, for [`crate::simd::Isa::run_bf16`]: all distances are then in
/// pairs.
pub(crate) struct PairTiles<'a>(pub Tiles<'a>);

impl Kernel for PairTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.0.blocks::<S, true>(s);
    }
}

impl Tiles<'_> {
    #[inline(always)]
    fn blocks<S: Simd, const PAIRS: bool>(&self, s: S) {
        let reduction = self.layout.kernel_rows * self.layout.run;
        assert_eq!(reduction, self.panels.reduction(), "the panels fit the layout");
        if self.units == 0 {
            return;
        }
        for block in self.blocks.clone() {
            // SAFETY: whoever made `Tiles` vouches for the pointers.
            unsafe {
                if self.panels.width(block) == S::LANES {
                    self.block::<S, PAIRS, 1>(s, block)
                } else {
                    self.block::<S, PAIRS, 2>(s, block)
                }
            }
        }
    }

    /// # Safety
    /// As the fields say: inputs of all units can be read, outputs and indices written.
    #[inline(always)]
    unsafe fn block<S: Simd, const PAIRS: bool, const V: usize>(&self, s: S, block: usize) {
        let mut cursor = Cursor::new(&self.layout, self.first_unit);
        let mut unit = 0;
        while unit < self.units {
            let left = self.units - unit;
            // SAFETY: at most `left` units are taken; the rest as this function's contract.
            unit += unsafe {
                match self.unit {
                    Unit::Pixel if S::REGISTERS >= 32 => match left {
                        12.. => self.pixels::<S, PAIRS, 12, V>(s, block, unit, &mut cursor),
                        8.. => self.pixels::<S, PAIRS, 8, V>(s, block, unit, &mut cursor),
                        4.. => self.pixels::<S, PAIRS, 4, V>(s, block, unit, &mut cursor),
                        2.. => self.pixels::<S, PAIRS, 2, V>(s, block, unit, &mut cursor),
                        _ => self.pixels::<S, PAIRS, 1, V>(s, block, unit, &mut cursor),
                    },
                    Unit::Pixel => match left {
                        6.. => self.pixels::<S, PAIRS, 6, V>(s, block, unit, &mut cursor),
                        3.. => self.pixels::<S, PAIRS, 3, V>(s, block, unit, &mut cursor),
                        _ => self.pixels::<S, PAIRS, 1, V>(s, block, unit, &mut cursor),
                    },
                    Unit::MaxWindow if S::REGISTERS >= 32 => match left {
                        3.. => self.windows::<S, PAIRS, 3, 12, V>(s, block, unit, &mut cursor),
                        2.. => self.windows::<S, PAIRS, 2, 8, V>(s, block, unit, &mut cursor),
                        _ => self.windows::<S, PAIRS, 1, 4, V>(s, block, unit, &mut cursor),
                    },
                    Unit::MaxWindow => self.windows::<S, PAIRS, 1, 4, V>(s, block, unit, &mut cursor),
                }
            };
        }
    }

    /// One tile of pixels; returns how many.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const PAIRS: bool, const PIXELS: usize, const V: usize>(
        &self,
        s: S,
        block: usize,
        unit: usize,
        cursor: &mut Cursor,
    ) -> usize {
        let mut offsets = [0; PIXELS];
        for offset in &mut offsets {
            *offset = cursor.next(&self.layout);
        }
        // SAFETY: as `block`'s contract; only channels that exist are stored.
        unsafe {
            let sums = self.sums::<S, PAIRS, PIXELS, V>(s, block, &offsets);
            let channel = self.panels.first_channel(block);
            let live = self.panels.channels() - channel;
            let output = self.output.add(unit * self.output_step + channel);
            if self.adds {
                unrolled!(p < PIXELS, {
                    for v in 0..V {
                        let to = output.add(p * self.output_step + v * S::LANES);
                        add_to(s, to, live - v * S::LANES, sums[p][v]);
                    }
                });
                return PIXELS;
            }
            unrolled!(p < PIXELS, {
                for v in 0..V {
                    let to = output.add(p * self.output_step + v * S::LANES);
                    store(s, to, live - v * S::LANES, sums[p][v]);
                }
            });
        }
        PIXELS
    }

    /// One tile of `WINDOWS` windows (`PIXELS` is four times that); returns how many.
    #[inline(always)]
    unsafe fn windows<
        S: Simd,
        const PAIRS: bool,
        const WINDOWS: usize,
        const PIXELS: usize,
        const V: usize,
    >(
        &self,
        s: S,
        block: usize,
        unit: usize,
        cursor: &mut Cursor,
    ) -> usize {
        let (right, down) = (self.layout.pixel_right, self.layout.pixel_down);
        let mut offsets = [0; PIXELS];
        for window in 0..WINDOWS {
            let corner = cursor.next(&self.layout);
            offsets[4 * window] = corner;
            offsets[4 * window + 1] = corner + right;
            offsets[4 * window + 2] = corner + down;
            offsets[4 * window + 3] = corner + down + right;
        }
        // SAFETY: as `block`'s contract; only channels that exist are stored.
        unsafe {
            let sums = self.sums::<S, PAIRS, PIXELS, V>(s, block, &offsets);
            let channel = self.panels.first_channel(block);
            let live = self.panels.channels() - channel;
            unrolled!(window < WINDOWS, {
                let at = (unit + window) * self.output_step + channel;
                for v in 0..V {
                    let first = 4 * window;
                    let pixels = [sums[first][v], sums[first + 1][v], sums[first + 2][v], sums[first + 3][v]];
                    let index =
                        if self.index.is_null() { self.index } else { self.index.add(at + v * S::LANES) };
                    let output = self.output.add(at + v * S::LANES);
                    store_window(s, pixels, self.activation, output, index, live - v * S::LANES);
                }
            });
        }
        WINDOWS
    }

    /// `scale · activation(bias + Σ input · weight) + shift` for the pixels at `offsets`.
    #[inline(always)]
    unsafe fn sums<S: Simd, const PAIRS: bool, const PIXELS: usize, const V: usize>(
        &self,
        s: S,
        block: usize,
        offsets: &[usize; PIXELS],
    ) -> [[S::F; V]; PIXELS] {
        let layout = &self.layout;
        // SAFETY: panels hold `kernel_rows × run` rows of `V` vectors, and a padded bias; the inputs are the
        // caller's to vouch for.
        unsafe {
            let mut weights = self.panels.block(block);
            let bias = self.panels.bias(block);
            let mut sums = [[s.splat(0.); V]; PIXELS];
            for v in 0..V {
                let start = s.load(bias.add(v * S::LANES));
                for p in 0..PIXELS {
                    sums[p][v] = start;
                }
            }
            for kernel_row in 0..layout.kernel_rows {
                let mut input = self.input.add(kernel_row * layout.kernel_row_step);
                for _ in 0..layout.run {
                    let mut w = [s.splat(0.); V];
                    for v in 0..V {
                        w[v] = s.load(weights.add(v * S::LANES));
                    }
                    for p in 0..PIXELS {
                        let x = s.splat(*input.add(offsets[p]));
                        for v in 0..V {
                            sums[p][v] = if PAIRS {
                                s.dot_halves(x, w[v], sums[p][v])
                            } else {
                                s.fma(x, w[v], sums[p][v])
                            };
                        }
                    }
                    weights = weights.add(V * S::LANES);
                    input = input.wrapping_add(layout.run_step);
                }
            }
            match self.activation.bounds() {
                _ if self.activation == Activation::Identity => {}
                Some([low, high]) => {
                    unrolled!(p < PIXELS, {
                        for v in 0..V {
                            sums[p][v] = s.min(s.splat(high), s.max(s.splat(low), sums[p][v]));
                        }
                    });
                }
                None => {
                    // Not unrolled, as some of these are long; and through memory of its own, so that the sums stay in
                    // registers everywhere else.
                    let mut values = [0.; 12 * 2 * 16];
                    let values = values.as_mut_ptr();
                    let at = |p: usize, v: usize| (p * V + v) * S::LANES;
                    unrolled!(p < PIXELS, {
                        for v in 0..V {
                            s.store(values.add(at(p, v)), sums[p][v]);
                        }
                    });
                    for i in 0..PIXELS * V {
                        let value = values.add(i * S::LANES);
                        s.store(value, self.activation.apply(s, s.load(value)));
                    }
                    unrolled!(p < PIXELS, {
                        for v in 0..V {
                            sums[p][v] = s.load(values.add(at(p, v)));
                        }
                    });
                }
            }
            if let Some((scale, shift)) = self.panels.affine(block) {
                for v in 0..V {
                    let (a, b) = (s.load(scale.add(v * S::LANES)), s.load(shift.add(v * S::LANES)));
                    unrolled!(p < PIXELS, { sums[p][v] = s.fma(a, sums[p][v], b) });
                }
            }
            sums
        }
    }
}

/// Writes the maximum of a 2×2 window and its code (unless `index` is null), for one vector of channels of which `live`
/// exist.
///
/// # Safety
/// `min(live, LANES)` outputs and codes can be written.
#[inline(always)]
pub(crate) unsafe fn store_window<S: Simd>(
    s: S,
    pixels: [S::F; 4],
    activation: Activation,
    output: *mut f32,
    index: *mut u8,
    live: usize,
) {
    // SAFETY: as this function's contract.
    unsafe {
        if index.is_null() {
            let (top, bottom) = (s.max(pixels[0], pixels[1]), s.max(pixels[2], pixels[3]));
            return store(s, output, live, s.max(top, bottom));
        }
        let mut maximum = pixels[0];
        let mut code = s.splat_i(0);
        for position in 1..4 {
            let larger = s.gt(pixels[position], maximum);
            maximum = s.max(maximum, pixels[position]);
            code = s.select_i(larger, s.splat_i(position as i32), code);
        }
        let dead = s.splat_i(i32::from(DEAD));
        if matches!(activation, Activation::Relu | Activation::Relu6) {
            code = s.select_i(s.gt(maximum, s.splat(0.)), code, dead);
        }
        if activation == Activation::Relu6 {
            code = s.select_i(s.gt(s.splat(6.), maximum), code, dead);
        }
        store(s, output, live, maximum);
        s.store_bytes(index, live.min(S::LANES), code);
    }
}

/// Writes the lanes that are channels: all, or the first `live` of the last block.
///
/// # Safety
/// `min(live, LANES)` floats can be written.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(s: S, to: *mut f32, live: usize, a: S::F) {
    // SAFETY: the caller vouches for `min(live, LANES)` floats.
    unsafe { if live >= S::LANES { s.store(to, a) } else { s.store_n(to, live, a) } }
}

/// The same, added to what is there.
///
/// # Safety
/// `min(live, LANES)` floats can be read and written.
#[inline(always)]
unsafe fn add_to<S: Simd>(s: S, to: *mut f32, live: usize, a: S::F) {
    // SAFETY: as the caller's.
    unsafe {
        if live >= S::LANES {
            s.store(to, s.add(s.load(to), a))
        } else {
            s.store_n(to, live, s.add(s.load_n(to, live), a))
        }
    }
}

/// Walks over units: along a row, row by row, image by image.
struct Cursor {
    offset: usize,
    column: usize,
    row: usize,
    image_start: usize,
}

impl Cursor {
    #[inline(always)]
    fn new(layout: &Layout, unit: usize) -> Self {
        let (line, column) = (unit / layout.columns, unit % layout.columns);
        let (image, row) = (line / layout.rows, line % layout.rows);
        let image_start = image * layout.image_step;
        let offset = image_start + row * layout.row_step + column * layout.column_step;
        Self { offset, column, row, image_start }
    }

    /// The offset of this unit's first input; moves on to the next unit.
    #[inline(always)]
    fn next(&mut self, layout: &Layout) -> usize {
        let here = self.offset;
        self.offset += layout.column_step;
        self.column += 1;
        if self.column == layout.columns {
            self.column = 0;
            self.row += 1;
            if self.row == layout.rows {
                self.row = 0;
                self.image_start += layout.image_step;
            }
            self.offset = self.image_start + self.row * layout.row_step;
        }
        here
    }
}
