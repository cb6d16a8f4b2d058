//! Multinomial logistic regression.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Linear;
use super::lbfgs::{Limits, minimize};
use crate::Result;
use crate::matrix::{BLOCK, Matrix, Packed, transposed_product};
use crate::watch::Watcher;

/// Minimizes the mean cross-entropy plus `‖weights‖² / (2 c N)`; biases are free.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct LogisticRegression {
    /// How much the images count against the pull of the weights towards zero.
    pub c: f64,
    /// Steps of L-BFGS at most.
    pub steps: usize,
    /// No number of the gradient is larger at the end, unless steps ran out.
    pub tolerance: f64,
}

impl Default for LogisticRegression {
    fn default() -> Self {
        LogisticRegression { c: 1.0, steps: 1000, tolerance: 1e-4 }
    }
}

impl LogisticRegression {
    /// Fits weights to features `[N, D]`.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped)
    pub fn fit(
        &self,
        features: &Matrix,
        labels: &[u16],
        classes: usize,
        watcher: &dyn Watcher,
    ) -> Result<Linear> {
        let columns = features.columns();
        let problem = Problem { features, labels, classes, pull: 1.0 / (self.c * features.rows() as f64) };
        let limits = Limits { steps: self.steps, tolerance: self.tolerance };
        let start = vec![0.0; (columns + 1) * classes];
        let watch = |step| watcher.step("steps of L-BFGS", step, self.steps);
        let least = minimize(start, limits, |at| problem.evaluate(at), watch)?;
        let weights = (0..classes).flat_map(|k| (0..columns).map(move |d| (d, k)));
        let weights = weights.map(|(d, k)| least[d * classes + k] as f32).collect();
        let bias = least[columns * classes..].iter().map(|&bias| bias as f32).collect();
        Ok(Linear { weights: Matrix::new(classes, columns, weights), bias })
    }
}

/// The function that is minimized; its variables are the weights `[D, K]` and the biases `[K]`.
struct Problem<'a> {
    features: &'a Matrix,
    labels: &'a [u16],
    classes: usize,
    /// λ of λ/2 ‖weights‖².
    pull: f64,
}

impl Problem<'_> {
    fn evaluate(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let single: Vec<f32> = at.iter().map(|&x| x as f32).collect();
        let (weights, bias) = single.split_at(self.features.columns() * self.classes);
        let packed = Packed::columns(weights, self.features.columns());
        let parts: Vec<(f64, Vec<f32>)> = self
            .features
            .blocks()
            .zip(self.labels.par_chunks(BLOCK))
            .map(|(features, labels)| self.part(features, labels, &packed, bias))
            .collect();

        let images = self.features.rows() as f64;
        let mut value = 0.0;
        let mut gradient = vec![0.0; at.len()];
        for (loss, part) in parts {
            value += loss / images;
            gradient.iter_mut().zip(part).for_each(|(sum, slope)| *sum += f64::from(slope) / images);
        }
        for (slope, &weight) in gradient.iter_mut().zip(&at[..weights.len()]) {
            value += 0.5 * self.pull * weight * weight;
            *slope += self.pull * weight;
        }
        (value, gradient)
    }

    /// The summed loss of some images and its gradient.
    fn part(&self, features: &[f32], labels: &[u16], packed: &Packed, bias: &[f32]) -> (f64, Vec<f32>) {
        let classes = self.classes;
        let mut scores = vec![0.0; labels.len() * classes];
        packed.product(features, &mut scores);
        let mut loss = 0.0;
        // The slope of the loss by a score is its probability, less one for the label's.
        for (row, &label) in scores.chunks_exact_mut(classes).zip(labels) {
            row.iter_mut().zip(bias).for_each(|(score, bias)| *score += bias);
            let label = usize::from(label);
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let margin = row[label] - max;
            row.iter_mut().for_each(|score| *score = (*score - max).exp());
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|power| *power /= sum);
            loss += f64::from(sum).ln() - f64::from(margin);
            row[label] -= 1.0;
        }
        let columns = self.features.columns();
        let mut gradient = vec![0.0; (columns + 1) * classes];
        let (weights, biases) = gradient.split_at_mut(columns * classes);
        transposed_product(features, &scores, (columns, classes), weights);
        for row in scores.chunks_exact(classes) {
            biases.iter_mut().zip(row).for_each(|(sum, slope)| *sum += slope);
        }
        (loss, gradient)
    }
}
