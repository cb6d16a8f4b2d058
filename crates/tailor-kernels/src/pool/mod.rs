//! Pooling: maximum, average, and the average over whole images.

mod global;

pub use global::{global_average, global_average_backward};

use std::ops::Range;

use crate::buffer::AlignedBuffer;
use crate::conv::Padding;
use crate::pointer::MutPointer;
use crate::simd::{Isa, Kernel, Simd};
use crate::team;

/// Elements below which another thread is not worth waking.
const WORTH_SPLITTING: usize = 32 << 10;

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// Its largest value; padding never wins, and of equals the first does.
    Max,
    /// The mean over the whole window, padding counted as zeros (PyTorch's default).
    Average,
}

/// A pool: windows of `window` rows and columns, `stride` apart. Rows and columns that fill no window are
/// dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// What becomes of a window.
    pub kind: PoolKind,
    /// Rows and columns of a window.
    pub window: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Around each image; less than a window on each side.
    pub padding: Padding,
}

impl Pool {
    /// The usual 2×2 maximum with stride 2.
    pub const MAX_2X2: Self = Self {
        kind: PoolKind::Max,
        window: [2, 2],
        stride: [2, 2],
        padding: Padding { top: 0, left: 0, bottom: 0, right: 0 },
    };

    /// The 2×2 average with stride 2.
    pub const AVERAGE_2X2: Self = Self { kind: PoolKind::Average, ..Self::MAX_2X2 };

    pub(crate) fn is_max_2x2(&self) -> bool {
        *self == Self::MAX_2X2
    }

    /// `[N, Ho, Wo, C]` for an input of `[N, H, W, C]`; a dimension is zero where no window fits.
    pub fn output_shape(&self, [n, h, w, c]: [usize; 4]) -> [usize; 4] {
        let extent = |len: usize, axis: usize| match len.checked_sub(self.window[axis]) {
            Some(room) => room / self.stride[axis] + 1,
            None => 0,
        };
        let Padding { top, left, bottom, right } = self.padding;
        [n, extent(h + top + bottom, 0), extent(w + left + right, 1), c]
    }

    /// Inference over `x` of `[N, H, W, C]`.
    pub fn infer(&self, shape: [usize; 4], x: &[f32], y: &mut [f32]) {
        self.run(shape, x, y, None);
    }

    /// Training: for a maximum, the result tells [`Pool::backward`] which inputs won (else it is empty).
    pub fn forward(&self, shape: [usize; 4], x: &[f32], y: &mut [f32]) -> AlignedBuffer<u8> {
        let mut index = AlignedBuffer::new(if self.kind == PoolKind::Max { y.len() } else { 0 });
        self.run(shape, x, y, Some(&mut index));
        index
    }

    /// The gradient with respect to the input, overwritten.
    pub fn backward(&self, shape: [usize; 4], index: &[u8], dy: &[f32], dx: &mut [f32]) {
        let [_, h, w, c] = shape;
        let y_len = self.check(shape, dx.len(), dy.len());
        assert_eq!(
            index.len(),
            if self.kind == PoolKind::Max { dy.len() } else { 0 },
            "the forward pass's index"
        );
        let (isa, dx) = (Isa::current(), MutPointer::new(dx));
        split_images(shape, |images| {
            for image in images {
                // SAFETY: each image belongs to one thread.
                let dx = unsafe { dx.slice(image * h * w * c, h * w * c) };
                let range = image * y_len..(image + 1) * y_len;
                let index = index.get(range.clone()).unwrap_or(&[]);
                self.backward_image(isa, [h, w, c], index, &dy[range], dx);
            }
        });
    }

    fn run(&self, shape: [usize; 4], x: &[f32], y: &mut [f32], index: Option<&mut [u8]>) {
        let [_, h, w, c] = shape;
        let y_len = self.check(shape, x.len(), y.len());
        let isa = Isa::current();
        let y = MutPointer::new(y);
        let index = index.filter(|index| !index.is_empty()).map(MutPointer::new);
        split_images(shape, |images| {
            for image in images {
                let x = &x[image * h * w * c..(image + 1) * h * w * c];
                // SAFETY: each image belongs to one thread.
                let (y, index) = unsafe {
                    (y.slice(image * y_len, y_len), index.map(|index| index.slice(image * y_len, y_len)))
                };
                self.forward_image(isa, [h, w, c], x, y, index);
            }
        });
    }

    /// Checks lengths; returns that of an output image.
    fn check(&self, shape: [usize; 4], x: usize, y: usize) -> usize {
        let output = self.output_shape(shape);
        assert!(
            self.window[0] * self.window[1] <= 255,
            "an index byte tells the positions of a window apart"
        );
        assert!(self.window.iter().chain(&self.stride).all(|&n| n > 0), "windows and strides are at least 1");
        let Padding { top, left, bottom, right } = self.padding;
        assert!(
            top.max(bottom) < self.window[0] && left.max(right) < self.window[1],
            "no window lies in the padding alone"
        );
        assert_eq!(x, shape.iter().product::<usize>(), "the input is {shape:?}");
        assert_eq!(y, output.iter().product::<usize>(), "the output is {output:?}");
        output[1] * output[2] * output[3]
    }

    /// One image of `[H, W, C]`.
    pub(crate) fn forward_image(
        &self,
        isa: Isa,
        shape: [usize; 3],
        x: &[f32],
        y: &mut [f32],
        index: Option<&mut [u8]>,
    ) {
        let pool = *self;
        match self.kind {
            PoolKind::Max => isa.run(MaxForward { pool, shape, x, y, index }),
            PoolKind::Average => isa.run(AverageForward { pool, shape, x, y }),
        }
    }

    /// The gradient of one image of `[H, W, C]`, overwritten.
    pub(crate) fn backward_image(
        &self,
        isa: Isa,
        shape: [usize; 3],
        index: &[u8],
        dy: &[f32],
        dx: &mut [f32],
    ) {
        dx.fill(0.);
        isa.run(Backward { pool: *self, shape, index, dy, dx });
    }
}

/// Splits the images over the team.
pub(crate) fn split_images(shape: [usize; 4], f: impl Fn(Range<usize>) + Sync) {
    if shape.iter().product::<usize>() < WORTH_SPLITTING {
        f(0..shape[0])
    } else {
        team::split(shape[0], |_, images| f(images))
    }
}

/// The part of a window inside `0..len`, and its first position, which may be negative.
#[inline(always)]
fn clip(padded_start: usize, padding: usize, window: usize, len: usize) -> (Range<usize>, isize) {
    let end = (padded_start + window).saturating_sub(padding).min(len);
    (padded_start.saturating_sub(padding)..end, padded_start as isize - padding as isize)
}

struct MaxForward<'a> {
    pool: Pool,
    shape: [usize; 3],
    x: &'a [f32],
    y: &'a mut [f32],
    index: Option<&'a mut [u8]>,
}

impl Kernel for MaxForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [h, w, c] = self.shape;
        let Self { pool, x, y, .. } = self;
        assert_eq!((x.len(), y.len()), (h * w * c, pool.output_shape([1, h, w, c]).iter().product()));
        let index = self.index.map_or(std::ptr::null_mut(), |index| index.as_mut_ptr());
        let [_, rows, columns, _] = pool.output_shape([1, h, w, c]);
        for row in 0..rows {
            for column in 0..columns {
                let (window_rows, first_row) =
                    clip(row * pool.stride[0], pool.padding.top, pool.window[0], h);
                let (window_columns, first_column) =
                    clip(column * pool.stride[1], pool.padding.left, pool.window[1], w);
                for channel in (0..c).step_by(S::LANES) {
                    let live = (c - channel).min(S::LANES);
                    let mut maximum = s.splat(f32::NEG_INFINITY);
                    // Where nothing exceeds minus infinity, the first position that lies in the image.
                    let clipped = [
                        window_rows.start as isize - first_row,
                        window_columns.start as isize - first_column,
                    ];
                    let mut code = s.splat_i((clipped[0] * pool.window[1] as isize + clipped[1]) as i32);
                    for r in window_rows.clone() {
                        for q in window_columns.clone() {
                            // SAFETY: row, column and channels lie in the image, whose length was checked.
                            let value = unsafe { s.load_n(x.as_ptr().add((r * w + q) * c + channel), live) };
                            let position = (r as isize - first_row) * pool.window[1] as isize + q as isize
                                - first_column;
                            code = s.select_i(s.gt(value, maximum), s.splat_i(position as i32), code);
                            maximum = s.max(maximum, value);
                        }
                    }
                    let at = (row * columns + column) * c + channel;
                    // SAFETY: `at` and the live channels lie in the output, whose length was checked; the
                    // index is as long.
                    unsafe {
                        s.store_n(y.as_mut_ptr().add(at), live, maximum);
                        if !index.is_null() {
                            s.store_bytes(index.add(at), live, code);
                        }
                    }
                }
            }
        }
    }
}

struct AverageForward<'a> {
    pool: Pool,
    shape: [usize; 3],
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for AverageForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [h, w, c] = self.shape;
        let Self { pool, x, y, .. } = self;
        assert_eq!((x.len(), y.len()), (h * w * c, pool.output_shape([1, h, w, c]).iter().product()));
        let share = s.splat(1. / (pool.window[0] * pool.window[1]) as f32);
        let [_, rows, columns, _] = pool.output_shape([1, h, w, c]);
        for row in 0..rows {
            for column in 0..columns {
                let (window_rows, _) = clip(row * pool.stride[0], pool.padding.top, pool.window[0], h);
                let (window_columns, _) = clip(column * pool.stride[1], pool.padding.left, pool.window[1], w);
                for channel in (0..c).step_by(S::LANES) {
                    let live = (c - channel).min(S::LANES);
                    let mut sum = s.splat(0.);
                    for r in window_rows.clone() {
                        for q in window_columns.clone() {
                            // SAFETY: row, column and channels lie in the image, whose length was checked.
                            sum = s.add(sum, unsafe {
                                s.load_n(x.as_ptr().add((r * w + q) * c + channel), live)
                            });
                        }
                    }
                    let at = (row * columns + column) * c + channel;
                    // SAFETY: `at` and the live channels lie in the output, whose length was checked.
                    unsafe { s.store_n(y.as_mut_ptr().add(at), live, s.mul(sum, share)) };
                }
            }
        }
    }
}

/// Adds each output's gradient to the inputs of its window: to the one that won, or a share to each.
struct Backward<'a> {
    pool: Pool,
    shape: [usize; 3],
    /// For maxima, as long as `dy`.
    index: &'a [u8],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [h, w, c] = self.shape;
        let Self { pool, index, dy, dx, .. } = self;
        let max = pool.kind == PoolKind::Max;
        assert_eq!((dx.len(), dy.len()), (h * w * c, pool.output_shape([1, h, w, c]).iter().product()));
        assert!(!max || index.len() == dy.len());
        let share = s.splat(1. / (pool.window[0] * pool.window[1]) as f32);
        let [_, rows, columns, _] = pool.output_shape([1, h, w, c]);
        for row in 0..rows {
            for column in 0..columns {
                let (window_rows, first_row) =
                    clip(row * pool.stride[0], pool.padding.top, pool.window[0], h);
                let (window_columns, first_column) =
                    clip(column * pool.stride[1], pool.padding.left, pool.window[1], w);
                for channel in (0..c).step_by(S::LANES) {
                    let live = (c - channel).min(S::LANES);
                    let at = (row * columns + column) * c + channel;
                    // SAFETY: `at` and the live channels lie in the output and the index, and the window in
                    // the image; all lengths were checked.
                    unsafe {
                        let dy = s.load_n(dy.as_ptr().add(at), live);
                        let mut winner = s.splat_i(0);
                        if max {
                            winner = s.load_bytes(index.as_ptr().add(at), live);
                        }
                        for r in window_rows.clone() {
                            for q in window_columns.clone() {
                                let position = (r as isize - first_row) * pool.window[1] as isize
                                    + q as isize
                                    - first_column;
                                let change = if max {
                                    let won = s.eq_i(winner, s.splat_i(position as i32));
                                    s.select(won, dy, s.splat(0.))
                                } else {
                                    s.mul(dy, share)
                                };
                                let to = dx.as_mut_ptr().add((r * w + q) * c + channel);
                                s.store_n(to, live, s.add(s.load_n(to, live), change));
                            }
                        }
                    }
                }
            }
        }
    }
}
