//! What is stored with a model so that its confidence can be relied on, and what that is worth on other images.

use serde::{Deserialize, Serialize};

use crate::conformal::{Nonconformity, PredictionSets, SetCoverage};
use crate::coverage::{Abstention, AccuracyCoverage};
use crate::metrics::log_loss;
use crate::temperature::temperature;
use crate::{Calibration, Interval, Predictions, Result};

/// What turns logits into answers that can be relied on; fitted to images that the model was not trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// What logits are divided by.
    pub temperature: f64,
    /// The images that it was fitted to.
    pub images: usize,
    /// Below which confidence the answer is "not sure".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstention: Option<Abstention>,
    /// Which other classes may be true as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets: Option<PredictionSets>,
}

/// What is to be fitted beside the temperature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The accuracy of the answers that are given.
    pub accuracy: Option<f64>,
    /// Sets, and how often they are to hold the true class.
    pub coverage: Option<(Nonconformity, f64)>,
}

/// What a stored [`Confidence`] is worth on labeled images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceCheck {
    /// What logits were divided by.
    pub temperature: f64,
    /// What the same logits say when they are not.
    pub unscaled: Unscaled,
    /// What "not sure" is worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstention: Option<AbstentionCheck>,
    /// What prediction sets are worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets: Option<SetCoverage>,
}

/// The figures that a temperature changes, without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unscaled {
    /// As [`Evaluation::loss`](crate::Evaluation::loss).
    pub loss: f64,
    /// As [`Evaluation::expected_calibration_error`](crate::Evaluation::expected_calibration_error).
    pub expected_calibration_error: f64,
    /// Confidence against accuracy.
    pub calibration: Calibration,
}

/// What becomes of a promised accuracy on other images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AbstentionCheck {
    /// The accuracy that was wanted.
    pub wanted: f64,
    /// The threshold.
    pub confidence: f64,
    /// The share of images that is answered.
    pub coverage: f64,
    /// The share of the answers that is right.
    pub accuracy: f64,
    /// Its 95 % interval (Wilson).
    pub interval: Interval,
}

impl Confidence {
    /// Fits to `labels` `[N]` and `logits` `[N, K]` of images that the model was not trained on. The temperature comes first,
    /// the thresholds after it, on the same images: one number fitted to all of them leaves these as good as untouched.
    ///
    /// # Errors
    /// Those of [`Predictions::from_logits`], and an accuracy that cannot be reached.
    pub fn fit(class_names: &[String], labels: Vec<usize>, logits: &[f32], wanted: Wanted) -> Result<Self> {
        // Checks that labels and logits fit each other.
        Predictions::from_logits(class_names.to_vec(), labels.clone(), logits)?;
        let temperature = temperature(logits, &labels);
        let predictions = Predictions::from_scaled_logits(class_names.to_vec(), labels, logits, temperature)?;
        let abstention = wanted.accuracy.map(|wanted| AccuracyCoverage::of(&predictions).abstention(wanted));
        let sets = wanted.coverage.map(|(by, promised)| PredictionSets::fit(&predictions, by, promised));
        Ok(Self { temperature, images: predictions.len(), abstention: abstention.transpose()?, sets })
    }

    /// What was wanted of it.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            accuracy: self.abstention.map(|abstention| abstention.wanted),
            coverage: self.sets.map(|sets| (sets.by, sets.promised)),
        }
    }

    /// Whether the answer to an image of these probabilities `[K]` counts; none without a threshold.
    pub fn is_sure(&self, row: &[f64]) -> Option<bool> {
        self.abstention.map(|abstention| row.iter().any(|&p| p >= abstention.confidence))
    }

    /// What is impossible about values that were read from a file, if anything.
    ///
    /// # Errors
    /// Says which value it is.
    pub fn check(&self) -> std::result::Result<(), String> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(format!("the temperature is {}", self.temperature));
        }
        let thresholds = [self.abstention.map(|a| a.confidence), self.sets.map(|sets| sets.threshold)];
        match thresholds.into_iter().flatten().find(|threshold| !threshold.is_finite()) {
            Some(threshold) => Err(format!("a threshold is {threshold}")),
            None => Ok(()),
        }
    }
}

impl ConfidenceCheck {
    /// Compares `scaled`, the predictions with the temperature, with those without it, and tries both promises.
    pub fn of(confidence: &Confidence, scaled: &Predictions, unscaled: &Predictions) -> Self {
        let calibration = Calibration::of(unscaled);
        let abstention = confidence.abstention.map(|Abstention { wanted, confidence, .. }| {
            let answered = AccuracyCoverage::of(scaled).at(confidence);
            AbstentionCheck {
                wanted,
                confidence,
                coverage: answered.answered as f64 / scaled.len().max(1) as f64,
                accuracy: answered.accuracy(),
                interval: Interval::wilson(answered.correct, answered.answered),
            }
        });
        Self {
            temperature: confidence.temperature,
            unscaled: Unscaled {
                loss: log_loss(unscaled),
                expected_calibration_error: calibration.expected_error(),
                calibration,
            },
            abstention,
            sets: confidence.sets.map(|sets| sets.coverage(scaled)),
        }
    }
}
