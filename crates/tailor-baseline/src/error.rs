//! What can go wrong between images and a fitted classifier.

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What was wrong, and what to do about it, in one sentence.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// Settings that no data could make sense of.
    #[error("{0}")]
    Settings(String),
    /// Settings that do not go with these images.
    #[error("{0}")]
    Unsuitable(String),
    /// Tensors of a file that are not those of the settings.
    #[error("{0}")]
    Mismatch(String),
    /// Whoever watches asked to stop.
    #[error("stopped before the classifier was fitted")]
    Stopped,
}
