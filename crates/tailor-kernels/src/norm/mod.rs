//! Normalisation. Batch norm over `[rows, C]`, rows being all pixels of all images (Ioffe & Szegedy 2015,
//! arXiv:1502.03167), with what may follow it fused in:
//!
//! ```text
//! training   y = γ · (x - mean) / √(variance + ε) + β      mean, biased variance: of this batch, per channel
//! inference  y = scale · x + shift                         from running statistics; folded where it can be
//! ```

mod activated;
mod by_rows;
mod layer;
mod moments;

pub use activated::{ActivatedNorm, ActivatedNormGradient};
pub(crate) use activated::{ByStatistics, InputGradients};
pub use layer::{LayerNorm, LayerNormGradient};

use std::ops::Range;

use by_rows::{OfRows, ROWS, by_rows};

use crate::activation::Activation;
use crate::buffer::AlignedBuffer;
use crate::pointer::MutPointer;
use crate::simd::{Isa, Kernel, Simd, unrolled};
use crate::team;

/// Elements below which another thread is not worth waking.
const WORTH_SPLITTING: usize = 32 << 10;

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

    /// Without anything that follows.
    pub(crate) fn alone(&self) -> ActivatedNorm<'_> {
        ActivatedNorm { norm: *self, activation: Activation::Identity }
    }

    /// Normalises a batch by its own statistics, and returns them.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) -> Statistics {
        self.alone().forward(x, None, y)
    }

    /// Normalises rows by given statistics.
    pub(crate) fn apply(&self, statistics: &Statistics, x: &[f32], y: &mut [f32]) {
        self.alone().apply(statistics, x, None, y);
    }

    /// The gradients of [`BatchNorm::forward`], statistics included:
    /// `dx = γ/σ · (dy - mean(dy) - x̂ · mean(dy · x̂))`.
    pub fn backward(&self, gradient: NormGradient) {
        let NormGradient { x, statistics, dy, dx, dgamma, dbeta } = gradient;
        let (shortcut, dshortcut) = (None, None);
        let gradient = ActivatedNormGradient { x, shortcut, statistics, dy, dx, dshortcut, dgamma, dbeta };
        self.alone().backward(gradient);
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
        self.alone().input_terms(rows, [x, dy], None, statistics, None, [dgamma, dbeta])
    }

    /// dγ, dβ, and what follows for dx of a batch of `rows`, from sums over parts of it: per part `Σ dy`, then
    /// `Σ dy · (x - mean)`.
    pub(crate) fn terms(
        &self,
        rows: usize,
        statistics: &Statistics,
        sums: &[f32],
        [dgamma, dbeta]: [&mut [f32]; 2],
    ) -> InputTerms {
        let channels = self.channels();
        assert_eq!((dgamma.len(), dbeta.len()), (channels, channels), "dγ and dβ are [C]");
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
    let isa = Isa::current();
    split_rows(channels, y, |first, y| isa.run(Affine { x: &x[first * channels..], scale, shift, y }));
}

/// See [`scale_shift`].
struct Affine<'a> {
    x: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Affine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.scale.len();
        assert!(self.x.len() >= self.y.len() && self.shift.len() == channels);
        // SAFETY: the slices' lengths were checked.
        unsafe { by_rows(s, 0..self.y.len() / channels, channels, self) }
    }
}

impl OfRows for Affine<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, const WHOLE: bool>(&mut self, s: S, rows: Range<usize>, c: usize, live: usize) {
        let (x, y, channels) = (self.x.as_ptr(), self.y.as_mut_ptr(), self.scale.len());
        // SAFETY: as this function's contract.
        unsafe {
            let scale = s.load_live::<WHOLE>(self.scale.as_ptr().add(c), live);
            let shift = s.load_live::<WHOLE>(self.shift.as_ptr().add(c), live);
            unrolled!(row < ROWS, {
                if row < rows.len() {
                    let at = (rows.start + row) * channels + c;
                    let value = s.fma(scale, s.load_live::<WHOLE>(x.add(at), live), shift);
                    s.store_live::<WHOLE>(y.add(at), live, value);
                }
            });
        }
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
