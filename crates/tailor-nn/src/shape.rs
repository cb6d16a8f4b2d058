//! The shapes that flow between layers.

use std::fmt;

/// The shape of one image's values between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `[H, W, C]`
    Image {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Values a pixel.
        channels: usize,
    },
    /// `[T, D]`
    Tokens {
        /// Vectors in the sequence.
        tokens: usize,
        /// Values a vector.
        width: usize,
    },
    /// `[F]`
    Features(usize),
}

impl Shape {
    /// Values of one image.
    pub fn len(self) -> usize {
        match self {
            Shape::Image { height, width, channels } => height * width * channels,
            Shape::Tokens { tokens, width } => tokens * width,
            Shape::Features(n) => n,
        }
    }

    /// Whether no value is left.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The last axis: channels, a token's width or features.
    pub fn channels(self) -> usize {
        match self {
            Shape::Image { channels, .. } => channels,
            Shape::Tokens { width, .. } => width,
            Shape::Features(n) => n,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Shape::Image { height, width, channels } => write!(f, "{height}×{width}×{channels}"),
            Shape::Tokens { tokens, width } => write!(f, "{tokens}×{width}"),
            Shape::Features(n) => write!(f, "{n}"),
        }
    }
}
