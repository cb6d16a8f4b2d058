//! One source for every instruction set.
//!
//! A kernel is a type that implements [`Kernel`]: its fields are its arguments and its body is generic over
//! [`Simd`]. [`Isa::run`] compiles that body once per instruction set, inside a function that enables the
//! set's instructions, and picks the copy to run.
//!
//! A value of a [`Simd`] type is a token: it exists only where the CPU has the instructions, which is what
//! makes its register operations safe. Memory operations stay `unsafe`, for the pointer's sake. Everything on
//! the way from [`Kernel::run`] to an instruction is `#[inline(always)]`, as instructions are enabled in the
//! outermost function only; for the same reason kernels do not use closures.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod isa;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

pub use isa::{Isa, IsaError};

/// Vector operations of one instruction set, on `LANES` lanes of 32 bits.
pub trait Simd: Copy {
    /// Lanes of a vector.
    const LANES: usize;
    /// Vector registers, which bound the tiles that a kernel may keep in them.
    const REGISTERS: usize;
    /// A vector of `f32`.
    type F: Copy;
    /// A vector of `i32`.
    type I: Copy;
    /// The outcome of a comparison, one truth value a lane.
    type M: Copy;

    fn splat(self, value: f32) -> Self::F;
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// `a × 2ⁿ` for a whole number `n` in -126 ..= 127.
    fn scale_exponent(self, a: Self::F, n: Self::F) -> Self::F;
    /// The larger one; `b` where either is not a number, so that `max(0, x)` lets NaN through.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The smaller one; `b` where either is not a number.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a × b + c`, rounded once where the instruction set can.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Of lanes that hold two bf16 each (see [`crate::bf16`]), the first ones, widened.
    fn first_halves(self, a: Self::F) -> Self::F;
    /// As [`Simd::first_halves`], the second ones.
    fn second_halves(self, a: Self::F) -> Self::F;
    /// `a₁ × b₁ + a₂ × b₂ + c` over lanes that hold two bf16 each in `a` and `b`, and an `f32` in `c`.
    #[inline(always)]
    fn dot_halves(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        dot_widened(self, a, b, c)
    }
    /// `a > b`, false where either is not a number.
    fn gt(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a` where the mask is true, else `b`.
    fn select(self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F;
    /// Whether each lane is not zero; true for NaN.
    fn nonzero(self, a: Self::F) -> Self::M;
    /// How many lanes are true.
    fn count(self, mask: Self::M) -> usize;
    /// The sum over the lanes.
    fn sum(self, a: Self::F) -> f32;

    fn splat_i(self, value: i32) -> Self::I;
    /// 0, 1, 2, … over the lanes.
    fn lanes(self) -> Self::I;
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// The low 32 bits of the product.
    fn mul_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn xor_i(self, a: Self::I, b: Self::I) -> Self::I;
    /// Logical (unsigned) shift to the right.
    fn shr_i<const BITS: i32>(self, a: Self::I) -> Self::I;
    fn eq_i(self, a: Self::I, b: Self::I) -> Self::M;
    fn gt_i(self, a: Self::I, b: Self::I) -> Self::M;
    fn select_i(self, mask: Self::M, a: Self::I, b: Self::I) -> Self::I;

    /// # Safety
    /// `LANES` floats can be read at `from`.
    unsafe fn load(self, from: *const f32) -> Self::F;
    /// # Safety
    /// `LANES` floats can be written at `to`.
    unsafe fn store(self, to: *mut f32, a: Self::F);
    /// The first `n <= LANES` lanes from memory, zero in the others.
    /// # Safety
    /// `n` floats can be read at `from`.
    unsafe fn load_n(self, from: *const f32, n: usize) -> Self::F;
    /// Writes the first `n <= LANES` lanes.
    /// # Safety
    /// `n` floats can be written at `to`.
    unsafe fn store_n(self, to: *mut f32, n: usize, a: Self::F);
    /// All lanes from memory where they are `WHOLE`, else the first `n`.
    /// # Safety
    /// As many floats can be read at `from`.
    #[inline(always)]
    unsafe fn load_live<const WHOLE: bool>(self, from: *const f32, n: usize) -> Self::F {
        // SAFETY: as this function's contract.
        unsafe { if WHOLE { self.load(from) } else { self.load_n(from, n) } }
    }
    /// Writes all lanes where they are `WHOLE`, else the first `n`.
    /// # Safety
    /// As many floats can be written at `to`.
    #[inline(always)]
    unsafe fn store_live<const WHOLE: bool>(self, to: *mut f32, n: usize, a: Self::F) {
        // SAFETY: as this function's contract.
        unsafe { if WHOLE { self.store(to, a) } else { self.store_n(to, n, a) } }
    }
    /// The first `n <= LANES` bytes, widened; zero in the other lanes.
    /// # Safety
    /// `n` bytes can be read at `from`.
    unsafe fn load_bytes(self, from: *const u8, n: usize) -> Self::I;
    /// The low byte of each of the first `n <= LANES` lanes.
    /// # Safety
    /// `n` bytes can be written at `to`.
    unsafe fn store_bytes(self, to: *mut u8, n: usize, a: Self::I);

    /// # Safety
    /// `LANES` integers can be read at `from`.
    unsafe fn load_i(self, from: *const i32) -> Self::I;
    /// # Safety
    /// `LANES` integers can be written at `to`.
    unsafe fn store_i(self, to: *mut i32, a: Self::I);
    /// Writes the lanes where the mask is true one after the other, and anything after them.
    /// # Safety
    /// `LANES` floats can be written at `to`.
    unsafe fn compress(self, to: *mut f32, mask: Self::M, a: Self::F);
    /// As [`Simd::compress`].
    /// # Safety
    /// `LANES` integers can be written at `to`.
    unsafe fn compress_i(self, to: *mut i32, mask: Self::M, a: Self::I);

    /// Transposes a square of `LANES × LANES` floats; strides are in floats.
    /// # Safety
    /// `LANES` rows of `LANES` floats can be read at `from` and written at `to`, which do not overlap.
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for row in 0..Self::LANES {
            for column in 0..Self::LANES {
                // SAFETY: both offsets lie inside the squares the caller vouches for.
                unsafe { *to.add(column * to_stride + row) = *from.add(row * from_stride + column) };
            }
        }
    }
}

/// [`Simd::dot_halves`] without an instruction for it.
#[inline(always)]
fn dot_widened<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F {
    let first = s.fma(s.first_halves(a), s.first_halves(b), c);
    s.fma(s.second_halves(a), s.second_halves(b), first)
}

/// The bits of the second of a lane's two bf16.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const SECOND_HALF: i32 = 0xffff_0000_u32 as i32;

/// The first `live` lanes.
#[inline(always)]
pub fn live_lanes<S: Simd>(s: S, live: usize) -> S::M {
    s.gt_i(s.splat_i(live as i32), s.lanes())
}

/// The largest lane that is a number.
#[inline(always)]
pub fn largest_lane<S: Simd>(s: S, a: S::F) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    assert!(S::LANES <= lanes.len());
    // SAFETY: there is room for a vector.
    unsafe { s.store(lanes.as_mut_ptr(), a) };
    let mut largest = f32::NEG_INFINITY;
    for lane in lanes {
        largest = largest.max(lane);
    }
    largest
}

/// A kernel: its fields are the arguments, its body is generic over the instruction set.
pub trait Kernel {
    type Output;
    /// The body; `#[inline(always)]` in every implementation.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Writes the methods of a [`Simd`] implementation whose bodies are single intrinsics.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! intrinsics {
    ($(fn $name:ident$(<const $bits:ident>)?($($arg:ident: $type:ty),*) -> $out:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name$(<const $bits: i32>)?(self, $($arg: $type),*) -> $out {
            // SAFETY: the token `self` exists only where the CPU has these instructions.
            unsafe { $body }
        }
    )*};
    ($(unsafe fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? = $body:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name(self, $($arg: $type),*) $(-> $out)? {
            // SAFETY: the token vouches for the instructions, the caller for the pointer.
            unsafe { $body }
        }
    )*};
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use intrinsics;

/// Repeats `$body` for each `$i < $n <= 12`, with `$i` a constant each time: a loop over an array of
/// vectors that the compiler leaves a loop would send them all through memory.
macro_rules! unrolled {
    ($i:ident < $n:ident, $body:block) => {
        $crate::simd::unrolled!(@each $i $n $body 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@each $i:ident $n:ident $body:block $($at:literal)*) => {$(
        if $at < $n {
            let $i = $at;
            $body
        }
    )*};
}
pub(crate) use unrolled;
