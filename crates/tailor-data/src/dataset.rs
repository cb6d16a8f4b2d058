//! Labeled images in memory, and the training, validation and test parts that a source comes in.

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

/// Images of one shape, `[N, H, W, C]` of `u8`, with a label each and the names of the classes.
///
/// Cheap to clone; [`subset`](Self::subset) shares the pixels.
#[derive(Clone, Debug)]
pub struct Dataset {
    storage: Arc<Storage>,
    /// Which images of the storage, in which order.
    rows: Arc<[u32]>,
}

#[derive(Debug)]
struct Storage {
    shape: ImageShape,
    pixels: Vec<u8>,
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
        let images = u32::try_from(labels.len())
            .map_err(|_| Error::Dataset(format!("{} images are more than fit one data set", labels.len())))?;
        if let Some(i) = labels.iter().position(|&label| usize::from(label) >= class_names.len()) {
            return Err(Error::Dataset(format!(
                "image #{i} has the label {}, but there are {} classes",
                labels[i],
                class_names.len()
            )));
        }
        let storage = Storage { shape, pixels, labels, class_names, origins };
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
    /// If `i` is not below [`len`](Self::len), as indexing a slice does.
    pub fn image(&self, i: usize) -> &[u8] {
        let size = self.storage.shape.len();
        &self.storage.pixels[self.row(i) * size..][..size]
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

    /// The same images at another size: averaged by area where they shrink, linear where they grow.
    ///
    /// # Errors
    /// [`Error::Dataset`] if images cannot have this size.
    pub fn resized(&self, height: usize, width: usize) -> Result<Dataset> {
        let shape = self.shape();
        let (from, to) = ([shape.height, shape.width, shape.channels], ImageShape { height, width, ..shape });
        to.check()?;
        let mut pixels = vec![0; to.len() * self.len()];
        pixels.par_chunks_exact_mut(to.len()).enumerate().for_each(|(i, out)| {
            let rows = self.image(i).chunks_exact(shape.width * shape.channels);
            let mut rows = rows.map(|row| row.iter().copied().map(f32::from));
            let read_row = |_, row: &mut [f32]| {
                row.iter_mut().zip(rows.next().into_iter().flatten()).for_each(|(out, value)| *out = value);
            };
            let resized = Raster::resized_from(from, read_row, height, width);
            out.iter_mut().zip(&resized.values).for_each(|(out, value)| *out = value.round() as u8);
        });
        let labels = (0..self.len()).map(|i| self.label(i) as u16).collect();
        let origins = (0..self.len()).map(|i| self.origin(i)).collect();
        Self::with_origins(to, pixels, labels, self.class_names().to_vec(), Origins::Named(origins))
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
        assert_eq!((subset.image(0), subset.label(0)), (&[20, 21][..], 1));
        assert_eq!((subset.image(1), subset.label(1)), (&[30, 31][..], 0));
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
        assert_eq!((small.image(0), small.image(1)), (&[31][..], &[11][..]));
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
