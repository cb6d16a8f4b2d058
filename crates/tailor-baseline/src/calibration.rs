//! From what a classifier says to probabilities.
//!
//! Scores are made into logits, whose softmax are probabilities, by two numbers that are fitted on the validation part
//! by its mean cross-entropy: a `scale` (the inverse of a temperature; Guo et al. 2017, "On calibration of modern neural
//! networks", section 4.2, and Platt 1999), and a `shape` where there is something to be shaped. Where scores or shares
//! are per class, this leaves the order of the classes as it was.

use rayon::prelude::*;

use crate::Result;
use crate::matrix::Matrix;
use crate::svm::pairs;
use crate::tensors::{Tensor, TensorSource};

/// How a classifier's scores are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// `[N, K]`, unbounded: logit k = scale · score k.
    Decisions,
    /// `[N, pairs]`, positive for the lower class: logit k = scale · Σ ln σ(shape · decision for k against j).
    Pairwise,
    /// `[N, K]`, of votes: logit k = scale · ln(share k + shape).
    Shares,
}

/// Numbers fitted on the validation part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    scores: Scores,
    scale: f32,
    shape: f32,
}

/// Factors between the numbers that are tried first, and in how many halvings the best is closed in on.
const COARSE: f64 = 2.0;
const HALVINGS: usize = 9;

impl Calibration {
    /// Fits scale and shape to the scores of labeled images.
    pub fn fit(scores: Scores, values: &Matrix, labels: &[u16], classes: usize) -> Self {
        // For each shape the best scale: the loss is convex in the scale, and tame in the shape.
        let best_scale = |shape: f64| {
            let logits = Calibration { scores, scale: 1.0, shape: shape as f32 }.logits(values, classes);
            minimum(1.0, -12..=12, |scale| cross_entropy(&logits, scale as f32, labels, classes))
        };
        let (_, shape) = match scores {
            Scores::Decisions => (0.0, 1.0),
            Scores::Pairwise => minimum(1.0, -3..=4, |shape| best_scale(shape).0),
            Scores::Shares => minimum(0.01, -10..=5, |shape| best_scale(shape).0),
        };
        let (_, scale) = best_scale(shape);
        Calibration { scores, scale: scale as f32, shape: shape as f32 }
    }

    /// Logits `[N, K]` of scores.
    pub fn logits(&self, values: &Matrix, classes: usize) -> Vec<f32> {
        let Calibration { scores, scale, shape } = *self;
        match scores {
            Scores::Decisions => values.values().iter().map(|score| scale * score).collect(),
            Scores::Shares => values.values().iter().map(|share| scale * (share + shape).ln()).collect(),
            Scores::Pairwise => {
                let mut logits = vec![0.0; values.rows() * classes];
                logits.par_chunks_exact_mut(classes).enumerate().for_each(|(row, logits)| {
                    for ((a, b), decision) in pairs(classes).zip(values.row(row)) {
                        // ln σ(x), and ln σ(−x) = ln σ(x) − x.
                        let log_sigmoid = log_sigmoid(shape * decision);
                        logits[a] += scale * log_sigmoid;
                        logits[b] += scale * (log_sigmoid - shape * decision);
                    }
                });
                logits
            }
        }
    }

    pub(crate) fn export(&self, to: &mut Vec<Tensor>) {
        to.push(Tensor::f32("calibration", vec![2], vec![self.scale, self.shape]));
    }

    pub(crate) fn import(scores: Scores, source: &mut TensorSource) -> Result<Self> {
        let values = source.take_f32("calibration", &[2])?;
        Ok(Calibration { scores, scale: values[0], shape: values[1] })
    }
}

/// Mean cross-entropy, in nats, of labeled images whose logits are `scale · logits`.
fn cross_entropy(logits: &[f32], scale: f32, labels: &[u16], classes: usize) -> f64 {
    let of_row = |(row, &label): (&[f32], &u16)| {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = row.iter().map(|logit| (scale * (logit - max)).exp()).sum();
        f64::from(sum).ln() - f64::from(scale * (row[usize::from(label)] - max))
    };
    let images: Vec<f64> = logits.par_chunks_exact(classes).zip(labels).map(of_row).collect();
    images.iter().sum::<f64>() / labels.len().max(1) as f64
}

/// ln(1 / (1 + e⁻ˣ)), for large |x| as well.
fn log_sigmoid(x: f32) -> f32 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// The least value of a function with one valley, and where: first among `unit · COARSE^power`, then closed in on.
fn minimum(unit: f64, powers: std::ops::RangeInclusive<i32>, f: impl Fn(f64) -> f64) -> (f64, f64) {
    let at = |power: f64| unit * COARSE.powf(power);
    let mut best = (f64::INFINITY, 0.0);
    for power in powers {
        let value = f(at(power.into()));
        if value < best.0 {
            best = (value, f64::from(power));
        }
    }
    let mut step = 0.5;
    for _ in 0..HALVINGS {
        for power in [best.1 - step, best.1 + step] {
            let value = f(at(power));
            if value < best.0 {
                best = (value, power);
            }
        }
        step /= 2.0;
    }
    (best.0, at(best.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_are_right_three_times_of_four_become_three_quarters() {
        // The score of the first class is 2 for all; it is right for three of four. A logit of ln 3 says 3/4.
        let values = Matrix::new(4, 2, [2.0, 0.0].repeat(4));
        let calibration = Calibration::fit(Scores::Decisions, &values, &[0, 0, 0, 1], 2);
        let logits = calibration.logits(&values, 2);
        assert!((logits[0] - logits[1] - 3f32.ln()).abs() < 1e-3, "{logits:?}");
    }

    #[test]
    fn shares_of_nothing_stay_finite_and_keep_their_order() {
        let values = Matrix::new(2, 3, vec![1.0, 0.0, 0.0, 0.0, 0.4, 0.6]);
        let calibration = Calibration::fit(Scores::Shares, &values, &[0, 1], 3);
        let logits = calibration.logits(&values, 3);
        assert!(logits.iter().all(|logit| logit.is_finite()));
        assert!(logits[0] > logits[1] && logits[5] > logits[4] && logits[4] > logits[3], "{logits:?}");
    }

    #[test]
    fn pairs_add_up() {
        // Class 0 beats 1 by 1 and 2 by 2; 1 and 2 draw: with σ(1) = .7311, σ(2) = .8808, the first logit is
        // ln .7311 + ln .8808 = −.4402.
        let values = Matrix::new(1, 3, vec![1.0, 2.0, 0.0]);
        let calibration = Calibration { scores: Scores::Pairwise, scale: 1.0, shape: 1.0 };
        let logits = calibration.logits(&values, 3);
        assert!((logits[0] + 0.4402).abs() < 1e-4, "{logits:?}");
        // ln σ(−1) + ln ½ = −1.3133 − .6931
        assert!((logits[1] + 2.0064).abs() < 1e-4, "{logits:?}");
    }
}
