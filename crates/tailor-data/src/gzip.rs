//! Files that may be compressed: gzip is recognized by content, not by name.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};

/// Deflate cannot expand a byte to more than 1,032 (zlib's technical notes, "Maximum Compression Factor").
const LARGEST_EXPANSION: u64 = 1032;

/// A file's content, decompressed while it is read.
pub(crate) struct Content {
    reader: Box<dyn Read + Send>,
    /// No more than this many bytes can come out of the file.
    pub(crate) most_bytes: u64,
    explanation: Explanation,
}

/// Knows what an error while reading a file means.
pub(crate) struct Explanation {
    path: PathBuf,
    compressed: bool,
}

impl Content {
    /// Opens a file and looks at its first two bytes.
    pub(crate) fn open(path: &Path) -> Result<Content> {
        let open = || -> io::Result<(File, u64, bool)> {
            let mut file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder, not a file"));
            }
            let mut magic = Vec::new();
            file.by_ref().take(2).read_to_end(&mut magic)?;
            file.rewind()?;
            Ok((file, metadata.len(), magic == [0x1f, 0x8b]))
        };
        let (file, bytes, compressed) = open().map_err(Error::io("read", path))?;
        let file = BufReader::with_capacity(1 << 16, file);
        let (reader, most_bytes): (Box<dyn Read + Send>, u64) = if compressed {
            (Box::new(MultiGzDecoder::new(file)), bytes.saturating_mul(LARGEST_EXPANSION))
        } else {
            (Box::new(file), bytes)
        };
        let explanation = Explanation { path: path.to_owned(), compressed };
        Ok(Content { reader, most_bytes, explanation })
    }

    /// Reads to the end, but at most `limit` bytes; memory grows with what is really there.
    pub(crate) fn read(&mut self, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.reader.by_ref().take(limit).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(self.explanation.of(source)),
        }
    }

    /// The reader itself, for a parser that goes line by line, and the explanation of its errors.
    pub(crate) fn into_parts(self) -> (Box<dyn Read + Send>, Explanation) {
        (self.reader, self.explanation)
    }
}

impl Explanation {
    /// Was it the operating system or the compressed content?
    pub(crate) fn of(&self, source: io::Error) -> Error {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        let path = self.path.clone();
        match source.kind() {
            UnexpectedEof if self.compressed => Error::Gzip { path, problem: "it ends too early".into() },
            InvalidData | InvalidInput if self.compressed => {
                Error::Gzip { path, problem: source.to_string() }
            }
            _ => Error::Io { action: "read", path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8], limit: u64) -> Result<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        Content::open(&path)?.read(limit)
    }

    #[test]
    fn plain_and_compressed_content_is_the_same() {
        let content: Vec<u8> = (0..=255).cycle().take(5000).collect();
        assert_eq!(read(&content, 9999).unwrap(), content);
        assert_eq!(read(&gzip(&content), 9999).unwrap(), content);
        assert_eq!(read(&gzip(&content), 10).unwrap(), content[..10]);
        assert!(read(&[], 10).unwrap().is_empty());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = gzip(b"two short lines\nof text\n");
        for length in 2..bytes.len() {
            let error = read(&bytes[..length], 9999).unwrap_err().to_string();
            assert!(error.contains("not a sound gzip file (it ends too early)"), "{length}: {error}");
        }
    }

    #[test]
    fn a_changed_byte_is_an_error() {
        let mut bytes = gzip(&[7; 100]);
        let sum = bytes.len() - 8;
        bytes[sum] ^= 1;
        assert!(read(&bytes, 9999).unwrap_err().to_string().contains("not a sound gzip file"));
    }
}
