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
mod calibration;
pub mod comparison;
mod confusion;
mod error;
mod evaluation;
mod history;
mod interval;
mod json_file;
mod metrics;
mod number;
mod predictions;
mod predictions_csv;
mod random;
mod repeats;
mod text;
mod timing;

pub use answers::Answers;
pub use calibration::{Calibration, CalibrationBin};
pub use comparison::{Comparison, Contestant, Cost, Run};
pub use confusion::{ConfusedPair, Confusion};
pub use error::{Error, Result};
pub use evaluation::Evaluation;
pub use history::{EpochRecord, History};
pub use interval::Interval;
pub use metrics::{Average, ClassMetrics, TopK, log_loss, top_k_accuracy};
pub use number::{bytes, duration, thousands};
pub use predictions::Predictions;
pub use random::SplitMix64;
pub use repeats::{PairedDifference, Spread};
pub use text::{confusion_table, table};
pub use timing::Timing;
