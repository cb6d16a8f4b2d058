//! Downloading what is published: into a file beside its place, checked, then renamed into it. A download that was cut off
//! goes on from there.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Agent;
use ureq::http::header::CONTENT_RANGE;

use crate::error::{Error, Result};
use crate::official::{Official, Sum};

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

/// A single file at a lasting address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// What it holds, for people.
    pub title: &'static str,
    /// Its name in the cache.
    pub name: &'static str,
    /// Where it is published.
    pub url: &'static str,
    /// How long it is.
    pub bytes: u64,
    /// Of its content.
    pub sum: Sum,
}

impl Published {
    /// Its place in a folder, if it is there and right.
    pub fn find(&self, folder: &Path) -> Option<PathBuf> {
        let path = folder.join(self.name);
        (path.is_file() && self.check(&path, &path).is_ok()).then_some(path)
    }

    /// Downloads it into a folder, unless it is there, and returns its place. `url` stands for the published address and is
    /// that of a mirror, or of a test.
    ///
    /// # Errors
    /// As [`fetch`], of a single file.
    pub fn fetch(
        &self,
        folder: &Path,
        url: Option<&str>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf> {
        if let Some(path) = self.find(folder) {
            return Ok(path);
        }
        fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
        let url = url.unwrap_or(self.url).to_owned();
        let check = |part: &Path| self.check(part, Path::new(&url));
        let download =
            Download { agent: &agent(), url: url.clone(), folder, name: self.name, most: self.bytes };
        download.run(&check, progress)?;
        Ok(folder.join(self.name))
    }

    /// Whether a file holds the published content; `place` is what it is called in the error.
    fn check(&self, path: &Path, place: &Path) -> Result<()> {
        match Sum::of_file(path, self.bytes + 1)? {
            found if found == self.sum => Ok(()),
            found => Err(Error::Checksum {
                path: place.to_owned(),
                dataset: self.title,
                expected: self.sum,
                found,
                advice: "remove it and let it be fetched again",
            }),
        }
    }
}

/// Downloads "fashion-mnist" or "mnist" into a folder of that name in `cache_dir`, and returns the folder.
///
/// Files that are there and right are kept. A file appears under its name only when its content has the
/// published SHA-256 sum; what was half downloaded is kept beside it as `.NAME.part` and completed the next time.
/// `base_url` stands for the published address of the files and is that of a mirror, or of a test.
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
    let agent = agent();
    let address = base_url.unwrap_or(official.address).trim_end_matches('/');
    for file in official.files() {
        // The sum is of the uncompressed content, of which one byte too many is as wrong as a thousand.
        let sum_of = |path: &Path| Sum::of_file(path, file.bytes + 1);
        let path = folder.join(file.name);
        if path.is_file() && sum_of(&path).is_ok_and(|sum| sum == file.sum) {
            continue;
        }
        let url = format!("{address}/{}", file.name);
        let check = |part: &Path| {
            let found = sum_of(part).map_err(|error| at_address(error, &url))?;
            official.check_sum(file, Path::new(&url), found)
        };
        // No compressed file is longer than its content by more than a header.
        let most = file.bytes + 1024;
        let download = Download { agent: &agent, url: url.clone(), folder: &folder, name: file.name, most };
        download.run(&check, progress)?;
    }
    Ok(folder)
}

fn agent() -> Agent {
    Agent::config_builder()
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .build()
        .into()
}

/// Names the address instead of the unfinished file.
fn at_address(error: Error, url: &str) -> Error {
    match error {
        Error::Gzip { problem, .. } => Error::Gzip { path: PathBuf::from(url), problem },
        other => other,
    }
}

struct Download<'a> {
    agent: &'a Agent,
    url: String,
    folder: &'a Path,
    name: &'a str,
    /// Bytes that it has at most.
    most: u64,
}

impl Download<'_> {
    /// Completes the unfinished file, checks it, and gives it its name.
    fn run(&self, check: &dyn Fn(&Path) -> Result<()>, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let path = self.folder.join(self.name);
        let part = self.folder.join(format!(".{}.part", self.name));
        let mut file = File::options()
            .create(true)
            .read(true)
            .append(true)
            .open(&part)
            .map_err(Error::io("write", &part))?;
        // Another process that downloads the same waits here, and then finds it done.
        file.lock().map_err(Error::io("lock", &part))?;
        if !part.exists() && path.is_file() {
            return Ok(());
        }
        let received = self.receive(&mut file, &part, progress).and_then(|()| {
            file.sync_all().map_err(Error::io("write", &part))?;
            check(&part)
        });
        match received {
            Ok(()) => fs::rename(&part, &path).map_err(Error::io("write", &path)),
            // What arrived so far was right.
            Err(Error::Fetch { path, url, problem }) if file.metadata().is_ok_and(|file| file.len() > 0) => {
                let problem =
                    format!("{problem}; what arrived is kept, and the next attempt goes on from there");
                Err(Error::Fetch { path, url, problem })
            }
            Err(error) => {
                // It is of no use; that it may stay does no harm.
                let _ = fs::remove_file(&part);
                Err(error)
            }
        }
    }

    /// Appends to `file` what the server has beyond it.
    fn receive(&self, file: &mut File, part: &Path, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let failure = |problem: String| Error::Fetch {
            url: self.url.clone(),
            problem,
            path: self.folder.join(self.name),
        };
        let wrote = || Error::io("write", part);
        let mut bytes = file.seek(SeekFrom::End(0)).map_err(wrote())?;
        // Packed on the way, a range would be one of other bytes.
        let request = || self.agent.get(&self.url).header("Accept-Encoding", "identity");
        let resumed = match bytes {
            0 => None,
            _ => match request().header("Range", format!("bytes={bytes}-")).call() {
                Ok(response) if is_from(&response, bytes) => Some(response),
                // The server knows no ranges, or has another file now.
                Ok(_) | Err(ureq::Error::StatusCode(416)) => None,
                Err(error) => return Err(failure(error.to_string())),
            },
        };
        let mut response = match resumed {
            Some(response) => response,
            None => {
                file.set_len(0).map_err(wrote())?;
                bytes = 0;
                request().call().map_err(|error| failure(error.to_string()))?
            }
        };
        let total = response.body().content_length().map(|rest| bytes + rest);
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            progress(Progress { file: self.name, bytes, total });
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failure(error.to_string())),
            };
            bytes += read as u64;
            if bytes > self.most {
                // Nothing of it is to be gone on from.
                file.set_len(0).map_err(wrote())?;
                return Err(failure(format!("it sends more than the {} bytes that it can have", self.most)));
            }
            file.write_all(&buffer[..read]).map_err(wrote())?;
        }
        match total {
            Some(total) if bytes < total => Err(failure(format!("it ends after {bytes} of {total} bytes"))),
            _ => Ok(()),
        }
    }
}

/// Whether a server sends what follows the first `bytes` bytes.
fn is_from<B>(response: &ureq::http::Response<B>, bytes: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    response.status() == 206 && range.is_some_and(|range| range.starts_with(&format!("bytes {bytes}-")))
}
