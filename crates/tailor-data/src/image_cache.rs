//! Photographs as they were brought to a size, kept on disk: decoding them is most of what opening a folder
//! takes, and neither the next run nor the next epoch need do it again.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::dataset::ImageShape;

/// Changes whenever the same file and shape give other pixels than before, or an error.
const VERSION: u32 = 2;

const SUM: usize = 32;

/// Bytes and nanoseconds since 1970.
type Stamp = [u8; 24];

/// A folder with a file for each photograph and shape: size and time of the photograph's file, the pixels, and
/// the SHA-256 sum of both. What does not fit or is damaged counts as missing, and is overwritten.
#[derive(Clone, Debug)]
pub(crate) struct ImageCache {
    folder: PathBuf,
}

/// Which state of which file an entry is made of.
#[derive(Debug)]
pub(crate) struct Key {
    entry: PathBuf,
    stamp: Stamp,
}

impl ImageCache {
    pub(crate) fn new(folder: PathBuf) -> ImageCache {
        ImageCache { folder }
    }

    /// The key of a photograph as it is now, to be asked for before it is decoded; `None` if the file system
    /// does not tell.
    pub(crate) fn key(&self, photo: &Path, shape: ImageShape) -> Option<Key> {
        let path = photo.canonicalize().ok()?;
        let metadata = fs::metadata(&path).ok()?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let mut stamp = Stamp::default();
        stamp[..8].copy_from_slice(&metadata.len().to_le_bytes());
        stamp[8..].copy_from_slice(&modified.as_nanos().to_le_bytes());
        let mut name = Sha256::new();
        name.update(format!("{VERSION} {shape} "));
        name.update(path.as_os_str().as_encoded_bytes());
        let name: String = name.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        Some(Key { entry: self.folder.join(&name[..2]).join(&name[2..]), stamp })
    }
}

impl Key {
    /// Whether there is an entry with so many bytes of pixels. It may turn out to be damaged when it is loaded.
    pub(crate) fn is_stored(&self, pixels: usize) -> bool {
        let mut stamp = Stamp::default();
        let length = File::open(&self.entry).and_then(|mut file| {
            file.read_exact(&mut stamp)?;
            file.metadata().map(|metadata| metadata.len())
        });
        length.is_ok_and(|length| length == (stamp.len() + pixels + SUM) as u64) && stamp == self.stamp
    }

    /// Fills `pixels` from the cache; false, and nothing filled, if there is no sound entry.
    pub(crate) fn load(&self, pixels: &mut [u8]) -> bool {
        let Ok(content) = fs::read(&self.entry) else { return false };
        let Some((content, sum)) = content.split_last_chunk::<SUM>() else { return false };
        let Some((stamp, stored)) = content.split_first_chunk() else { return false };
        let is_sound = *stamp == self.stamp
            && stored.len() == pixels.len()
            && Sha256::digest(content).as_slice() == sum.as_slice();
        if is_sound {
            pixels.copy_from_slice(stored);
        }
        is_sound
    }

    /// Keeps pixels, whole or not at all.
    ///
    /// # Errors
    /// If the disk is full or the folder cannot be written, which does no harm.
    pub(crate) fn store(&self, pixels: &[u8]) -> io::Result<()> {
        let folder = self.entry.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let content = [&self.stamp, pixels].concat();
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(&content)?;
        file.write_all(&Sha256::digest(&content))?;
        file.persist(&self.entry)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape::new(1, 4, 1);

    #[test]
    fn an_entry_is_found_again_until_the_photograph_or_the_shape_changes() {
        let folder = tempfile::tempdir().unwrap();
        let photo = folder.path().join("photo.jpg");
        fs::write(&photo, b"one").unwrap();
        let cache = ImageCache::new(folder.path().join("cache"));
        let key = cache.key(&photo, SHAPE).unwrap();
        let mut pixels = [0; 4];
        assert!(!key.load(&mut pixels));
        assert!(!key.is_stored(4));
        key.store(&[1, 2, 3, 4]).unwrap();
        assert!(key.load(&mut pixels));
        assert_eq!(pixels, [1, 2, 3, 4]);
        assert!(key.is_stored(4) && !key.is_stored(3));
        assert!(!cache.key(&photo, ImageShape::new(2, 2, 1)).unwrap().load(&mut [0; 4]));
        assert!(!cache.key(&photo, ImageShape::new(1, 4, 3)).unwrap().load(&mut [0; 12]));
        fs::write(&photo, b"another").unwrap();
        let changed = cache.key(&photo, SHAPE).unwrap();
        assert!(!changed.load(&mut pixels) && !changed.is_stored(4));
        assert!(cache.key(&folder.path().join("nowhere.jpg"), SHAPE).is_none());
    }

    #[test]
    fn a_damaged_entry_is_missing_and_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let photo = folder.path().join("photo.jpg");
        fs::write(&photo, b"one").unwrap();
        let key = ImageCache::new(folder.path().join("cache")).key(&photo, SHAPE).unwrap();
        key.store(&[1, 2, 3, 4]).unwrap();
        let whole = fs::read(&key.entry).unwrap();
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            fs::write(&key.entry, &damaged).unwrap();
            assert!(!key.load(&mut [0; 4]), "byte {position}");
            fs::write(&key.entry, &whole[..position]).unwrap();
            assert!(!key.load(&mut [0; 4]), "{position} bytes");
        }
        key.store(&[1, 2, 3, 4]).unwrap();
        assert!(key.load(&mut [0; 4]));
        // Nothing else is left in the cache.
        assert_eq!(fs::read_dir(key.entry.parent().unwrap()).unwrap().count(), 1);
    }
}
