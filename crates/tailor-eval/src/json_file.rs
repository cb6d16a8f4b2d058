//! Reading back what was written as JSON.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Reads a file that holds `what`, such as "evaluation", as `tailor evaluate` writes it.
///
/// # Errors
/// The file cannot be read, or is no such thing; the latter names the line.
pub fn read<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|error| {
        let problem = format!("this is no {what} ({error}); write it anew with `tailor evaluate`");
        Error::content(path, error.line().max(1) as u64, problem)
    })
}
