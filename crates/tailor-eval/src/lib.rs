//! What numbers say about a classifier.
//!
//! A model is judged from one thing only: the probabilities that it gave to images whose labels are known. That is
//! [`Predictions`]; [`Evaluation::of`] turns it into every figure that a run reports. The figures are those of
//! scikit-learn (`classification_report`, `confusion_matrix`, `log_loss`, `top_k_accuracy_score`), to 1e-9 on the same
//! `predictions.csv`, and the same predictions give the same bits every time. How long a run took is no property of the
//! model, so it stands apart, in [`Timing`] and in the [`History`] of the training.
//!
//! ```text
//!   logits ──► predictions ──► evaluation ──► report (text)      evaluation.json
//!                │  ▲            │
//!                ▼  │            ├── metrics       precision, recall, F1, log loss, top-k accuracy
//!          predictions.csv       ├── interval      Wilson's 95 % interval of the accuracy
//!                                ├── confusion     counts[true][predicted]
//!                                └── calibration   is 90 % sure right 9 times of 10?
//!
//!   logits of held-out images ──► confidence, stored with a model, and its check on other images
//!                                   ├── temperature  what logits are divided by
//!                                   ├── coverage     below which confidence the answer is "not sure"  (binomial)
//!                                   └── conformal    sets of classes that hold the true one as often as promised
//!
//!   scores of known images and of strangers ──► detection      accuracies under corruptions ──► robustness
//!
//!   predictions of images held out in turn ──► label_errors
//!
//!   epochs ──► history ◄──► metrics.csv            timing ◄──► timing.json      images a second
//!
//!   predictions.csv ──► answers ─┐
//!   evaluation.json, history ────┴► contestants ──► comparison      which is better, and is that luck?
//! ```
//!
//! ```
//! use tailor_eval::{Evaluation, Predictions};
//!
//! let names = ["Coat", "Shirt"].map(String::from).to_vec();
//! let logits = [2.0, 0.0, 0.5, 1.0, 1.0, 0.0]; // [3 images, 2 classes]
//! let predictions = Predictions::from_logits(names, vec![0, 1, 1], &logits)?;
//! let evaluation = Evaluation::of(&predictions)?;
//! assert_eq!(evaluation.accuracy, 2.0 / 3.0);
//! println!("{evaluation}");
//! # Ok::<(), tailor_eval::Error>(())
//! ```

mod answers;
mod binomial;
mod calibration;
pub mod comparison;
mod confidence;
mod conformal;
mod confusion;
mod coverage;
mod detection;
mod error;
mod evaluation;
mod history;
mod interval;
mod json_file;
mod label_errors;
mod metrics;
mod number;
mod predictions;
mod predictions_csv;
mod random;
mod repeats;
mod robustness;
mod temperature;
mod text;
mod timing;

pub use answers::Answers;
pub use calibration::{Calibration, CalibrationBin};
pub use comparison::{Comparison, Contestant, Cost, Run};
pub use confidence::{AbstentionCheck, Confidence, ConfidenceCheck, Unscaled, Wanted};
pub use conformal::{Nonconformity, PredictionSets, SetCoverage};
pub use confusion::{ConfusedPair, Confusion};
pub use coverage::{Abstention, AccuracyCoverage, Answered};
pub use detection::{ACCEPTED, Detection, accepting_threshold, energies};
pub use error::{Error, Result};
pub use evaluation::Evaluation;
pub use history::{EpochRecord, History};
pub use interval::Interval;
pub use label_errors::{ConfidentJoint, LabelError, label_errors};
pub use metrics::{Average, ClassMetrics, TopK, log_loss, top_k_accuracy};
pub use number::{bytes, duration, thousands};
pub use predictions::Predictions;
pub use random::SplitMix64;
pub use repeats::{PairedDifference, Spread};
pub use robustness::{Corrupted, RelativeError, Robustness};
pub use temperature::temperature;
pub use text::{confusion_table, table};
pub use timing::Timing;
