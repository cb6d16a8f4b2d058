//! Sets of classes that hold the true one as often as was promised.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::predictions::{most_probable, ranked};
use crate::{Interval, Predictions};

/// How strange a class would be as the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nonconformity {
    /// 1 − p of the class: the smallest sets on average (Sadinle, Lei and Wasserman 2019, "Least ambiguous set-valued
    /// classifiers with bounded error levels").
    Lac,
    /// The probability of the class and of all that are likelier: sets that grow with doubt (Romano, Sesia and Candès 2020,
    /// "Classification with valid and adaptive coverage"), without the paper's random part, so that the same image
    /// always gets the same set; this makes them larger.
    Aps,
}

/// Split conformal prediction (Vovk, Gammerman and Shafer 2005; Angelopoulos and Bates 2023, "Conformal prediction: a gentle
/// introduction", section 1): on images of the same kind as those that it was fitted to, the set holds the true class at
/// least as often as promised, whatever the model is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictionSets {
    /// How strange a class is.
    pub by: Nonconformity,
    /// The promised share of images whose set holds the true class.
    pub promised: f64,
    /// Classes up to this strangeness are in the set.
    pub threshold: f64,
    /// The images that it was fitted to.
    pub images: usize,
}

/// What sets are worth on labeled images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetCoverage {
    /// The promised share of images whose set holds the true class.
    pub promised: f64,
    /// That share of these images.
    pub covered: f64,
    /// Its 95 % interval (Wilson).
    pub interval: Interval,
    /// The mean number of classes in a set.
    pub mean_size: f64,
    /// How many sets have 1, 2, … K classes.
    pub sizes: Vec<usize>,
}

impl Nonconformity {
    /// The strangeness of a class, of 0 to 1, given the probabilities `[K]` of all.
    fn of(self, row: &[f64], class: usize) -> f64 {
        match self {
            Self::Lac => 1.0 - row[class],
            // Summed in one order for all classes, so that equal sums are equal bits.
            Self::Aps => {
                let order = ranked(row);
                let through = order.iter().rposition(|&other| row[other] >= row[class]).unwrap_or(0);
                order[..=through].iter().map(|&other| row[other]).sum()
            }
        }
    }
}

impl fmt::Display for Nonconformity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lac => "lac",
            Self::Aps => "aps",
        })
    }
}

impl FromStr for Nonconformity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "lac" => Ok(Self::Lac),
            "aps" => Ok(Self::Aps),
            other => Err(format!("{other:?} is no kind of sets; choose lac or aps")),
        }
    }
}

impl PredictionSets {
    /// Chooses the threshold on labeled images that the model was not trained on: the ⌈(n+1) · promised⌉-th smallest
    /// strangeness of their true classes. Where there are too few images for the promise, every class is in.
    pub fn fit(predictions: &Predictions, by: Nonconformity, promised: f64) -> Self {
        let images = predictions.len();
        let mut scores: Vec<f64> =
            (0..images).map(|i| by.of(predictions.row(i), predictions.label(i))).collect();
        scores.sort_by(f64::total_cmp);
        // The tolerance forgives that 0.95 · 20 is above 19 in floating point.
        let rank = ((images + 1) as f64 * promised - 1e-9).ceil().max(1.0) as usize;
        // Sums of probabilities end a little above 1.
        let threshold = scores.get(rank - 1).copied().unwrap_or(2.0);
        Self { by, promised, threshold, images }
    }

    /// The set for the probabilities `[K]` of an image, the likeliest class first. It is always in.
    pub fn of(&self, row: &[f64]) -> Vec<usize> {
        let best = most_probable(row);
        ranked(row)
            .into_iter()
            .filter(|&class| class == best || self.by.of(row, class) <= self.threshold)
            .collect()
    }

    /// What the sets are worth on labeled images.
    pub fn coverage(&self, predictions: &Predictions) -> SetCoverage {
        let images = predictions.len();
        let mut sizes = vec![0; predictions.classes()];
        let mut covered = 0;
        for i in 0..images {
            let set = self.of(predictions.row(i));
            covered += usize::from(set.contains(&predictions.label(i)));
            sizes[set.len() - 1] += 1;
        }
        let classes: usize = sizes.iter().zip(1..).map(|(images, size)| images * size).sum();
        let share = |part: usize| part as f64 / images.max(1) as f64;
        SetCoverage {
            promised: self.promised,
            covered: share(covered),
            interval: Interval::wilson(covered, images),
            mean_size: share(classes),
            sizes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| class.to_string()).collect()
    }

    #[test]
    fn strangeness_and_sets_by_hand() {
        let row = [0.1, 0.6, 0.3];
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
        close(Nonconformity::Lac.of(&row, 2), 0.7);
        close(Nonconformity::Aps.of(&row, 1), 0.6);
        close(Nonconformity::Aps.of(&row, 2), 0.9);
        close(Nonconformity::Aps.of(&row, 0), 1.0);
        // Equally likely classes are equally strange.
        close(Nonconformity::Aps.of(&[0.4, 0.2, 0.4], 0), 0.8);
        close(Nonconformity::Aps.of(&[0.4, 0.2, 0.4], 2), 0.8);
        let sets = |by, threshold| PredictionSets { by, promised: 0.9, threshold, images: 1 }.of(&row);
        assert_eq!(sets(Nonconformity::Lac, 0.75), [1, 2]);
        assert_eq!(sets(Nonconformity::Lac, 0.1), [1], "never empty");
        assert_eq!(sets(Nonconformity::Aps, 0.95), [1, 2]);
    }

    #[test]
    fn the_threshold_is_the_quantile_for_one_image_more() {
        // Nine images of strangeness 0.05, 0.10 … 0.45: 80 % of ten is the eighth, 90 % the ninth; 95 % has none.
        let rows = (1..=9).flat_map(|i| [1.0 - 0.05 * f64::from(i), 0.05 * f64::from(i)]).collect();
        let predictions = Predictions::new(names(2), vec![0; 9], rows).unwrap();
        let fit = |promised| PredictionSets::fit(&predictions, Nonconformity::Lac, promised).threshold;
        assert!((fit(0.8) - 0.40).abs() < 1e-12 && (fit(0.9) - 0.45).abs() < 1e-12);
        let all = PredictionSets::fit(&predictions, Nonconformity::Lac, 0.95);
        assert_eq!(all.of(&[0.99, 0.01]), [0, 1]);
    }

    /// What a model that is too sure says: probabilities of random logits, labels drawn from softer ones.
    fn simulated(images: usize, random: &mut SplitMix64) -> Predictions {
        let mut unit = || (random.below(1 << 40) as f64 + 0.5) / (1_u64 << 40) as f64;
        let logits: Vec<f32> = (0..5 * images).map(|_| (4.0 * unit()) as f32).collect();
        let honest = Predictions::from_scaled_logits(names(5), vec![0; images], &logits, 2.0).unwrap();
        let draw = |row: &[f64], mut at: f64| {
            row.iter()
                .position(|p| {
                    at -= p;
                    at < 0.0
                })
                .unwrap_or(row.len() - 1)
        };
        let labels = (0..images).map(|i| draw(honest.row(i), unit())).collect();
        Predictions::from_logits(names(5), labels, &logits).unwrap()
    }

    #[test]
    fn the_promise_is_kept_whatever_the_model_is_worth() {
        let mut random = SplitMix64::new(5);
        for by in [Nonconformity::Lac, Nonconformity::Aps] {
            for (promised, images) in [(0.8, 30), (0.9, 99), (0.95, 400)] {
                let rounds = 400;
                let covered: f64 = (0..rounds)
                    .map(|_| {
                        let sets = PredictionSets::fit(&simulated(images, &mut random), by, promised);
                        sets.coverage(&simulated(200, &mut random)).covered
                    })
                    .sum::<f64>()
                    / f64::from(rounds);
                // The mean over all fits lies between the promise and 1/(n+1) above it (Angelopoulos and Bates, theorem 1
                // and D.2); one fit deviates by √(p(1-p)/n), the mean of 400 by a twentieth of that.
                let slack = 4.0 * (promised * (1.0 - promised) / images as f64).sqrt() / 20.0;
                let most = promised + 1.0 / (images + 1) as f64 + slack;
                assert!(covered >= promised - slack, "{by} promised {promised}, but covered {covered}");
                // Without its random part, APS covers more: many true classes complete the sum of 1.
                let is_close = covered <= most || by == Nonconformity::Aps;
                assert!(is_close, "{by} promised {promised} with {images} images, but covered {covered}");
            }
        }
    }
}
