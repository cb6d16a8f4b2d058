//! What a data set consists of, in numbers.

use serde::Serialize;

use crate::dataset::{ImageShape, Splits};
use crate::duplicates::{Duplicates, named_parts};
use crate::normalization::Normalization;

/// The numbers of a data set that `tailor data info` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// What the data set is called.
    pub name: String,
    /// The shape of every image.
    pub shape: ImageShape,
    /// The names of the classes; the label is the position.
    pub class_names: Vec<String>,
    /// Training, validation and test part, as far as there are.
    pub parts: Vec<PartStatistics>,
    /// Mean and deviation of the pixels of the training part.
    pub normalization: Normalization,
    /// Equal images.
    pub duplicates: Duplicates,
}

/// The numbers of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartStatistics {
    /// "train", "validation" or "test".
    pub name: &'static str,
    /// Images.
    pub images: usize,
    /// Images per class.
    pub class_counts: Vec<usize>,
}

impl Statistics {
    /// Counts and compares all images: about 0.1 s for the 70,000 of Fashion-MNIST.
    pub fn of(splits: &Splits) -> Statistics {
        let parts = named_parts(splits)
            .into_iter()
            .map(|(name, part)| PartStatistics {
                name,
                images: part.len(),
                class_counts: part.class_counts(),
            })
            .collect();
        let (normalization, duplicates) =
            rayon::join(|| Normalization::of(&splits.train), || Duplicates::of(splits));
        Statistics {
            name: splits.name.clone(),
            shape: splits.train.shape(),
            class_names: splits.train.class_names().to_vec(),
            parts,
            normalization,
            duplicates,
        }
    }
}
