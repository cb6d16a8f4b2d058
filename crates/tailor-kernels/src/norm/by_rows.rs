//! How the kernels of batch norm go through memory.

use std::ops::Range;

use crate::simd::Simd;

/// Rows that go through together. Each is read from one end to the other, as memory is read fastest, and a channel's
/// constants are loaded once for all of them.
pub(super) const ROWS: usize = 2;

/// What is done with a vector of channels.
pub(super) trait OfRows {
    /// In up to [`ROWS`] rows, `live` channels from `c` on: all lanes where they are `WHOLE`. Loads and stores that are masked
    /// must not be the rule: on Zen 5 what a masked store wrote takes long to be read again.
    ///
    /// # Safety
    /// These rows and channels exist.
    unsafe fn vector<S: Simd, const WHOLE: bool>(&mut self, s: S, rows: Range<usize>, c: usize, live: usize);
}

/// Goes through all channels of some rows.
///
/// # Safety
/// These rows and channels exist.
#[inline(always)]
pub(super) unsafe fn by_rows<S: Simd>(s: S, rows: Range<usize>, channels: usize, mut kernel: impl OfRows) {
    let whole = channels / S::LANES * S::LANES;
    for first in rows.clone().step_by(ROWS) {
        let rows = first..rows.end.min(first + ROWS);
        // SAFETY: as this function's contract.
        unsafe {
            for c in (0..whole).step_by(S::LANES) {
                kernel.vector::<S, true>(s, rows.clone(), c, S::LANES);
            }
            if whole < channels {
                kernel.vector::<S, false>(s, rows, whole, channels - whole);
            }
        }
    }
}

/// Sums over rows that go through together.
#[inline(always)]
pub(super) fn total<S: Simd>(s: S, sums: [S::F; ROWS]) -> S::F {
    s.add(sums[0], sums[1])
}

/// Adds the live lanes to memory.
///
/// # Safety
/// They can be read and written at `to`.
#[inline(always)]
pub(super) unsafe fn add_to<S: Simd, const WHOLE: bool>(s: S, to: *mut f32, live: usize, a: S::F) {
    // SAFETY: as this function's contract.
    unsafe { s.store_live::<WHOLE>(to, live, s.add(s.load_live::<WHOLE>(to, live), a)) }
}
