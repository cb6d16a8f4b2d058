//! What can go wrong between a recipe and a finished run.

use std::path::PathBuf;

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What was wrong, where, and what to do about it, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No recipe of that name comes with the program.
    #[error("there is no recipe `{name}`{hint}")]
    UnknownRecipe {
        /// As the user wrote it.
        name: String,
        /// The nearest known name.
        hint: String,
    },
    /// A recipe cannot be read or is impossible.
    #[error("{place}: {reason}")]
    Recipe {
        /// File and line, or the `--set` that caused it.
        place: String,
        /// What is wrong, and what would help.
        reason: String,
    },
    /// From reading the data.
    #[error(transparent)]
    Data(#[from] tailor_data::Error),
    /// From building the network.
    #[error(transparent)]
    Network(#[from] tailor_nn::Error),
    /// The weights that a network is to begin with cannot be had, or are of another network.
    #[error("{0}")]
    Weights(String),
    /// From fitting a baseline.
    #[error(transparent)]
    Baseline(#[from] tailor_baseline::Error),
    /// From judging its predictions.
    #[error(transparent)]
    Evaluation(#[from] tailor_eval::Error),
    /// The data cannot be trained on, or not by this recipe.
    #[error("{0}")]
    Unsuitable(String),
    /// A file of a run or a model cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// read, write, lock, …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process trains in the folder.
    #[error("{0} is in use by another training run; wait for it, or choose another folder with --run")]
    InUse(PathBuf),
    /// The folder holds a run already.
    #[error("{0} already holds a run; continue it with --resume, or choose another folder with --run")]
    Exists(PathBuf),
    /// There is nothing to resume.
    #[error("{0} holds no run that could be resumed: {1}")]
    NotResumable(PathBuf, String),
    /// A model file cannot be used.
    #[error("{path} is not a model that this program can use: {reason}")]
    Model {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The loss became infinite or undefined.
    #[error(
        "the loss is {loss} at epoch {epoch}, step {step}: training has diverged; try a lower learning rate \
         (--set train.lr={suggestion}), gradient clipping (--set train.clip-norm=1) or a warm-up \
         (--set train.warmup-epochs=1)"
    )]
    Diverged {
        /// Not finite.
        loss: f64,
        /// From 1.
        epoch: usize,
        /// From 1, in its epoch.
        step: usize,
        /// A tenth of the recipe's.
        suggestion: f64,
    },
}
