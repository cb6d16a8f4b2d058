//! Multi-head scaled dot-product attention for short sequences (Vaswani et al. 2017, arXiv:1706.03762, equation 1):
//! every token of an image looks at all others.
//!
//! ```text
//! per image and head   p [T, T] = softmax(q · kᵀ / √D)      y [T, D] = p · v
//! backward             dv = pᵀ · dy    dp = dy · vᵀ    ds = p · (dp - Σ dp · p) / √D    dq = ds · k    dk = dsᵀ · q
//! ```
//!
//! A head's matrices fit the second-level cache up to some 256 tokens, so that the products follow one another there.

use std::ops::Range;

use crate::activation::exp;
use crate::buffer::AlignedBuffer;
use crate::matrix::multiply;
use crate::panels::Panels;
use crate::pointer::MutPointer;
use crate::simd::{Isa, Kernel, Simd, largest_lane, live_lanes};
use crate::team;
use crate::tile::Layout;

/// Multiply-adds that are not worth another thread.
const WORTH_SPLITTING: usize = 200_000;

/// The geometry of attention over a batch of sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    /// Sequences, N.
    pub batch: usize,
    /// Tokens of each, T.
    pub tokens: usize,
    /// H
    pub heads: usize,
    /// Of each head's queries, keys and values, D.
    pub width: usize,
}

/// Operands of [`Attention::backward`].
#[derive(Debug)]
pub struct AttentionGradient<'a> {
    /// The forward pass's input, `[N, T, 3, H, D]`.
    pub qkv: &'a [f32],
    /// What it returned.
    pub maps: &'a [f32],
    /// The loss's gradient with respect to its output, `[N, T, H, D]`.
    pub dy: &'a [f32],
    /// Where the gradient with respect to `qkv` goes; overwritten.
    pub dqkv: &'a mut [f32],
}

/// Copies that one thread needs.
struct Scratch {
    /// A head's keys or values, `[T, D]`.
    rows: AlignedBuffer,
    /// `[T, T]`
    scores: AlignedBuffer,
}

impl Attention {
    /// Training: queries, keys and values packed as one projection makes them, `[N, T, 3, H, D]`, to `[N, T, H, D]`.
    /// Returns the attention maps `[N, H, T, T]`, rows being queries: how much of each token each token took.
    pub fn forward(&self, qkv: &[f32], y: &mut [f32]) -> AlignedBuffer {
        let mut maps = AlignedBuffer::new(self.batch * self.maps_len());
        let to = MutPointer::new(&mut maps);
        self.run(qkv, y, |image, head, scratch| {
            let len = self.tokens * self.tokens;
            // SAFETY: each image's maps belong to one thread.
            let map = unsafe { to.slice(image * self.maps_len() + head * len, len) };
            map.copy_from_slice(&scratch.scores);
        });
        maps
    }

    /// Inference: as [`Attention::forward`], keeping no maps.
    pub fn infer(&self, qkv: &[f32], y: &mut [f32]) {
        self.run(qkv, y, |_, _, _| ());
    }

    fn run(&self, qkv: &[f32], y: &mut [f32], keep: impl Fn(usize, usize, &Scratch) + Sync) {
        let Self { tokens, heads, width, .. } = *self;
        self.check(qkv.len(), y.len());
        let (isa, y, step) = (Isa::current(), MutPointer::new(y), 3 * heads * width);
        self.split_images(|images| {
            let mut scratch = self.scratch();
            for image in images {
                let qkv = &qkv[image * tokens * step..(image + 1) * tokens * step];
                // SAFETY: each image belongs to one thread.
                let y = unsafe { y.slice(image * self.y_len(), self.y_len()) };
                for head in 0..heads {
                    let [q, k, v] = [0, 1, 2].map(|part| &qkv[(part * heads + head) * width..]);
                    self.copy(k, 1. / (width as f32).sqrt(), &mut scratch.rows);
                    let keys = Panels::from_channels(isa, &scratch.rows, tokens, width, None);
                    multiply(&keys, Layout::matrix(tokens, step, width, 1), q, &mut scratch.scores, tokens);
                    isa.run(Softmax { columns: tokens, scores: &mut scratch.scores });
                    keep(image, head, &scratch);
                    let values = Panels::from_rows(isa, v, width, tokens, None, |token| token * step);
                    let layout = Layout::matrix(tokens, tokens, tokens, 1);
                    multiply(&values, layout, &scratch.scores, &mut y[head * width..], heads * width);
                }
            }
        });
    }

    /// The gradient of [`Attention::forward`].
    pub fn backward(&self, gradient: AttentionGradient) {
        let AttentionGradient { qkv, maps, dy, dqkv } = gradient;
        let Self { batch, tokens, heads, width } = *self;
        self.check(qkv.len(), dy.len());
        assert_eq!(dqkv.len(), qkv.len(), "dqkv is as long as qkv");
        assert_eq!(maps.len(), batch * self.maps_len(), "the forward pass's maps");
        let (isa, dqkv, step) = (Isa::current(), MutPointer::new(dqkv), 3 * heads * width);
        let y_step = heads * width;
        self.split_images(|images| {
            let mut scratch = self.scratch();
            for image in images {
                let qkv = &qkv[image * tokens * step..(image + 1) * tokens * step];
                let dy = &dy[image * self.y_len()..(image + 1) * self.y_len()];
                // SAFETY: each image belongs to one thread.
                let dqkv = unsafe { dqkv.slice(image * tokens * step, tokens * step) };
                for head in 0..heads {
                    let at = [0, 1, 2].map(|part| (part * heads + head) * width);
                    let [q, k, v] = at.map(|at| &qkv[at..]);
                    let len = tokens * tokens;
                    let map = &maps[image * self.maps_len() + head * len..][..len];
                    let dy = &dy[head * width..];
                    // Rows of a square matrix, and its columns.
                    let (rows, columns) = (
                        Layout::matrix(tokens, tokens, tokens, 1),
                        Layout::matrix(tokens, 1, tokens, tokens),
                    );

                    let panels = Panels::from_rows(isa, dy, width, tokens, None, |token| token * y_step);
                    multiply(&panels, columns, map, &mut dqkv[at[2]..], step);
                    self.copy(v, 1., &mut scratch.rows);
                    let panels = Panels::from_channels(isa, &scratch.rows, tokens, width, None);
                    let queries = Layout::matrix(tokens, y_step, width, 1);
                    multiply(&panels, queries, dy, &mut scratch.scores, tokens);
                    isa.run(SoftmaxGradient {
                        columns: tokens,
                        map,
                        scale: 1. / (width as f32).sqrt(),
                        gradient: &mut scratch.scores,
                    });
                    let panels = Panels::from_rows(isa, k, width, tokens, None, |token| token * step);
                    multiply(&panels, rows, &scratch.scores, &mut dqkv[at[0]..], step);
                    let panels = Panels::from_rows(isa, q, width, tokens, None, |token| token * step);
                    multiply(&panels, columns, &scratch.scores, &mut dqkv[at[1]..], step);
                }
            }
        });
    }

    /// Floats of an output sequence, `[T, H, D]`.
    fn y_len(&self) -> usize {
        self.tokens * self.heads * self.width
    }

    /// Floats of a sequence's maps, `[H, T, T]`.
    fn maps_len(&self) -> usize {
        self.heads * self.tokens * self.tokens
    }

    fn check(&self, qkv: usize, y: usize) {
        assert!(
            self.tokens > 0 && self.heads > 0 && self.width > 0,
            "attention has tokens and heads: {self:?}"
        );
        assert_eq!(qkv, 3 * self.batch * self.y_len(), "queries, keys and values are [N, T, 3, H, D]");
        assert_eq!(y, self.batch * self.y_len(), "the output is [N, T, H, D]");
    }

    fn scratch(&self) -> Scratch {
        Scratch {
            rows: AlignedBuffer::new(self.tokens * self.width),
            scores: AlignedBuffer::new(self.tokens * self.tokens),
        }
    }

    /// A head's rows of `[T, 3, H, D]` next to each other, times `scale`.
    fn copy(&self, from: &[f32], scale: f32, to: &mut [f32]) {
        let step = 3 * self.heads * self.width;
        for (from, to) in from.chunks(step).zip(to.chunks_exact_mut(self.width)) {
            from[..self.width].iter().zip(to).for_each(|(from, to)| *to = scale * from);
        }
    }

    /// Splits the images over the team.
    fn split_images(&self, f: impl Fn(Range<usize>) + Sync) {
        if 2 * self.batch * self.maps_len() * self.width < WORTH_SPLITTING {
            f(0..self.batch)
        } else {
            team::split(self.batch, |_, images| f(images))
        }
    }
}

/// The softmax of each row, in place. The largest score is subtracted first, so that nothing overflows.
struct Softmax<'a> {
    columns: usize,
    scores: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let columns = self.columns;
        for row in self.scores.chunks_exact_mut(columns) {
            let mut largest = s.splat(f32::NEG_INFINITY);
            let mut sum = s.splat(0.);
            // SAFETY: live columns lie in the row.
            unsafe {
                for c in (0..columns).step_by(S::LANES) {
                    let live = (columns - c).min(S::LANES);
                    let scores = s.load_n(row.as_ptr().add(c), live);
                    largest = s.max(s.select(live_lanes(s, live), scores, largest), largest);
                }
                let largest = s.splat(largest_lane(s, largest));
                for c in (0..columns).step_by(S::LANES) {
                    let live = (columns - c).min(S::LANES);
                    let at = row.as_mut_ptr().add(c);
                    let power = exp(s, s.sub(s.load_n(at, live), largest));
                    sum = s.add(sum, s.select(live_lanes(s, live), power, s.splat(0.)));
                    s.store_n(at, live, power);
                }
                let share = s.splat(1. / s.sum(sum));
                for c in (0..columns).step_by(S::LANES) {
                    let live = (columns - c).min(S::LANES);
                    let at = row.as_mut_ptr().add(c);
                    s.store_n(at, live, s.mul(share, s.load_n(at, live)));
                }
            }
        }
    }
}

/// `gradient = scale · map · (gradient - Σ gradient · map)`, row by row and in place.
struct SoftmaxGradient<'a> {
    columns: usize,
    map: &'a [f32],
    scale: f32,
    gradient: &'a mut [f32],
}

impl Kernel for SoftmaxGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let columns = self.columns;
        let scale = s.splat(self.scale);
        for (map, row) in self.map.chunks_exact(columns).zip(self.gradient.chunks_exact_mut(columns)) {
            // SAFETY: live columns lie in both rows.
            unsafe {
                let mut sum = s.splat(0.);
                for c in (0..columns).step_by(S::LANES) {
                    let live = (columns - c).min(S::LANES);
                    sum =
                        s.fma(s.load_n(map.as_ptr().add(c), live), s.load_n(row.as_ptr().add(c), live), sum);
                }
                let sum = s.splat(s.sum(sum));
                for c in (0..columns).step_by(S::LANES) {
                    let live = (columns - c).min(S::LANES);
                    let at = row.as_mut_ptr().add(c);
                    let map = s.mul(scale, s.load_n(map.as_ptr().add(c), live));
                    s.store_n(at, live, s.mul(map, s.sub(s.load_n(at, live), sum)));
                }
            }
        }
    }
}
