//! Matrices of rows in a row, and the products that everything here is made of.

use rayon::prelude::*;
use tailor_kernels::activation::Activation;
use tailor_kernels::dense::{Dense, PackedDense};
use tailor_kernels::team;

/// `[rows, columns]` of `f32`, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

/// Rows that are worked on at a time. Results do not depend on the number of threads: parts are these rows,
/// whoever computes them, and sums over parts are taken in their order.
pub(crate) const BLOCK: usize = 1024;

impl Matrix {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self::new(rows, columns, vec![0.0; rows * columns])
    }

    /// A matrix of `values`, row-major.
    ///
    /// # Panics
    /// If there are not `rows · columns` of them.
    pub fn new(rows: usize, columns: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), rows * columns, "values fill the matrix");
        Matrix { rows, columns, values }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, row-major, to write to.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// One row.
    ///
    /// # Panics
    /// If it is not below [`rows`](Self::rows), as indexing a slice does.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// These rows, in this order.
    pub fn select(&self, rows: &[usize]) -> Matrix {
        let values = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        Matrix::new(rows.len(), self.columns, values)
    }

    /// Rows `[BLOCK, columns]`, the last block with fewer.
    pub(crate) fn blocks(&self) -> rayon::slice::Chunks<'_, f32> {
        self.values.par_chunks(BLOCK * self.columns.max(1))
    }

    /// The sum of squares of each row.
    pub fn squared_norms(&self) -> Vec<f32> {
        (0..self.rows).map(|row| dot(self.row(row), self.row(row))).collect()
    }
}

/// Σ x·y, summed in sixteen lanes, which compilers turn into vectors.
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (x, x_rest) = x.as_chunks::<16>();
    let (y, y_rest) = y.as_chunks::<16>();
    for (x, y) in x.iter().zip(y) {
        for lane in 0..16 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f32>() + x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum::<f32>()
}

/// x += scale · y
pub(crate) fn add_scaled(x: &mut [f32], scale: f32, y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += scale * y);
}

/// A matrix packed as the right side of products `x · yᵀ`.
pub(crate) struct Packed {
    weights: PackedDense,
    columns: usize,
    rows: usize,
}

impl Packed {
    /// Packs `y` `[rows, columns]`.
    pub fn rows(y: &[f32], columns: usize) -> Self {
        let rows = y.len() / columns;
        let dense = Dense { batch: 0, inputs: columns, outputs: rows, activation: Activation::Identity };
        Packed { weights: alone(|| dense.pack_transposed(y, None)), columns, rows }
    }

    /// Packs `yᵀ` `[columns, rows]`.
    pub fn columns(y: &[f32], columns: usize) -> Self {
        let rows = y.len() / columns;
        let dense = Dense { batch: 0, inputs: columns, outputs: rows, activation: Activation::Identity };
        Packed { weights: alone(|| dense.pack(y, None)), columns, rows }
    }

    /// Rows of `y`.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// `x · yᵀ` `[N, rows]` of `x` `[N, columns]`, on the calling thread.
    pub fn product(&self, x: &[f32], to: &mut [f32]) {
        let batch = x.len() / self.columns;
        let dense =
            Dense { batch, inputs: self.columns, outputs: self.rows, activation: Activation::Identity };
        alone(|| dense.infer(&self.weights, x, to));
    }
}

/// `xᵀ · y` `[columns of x, columns of y]` of `x` and `y` with as many rows, on the calling thread.
pub(crate) fn transposed_product(x: &[f32], y: &[f32], columns: (usize, usize), to: &mut [f32]) {
    let (inputs, outputs) = columns;
    let dense = Dense { batch: x.len() / inputs, inputs, outputs, activation: Activation::Identity };
    alone(|| dense.weight_gradient(x, y, to));
}

/// The kernels' team stays out of it: rows are spread over threads by the caller.
fn alone<R>(f: impl FnOnce() -> R) -> R {
    team::with_threads(1, f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_the_sums_of_the_textbook() {
        // x = [1 2 3; 4 5 6], y = [1 0 1; 2 1 0]: x·yᵀ = [4 4; 10 13].
        let (x, y) = ([1., 2., 3., 4., 5., 6.], [1., 0., 1., 2., 1., 0.]);
        let mut product = [0.0; 4];
        Packed::rows(&y, 3).product(&x, &mut product);
        assert_eq!(product, [4., 4., 10., 13.]);
        // xᵀ·y = [1+8 4 1; 2+10 5 2; 3+12 6 3].
        let mut product = [0.0; 9];
        transposed_product(&x, &y, (3, 3), &mut product);
        assert_eq!(product, [9., 4., 1., 12., 5., 2., 15., 6., 3.]);
    }
}
