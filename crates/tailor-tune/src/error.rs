//! What can go wrong with a study.

use std::path::{Path, PathBuf};

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What was wrong, where, and what to do about it, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A range or a space file that cannot be used.
    #[error("{place}: {reason}")]
    Space {
        /// The option, or the file and the parameter.
        place: String,
        /// What is wrong, and what would help.
        reason: String,
    },
    /// The folder holds no study.
    #[error("{0} holds no study; start one with: tailor tune RECIPE --vary … --study {0}")]
    NoStudy(PathBuf),
    /// The folder holds a study that was begun with something else.
    #[error(
        "{path} holds a study with {what}; go on with it by giving --study alone, or choose another folder"
    )]
    OtherStudy {
        /// Which folder.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// A line of the journal is not ours.
    #[error("{path}, line {line}: {reason}; the line was changed by something else, take it out to go on")]
    Journal {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of the study cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// read, write, lock, …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Error::File { action, path: path.into(), source }
    }
}
