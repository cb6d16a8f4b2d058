//! Whether the model's confidence can be taken at its word.

use serde::{Deserialize, Serialize};

use crate::Predictions;

/// The number of bins that Guo et al. report with.
const BINS: usize = 15;

/// Confidence against accuracy, in equal-width bins (Guo et al. 2017, "On calibration of modern neural networks",
/// section 2): what a reliability diagram shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The bins, from confidence 0 to 1. Bin m of M = 15 holds the confidences in (m/M, (m+1)/M].
    pub bins: Vec<CalibrationBin>,
}

/// The images whose confidence lies in `(low, high]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// The confidence above which the bin begins.
    pub low: f64,
    /// The confidence with which the bin ends.
    pub high: f64,
    /// How many images fall into it.
    pub images: usize,
    /// The share of them that were named correctly; 0 if there are none.
    pub accuracy: f64,
    /// The mean of their confidences; 0 if there are none.
    pub confidence: f64,
}

impl Calibration {
    /// Sorts the images of `predictions` into 15 bins by confidence.
    pub fn of(predictions: &Predictions) -> Self {
        let mut images = [0_usize; BINS];
        let mut correct = [0_usize; BINS];
        let mut confidence = [0.0; BINS];
        for i in 0..predictions.len() {
            let bin = bin_of(predictions.confidence(i));
            images[bin] += 1;
            correct[bin] += usize::from(predictions.is_correct(i));
            confidence[bin] += predictions.confidence(i);
        }
        let bin = |m: usize| {
            let n = images[m].max(1) as f64;
            CalibrationBin {
                low: m as f64 / BINS as f64,
                high: (m + 1) as f64 / BINS as f64,
                images: images[m],
                accuracy: correct[m] as f64 / n,
                confidence: confidence[m] / n,
            }
        };
        Self { bins: (0..BINS).map(bin).collect() }
    }

    /// The expected calibration error, Σ |Bₘ|/n · |acc(Bₘ) - conf(Bₘ)| (Guo et al. 2017, equation 3); 0 without images.
    pub fn expected_error(&self) -> f64 {
        let images: usize = self.bins.iter().map(|bin| bin.images).sum();
        let weighted = |bin: &CalibrationBin| bin.images as f64 * (bin.accuracy - bin.confidence).abs();
        self.bins.iter().map(weighted).sum::<f64>() / images.max(1) as f64
    }
}

/// The bin whose half-open range (m/M, (m+1)/M] holds `confidence`.
fn bin_of(confidence: f64) -> usize {
    ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_error_follows_from_the_formula_by_hand() {
        // Bin (9/15, 10/15]: confidences 0.65 (right) and 0.61 (wrong): accuracy 0.5, confidence 0.63, gap 0.13.
        // Bin (14/15, 1]: confidences 1.0 (right) and 0.95 (right): accuracy 1, confidence 0.975, gap 0.025.
        // 2/4 · 0.13 + 2/4 · 0.025 = 0.0775.
        let names = ["a", "b"].map(String::from).to_vec();
        let rows = vec![0.65, 0.35, 0.39, 0.61, 1.0, 0.0, 0.05, 0.95];
        let calibration = Calibration::of(&Predictions::new(names, vec![0, 0, 0, 1], rows).unwrap());
        assert!((calibration.expected_error() - 0.0775).abs() < 1e-15);
        let filled: Vec<_> = calibration.bins.iter().enumerate().filter(|(_, bin)| bin.images > 0).collect();
        assert_eq!(filled.iter().map(|(m, _)| *m).collect::<Vec<_>>(), [9, 14]);
        assert!((filled[0].1.confidence - 0.63).abs() < 1e-15);
        assert_eq!(filled[0].1.accuracy, 0.5);
    }

    #[test]
    fn bins_are_open_below_and_closed_above() {
        assert_eq!(bin_of(0.2), 2); // exactly 3/15
        assert_eq!(bin_of(0.2 + 1e-9), 3);
        assert_eq!((bin_of(0.0), bin_of(1.0)), (0, 14));
    }
}
