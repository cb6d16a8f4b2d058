//! Photographs brought to one shape, from the cache where it has them, else from their files.

use std::io;
use std::panic::panic_any;
use std::path::{Path, PathBuf};

use crate::dataset::{ImageShape, Lost, MakeImage};
use crate::error::Result;
use crate::image_cache::{ImageCache, Key};
use crate::photo;
use crate::preparation::{Preparation, prepare};

/// A photograph that is to have a shape.
#[derive(Debug)]
pub(crate) struct Photograph {
    path: PathBuf,
    shape: ImageShape,
    /// Of its file as it was first seen; `None` if there is no cache for it.
    key: Option<Key>,
}

/// What became of an attempt to keep a photograph in the cache.
pub(crate) type Kept = io::Result<()>;

impl Photograph {
    pub(crate) fn new(path: &Path, shape: ImageShape, cache: Option<&ImageCache>) -> Photograph {
        Photograph { path: path.to_owned(), shape, key: cache.and_then(|cache| cache.key(path, shape)) }
    }

    /// Fills in its pixels, and keeps them in the cache.
    ///
    /// # Errors
    /// Those of decoding it, if the cache does not have it.
    pub(crate) fn read(&self, pixels: &mut [u8]) -> Result<()> {
        if self.key.as_ref().is_none_or(|key| !key.load(pixels)) {
            // Without room for it it is decoded once more the next time, and that is all.
            let _ = self.decode(pixels)?;
        }
        Ok(())
    }

    /// Sees to it that it can be read, at best from the cache.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn cache(&self) -> Result<Kept> {
        match &self.key {
            Some(key) if key.is_stored(self.shape.len()) => Ok(Ok(())),
            _ => self.decode(&mut vec![0; self.shape.len()]),
        }
    }

    fn decode(&self, pixels: &mut [u8]) -> Result<Kept> {
        pixels.copy_from_slice(&prepare(&photo::decode(&self.path)?, self.shape, Preparation::Resize));
        Ok(self.key.as_ref().map_or(Ok(()), |key| key.store(pixels)))
    }
}

/// Photographs that stay on disk.
#[derive(Debug)]
pub(crate) struct OnDisk(pub(crate) Vec<Photograph>);

impl MakeImage for OnDisk {
    fn make(&self, image: usize, pixels: &mut [u8]) {
        if let Err(error) = self.0[image].read(pixels) {
            panic_any(Lost(format!("{}; it was there when the data was opened", error.with_cause())));
        }
    }
}
