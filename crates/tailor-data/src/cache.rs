//! The folders in which published data sets lie.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::official::Official;

/// The folder for downloads: `$TAILOR_CACHE`, else `tailor` in `$XDG_CACHE_HOME`, else what is usual on the
/// system (`~/.cache/tailor`; `~/Library/Caches/tailor` on macOS; `%LOCALAPPDATA%\tailor` on Windows).
/// `None` if the environment names none of them.
pub fn cache_dir() -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual = || {
        if cfg!(windows) {
            variable("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            variable("HOME").map(|home| home.join("Library").join("Caches"))
        } else {
            variable("HOME").map(|home| home.join(".cache"))
        }
    };
    variable("TAILOR_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").or_else(usual).map(|caches| caches.join("tailor")))
}

/// Finds a published data set: `data/<name>` in the current folder or one above it, then in the source tree
/// that the program was built from, then in [`cache_dir`].
///
/// # Errors
/// [`Error::NotFound`] with the places.
pub(crate) fn locate(official: &Official) -> Result<PathBuf> {
    let current = env::current_dir().unwrap_or_default();
    let source_tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let above = current.ancestors().chain([source_tree.as_path()]);
    let places: Vec<PathBuf> = above
        .map(|folder| folder.join("data").join(official.key))
        .chain(cache_dir().map(|cache| cache.join(official.key)))
        .collect();
    places.iter().find(|folder| is_complete(folder, official)).cloned().ok_or_else(|| Error::NotFound {
        dataset: official.name,
        key: official.key,
        searched: searched(&current, official, &places),
    })
}

fn is_complete(folder: &Path, official: &Official) -> bool {
    official
        .files()
        .all(|file| folder.join(file.name).is_file() || folder.join(file.unpacked_name()).is_file())
}

fn searched(current: &Path, official: &Official, places: &[PathBuf]) -> String {
    let below = format!("data/{} under {} and the folders above it", official.key, current.display());
    let cache = places.last().filter(|_| cache_dir().is_some());
    cache.map_or_else(|| below.clone(), |cache| format!("{below}, and in {}", cache.display()))
}
