//! From a recipe to the parts that a run trains, validates and tests on.

use std::path::PathBuf;

use tailor_data::{
    Dataset, ImageShape, Normalization, OpenOptions, Pipeline, Preparation, Source, Splits, Watch, cache_dir,
    split,
};
use tailor_nn::Shape;

use crate::recipe::{DataRecipe, Normalize, Recipe};
use crate::{Error, Result};

/// The data of a run, split and ready for batches.
pub struct RunData {
    /// What the source calls itself.
    pub name: String,
    /// Images that the weights are fitted to, perhaps larger than the network takes them: the augmentation makes
    /// them smaller.
    pub train: Dataset,
    /// Images that the epoch is chosen on.
    pub validation: Dataset,
    /// Images that are looked at once, at the end; sources without a test part have none.
    pub test: Option<Dataset>,
    /// What pixels are turned into; statistics of the training part only.
    pub normalization: Normalization,
    /// Random changes of each training image, if the recipe has any.
    pub augmentation: Option<Pipeline>,
    /// How a photograph is prepared for this data.
    pub preparation: Preparation,
    /// What the user should know about the source.
    pub notes: Vec<String>,
}

impl RunData {
    /// Opens and splits the data of a recipe.
    ///
    /// # Errors
    /// Those of reading and splitting, and [`Error::Unsuitable`] when too little would be left to train on.
    pub fn open(recipe: &Recipe) -> Result<Self> {
        Self::open_watched(recipe, &|_, _| {})
    }

    /// As [`open`](Self::open), while someone watches photographs being decoded.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_watched(recipe: &Recipe, watch: Watch) -> Result<Self> {
        Self::of_source(&recipe.data, read(&recipe.data, watch)?, recipe.train.seed)
    }

    /// Opens data and splits it by a seed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn split(recipe: &DataRecipe, seed: u64) -> Result<Self> {
        Self::of_source(recipe, open_source(recipe)?, seed)
    }

    /// What a source has, with a validation part and within the recipe's limit.
    fn of_source(recipe: &DataRecipe, source: Splits, seed: u64) -> Result<Self> {
        let DataRecipe { limit, .. } = recipe;
        let Splits { name, train, validation, test, mut notes } = source;
        let stored = train.shape();
        if has_foreign_size(recipe, stored) {
            notes.push(format!("data.size is for folders of images; those of {name} stay {stored}"));
        }
        let (train, validation) = match validation {
            Some(validation) => (train, validation),
            None => {
                let images = match recipe.validation {
                    Some(validation) => held_out(validation, train.len())?,
                    None => (train.len() / 10).min(DEFAULT_VALIDATION),
                };
                split::stratified(&train, images, seed)?
            }
        };
        let train = match limit {
            Some(images) if *images < train.len() => train.limit(*images, seed),
            _ => train,
        };
        Self::of_parts(recipe, Splits { name, train, validation: Some(validation), test, notes })
    }

    /// One turn of a cross-validation: of the training part of `splits` the images at `held_out` are validated on, the others
    /// trained on. There is no test part.
    ///
    /// # Errors
    /// Those of an augmentation that does not go with the images.
    pub fn fold(recipe: &DataRecipe, splits: &Splits, held_out: &[usize]) -> Result<Self> {
        let Splits { name, train, .. } = splits;
        let others: Vec<usize> = (0..train.len()).filter(|i| held_out.binary_search(i).is_err()).collect();
        Self::of_parts(
            recipe,
            Splits {
                name: name.clone(),
                train: train.subset(&others),
                validation: Some(train.subset(held_out)),
                test: None,
                notes: Vec::new(),
            },
        )
    }

    /// What follows from the parts once they are split; there is a validation part.
    fn of_parts(recipe: &DataRecipe, parts: Splits) -> Result<Self> {
        let Splits { name, train, validation, test, notes } = parts;
        let validation = validation.expect("there is a validation part");
        let stored = train.shape();
        let mut recipe = recipe.clone();
        if has_foreign_size(&recipe, stored) {
            (recipe.size, recipe.store_size) = (None, None);
        }
        let recipe = &recipe;
        let shape = shape_of(recipe, stored);
        // Training images may be stored larger than the network takes them, others are not.
        let validation = match validation.shape() == shape {
            true => validation,
            false => validation.resized(shape.height, shape.width)?,
        };
        let normalization = match recipe.normalize {
            Normalize::Unit => Normalization::unit(shape.channels),
            Normalize::Standard => Normalization::of(&train),
            Normalize::Imagenet => Normalization::imagenet(shape.channels),
        };
        let augmentation = augmentation(recipe, stored)?;
        let preparation = recipe.preparation.unwrap_or(match Source::parse(&recipe.source) {
            Source::FashionMnist => Preparation::FashionMnist,
            _ => Preparation::Resize,
        });
        Ok(RunData { name, train, validation, test, normalization, augmentation, preparation, notes })
    }

    /// The shape of one image, as a network takes it.
    pub fn shape(&self) -> Shape {
        network_shape(&self.validation)
    }
}

/// Whether a recipe asks for a size that its images do not have, and that they are not brought to.
fn has_foreign_size(recipe: &DataRecipe, stored: ImageShape) -> bool {
    recipe.store_size.or(recipe.size).is_some_and(|size| (stored.height, stored.width) != (size, size))
}

/// Opens a recipe's source with its size and channels.
///
/// # Errors
/// Those of reading it.
pub fn open_source(data: &DataRecipe) -> Result<Splits> {
    read(data, &|_, _| {})
}

fn read(data: &DataRecipe, watch: Watch) -> Result<Splits> {
    let options = OpenOptions {
        size: data.size.map(|size| (size, size)),
        store_size: data.store_size.map(|size| (size, size)),
        channels: data.channels,
        cache: image_cache(data),
        memory: memory(data),
        ..OpenOptions::default()
    };
    Ok(tailor_data::open_watched(&Source::parse(&data.source), &options, watch)?)
}

/// Where a recipe keeps its decoded images, if it does.
pub(crate) fn image_cache(data: &DataRecipe) -> Option<PathBuf> {
    cache_dir().filter(|_| data.cache).map(|cache| cache.join("images"))
}

/// Bytes of memory that a recipe gives its decoded images, if it says so.
pub(crate) fn memory(data: &DataRecipe) -> Option<u64> {
    data.memory.map(|megabytes| megabytes.saturating_mul(1_000_000))
}

/// The shape of the images that the network gets for training images as they are stored.
pub fn shape_of(data: &DataRecipe, stored: ImageShape) -> ImageShape {
    match (data.store_size, data.size) {
        (Some(_), Some(size)) => ImageShape { height: size, width: size, ..stored },
        _ => stored,
    }
}

/// The random changes of a recipe for training images as they are stored, which also bring them to the shape that
/// the network gets.
///
/// # Errors
/// Those of an augmentation that does not go with the images.
pub fn augmentation(data: &DataRecipe, stored: ImageShape) -> Result<Option<Pipeline>> {
    let shape = shape_of(data, stored);
    match data.augment.as_slice() {
        [] if stored == shape => Ok(None),
        steps => Ok(Some(Pipeline::resizing(steps, stored, shape)?)),
    }
}

/// The shape of a data set's images, as a network takes it.
pub fn network_shape(dataset: &Dataset) -> Shape {
    let shape = dataset.shape();
    Shape::Image { height: shape.height, width: shape.width, channels: shape.channels }
}

/// Images held out unless the recipe says otherwise, or there are too few.
const DEFAULT_VALIDATION: usize = 5000;

/// Images to hold out, from a count or a fraction.
fn held_out(validation: f64, images: usize) -> Result<usize> {
    let held_out = if validation < 1.0 { (validation * images as f64).round() } else { validation } as usize;
    match held_out {
        0 => Err(Error::Unsuitable(format!(
            "data.validation = {validation} of {images} images leaves none to validate on; choose a larger part"
        ))),
        held_out if held_out >= images => Err(Error::Unsuitable(format!(
            "data.validation = {validation} leaves none of the {images} images to train on; choose a smaller part, \
             such as --set data.validation=0.1"
        ))),
        held_out => Ok(held_out),
    }
}

#[cfg(test)]
mod tests {
    use super::held_out;

    #[test]
    fn validation_is_a_count_or_a_fraction() {
        assert_eq!(held_out(5000.0, 60_000).unwrap(), 5000);
        assert_eq!(held_out(0.1, 999).unwrap(), 100);
        assert!(held_out(5000.0, 300).unwrap_err().to_string().contains("data.validation=0.1"));
        assert!(held_out(0.001, 300).is_err());
    }
}
