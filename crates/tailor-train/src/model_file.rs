//! A trained model, network or baseline, as one file: tensors, recipe, classes, normalization and validation metrics.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use tailor_baseline::{Baseline, Frame, TensorSource};
use tailor_data::{ImageShape, Normalization, OpenOptions, Preparation, Views};
use tailor_eval::Confidence;
use tailor_nn::Shape;
use tailor_nn::weights::{NamedTensor, from_safetensors, insert_metadata, take_metadata, to_safetensors};
use tailor_nn::{Device, Network, Predictor, Summary, SummaryRow};

use crate::any_recipe::AnyRecipe;
use crate::baseline::BaselineRecipe;
use crate::data::{image_cache, memory};
use crate::familiarity::Familiarity;
use crate::recipe::Recipe;
use crate::run::{file_error, files, replace_file};
use crate::{Error, Result};

/// What a model file says beside its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// The recipe that made it.
    pub recipe: AnyRecipe,
    /// What the data calls itself.
    pub data_name: String,
    /// In the order of the logits.
    pub class_names: Vec<String>,
    /// Of one image.
    pub shape: ImageShape,
    /// What pixels are turned into.
    pub normalization: Normalization,
    /// How a photograph is prepared.
    pub preparation: Preparation,
    /// On the validation part.
    pub validation: Option<ValidationMetrics>,
}

/// How the kept epoch did on the validation part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationMetrics {
    /// From 1.
    pub epoch: usize,
    /// In nats.
    pub loss: f64,
    /// Between 0 and 1.
    pub accuracy: f64,
}

/// What a model predicts with.
pub enum Classifier {
    /// A network with its weights, packed for inference.
    Network(Predictor),
    /// A classical classifier.
    Baseline(Box<Baseline>),
}

/// A model, ready to predict.
pub struct Model {
    /// What it predicts with.
    pub classifier: Classifier,
    /// The network itself, to look into; none of a baseline.
    pub network: Option<Network>,
    /// What it consists of.
    pub summary: Summary,
    /// What the file says beside them.
    pub info: ModelInfo,
    /// What makes its answers reliable, if it was calibrated; see [`crate::confidence`].
    pub confidence: Option<Confidence>,
    /// What tells images of the kind that it knows from others, likewise; see [`crate::familiarity`].
    pub familiarity: Option<Familiarity>,
    /// What it looks at of each image: what its recipe says, unless it is changed.
    pub views: Views,
}

/// The keys of the file's metadata.
mod keys {
    pub const FORMAT: &str = "tailor.format";
    pub const VERSION: &str = "tailor.version";
    pub const RECIPE: &str = "recipe";
    pub const DATA: &str = "data";
    pub const CLASSES: &str = "classes";
    pub const SHAPE: &str = "shape";
    pub const NORMALIZATION: &str = "normalization";
    pub const PREPARATION: &str = "preparation";
    pub const VALIDATION: &str = "validation";
    // Not in every file.
    pub const CONFIDENCE: &str = "confidence";
    pub const FAMILIARITY: &str = "familiarity";
}

/// Raised when an older program could no longer read the file.
const FORMAT: &str = "1";

/// The largest model file that is read: far above any model here, far below what would exhaust a machine.
const MAX_FILE_BYTES: u64 = 4 << 30;

impl ModelInfo {
    /// The file for a network's tensors. It holds nothing that changes from run to run, such as times.
    pub fn to_bytes(&self, tensors: &[NamedTensor]) -> Vec<u8> {
        to_safetensors(tensors, &self.metadata())
    }

    /// The file for a baseline, likewise.
    pub fn baseline_bytes(&self, baseline: &Baseline) -> Vec<u8> {
        insert_metadata(&tailor_baseline::to_safetensors(&baseline.export()), &self.metadata())
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        BTreeMap::from(
            [
                (keys::FORMAT, FORMAT.to_string()),
                (keys::VERSION, env!("CARGO_PKG_VERSION").to_string()),
                (keys::RECIPE, self.recipe.to_toml()),
                (keys::DATA, self.data_name.clone()),
                (keys::CLASSES, to_json(&self.class_names)),
                (keys::SHAPE, to_json(&self.shape)),
                (keys::NORMALIZATION, to_json(&self.normalization)),
                (keys::PREPARATION, to_json(&self.preparation)),
                (keys::VALIDATION, to_json(&self.validation)),
            ]
            .map(|(key, value)| (key.to_string(), value)),
        )
    }

    /// How data is opened that the model is shown: at its size, with its channels and in the order of its classes, from the
    /// cache if its recipe has one.
    pub fn open_options(&self) -> OpenOptions {
        OpenOptions {
            cache: image_cache(self.recipe.data()),
            memory: memory(self.recipe.data()),
            size: Some((self.shape.height, self.shape.width)),
            channels: Some(self.shape.channels),
            class_names: Some(self.class_names.clone()),
            ..OpenOptions::default()
        }
    }

    fn network_shape(&self) -> Shape {
        let ImageShape { height, width, channels } = self.shape;
        Shape::Image { height, width, channels }
    }
}

impl Model {
    /// Reads a model file, or the one in a run's folder.
    ///
    /// # Errors
    /// [`Error::Model`] says what is wrong with a cut, foreign, contradictory or hostile file.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        let path = &Self::file_of(path);
        let refuse = |reason: String| Error::Model { path: path.clone(), reason };
        let file = std::fs::metadata(path).map_err(|source| file_error("read", path, source))?;
        if !file.is_file() {
            // A pipe or a device may never end.
            return Err(refuse("it is not a file".into()));
        }
        if file.len() > MAX_FILE_BYTES {
            return Err(refuse(format!("it is {} GB large", file.len() >> 30)));
        }
        let bytes = std::fs::read(path).map_err(|source| file_error("read", path, source))?;
        let (_, header) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| refuse(tailor_nn::Error::NotSafetensors(error.to_string()).to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let entry = |key: &str| {
            let missing = || refuse(format!("its metadata has no `{key}`; was it written by this program?"));
            metadata.get(key).map(String::as_str).ok_or_else(missing)
        };
        let format = entry(keys::FORMAT)?;
        if format != FORMAT {
            return Err(refuse(format!("its format is {format}, but this program reads format {FORMAT}")));
        }
        let unreadable =
            |key: &str, error: String| refuse(format!("its metadata `{key}` cannot be read: {error}"));
        let info = ModelInfo {
            recipe: AnyRecipe::parse(entry(keys::RECIPE)?, "its recipe")
                .map_err(|error| unreadable(keys::RECIPE, error.to_string()))?,
            data_name: entry(keys::DATA)?.to_string(),
            class_names: from_json(entry(keys::CLASSES)?)
                .map_err(|error| unreadable(keys::CLASSES, error))?,
            shape: from_json(entry(keys::SHAPE)?).map_err(|error| unreadable(keys::SHAPE, error))?,
            normalization: from_json(entry(keys::NORMALIZATION)?)
                .map_err(|error| unreadable(keys::NORMALIZATION, error))?,
            preparation: from_json(entry(keys::PREPARATION)?)
                .map_err(|error| unreadable(keys::PREPARATION, error))?,
            validation: from_json(entry(keys::VALIDATION)?)
                .map_err(|error| unreadable(keys::VALIDATION, error))?,
        };
        info.check().map_err(refuse)?;
        let confidence: Option<Confidence> = metadata
            .get(keys::CONFIDENCE)
            .map(|text| from_json(text))
            .transpose()
            .map_err(|error| unreadable(keys::CONFIDENCE, error))?;
        confidence
            .iter()
            .try_for_each(Confidence::check)
            .map_err(|error| unreadable(keys::CONFIDENCE, error))?;
        let (classifier, network, summary) = match &info.recipe {
            AnyRecipe::Network(recipe) => {
                let network = info.network(recipe, &bytes, device).map_err(refuse)?;
                let summary = network.summary();
                (Classifier::Network(network.predictor()), Some(network), summary)
            }
            AnyRecipe::Baseline(recipe) => {
                let (classifier, summary) = info.baseline(recipe, &bytes).map_err(refuse)?;
                (classifier, None, summary)
            }
        };
        let views = info.recipe.views();
        let mut model = Model { classifier, network, summary, info, confidence, familiarity: None, views };
        if let Some(text) = metadata.get(keys::FAMILIARITY) {
            let features = model.features(&vec![0; model.info.shape.len()]).len();
            let familiarity = Familiarity::from_json(text, features);
            model.familiarity = Some(familiarity.map_err(|error| unreadable(keys::FAMILIARITY, error))?);
        }
        Ok(model)
    }

    /// Stores what makes the model's answers reliable in its file, or the one in a run's folder, in place of what was stored; all
    /// else stays as it is.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read or written, [`Error::Model`] when it is no safetensors file.
    pub fn store_reliability(&self, path: &Path) -> Result<()> {
        let path = &Self::file_of(path);
        let bytes = std::fs::read(path).map_err(|source| file_error("read", path, source))?;
        let refuse = |reason: String| Error::Model { path: path.clone(), reason };
        let (tensors, mut metadata) = take_metadata(&bytes).map_err(|error| refuse(error.to_string()))?;
        let confidence = self.confidence.as_ref().map(to_json);
        let familiarity = self.familiarity.as_ref().map(Familiarity::to_json);
        for (key, value) in [(keys::CONFIDENCE, confidence), (keys::FAMILIARITY, familiarity)] {
            metadata.remove(key);
            metadata.extend(value.map(|value| (key.to_string(), value)));
        }
        replace_file(path, &insert_metadata(&tensors, &metadata))
    }

    /// The model file that a path names: itself, or the one in a run's folder.
    pub fn file_of(path: &Path) -> PathBuf {
        if path.is_dir() { path.join(files::MODEL) } else { path.into() }
    }
}

impl ModelInfo {
    /// What contradicts itself, before anything of the claimed size is built.
    fn check(&self) -> std::result::Result<(), String> {
        let ImageShape { height, width, channels } = self.shape;
        let extent = 1..=1 << 14;
        if !extent.contains(&height) || !extent.contains(&width) || !matches!(channels, 1 | 3) {
            return Err(format!("it claims images of {height}×{width}×{channels}"));
        }
        if self.class_names.iter().any(|name| name.chars().any(char::is_control)) {
            return Err("a class name holds control characters".into());
        }
        if !self.normalization.fits(channels) {
            return Err(format!("its normalization does not fit images of {channels} channels"));
        }
        Ok(())
    }

    /// The network of a recipe with the weights of a file.
    fn network(&self, recipe: &Recipe, file: &[u8], device: &Device) -> std::result::Result<Network, String> {
        let (tensors, _) = from_safetensors(file).map_err(|error| error.to_string())?;
        let (architecture, shape, classes) =
            (recipe.architecture(), self.network_shape(), self.class_names.len());
        // A recipe can ask for any number of weights; those in the file are bounded by its size.
        let plan = architecture.plan(shape, classes).map_err(|error| error.to_string())?;
        let claimed: usize = plan.iter().map(|layer| layer.trainable() + layer.statistics()).sum();
        let found: usize = tensors.iter().map(|tensor| tensor.values.len()).sum();
        if claimed != found {
            return Err(format!("its recipe describes {claimed} parameters, but it holds {found}"));
        }
        let network = Network::new(&architecture, shape, classes, 0, device);
        let mut network = network.map_err(|error| error.to_string())?;
        network.import(tensors).map_err(|error| error.to_string())?;
        Ok(network)
    }

    /// The baseline of a recipe with the tensors of a file.
    fn baseline(
        &self,
        recipe: &BaselineRecipe,
        file: &[u8],
    ) -> std::result::Result<(Classifier, Summary), String> {
        let classes = self.class_names.len();
        let frame = Frame { shape: self.shape, normalization: self.normalization.clone(), classes };
        let import = || Baseline::import(recipe.plan(), frame, TensorSource::read(file)?);
        let baseline = import().map_err(|error| error.to_string())?;
        let row = |name: &str, layer: String, numbers: usize, trainable: usize| SummaryRow {
            name: name.into(),
            layer,
            output: Shape::Features(numbers),
            trainable,
            statistics: 0,
        };
        let features = baseline.features();
        let classifier = baseline.classifier();
        let rows = vec![
            row("features", features.describe(), features.len(), features.parameters()),
            row("classifier", classifier.describe(), classes, classifier.parameters()),
        ];
        let summary = Summary { input: self.network_shape(), rows, frozen: 0 };
        Ok((Classifier::Baseline(Box::new(baseline)), summary))
    }
}

/// How many numbers a model file holds, by its header alone; also of models that this crate cannot load.
///
/// # Errors
/// [`Error::File`] when it cannot be read, [`Error::Model`] when it is no safetensors file.
pub fn stored_values(path: &Path) -> Result<usize> {
    #[derive(Deserialize)]
    struct Tensor {
        shape: Vec<usize>,
    }
    /// The largest header that the format allows.
    const MAX_HEADER: u64 = 100_000_000;
    let refuse = |reason: &str| Error::Model { path: path.into(), reason: reason.into() };
    let read = |source| file_error("read", path, source);
    let mut file = File::open(path).map_err(read)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(read)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(refuse("it is no safetensors file"));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(read)?;
    let entries: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|_| refuse("it is no safetensors file"))?;
    let tensors = entries.into_iter().filter(|(name, _)| name != "__metadata__");
    let values = tensors.map(|(_, tensor)| serde_json::from_value(tensor).map(|Tensor { shape }| shape));
    values.into_iter().try_fold(0, |total: usize, shape| {
        let shape = shape.map_err(|_| refuse("its header lists something that is no tensor"))?;
        let values = shape.iter().try_fold(1, |values: usize, &extent| values.checked_mul(extent));
        values.and_then(|values| total.checked_add(values)).ok_or_else(|| refuse("it claims too many values"))
    })
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data is JSON")
}

fn from_json<T: for<'de> Deserialize<'de>>(text: &str) -> std::result::Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_by_the_header_and_a_lying_one_is_refused() {
        let tensor = |name: &str, shape: Vec<usize>| NamedTensor {
            name: name.into(),
            values: vec![0.5; shape.iter().product()],
            shape,
        };
        let metadata = BTreeMap::from([("recipe".to_string(), "name = 'x'".to_string())]);
        let good = to_safetensors(&[tensor("a", vec![3, 4]), tensor("b", vec![5])], &metadata);
        let file = tempfile::NamedTempFile::new().unwrap();
        let count = |bytes: &[u8]| {
            std::fs::write(file.path(), bytes).unwrap();
            stored_values(file.path())
        };
        assert_eq!(count(&good).unwrap(), 17);
        let lying = br#"{"a":{"shape":[4294967296,4294967296]}}"#;
        let lying = [&(lying.len() as u64).to_le_bytes(), lying.as_slice()].concat();
        for bytes in [&good[..100], &[255; 16], &lying, b"short"] {
            assert!(count(bytes).is_err());
        }
    }
}
