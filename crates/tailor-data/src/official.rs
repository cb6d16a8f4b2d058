//! The published data sets that are known by name: their files, sums, classes and addresses.

use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::gzip::Content;
use crate::idx::Pair;

/// A SHA-256 sum, of a file's uncompressed content: repackaging changes gzip's header, not the content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sum([u8; 32]);

impl Sum {
    /// The sum of some pieces, one after the other.
    pub fn of(pieces: &[&[u8]]) -> Sum {
        let mut digest = Sha256::new();
        for piece in pieces {
            digest.update(piece);
        }
        Sum(digest.finalize().into())
    }

    /// The sum of a file's content, uncompressed if it is gzip, of which at most `limit` bytes are read.
    pub(crate) fn of_file(path: &Path, limit: u64) -> Result<Sum> {
        Ok(Sum::of(&[&Content::open(path)?.read(limit)?]))
    }

    /// The first ten hexadecimal digits.
    pub fn abbreviated(&self) -> String {
        self.to_string()[..10].to_owned()
    }

    /// The sum from 64 hexadecimal digits; evaluated by the compiler, which refuses a malformed one.
    ///
    /// # Panics
    /// If a digit is none of `0` to `9` and `a` to `f`.
    pub const fn from_hexadecimal(digits: &[u8; 64]) -> Sum {
        const fn value(digit: u8) -> u8 {
            match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => panic!("a sum is written in lower-case hexadecimal digits"),
            }
        }
        let mut sum = [0; 32];
        let mut i = 0;
        while i < 32 {
            sum[i] = value(digits[2 * i]) << 4 | value(digits[2 * i + 1]);
            i += 1;
        }
        Sum(sum)
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One file of a published data set.
pub(crate) struct OfficialFile {
    pub(crate) name: &'static str,
    pub(crate) sum: Sum,
    /// Bytes when uncompressed.
    pub(crate) bytes: u64,
}

impl OfficialFile {
    /// The name without ".gz".
    pub(crate) fn unpacked_name(&self) -> &'static str {
        self.name.trim_end_matches(".gz")
    }
}

/// A data set with four IDX files, compressed with gzip where they are published.
pub(crate) struct Official {
    /// For people.
    pub(crate) name: &'static str,
    /// For the command line and for folders.
    pub(crate) key: &'static str,
    /// The address of the folder with the files, ending in a slash.
    pub(crate) address: &'static str,
    pub(crate) train: [OfficialFile; 2],
    pub(crate) test: [OfficialFile; 2],
    pub(crate) class_names: [&'static str; 10],
    /// What to tell whoever has another file.
    pub(crate) advice: &'static str,
}

const fn file(name: &'static str, bytes: u64, sum: &[u8; 64]) -> OfficialFile {
    OfficialFile { name, bytes, sum: Sum::from_hexadecimal(sum) }
}

/// Xiao, Rasul and Vollgraf 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
/// Algorithms", arXiv:1708.07747.
pub(crate) static FASHION_MNIST: Official = Official {
    name: "Fashion-MNIST",
    key: "fashion-mnist",
    address: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    train: [
        file(
            "train-images-idx3-ubyte.gz",
            47_040_016,
            b"c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        file(
            "train-labels-idx1-ubyte.gz",
            60_008,
            b"bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
    ],
    test: [
        file(
            "t10k-images-idx3-ubyte.gz",
            7_840_016,
            b"5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        file(
            "t10k-labels-idx1-ubyte.gz",
            10_008,
            b"0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ],
    class_names: [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
    advice: "it may be the first release of 2017, which leaked test images into training; replace it with \
             `tailor data fetch fashion-mnist`, or give its folder as --data to use it as it is",
};

/// LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
pub(crate) static MNIST: Official = Official {
    name: "MNIST",
    key: "mnist",
    address: "https://ossci-datasets.s3.amazonaws.com/mnist/",
    train: [
        file(
            "train-images-idx3-ubyte.gz",
            47_040_016,
            b"ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        file(
            "train-labels-idx1-ubyte.gz",
            60_008,
            b"65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
    ],
    test: [
        file(
            "t10k-images-idx3-ubyte.gz",
            7_840_016,
            b"0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        file(
            "t10k-labels-idx1-ubyte.gz",
            10_008,
            b"ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ],
    class_names: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    advice: "replace it with `tailor data fetch mnist`, or give its folder as --data to use it as it is",
};

impl Official {
    /// The data set of that name.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub(crate) fn named(name: &str) -> Result<&'static Official> {
        [&FASHION_MNIST, &MNIST]
            .into_iter()
            .find(|official| official.key == name)
            .ok_or_else(|| Error::UnknownName { name: name.to_owned() })
    }

    pub(crate) fn class_names(&self) -> Vec<String> {
        self.class_names.map(str::to_owned).to_vec()
    }

    /// All four files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &OfficialFile> {
        self.train.iter().chain(&self.test)
    }

    /// The published data set of which all pairs, by the sums of images and labels, are parts.
    pub(crate) fn recognize(pairs: &[(Sum, Sum)]) -> Option<&'static Official> {
        let is_part = |official: &Official, pair: &(Sum, Sum)| {
            [&official.train, &official.test].iter().any(|[images, labels]| *pair == (images.sum, labels.sum))
        };
        [&FASHION_MNIST, &MNIST].into_iter().find(|official| pairs.iter().all(|pair| is_part(official, pair)))
    }

    /// Compares a pair with the published one of the same name.
    ///
    /// # Errors
    /// [`Error::Checksum`] for the first file that differs.
    pub(crate) fn check(&self, pair: &Pair, found: (Sum, Sum)) -> Result<()> {
        for (path, found) in [(&pair.images, found.0), (&pair.labels, found.1)] {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let expected = self.files().find(|file| file.name == name || file.unpacked_name() == name);
            if let Some(expected) = expected {
                self.check_sum(expected, path, found)?;
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::Checksum`] if the sum is not the published one.
    pub(crate) fn check_sum(&self, expected: &OfficialFile, path: &Path, found: Sum) -> Result<()> {
        if found == expected.sum {
            return Ok(());
        }
        Err(Error::Checksum {
            path: PathBuf::from(path),
            dataset: self.name,
            expected: expected.sum,
            found,
            advice: self.advice,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_abc_is_that_of_fips_180() {
        let sum = Sum::of(&[b"a", b"bc"]);
        assert_eq!(sum.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(sum.abbreviated(), "ba7816bf8f");
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let error = Official::named("cifar").err().unwrap().to_string();
        assert_eq!(
            error,
            r#"there is no data set called "cifar" to fetch; known are fashion-mnist and mnist"#
        );
    }
}
