//! The inner loops of depthwise convolutions and their input gradients.
//!
//! For the usual kernels a tile is some pixels of a row by one vector of channels, whose sums stay in registers while
//! each input goes to all of them that it is a part of; for any others it is one pixel by some vectors of channels.

use std::ops::Range;

use crate::activation::Activation;
use crate::simd::{Kernel, Simd, unrolled};

/// `y[first + step · u] = Σₖ x[stride · u + origin + k] · w[k]` in rows and columns, for each channel; what lies outside
/// of `x` counts as zero.
#[derive(Clone, Copy)]
pub(super) struct Correlation {
    pub channels: usize,
    /// Rows and columns of `x`, of `y`, and of the kernel.
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub kernel: [usize; 2],
    /// The outputs that are computed.
    pub first: [usize; 2],
    pub step: [usize; 2],
    /// Which inputs they read.
    pub stride: [usize; 2],
    pub origin: [isize; 2],
}

impl Correlation {
    /// The taps of unit `u` in a dimension that lie in the image.
    #[inline(always)]
    fn taps(&self, dimension: usize, u: usize) -> Range<usize> {
        let start = (self.stride[dimension] * u) as isize + self.origin[dimension];
        let before = usize::try_from(-start).unwrap_or(0);
        let inside = usize::try_from(self.input[dimension] as isize - start).unwrap_or(0);
        before.min(self.kernel[dimension])..inside.min(self.kernel[dimension])
    }

    /// The units in a dimension whose outputs are in `range`.
    #[inline(always)]
    fn units(&self, dimension: usize, range: Range<usize>) -> Range<usize> {
        let unit = |at: usize| at.saturating_sub(self.first[dimension]).div_ceil(self.step[dimension]);
        unit(range.start)..unit(range.end)
    }

    /// Where in `x` unit `(row, column)` reads its first tap; wraps where that lies outside.
    #[inline(always)]
    fn input_at(&self, row: usize, column: usize) -> usize {
        let row = (self.stride[0] * row) as isize + self.origin[0];
        let column = (self.stride[1] * column) as isize + self.origin[1];
        (row * self.input[1] as isize + column).wrapping_mul(self.channels as isize) as usize
    }

    #[inline(always)]
    fn output_at(&self, row: usize, column: usize) -> usize {
        let [row, column] = [self.first[0] + self.step[0] * row, self.first[1] + self.step[1] * column];
        (row * self.output[1] + column) * self.channels
    }
}

/// Computes the outputs of some rows of one image: `affine(activation(bias + correlation))`.
pub(super) struct Correlator<'a> {
    pub correlation: Correlation,
    /// Of the output.
    pub rows: Range<usize>,
    /// `[tap][channel]`
    pub weights: &'a [f32],
    pub bias: Option<&'a [f32]>,
    pub activation: Activation,
    pub affine: Option<[&'a [f32]; 2]>,
    pub x: &'a [f32],
    pub y: &'a mut [f32],
}

/// Vectors of channels at the borders.
const VECTORS: usize = 4;

impl Kernel for Correlator<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Correlation { channels, input, output, kernel, .. } = self.correlation;
        assert_eq!(self.x.len(), input[0] * input[1] * channels);
        assert_eq!(self.y.len(), output[0] * output[1] * channels);
        assert_eq!(self.weights.len(), kernel[0] * kernel[1] * channels);
        assert!(self.bias.is_none_or(|bias| bias.len() == channels));
        assert!(self.affine.is_none_or(|[scale, shift]| scale.len() == channels && shift.len() == channels));
        assert!(self.rows.end <= output[0]);
        let columns = self.correlation.units(1, 0..output[1]);
        let y = self.y.as_mut_ptr();
        for row in self.correlation.units(0, self.rows.clone()) {
            // SAFETY: the lengths were checked; only taps inside of the image are read, of units and channels that exist.
            unsafe {
                match (kernel[1], self.correlation.stride[1]) {
                    (1, 1) => self.row::<S, 1, 1, 8>(s, row, columns.end, y),
                    (2, 1) => self.row::<S, 2, 1, 8>(s, row, columns.end, y),
                    (3, 1) => self.row::<S, 3, 1, 8>(s, row, columns.end, y),
                    (5, 1) => self.row::<S, 5, 1, 8>(s, row, columns.end, y),
                    (3, 2) => self.row::<S, 3, 2, 4>(s, row, columns.end, y),
                    (5, 2) => self.row::<S, 5, 2, 4>(s, row, columns.end, y),
                    _ => self.any_row(s, row, columns.end, y),
                }
                self.finish(s, row, columns.end, y);
            }
        }
    }
}

#[inline(always)]
unsafe fn load<S: Simd, const FULL: bool>(s: S, from: *const f32, live: usize) -> S::F {
    // SAFETY: the caller vouches for all lanes, or the live ones.
    unsafe { if FULL { s.load(from) } else { s.load_n(from, live) } }
}

impl Correlator<'_> {
    /// One row of outputs for a kernel `K` wide, `P` at a time.
    ///
    /// # Safety
    /// The row exists, and nobody else accesses these outputs.
    #[inline(always)]
    unsafe fn row<S: Simd, const K: usize, const STRIDE: usize, const P: usize>(
        &self,
        s: S,
        row: usize,
        columns: usize,
        y: *mut f32,
    ) {
        let channels = self.correlation.channels;
        let whole = channels - channels % S::LANES;
        // SAFETY: as this function's contract.
        unsafe {
            for c in (0..whole).step_by(S::LANES) {
                for column in (0..columns).step_by(P) {
                    let outputs = columns - column;
                    self.pixels::<S, K, STRIDE, P, true>(s, [row, column], outputs, c, y);
                }
            }
            if whole < channels {
                for column in (0..columns).step_by(P) {
                    let outputs = columns - column;
                    self.pixels::<S, K, STRIDE, P, false>(s, [row, column], outputs, whole, y);
                }
            }
        }
    }

    /// The first `outputs` of `P` pixels of a row, by one vector of channels: whole, if `FULL`.
    ///
    /// # Safety
    /// They exist, and nobody else accesses these outputs.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const K: usize, const STRIDE: usize, const P: usize, const FULL: bool>(
        &self,
        s: S,
        [row, column]: [usize; 2],
        outputs: usize,
        c: usize,
        y: *mut f32,
    ) {
        let Correlation { channels, input, stride, step, origin, .. } = self.correlation;
        let live = channels - c;
        let x = self.x.as_ptr().wrapping_add(self.correlation.input_at(row, column)).wrapping_add(c);
        let first = ((stride[1] * column) as isize + origin[1]) as usize; // wraps where it is in the padding
        // SAFETY: as this function's contract; inputs outside of the image are left out.
        unsafe {
            let mut sums = [self.start::<S, FULL>(s, c, live); P];
            for tap_row in self.correlation.taps(0, row) {
                let weights = self.weights.as_ptr().add(tap_row * K * channels + c);
                let mut w = [s.splat(0.); K];
                for tap in 0..K {
                    w[tap] = load::<S, FULL>(s, weights.add(tap * channels), live);
                }
                let x = x.wrapping_add(tap_row * input[1] * channels);
                let inputs = (P - 1) * STRIDE + K;
                unrolled!(i < inputs, {
                    if first.wrapping_add(i) < input[1] {
                        let x = load::<S, FULL>(s, x.wrapping_add(i * channels), live);
                        for tap in 0..K {
                            // The output that takes this input by this tap.
                            if i >= tap && (i - tap) % STRIDE == 0 && (i - tap) / STRIDE < P {
                                let p = (i - tap) / STRIDE;
                                sums[p] = s.fma(x, w[tap], sums[p]);
                            }
                        }
                    }
                });
            }
            let y = y.add(self.correlation.output_at(row, column) + c);
            let y_step = step[1] * channels;
            unrolled!(p < P, {
                if p < outputs {
                    self.end::<S, FULL>(s, sums[p], y.wrapping_add(p * y_step), live);
                }
            });
        }
    }

    /// One row of outputs for any kernel.
    ///
    /// # Safety
    /// As `row`.
    #[inline(always)]
    unsafe fn any_row<S: Simd>(&self, s: S, row: usize, columns: usize, y: *mut f32) {
        let channels = self.correlation.channels;
        let mut c = 0;
        while c < channels {
            let live = channels - c;
            // SAFETY: as this function's contract.
            unsafe {
                if live >= VECTORS * S::LANES {
                    for column in 0..columns {
                        self.pixel::<S, VECTORS, true>(s, row, column, c, y);
                    }
                    c += VECTORS * S::LANES;
                } else {
                    for column in 0..columns {
                        self.pixel::<S, 1, false>(s, row, column, c, y);
                    }
                    c += live.min(S::LANES);
                }
            }
        }
    }

    /// One pixel, which may read padding.
    ///
    /// # Safety
    /// As `row`.
    #[inline(always)]
    unsafe fn pixel<S: Simd, const V: usize, const FULL: bool>(
        &self,
        s: S,
        row: usize,
        column: usize,
        c: usize,
        y: *mut f32,
    ) {
        let Correlation { channels, input, kernel, .. } = self.correlation;
        let live = (channels - c).min(S::LANES);
        let (rows, columns) = (self.correlation.taps(0, row), self.correlation.taps(1, column));
        let x = self.x.as_ptr().wrapping_add(self.correlation.input_at(row, column)).wrapping_add(c);
        // SAFETY: taps in `rows` and `columns` lie in the image.
        unsafe {
            let mut sums = [s.splat(0.); V];
            for v in 0..V {
                sums[v] = self.start::<S, FULL>(s, c + v * S::LANES, live);
            }
            for tap_row in rows {
                for tap in columns.clone() {
                    let x = x.wrapping_add((tap_row * input[1] + tap) * channels);
                    let weights = self.weights.as_ptr().add((tap_row * kernel[1] + tap) * channels + c);
                    for v in 0..V {
                        let x = load::<S, FULL>(s, x.wrapping_add(v * S::LANES), live);
                        let weight = load::<S, FULL>(s, weights.add(v * S::LANES), live);
                        sums[v] = s.fma(x, weight, sums[v]);
                    }
                }
            }
            let y = y.add(self.correlation.output_at(row, column) + c);
            unrolled!(v < V, { self.end::<S, FULL>(s, sums[v], y.add(v * S::LANES), live) });
        }
    }

    /// The bias.
    ///
    /// # Safety
    /// `live` channels exist from `c` on; a whole vector, if `FULL`.
    #[inline(always)]
    unsafe fn start<S: Simd, const FULL: bool>(&self, s: S, c: usize, live: usize) -> S::F {
        match self.bias {
            // SAFETY: as this function's contract.
            Some(bias) => unsafe { load::<S, FULL>(s, bias.as_ptr().add(c), live) },
            None => s.splat(0.),
        }
    }

    /// Stores a sum, within the bounds of its activation.
    ///
    /// # Safety
    /// `live` floats can be written at `to`; a whole vector, if `FULL`.
    #[inline(always)]
    unsafe fn end<S: Simd, const FULL: bool>(&self, s: S, sum: S::F, to: *mut f32, live: usize) {
        let [low, high] = self.activation.bounds().unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        let value = s.min(s.splat(high), s.max(s.splat(low), sum));
        // SAFETY: as this function's contract.
        unsafe { if FULL { s.store(to, value) } else { s.store_n(to, live, value) } }
    }

    /// Applies to a row of stored sums what `end` did not.
    ///
    /// # Safety
    /// As `row`.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: S, row: usize, columns: usize, y: *mut f32) {
        let channels = self.correlation.channels;
        if self.activation.bounds().is_some() && self.affine.is_none() {
            return;
        }
        for column in 0..columns {
            let y = y.wrapping_add(self.correlation.output_at(row, column));
            for c in (0..channels).step_by(S::LANES) {
                let live = (channels - c).min(S::LANES);
                // SAFETY: as this function's contract.
                unsafe {
                    let mut value = self.activation.apply(s, s.load_n(y.add(c), live));
                    if let Some([scale, shift]) = self.affine {
                        let shift = s.load_n(shift.as_ptr().add(c), live);
                        value = s.fma(s.load_n(scale.as_ptr().add(c), live), value, shift);
                    }
                    s.store_n(y.add(c), live, value);
                }
            }
        }
    }
}
