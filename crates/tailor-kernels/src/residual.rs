//! Residual addition, `y = activation(shortcut + factor · branch)` (He et al. 2016, arXiv:1512.03385), where each image
//! may have a factor for its branch: stochastic depth (Huang et al. 2016, arXiv:1603.09382) makes it zero now and then.

use std::ops::Range;

use crate::activation::Activation;
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::{Isa, Kernel, Simd};
use crate::team;

/// Elements below which another thread is not worth waking.
const WORTH_SPLITTING: usize = 32 << 10;

/// The addition of a branch of a network to its shortcut.
#[derive(Clone, Copy, Debug, Default)]
pub struct Residual<'a> {
    /// What is applied to the sum; its derivative must be a function of its output.
    pub activation: Activation,
    /// What each image's branch is multiplied by, `[N]`; one, if missing.
    pub factors: Option<&'a [f32]>,
}

/// Operands of [`Residual::backward`].
#[derive(Debug)]
pub struct ResidualGradient<'a> {
    /// The forward pass's output.
    pub y: &'a [f32],
    /// The loss's gradient with respect to it.
    pub dy: &'a [f32],
    /// Where the gradient with respect to the sum, which is the shortcut's, goes; overwritten, as are all. Without
    /// factors it is the branch's as well.
    pub dsum: Option<&'a mut [f32]>,
    /// Where the gradient with respect to the branch goes, if wanted by itself.
    pub dbranch: Option<&'a mut [f32]>,
}

impl Residual<'_> {
    /// `y = activation(shortcut + factor · branch)`; all are `[N, …]`.
    pub fn forward(&self, shortcut: &[f32], branch: &[f32], y: &mut [f32]) {
        assert_eq!((shortcut.len(), branch.len()), (y.len(), y.len()), "both sides are as long as the sum");
        let len = y.len();
        let (shortcut, branch, y) =
            (ConstPointer::new(shortcut), ConstPointer::new(branch), MutPointer::new(y));
        self.each_image(len, |isa, range, factor| {
            let (shortcut, branch) = (shortcut.at(range.start), branch.at(range.start));
            let (activation, y) = (self.activation, y.at(range.start));
            isa.run(Forward { activation, factor, shortcut, branch, y, len: range.len() });
        });
    }

    /// The gradients of [`Residual::forward`].
    pub fn backward(&self, gradient: ResidualGradient) {
        let ResidualGradient { y, dy, dsum, dbranch } = gradient;
        self.activation.check_derives_from_output();
        let len = y.len();
        for other in [Some(dy.len()), dsum.as_ref().map(|d| d.len()), dbranch.as_ref().map(|d| d.len())] {
            assert!(other.is_none_or(|other| other == len), "gradients are as long as y");
        }
        let (y, dy) = (ConstPointer::new(y), ConstPointer::new(dy));
        let (dsum, dbranch) = (dsum.map(MutPointer::new), dbranch.map(MutPointer::new));
        self.each_image(len, |isa, range, factor| {
            isa.run(Backward {
                activation: self.activation,
                factor,
                y: y.at(range.start),
                dy: dy.at(range.start),
                dsum: dsum.map(|d| d.at(range.start)),
                dbranch: dbranch.map(|d| d.at(range.start)),
                len: range.len(),
            });
        });
    }

    /// Calls `f(isa, range, factor)` for ranges of `0..len` that have one factor each, split over the team.
    fn each_image(&self, len: usize, f: impl Fn(Isa, Range<usize>, f32) + Sync) {
        let isa = Isa::current();
        let images = self.factors.map_or(1, <[f32]>::len);
        assert!(images > 0 && len.is_multiple_of(images) || len == 0, "one factor an image");
        let image_len = (len / images.max(1)).max(1);
        let part = |range: Range<usize>| {
            let mut start = range.start;
            while start < range.end {
                let image = start / image_len;
                let end = range.end.min((image + 1) * image_len);
                f(isa, start..end, self.factors.map_or(1., |factors| factors[image]));
                start = end;
            }
        };
        if len < WORTH_SPLITTING { part(0..len) } else { team::split(len, |_, range| part(range)) }
    }
}

struct Forward {
    activation: Activation,
    factor: f32,
    shortcut: *const f32,
    branch: *const f32,
    y: *mut f32,
    len: usize,
}

impl Kernel for Forward {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let factor = s.splat(self.factor);
        for i in (0..self.len).step_by(S::LANES) {
            let live = (self.len - i).min(S::LANES);
            // SAFETY: `forward` made this from slices, of which the live elements are part.
            unsafe {
                let (shortcut, branch) =
                    (s.load_n(self.shortcut.add(i), live), s.load_n(self.branch.add(i), live));
                let sum = s.fma(factor, branch, shortcut);
                s.store_n(self.y.add(i), live, self.activation.apply(s, sum));
            }
        }
    }
}

struct Backward {
    activation: Activation,
    factor: f32,
    y: *const f32,
    dy: *const f32,
    dsum: Option<*mut f32>,
    dbranch: Option<*mut f32>,
    len: usize,
}

impl Kernel for Backward {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let factor = s.splat(self.factor);
        for i in (0..self.len).step_by(S::LANES) {
            let live = (self.len - i).min(S::LANES);
            // SAFETY: `backward` made this from slices, of which the live elements are part.
            unsafe {
                let (y, dy) = (s.load_n(self.y.add(i), live), s.load_n(self.dy.add(i), live));
                let gradient = self.activation.gradient(s, y, dy);
                if let Some(dsum) = self.dsum {
                    s.store_n(dsum.add(i), live, gradient);
                }
                if let Some(dbranch) = self.dbranch {
                    s.store_n(dbranch.add(i), live, s.mul(factor, gradient));
                }
            }
        }
    }
}
