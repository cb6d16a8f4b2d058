//! Batch norm, the sum with a shortcut, and an activation, in as few passes over memory as the batch's statistics
//! allow: normalised values are never stored.
//!
//! ```text
//! forward    read x: statistics                        read x (and r), write y
//! backward   read x, dy (and r; write dr): dγ and dβ   read x and dy (or dr), write dx
//! ```

use std::ops::Range;

use super::by_rows::{OfRows, ROWS, add_to, by_rows, total};
use super::{BatchNorm, InputTerms, Statistics, parts, split_rows};
use crate::activation::Activation;
use crate::buffer::AlignedBuffer;
use crate::pointer::MutPointer;
use crate::simd::{Isa, Kernel, Simd, unrolled};
use crate::team;

/// Rows that are summed up in f32 before their sum is added to that of the others, so that little is rounded off.
const SUMMED: usize = 64;

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
    unsafe fn vector<S: Simd, const WHOLE: bool>(&self, s: S, c: usize, live: usize) -> NormalVector<S::F> {
        // SAFETY: as this function's contract.
        unsafe {
            NormalVector {
                mean: s.load_live::<WHOLE>(self.mean.as_ptr().add(c), live),
                scale: s.load_live::<WHOLE>(self.scale.as_ptr().add(c), live),
                beta: s.load_live::<WHOLE>(self.beta.as_ptr().add(c), live),
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
    unsafe fn sum<S: Simd<F = F>, const WHOLE: bool>(
        &self,
        s: S,
        centered: F,
        shortcut: Option<*const f32>,
        live: usize,
    ) -> F {
        let value = s.fma(self.scale, centered, self.beta);
        match shortcut {
            // SAFETY: as this function's contract.
            Some(shortcut) => s.add(value, unsafe { s.load_live::<WHOLE>(shortcut, live) }),
            None => value,
        }
    }

    /// The gradient of that sum.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn gradient<S: Simd<F = F>, const WHOLE: bool>(
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
        self.activation.gradient_at(s, unsafe { self.sum::<S, WHOLE>(s, centered, shortcut, live) }, dy)
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
        let rows = self.y.len() / self.normal.mean.len();
        let channels = self.normal.channels(rows, [self.x.len(), self.y.len()], self.shortcut);
        // SAFETY: the slices' lengths were checked.
        unsafe { by_rows(s, 0..rows, channels, self) }
    }
}

impl OfRows for Forward<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, const WHOLE: bool>(&mut self, s: S, rows: Range<usize>, c: usize, live: usize) {
        let (x, y) = (self.x.as_ptr(), self.y.as_mut_ptr());
        let (channels, shortcut) = (self.normal.mean.len(), self.shortcut.map(<[f32]>::as_ptr));
        // SAFETY: as this function's contract.
        unsafe {
            let normal = self.normal.vector::<S, WHOLE>(s, c, live);
            unrolled!(row < ROWS, {
                if row < rows.len() {
                    let at = (rows.start + row) * channels + c;
                    let centered = s.sub(s.load_live::<WHOLE>(x.add(at), live), normal.mean);
                    let sum = normal.sum::<S, WHOLE>(s, centered, offset(shortcut, at), live);
                    s.store_live::<WHOLE>(y.add(at), live, normal.activation.apply(s, sum));
                }
            });
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
        let (shortcut, dz) = (shortcut.map(<[f32]>::as_ptr), dz.map(<[f32]>::as_mut_ptr));
        let mut of_some = AlignedBuffer::new(2 * channels);
        for first in (0..rows).step_by(SUMMED) {
            of_some.fill(0.);
            let (x, dy, sums_of_some) = (x.as_ptr(), dy.as_ptr(), of_some.as_mut_ptr());
            let some = SomeSums { normal, x, shortcut, dy, dz, sums: sums_of_some };
            // SAFETY: the slices' lengths were checked.
            unsafe { by_rows(s, first..rows.min(first + SUMMED), channels, some) };
            sums.iter_mut().zip(&of_some[..]).for_each(|(sum, of_some)| *sum += of_some);
        }
    }
}

/// The same, of rows few enough to be summed up in f32.
struct SomeSums<'a> {
    normal: Normal<'a>,
    x: *const f32,
    shortcut: Option<*const f32>,
    dy: *const f32,
    dz: Option<*mut f32>,
    sums: *mut f32,
}

impl OfRows for SomeSums<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, const WHOLE: bool>(&mut self, s: S, rows: Range<usize>, c: usize, live: usize) {
        let Self { normal, x, shortcut, dy, dz, sums } = *self;
        let channels = normal.mean.len();
        // SAFETY: as this function's contract.
        unsafe {
            let normal = normal.vector::<S, WHOLE>(s, c, live);
            let (mut gradients, mut products) = ([s.splat(0.); ROWS], [s.splat(0.); ROWS]);
            unrolled!(row < ROWS, {
                if row < rows.len() {
                    let at = (rows.start + row) * channels + c;
                    let dy = s.load_live::<WHOLE>(dy.add(at), live);
                    let centered = s.sub(s.load_live::<WHOLE>(x.add(at), live), normal.mean);
                    let gradient = normal.gradient::<S, WHOLE>(s, centered, offset(shortcut, at), live, dy);
                    if let Some(dz) = dz {
                        s.store_live::<WHOLE>(dz.add(at), live, gradient);
                    }
                    gradients[row] = gradient;
                    products[row] = s.mul(gradient, centered);
                }
            });
            add_to::<S, WHOLE>(s, sums.add(c), live, total(s, gradients));
            add_to::<S, WHOLE>(s, sums.add(channels + c), live, total(s, products));
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
        let Self { normal, terms, x, shortcut, dy, ref dx } = self;
        let rows = dx.len() / normal.mean.len();
        let channels = normal.channels(rows, [x.len(), dy.len()], shortcut);
        assert!([&terms.scale, &terms.of_x, &terms.shift].iter().all(|term| term.len() == channels));
        // SAFETY: the slices' lengths were checked.
        unsafe { by_rows(s, 0..rows, channels, self) }
    }
}

impl OfRows for InputGradient<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, const WHOLE: bool>(&mut self, s: S, rows: Range<usize>, c: usize, live: usize) {
        let InputTerms { scale, of_x, shift } = self.terms;
        let (x, dy, dx) = (self.x.as_ptr(), self.dy.as_ptr(), self.dx.as_mut_ptr());
        let (channels, shortcut) = (self.normal.mean.len(), self.shortcut.map(<[f32]>::as_ptr));
        // SAFETY: as this function's contract.
        unsafe {
            let normal = self.normal.vector::<S, WHOLE>(s, c, live);
            let [scale, of_x, shift] =
                [scale, of_x, shift].map(|term| s.load_live::<WHOLE>(term.as_ptr().add(c), live));
            unrolled!(row < ROWS, {
                if row < rows.len() {
                    let at = (rows.start + row) * channels + c;
                    let dy = s.load_live::<WHOLE>(dy.add(at), live);
                    let centered = s.sub(s.load_live::<WHOLE>(x.add(at), live), normal.mean);
                    let dz = normal.gradient::<S, WHOLE>(s, centered, offset(shortcut, at), live, dy);
                    let value = s.fma(scale, dz, s.fma(of_x, centered, shift));
                    s.store_live::<WHOLE>(dx.add(at), live, value);
                }
            });
        }
    }
}
