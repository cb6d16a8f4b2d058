//! Every figure of a model on a test set, as one value and one file.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::metrics::{Average, ClassMetrics, TopK, log_loss, top_k_accuracy};
use crate::{Calibration, ConfidenceCheck, Confusion, Error, Interval, Predictions, Result, json_file};

/// The most guesses that top-k accuracy is given for.
const MOST_GUESSES: usize = 5;

/// Every figure of a model on a test set; the content of `evaluation.json`.
///
/// Shares are fractions of 1, not percent. The same predictions give the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of images.
    pub images: usize,
    /// The share of images that were named correctly.
    pub accuracy: f64,
    /// Its 95 % interval (Wilson): where the accuracy on all images of this kind lies, as far as a sample can tell.
    pub accuracy_interval: Interval,
    /// The mean of -ln p(true class), in nats; see [`log_loss`].
    pub loss: f64,
    /// The expected calibration error, of 1; see [`Calibration::expected_error`].
    pub expected_calibration_error: f64,
    /// The share of images whose class is among the first k guesses, for k = 1 … min(5, K - 1).
    pub top_k: Vec<TopK>,
    /// Precision, recall and F1 of each class, in the order of the labels.
    pub per_class: Vec<ClassMetrics>,
    /// The mean over the classes, each counting the same.
    pub macro_average: Average,
    /// The mean over the classes, each counting by its number of images.
    pub weighted_average: Average,
    /// Which class was taken for which.
    pub confusion: Confusion,
    /// Confidence against accuracy.
    pub calibration: Calibration,
    /// What the confidence that is stored with the model is worth, if any is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<ConfidenceCheck>,
}

impl Evaluation {
    /// Computes every figure of `predictions`.
    ///
    /// # Errors
    /// There are no images.
    pub fn of(predictions: &Predictions) -> Result<Self> {
        if predictions.is_empty() {
            return Err(Error::NoImages);
        }
        let images = predictions.len();
        let confusion = Confusion::of(predictions);
        let calibration = Calibration::of(predictions);
        let name = |class: usize| predictions.class_names()[class].as_str();
        let per_class: Vec<_> = (0..predictions.classes())
            .map(|class| ClassMetrics::of(&confusion, class, name(class)))
            .collect();
        let guesses = 1..=MOST_GUESSES.min(predictions.classes() - 1);
        Ok(Self {
            images,
            accuracy: confusion.correct() as f64 / images as f64,
            accuracy_interval: Interval::wilson(confusion.correct(), images),
            loss: log_loss(predictions),
            expected_calibration_error: calibration.expected_error(),
            top_k: guesses.map(|k| TopK { k, accuracy: top_k_accuracy(predictions, k) }).collect(),
            macro_average: Average::macro_of(&per_class),
            weighted_average: Average::weighted_of(&per_class),
            per_class,
            confusion,
            calibration,
            confidence: None,
        })
    }

    /// The share of images whose class is among the first `k` guesses, if it was computed.
    pub fn top_k_accuracy(&self, k: usize) -> Option<f64> {
        self.top_k.iter().find(|top| top.k == k).map(|top| top.accuracy)
    }

    /// Writes `evaluation.json`: indented, with a final newline, every number in the shortest form that reads back to
    /// the same bits.
    ///
    /// # Errors
    /// The stream refuses to take it.
    pub fn write_json(&self, mut writer: impl Write) -> Result<()> {
        serde_json::to_writer_pretty(&mut writer, self).map_err(std::io::Error::from)?;
        Ok(writer.write_all(b"\n")?)
    }

    /// Reads what [`write_json`](Self::write_json) wrote, to the same bits.
    ///
    /// # Errors
    /// The file cannot be read, or is no evaluation; the latter names the line.
    pub fn read_json(path: impl AsRef<Path>) -> Result<Self> {
        json_file::read(path.as_ref(), "evaluation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation() -> Evaluation {
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let logits = [0.1, 0.7, 0.3, 2.0, 1.0, -1.0, 0.0, 0.5, 3.1];
        Evaluation::of(&Predictions::from_logits(names, vec![1, 1, 2], &logits).unwrap()).unwrap()
    }

    #[test]
    fn json_reads_back_to_the_same_bits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        evaluation().write_json(file.as_file()).unwrap();
        assert_eq!(Evaluation::read_json(file.path()).unwrap(), evaluation());
    }

    #[test]
    fn a_file_that_is_no_evaluation_names_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\n  \"images\": \"many\"\n}\n").unwrap();
        let error = Evaluation::read_json(file.path()).unwrap_err().to_string();
        assert!(error.contains("line 2: this is no evaluation"), "{error}");
    }

    #[test]
    fn top_k_is_given_for_fewer_guesses_than_classes() {
        assert_eq!(evaluation().top_k.iter().map(|top| top.k).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(evaluation().top_k_accuracy(2), Some(1.0));
        assert_eq!(evaluation().top_k_accuracy(3), None);
    }

    #[test]
    fn without_images_there_is_nothing_to_say() {
        let names = ["a", "b"].map(String::from).to_vec();
        let none = Predictions::new(names, vec![], vec![]).unwrap();
        assert!(matches!(Evaluation::of(&none), Err(Error::NoImages)));
    }
}
