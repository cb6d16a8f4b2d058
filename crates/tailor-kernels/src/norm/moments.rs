//! Mean and variance per channel, of rows that come in parts.

use std::ops::Range;

use super::Statistics;
use super::by_rows::{OfRows, ROWS, add_to, by_rows, total};
use crate::buffer::AlignedBuffer;
use crate::pointer::MutPointer;
use crate::simd::{Isa, Kernel, Simd, unrolled};
use crate::team;

/// Rows whose moments are summed up in one go, in f32 around their first; the rest is f64.
const CHUNK: usize = 256;

impl Statistics {
    /// Of `x`, `[rows, channels]`.
    pub fn of(x: &[f32], channels: usize) -> Self {
        let rows = x.len() / channels;
        let parts = super::parts(x.len()).min(rows.max(1));
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
            sums.fill(0.);
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

/// Adds `sums[c] = Σ (x - x₀)`, `sums[C + c] = Σ (x - x₀)²` over rows, `x₀` being the first row: so close to the mean
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
        let (rows, channels) = (self.rows, self.sums.len() / 2);
        assert!(self.x.len() >= rows * channels);
        // SAFETY: the slices' lengths were checked.
        unsafe { by_rows(s, 0..rows, channels, self) }
    }
}

impl OfRows for ChunkSums<'_> {
    #[inline(always)]
    unsafe fn vector<S: Simd, const WHOLE: bool>(&mut self, s: S, rows: Range<usize>, c: usize, live: usize) {
        let (channels, to) = (self.sums.len() / 2, self.sums.as_mut_ptr());
        // SAFETY: as this function's contract.
        unsafe {
            let x = self.x.as_ptr().add(c);
            let origin = s.load_live::<WHOLE>(x, live);
            let (mut sums, mut squares) = ([s.splat(0.); ROWS], [s.splat(0.); ROWS]);
            unrolled!(row < ROWS, {
                if row < rows.len() {
                    sums[row] =
                        s.sub(s.load_live::<WHOLE>(x.add((rows.start + row) * channels), live), origin);
                    squares[row] = s.mul(sums[row], sums[row]);
                }
            });
            add_to::<S, WHOLE>(s, to.add(c), live, total(s, sums));
            add_to::<S, WHOLE>(s, to.add(channels + c), live, total(s, squares));
        }
    }
}
