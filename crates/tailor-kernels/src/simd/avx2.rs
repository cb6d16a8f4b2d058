//! AVX2 and FMA: 8 lanes, tails by vector masks.

use std::arch::x86_64::*;

use super::{SECOND_HALF, Simd, intrinsics};

/// The token for AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub fn new() -> Self {
        Self(())
    }
}

/// A vector mask of the first `n` of 8 lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn first(n: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    type F = __m256;
    type I = __m256i;
    type M = __m256i;

    intrinsics! {
        fn splat(value: f32) -> __m256 = _mm256_set1_ps(value);
        fn add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        fn sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        fn mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fn div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fn sqrt(a: __m256) -> __m256 = _mm256_sqrt_ps(a);
        fn scale_exponent(a: __m256, n: __m256) -> __m256 = {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        };
        fn max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        fn min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        fn fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fn first_halves(a: __m256) -> __m256 =
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(a)));
        fn second_halves(a: __m256) -> __m256 =
            _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(SECOND_HALF)));
        fn gt(a: __m256, b: __m256) -> __m256i = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b));
        fn select(mask: __m256i, a: __m256, b: __m256) -> __m256 =
            _mm256_blendv_ps(b, a, _mm256_castsi256_ps(mask));
        fn nonzero(a: __m256) -> __m256i =
            _mm256_castps_si256(_mm256_cmp_ps::<_CMP_NEQ_UQ>(a, _mm256_setzero_ps()));
        fn count(mask: __m256i) -> usize = _mm256_movemask_ps(_mm256_castsi256_ps(mask)).count_ones() as usize;
        fn sum(a: __m256) -> f32 = horizontal_sum(a);
        fn splat_i(value: i32) -> __m256i = _mm256_set1_epi32(value);
        fn lanes() -> __m256i = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        fn add_i(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        fn mul_i(a: __m256i, b: __m256i) -> __m256i = _mm256_mullo_epi32(a, b);
        fn xor_i(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        fn shr_i<const BITS>(a: __m256i) -> __m256i = _mm256_srli_epi32::<BITS>(a);
        fn eq_i(a: __m256i, b: __m256i) -> __m256i = _mm256_cmpeq_epi32(a, b);
        fn gt_i(a: __m256i, b: __m256i) -> __m256i = _mm256_cmpgt_epi32(a, b);
        fn select_i(mask: __m256i, a: __m256i, b: __m256i) -> __m256i = _mm256_blendv_epi8(b, a, mask);
    }

    intrinsics! {
        unsafe fn load(from: *const f32) -> __m256 = _mm256_loadu_ps(from);
        unsafe fn store(to: *mut f32, a: __m256) = _mm256_storeu_ps(to, a);
        unsafe fn load_n(from: *const f32, n: usize) -> __m256 = _mm256_maskload_ps(from, first(n));
        unsafe fn store_n(to: *mut f32, n: usize, a: __m256) = _mm256_maskstore_ps(to, first(n), a);
        unsafe fn load_bytes(from: *const u8, n: usize) -> __m256i = bytes_to_lanes(from, n);
        unsafe fn store_bytes(to: *mut u8, n: usize, a: __m256i) = lanes_to_bytes(to, n, a);
        unsafe fn load_i(from: *const i32) -> __m256i = _mm256_loadu_si256(from.cast());
        unsafe fn store_i(to: *mut i32, a: __m256i) = _mm256_storeu_si256(to.cast(), a);
        unsafe fn compress(to: *mut f32, mask: __m256i, a: __m256) =
            _mm256_storeu_ps(to, _mm256_permutevar8x32_ps(a, compression(mask)));
        unsafe fn compress_i(to: *mut i32, mask: __m256i, a: __m256i) =
            _mm256_storeu_si256(to.cast(), _mm256_permutevar8x32_epi32(a, compression(mask)));
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) =
            transpose_8x8(from, from_stride, to, to_stride);
    }
}

/// For each mask of 8 lanes the numbers of those that are true, in order.
static COMPRESSIONS: [[i32; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut lane, mut place) = (0, 0);
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                table[mask][place] = lane;
                place += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

/// The permutation that moves the lanes where the mask is true to the front.
#[target_feature(enable = "avx2")]
#[inline]
fn compression(mask: __m256i) -> __m256i {
    let mask = _mm256_movemask_ps(_mm256_castsi256_ps(mask)) as usize;
    // SAFETY: each row of the table is one vector.
    unsafe { _mm256_loadu_si256(COMPRESSIONS[mask].as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn horizontal_sum(a: __m256) -> f32 {
    let quad = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
    let pair = _mm_add_ps(quad, _mm_movehl_ps(quad, quad));
    _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
}

/// # Safety
/// `n <= 8` bytes can be read at `from`; the CPU has AVX2.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn bytes_to_lanes(from: *const u8, n: usize) -> __m256i {
    let mut bytes = [0u8; 8];
    // SAFETY: the caller vouches for `n` bytes, and `bytes` has 8.
    unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), n) };
    _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)))
}

/// # Safety
/// `n <= 8` bytes can be written at `to`; the CPU has AVX2.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn lanes_to_bytes(to: *mut u8, n: usize, a: __m256i) {
    let low_bytes = _mm256_setr_epi8(
        0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, //
        0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
    );
    let packed = _mm256_shuffle_epi8(a, low_bytes);
    let low = _mm256_castsi256_si128(packed);
    let bytes = _mm_unpacklo_epi32(low, _mm256_extracti128_si256::<1>(packed));
    let bytes = _mm_cvtsi128_si64(bytes).to_le_bytes();
    // SAFETY: the caller vouches for `n` bytes, and `bytes` has 8.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, n) };
}

/// Three rounds that swap ever larger blocks: pairs, quadruples, halves.
///
/// # Safety
/// As [`Simd::transpose`], and the CPU has AVX2.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn transpose_8x8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    let mut r = [_mm256_setzero_ps(); 8];
    for (i, row) in r.iter_mut().enumerate() {
        // SAFETY: the caller vouches for 8 rows of 8 floats.
        *row = unsafe { _mm256_loadu_ps(from.add(i * from_stride)) };
    }
    let mut t = r;
    for i in (0..8).step_by(2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for i in (0..8).step_by(4) {
        r[i] = _mm256_shuffle_ps::<0b01_00_01_00>(t[i], t[i + 2]);
        r[i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(t[i], t[i + 2]);
        r[i + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(t[i + 1], t[i + 3]);
    }
    for j in 0..4 {
        let low = _mm256_permute2f128_ps::<0x20>(r[j], r[4 + j]);
        let high = _mm256_permute2f128_ps::<0x31>(r[j], r[4 + j]);
        // SAFETY: the caller vouches for 8 rows of 8 floats.
        unsafe {
            _mm256_storeu_ps(to.add(j * to_stride), low);
            _mm256_storeu_ps(to.add((4 + j) * to_stride), high);
        }
    }
}
