//! What makes a model's answers reliable: fitted after training on images that the weights were not fitted to, and stored in
//! the model file.

use std::path::Path;

use tailor_data::{Dataset, ImageShape};
use tailor_eval::{Confidence, Wanted};
use tailor_nn::Device;

use crate::Result;
use crate::data::RunData;
use crate::familiarity::{EXEMPLARS, Familiarity};
use crate::inference::labels;
use crate::model_file::Model;

/// Fits a model's confidence to its logits `[N, K]` of a labeled data set that it was not trained on, such as the validation
/// part.
///
/// # Errors
/// Logits that are not finite, and a wanted accuracy that cannot be promised.
pub fn fit(model: &Model, images: &Dataset, logits: &[f32], wanted: Wanted) -> Result<Confidence> {
    Ok(Confidence::fit(&model.info.class_names, labels(images), logits, wanted)?)
}

/// The model in a run's folder that has just been trained, with what makes its answers reliable fitted to the validation part
/// and stored: its temperature, and how it tells strangers.
///
/// # Errors
/// Those of loading it, of [`fit`], and of writing the file.
pub fn complete(path: &Path, data: &RunData, device: &Device) -> Result<Model> {
    let mut model = Model::load(path, device)?;
    let (logits, _) = model.logits_of(&data.validation);
    let confidence = fit(&model, &data.validation, &logits, Wanted::default())?;
    model.familiarity = Some(familiarity(&model, data)?);
    model.confidence = Some(confidence);
    model.store_reliability(path)?;
    Ok(model)
}

/// What tells images of the model's kind from others, from the data that it was trained with.
///
/// # Errors
/// Images of sizes that cannot be.
pub fn familiarity(model: &Model, data: &RunData) -> Result<Familiarity> {
    let ImageShape { height, width, .. } = model.info.shape;
    // They may be stored larger than the network takes them.
    let train = match data.train.shape() == model.info.shape {
        true => data.train.clone(),
        false => data.train.limit(EXEMPLARS, model.info.recipe.seed()).resized(height, width)?,
    };
    Ok(Familiarity::fit(model, &train, &data.validation, model.info.recipe.seed()))
}
