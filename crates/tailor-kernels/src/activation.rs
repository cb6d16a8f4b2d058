//! Activation functions, applied to vectors in registers or to whole slices.

use crate::elementwise::{self, Map, Zip};
use crate::simd::Simd;

/// What follows a convolution or a dense layer, elementwise.
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
}

impl Activation {
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        match self {
            Self::Identity => x,
            Self::Relu => s.max(s.splat(0.), x),
            Self::Relu6 => s.min(s.splat(6.), s.max(s.splat(0.), x)),
            Self::Tanh => tanh(s, x),
        }
    }

    /// `dy` times the derivative, which is a function of the output `y` for each of these.
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
        }
    }

    /// `y[i] = activation(x[i])`
    pub fn forward(self, x: &[f32], y: &mut [f32]) {
        elementwise::map(Forward(self), x, y);
    }

    /// `dx[i] = dy[i] × activation'(x[i])`, from the output `y`.
    pub fn backward(self, y: &[f32], dy: &[f32], dx: &mut [f32]) {
        elementwise::zip(Gradient(self), y, dy, dx);
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
    let mut p = s.splat(P[0]);
    for &coefficient in &P[1..] {
        p = s.fma(p, square, s.splat(coefficient));
    }
    let mut q = s.splat(Q[0]);
    for &coefficient in &Q[1..] {
        q = s.fma(q, square, s.splat(coefficient));
    }
    s.div(s.mul(x, p), q)
}
