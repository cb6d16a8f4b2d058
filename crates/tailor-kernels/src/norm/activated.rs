//! Batch norm, the sum with a shortcut, and an activation, in as few passes over memory as the batch's statistics
//! allow: normalised values are never stored.
//!
//! ```text
//! forward    read x: statistics                        read x (and r), write y
//! backward   read x, dy (and r; write dr): dγ and dβ   read x and dy (or dr), write dx
//! ```

use super::moments::{CHAINS, add_to, total};
use super::{BatchNorm, InputTerms, Statistics, chunk_rows, parts, split_rows};
use crate::activation::Activation;
use crate::buffer::AlignedBuffer;
use crate::pointer::MutPointer;
use crate::simd::{Isa, Kernel, Simd, unrolled};
use crate::team;

/// `y = activation(norm(x) + r)`, in training: what follows a convolution in residual networks (r being the shortcut, or
/// missing). At inference fold the norm into the convolution, see [`super::fold`].
#[derive(Clone, Copy, Debug)]
pub struct ActivatedNorm<'a> {
    /// Over all rows.
    pub norm: BatchNorm<'a>,
    /// What is applied to the sum: any.
    pub activation: Activation,
}

/// Operands of [`ActivatedNorm::backward`]. All images are `[rows, C]`.
#[derive(Debug)]
pub struct ActivatedNormGradient<'a> {
    /// The forward pass's input.
    pub x: &'a [f32],
    /// What was added before the activation, if anything.
    pub shortcut: Option<&'a [f32]>,
    /// What the forward pass returned.
    pub statistics: &'a Statistics,
    /// The loss's gradient with respect to the output.
    pub dy: &'a [f32],
    /// Where the gradient with respect to `x` goes; overwritten, as are all.
    pub dx: &'a mut [f32],
    /// Where the gradient with respect to the shortcut goes, if wanted.
    pub dshortcut: Option<&'a mut [f32]>,
    /// Where the gradient with respect to γ goes.
    pub dgamma: &'a mut [f32],
    /// Where the gradient with respect to β goes.
    pub dbeta: &'a mut [f32],
}

impl ActivatedNorm<'_> {
    /// Normalises a batch by its own statistics, and returns them.
    pub fn forward(&self, x: &[f32], shortcut: Option<&[f32]>, y: &mut [f32]) -> Statistics {
        self.norm.rows(x);
        let statistics = Statistics::of(x, self.norm.channels());
        self.apply(&statistics, x, shortcut, y);
        statistics
    }

    /// Normalises rows by given statistics.
    pub(crate) fn apply(&self, statistics: &Statistics, x: &[f32], shortcut: Option<&[f32]>, y: &mut [f32]) {
        let channels = self.norm.channels();
        assert_eq!(x.len(), y.len(), "x and y have the same length");
        assert!(shortcut.is_none_or(|shortcut| shortcut.len() == x.len()), "the shortcut is as long as x");
        let by = self.by(statistics);
        let isa = Isa::current();
        split_rows(channels, y, |first, y| {
            let start = first * channels;
            by.rows(isa, &x[start..], shortcut.map(|shortcut| &shortcut[start..]), y);
        });
    }

    /// By these statistics.
    pub(crate) fn by<'a>(&'a self, statistics: &'a Statistics) -> ByStatistics<'a> {
        let [scale, _] = self.norm.affine(&statistics.mean, &statistics.variance);
        ByStatistics { norm: self, statistics, scale }
    }

    fn normal<'a>(&'a self, statistics: &'a Statistics, scale: &'a [f32]) -> Normal<'a> {
        let Self { norm, activation } = *self;
        Normal { mean: &statistics.mean, scale, beta: norm.beta, activation }
    }

    /// The gradients of [`ActivatedNorm::forward`], statistics included.
    pub fn backward(&self, gradient: ActivatedNormGradient) {
        let ActivatedNormGradient { x, shortcut, statistics, dy, dx, dshortcut, dgamma, dbeta } = gradient;
        let (rows, channels) = (self.norm.rows(x), self.norm.channels());
        assert_eq!((dy.len(), dx.len()), (x.len(), x.len()), "x, dy and dx have the same length");
        for len in [shortcut.map(<[f32]>::len), dshortcut.as_ref().map(|d| d.len())] {
            assert!(len.is_none_or(|len| len == x.len()), "the shortcut and its gradient are as long as x");
        }
        let mut dshortcut = dshortcut;
        let dz = dshortcut.as_deref_mut();
        let terms = self.input_terms(rows, [x, dy], shortcut, statistics, dz, [dgamma, dbeta]);
        let through = InputGradients { norm: self, statistics, terms: &terms, x, shortcut, dy };
        // Where dz was stored, it need not be computed again.
        let alone = self.norm.alone();
        let through = match dshortcut {
            Some(dz) => InputGradients { norm: &alone, shortcut: None, dy: dz, ..through },
            None => through,
        };
        let isa = Isa::current();
        split_rows(channels, dx, |first, dx| through.rows(isa, first, dx));
    }

    /// dγ, dβ, and what follows for dx, of a batch of `rows`; the gradient of the sum that is activated goes to `dz`.
    /// Rows whose gradient is zero may be missing in `x` and `dy`.
    pub(crate) fn input_terms(
        &self,
        rows: usize,
        [x, dy]: [&[f32]; 2],
        shortcut: Option<&[f32]>,
        statistics: &Statistics,
        dz: Option<&mut [f32]>,
        gradients: [&mut [f32]; 2],
    ) -> InputTerms {
        let (present, channels) = (self.norm.rows(x), self.norm.channels());
        assert_eq!(dy.len(), x.len(), "x and dy have the same length");
        assert_eq!(statistics.mean.len(), channels, "the forward pass's statistics");
        let by = self.by(statistics);
        let parts = parts(x.len()).min(present.max(1));
        let mut sums = AlignedBuffer::zeroed(parts * 2 * channels);
        let all_sums = MutPointer::new(&mut sums);
        let dz = dz.map(MutPointer::new);
        let isa = Isa::current();
        team::run(parts, |part| {
            let range = team::part_of(present, part, parts);
            let (start, len) = (range.start * channels, range.len() * channels);
            // SAFETY: each part has its own sums and rows.
            let (sums, dz) = unsafe {
                (all_sums.slice(part * 2 * channels, 2 * channels), dz.map(|dz| dz.slice(start, len)))
            };
            let shortcut = shortcut.map(|shortcut| &shortcut[start..]);
            by.add_sums(isa, &x[start..], shortcut, &dy[start..start + len], dz, sums);
        });
        self.norm.terms(rows, statistics, &sums, gradients)
    }
}

/// A norm with the statistics of a batch, of which it takes some rows at a time, on the thread that asks.
#[derive(Debug)]
pub(crate) struct ByStatistics<'a> {
    norm: &'a ActivatedNorm<'a>,
    statistics: &'a Statistics,
    /// γ/σ
    scale: AlignedBuffer,
}

impl ByStatistics<'_> {
    /// Normalises, adds and activates as many rows as `y` has.
    pub fn rows(&self, isa: Isa, x: &[f32], shortcut: Option<&[f32]>, y: &mut [f32]) {
        isa.run(Forward { normal: self.normal(), x, shortcut, y });
    }

    /// Adds `Σ dz` and, behind these, `Σ dz · (x - mean)`, both per channel, over as many rows as `dy` has; stores dz
    /// where it is wanted.
    pub fn add_sums(
        &self,
        isa: Isa,
        x: &[f32],
        shortcut: Option<&[f32]>,
        dy: &[f32],
        dz: Option<&mut [f32]>,
        sums: &mut [f32],
    ) {
        let rows = dy.len() / self.statistics.mean.len();
        isa.run(Sums { normal: self.normal(), rows, x, shortcut, dy, dz, sums });
    }

    fn normal(&self) -> Normal<'_> {
        self.norm.normal(self.statistics, &self.scale)
    }
}

/// What dx of some rows is computed from.
#[derive(Clone, Copy)]
pub(crate) struct InputGradients<'a> {
    pub norm: &'a ActivatedNorm<'a>,
    pub statistics: &'a Statistics,
    pub terms: &'a InputTerms,
    pub x: &'a [f32],
    pub shortcut: Option<&'a [f32]>,
    pub dy: &'a [f32],
}

impl InputGradients<'_> {
    /// Of as many rows from `first` on as `dx` has, on this thread.
    pub fn rows(&self, isa: Isa, first: usize, dx: &mut [f32]) {
        let start = first * self.norm.norm.channels();
        isa.run(InputGradient {
            normal: self.norm.normal(self.statistics, &self.terms.scale),
            terms: self.terms,
            x: &self.x[start..],
            shortcut: self.shortcut.map(|shortcut| &shortcut[start..]),
            dy: &self.dy[start..],
            dx,
        });
    }
}

/// How a value is normalised and activated.
#[derive(Clone, Copy)]
struct Normal<'a> {
    mean: &'a [f32],
    /// γ/σ
    scale: &'a [f32],
    beta: &'a [f32],
    activation: Activation,
}

/// The same for one vector of channels.
#[derive(Clone, Copy)]
struct NormalVector<F> {
    mean: F,
    scale: F,
    beta: F,
    activation: Activation,
}

impl Normal<'_> {
    /// Checks that there are as many of everything, and rows of them; returns the number of channels.
    #[inline(always)]
    fn channels(&self, rows: usize, values: [usize; 2], shortcut: Option<&[f32]>) -> usize {
        let channels = self.mean.len();
        assert!(self.scale.len() == channels && self.beta.len() == channels);
        assert!(values[0] >= rows * channels && values[1] >= rows * channels);
        assert!(shortcut.is_none_or(|shortcut| shortcut.len() >= rows * channels));
        channels
    }

    /// # Safety
    /// `live` channels exist from `c` on.
    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, s: S, c: usize, live: usize) -> NormalVector<S::F> {
        // SAFETY: as this function's contract.
        unsafe {
            NormalVector {
                mean: s.load_n(self.mean.as_ptr().add(c), live),
                scale: s.load_n(self.scale.as_ptr().add(c), live),
                beta: s.load_n(self.beta.as_ptr().add(c), live),
                activation: self.activation,
            }
        }
    }
}

impl<F: Copy> NormalVector<F> {
    /// The sum that is activated, of a centered value and the shortcut's at `shortcut`, if there is one. Centered
    /// first, as what is far from zero would lose its digits.
    ///
    /// # Safety
    /// `live` floats can be read at `shortcut`.
    #[inline(always)]
    unsafe fn sum<S: Simd<F = F>>(&self, s: S, centered: F, shortcut: Option<*const f32>, live: usize) -> F {
        let value = s.fma(self.scale, centered, self.beta);
        match shortcut {
            // SAFETY: as this function's contract.
            Some(shortcut) => s.add(value, unsafe { s.load_n(shortcut, live) }),
            None => value,
        }
    }

    /// The gradient of that sum.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn gradient<S: Simd<F = F>>(
        &self,
        s: S,
        centered: F,
        shortcut: Option<*const f32>,
        live: usize,
        dy: F,
    ) -> F {
        if self.activation == Activation::Identity {
            return dy;
        }
        // SAFETY: as this function's contract.
        self.activation.gradient_at(s, unsafe { self.sum(s, centered, shortcut, live) }, dy)
    }
}

/// The address of element `at`, if there is any.
#[inline(always)]
fn offset(start: Option<*const f32>, at: usize) -> Option<*const f32> {
    start.map(|start| start.wrapping_add(at))
}

/// `y = activation(γ/σ · (x - mean) + β + shortcut)`
struct Forward<'a> {
    normal: Normal<'a>,
    x: &'a [f32],
    shortcut: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { normal, x, shortcut, y } = self;
        let rows = y.len() / normal.mean.len();
        let channels = normal.channels(rows, [x.len(), y.len()], shortcut);
        let shortcut = shortcut.map(<[f32]>::as_ptr);
        let step = chunk_rows(channels);
        for first in (0..rows).step_by(step) {
            for c in (0..channels).step_by(S::LANES) {
                let live = (channels - c).min(S::LANES);
                // SAFETY: rows and live channels lie in the slices, whose lengths were checked.
                unsafe {
                    let normal = normal.vector(s, c, live);
                    for row in first..rows.min(first + step) {
                        let at = row * channels + c;
                        let centered = s.sub(s.load_n(x.as_ptr().add(at), live), normal.mean);
                        let shortcut = offset(shortcut, at);
                        let sum = normal.sum(s, centered, shortcut, live);
                        s.store_n(y.as_mut_ptr().add(at), live, normal.activation.apply(s, sum));
                    }
                }
            }
        }
    }
}

/// See [`ByStatistics::add_sums`].
struct Sums<'a> {
    normal: Normal<'a>,
    rows: usize,
    x: &'a [f32],
    shortcut: Option<&'a [f32]>,
    dy: &'a [f32],
    dz: Option<&'a mut [f32]>,
    sums: &'a mut [f32],
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { normal, rows, x, shortcut, dy, dz, sums } = self;
        let channels = normal.channels(rows, [x.len(), dy.len()], shortcut);
        assert_eq!(sums.len(), 2 * channels);
        assert!(dz.as_ref().is_none_or(|dz| dz.len() >= rows * channels));
        let shortcut = shortcut.map(<[f32]>::as_ptr);
        let dz = dz.map(<[f32]>::as_mut_ptr);
        let step = chunk_rows(channels);
        for first in (0..rows).step_by(step) {
            let rows = first..rows.min(first + step);
            for c in (0..channels).step_by(S::LANES) {
                let live = (channels - c).min(S::LANES);
                // SAFETY: rows and live channels lie in the slices, whose lengths were checked.
                unsafe {
                    let normal = normal.vector(s, c, live);
                    let (mut gradients, mut products) = ([s.splat(0.); CHAINS], [s.splat(0.); CHAINS]);
                    for row in rows.clone().step_by(CHAINS) {
                        unrolled!(chain < CHAINS, {
                            if row + chain < rows.end {
                                let at = (row + chain) * channels + c;
                                let dy = s.load_n(dy.as_ptr().add(at), live);
                                let centered = s.sub(s.load_n(x.as_ptr().add(at), live), normal.mean);
                                let shortcut = offset(shortcut, at);
                                let gradient = normal.gradient(s, centered, shortcut, live, dy);
                                if let Some(dz) = dz {
                                    s.store_n(dz.add(at), live, gradient);
                                }
                                gradients[chain] = s.add(gradients[chain], gradient);
                                products[chain] = s.fma(gradient, centered, products[chain]);
                            }
                        });
                    }
                    add_to(s, sums.as_mut_ptr().add(c), live, total(s, gradients));
                    add_to(s, sums.as_mut_ptr().add(channels + c), live, total(s, products));
                }
            }
        }
    }
}

/// `dx = scale · dz + of_x · (x - mean) + shift`
struct InputGradient<'a> {
    normal: Normal<'a>,
    terms: &'a InputTerms,
    x: &'a [f32],
    shortcut: Option<&'a [f32]>,
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { normal, terms, x, shortcut, dy, dx } = self;
        let rows = dx.len() / normal.mean.len();
        let channels = normal.channels(rows, [x.len(), dy.len()], shortcut);
        assert!([&terms.scale, &terms.of_x, &terms.shift].iter().all(|term| term.len() == channels));
        let shortcut = shortcut.map(<[f32]>::as_ptr);
        let step = chunk_rows(channels);
        for first in (0..rows).step_by(step) {
            for c in (0..channels).step_by(S::LANES) {
                let live = (channels - c).min(S::LANES);
                // SAFETY: rows and live channels lie in the slices, whose lengths were checked.
                unsafe {
                    let normal = normal.vector(s, c, live);
                    let scale = s.load_n(terms.scale.as_ptr().add(c), live);
                    let of_x = s.load_n(terms.of_x.as_ptr().add(c), live);
                    let shift = s.load_n(terms.shift.as_ptr().add(c), live);
                    for row in first..rows.min(first + step) {
                        let at = row * channels + c;
                        let dy = s.load_n(dy.as_ptr().add(at), live);
                        let centered = s.sub(s.load_n(x.as_ptr().add(at), live), normal.mean);
                        let shortcut = offset(shortcut, at);
                        let dz = normal.gradient(s, centered, shortcut, live, dy);
                        let value = s.fma(scale, dz, s.fma(of_x, centered, shift));
                        s.store_n(dx.as_mut_ptr().add(at), live, value);
                    }
                }
            }
        }
    }
}
