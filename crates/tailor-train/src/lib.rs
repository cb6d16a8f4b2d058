//! From a recipe to a trained model.
//!
//! ```text
//!  recipe ──→ data (splits, statistics, augmentation) ──→ trainer ──→ run folder
//! (TOML,                                                   │  │  │     recipe.toml, metrics.csv, events,
//!  checked)   optimizer ←──────────────────────────────────┘  │  │     model.safetensors, last.checkpoint
//!             schedule  ←─────────────────────────────────────┘  │
//!             checkpoint ←───────────────────────────────────────┘
//!
//!  recipe ──→ pretrained (weights to begin with), phases, frozen (layers that only infer) ──→ trainer
//!
//!  recipe ──→ learning_rate, batch_size: what to train it with, by measuring a few steps
//!
//!  baseline recipe ──→ data ──→ baseline ──→ run folder, without epochs and checkpoint
//!
//!  model file, of either ──→ inference ──→ predictions
//!                 ⇅ confidence, familiarity: what is fitted to the validation part after training
//! ```
//!
//! Everything random is a function of the seed and the position in the run, so that a run that was killed and
//! resumed ends in the same bits as one that was not.

mod any_recipe;
pub mod average;
pub mod baseline;
pub mod batch_size;
pub mod checkpoint;
pub mod class_weights;
pub mod confidence;
pub mod data;
mod error;
pub mod events;
pub mod familiarity;
mod frozen;
pub mod groups;
pub mod inference;
pub mod learning_rate;
pub mod model_file;
pub mod optimizer;
pub mod phases;
pub mod pretrained;
pub mod recipe;
pub mod run;
pub mod schedule;

mod spelling;
pub mod study;
pub mod trainer;

pub use any_recipe::AnyRecipe;
pub use baseline::BaselineRecipe;
pub use data::RunData;
pub use error::{Error, Result};
pub use model_file::{Classifier, Model, ModelInfo};
pub use recipe::{Override, Recipe};
pub use run::RunFolder;
pub use trainer::{Observer, Outcome, Run, Start, check, train};
