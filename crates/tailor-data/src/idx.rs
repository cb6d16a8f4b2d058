//! The IDX format of MNIST: big-endian, a magic number, the dimensions, then bytes.
//!
//! ```text
//! images: 00 00 08 03 | N | H | W | N·H·W bytes      labels: 00 00 08 01 | N | N bytes
//! ```
//! The two zero bytes are followed by the type (8 = unsigned byte, the only one read here) and the number
//! of dimensions. Source: <http://yann.lecun.com/exdb/mnist/>. Either file may be compressed with gzip.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use crate::classes::Unnamed;
use crate::dataset::{Dataset, ImageShape, Origins};
use crate::error::{Error, Result};
use crate::gzip::Content;
use crate::official::Sum;

const UNSIGNED_BYTE: u8 = 8;

/// The two files of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) images: PathBuf,
    pub(crate) labels: PathBuf,
}

/// The content of a pair, before the classes have names.
pub(crate) struct Contents {
    images: Idx<3>,
    labels: Idx<1>,
}

/// One file: its dimensions, and as many bytes as they say.
struct Idx<const D: usize> {
    path: PathBuf,
    dimensions: [usize; D],
    bytes: Vec<u8>,
}

impl Pair {
    /// Reads both files and checks that they belong together.
    pub(crate) fn read(&self) -> Result<Contents> {
        let (images, labels) = rayon::join(|| Idx::<3>::read(&self.images), || Idx::<1>::read(&self.labels));
        let (images, labels) = (images?, labels?);
        let ([image_count, ..], [label_count]) = (images.dimensions, labels.dimensions);
        if image_count != label_count {
            return Err(labels.invalid(format!(
                "it has {label_count} labels, but {} has {image_count} images",
                self.images.display()
            )));
        }
        Ok(Contents { images, labels })
    }
}

impl Contents {
    /// The SHA-256 sums of the uncompressed files: images, labels.
    pub(crate) fn sums(&self) -> (Sum, Sum) {
        rayon::join(|| self.images.sum(), || self.labels.sum())
    }
}

impl Unnamed for Contents {
    fn greatest_label(&self) -> Option<usize> {
        self.labels.bytes.iter().max().map(|&label| usize::from(label))
    }

    /// # Errors
    /// [`Error::Idx`] with the position of a label that has no name.
    fn into_dataset(self, class_names: Vec<String>) -> Result<Dataset> {
        let classes = class_names.len();
        if let Some(i) = self.labels.bytes.iter().position(|&label| usize::from(label) >= classes) {
            return Err(self.labels.invalid(format!(
                "label #{i} is {}, but there are {classes} classes, 0 to {}",
                self.labels.bytes[i],
                classes.saturating_sub(1)
            )));
        }
        let [_, height, width] = self.images.dimensions;
        let labels = self.labels.bytes.into_iter().map(u16::from).collect();
        let origins = Origins::Numbered(entry_name(&self.images.path));
        Dataset::with_origins(
            ImageShape::new(height, width, 1),
            self.images.bytes,
            labels,
            class_names,
            origins,
        )
    }
}

impl<const D: usize> Idx<D> {
    fn read(path: &Path) -> Result<Self> {
        let invalid = |problem: String| Error::Idx { path: path.to_owned(), problem };
        let mut content = Content::open(path)?;
        let header = content.read(4 + 4 * D as u64)?;
        let Some((magic, sizes)) = header.split_first_chunk::<4>() else {
            return Err(invalid(format!("it has only {} bytes", header.len())));
        };
        if *magic != Self::magic() {
            return Err(invalid(format!(
                "it begins with {}, not {}: {}",
                hexadecimal(magic),
                hexadecimal(&Self::magic()),
                Self::explain(*magic)
            )));
        }
        if sizes.len() != 4 * D {
            return Err(invalid("it ends within its header".into()));
        }
        let mut dimensions = [0; D];
        for (dimension, size) in dimensions.iter_mut().zip(sizes.as_chunks::<4>().0) {
            *dimension = u32::from_be_bytes(*size) as usize;
        }
        let described = dimensions.map(|size| size.to_string()).join("×");
        let expected = dimensions.iter().try_fold(1u64, |bytes, &size| bytes.checked_mul(size as u64));
        // Before a byte of it is read: can the file hold what its header claims?
        let expected = expected.filter(|&bytes| bytes <= content.most_bytes).ok_or_else(|| {
            invalid(format!("its header claims {described} bytes, more than the file can hold"))
        })?;
        let bytes = content.read(expected + 1)?;
        let found = match (bytes.len() as u64).cmp(&expected) {
            Ordering::Equal => return Ok(Self { path: path.to_owned(), dimensions, bytes }),
            Ordering::Less => format!("ends after {}", bytes.len()),
            Ordering::Greater => "has more".into(),
        };
        Err(invalid(format!("its header claims {described} = {expected} bytes, but it {found}")))
    }

    const fn magic() -> [u8; 4] {
        [0, 0, UNSIGNED_BYTE, D as u8]
    }

    /// What a file with another magic number seems to be.
    fn explain(magic: [u8; 4]) -> &'static str {
        match magic {
            [0, 0, UNSIGNED_BYTE, 1] => "it is a file of labels",
            [0, 0, UNSIGNED_BYTE, 3] => "it is a file of images",
            [0, 0, _, 1 | 3] => "only unsigned bytes are read",
            _ => "it is some other kind of file",
        }
    }

    fn sum(&self) -> Sum {
        let mut header = Self::magic().to_vec();
        for size in self.dimensions {
            header.extend((size as u32).to_be_bytes());
        }
        Sum::of(&[&header, &self.bytes])
    }

    fn invalid(&self, problem: String) -> Error {
        Error::Idx { path: self.path.clone(), problem }
    }
}

/// Whether a file begins as IDX images do.
pub(crate) fn is_images(path: &Path) -> bool {
    Content::open(path).and_then(|mut content| content.read(4)).is_ok_and(|magic| magic == Idx::<3>::magic())
}

/// "train-images" of ".../train-images-idx3-ubyte.gz".
fn entry_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split_once("idx3").map_or(&*name, |(stem, _)| stem.trim_end_matches(['-', '.'])).to_owned()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(dimensions: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
        bytes.extend(dimensions.iter().flat_map(|size| size.to_be_bytes()));
        bytes
    }

    fn read(images: Vec<u8>, labels: Vec<u8>, classes: usize) -> Result<Dataset> {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair {
            images: folder.path().join("train-images-idx3-ubyte"),
            labels: folder.path().join("train-labels-idx1-ubyte"),
        };
        std::fs::write(&pair.images, images).unwrap();
        std::fs::write(&pair.labels, labels).unwrap();
        pair.read()?.into_dataset((0..classes).map(|class| class.to_string()).collect())
    }

    #[test]
    fn two_images_of_two_pixels() {
        let images = [header(&[2, 1, 2]), vec![1, 2, 3, 4]].concat();
        let data = read(images, [header(&[2]), vec![9, 0]].concat(), 10).unwrap();
        assert_eq!(data.shape(), ImageShape::new(1, 2, 1));
        assert_eq!((&*data.image(1), data.label(1)), (&[3, 4][..], 0));
        assert_eq!(data.origin(1), "train-images #1");
    }

    #[test]
    fn each_fault_is_named() {
        let images = || [header(&[2, 1, 2]), vec![1, 2, 3, 4]].concat();
        let labels = || [header(&[2]), vec![9, 0]].concat();
        struct Case(Vec<u8>, Vec<u8>, &'static str);
        for Case(images, labels, reason) in [
            Case(vec![], labels(), "only 0 bytes"),
            Case(vec![0, 0, 8], labels(), "only 3 bytes"),
            Case(labels(), labels(), "begins with 00000801, not 00000803: it is a file of labels"),
            Case(images(), images(), "begins with 00000803, not 00000801: it is a file of images"),
            Case(vec![0, 0, 13, 3, 0, 0], labels(), "only unsigned bytes are read"),
            Case(header(&[2, 1]), labels(), "some other kind of file"),
            Case(header(&[2, 1, 2])[..14].to_vec(), labels(), "ends within its header"),
            // 2^31 images of 2^16 by 2^16 pixels in 20 bytes, and a product beyond 64 bits.
            Case(
                [header(&[1 << 31, 1 << 16, 1 << 16]), vec![0; 4]].concat(),
                labels(),
                "more than the file can hold",
            ),
            Case(header(&[u32::MAX; 3]), labels(), "more than the file can hold"),
            Case(
                [header(&[2, 1, 2]), vec![1, 2, 3, 4, 5]].concat(),
                labels(),
                "2×1×2 = 4 bytes, but it has more",
            ),
            Case([header(&[2, 1, 2]), vec![1, 2, 3]].concat(), labels(), "4 bytes, but it ends after 3"),
            Case([header(&[1, 1, 2]), vec![1, 2]].concat(), labels(), "2 labels, but"),
            Case(
                images(),
                [header(&[2]), vec![9, 10]].concat(),
                "label #1 is 10, but there are 10 classes, 0 to 9",
            ),
        ] {
            let error = read(images, labels, 10).unwrap_err().to_string();
            assert!(error.contains(reason), "expected {reason:?} in {error:?}");
        }
    }

    #[test]
    fn names_of_entries_drop_the_suffix() {
        assert_eq!(entry_name(Path::new("a/t10k-images.idx3-ubyte.gz")), "t10k-images");
        assert_eq!(entry_name(Path::new("a/my-images-idx3-ubyte")), "my-images");
        assert_eq!(entry_name(Path::new("a/pictures")), "pictures");
    }
}
