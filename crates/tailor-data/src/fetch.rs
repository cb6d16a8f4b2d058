//! Downloading a published data set: into a file beside its place, checked, then renamed into it.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;
use ureq::Agent;

use crate::error::{Error, Result};
use crate::official::{Official, OfficialFile, Sum};

/// A server that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Bytes of it that are there.
    pub bytes: u64,
    /// Bytes it will have, if the server says so.
    pub total: Option<u64>,
}

/// Downloads "fashion-mnist" or "mnist" into a folder of that name in `cache_dir`, and returns the folder.
///
/// Files that are there and right are kept. A file appears under its name only when its content has the
/// published SHA-256 sum; what was half downloaded is removed. `base_url` stands for the published address
/// of the files and is that of a mirror, or of a test.
///
/// # Errors
/// [`Error::UnknownName`]; [`Error::Fetch`] if the network fails or is too slow; [`Error::Checksum`] or
/// [`Error::Gzip`] if other content arrives; [`Error::Io`] if the folder cannot be written.
pub fn fetch(
    name: &str,
    cache_dir: &Path,
    base_url: Option<&str>,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf> {
    let official = Official::named(name)?;
    let folder = cache_dir.join(official.key);
    fs::create_dir_all(&folder).map_err(Error::io("create the folder", &folder))?;
    let agent: Agent = Agent::config_builder()
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .build()
        .into();
    let address = base_url.unwrap_or(official.address).trim_end_matches('/');
    for file in official.files() {
        let download = Download { agent: &agent, url: format!("{address}/{}", file.name), official, file };
        download.run(&folder, progress)?;
    }
    Ok(folder)
}

struct Download<'a> {
    agent: &'a Agent,
    url: String,
    official: &'a Official,
    file: &'a OfficialFile,
}

impl Download<'_> {
    fn run(&self, folder: &Path, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let path = folder.join(self.file.name);
        if path.is_file() && self.sum_of(&path).is_ok_and(|sum| sum == self.file.sum) {
            return Ok(());
        }
        let mut part =
            NamedTempFile::with_prefix_in(".part-", folder).map_err(Error::io("write in", folder))?;
        self.receive(&path, &mut part, progress)?;
        let found = self.sum_of(part.path()).map_err(|error| self.not_gzip(error))?;
        self.official.check_sum(self.file, Path::new(&self.url), found)?;
        part.persist(&path).map_err(|error| error.error).map_err(Error::io("write", &path))?;
        Ok(())
    }

    /// Writes what the server sends into `part`.
    fn receive(
        &self,
        path: &Path,
        part: &mut NamedTempFile,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let failure =
            |problem: String| Error::Fetch { url: self.url.clone(), problem, path: path.to_owned() };
        let mut response = self.agent.get(&self.url).call().map_err(|error| failure(error.to_string()))?;
        let total = response.body().content_length();
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        let mut bytes = 0;
        loop {
            progress(Progress { file: self.file.name, bytes, total });
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failure(error.to_string())),
            };
            bytes += read as u64;
            // No compressed file is longer than its content by more than a header.
            if bytes > self.file.bytes + 1024 {
                return Err(failure(format!(
                    "it sends more than the {} bytes of the content",
                    self.file.bytes
                )));
            }
            part.write_all(&buffer[..read]).map_err(Error::io("write", part.path()))?;
        }
        match total {
            Some(total) if bytes < total => Err(failure(format!("it ends after {bytes} of {total} bytes"))),
            _ => Ok(()),
        }
    }

    /// The sum of the uncompressed content, of which one byte too many is as wrong as a thousand.
    fn sum_of(&self, path: &Path) -> Result<Sum> {
        Sum::of_file(path, self.file.bytes + 1)
    }

    /// Names the address instead of the temporary file.
    fn not_gzip(&self, error: Error) -> Error {
        match error {
            Error::Gzip { problem, .. } => Error::Gzip { path: PathBuf::from(&self.url), problem },
            other => other,
        }
    }
}
