//! The folder of a run: its files, written so that none is ever half there, and its lock.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A run's folder, locked for as long as this value lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The operating system releases the lock when the process ends, however it ends.
    _lock: File,
}

/// Names of the files in a run's folder.
pub mod files {
    /// The resolved recipe.
    pub const RECIPE: &str = "recipe.toml";
    /// A row an epoch.
    pub const METRICS: &str = "metrics.csv";
    /// The kept weights, with all that prediction needs.
    pub const MODEL: &str = "model.safetensors";
    /// Where training stands.
    pub const CHECKPOINT: &str = "last.checkpoint";
    /// The figures on the test set.
    pub const EVALUATION: &str = "evaluation.json";
    /// The model's answer to every test image.
    pub const PREDICTIONS: &str = "predictions.csv";
    /// How fast the model predicted the test images.
    pub const TIMING: &str = "timing.json";
    /// The page.
    pub const REPORT: &str = "report.html";
    pub(super) const LOCK: &str = ".lock";
}

impl RunFolder {
    /// Makes and locks a folder for a new run.
    ///
    /// # Errors
    /// [`Error::Exists`] when a run is in it already, [`Error::InUse`] when another process holds it.
    pub fn create(path: &Path) -> Result<Self> {
        let folder = Self::lock(path)?;
        match folder.file(files::RECIPE).exists() {
            true => Err(Error::Exists(path.into())),
            false => Ok(folder),
        }
    }

    /// Makes and locks the first unused folder `parent/name-001`, `-002`, …
    ///
    /// # Errors
    /// [`Error::File`] when no folder can be made.
    pub fn create_next(parent: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(parent).map_err(|source| file_error("make the folder", parent, source))?;
        for number in 1.. {
            let path = parent.join(format!("{name}-{number:03}"));
            match fs::create_dir(&path) {
                Ok(()) => return Self::lock(&path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(file_error("make the folder", &path, source)),
            }
        }
        unreachable!("some number is unused")
    }

    /// Locks the folder of a run that is to be continued.
    ///
    /// # Errors
    /// [`Error::NotResumable`] when there is none, [`Error::InUse`] when another process holds it.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.join(files::RECIPE).exists() {
            return Err(Error::NotResumable(path.into(), format!("it has no {}", files::RECIPE)));
        }
        Self::lock(path)
    }

    fn lock(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(|source| file_error("make the folder", path, source))?;
        let name = path.join(files::LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&name);
        let lock = lock.map_err(|source| file_error("write to", path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(RunFolder { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse(path.into())),
            Err(TryLockError::Error(source)) => Err(file_error("lock", &name, source)),
        }
    }

    /// Gives up a folder in which nothing was written yet.
    ///
    /// # Errors
    /// [`Error::File`] when the lock cannot be removed.
    pub fn discard(self) -> Result<()> {
        let lock = self.file(files::LOCK);
        fs::remove_file(&lock).map_err(|source| file_error("remove", &lock, source))?;
        // It stays if the user has something else in it.
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of one of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Replaces one of its files.
    ///
    /// # Errors
    /// [`Error::File`]; the old file is then still whole.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        replace_file(&self.file(name), bytes)
    }
}

/// [`tailor_data::replace_file`], whose error names the file.
///
/// # Errors
/// [`Error::File`]; an old file of that name is then still whole.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    tailor_data::replace_file(path, bytes).map_err(|source| file_error("write", path, source))
}

pub(crate) fn file_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_runs_get_the_next_number() {
        let parent = tempfile::tempdir().unwrap();
        let first = RunFolder::create_next(parent.path(), "cnn").unwrap();
        let second = RunFolder::create_next(parent.path(), "cnn").unwrap();
        assert!(first.path().ends_with("cnn-001") && second.path().ends_with("cnn-002"));
    }

    #[test]
    fn a_folder_in_use_or_with_a_run_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let folder = RunFolder::create(&path).unwrap();
        assert!(matches!(RunFolder::create(&path), Err(Error::InUse(_))));
        folder.write(files::RECIPE, b"name = 'x'").unwrap();
        drop(folder);
        assert!(matches!(RunFolder::create(&path), Err(Error::Exists(_))));
        assert!(RunFolder::open(&path).is_ok());
        assert!(matches!(RunFolder::open(parent.path()), Err(Error::NotResumable(..))));
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        replace_file(&path, b"old").unwrap();
        // A folder cannot be replaced by a file.
        let folder = parent.path().join("folder");
        fs::create_dir(&folder).unwrap();
        assert!(replace_file(&folder, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 2);
    }
}
