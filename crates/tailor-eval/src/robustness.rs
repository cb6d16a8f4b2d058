//! What is left of the accuracy when images get worse.

use serde::Serialize;

/// Accuracy under corruptions at increasing strengths (in the manner of Hendrycks and Dietterich 2019, "Benchmarking neural
/// network robustness to common corruptions and perturbations").
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Robustness {
    /// Number of images.
    pub images: usize,
    /// The share of untouched images that is named correctly.
    pub clean_accuracy: f64,
    /// Each corruption.
    pub corruptions: Vec<Corrupted>,
    /// The mean over the corruptions of their mean errors; not relative to anything.
    pub mean_corruption_error: f64,
    /// The same beside another model, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative: Option<RelativeError>,
}

/// One corruption at all its strengths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Corrupted {
    /// Its name.
    pub corruption: String,
    /// What the strengths mean.
    pub scale: String,
    /// What each strength is on that scale.
    pub values: Vec<f64>,
    /// The share of images that is named correctly at each strength.
    pub accuracies: Vec<f64>,
    /// The mean over the strengths of the share that is not.
    pub mean_error: f64,
}

/// Errors as shares of another model's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RelativeError {
    /// The other model.
    pub to: String,
    /// Of each corruption, Σ error / Σ the other's error over the strengths: equation CE of section 4 of the paper; none where
    /// the other makes no mistake.
    pub corruption_errors: Vec<Option<f64>>,
    /// Their mean, mCE: below 1 is more robust than the other model.
    pub mean_corruption_error: Option<f64>,
    /// As mCE of what the errors rise above the clean error, the paper's relative mCE: below 1 loses less than the other.
    pub relative_mean_corruption_error: Option<f64>,
}

impl Corrupted {
    /// Takes the accuracy at each strength.
    pub fn new(corruption: &str, scale: &str, values: Vec<f64>, accuracies: Vec<f64>) -> Self {
        let mean_error = 1.0 - mean(accuracies.iter().copied());
        Self { corruption: corruption.into(), scale: scale.into(), values, accuracies, mean_error }
    }

    fn errors(&self) -> f64 {
        self.accuracies.iter().map(|accuracy| 1.0 - accuracy).sum()
    }
}

impl Robustness {
    /// Takes what was measured.
    pub fn new(images: usize, clean_accuracy: f64, corruptions: Vec<Corrupted>) -> Self {
        let mean_corruption_error = mean(corruptions.iter().map(|corrupted| corrupted.mean_error));
        Self { images, clean_accuracy, corruptions, mean_corruption_error, relative: None }
    }

    /// Sets the errors in relation to those of another model on the same images and corruptions.
    pub fn relative_to(mut self, name: &str, other: &Self) -> Self {
        let pairs = || self.corruptions.iter().zip(&other.corruptions);
        let ratio = |own: f64, its: f64| (its > 0.0).then(|| own / its);
        let corruption_errors: Vec<Option<f64>> =
            pairs().map(|(own, its)| ratio(own.errors(), its.errors())).collect();
        let above = |of: &Self, corrupted: &Corrupted| {
            corrupted.errors() - corrupted.accuracies.len() as f64 * (1.0 - of.clean_accuracy)
        };
        let relative = pairs().map(|(own, its)| ratio(above(&self, own), above(other, its)));
        let mean_of = |ratios: Vec<Option<f64>>| {
            let defined: Vec<f64> = ratios.into_iter().flatten().collect();
            (!defined.is_empty()).then(|| mean(defined.into_iter()))
        };
        self.relative = Some(RelativeError {
            to: name.into(),
            mean_corruption_error: mean_of(corruption_errors.clone()),
            relative_mean_corruption_error: mean_of(relative.collect()),
            corruption_errors,
        });
        self
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(clean: f64, accuracies: [[f64; 2]; 2]) -> Robustness {
        let corrupted = |(name, accuracies): (&str, [f64; 2])| {
            Corrupted::new(name, "", vec![1.0, 2.0], accuracies.to_vec())
        };
        Robustness::new(10, clean, ["blur", "noise"].into_iter().zip(accuracies).map(corrupted).collect())
    }

    #[test]
    fn errors_follow_from_the_definitions_by_hand() {
        let own = measured(0.9, [[0.8, 0.6], [0.9, 0.7]]);
        // Mean errors (0.2 + 0.4)/2 and (0.1 + 0.3)/2.
        assert!((own.corruptions[0].mean_error - 0.3).abs() < 1e-12);
        assert!((own.mean_corruption_error - 0.25).abs() < 1e-12);
        let other = measured(0.8, [[0.6, 0.4], [0.7, 0.7]]);
        let relative = own.relative_to("other", &other).relative.unwrap();
        // CE: 0.6/1.0 and 0.4/0.6; above the clean errors 0.1 and 0.2: (0.6 - 0.2)/(1.0 - 0.4) and (0.4 - 0.2)/(0.6 - 0.4).
        assert!((relative.corruption_errors[0].unwrap() - 0.6).abs() < 1e-12);
        assert!((relative.mean_corruption_error.unwrap() - (0.6 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert!((relative.relative_mean_corruption_error.unwrap() - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_model_beside_itself_is_one_and_nothing_is_divided_by_nothing() {
        let model = measured(0.9, [[0.8, 0.6], [1.0, 1.0]]);
        let relative = model.clone().relative_to("itself", &model).relative.unwrap();
        assert_eq!(relative.corruption_errors, [Some(1.0), None]);
        assert_eq!(
            (relative.mean_corruption_error, relative.relative_mean_corruption_error),
            (Some(1.0), Some(1.0))
        );
    }
}
