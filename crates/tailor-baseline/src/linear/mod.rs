//! Classifiers whose scores are linear in the features.

mod lbfgs;
mod logistic;
mod svm;

pub use logistic::LogisticRegression;
pub use svm::LinearSvm;

use rayon::prelude::*;

use crate::Result;
use crate::matrix::{BLOCK, Matrix, Packed};
use crate::tensors::{Tensor, TensorSource};

/// A score for each class: `weights · x + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[K, D]`
    pub weights: Matrix,
    /// `[K]`
    pub bias: Vec<f32>,
}

impl Linear {
    /// The scores `[N, K]` of features `[N, D]`.
    pub fn scores(&self, features: &Matrix) -> Matrix {
        let classes = self.bias.len();
        let packed = Packed::rows(self.weights.values(), self.weights.columns());
        let mut scores = Matrix::zeros(features.rows(), classes);
        scores.values_mut().par_chunks_mut(BLOCK * classes).zip(features.blocks()).for_each(
            |(scores, features)| {
                packed.product(features, scores);
                for row in scores.chunks_exact_mut(classes) {
                    row.iter_mut().zip(&self.bias).for_each(|(score, bias)| *score += bias);
                }
            },
        );
        scores
    }

    pub(crate) fn export(&self, to: &mut Vec<Tensor>) {
        let (classes, columns) = (self.weights.rows(), self.weights.columns());
        let weights = self.weights.values().to_vec();
        to.push(Tensor::f32("classifier.weight", vec![classes, columns], weights));
        to.push(Tensor::f32("classifier.bias", vec![classes], self.bias.clone()));
    }

    pub(crate) fn import(classes: usize, columns: usize, source: &mut TensorSource) -> Result<Self> {
        let weights = source.take_f32("classifier.weight", &[classes, columns])?;
        let bias = source.take_f32("classifier.bias", &[classes])?;
        Ok(Linear { weights: Matrix::new(classes, columns, weights), bias })
    }
}
