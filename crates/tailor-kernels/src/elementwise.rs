//! Functions of corresponding elements of slices, split over the team when long enough.

use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::{Isa, Kernel, Simd};
use crate::team;

/// A function of one element.
pub(crate) trait Map: Copy + Sync {
    fn apply<S: Simd>(self, s: S, x: S::F) -> S::F;
}

/// A function of two elements.
pub(crate) trait Zip: Copy + Sync {
    fn apply<S: Simd>(self, s: S, a: S::F, b: S::F) -> S::F;
}

/// Slices shorter than this are not worth another thread: waking it takes a microsecond.
const WORTH_SPLITTING: usize = 32 << 10;

/// `y[i] = f(x[i])`
pub(crate) fn map<F: Map>(f: F, x: &[f32], y: &mut [f32]) {
    // The one-argument function as a two-argument one: the second costs a load that hits the cache.
    #[derive(Clone, Copy)]
    struct First<F>(F);
    impl<F: Map> Zip for First<F> {
        #[inline(always)]
        fn apply<S: Simd>(self, s: S, a: S::F, _: S::F) -> S::F {
            self.0.apply(s, a)
        }
    }
    zip(First(f), x, x, y);
}

/// `y[i] = f(a[i], b[i])`
pub(crate) fn zip<F: Zip>(f: F, a: &[f32], b: &[f32], y: &mut [f32]) {
    assert_eq!(a.len(), y.len(), "operands and result have the same length");
    assert_eq!(b.len(), y.len(), "operands and result have the same length");
    let (isa, len) = (Isa::current(), y.len());
    let (pa, pb, py) = (ConstPointer::new(a), ConstPointer::new(b), MutPointer::new(y));
    let work = |range: std::ops::Range<usize>| {
        // SAFETY: ranges lie within all three slices and do not overlap each other.
        unsafe { zip_raw(isa, f, pa.at(range.start), pb.at(range.start), py.at(range.start), range.len()) }
    };
    if len < WORTH_SPLITTING { work(0..len) } else { team::split(len, |_, range| work(range)) }
}

/// `y[i] = f(a[i], b[i])` on this thread.
///
/// # Safety
/// `len` floats can be read at `a` and `b` and written at `y`; `y` may be one of them.
pub(crate) unsafe fn zip_raw<F: Zip>(isa: Isa, f: F, a: *const f32, b: *const f32, y: *mut f32, len: usize) {
    isa.run(ZipKernel { f, a, b, y, len });
}

struct ZipKernel<F> {
    f: F,
    a: *const f32,
    b: *const f32,
    y: *mut f32,
    len: usize,
}

impl<F: Zip> Kernel for ZipKernel<F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let full = self.len - self.len % S::LANES;
        // SAFETY: `zip_raw`'s caller vouches for `len` floats, and `full` and the rest stay within.
        unsafe {
            for i in (0..full).step_by(S::LANES) {
                s.store(self.y.add(i), self.f.apply(s, s.load(self.a.add(i)), s.load(self.b.add(i))));
            }
            let rest = self.len - full;
            if rest > 0 {
                let (a, b) = (s.load_n(self.a.add(full), rest), s.load_n(self.b.add(full), rest));
                s.store_n(self.y.add(full), rest, self.f.apply(s, a, b));
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Sum;

impl Zip for Sum {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, a: S::F, b: S::F) -> S::F {
        s.add(a, b)
    }
}

#[derive(Clone, Copy)]
struct Blend {
    share: f32,
}

impl Zip for Blend {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, a: S::F, b: S::F) -> S::F {
        s.fma(s.splat(self.share), s.sub(b, a), a)
    }
}

/// `average[i] += share · (values[i] - average[i])`: a step of an exponential moving average.
pub fn blend(average: &mut [f32], values: &[f32], share: f32) {
    zip_in_place(Blend { share }, average, values);
}

/// `a[i] = f(a[i], b[i])`
pub(crate) fn zip_in_place<F: Zip>(f: F, a: &mut [f32], b: &[f32]) {
    assert_eq!(b.len(), a.len(), "operands have the same length");
    let (isa, len) = (Isa::current(), a.len());
    let (a, b) = (MutPointer::new(a), ConstPointer::new(b));
    let work = |range: std::ops::Range<usize>| {
        let at = a.at(range.start);
        // SAFETY: ranges lie within both slices and do not overlap each other.
        unsafe { zip_raw(isa, f, at, b.at(range.start), at, range.len()) }
    };
    if len < WORTH_SPLITTING { work(0..len) } else { team::split(len, |_, range| work(range)) }
}

/// `sum[i] += part[i]`, on this thread.
pub(crate) fn accumulate(isa: Isa, part: &[f32], sum: &mut [f32]) {
    assert_eq!(part.len(), sum.len(), "a part is as long as the sum");
    let to = sum.as_mut_ptr();
    // SAFETY: both have the same length.
    unsafe { zip_raw(isa, Sum, part.as_ptr(), to, to, sum.len()) }
}

/// `sums[c] += Σ rows[r][c]`, on this thread: the gradient of a bias.
pub(crate) fn add_rows(isa: Isa, rows: &[f32], sums: &mut [f32]) {
    for row in rows.chunks_exact(sums.len()) {
        accumulate(isa, row, sums);
    }
}

/// The sum of all rows of `[rows, len]`, in place of the first, on this thread: of what the parts of a team have summed up.
pub(crate) fn sum_rows(isa: Isa, rows: &mut [f32], len: usize) -> &[f32] {
    let (first, others) = rows.split_at_mut(len);
    add_rows(isa, others, first);
    first
}
