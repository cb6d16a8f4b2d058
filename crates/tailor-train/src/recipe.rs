//! Recipes: everything that a training run depends on, as a TOML file.
//!
//! ```toml
//! name = "cnn-32-64"
//! description = "Two convolutions"
//!
//! [model]
//! layers = [{ type = "conv", filters = 32 }, "max-pool", { type = "dense", units = 128 }]
//!
//! [data]
//! source = "fashion-mnist"
//! augment = ["horizontal-flip"]
//!
//! [train]
//! epochs = 10
//! lr = 1e-3
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tailor_data::{Augmentation, Preparation, Sampling, Views};
use tailor_nn::architecture::{Architecture, LayerSpec, Precision};
use tailor_nn::init::Initialization;
use tailor_nn::shorthand;

use crate::average::LookAhead;
use crate::class_weights::ClassWeights;
use crate::groups::Group;
use crate::optimizer::OptimizerSpec;
use crate::phases::{self, Phase};
use crate::pretrained::{self, Weights};
use crate::schedule::Schedule;
use crate::{Error, Result, spelling};

/// The recipes that come with the program, by name.
const BUILT_IN: [(&str, &str); 22] = [
    ("starter", include_str!("../../../recipes/starter.toml")),
    ("swift", include_str!("../../../recipes/swift.toml")),
    ("small", include_str!("../../../recipes/small.toml")),
    ("ann-256-128", include_str!("../../../recipes/ann-256-128.toml")),
    ("cnn-32-64", include_str!("../../../recipes/cnn-32-64.toml")),
    ("cnn-32-64-64", include_str!("../../../recipes/cnn-32-64-64.toml")),
    ("cnn-32-64-128", include_str!("../../../recipes/cnn-32-64-128.toml")),
    ("cnn-bn-32-64-128", include_str!("../../../recipes/cnn-bn-32-64-128.toml")),
    ("cnn-64-64-128-128", include_str!("../../../recipes/cnn-64-64-128-128.toml")),
    ("cnn-bn-64-128", include_str!("../../../recipes/cnn-bn-64-128.toml")),
    ("cnn-bn-4", include_str!("../../../recipes/cnn-bn-4.toml")),
    ("cnn-bn-skip", include_str!("../../../recipes/cnn-bn-skip.toml")),
    ("lenet-5", include_str!("../../../recipes/lenet-5.toml")),
    ("vgg-11", include_str!("../../../recipes/vgg-11.toml")),
    ("resnet-18", include_str!("../../../recipes/resnet-18.toml")),
    ("resnet-20", include_str!("../../../recipes/resnet-20.toml")),
    ("efficientnet-b0", include_str!("../../../recipes/efficientnet-b0.toml")),
    ("vit-tiny", include_str!("../../../recipes/vit-tiny.toml")),
    ("mobilenet-v2", include_str!("../../../recipes/mobilenet-v2.toml")),
    ("mobilenet-v2-features", include_str!("../../../recipes/mobilenet-v2-features.toml")),
    ("mobilenet-v2-unfrozen", include_str!("../../../recipes/mobilenet-v2-unfrozen.toml")),
    ("mobilenet-v2-finetune", include_str!("../../../recipes/mobilenet-v2-finetune.toml")),
];

/// Trained when no recipe is named.
pub const DEFAULT: &str = "starter";

/// A complete, checked recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Names the run's folder.
    pub name: String,
    /// One line on what it is.
    #[serde(default)]
    pub description: String,
    /// The network.
    pub model: ModelRecipe,
    /// What it learns from.
    #[serde(default)]
    pub data: DataRecipe,
    /// How it learns.
    #[serde(default)]
    pub train: TrainRecipe,
}

/// The network of a recipe. Its last dense layer, one logit a class, is implied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecipe {
    /// From the image to the last hidden layer.
    #[serde(deserialize_with = "shorthand::list")]
    pub layers: Vec<LayerSpec>,
    /// How initial weights are drawn.
    #[serde(default)]
    pub init: Initialization,
    /// What convolutions round on the processor.
    #[serde(default)]
    pub precision: Precision,
    /// What a published network among the layers begins with instead: `imagenet`, or a file.
    #[serde(default, skip_serializing_if = "Weights::is_none")]
    pub weights: Weights,
    /// What it looks at of each image when it predicts, once it is trained.
    #[serde(default)]
    pub views: Views,
}

/// The data of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct DataRecipe {
    /// `fashion-mnist`, `mnist`, or a path.
    pub source: String,
    /// Height and width to which a folder's images are brought; by default what they have, or 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Height and width at which a folder's training images are kept, if larger than `size`: random crops then
    /// have pixels to choose from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_size: Option<usize>,
    /// Whether a folder's decoded images are kept in the cache, so that the next run starts at once.
    pub cache: bool,
    /// Megabytes of memory for a folder's decoded images, by default a quarter of what is free; if they take more, they are
    /// read from the cache in each epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// 1 for grey, 3 for color; by default what the images have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Images held out of the training part, stratified; below 1 it is a fraction. By default 5,000, or a tenth where
    /// that is fewer. Unused where the data has a validation part of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// Trains on this many images only, validation images not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Which images an epoch takes: each once (`shuffled`), or each class as often (`balanced`).
    pub sampling: Sampling,
    /// What pixels are turned into.
    pub normalize: Normalize,
    /// How a photograph is prepared in prediction; by default as the data set was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preparation: Option<Preparation>,
    /// Random changes of each training image, in this order.
    #[serde(deserialize_with = "shorthand::list")]
    pub augment: Vec<Augmentation>,
}

/// What pixels are turned into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalize {
    /// Divided by 255.
    Unit,
    /// Mean 0 and deviation 1 for each channel over the training part.
    #[default]
    Standard,
    /// By the means and deviations that published networks were trained with.
    Imagenet,
}

/// The training of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrainRecipe {
    /// Passes over the training part.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Of everything random: split, initial weights, order, augmentation, dropout.
    pub seed: u64,
    /// The highest learning rate.
    pub lr: f64,
    /// Strength of the pull of all weights towards zero.
    pub weight_decay: f64,
    /// Whether that also pulls biases and the weights of norms, the tensors of one axis.
    pub decay_biases: bool,
    /// Probability mass that the targets take from the label and spread over all classes.
    pub label_smoothing: f64,
    /// How much the images of each class count in the loss; by default all alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// Gradients of a larger norm, over all weights together, are scaled down to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Epochs without a lower validation loss after which the run stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Decay of an exponential average of the weights, which is then what is validated and kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Slow weights that follow the trained ones, and are then what is validated and kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look_ahead: Option<LookAhead>,
    /// Which epoch's weights are kept.
    pub keep: Keep,
    /// Epochs over which the learning rate rises linearly at the start.
    pub warmup_epochs: f64,
    /// The optimizer.
    #[serde(deserialize_with = "shorthand::one")]
    pub optimizer: OptimizerSpec,
    /// How the learning rate moves.
    #[serde(deserialize_with = "shorthand::one")]
    pub schedule: Schedule,
    /// Whether what the frozen layers before the first trained one make of each image is computed once and kept in memory;
    /// images are then not augmented.
    pub cache_features: bool,
    /// What is different for some tensors; later groups overrule earlier ones.
    pub groups: Vec<Group>,
    /// One after the other, with settings of their own; by default the run is one phase.
    pub phases: Vec<Phase>,
}

/// Which epoch's weights are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The one with the highest validation accuracy; the earliest of equals.
    #[default]
    BestAccuracy,
    /// The one with the lowest validation loss; the earliest of equals.
    LowestLoss,
    /// The last one.
    Last,
}

impl Default for DataRecipe {
    fn default() -> Self {
        DataRecipe {
            source: "fashion-mnist".into(),
            size: None,
            store_size: None,
            cache: true,
            memory: None,
            channels: None,
            validation: None,
            limit: None,
            sampling: Sampling::default(),
            normalize: Normalize::default(),
            preparation: None,
            augment: Vec::new(),
        }
    }
}

impl Default for TrainRecipe {
    fn default() -> Self {
        TrainRecipe {
            epochs: 10,
            batch_size: 64,
            seed: 1,
            lr: 1e-3,
            weight_decay: 0.0,
            decay_biases: true,
            label_smoothing: 0.0,
            class_weights: None,
            clip_norm: None,
            patience: None,
            ema: None,
            look_ahead: None,
            keep: Keep::default(),
            warmup_epochs: 0.0,
            optimizer: OptimizerSpec::default(),
            schedule: Schedule::default(),
            cache_features: false,
            groups: Vec::new(),
            phases: Vec::new(),
        }
    }
}

/// One `--set key=value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// Dotted, with positions in lists from 0: `train.lr`, `model.layers.0.filters`.
    pub key: String,
    /// A TOML value, or a bare string.
    pub value: String,
}

impl std::str::FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Override { key: key.trim().into(), value: value.trim().into() })
            }
            _ => Err(format!("`{text}` is not of the form key=value, such as train.lr=3e-4")),
        }
    }
}

impl Recipe {
    /// Names and texts of the recipes that come with the program.
    pub fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
        BUILT_IN.into_iter()
    }

    /// The text of a recipe that comes with the program.
    ///
    /// # Errors
    /// [`Error::UnknownRecipe`] names the nearest.
    pub fn built_in_text(name: &str) -> Result<&'static str> {
        named(&BUILT_IN, name)
    }

    /// Reads and checks a recipe; `origin` names its text in errors.
    ///
    /// # Errors
    /// [`Error::Recipe`] with the line, the key and the nearest known key.
    pub fn parse(text: &str, origin: &str) -> Result<Recipe> {
        let recipe: Recipe = parse_toml(text, origin)?;
        recipe.check().map_err(|reason| Error::Recipe { place: origin.into(), reason })?;
        Ok(recipe)
    }

    /// The recipe with some keys replaced. A new `type` takes its own defaults along.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the key, and the nearest known one.
    pub fn with_overrides(&self, overrides: &[Override]) -> Result<Recipe> {
        let (recipe, place) = replace_keys(self, overrides)?;
        recipe.check().map_err(|reason| Error::Recipe { place, reason })?;
        Ok(recipe)
    }

    /// The recipe as a file, every key with its value.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe is TOML")
    }

    /// The network's architecture.
    pub fn architecture(&self) -> Architecture {
        let ModelRecipe { layers, init, precision, .. } = &self.model;
        Architecture { layers: layers.clone(), initialization: *init, precision: *precision }
    }

    /// What is impossible about the values, if anything. The architecture is checked when the data's shape is known.
    fn check(&self) -> std::result::Result<(), String> {
        let train = &self.train;
        check_name(&self.name)?;
        at_least_one("train.epochs", train.epochs)?;
        at_least_one("train.batch-size", train.batch_size)?;
        positive("train.lr", train.lr)?;
        not_negative("train.weight-decay", train.weight_decay)?;
        not_negative("train.warmup-epochs", train.warmup_epochs)?;
        train.clip_norm.map_or(Ok(()), |norm| positive("train.clip-norm", norm))?;
        train.patience.map_or(Ok(()), |epochs| at_least_one("train.patience", epochs))?;
        if !(0.0..1.0).contains(&train.label_smoothing) {
            let value = train.label_smoothing;
            return Err(format!("train.label-smoothing must be at least 0 and less than 1, not {value}"));
        }
        if train.warmup_epochs > 0.0 && matches!(train.schedule, Schedule::OneCycle { .. }) {
            return Err(
                "train.warmup-epochs does not go with the one-cycle schedule, which has its own rise".into(),
            );
        }
        if train.warmup_epochs >= train.epochs as f64 {
            let (warmup, epochs) = (train.warmup_epochs, train.epochs);
            return Err(format!(
                "train.warmup-epochs = {warmup} leaves none of the {epochs} epochs after it"
            ));
        }
        if let Some(decay) = train.ema.filter(|decay| !(*decay > 0.0 && *decay < 1.0)) {
            return Err(format!("train.ema must lie between 0 and 1, such as 0.999, not {decay}"));
        }
        if train.ema.is_some() && train.look_ahead.is_some() {
            return Err("train.ema and train.look-ahead both average the weights; choose one".into());
        }
        train.look_ahead.map_or(Ok(()), |look_ahead| look_ahead.check())?;
        for (position, group) in train.groups.iter().enumerate() {
            group.check().map_err(|reason| format!("train.groups.{position}: {reason}"))?;
        }
        if let Some(ClassWeights::Each(weights)) = &train.class_weights
            && let Some(weight) = weights.iter().find(|weight| !(**weight >= 0.0 && weight.is_finite()))
        {
            return Err(format!("train.class-weights must be 0 or more, not {weight}"));
        }
        train.schedule.check()?;
        train.optimizer.check()?;
        phases::check(train)?;
        pretrained::check(self)?;
        if train.cache_features && !(self.data.augment.is_empty() && self.data.store_size.is_none()) {
            return Err("train.cache-features computes the features of each image once, which leaves nothing to augment; \
                        remove data.augment and data.store-size, or train.cache-features"
                .into());
        }
        self.data.check()
    }
}

impl DataRecipe {
    /// What is impossible about the values, if anything.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        if let Some(validation) = self.validation {
            positive("data.validation", validation)?;
            if validation >= 1.0 && validation.fract() != 0.0 {
                return Err(format!(
                    "data.validation must be a whole number of images, or a fraction below 1, not {validation}"
                ));
            }
        }
        self.limit.map_or(Ok(()), |images| at_least_one("data.limit", images))?;
        self.size.map_or(Ok(()), |size| at_least_one("data.size", size))?;
        if let Some(stored) = self.store_size
            && self.size.is_none_or(|size| stored < size)
        {
            return Err(format!("data.store-size = {stored} needs a data.size that is not larger"));
        }
        match self.channels {
            None | Some(1 | 3) => {}
            Some(channels) => {
                return Err(format!("data.channels must be 1 (grey) or 3 (color), not {channels}"));
            }
        }
        for (position, augmentation) in self.augment.iter().enumerate() {
            augmentation.check().map_err(|error| format!("data.augment.{position}: {error}"))?;
        }
        Ok(())
    }
}

/// A recipe of any kind from its text, unchecked; `origin` names the text in errors.
pub(crate) fn parse_toml<R: DeserializeOwned>(text: &str, origin: &str) -> Result<R> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        let place = line.map_or(origin.to_string(), |line| format!("{origin}, line {line}"));
        Error::Recipe { place, reason: spelling::explain(error.message()) }
    })
}

/// A recipe of any kind with some keys replaced, and what replaced them, for errors. It is unchecked: only together do
/// the values have to make sense.
pub(crate) fn replace_keys<R: Clone + Serialize + DeserializeOwned>(
    recipe: &R,
    overrides: &[Override],
) -> Result<(R, String)> {
    let mut recipe = recipe.clone();
    let mut places = Vec::new();
    for Override { key, value } in overrides {
        let place = format!("--set {key}={value}");
        let refuse = |reason: String| Error::Recipe { place: place.clone(), reason };
        let mut table = toml::Value::try_from(&recipe).expect("a recipe is TOML");
        // `"sgd"` stands for `{ type = "sgd" }`, without the keys of the type before.
        let key = key.strip_suffix(".type").unwrap_or(key);
        *entry(&mut table, key).map_err(refuse)? = parse_value(value);
        recipe = table.try_into().map_err(|e: toml::de::Error| refuse(spelling::explain(e.message())))?;
        places.push(place);
    }
    Ok((recipe, places.join(" ")))
}

fn at_least_one(key: &str, value: usize) -> std::result::Result<(), String> {
    match value {
        0 => Err(format!("{key} must be at least 1")),
        _ => Ok(()),
    }
}

fn not_negative(key: &str, value: f64) -> std::result::Result<(), String> {
    match value >= 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(format!("{key} must be 0 or more, not {value}")),
    }
}

fn positive(key: &str, value: f64) -> std::result::Result<(), String> {
    match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(format!("{key} must be above 0, not {value}")),
    }
}

/// What is wrong with a recipe's name, which names a folder.
pub(crate) fn check_name(name: &str) -> std::result::Result<(), String> {
    match !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        true => Ok(()),
        false => Err(format!("name must consist of letters, digits, `-`, `_` and `.`, not {name:?}")),
    }
}

/// The text of this name among those that come with the program.
///
/// # Errors
/// [`Error::UnknownRecipe`] names the nearest.
pub(crate) fn named(built_in: &[(&'static str, &'static str)], name: &str) -> Result<&'static str> {
    built_in.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).ok_or_else(|| {
        Error::UnknownRecipe {
            name: name.into(),
            hint: spelling::hint(name, built_in.iter().map(|(known, _)| *known)),
        }
    })
}

/// The value at a dotted path, with missing last keys created.
fn entry<'a>(value: &'a mut toml::Value, path: &str) -> std::result::Result<&'a mut toml::Value, String> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let next = match value {
        toml::Value::Table(table) => {
            if rest.is_some() && !table.contains_key(first) {
                return Err(format!(
                    "there is no table `{first}`{}",
                    spelling::hint(first, table.keys().map(String::as_str))
                ));
            }
            table.entry(first).or_insert(toml::Value::Boolean(false))
        }
        toml::Value::Array(list) => {
            let length = list.len();
            let position = first.parse::<usize>().ok().filter(|&position| position < length);
            let position = position.ok_or(match length {
                0 => format!("the list is empty, so it has no position `{first}`"),
                _ => format!("`{first}` is not a position in the list; it has 0 to {}", length - 1),
            })?;
            &mut list[position]
        }
        _ => return Err(format!("`{first}` is inside a plain value, which has no keys")),
    };
    match rest {
        Some(rest) => entry(next, rest),
        None => Ok(next),
    }
}

/// A TOML value where it is one, else a string: `--set train.optimizer=sgd` needs no quotes.
fn parse_value(text: &str) -> toml::Value {
    let document: Option<toml::Table> = toml::from_str(&format!("value = {text}")).ok();
    document
        .and_then(|mut table| table.remove("value").filter(|_| table.is_empty()))
        .unwrap_or_else(|| toml::Value::String(text.into()))
}

#[cfg(test)]
#[path = "recipe_tests.rs"]
mod tests;
