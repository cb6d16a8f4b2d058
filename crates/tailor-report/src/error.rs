//! What can go wrong between figures and a page.

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What was wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Pixels that do not fill the picture.
    #[error(
        "a picture of {width} × {height} pixels and {channels} channels cannot have {bytes} bytes; \
         give width × height × channels bytes, with 1 channel (gray) or 3 (RGB), and no side of 0"
    )]
    PictureShape {
        /// In pixels.
        width: usize,
        /// In pixels.
        height: usize,
        /// Values a pixel.
        channels: usize,
        /// Bytes that came.
        bytes: usize,
    },

    /// An evaluation of other predictions.
    #[error(
        "the evaluation is of {evaluated} images, the predictions are of {predicted}; \
         give the predictions that the evaluation was computed from"
    )]
    Mismatch {
        /// Images and classes of the evaluation, in words.
        evaluated: String,
        /// Images and classes of the predictions, in words.
        predicted: String,
    },

    /// A map without a place for each image, or with labels that have no name.
    #[error(
        "a map of {mapped} cannot be drawn from {placed} places; give a place in each projection for each image, and a \
         name for each label"
    )]
    Unmapped {
        /// Images and classes, in words.
        mapped: String,
        /// Places of each projection.
        placed: String,
    },

    /// A grid that would show nothing.
    #[error("a picture grid needs at least one picture and one column; give both")]
    EmptyGrid,

    /// A drawing beyond what an image can hold.
    #[error("a picture of {width} × {height} pixels is too large to draw; show fewer pictures or classes")]
    TooLarge {
        /// In pixels.
        width: f64,
        /// In pixels.
        height: f64,
    },

    /// An image could not be encoded.
    #[error("cannot encode a picture: {0}")]
    Encode(#[from] image::ImageError),

    /// A drawing of this crate was no valid SVG, or its page no valid template: a defect here.
    #[error("cannot draw: {0}; please report this as a defect of the report, with the class names in use")]
    Draw(String),
}
