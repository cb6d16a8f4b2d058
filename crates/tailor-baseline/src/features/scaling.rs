//! Numbers of very different size are brought to the same.

use rayon::prelude::*;

use crate::Result;
use crate::matrix::Matrix;
use crate::tensors::{Tensor, TensorSource};

/// Mean and deviation of each column over the training images.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    mean: Vec<f32>,
    /// 1 for columns that do not vary.
    deviation: Vec<f32>,
}

impl Scaling {
    /// Those of a matrix's columns.
    pub fn fit(matrix: &Matrix) -> Self {
        let rows = matrix.rows() as f64;
        let column = |column: usize| {
            let values = || (0..matrix.rows()).map(move |row| f64::from(matrix.row(row)[column]));
            let mean = values().sum::<f64>() / rows;
            let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / rows;
            let deviation = variance.sqrt();
            (mean as f32, if deviation > 1e-9 { deviation as f32 } else { 1.0 })
        };
        let (mean, deviation) = (0..matrix.columns()).into_par_iter().map(column).unzip();
        Scaling { mean, deviation }
    }

    /// Brings columns to mean 0 and deviation 1.
    pub fn apply(&self, matrix: &mut Matrix) {
        let columns = matrix.columns();
        matrix.values_mut().par_chunks_exact_mut(columns).for_each(|row| {
            for ((value, mean), deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
                *value = (*value - mean) / deviation;
            }
        });
    }

    pub(super) fn export(&self, to: &mut Vec<Tensor>) {
        to.push(Tensor::f32("features.scaling.mean", vec![self.mean.len()], self.mean.clone()));
        to.push(Tensor::f32("features.scaling.deviation", vec![self.mean.len()], self.deviation.clone()));
    }

    pub(super) fn import(columns: usize, source: &mut TensorSource) -> Result<Self> {
        let mean = source.take_f32("features.scaling.mean", &[columns])?;
        let deviation = source.take_f32("features.scaling.deviation", &[columns])?;
        Ok(Scaling { mean, deviation })
    }
}
