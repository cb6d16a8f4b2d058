//! What can be wrong with data, in one sentence each: what, where, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::official::Sum;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that reading, preparing or fetching data can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file or a folder.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// "read", "write", "create the folder" …
        action: &'static str,
        /// The file or folder in question.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// A gzip stream ends early or does not decode.
    #[error("{} is not a sound gzip file ({problem}); fetch or copy it again", path.display())]
    Gzip {
        /// The damaged file.
        path: PathBuf,
        /// What the decoder said.
        problem: String,
    },

    /// A file is not the IDX file that its header or its neighbor says it is.
    #[error("{} is not a valid IDX file: {problem}", path.display())]
    Idx {
        /// The file.
        path: PathBuf,
        /// What is wrong, and with which entry.
        problem: String,
    },

    /// A line of a CSV file is not `label,pixel1..pixelN`.
    #[error("{}, line {line}: {problem}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Counted from 1, the header included.
        line: u64,
        /// What is wrong with the line.
        problem: String,
    },

    /// An image cannot be decoded, or is larger than this crate decodes.
    #[error("cannot decode the image {name}: {problem}")]
    Image {
        /// The file, or what the caller called the bytes.
        name: String,
        /// What the decoder said.
        problem: String,
    },

    /// A folder does not have the form of a data set.
    #[error("{}: {problem}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is missing or in excess.
        problem: String,
    },

    /// A file of a published data set differs from the published one.
    #[error(
        "{} is not the official file of {dataset}: its content has the SHA-256 sum {}…, the official one {}…; \
         {advice}",
        path.display(), found.abbreviated(), expected.abbreviated()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// "Fashion-MNIST" or "MNIST".
        dataset: &'static str,
        /// The sum of the published content.
        expected: Sum,
        /// The sum of the content found.
        found: Sum,
        /// What such a file may be, and what to do.
        advice: &'static str,
    },

    /// A published data set lies in none of the places where it is looked for.
    #[error("{dataset} was not found (looked in {searched}); get it with `tailor data fetch {key}`")]
    NotFound {
        /// "Fashion-MNIST" or "MNIST".
        dataset: &'static str,
        /// The name under which it is fetched.
        key: &'static str,
        /// The folders, separated by commas.
        searched: String,
    },

    /// A path holds nothing that this crate reads.
    #[error(
        "{} is not a data set: expected IDX files, a CSV file, or a folder with one folder of images a class",
        path.display()
    )]
    UnknownFormat {
        /// The path.
        path: PathBuf,
    },

    /// Parts of a data set do not fit together.
    #[error("inconsistent data set: {0}")]
    Dataset(String),

    /// A split that was asked for cannot be made.
    #[error("cannot split off {asked} of {total} images: {problem}")]
    Split {
        /// Images wanted in the validation part.
        asked: usize,
        /// Images there are.
        total: usize,
        /// What prevents it, and what to do.
        problem: String,
    },

    /// An augmentation has an impossible value.
    #[error("augmentation `{name}`: {problem}")]
    Augmentation {
        /// Its name in a recipe, such as `rotate`.
        name: &'static str,
        /// The value and what is allowed.
        problem: String,
    },

    /// A name that cannot be fetched.
    #[error("there is no data set called {name:?} to fetch; known are fashion-mnist and mnist")]
    UnknownName {
        /// The name.
        name: String,
    },

    /// A download failed.
    #[error("cannot download {url}: {problem}; check the network, or put the file at {} by hand", path.display())]
    Fetch {
        /// What was asked for.
        url: String,
        /// What the network or the server said.
        problem: String,
        /// Where the file belongs.
        path: PathBuf,
    },
}

impl Error {
    /// The sentence with what the operating system said, if it said anything.
    pub(crate) fn with_cause(&self) -> String {
        match self {
            Error::Io { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }

    /// Wraps an operating system's error, for `map_err(Error::io("read", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }

    pub(crate) fn folder(path: &Path, problem: impl Into<String>) -> Error {
        Error::Folder { path: path.to_owned(), problem: problem.into() }
    }
}
