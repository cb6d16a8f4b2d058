//! Plain arrays of four, for any CPU; the compiler maps them to whatever baseline vectors it has.

use std::array::from_fn;

use super::Simd;

/// The token of the portable fallback: any CPU will do.
#[derive(Clone, Copy)]
pub struct Portable;

const LANES: usize = 4;
type F = [f32; LANES];
type I = [i32; LANES];
type M = [bool; LANES];

impl Simd for Portable {
    const LANES: usize = LANES;
    const REGISTERS: usize = 16;
    type F = F;
    type I = I;
    type M = M;

    #[inline(always)]
    fn splat(self, value: f32) -> F {
        [value; LANES]
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn sqrt(self, a: F) -> F {
        from_fn(|i| a[i].sqrt())
    }
    #[inline(always)]
    fn scale_exponent(self, a: F, n: F) -> F {
        from_fn(|i| a[i] * f32::from_bits(((n[i] as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    /// Rounds twice: without the instruction, `f32::mul_add` is a slow library call.
    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn first_halves(self, a: F) -> F {
        from_fn(|i| f32::from_bits(a[i].to_bits() << 16))
    }
    #[inline(always)]
    fn second_halves(self, a: F) -> F {
        from_fn(|i| f32::from_bits(a[i].to_bits() & 0xffff_0000))
    }
    #[inline(always)]
    fn gt(self, a: F, b: F) -> M {
        from_fn(|i| a[i] > b[i])
    }
    #[inline(always)]
    fn select(self, mask: M, a: F, b: F) -> F {
        from_fn(|i| if mask[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn nonzero(self, a: F) -> M {
        from_fn(|i| a[i] != 0.)
    }
    #[inline(always)]
    fn count(self, mask: M) -> usize {
        mask.into_iter().map(usize::from).sum()
    }
    #[inline(always)]
    fn sum(self, a: F) -> f32 {
        (a[0] + a[2]) + (a[1] + a[3])
    }
    #[inline(always)]
    fn splat_i(self, value: i32) -> I {
        [value; LANES]
    }
    #[inline(always)]
    fn lanes(self) -> I {
        from_fn(|i| i as i32)
    }
    #[inline(always)]
    fn add_i(self, a: I, b: I) -> I {
        from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn mul_i(self, a: I, b: I) -> I {
        from_fn(|i| a[i].wrapping_mul(b[i]))
    }
    #[inline(always)]
    fn xor_i(self, a: I, b: I) -> I {
        from_fn(|i| a[i] ^ b[i])
    }
    #[inline(always)]
    fn shr_i<const BITS: i32>(self, a: I) -> I {
        from_fn(|i| ((a[i] as u32) >> BITS) as i32)
    }
    #[inline(always)]
    fn eq_i(self, a: I, b: I) -> M {
        from_fn(|i| a[i] == b[i])
    }
    #[inline(always)]
    fn gt_i(self, a: I, b: I) -> M {
        from_fn(|i| a[i] > b[i])
    }
    #[inline(always)]
    fn select_i(self, mask: M, a: I, b: I) -> I {
        from_fn(|i| if mask[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> F {
        // SAFETY: the caller vouches for `LANES` floats; arrays of them need no more alignment.
        unsafe { from.cast::<F>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, a: F) {
        // SAFETY: the caller vouches for `LANES` floats.
        unsafe { to.cast::<F>().write(a) }
    }
    #[inline(always)]
    unsafe fn load_n(self, from: *const f32, n: usize) -> F {
        // SAFETY: the caller vouches for `n` floats.
        from_fn(|i| if i < n { unsafe { *from.add(i) } } else { 0. })
    }
    #[inline(always)]
    unsafe fn store_n(self, to: *mut f32, n: usize, a: F) {
        for (i, &value) in a[..n].iter().enumerate() {
            // SAFETY: the caller vouches for `n` floats.
            unsafe { *to.add(i) = value };
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8, n: usize) -> I {
        // SAFETY: the caller vouches for `n` bytes.
        from_fn(|i| if i < n { i32::from(unsafe { *from.add(i) }) } else { 0 })
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, n: usize, a: I) {
        for (i, &value) in a[..n].iter().enumerate() {
            // SAFETY: the caller vouches for `n` bytes.
            unsafe { *to.add(i) = value as u8 };
        }
    }
    #[inline(always)]
    unsafe fn load_i(self, from: *const i32) -> I {
        // SAFETY: the caller vouches for `LANES` integers.
        unsafe { from.cast::<I>().read() }
    }
    #[inline(always)]
    unsafe fn store_i(self, to: *mut i32, a: I) {
        // SAFETY: the caller vouches for `LANES` integers.
        unsafe { to.cast::<I>().write(a) }
    }
    #[inline(always)]
    unsafe fn compress(self, to: *mut f32, mask: M, a: F) {
        let mut place = 0;
        for (value, wanted) in a.into_iter().zip(mask) {
            // SAFETY: `place < LANES`; a value that is not wanted is overwritten by the next.
            unsafe { *to.add(place) = value };
            place += usize::from(wanted);
        }
    }
    #[inline(always)]
    unsafe fn compress_i(self, to: *mut i32, mask: M, a: I) {
        let mut place = 0;
        for (value, wanted) in a.into_iter().zip(mask) {
            // SAFETY: as above.
            unsafe { *to.add(place) = value };
            place += usize::from(wanted);
        }
    }
}
