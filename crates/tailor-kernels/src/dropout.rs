//! Dropout whose mask is a function of seed and position, so that nothing is saved: the backward pass draws the
//! same mask again, and so does any instruction set with any number of threads.

use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::{Isa, Kernel, Simd};
use crate::team;

/// Elements below which another thread is not worth waking.
const WORTH_SPLITTING: usize = 32 << 10;

/// Inverted dropout (Srivastava et al. 2014): an element is zero with probability `rate`, else divided by
/// `1 - rate`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability of zero, in 0 ≤ rate < 1.
    pub rate: f32,
    /// Draws the mask: a run's seed, mixed with the step and the layer (see [`Dropout::new`]).
    pub seed: u64,
}

impl Dropout {
    /// The mask of one layer at one step of a run.
    pub fn new(rate: f32, run_seed: u64, step: u64, layer: u64) -> Self {
        let seed = split_mix(split_mix(split_mix(run_seed).wrapping_add(step)).wrapping_add(layer));
        Self { rate, seed }
    }

    /// `y = mask · x / (1 - rate)`; `x` has fewer than 2³² elements.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        assert_eq!(x.len(), y.len(), "input and output have the same length");
        assert!((0. ..1.).contains(&self.rate), "a dropout rate lies in 0 ≤ rate < 1: {}", self.rate);
        assert!(x.len() <= u32::MAX as usize, "masks are numbered with 32 bits");
        let (isa, len) = (Isa::current(), x.len());
        let (x, y) = (ConstPointer::new(x), MutPointer::new(y));
        let part = |range: std::ops::Range<usize>| {
            let (x, y) = (x.at(range.start), y.at(range.start));
            isa.run(Mask { dropout: *self, first: range.start, x, y, len: range.len() });
        };
        if len < WORTH_SPLITTING { part(0..len) } else { team::split(len, |_, range| part(range)) }
    }

    /// `dx = mask · dy / (1 - rate)`: the same function.
    pub fn backward(&self, dy: &[f32], dx: &mut [f32]) {
        self.forward(dy, dx);
    }
}

/// SplitMix64's output function (Steele, Lea & Flood 2014).
fn split_mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Elements `first..first + len` of the whole; `x` and `y` point at the first of them.
struct Mask {
    dropout: Dropout,
    first: usize,
    x: *const f32,
    y: *mut f32,
    len: usize,
}

impl Kernel for Mask {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Dropout { rate, seed } = self.dropout;
        let (low, high) = (s.splat_i(seed as i32), s.splat_i((seed >> 32) as i32));
        // Draws are 24 bits wide, so that any rate that f32 tells apart from 0 and 1 counts.
        let threshold = s.splat_i((f64::from(rate) * f64::from(1 << 24)).round() as i32);
        let scale = s.splat(1. / (1. - rate));
        for i in (0..self.len).step_by(S::LANES) {
            let live = (self.len - i).min(S::LANES);
            let position = s.add_i(s.splat_i((self.first + i) as i32), s.lanes());
            let draw = s.shr_i::<8>(mix(s, s.add_i(mix(s, s.xor_i(position, low)), high)));
            let dropped = s.gt_i(threshold, draw);
            // SAFETY: `forward` made this from slices, of which the live elements are part.
            unsafe {
                let kept = s.mul(s.load_n(self.x.add(i), live), scale);
                s.store_n(self.y.add(i), live, s.select(dropped, s.splat(0.), kept));
            }
        }
    }
}

/// A bijection of 32 bits that changes half of the output bits for each input bit: `lowbias32` of Ellis, "Hash
/// function prospector".
#[inline(always)]
fn mix<S: Simd>(s: S, x: S::I) -> S::I {
    let x = s.mul_i(s.xor_i(x, s.shr_i::<16>(x)), s.splat_i(0x7feb_352d));
    let x = s.mul_i(s.xor_i(x, s.shr_i::<15>(x)), s.splat_i(0x846c_a68b_u32 as i32));
    s.xor_i(x, s.shr_i::<16>(x))
}
