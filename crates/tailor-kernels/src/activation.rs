//! Activation functions, applied to vectors in registers or to whole slices.

use crate::elementwise::{self, Map, Zip};
use crate::simd::Simd;

/// What follows a convolution, a dense layer or a norm, elementwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Nothing.
    #[default]
    Identity,
    /// max(0, x)
    Relu,
    /// min(max(0, x), 6)
    Relu6,
    /// The hyperbolic tangent, within 3e-7 of the exact one.
    Tanh,
    /// σ(x) = 1 / (1 + e⁻ˣ), within 2e-7.
    Sigmoid,
    /// x · σ(x), also called swish (Elfwing, Uchibe & Doya 2018, arXiv:1702.03118), within 3e-7 of max(1, |x|).
    Silu,
    /// x · Φ(x), Φ being the normal distribution's (Hendrycks & Gimpel 2016, arXiv:1606.08415): not the approximation
    /// by a hyperbolic tangent, but within 3e-7 of the exact one.
    Gelu,
}

impl Activation {
    /// Whether the derivative is a function of the output, as layers with a fused activation need it in training. Where
    /// it is not, apply the activation by itself and keep its input.
    pub fn derives_from_output(self) -> bool {
        !matches!(self, Self::Silu | Self::Gelu)
    }

    /// What the input is clamped to, if that is all there is to it.
    #[inline(always)]
    pub(crate) fn bounds(self) -> Option<[f32; 2]> {
        match self {
            Self::Identity => Some([f32::NEG_INFINITY, f32::INFINITY]),
            Self::Relu => Some([0., f32::INFINITY]),
            Self::Relu6 => Some([0., 6.]),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        match self {
            Self::Identity => x,
            Self::Relu => s.max(s.splat(0.), x),
            Self::Relu6 => s.min(s.splat(6.), s.max(s.splat(0.), x)),
            Self::Tanh => tanh(s, x),
            Self::Sigmoid => sigmoid(s, x),
            Self::Silu => s.mul(x, sigmoid(s, x)),
            Self::Gelu => s.mul(x, normal(s, x).probability),
        }
    }

    /// `dy` times the derivative, from the output `y`.
    #[inline(always)]
    pub(crate) fn gradient<S: Simd>(self, s: S, y: S::F, dy: S::F) -> S::F {
        let zero = s.splat(0.);
        match self {
            Self::Identity => dy,
            Self::Relu => s.select(s.gt(y, zero), dy, zero),
            Self::Relu6 => {
                let above_zero = s.select(s.gt(y, zero), dy, zero);
                s.select(s.gt(s.splat(6.), y), above_zero, zero)
            }
            Self::Tanh => s.sub(dy, s.mul(dy, s.mul(y, y))),
            Self::Sigmoid => s.mul(dy, s.sub(y, s.mul(y, y))),
            Self::Silu | Self::Gelu => s.splat(f32::NAN), // no caller: `derives_from_output` says so
        }
    }

    /// `dy` times the derivative, from the input `x`.
    #[inline(always)]
    pub(crate) fn gradient_at<S: Simd>(self, s: S, x: S::F, dy: S::F) -> S::F {
        match self {
            // Where these are not flat, the output is the input.
            Self::Identity | Self::Relu | Self::Relu6 => self.gradient(s, x, dy),
            Self::Tanh | Self::Sigmoid => self.gradient(s, self.apply(s, x), dy),
            Self::Silu => {
                // σ + x · σ · (1 - σ)
                let gate = sigmoid(s, x);
                let rise = s.sub(x, s.mul(x, gate));
                s.mul(dy, s.fma(gate, rise, gate))
            }
            Self::Gelu => {
                // Φ + x · φ
                let Normal { probability, density } = normal(s, x);
                s.mul(dy, s.fma(x, density, probability))
            }
        }
    }

    /// `y[i] = activation(x[i])`
    pub fn forward(self, x: &[f32], y: &mut [f32]) {
        elementwise::map(Forward(self), x, y);
    }

    /// `dx[i] = dy[i] × activation'(x[i])`, from the output `y`.
    ///
    /// # Panics
    /// Unless [`Activation::derives_from_output`].
    pub fn backward(self, y: &[f32], dy: &[f32], dx: &mut [f32]) {
        self.check_derives_from_output();
        elementwise::zip(Gradient(self), y, dy, dx);
    }

    /// `dx[i] = dy[i] × activation'(x[i])`, from the input `x`.
    pub fn backward_at(self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        elementwise::zip(GradientAt(self), x, dy, dx);
    }

    /// # Panics
    /// Where a layer's gradient would need more than its output.
    pub(crate) fn check_derives_from_output(self) {
        assert!(self.derives_from_output(), "the derivative of {self:?} needs the input: apply it by itself");
    }
}

#[derive(Clone, Copy)]
struct Forward(Activation);

impl Map for Forward {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        self.0.apply(s, x)
    }
}

/// See [`Activation::gradient`].
#[derive(Clone, Copy)]
pub(crate) struct Gradient(pub Activation);

impl Zip for Gradient {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, y: S::F, dy: S::F) -> S::F {
        self.0.gradient(s, y, dy)
    }
}

/// See [`Activation::gradient_at`].
#[derive(Clone, Copy)]
struct GradientAt(Activation);

impl Zip for GradientAt {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::F, dy: S::F) -> S::F {
        self.0.gradient_at(s, x, dy)
    }
}

/// A rational minimax approximation, x·P(x²) / Q(x²) on ±7.9, beyond which f32 rounds to ±1. Coefficients as in
/// Eigen's `generic_fast_tanh_float`.
#[inline(always)]
fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    const P: [f32; 7] = [
        -2.760_768_5e-16,
        2.000_188e-13,
        -8.604_672e-11,
        5.122_297e-8,
        1.485_722_4e-5,
        6.372_619e-4,
        4.893_525e-3,
    ];
    const Q: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
    let x = s.max(s.splat(-7.905_311), s.min(s.splat(7.905_311), x));
    let square = s.mul(x, x);
    s.div(s.mul(x, polynomial(s, square, P)), polynomial(s, square, Q))
}

/// eˣ within 2 units of the last place; saturates at 1.2e-38 and 2.2e38. x is split into n · ln 2 and a rest, whose
/// exponential is Cephes' `expf` polynomial.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    const REST: [f32; 6] = [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
    // Adding this rounds to whole numbers: there is no room for more digits.
    const ROUND: f32 = 12_582_912.; // 1.5 · 2²³
    let x = s.max(s.splat(-87.336_54), s.min(s.splat(88.3), x));
    let n = s.sub(s.fma(x, s.splat(std::f32::consts::LOG2_E), s.splat(ROUND)), s.splat(ROUND));
    // ln 2 in two parts, the first of few digits, so that n times it is exact.
    let rest = s.fma(n, s.splat(-0.693_359_4), x);
    let rest = s.fma(n, s.splat(2.121_944_4e-4), rest);
    let p = s.fma(polynomial(s, rest, REST), s.mul(rest, rest), s.add(rest, s.splat(1.)));
    s.scale_exponent(p, n)
}

#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.), x))))
}

/// The standard normal distribution at a point.
struct Normal<F> {
    /// Φ(x), within 8e-8.
    probability: F,
    /// φ(x)
    density: F,
}

/// Abramowitz & Stegun 1964, 7.1.26: the upper tail is a polynomial of 1 / (1 + p|x|) times the density.
#[inline(always)]
fn normal<S: Simd>(s: S, x: S::F) -> Normal<S::F> {
    const TAIL: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -2.844_967_4e-1, 2.548_296e-1];
    let (zero, one) = (s.splat(0.), s.splat(1.));
    let magnitude = s.max(x, s.sub(zero, x));
    let t = s.div(one, s.fma(magnitude, s.splat(0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2), one));
    let bell = exp(s, s.mul(s.splat(-0.5), s.mul(x, x)));
    let tail = s.mul(s.mul(s.splat(0.5), bell), s.mul(t, polynomial(s, t, TAIL)));
    let probability = s.select(s.gt(x, zero), s.sub(one, tail), tail);
    let density = s.mul(bell, s.splat(0.398_942_3)); // 1 / √(2π)
    Normal { probability, density }
}

/// By Horner's rule, the coefficient of the highest power first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::F, coefficients: [f32; N]) -> S::F {
    let mut sum = s.splat(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        sum = s.fma(sum, x, s.splat(coefficient));
    }
    sum
}
