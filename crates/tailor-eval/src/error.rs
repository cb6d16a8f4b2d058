//! What can be wrong with the numbers that are handed in.

use std::path::{Path, PathBuf};

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What was wrong, where, and what to do about it. Rows and images are counted from 0, lines of files from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing to tell apart.
    #[error("a classifier tells at least two classes apart, but {0} given; name every class of the model")]
    TooFewClasses(usize),

    /// Two classes of one name cannot be told apart in a table or a file.
    #[error("the class name {0:?} is given twice; rename one of the two classes")]
    DuplicateClass(String),

    /// The values do not fill the rows exactly.
    #[error(
        "{images} labels and {classes} classes need {} values, but {values} were given; \
         pass one value per image and class, row by row",
        images * classes
    )]
    ValueCount {
        /// Number of labels, N.
        images: usize,
        /// Number of classes, K.
        classes: usize,
        /// Number of probabilities or logits that came.
        values: usize,
    },

    /// A label that names no class.
    #[error(
        "the label of image {row} is {label}, but the {classes} classes are numbered 0 to {}; \
         check that labels and class names belong together",
        classes - 1
    )]
    LabelOutOfRange {
        /// The image.
        row: usize,
        /// Its label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },

    /// A logit that is NaN or infinite.
    #[error(
        "the logit of image {row} for class {class:?} is {value}; the model has diverged or its file is damaged, \
         so train again with a lower learning rate or take an earlier checkpoint"
    )]
    LogitNotFinite {
        /// The image.
        row: usize,
        /// The class.
        class: String,
        /// NaN or an infinity.
        value: f32,
    },

    /// A probability outside of 0 to 1.
    #[error("the probability of image {row} for class {class:?} is {value}; it must lie between 0 and 1")]
    NotAProbability {
        /// The image.
        row: usize,
        /// The class.
        class: String,
        /// The value that is no probability.
        value: f64,
    },

    /// A row that is no distribution.
    #[error(
        "the probabilities of image {row} sum to {sum}, not to 1; apply softmax to logits before, or use from_logits"
    )]
    RowSum {
        /// The image.
        row: usize,
        /// The sum of its probabilities.
        sum: f64,
    },

    /// No image, so no figure is defined.
    #[error("there are no images to evaluate; give at least one labeled image")]
    NoImages,

    /// A threshold that does not exist.
    #[error(
        "an accuracy of {:.1} % cannot be promised with 95 % certainty by the {images} images; {}",
        100.0 * wanted, reachable(*best, *images)
    )]
    AccuracyNotReached {
        /// The accuracy.
        wanted: f64,
        /// The images that a threshold was looked for on.
        images: usize,
        /// The highest accuracy that can be promised, and how many images are answered then.
        best: Option<(f64, usize)>,
    },

    /// A comparison of fewer than two.
    #[error("a comparison needs at least two runs")]
    NothingToCompare,

    /// Models of other classes.
    #[error(
        "{first} and {second} know other classes, or name or order them otherwise; compare runs on the same classes"
    )]
    OtherClasses {
        /// One run.
        first: String,
        /// The other one.
        second: String,
    },

    /// Models that were judged by other images.
    #[error(
        "{first} and {second} were judged by other images ({} of the one and {} of the other, labels in order); \
         compare runs on the same test images",
        sizes[0], sizes[1]
    )]
    OtherImages {
        /// One run.
        first: String,
        /// The other one.
        second: String,
        /// How many images each was judged by.
        sizes: [String; 2],
    },

    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A file was read, but what it says makes no sense.
    #[error("{}, line {line}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong there, and what is expected.
        problem: String,
    },

    /// Writing to a stream failed (a full disk, a closed pipe).
    #[error("cannot write: {0}; check that the disk has room")]
    Write(#[from] std::io::Error),
}

/// The remedy where an accuracy cannot be promised.
fn reachable(best: Option<(f64, usize)>, images: usize) -> String {
    match best {
        Some((accuracy, answered)) => format!(
            "the highest that can is {:.1} %, where {:.1} % of them are answered",
            100.0 * accuracy,
            100.0 * answered as f64 / images as f64
        ),
        None => "none can: they are too few, or too few of them are named correctly".to_owned(),
    }
}

impl Error {
    /// An [`Error::Content`] at a line of a file.
    pub(crate) fn content(path: &Path, line: u64, problem: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), line, problem: problem.into() }
    }

    /// What the `csv` crate met while reading `path`: the operating system's refusal or a malformed line.
    pub(crate) fn reading_csv(path: &Path, error: csv::Error) -> Self {
        let line = error.position().map_or(1, csv::Position::line);
        let problem = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!(
                    "{len} fields where the heading has {expected_len}; restore the missing part or remove the line"
                )
            }
            csv::ErrorKind::Deserialize { err, .. } => match err.field() {
                Some(column) => format!("column {}: {}; restore the value", column + 1, err.kind()),
                None => format!("{}; compare the heading with the documented one", err.kind()),
            },
            csv::ErrorKind::Utf8 { .. } => "text that is not UTF-8; save the file as UTF-8".to_owned(),
            _ => error.to_string(),
        };
        match error.into_kind() {
            csv::ErrorKind::Io(source) => Self::File { action: "read", path: path.to_owned(), source },
            _ => Self::content(path, line, problem),
        }
    }

    /// What the `csv` crate met while writing to a stream.
    pub(crate) fn writing_csv(error: csv::Error) -> Self {
        match error.into_kind() {
            csv::ErrorKind::Io(source) => Self::Write(source),
            other => Self::Write(std::io::Error::other(format!("{other:?}"))),
        }
    }
}
