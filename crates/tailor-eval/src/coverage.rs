//! What a model is worth that may answer "not sure".

use serde::{Deserialize, Serialize};

use crate::binomial::lower_tail;
use crate::{Error, Interval, Predictions, Result};

/// How often a promised accuracy may turn out wrong by bad luck of the images that it was chosen on.
const RISK: f64 = 0.05;
/// Steps between the accuracies that are tried when the wanted one cannot be promised.
const STEP: f64 = 0.001;

/// The accuracy among the surest images, for every share of them (El-Yaniv and Wiener 2010, "On the foundations of noise-free
/// selective classification").
#[derive(Clone, Debug, PartialEq)]
pub struct AccuracyCoverage {
    images: usize,
    /// From the surest image to all; each confidence once.
    points: Vec<Answered>,
}

/// The images that are answered where nothing below a confidence is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The lowest confidence among them.
    pub confidence: f64,
    /// How many there are.
    pub answered: usize,
    /// How many of them are named correctly.
    pub correct: usize,
}

/// A confidence below which the answer is "not sure".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Abstention {
    /// The accuracy that was wanted of the other answers.
    pub wanted: f64,
    /// The threshold: answers of this confidence and above count.
    pub confidence: f64,
    /// Of the images that it was chosen on, those that are answered.
    pub answered: usize,
    /// Of these, those that are named correctly.
    pub correct: usize,
    /// The images that it was chosen on.
    pub images: usize,
}

impl Answered {
    /// The share of answered images that are named correctly; 1 if none is answered.
    pub fn accuracy(&self) -> f64 {
        if self.answered == 0 { 1.0 } else { self.correct as f64 / self.answered as f64 }
    }
}

impl AccuracyCoverage {
    /// Sorts the images of `predictions` by confidence.
    pub fn of(predictions: &Predictions) -> Self {
        let images = predictions.len();
        let mut order: Vec<(f64, bool)> =
            (0..images).map(|i| (predictions.confidence(i), predictions.is_correct(i))).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut points: Vec<Answered> = Vec::new();
        let mut correct = 0;
        for (before, (confidence, is_correct)) in order.into_iter().enumerate() {
            correct += usize::from(is_correct);
            let point = Answered { confidence, answered: before + 1, correct };
            match points.last_mut() {
                Some(last) if last.confidence == confidence => *last = point,
                _ => points.push(point),
            }
        }
        Self { images, points }
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.images
    }

    /// From the surest image to all; each confidence once.
    pub fn points(&self) -> &[Answered] {
        &self.points
    }

    /// What is answered where nothing below `confidence` is.
    pub fn at(&self, confidence: f64) -> Answered {
        let above = self.points.partition_point(|point| point.confidence >= confidence);
        let last = above.checked_sub(1).map(|last| self.points[last]);
        Answered { confidence, ..last.unwrap_or(Answered { confidence, answered: 0, correct: 0 }) }
    }

    /// The threshold that answers as many images as it can while the answers have the wanted accuracy, not only on these
    /// images but, with 95 % certainty, on all of their kind (Geifman and El-Yaniv 2017, "Selective classification for deep
    /// neural networks", algorithm 1: a search by halving, each step of which may err by its share of 5 %).
    ///
    /// # Errors
    /// [`Error::AccuracyNotReached`] names the highest accuracy that could be promised.
    pub fn abstention(&self, wanted: f64) -> Result<Abstention> {
        self.promised(wanted).ok_or_else(|| {
            let lower =
                (1..).map(|step| wanted - f64::from(step) * STEP).take_while(|&accuracy| accuracy > 0.0);
            let best = lower.map(|accuracy| (accuracy / STEP).floor() * STEP).find_map(|a| self.promised(a));
            Error::AccuracyNotReached {
                wanted,
                images: self.images,
                best: best.map(|best| (best.wanted, best.answered)),
            }
        })
    }

    fn promised(&self, wanted: f64) -> Option<Abstention> {
        let steps = usize::BITS - self.points.len().leading_zeros();
        let risk = RISK / f64::from(steps.max(1));
        let mistakes = 1.0 - wanted;
        // With fewer images nothing could be promised, however right all are.
        let is_promised = |wrong, answered| lower_tail(wrong, answered, mistakes) <= risk;
        let (mut low, mut high) =
            (self.points.partition_point(|point| !is_promised(0, point.answered)), self.points.len());
        let mut best = None;
        while low < high {
            let middle = (low + high) / 2;
            let point = &self.points[middle];
            if is_promised(point.answered - point.correct, point.answered) {
                (best, low) = (Some(point), middle + 1);
            } else {
                high = middle;
            }
        }
        let Answered { confidence, answered, correct } = *best?;
        Some(Abstention { wanted, confidence, answered, correct, images: self.images })
    }
}

impl Abstention {
    /// The share of images that is expected to be answered, and its 95 % interval.
    pub fn coverage(&self) -> (f64, Interval) {
        (self.answered as f64 / self.images.max(1) as f64, Interval::wilson(self.answered, self.images))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;

    /// Two classes; image i has this confidence and is named correctly or not.
    fn predictions(images: &[(f64, bool)]) -> Predictions {
        let names = ["a", "b"].map(String::from).to_vec();
        let labels = images.iter().map(|(_, is_correct)| usize::from(!is_correct)).collect();
        let rows = images.iter().flat_map(|(confidence, _)| [*confidence, 1.0 - confidence]).collect();
        Predictions::new(names, labels, rows).unwrap()
    }

    #[test]
    fn the_curve_by_hand() {
        let images = [(0.9, true), (0.6, false), (0.8, true), (0.8, false), (0.7, true)];
        let curve = AccuracyCoverage::of(&predictions(&images));
        let points: Vec<_> = curve.points().iter().map(|p| (p.confidence, p.answered, p.correct)).collect();
        assert_eq!(points, [(0.9, 1, 1), (0.8, 3, 2), (0.7, 4, 3), (0.6, 5, 3)]);
        let at = |confidence| (curve.at(confidence).answered, curve.at(confidence).correct);
        assert_eq!([at(0.95), at(0.9), at(0.75), at(0.0)], [(0, 0), (1, 1), (3, 2), (5, 3)]);
    }

    /// Confidences that are true: an image of confidence c is named correctly with the probability c.
    fn honest(images: usize, seed: u64) -> AccuracyCoverage {
        let mut random = SplitMix64::new(seed);
        let mut unit = || random.below(1 << 30) as f64 / f64::from(1 << 30);
        let images: Vec<_> = (0..images)
            .map(|_| {
                let confidence = 1.0 - 0.5 * unit() * unit();
                (confidence, unit() < confidence)
            })
            .collect();
        AccuracyCoverage::of(&predictions(&images))
    }

    #[test]
    fn a_promised_accuracy_is_kept_on_other_images_nearly_always() {
        let truth = honest(400_000, 99);
        let chosen: Vec<_> = (0..100).filter_map(|seed| honest(3000, seed).abstention(0.95).ok()).collect();
        assert!(chosen.len() > 95, "{} could be promised", chosen.len());
        let broken = chosen.iter().filter(|chosen| truth.at(chosen.confidence).accuracy() < 0.95).count();
        // 5 % may be: 11 of 100 or more are the luck of one case in a hundred.
        assert!(broken <= 10, "{broken} promises of 100 were broken");
        let coverage = |chosen: &Abstention| truth.at(chosen.confidence).answered as f64 / 400_000.0;
        let mean = chosen.iter().map(coverage).sum::<f64>() / chosen.len() as f64;
        let possible = truth.points().iter().rfind(|point| point.accuracy() >= 0.95).unwrap().answered;
        assert!(mean > 0.7 * possible as f64 / 400_000.0, "{mean} of {possible} are answered");
    }

    #[test]
    fn what_cannot_be_promised_names_what_can() {
        let images = [vec![(0.9, true); 200], vec![(0.8, false); 100]].concat();
        let curve = AccuracyCoverage::of(&predictions(&images));
        let error = curve.abstention(0.999).unwrap_err();
        let Error::AccuracyNotReached { best: Some((best, 200)), .. } = error else { panic!("{error}") };
        // The 200 surest are all right: (best)^200 is below the share of 5 % that each of two steps may err.
        assert!(best.powi(200) <= 0.025 && (best + 0.001).powi(200) > 0.025, "{best}");
        let none = AccuracyCoverage::of(&predictions(&[(0.9, false)]));
        assert!(matches!(none.abstention(0.9), Err(Error::AccuracyNotReached { best: None, .. })));
    }
}
