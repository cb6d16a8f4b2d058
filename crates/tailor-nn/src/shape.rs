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
    /// `[F]`
    Features(usize),
}

impl Shape {
    /// Values of one image.
    pub fn len(self) -> usize {
        match self {
            Shape::Image { height, width, channels } => height * width * channels,
            Shape::Features(n) => n,
        }
    }

    /// Whether no value is left.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The last axis: channels or features.
    pub fn channels(self) -> usize {
        match self {
            Shape::Image { channels, .. } => channels,
            Shape::Features(n) => n,
        }
    }

    /// Height and width alone.
    pub(crate) fn extent(self) -> String {
        match self {
            Shape::Image { height, width, .. } => format!("{height}×{width}"),
            Shape::Features(n) => n.to_string(),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Shape::Image { height, width, channels } => write!(f, "{height}×{width}×{channels}"),
            Shape::Features(n) => write!(f, "{n}"),
        }
    }
}
