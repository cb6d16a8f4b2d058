//! AVX-512: 16 lanes, masked memory operations for tails.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::{SECOND_HALF, Simd, dot_widened, intrinsics};

/// The token for AVX-512 F, BW, VL and DQ, and for its bf16 instructions.
#[derive(Clone, Copy)]
pub struct Avx512<const BF16: bool>(());

impl Avx512<false> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    #[inline]
    pub fn new() -> Self {
        Self(())
    }
}

impl Avx512<true> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]
    #[inline]
    pub fn new_with_bf16() -> Self {
        Self(())
    }
}

/// The first `n` of 16 lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    type F = __m512;
    type I = __m512i;
    type M = __mmask16;

    #[inline(always)]
    fn count(self, mask: __mmask16) -> usize {
        mask.count_ones() as usize
    }

    #[inline(always)]
    fn dot_halves(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        if BF16 {
            // SAFETY: this token exists only where the CPU has the instruction; both types are 512 bits.
            unsafe { _mm512_dpbf16_ps(c, transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b)) }
        } else {
            dot_widened(self, a, b, c)
        }
    }

    intrinsics! {
        fn splat(value: f32) -> __m512 = _mm512_set1_ps(value);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn sqrt(a: __m512) -> __m512 = _mm512_sqrt_ps(a);
        fn scale_exponent(a: __m512, n: __m512) -> __m512 = _mm512_scalef_ps(a, n);
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn first_halves(a: __m512) -> __m512 =
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(a)));
        fn second_halves(a: __m512) -> __m512 =
            _mm512_and_ps(a, _mm512_castsi512_ps(_mm512_set1_epi32(SECOND_HALF)));
        fn gt(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b);
        fn select(mask: __mmask16, a: __m512, b: __m512) -> __m512 = _mm512_mask_mov_ps(b, mask, a);
        fn nonzero(a: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a, _mm512_setzero_ps());
        fn sum(a: __m512) -> f32 = _mm512_reduce_add_ps(a);
        fn splat_i(value: i32) -> __m512i = _mm512_set1_epi32(value);
        fn lanes() -> __m512i = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        fn add_i(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        fn mul_i(a: __m512i, b: __m512i) -> __m512i = _mm512_mullo_epi32(a, b);
        fn xor_i(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
        fn shr_i<const BITS>(a: __m512i) -> __m512i = _mm512_srl_epi32(a, _mm_cvtsi32_si128(BITS));
        fn eq_i(a: __m512i, b: __m512i) -> __mmask16 = _mm512_cmpeq_epi32_mask(a, b);
        fn gt_i(a: __m512i, b: __m512i) -> __mmask16 = _mm512_cmpgt_epi32_mask(a, b);
        fn select_i(mask: __mmask16, a: __m512i, b: __m512i) -> __m512i = _mm512_mask_mov_epi32(b, mask, a);
    }

    intrinsics! {
        unsafe fn load(from: *const f32) -> __m512 = _mm512_loadu_ps(from);
        unsafe fn store(to: *mut f32, a: __m512) = _mm512_storeu_ps(to, a);
        unsafe fn load_n(from: *const f32, n: usize) -> __m512 = _mm512_maskz_loadu_ps(first(n), from);
        unsafe fn store_n(to: *mut f32, n: usize, a: __m512) = _mm512_mask_storeu_ps(to, first(n), a);
        unsafe fn load_bytes(from: *const u8, n: usize) -> __m512i =
            _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first(n), from.cast()));
        unsafe fn store_bytes(to: *mut u8, n: usize, a: __m512i) =
            _mm_mask_storeu_epi8(to.cast(), first(n), _mm512_cvtepi32_epi8(a));
        unsafe fn load_i(from: *const i32) -> __m512i = _mm512_loadu_si512(from.cast());
        unsafe fn store_i(to: *mut i32, a: __m512i) = _mm512_storeu_si512(to.cast(), a);
        // Not `compressstoreu`, which some CPUs run a hundred times slower than compressing into a register.
        unsafe fn compress(to: *mut f32, mask: __mmask16, a: __m512) =
            _mm512_storeu_ps(to, _mm512_maskz_compress_ps(mask, a));
        unsafe fn compress_i(to: *mut i32, mask: __mmask16, a: __m512i) =
            _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi32(mask, a));
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) =
            transpose_16x16(from, from_stride, to, to_stride);
    }
}

/// Four rounds that swap ever larger blocks: pairs, quadruples, then 128-bit quarters twice.
///
/// # Safety
/// As [`Simd::transpose`], and the CPU has AVX-512 F.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn transpose_16x16(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    let mut r = [_mm512_setzero_ps(); 16];
    for (i, row) in r.iter_mut().enumerate() {
        // SAFETY: the caller vouches for 16 rows of 16 floats.
        *row = unsafe { _mm512_loadu_ps(from.add(i * from_stride)) };
    }
    let mut t = r;
    for i in (0..16).step_by(2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for i in (0..16).step_by(4) {
        let [a, b, c, d] = [t[i], t[i + 1], t[i + 2], t[i + 3]].map(|v| _mm512_castps_pd(v));
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    // Now quarter q of r[4g + j] holds column 4q + j of rows 4g … 4g + 3.
    for j in 0..4 {
        let (a, b, c, d) = (r[j], r[4 + j], r[8 + j], r[12 + j]);
        let even_ab = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
        let odd_ab = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
        let even_cd = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
        let odd_cd = _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d);
        let columns = [
            _mm512_shuffle_f32x4::<0b10_00_10_00>(even_ab, even_cd),
            _mm512_shuffle_f32x4::<0b10_00_10_00>(odd_ab, odd_cd),
            _mm512_shuffle_f32x4::<0b11_01_11_01>(even_ab, even_cd),
            _mm512_shuffle_f32x4::<0b11_01_11_01>(odd_ab, odd_cd),
        ];
        for (quarter, column) in columns.into_iter().enumerate() {
            // SAFETY: the caller vouches for 16 rows of 16 floats.
            unsafe { _mm512_storeu_ps(to.add((4 * quarter + j) * to_stride), column) };
        }
    }
}
