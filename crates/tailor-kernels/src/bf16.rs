//! bf16: the upper half of an `f32`, with its exponent and 8 bits of precision.
//!
//! AVX-512's bf16 instructions multiply pairs: `sum += a₁ × b₁ + a₂ × b₂`, 32 products where `f32` has 16. So two
//! neighbors of a reduction share a 32-bit word, the first in its lower half. Kernels move words around as they
//! move floats, which is why a pair has the type `f32` here; only `Simd::dot_halves` looks inside.

/// How the operands of a convolution's products are rounded. Sums are `f32` in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Not at all.
    #[default]
    F32,
    /// To the nearest bf16, ties to even, in dense convolutions of more than [`FEW_CHANNELS`] input channels a group:
    /// weights and inputs in the forward pass, weights and output gradients where the input gradient is a dense
    /// convolution itself. Everything else stays `f32`. The same on every instruction set, to the order of sums, but
    /// faster only where [`crate::Isa::has_bf16`].
    Bf16,
}

/// Input channels of a group that are not worth rounding: a first layer sees its pixels as they are.
pub const FEW_CHANNELS: usize = 3;

/// The nearest bf16, ties to even, in the lower half.
#[inline(always)]
fn round(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if value.is_nan() { bits >> 16 | 0x40 } else { rounded }
}

/// The nearest bf16, ties to even, as an `f32` again.
pub fn rounded(value: f32) -> f32 {
    f32::from_bits(round(value) << 16)
}

/// Two values as a pair.
#[inline(always)]
pub(crate) fn pair(first: f32, second: f32) -> f32 {
    f32::from_bits(round(first) | round(second) << 16)
}

/// Neighbors as pairs; the last value of an odd number of them is paired with zero.
#[inline(always)]
pub(crate) fn round_pairs(values: &[f32], pairs: &mut [f32]) {
    assert_eq!(pairs.len(), values.len().div_ceil(2), "one pair for two values");
    let (twos, last) = values.as_chunks::<2>();
    for (to, &[first, second]) in pairs.iter_mut().zip(twos) {
        *to = pair(first, second);
    }
    if let (Some(to), &[value]) = (pairs.last_mut(), last) {
        *to = pair(value, 0.);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_the_nearest_and_ties_to_even() {
        // One bf16 step above 1 is 1/128.
        let step = 1. / 128.;
        for (value, expected) in [
            (1., 1.),
            (1. + 0.49 * step, 1.),
            (1. + 0.5 * step, 1.),
            (1. + 0.51 * step, 1. + step),
            (1. + 1.5 * step, 1. + 2. * step),
            (-1. - 0.51 * step, -1. - step),
            (0., 0.),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
        ] {
            assert_eq!(rounded(value), expected, "{value}");
        }
        // All of whose set bits would be cut off.
        assert!(rounded(f32::from_bits(0x7f80_0001)).is_nan());
        assert!(rounded(f32::from_bits(0xffff_ffff)).is_nan());
    }

    #[test]
    fn pairs_are_neighbors() {
        let mut pairs = [7.; 2];
        round_pairs(&[1., -2., 3.], &mut pairs);
        assert_eq!(pairs.map(f32::to_bits), [0xc000_3f80, 0x0000_4040]);
    }
}
