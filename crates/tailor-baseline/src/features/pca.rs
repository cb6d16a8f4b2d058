//! Principal components: the directions in which the training images differ most.

use rayon::prelude::*;

use super::eigen::eigen;
use crate::Result;
use crate::matrix::{BLOCK, Matrix, Packed, transposed_product};
use crate::tensors::{Tensor, TensorSource};

/// The mean of all images, and orthonormal directions of decreasing variance (Pearson 1901).
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    mean: Vec<f32>,
    /// `[components, D]`; of a component's numbers the largest is positive, which settles its sign.
    components: Matrix,
}

impl Pca {
    /// The first components of a matrix's rows: eigenvectors of their covariance.
    ///
    /// # Panics
    /// If there are fewer columns than components.
    pub fn fit(matrix: &Matrix, components: usize) -> Self {
        let columns = matrix.columns();
        assert!(components <= columns, "at most as many components as numbers");
        let mean = mean(matrix);
        let (_, vectors) = eigen(covariance(matrix, &mean), columns);
        let mut directions = Vec::with_capacity(components * columns);
        for direction in vectors.chunks_exact(columns).take(components) {
            let largest = direction.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
            directions.extend(direction.iter().map(|value| (value * largest.signum()) as f32));
        }
        Pca { mean, components: Matrix::new(components, columns, directions) }
    }

    /// `[components, D]`
    pub fn components(&self) -> &Matrix {
        &self.components
    }

    /// How far each row `[D]` lies along each component: `[N, components]`.
    pub fn transform(&self, matrix: &Matrix) -> Matrix {
        let (columns, components) = (matrix.columns(), self.components.rows());
        let packed = Packed::rows(self.components.values(), columns);
        let mut result = Matrix::zeros(matrix.rows(), components);
        result
            .values_mut()
            .par_chunks_mut(BLOCK * components)
            .zip(matrix.blocks())
            .for_each(|(result, rows)| packed.product(&centered(rows, &self.mean), result));
        result
    }

    pub(super) fn export(&self, to: &mut Vec<Tensor>) {
        let (components, columns) = (self.components.rows(), self.components.columns());
        to.push(Tensor::f32("features.pca.mean", vec![columns], self.mean.clone()));
        let values = self.components.values().to_vec();
        to.push(Tensor::f32("features.pca.components", vec![components, columns], values));
    }

    pub(super) fn import(components: usize, columns: usize, source: &mut TensorSource) -> Result<Self> {
        let mean = source.take_f32("features.pca.mean", &[columns])?;
        let values = source.take_f32("features.pca.components", &[components, columns])?;
        Ok(Pca { mean, components: Matrix::new(components, columns, values) })
    }
}

fn mean(matrix: &Matrix) -> Vec<f32> {
    let mut sums = vec![0.0f64; matrix.columns()];
    for row in 0..matrix.rows() {
        sums.iter_mut().zip(matrix.row(row)).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sums.into_iter().map(|sum| (sum / matrix.rows() as f64) as f32).collect()
}

/// The mean of (x − mean)(x − mean)ᵀ over rows, `[D, D]`: in single precision within a block, in double over blocks.
fn covariance(matrix: &Matrix, mean: &[f32]) -> Vec<f64> {
    let columns = matrix.columns();
    let mut sum = vec![0.0; columns * columns];
    let blocks: Vec<&[f32]> = matrix.values().chunks(BLOCK * columns).collect();
    // A few at a time: each part is as large as the covariance.
    for some in blocks.chunks(16) {
        let parts: Vec<Vec<f32>> = some
            .par_iter()
            .map(|rows| {
                let rows = centered(rows, mean);
                let mut part = vec![0.0; columns * columns];
                transposed_product(&rows, &rows, (columns, columns), &mut part);
                part
            })
            .collect();
        for part in parts {
            sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += f64::from(value));
        }
    }
    // Rounding is not symmetric.
    let rows = matrix.rows() as f64;
    let entry = |at: usize| (sum[at] + sum[at % columns * columns + at / columns]) / (2.0 * rows);
    (0..columns * columns).map(entry).collect()
}

fn centered(rows: &[f32], mean: &[f32]) -> Vec<f32> {
    let row = |row: &[f32]| row.iter().zip(mean).map(|(value, mean)| value - mean).collect::<Vec<f32>>();
    rows.chunks_exact(mean.len()).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_have_one_direction() {
        // (0,0), (3,4), (6,8): the direction is (3,4)/5, and distances from the middle are -5, 0, 5.
        let points = Matrix::new(3, 2, vec![0., 0., 3., 4., 6., 8.]);
        let pca = Pca::fit(&points, 1);
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(pca.components().values(), &[0.6, 0.8]), "{pca:?}");
        assert!(close(pca.transform(&points).values(), &[-5., 0., 5.]));
    }
}
