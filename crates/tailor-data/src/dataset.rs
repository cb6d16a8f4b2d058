//! Labeled images, and the training, validation and test parts that a source comes in.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::resample::Raster;
use crate::split;

/// Height, width and channels of an image `[H, W, C]`; channels are 1 (gray) or 3 (RGB).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for gray, 3 for RGB.
    pub channels: usize,
}

impl ImageShape {
    /// A shape from its three sizes.
    pub const fn new(height: usize, width: usize, channels: usize) -> Self {
        Self { height, width, channels }
    }

    /// Bytes of one image: `height × width × channels`.
    #[expect(clippy::len_without_is_empty, reason = "a shape is never empty: `check` refuses zero sizes")]
    pub const fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Whether images can have this shape.
    ///
    /// # Errors
    /// [`Error::Dataset`] if a side is 0 or above 16,384, or the channels are neither 1 nor 3.
    pub fn check(&self) -> Result<()> {
        const LARGEST_SIDE: usize = 1 << 14;
        let side = 1..=LARGEST_SIDE;
        if !side.contains(&self.height) || !side.contains(&self.width) {
            return Err(Error::Dataset(format!(
                "images of {self} are not possible: each side is 1 to {LARGEST_SIDE}"
            )));
        }
        if self.channels != 1 && self.channels != 3 {
            return Err(Error::Dataset(format!(
                "images have 1 channel (gray) or 3 (RGB), not {}",
                self.channels
            )));
        }
        Ok(())
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.height, self.width, self.channels)
    }
}

/// Where the images of a [`Dataset`] came from, to tell a person which one is meant.
#[derive(Debug)]
pub(crate) enum Origins {
    /// Entries of one file or list of this name.
    Numbered(String),
    /// A file each.
    Files(Vec<PathBuf>),
    /// As another data set called them.
    Named(Vec<String>),
}

/// Where the pixels of a data set are.
#[derive(Debug)]
enum Pixels {
    /// In memory, `[N, H, W, C]`.
    Held(Vec<u8>),
    /// Wherever they are made from when an image is looked at.
    Made(Box<dyn MakeImage>),
}

/// Images that together are too large for the memory.
pub(crate) trait MakeImage: fmt::Debug + Send + Sync {
    /// Fills in the pixels `[H, W, C]` of an image, the same each time.
    ///
    /// # Panics
    /// With a [`Lost`], if they can no longer be had.
    fn make(&self, image: usize, pixels: &mut [u8]);
}

/// What a thread panics with when an image could be read when its data set was opened, and no longer can: a sentence
/// that names it.
#[derive(Debug)]
pub struct Lost(pub String);

/// Images of one shape, `[N, H, W, C]` of `u8`, with a label each and the names of the classes.
///
/// Cheap to clone; [`subset`](Self::subset) shares the pixels. They are in memory, or, of photographs that would take
/// too much of it, on disk.
#[derive(Clone, Debug)]
pub struct Dataset {
    storage: Arc<Storage>,
    /// Which images of the storage, in which order.
    rows: Arc<[u32]>,
}

#[derive(Debug)]
struct Storage {
    shape: ImageShape,
    pixels: Pixels,
    labels: Vec<u16>,
    class_names: Vec<String>,
    origins: Origins,
}

impl Dataset {
    /// A data set from pixels `[N, H, W, C]`, `N` labels, and a name for every class.
    ///
    /// # Errors
    /// [`Error::Dataset`] if the lengths disagree, the shape is impossible, or a label has no class name.
    pub fn new(
        shape: ImageShape,
        pixels: Vec<u8>,
        labels: Vec<u16>,
        class_names: Vec<String>,
    ) -> Result<Dataset> {
        Self::with_origins(shape, pixels, labels, class_names, Origins::Numbered("image".into()))
    }

    pub(crate) fn with_origins(
        shape: ImageShape,
        pixels: Vec<u8>,
        labels: Vec<u16>,
        class_names: Vec<String>,
        origins: Origins,
    ) -> Result<Dataset> {
        shape.check()?;
        if labels.len().checked_mul(shape.len()) != Some(pixels.len()) {
            return Err(Error::Dataset(format!(
                "{} labels and {} bytes of pixels; {shape} images need {} bytes each",
                labels.len(),
                pixels.len(),
                shape.len()
            )));
        }
        Self::of(Storage { shape, pixels: Pixels::Held(pixels), labels, class_names, origins })
    }

    /// A data set whose images are made whenever one is looked at.
    pub(crate) fn made(
        shape: ImageShape,
        maker: impl MakeImage + 'static,
        labels: Vec<u16>,
        class_names: Vec<String>,
        origins: Origins,
    ) -> Result<Dataset> {
        shape.check()?;
        Self::of(Storage { shape, pixels: Pixels::Made(Box::new(maker)), labels, class_names, origins })
    }

    fn of(storage: Storage) -> Result<Dataset> {
        let Storage { labels, class_names, .. } = &storage;
        let images = u32::try_from(labels.len())
            .map_err(|_| Error::Dataset(format!("{} images are more than fit one data set", labels.len())))?;
        if let Some(i) = labels.iter().position(|&label| usize::from(label) >= class_names.len()) {
            return Err(Error::Dataset(format!(
                "image #{i} has the label {}, but there are {} classes",
                labels[i],
                class_names.len()
            )));
        }
        Ok(Dataset { storage: Arc::new(storage), rows: (0..images).collect() })
    }

    /// Images.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The shape of every image.
    pub fn shape(&self) -> ImageShape {
        self.storage.shape
    }

    /// A name for every class; the label is its position.
    pub fn class_names(&self) -> &[String] {
        &self.storage.class_names
    }

    /// Classes, also those without an image here.
    pub fn classes(&self) -> usize {
        self.storage.class_names.len()
    }

    /// The label of image `i`, below [`classes`](Self::classes).
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len), as indexing a slice does.
    pub fn label(&self, i: usize) -> usize {
        usize::from(self.storage.labels[self.row(i)])
    }

    /// The pixels of image `i`, `[H, W, C]`.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len), as indexing a slice does; with a [`Lost`], if the image is on disk and can
    /// no longer be read.
    pub fn image(&self, i: usize) -> Cow<'_, [u8]> {
        let (row, size) = (self.row(i), self.storage.shape.len());
        match &self.storage.pixels {
            Pixels::Held(pixels) => Cow::Borrowed(&pixels[row * size..][..size]),
            Pixels::Made(maker) => {
                let mut pixels = vec![0; size];
                maker.make(row, &mut pixels);
                Cow::Owned(pixels)
            }
        }
    }

    /// The pixels of several images, `[N, H, W, C]`.
    ///
    /// # Panics
    /// As [`image`](Self::image).
    pub fn pixels(&self, images: impl ExactSizeIterator<Item = usize>) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(images.len() * self.shape().len());
        images.for_each(|i| pixels.extend_from_slice(&self.image(i)));
        pixels
    }

    /// The source of image `i`: the path of its file, or a file's name and the entry's number, counted
    /// from 0, as in "train-images #123".
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len), as indexing a slice does.
    pub fn origin(&self, i: usize) -> String {
        let row = self.row(i);
        match &self.storage.origins {
            Origins::Numbered(name) => format!("{name} #{row}"),
            Origins::Files(paths) => paths[row].display().to_string(),
            Origins::Named(names) => names[row].clone(),
        }
    }

    /// The images at `indices`, in that order, sharing the pixels.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len), as indexing a slice does.
    pub fn subset(&self, indices: &[usize]) -> Dataset {
        let rows = indices.iter().map(|&i| self.rows[i]).collect();
        Dataset { storage: Arc::clone(&self.storage), rows }
    }

    /// At most `n` images, the classes in the proportions that they have here, chosen by `seed` and left in
    /// their order.
    pub fn limit(&self, n: usize, seed: u64) -> Dataset {
        if n >= self.len() { self.clone() } else { self.subset(&split::stratified_choice(self, n, seed)) }
    }

    /// The same images at another size: averaged by area where they shrink, linear where they grow. Of images on disk
    /// each is resized whenever it is looked at; see [`into_memory`](Self::into_memory).
    ///
    /// # Errors
    /// [`Error::Dataset`] if images cannot have this size.
    pub fn resized(&self, height: usize, width: usize) -> Result<Dataset> {
        let shape = ImageShape { height, width, ..self.shape() };
        shape.check()?;
        let resized = Resized { images: self.clone(), shape };
        let pixels = match &self.storage.pixels {
            Pixels::Held(_) => Pixels::Held(self.all_made(shape, |i, out| resized.make(i, out))),
            Pixels::Made(_) => Pixels::Made(Box::new(resized)),
        };
        self.with_pixels(shape, pixels)
    }

    /// The same images in memory.
    ///
    /// # Panics
    /// As [`image`](Self::image).
    pub fn into_memory(self) -> Dataset {
        if matches!(self.storage.pixels, Pixels::Held(_)) {
            return self;
        }
        let shape = self.shape();
        let pixels = self.all_made(shape, |i, out| out.copy_from_slice(&self.image(i)));
        self.with_pixels(shape, Pixels::Held(pixels)).expect("the labels were checked before")
    }

    /// Pixels `[N, H, W, C]` of as many images as these, made in parallel.
    fn all_made(&self, shape: ImageShape, make: impl Fn(usize, &mut [u8]) + Sync) -> Vec<u8> {
        let mut pixels = vec![0; shape.len() * self.len()];
        pixels.par_chunks_exact_mut(shape.len()).enumerate().for_each(|(i, out)| make(i, out));
        pixels
    }

    /// These images' labels and origins with other pixels, which are theirs in this order.
    fn with_pixels(&self, shape: ImageShape, pixels: Pixels) -> Result<Dataset> {
        let labels = (0..self.len()).map(|i| self.label(i) as u16).collect();
        let origins = Origins::Named((0..self.len()).map(|i| self.origin(i)).collect());
        Self::of(Storage { shape, pixels, labels, class_names: self.class_names().to_vec(), origins })
    }

    /// Images per class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes()];
        for &row in self.rows.iter() {
            counts[usize::from(self.storage.labels[row as usize])] += 1;
        }
        counts
    }

    fn row(&self, i: usize) -> usize {
        self.rows[i] as usize
    }
}

/// Images at another size.
#[derive(Debug)]
struct Resized {
    images: Dataset,
    /// The new one, of as many channels.
    shape: ImageShape,
}

impl MakeImage for Resized {
    fn make(&self, image: usize, pixels: &mut [u8]) {
        let (from, to) = (self.images.shape(), self.shape);
        let image = self.images.image(image);
        let mut rows = image.chunks_exact(from.width * from.channels);
        let read_row = |_, out: &mut [f32]| {
            let row = rows.next().into_iter().flatten();
            out.iter_mut().zip(row).for_each(|(out, &value)| *out = f32::from(value));
        };
        let resized =
            Raster::resized_from([from.height, from.width, from.channels], read_row, to.height, to.width);
        pixels.iter_mut().zip(&resized.values).for_each(|(out, value)| *out = value.round() as u8);
    }
}

/// The parts that a source comes in.
#[derive(Clone, Debug)]
pub struct Splits {
    /// What the data set is called, such as "Fashion-MNIST" or the name of its folder.
    pub name: String,
    /// What a model learns from.
    pub train: Dataset,
    /// What settings are chosen by, if the source has such a part of its own.
    pub validation: Option<Dataset>,
    /// What the result is measured on.
    pub test: Option<Dataset>,
    /// What a person should know, a sentence each: skipped files, resized images …
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| i.to_string()).collect()
    }

    /// Four 1×2 gray images with the labels 0 1 1 0; the pixels of image i are 10i and 10i + 1.
    fn four() -> Dataset {
        let pixels = vec![0, 1, 10, 11, 20, 21, 30, 31];
        Dataset::new(ImageShape::new(1, 2, 1), pixels, vec![0, 1, 1, 0], names(2)).unwrap()
    }

    #[test]
    fn a_subset_of_a_subset_names_the_original_image() {
        let subset = four().subset(&[3, 1, 2]).subset(&[2, 0]);
        assert_eq!(subset.len(), 2);
        assert_eq!((&*subset.image(0), subset.label(0)), (&[20, 21][..], 1));
        assert_eq!((&*subset.image(1), subset.label(1)), (&[30, 31][..], 0));
        assert_eq!(subset.origin(1), "image #3");
        assert_eq!(subset.class_counts(), [1, 1]);
    }

    #[test]
    fn lengths_labels_and_shapes_are_checked() {
        struct Case(ImageShape, usize, Vec<u16>, &'static str);
        for Case(shape, bytes, labels, reason) in [
            Case(ImageShape::new(1, 2, 1), 3, vec![0, 1], "2 labels and 3 bytes"),
            Case(ImageShape::new(1, 2, 1), 4, vec![0, 2], "image #1 has the label 2, but there are 2"),
            Case(ImageShape::new(1, 2, 2), 4, vec![0], "1 channel (gray) or 3 (RGB), not 2"),
            Case(ImageShape::new(0, 2, 1), 0, vec![], "images of 0×2×1 are not possible"),
            Case(ImageShape::new(usize::MAX, 2, 1), 0, vec![], "each side is 1 to 16384"),
        ] {
            let error = Dataset::new(shape, vec![0; bytes], labels, names(2)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn resized_images_keep_labels_and_origins() {
        let small = four().subset(&[3, 1]).resized(1, 1).unwrap();
        // The means of 30, 31 and 10, 11; halves are rounded up.
        assert_eq!(small.pixels(0..2), [31, 11]);
        assert_eq!((small.label(1), small.origin(0)), (1, "image #3".into()));
        assert!(four().resized(0, 1).is_err());
    }

    #[test]
    fn a_limit_keeps_proportions_and_order() {
        let labels = [vec![0; 6], vec![1; 3]].concat();
        let data = Dataset::new(ImageShape::new(1, 1, 1), (0..9).collect(), labels, names(2)).unwrap();
        let limited = data.limit(3, 7);
        assert_eq!(limited.class_counts(), [2, 1]);
        let pixels: Vec<u8> = (0..3).map(|i| limited.image(i)[0]).collect();
        assert!(pixels.is_sorted());
        assert_eq!(data.limit(100, 7).len(), 9);
        assert_eq!(data.limit(0, 7).len(), 0);
    }

    #[test]
    fn a_shape_reads_as_height_width_channels() {
        assert_eq!(ImageShape::new(28, 24, 3).to_string(), "28×24×3");
        assert_eq!(ImageShape::new(28, 24, 3).len(), 2016);
    }
}
