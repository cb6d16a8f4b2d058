//! What can be wrong with a wish for an explanation.

use crate::Method;

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What was wrong, and what to do about it, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The method does not work on this kind of model.
    #[error("{method} {reason}; use {instead}")]
    Unsuitable {
        /// What was asked for.
        method: Method,
        /// Why it cannot be.
        reason: String,
        /// What works.
        instead: &'static str,
    },
    /// No layer of this name, or not one that gives an image.
    #[error("no layer {name:?} gives an image that heat could be drawn from; those that do are {known}")]
    UnknownLayer {
        /// What was asked for.
        name: String,
        /// The names of the others.
        known: String,
    },
    /// A layer for a method that looks at the input.
    #[error("{0} looks at the image itself, and at no layer; leave --layer out, or use --method grad-cam")]
    NoLayer(Method),
    /// Too few images for a map.
    #[error("a map needs at least {least} images, but there are {images}")]
    TooFewImages {
        /// What it takes.
        least: usize,
        /// What there are.
        images: usize,
    },
}
