//! NEON, which every 64-bit Arm CPU has: 4 lanes, tails through arrays.

use std::arch::aarch64::*;
use std::ptr::copy_nonoverlapping;

use super::{SECOND_HALF, Simd, intrinsics};

/// The token for NEON.
#[derive(Clone, Copy)]
pub struct Neon(());

impl Neon {
    pub fn new() -> Self {
        Self(())
    }
}

const LANES: usize = 4;

impl Simd for Neon {
    const LANES: usize = LANES;
    const REGISTERS: usize = 32;
    type F = float32x4_t;
    type I = int32x4_t;
    type M = uint32x4_t;

    intrinsics! {
        fn splat(value: f32) -> float32x4_t = vdupq_n_f32(value);
        fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t = vdivq_f32(a, b);
        fn sqrt(a: float32x4_t) -> float32x4_t = vsqrtq_f32(a);
        fn scale_exponent(a: float32x4_t, n: float32x4_t) -> float32x4_t = {
            let biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
            vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased)))
        };
        fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcgtq_f32(a, b), a, b);
        fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcgtq_f32(b, a), a, b);
        fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32(c, a, b);
        fn first_halves(a: float32x4_t) -> float32x4_t =
            vreinterpretq_f32_u32(vshlq_n_u32::<16>(vreinterpretq_u32_f32(a)));
        fn second_halves(a: float32x4_t) -> float32x4_t =
            vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vdupq_n_u32(SECOND_HALF as u32)));
        fn gt(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vcgtq_f32(a, b);
        fn select(mask: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(mask, a, b);
        fn nonzero(a: float32x4_t) -> uint32x4_t = vmvnq_u32(vceqq_f32(a, vdupq_n_f32(0.)));
        fn count(mask: uint32x4_t) -> usize = vaddvq_u32(vshrq_n_u32::<31>(mask)) as usize;
        fn sum(a: float32x4_t) -> f32 = vaddvq_f32(a);
        fn splat_i(value: i32) -> int32x4_t = vdupq_n_s32(value);
        fn lanes() -> int32x4_t = vld1q_s32([0, 1, 2, 3].as_ptr());
        fn add_i(a: int32x4_t, b: int32x4_t) -> int32x4_t = vaddq_s32(a, b);
        fn mul_i(a: int32x4_t, b: int32x4_t) -> int32x4_t = vmulq_s32(a, b);
        fn xor_i(a: int32x4_t, b: int32x4_t) -> int32x4_t = veorq_s32(a, b);
        fn shr_i<const BITS>(a: int32x4_t) -> int32x4_t =
            vreinterpretq_s32_u32(vshrq_n_u32::<BITS>(vreinterpretq_u32_s32(a)));
        fn eq_i(a: int32x4_t, b: int32x4_t) -> uint32x4_t = vceqq_s32(a, b);
        fn gt_i(a: int32x4_t, b: int32x4_t) -> uint32x4_t = vcgtq_s32(a, b);
        fn select_i(mask: uint32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t = vbslq_s32(mask, a, b);
    }

    intrinsics! {
        unsafe fn load(from: *const f32) -> float32x4_t = vld1q_f32(from);
        unsafe fn store(to: *mut f32, a: float32x4_t) = vst1q_f32(to, a);
        unsafe fn load_n(from: *const f32, n: usize) -> float32x4_t = {
            let mut lanes = [0f32; LANES];
            copy_nonoverlapping(from, lanes.as_mut_ptr(), n);
            vld1q_f32(lanes.as_ptr())
        };
        unsafe fn store_n(to: *mut f32, n: usize, a: float32x4_t) = {
            let mut lanes = [0f32; LANES];
            vst1q_f32(lanes.as_mut_ptr(), a);
            copy_nonoverlapping(lanes.as_ptr(), to, n);
        };
        unsafe fn load_bytes(from: *const u8, n: usize) -> int32x4_t = {
            let mut bytes = [0u8; LANES];
            copy_nonoverlapping(from, bytes.as_mut_ptr(), n);
            vld1q_s32(bytes.map(i32::from).as_ptr())
        };
        unsafe fn store_bytes(to: *mut u8, n: usize, a: int32x4_t) = {
            let mut lanes = [0i32; LANES];
            vst1q_s32(lanes.as_mut_ptr(), a);
            copy_nonoverlapping(lanes.map(|lane| lane as u8).as_ptr(), to, n);
        };
        unsafe fn load_i(from: *const i32) -> int32x4_t = vld1q_s32(from);
        unsafe fn store_i(to: *mut i32, a: int32x4_t) = vst1q_s32(to, a);
        unsafe fn compress(to: *mut f32, mask: uint32x4_t, a: float32x4_t) =
            compress(to.cast(), mask, vreinterpretq_s32_f32(a));
        unsafe fn compress_i(to: *mut i32, mask: uint32x4_t, a: int32x4_t) = compress(to, mask, a);
    }
}

/// # Safety
/// `LANES` integers can be written at `to`.
#[inline(always)]
unsafe fn compress(to: *mut i32, mask: uint32x4_t, a: int32x4_t) {
    let (mut wanted, mut values) = ([0u32; LANES], [0i32; LANES]);
    // SAFETY: both arrays have room for a vector.
    unsafe {
        vst1q_u32(wanted.as_mut_ptr(), mask);
        vst1q_s32(values.as_mut_ptr(), a);
    }
    let mut place = 0;
    for (value, wanted) in values.into_iter().zip(wanted) {
        // SAFETY: `place < LANES`; a value that is not wanted is overwritten by the next.
        unsafe { *to.add(place) = value };
        place += (wanted & 1) as usize;
    }
}
