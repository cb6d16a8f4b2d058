//! Batch normalisation over `[rows, C]`, rows being all pixels of all images (Ioffe & Szegedy 2015,
//! arXiv:1502.03167).
//!
//! ```text
//! training   y = γ · (x - mean) / √(variance + ε) + β      mean, biased variance: of this batch, per channel
//! inference  y = scale · x + shift                         from running statistics; folded where it can be
//! ```

use crate::buffer::AlignedBuffer;
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::{Isa, Kernel, Simd, unrolled};
use crate::team;

/// Elements below which another thread is not worth waking.
const WORTH_SPLITTING: usize = 32 << 10;

/// Rows whose moments are summed up in one go, in f32 around their first; the rest is f64.
const CHUNK: usize = 256;

/// A batch normalisation's constants.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// The learnt scale, `[C]`.
    pub gamma: &'a [f32],
    /// The learnt shift, `[C]`.
    pub beta: &'a [f32],
    /// What is added to the variance.
    pub epsilon: f32,
}

/// Mean and biased variance of a batch, per channel. For a running variance multiply by `rows / (rows - 1)`, as
/// PyTorch does.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// `[C]`
    pub mean: AlignedBuffer,
    /// `[C]`
    pub variance: AlignedBuffer,
}

/// Operands of [`BatchNorm::backward`].
#[derive(Debug)]
pub struct NormGradient<'a> {
    /// The forward pass's input, `[rows, C]`.
    pub x: &'a [f32],
    /// What it returned.
    pub statistics: &'a Statistics,
    /// The loss's gradient with respect to the output.
    pub dy: &'a [f32],
    /// Where the gradient with respect to `x` goes; overwritten, as are all.
    pub dx: &'a mut [f32],
    /// Where the gradient with respect to γ goes.
    pub dgamma: &'a mut [f32],
    /// Where the gradient with respect to β goes.
    pub dbeta: &'a mut [f32],
}

/// Per channel: `dx = scale · dy + of_x · (x - mean) + shift`.
#[derive(Debug)]
pub(crate) struct InputTerms {
    pub scale: AlignedBuffer,
    pub of_x: AlignedBuffer,
    pub shift: AlignedBuffer,
}

impl BatchNorm<'_> {
    fn channels(&self) -> usize {
        self.gamma.len()
    }

    /// Checks lengths; returns the number of rows.
    fn rows(&self, x: &[f32]) -> usize {
        let channels = self.channels();
        assert_eq!(self.beta.len(), channels, "one γ and one β a channel");
        assert!(channels > 0 && x.len().is_multiple_of(channels), "x is [rows, C] with {channels} channels");
        x.len() / channels
    }

    /// Normalises a batch by its own statistics, and returns them.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) -> Statistics {
        self.rows(x);
        let statistics = Statistics::of(x, self.channels());
        self.apply(&statistics, x, y);
        statistics
    }

    /// Normalises rows by given statistics.
    pub(crate) fn apply(&self, statistics: &Statistics, x: &[f32], y: &mut [f32]) {
        let [scale, _] = self.affine(&statistics.mean, &statistics.variance);
        let isa = Isa::current();
        assert_eq!(x.len(), y.len(), "x and y have the same length");
        split_rows(self.channels(), y, |first, y| {
            let x = Term { values: &x[first * self.channels()..], center: &statistics.mean, factor: &scale };
            isa.run(Affine { x, other: None, shift: self.beta, y });
        });
    }

    /// The gradients of [`BatchNorm::forward`], statistics included:
    /// `dx = γ/σ · (dy - mean(dy) - x̂ · mean(dy · x̂))`.
    pub fn backward(&self, gradient: NormGradient) {
        let NormGradient { x, statistics, dy, dx, dgamma, dbeta } = gradient;
        let (rows, channels) = (self.rows(x), self.channels());
        assert_eq!((dy.len(), dx.len()), (x.len(), x.len()), "x, dy and dx have the same length");
        let InputTerms { scale, of_x, shift } = self.input_terms(rows, x, statistics, dy, dgamma, dbeta);
        let (isa, zero) = (Isa::current(), AlignedBuffer::zeroed(channels));
        split_rows(channels, dx, |first, dx| {
            let dy = Term { values: &dy[first * channels..], center: &zero, factor: &scale };
            let x = Term { values: &x[first * channels..], center: &statistics.mean, factor: &of_x };
            isa.run(Affine { x: dy, other: Some(x), shift: &shift, y: dx });
        });
    }

    /// dγ, dβ, and what follows for dx, of a batch of `rows`. Those whose gradient is zero may be missing in `x` and
    /// `dy`.
    pub(crate) fn input_terms(
        &self,
        rows: usize,
        x: &[f32],
        statistics: &Statistics,
        dy: &[f32],
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) -> InputTerms {
        let (present, channels) = (self.rows(x), self.channels());
        assert_eq!(dy.len(), x.len(), "x and dy have the same length");
        assert_eq!((dgamma.len(), dbeta.len()), (channels, channels), "dγ and dβ are [C]");
        assert_eq!(statistics.mean.len(), channels, "the forward pass's statistics");

        // Per part: Σ dy, then Σ dy · (x - mean).
        let parts = parts(x.len()).min(present.max(1));
        let mut sums = AlignedBuffer::zeroed(parts * 2 * channels);
        let all_sums = MutPointer::new(&mut sums);
        let isa = Isa::current();
        team::run(parts, |part| {
            let range = team::part_of(present, part, parts);
            let (x, dy) = (&x[range.start * channels..], &dy[range.start * channels..]);
            // SAFETY: each part has its own sums.
            let sums = unsafe { all_sums.slice(part * 2 * channels, 2 * channels) };
            isa.run(GradientSums { rows: range.len(), x, mean: &statistics.mean, dy, sums });
        });
        let [scale, of_x, shift] = [(); 3].map(|()| AlignedBuffer::new(channels));
        let mut terms = InputTerms { scale, of_x, shift };
        for c in 0..channels {
            let sum = |at: usize| sums.chunks_exact(2 * channels).map(|part| part[at]).sum::<f32>();
            let deviation = 1. / (statistics.variance[c] + self.epsilon).sqrt();
            dbeta[c] = sum(c);
            dgamma[c] = sum(channels + c) * deviation;
            terms.scale[c] = self.gamma[c] * deviation;
            terms.of_x[c] = -terms.scale[c] * deviation * dgamma[c] / rows as f32;
            terms.shift[c] = -terms.scale[c] * dbeta[c] / rows as f32;
        }
        terms
    }

    /// Scale and shift that do the same, given statistics: a batch's own, or running ones at inference.
    pub fn affine(&self, mean: &[f32], variance: &[f32]) -> [AlignedBuffer; 2] {
        let channels = self.channels();
        assert_eq!((mean.len(), variance.len()), (channels, channels), "one mean and variance a channel");
        let (mut scale, mut shift) = (AlignedBuffer::new(channels), AlignedBuffer::new(channels));
        for c in 0..channels {
            scale[c] = self.gamma[c] / (variance[c] + self.epsilon).sqrt();
            shift[c] = self.beta[c] - mean[c] * scale[c];
        }
        [scale, shift]
    }
}

/// Folds a scale and shift that follow a convolution or dense layer directly (no activation between) into its
/// weights, `[C, …]`, and bias.
pub fn fold(scale: &[f32], shift: &[f32], weights: &mut [f32], bias: &mut [f32]) {
    let channels = scale.len();
    assert_eq!((shift.len(), bias.len()), (channels, channels), "one scale, shift and bias a channel");
    assert!(channels > 0 && weights.len().is_multiple_of(channels), "weights are [C, …]");
    let reduction = weights.len() / channels;
    for (c, weights) in weights.chunks_exact_mut(reduction.max(1)).enumerate() {
        weights.iter_mut().for_each(|w| *w *= scale[c]);
        bias[c] = bias[c] * scale[c] + shift[c];
    }
}

/// `y[r, c] = scale[c] · x[r, c] + shift[c]`
pub fn scale_shift(x: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
    let channels = scale.len();
    assert_eq!(shift.len(), channels, "one scale and shift a channel");
    assert_eq!(x.len(), y.len(), "x and y have the same length");
    assert!(channels > 0 && x.len().is_multiple_of(channels), "x is [rows, C] with {channels} channels");
    let (isa, zero) = (Isa::current(), AlignedBuffer::zeroed(channels));
    split_rows(channels, y, |first, y| {
        let x = Term { values: &x[first * channels..], center: &zero, factor: scale };
        isa.run(Affine { x, other: None, shift, y });
    });
}

impl Statistics {
    /// Of `x`, `[rows, channels]`.
    pub fn of(x: &[f32], channels: usize) -> Self {
        let rows = x.len() / channels;
        let parts = parts(x.len()).min(rows.max(1));
        let isa = Isa::current();
        Self::gather(channels, parts, |part, moments| {
            let range = team::part_of(rows, part, parts);
            moments.add(isa, &x[range.start * channels..range.end * channels]);
        })
    }

    /// Of rows that come in parts: `f(part, moments)` adds a part's to its moments.
    pub(crate) fn gather(channels: usize, parts: usize, f: impl Fn(usize, &mut Moments) + Sync) -> Self {
        // Per part: the number of rows, then mean and squares of each channel.
        let part_len = 1 + 2 * channels;
        let mut all = AlignedBuffer::<f64>::zeroed(parts * part_len);
        let all_parts = MutPointer::new(&mut all);
        team::run(parts, |part| {
            // SAFETY: each part has its own moments.
            let (rows, moments) = unsafe { all_parts.slice(part * part_len, part_len) }.split_at_mut(1);
            let (mean, squares) = moments.split_at_mut(channels);
            let mut moments = Moments { rows: 0, mean, squares };
            f(part, &mut moments);
            rows[0] = moments.rows as f64;
        });
        let (first, others) = all.split_at_mut(part_len);
        let (rows, moments) = first.split_at_mut(1);
        let (mean, squares) = moments.split_at_mut(channels);
        let mut total = Moments { rows: rows[0] as usize, mean, squares };
        for part in others.chunks_exact(part_len) {
            let (mean, squares) = part[1..].split_at(channels);
            total.merge(part[0] as usize, mean, squares);
        }
        let count = total.rows.max(1) as f64;
        let (mut mean, mut variance) = (AlignedBuffer::new(channels), AlignedBuffer::new(channels));
        for c in 0..channels {
            mean[c] = total.mean[c] as f32;
            variance[c] = (total.squares[c] / count) as f32;
        }
        Self { mean, variance }
    }
}

/// Count, mean and sum of squared deviations per channel.
pub(crate) struct Moments<'a> {
    rows: usize,
    mean: &'a mut [f64],
    squares: &'a mut [f64],
}

impl Moments<'_> {
    /// Adds the rows of `x`, `[rows, channels]`.
    pub fn add(&mut self, isa: Isa, x: &[f32]) {
        let channels = self.mean.len();
        let mut sums = AlignedBuffer::new(2 * channels);
        let (mut mean, mut squares) = (AlignedBuffer::new(channels), AlignedBuffer::new(channels));
        for chunk in x.chunks(CHUNK * channels) {
            let rows = chunk.len() / channels;
            isa.run(ChunkSums { rows, x: chunk, sums: &mut sums });
            let share = 1. / rows as f64;
            for c in 0..channels {
                let (sum, of_squares) = (f64::from(sums[c]), f64::from(sums[channels + c]));
                mean[c] = f64::from(chunk[c]) + sum * share;
                squares[c] = (of_squares - sum * sum * share).max(0.);
            }
            self.merge(rows, &mean, &squares);
        }
    }

    /// Chan, Golub & LeVeque 1979: the moments of a union.
    fn merge(&mut self, rows: usize, mean: &[f64], squares: &[f64]) {
        if rows == 0 {
            return;
        }
        let share = rows as f64 / (self.rows + rows) as f64;
        let weight = self.rows as f64 * share;
        for c in 0..self.mean.len() {
            let difference = mean[c] - self.mean[c];
            self.squares[c] += squares[c] + difference * difference * weight;
            self.mean[c] += difference * share;
        }
        self.rows += rows;
    }
}

fn parts(elements: usize) -> usize {
    if elements < WORTH_SPLITTING { 1 } else { team::threads() }
}

/// Splits the rows of `y` over the team: `f(first row, rows)`.
fn split_rows(channels: usize, y: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = y.len() / channels;
    if y.len() < WORTH_SPLITTING {
        return f(0, y);
    }
    let y = MutPointer::new(y);
    team::split(rows, |_, range| {
        // SAFETY: ranges of rows do not overlap.
        f(range.start, unsafe { y.slice(range.start * channels, range.len() * channels) });
    });
}

/// Independent sums over rows, to hide the latency of additions.
const CHAINS: usize = 4;

#[inline(always)]
fn total<S: Simd>(s: S, sums: [S::F; CHAINS]) -> S::F {
    s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]))
}

/// `sums[c] = Σ (x - x₀)`, `sums[C + c] = Σ (x - x₀)²` over rows, `x₀` being the first row: so close to the mean
/// that little cancels.
struct ChunkSums<'a> {
    rows: usize,
    x: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for ChunkSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.sums.len() / 2;
        assert!(self.x.len() >= self.rows * channels);
        for c in (0..channels).step_by(S::LANES) {
            let live = (channels - c).min(S::LANES);
            // SAFETY: rows and live channels lie in the slices, whose lengths were checked.
            unsafe {
                let x = self.x.as_ptr().add(c);
                let first = s.load_n(x, live);
                let (mut sums, mut squares) = ([s.splat(0.); CHAINS], [s.splat(0.); CHAINS]);
                for row in (0..self.rows).step_by(CHAINS) {
                    unrolled!(chain < CHAINS, {
                        if row + chain < self.rows {
                            let offset = s.sub(s.load_n(x.add((row + chain) * channels), live), first);
                            sums[chain] = s.add(sums[chain], offset);
                            squares[chain] = s.fma(offset, offset, squares[chain]);
                        }
                    });
                }
                s.store_n(self.sums.as_mut_ptr().add(c), live, total(s, sums));
                s.store_n(self.sums.as_mut_ptr().add(channels + c), live, total(s, squares));
            }
        }
    }
}

/// `sums[c] = Σ dy`, `sums[C + c] = Σ dy · (x - mean)` over rows.
struct GradientSums<'a> {
    rows: usize,
    x: &'a [f32],
    mean: &'a [f32],
    dy: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for GradientSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.mean.len();
        assert!(self.x.len() >= self.rows * channels && self.dy.len() >= self.rows * channels);
        assert_eq!(self.sums.len(), 2 * channels);
        for c in (0..channels).step_by(S::LANES) {
            let live = (channels - c).min(S::LANES);
            // SAFETY: rows and live channels lie in the slices, whose lengths were checked.
            unsafe {
                let (x, dy) = (ConstPointer::new(self.x), ConstPointer::new(self.dy));
                let mean = s.load_n(self.mean.as_ptr().add(c), live);
                let (mut sums, mut products) = ([s.splat(0.); CHAINS], [s.splat(0.); CHAINS]);
                for row in (0..self.rows).step_by(CHAINS) {
                    unrolled!(chain < CHAINS, {
                        if row + chain < self.rows {
                            let at = (row + chain) * channels + c;
                            let dy = s.load_n(dy.at(at), live);
                            let offset = s.sub(s.load_n(x.at(at), live), mean);
                            sums[chain] = s.add(sums[chain], dy);
                            products[chain] = s.fma(dy, offset, products[chain]);
                        }
                    });
                }
                s.store_n(self.sums.as_mut_ptr().add(c), live, total(s, sums));
                s.store_n(self.sums.as_mut_ptr().add(channels + c), live, total(s, products));
            }
        }
    }
}

/// `factor[c] · (values[r, c] - center[c])`: centered first, as what is far from zero would lose its digits.
#[derive(Clone, Copy)]
struct Term<'a> {
    values: &'a [f32],
    center: &'a [f32],
    factor: &'a [f32],
}

impl Term<'_> {
    fn check(&self, len: usize, channels: usize) {
        assert!(self.values.len() >= len && self.center.len() == channels && self.factor.len() == channels);
    }
}

/// `y[r, c] = x term + shift[c]`, plus another term where there is one.
struct Affine<'a> {
    x: Term<'a>,
    other: Option<Term<'a>>,
    shift: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Affine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, other, shift, y } = self;
        let channels = shift.len();
        let rows = y.len() / channels;
        x.check(y.len(), channels);
        if let Some(other) = other {
            other.check(y.len(), channels);
        }
        for c in (0..channels).step_by(S::LANES) {
            let live = (channels - c).min(S::LANES);
            // SAFETY: rows and live channels lie in the slices, whose lengths were checked.
            unsafe {
                let shift = s.load_n(shift.as_ptr().add(c), live);
                let (center, factor) =
                    (s.load_n(x.center.as_ptr().add(c), live), s.load_n(x.factor.as_ptr().add(c), live));
                let (mut other_center, mut other_factor) = (center, factor);
                if let Some(other) = other {
                    other_center = s.load_n(other.center.as_ptr().add(c), live);
                    other_factor = s.load_n(other.factor.as_ptr().add(c), live);
                }
                for row in 0..rows {
                    let at = row * channels + c;
                    let centered = s.sub(s.load_n(x.values.as_ptr().add(at), live), center);
                    let mut value = s.fma(factor, centered, shift);
                    if let Some(other) = other {
                        let centered = s.sub(s.load_n(other.values.as_ptr().add(at), live), other_center);
                        value = s.fma(other_factor, centered, value);
                    }
                    s.store_n(y.as_mut_ptr().add(at), live, value);
                }
            }
        }
    }
}
