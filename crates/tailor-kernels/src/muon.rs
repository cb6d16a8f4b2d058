//! Muon: momentum that is orthogonalized before it becomes a step (Jordan et al. 2024,
//! <https://kellerjordan.github.io/posts/muon/>), for matrices and, flattened, convolution filters.
//!
//! With the singular value decomposition `M = U S Vᵀ` the step is about `U Vᵀ`: every direction moves equally far.
//! A Newton–Schulz iteration brings all singular values near 1 by products of matrices alone:
//!
//! ```text
//! X₀ = M / ‖M‖        A = X Xᵀ        X ← (a + b A + c A²) X,   (a, b, c) = (3.4445, −4.7750, 2.0315)
//! ```
//!
//! All factors are polynomials of the first `A`, which is small and symmetric. So they are multiplied with each other, `A`
//! following by `A ← F A F` of each factor `F`, and only the last product is as wide as `X`.
//!
//! A tall matrix is multiplied from the right, `X ← X (a + b XᵀX + c (XᵀX)²)`, which is the same function.

use crate::activation::Activation;
use crate::blend;
use crate::buffer::AlignedBuffer;
use crate::dense::product;
use crate::elementwise::{Zip, zip_in_place};
use crate::panels::Panels;
use crate::simd::{Isa, Simd};
use crate::tile::Layout;

/// The quintic that is steepest at zero while it keeps singular values between 0.7 and 1.2.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.775, 2.0315];

/// The optimizer's constants, apart from the learning rate, which schedules change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// Of the running mean of gradients.
    pub momentum: f32,
    /// Whether the mean looks ahead along the newest gradient.
    pub nesterov: bool,
    /// Newton–Schulz iterations; five are enough.
    pub iterations: usize,
    /// What every step is multiplied with: √max(1, outputs / inputs) moves outputs of any layer alike.
    pub scale: f32,
    /// Decoupled: weights shrink by `learning rate · weight decay` in each step.
    pub weight_decay: f32,
}

/// One matrix `[rows, columns]`, borrowed for a step.
#[derive(Debug)]
pub struct Matrix<'a> {
    /// Of all slices.
    pub shape: [usize; 2],
    /// The parameters.
    pub values: &'a mut [f32],
    /// Of the loss with respect to them.
    pub gradient: &'a [f32],
    /// The running mean of gradients; zero before the first step.
    pub mean: &'a mut [f32],
}

impl Muon {
    /// One step: the mean takes in the gradient, and the values go against its direction.
    ///
    /// # Panics
    /// If a slice is not as long as the matrix.
    pub fn step(&self, learning_rate: f32, matrix: Matrix) {
        let Matrix { shape, values, gradient, mean } = matrix;
        let lengths = [values.len(), gradient.len(), mean.len()];
        assert!(lengths.iter().all(|&len| len == shape[0] * shape[1]), "slices are [rows, columns]");
        blend(mean, gradient, 1. - self.momentum);
        let mut direction = AlignedBuffer::from_slice(if self.nesterov { gradient } else { mean });
        if self.nesterov {
            blend(&mut direction, mean, self.momentum);
        }
        let direction = orthogonalized(direction, shape, self.iterations);
        let keep = 1. - learning_rate * self.weight_decay;
        let descend = Descend { keep, rate: learning_rate * self.scale };
        zip_in_place(descend, values, &direction);
    }
}

/// About the nearest matrix with orthonormal rows or columns, whichever are fewer.
///
/// # Panics
/// If the values are not `[rows, columns]`.
pub fn orthogonalized(mut x: AlignedBuffer, [rows, columns]: [usize; 2], iterations: usize) -> AlignedBuffer {
    assert_eq!(x.len(), rows * columns, "x is [rows, columns]");
    let [a, b, c] = COEFFICIENTS;
    let (isa, side) = (Isa::current(), rows.min(columns));
    let is_wide = rows <= columns;
    let scale = (1. / (norm(&x) + 1e-7)) as f32;
    x.iter_mut().for_each(|value| *value *= scale);

    // X Xᵀ, or XᵀX.
    let (panels, layout) = if is_wide {
        (Panels::from_channels(isa, &x, rows, columns, None), Layout::matrix(rows, columns, columns, 1))
    } else {
        let panels = Panels::from_rows(isa, &x, columns, rows, None, |row| row * columns);
        (panels, Layout::matrix(columns, 1, rows, columns))
    };
    let mut gram = AlignedBuffer::new(side * side);
    product(&panels, layout, &x, Activation::Identity, &mut gram);

    let square = Layout::matrix(side, side, side, 1);
    // Of polynomials of one symmetric matrix: all of them are symmetric, their rows are their columns.
    let packed = |matrix: &AlignedBuffer| Panels::from_rows(isa, matrix, side, side, None, |row| row * side);
    let times = |left: &AlignedBuffer, right: &Panels| {
        let mut result = AlignedBuffer::new(side * side);
        product(right, square, left, Activation::Identity, &mut result);
        result
    };
    let mut whole: Option<AlignedBuffer> = None;
    for iteration in 1..=iterations {
        let panels = packed(&gram);
        let mut factor = times(&gram, &panels);
        zip_in_place(Combine { b, c }, &mut factor, &gram);
        (0..side).for_each(|i| factor[i * side + i] += a);
        let packed_factor = packed(&factor);
        if iteration < iterations {
            gram = times(&times(&factor, &panels), &packed_factor);
        }
        whole = Some(match whole {
            Some(before) => times(&before, &packed_factor),
            None => factor,
        });
    }
    let Some(whole) = whole else { return x };

    let mut result = AlignedBuffer::new(x.len());
    if is_wide {
        let panels = Panels::from_rows(isa, &x, columns, rows, None, |row| row * columns);
        product(&panels, square, &whole, Activation::Identity, &mut result);
    } else {
        let panels = Panels::from_channels(isa, &whole, side, side, None);
        let layout = Layout::matrix(rows, columns, columns, 1);
        product(&panels, layout, &x, Activation::Identity, &mut result);
    }
    result
}

fn norm(x: &[f32]) -> f64 {
    let (chunks, rest) = x.as_chunks::<8>();
    let mut sums = [0f64; 8];
    for chunk in chunks {
        for lane in 0..8 {
            sums[lane] += f64::from(chunk[lane]) * f64::from(chunk[lane]);
        }
    }
    let rest: f64 = rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    (sums.iter().sum::<f64>() + rest).sqrt()
}

/// `c · square + b · gram`
#[derive(Clone, Copy)]
struct Combine {
    b: f32,
    c: f32,
}

impl Zip for Combine {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, square: S::F, gram: S::F) -> S::F {
        s.fma(s.splat(self.b), gram, s.mul(s.splat(self.c), square))
    }
}

/// `keep · value − rate · direction`
#[derive(Clone, Copy)]
struct Descend {
    keep: f32,
    rate: f32,
}

impl Zip for Descend {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, value: S::F, direction: S::F) -> S::F {
        s.fma(s.splat(-self.rate), direction, s.mul(s.splat(self.keep), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fixed numbers without a pattern, between −1 and 1.
    fn noise(length: usize) -> AlignedBuffer {
        let values: Vec<f32> = (0..length as u32)
            .map(|i| (i.wrapping_add(1).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.)
            .collect();
        AlignedBuffer::from_slice(&values)
    }

    fn transposed(x: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
        (0..columns * rows).map(|i| x[i % rows * columns + i / rows]).collect()
    }

    #[test]
    fn a_wide_matrix_gets_nearly_orthonormal_rows_and_its_transpose_the_transpose() {
        for shape @ [rows, columns] in [[1, 5], [4, 18], [33, 100], [64, 577]] {
            let x = noise(rows * columns);
            let wide = orthogonalized(x.clone(), shape, 5);
            // All singular values lie between 0.6 and 1.3 after five iterations, unless they were next to nothing.
            for a in 0..rows {
                let row = |r: usize| &wide[r * columns..(r + 1) * columns];
                let square: f32 = row(a).iter().map(|value| value * value).sum();
                assert!((0.36..1.7).contains(&square), "row {a} of {shape:?} has the squared norm {square}");
            }
            let tall = AlignedBuffer::from_slice(&transposed(&x, shape));
            let tall = orthogonalized(tall, [columns, rows], 5);
            let back = transposed(&tall, [columns, rows]);
            let near = wide.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(near, "{shape:?}: the tall way is another function");
        }
    }

    #[test]
    fn one_iteration_maps_a_singular_value_through_the_quintic() {
        // A row of norm 1 has the singular value 1: a + b + c = 0.701.
        let x = orthogonalized(AlignedBuffer::from_slice(&[3., 0., 4.]), [1, 3], 1);
        let expected = [0.6 * 0.701, 0., 0.8 * 0.701];
        assert!(x.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{x:?}");
    }
}
