//! Precision, recall, F1, log loss, top-k accuracy: defined as in scikit-learn.

use serde::{Deserialize, Serialize};

use crate::{Confusion, Predictions};

/// How well one class is recognized.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// The class.
    pub name: String,
    /// Of the images that were given this class, the share that is of it; 0 if none was (scikit-learn's
    /// `zero_division=0`).
    pub precision: f64,
    /// Of the images of this class, the share that was given it; 0 if there are none.
    pub recall: f64,
    /// The harmonic mean of precision and recall; 0 if both are.
    pub f1: f64,
    /// Number of images of this class.
    pub support: usize,
}

/// Precision, recall and F1, each averaged over the classes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Average {
    /// The mean of the classes' precision.
    pub precision: f64,
    /// The mean of the classes' recall.
    pub recall: f64,
    /// The mean of the classes' F1.
    pub f1: f64,
}

/// How often the true class is among the `k` most probable ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// How many guesses count.
    pub k: usize,
    /// The share of images whose class is among them.
    pub accuracy: f64,
}

impl ClassMetrics {
    /// The metrics of class `class` of `confusion`.
    pub(crate) fn of(confusion: &Confusion, class: usize, name: &str) -> Self {
        let hits = confusion.counts[class][class];
        let (support, predicted) = (confusion.support(class), confusion.predicted_as(class));
        Self {
            name: name.to_owned(),
            precision: ratio(hits, predicted),
            recall: ratio(hits, support),
            f1: ratio(2 * hits, support + predicted),
            support,
        }
    }
}

impl Average {
    /// Every class counts the same.
    pub(crate) fn macro_of(classes: &[ClassMetrics]) -> Self {
        Self::weighted_by(classes, |_| 1.0)
    }

    /// Every class counts by its number of images, so that the weighted recall is the accuracy.
    pub(crate) fn weighted_of(classes: &[ClassMetrics]) -> Self {
        Self::weighted_by(classes, |class| class.support as f64)
    }

    fn weighted_by(classes: &[ClassMetrics], weight: impl Fn(&ClassMetrics) -> f64) -> Self {
        let total: f64 = classes.iter().map(&weight).sum();
        let mean = |metric: fn(&ClassMetrics) -> f64| {
            classes.iter().map(|class| weight(class) * metric(class)).sum::<f64>() / total
        };
        Self { precision: mean(|c| c.precision), recall: mean(|c| c.recall), f1: mean(|c| c.f1) }
    }
}

/// The mean of -ln p(true class), in nats. Probabilities are clipped to \[ε, 1 - ε\] with ε = 2⁻⁵², as scikit-learn's
/// `log_loss` clips, so that one certain mistake costs 36 nats and not infinity. NaN without images.
pub fn log_loss(predictions: &Predictions) -> f64 {
    let total: f64 = (0..predictions.len())
        .map(|i| -predictions.row(i)[predictions.label(i)].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln())
        .sum();
    total / predictions.len() as f64
}

/// The share of images whose true class is among the `k` most probable ones, the lowest index first among equals. NaN
/// without images.
pub fn top_k_accuracy(predictions: &Predictions, k: usize) -> f64 {
    let hits = (0..predictions.len()).filter(|&i| rank_of_label(predictions, i) < k).count();
    hits as f64 / predictions.len() as f64
}

/// How many classes stand before the true class of image `i`, so 0 if it is the predicted one.
fn rank_of_label(predictions: &Predictions, i: usize) -> usize {
    let (row, label) = (predictions.row(i), predictions.label(i));
    let before = |&class: &usize| row[class] > row[label] || (row[class] == row[label] && class < label);
    (0..row.len()).filter(before).count()
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_follow_from_the_counts_by_hand() {
        // Class 0: 6 hits of 8 images, predicted 10 times: precision 6/10, recall 6/8, F1 = 12/18.
        let confusion = Confusion { counts: vec![vec![6, 2], vec![4, 8]] };
        let metrics = ClassMetrics::of(&confusion, 0, "a");
        assert_eq!(
            (metrics.precision, metrics.recall, metrics.f1, metrics.support),
            (0.6, 0.75, 12.0 / 18.0, 8)
        );
    }

    #[test]
    fn what_is_undefined_is_zero() {
        let confusion = Confusion { counts: vec![vec![0, 0], vec![0, 3]] };
        let metrics = ClassMetrics::of(&confusion, 0, "a");
        assert_eq!((metrics.precision, metrics.recall, metrics.f1), (0.0, 0.0, 0.0));
    }

    #[test]
    fn certain_mistakes_cost_a_finite_loss() {
        let names = ["a", "b"].map(String::from).to_vec();
        let predictions = Predictions::new(names, vec![1], vec![1.0, 0.0]).unwrap();
        assert_eq!(log_loss(&predictions), 52.0 * std::f64::consts::LN_2);
    }

    #[test]
    fn among_equals_the_lowest_index_is_guessed_first() {
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let predictions = Predictions::new(names, vec![1], vec![0.4, 0.4, 0.2]).unwrap();
        assert_eq!((top_k_accuracy(&predictions, 1), top_k_accuracy(&predictions, 2)), (0.0, 1.0));
    }
}
