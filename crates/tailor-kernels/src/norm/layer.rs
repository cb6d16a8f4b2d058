//! Layer norm: each row normalised by its own mean and variance (Ba, Kiros & Hinton 2016, arXiv:1607.06450).

use super::{parts, split_rows};
use crate::buffer::AlignedBuffer;
use crate::elementwise;
use crate::pointer::MutPointer;
use crate::simd::{Isa, Kernel, Simd, live_lanes};
use crate::team;

/// A layer norm over the last axis of `[rows, C]`: `y = γ · (x - mean) / √(variance + ε) + β`, mean and biased variance
/// being the row's.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// The learnt scale, `[C]`.
    pub gamma: &'a [f32],
    /// The learnt shift, `[C]`.
    pub beta: &'a [f32],
    /// What is added to the variance.
    pub epsilon: f32,
}

/// Operands of [`LayerNorm::backward`].
#[derive(Debug)]
pub struct LayerNormGradient<'a> {
    /// The forward pass's input, `[rows, C]`.
    pub x: &'a [f32],
    /// The loss's gradient with respect to the output.
    pub dy: &'a [f32],
    /// Where the gradient with respect to `x` goes; overwritten, as are all.
    pub dx: &'a mut [f32],
    /// Where the gradient with respect to γ goes.
    pub dgamma: &'a mut [f32],
    /// Where the gradient with respect to β goes.
    pub dbeta: &'a mut [f32],
}

impl LayerNorm<'_> {
    /// Checks lengths; returns the number of channels.
    fn check(&self, x: &[f32]) -> usize {
        let channels = self.gamma.len();
        assert_eq!(self.beta.len(), channels, "one γ and one β a channel");
        assert!(channels > 0 && x.len().is_multiple_of(channels), "x is [rows, C] with {channels} channels");
        channels
    }

    /// Normalises each row.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        let channels = self.check(x);
        assert_eq!(x.len(), y.len(), "x and y have the same length");
        let isa = Isa::current();
        split_rows(channels, y, |first, y| isa.run(Forward { norm: *self, x: &x[first * channels..], y }));
    }

    /// The gradients of [`LayerNorm::forward`]. A row's statistics are computed again: it is in the cache anyway.
    pub fn backward(&self, gradient: LayerNormGradient) {
        let LayerNormGradient { x, dy, dx, dgamma, dbeta } = gradient;
        let channels = self.check(x);
        assert_eq!((dy.len(), dx.len()), (x.len(), x.len()), "x, dy and dx have the same length");
        assert_eq!((dgamma.len(), dbeta.len()), (channels, channels), "dγ and dβ are [C]");
        let rows = x.len() / channels;
        // Per part dγ, then dβ.
        let parts = parts(x.len()).min(rows.max(1));
        let mut sums = AlignedBuffer::zeroed(parts * 2 * channels);
        let (all_sums, dx) = (MutPointer::new(&mut sums), MutPointer::new(dx));
        let isa = Isa::current();
        team::run(parts, |part| {
            let range = team::part_of(rows, part, parts);
            let values = range.start * channels..range.end * channels;
            // SAFETY: each part has its own sums and rows.
            let (sums, dx) = unsafe {
                let sums = all_sums.slice(part * 2 * channels, 2 * channels);
                (sums, dx.slice(values.start, values.len()))
            };
            let (dgamma, dbeta) = sums.split_at_mut(channels);
            isa.run(Backward { norm: *self, x: &x[values.clone()], dy: &dy[values], dx, dgamma, dbeta });
        });
        let (sum_of_dgamma, sum_of_dbeta) =
            elementwise::sum_rows(isa, &mut sums, 2 * channels).split_at(channels);
        dgamma.copy_from_slice(sum_of_dgamma);
        dbeta.copy_from_slice(sum_of_dbeta);
    }
}

/// Mean and 1/σ of a row.
#[inline(always)]
fn statistics<S: Simd>(s: S, row: &[f32], epsilon: f32) -> (f32, f32) {
    let share = 1. / row.len() as f32;
    // The second time around the first mean, so that nothing cancels.
    let (sum, _) = sums(s, row, 0.);
    let near = sum * share;
    let (rest, squares) = sums(s, row, near);
    let rest = rest * share;
    let variance = (squares * share - rest * rest).max(0.);
    (near + rest, 1. / (variance + epsilon).sqrt())
}

/// `Σ (x - center)` and `Σ (x - center)²`.
#[inline(always)]
fn sums<S: Simd>(s: S, row: &[f32], center: f32) -> (f32, f32) {
    let (center, zero) = (s.splat(center), s.splat(0.));
    let (mut sums, mut squares) = ([zero; 2], [zero; 2]);
    for i in (0..row.len()).step_by(2 * S::LANES) {
        for half in 0..2 {
            let at = i + half * S::LANES;
            let live = row.len().saturating_sub(at).min(S::LANES);
            if live > 0 {
                // SAFETY: the live elements from `at` on lie in the row.
                let offset = s.sub(unsafe { s.load_n(row.as_ptr().add(at), live) }, center);
                let offset = s.select(live_lanes(s, live), offset, zero);
                sums[half] = s.add(sums[half], offset);
                squares[half] = s.fma(offset, offset, squares[half]);
            }
        }
    }
    (s.sum(s.add(sums[0], sums[1])), s.sum(s.add(squares[0], squares[1])))
}

struct Forward<'a> {
    norm: LayerNorm<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let LayerNorm { gamma, beta, epsilon } = self.norm;
        let channels = gamma.len();
        assert_eq!(beta.len(), channels);
        for (x, y) in self.x.chunks_exact(channels).zip(self.y.chunks_exact_mut(channels)) {
            let (mean, inverse) = statistics(s, x, epsilon);
            let (mean, inverse) = (s.splat(mean), s.splat(inverse));
            for c in (0..channels).step_by(S::LANES) {
                let live = (channels - c).min(S::LANES);
                // SAFETY: live channels lie in both rows, γ and β.
                unsafe {
                    let normal = s.mul(s.sub(s.load_n(x.as_ptr().add(c), live), mean), inverse);
                    let (gamma, beta) =
                        (s.load_n(gamma.as_ptr().add(c), live), s.load_n(beta.as_ptr().add(c), live));
                    s.store_n(y.as_mut_ptr().add(c), live, s.fma(gamma, normal, beta));
                }
            }
        }
    }
}

/// `dx = (γ · dy - mean(γ · dy) - x̂ · mean(γ · dy · x̂)) / σ`, and adds the rows' part of dγ and dβ.
struct Backward<'a> {
    norm: LayerNorm<'a>,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    dgamma: &'a mut [f32],
    dbeta: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { norm: LayerNorm { gamma, epsilon, .. }, x, dy, dx, dgamma, dbeta } = self;
        let channels = gamma.len();
        assert!(dgamma.len() == channels && dbeta.len() == channels);
        let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
        for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(channels)) {
            let (mean, inverse) = statistics(s, x, epsilon);
            let (mean, inverse) = (s.splat(mean), s.splat(inverse));
            let (mut sum, mut product) = (s.splat(0.), s.splat(0.));
            for c in (0..channels).step_by(S::LANES) {
                let live = (channels - c).min(S::LANES);
                // SAFETY: live channels lie in both rows, γ and the sums; those beyond are zero in `dy`.
                unsafe {
                    let normal = s.mul(s.sub(s.load_n(x.as_ptr().add(c), live), mean), inverse);
                    let dy = s.load_n(dy.as_ptr().add(c), live);
                    let of_normal = s.mul(dy, s.load_n(gamma.as_ptr().add(c), live));
                    sum = s.add(sum, of_normal);
                    product = s.fma(of_normal, normal, product);
                    let (to_gamma, to_beta) = (dgamma.as_mut_ptr().add(c), dbeta.as_mut_ptr().add(c));
                    s.store_n(to_gamma, live, s.fma(dy, normal, s.load_n(to_gamma, live)));
                    s.store_n(to_beta, live, s.add(dy, s.load_n(to_beta, live)));
                }
            }
            let share = 1. / channels as f32;
            let (sum, product) = (s.splat(s.sum(sum) * share), s.splat(s.sum(product) * share));
            for c in (0..channels).step_by(S::LANES) {
                let live = (channels - c).min(S::LANES);
                // SAFETY: as above.
                unsafe {
                    let normal = s.mul(s.sub(s.load_n(x.as_ptr().add(c), live), mean), inverse);
                    let dy = s.load_n(dy.as_ptr().add(c), live);
                    let of_normal = s.mul(dy, s.load_n(gamma.as_ptr().add(c), live));
                    let rest = s.sub(s.sub(of_normal, sum), s.mul(normal, product));
                    s.store_n(dx.as_mut_ptr().add(c), live, s.mul(rest, inverse));
                }
            }
        }
    }
}
