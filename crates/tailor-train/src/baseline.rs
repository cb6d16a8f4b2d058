//! Baselines: classical classifiers, from a recipe to a model file.
//!
//! ```toml
//! name = "pca-rbf-svm"
//! description = "The first 100 principal components of the pixels into an RBF SVM"
//!
//! [features]
//! from = ["pixels"]
//! pca = 100
//!
//! [classifier]
//! type = "rbf-svm"
//! c = 10
//! ```
//!
//! `[data]` is as in a network's recipe; of `[train]` there is the seed.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use tailor_baseline::{Baseline, ClassifierSpec, FeaturePlan, FeatureSpec, Plan, Watcher};
use tailor_data::{Dataset, Sampling};
use tailor_eval::{EpochRecord, Evaluation, History, Predictions};
use tailor_nn::shorthand;

use crate::any_recipe::AnyRecipe;
use crate::data::RunData;
use crate::inference;
use crate::model_file::{ModelInfo, ValidationMetrics};
use crate::recipe::{DataRecipe, Override, check_name, named, parse_toml, replace_keys};
use crate::run::{RunFolder, files};
use crate::{Error, Result};

/// The baselines that come with the program, by name.
const BUILT_IN: [(&str, &str); 10] = [
    ("logistic-regression", include_str!("../../../recipes/baselines/logistic-regression.toml")),
    ("linear-svm", include_str!("../../../recipes/baselines/linear-svm.toml")),
    ("rbf-svm", include_str!("../../../recipes/baselines/rbf-svm.toml")),
    ("pca-rbf-svm", include_str!("../../../recipes/baselines/pca-rbf-svm.toml")),
    ("hog-svm", include_str!("../../../recipes/baselines/hog-svm.toml")),
    ("histogram-logistic", include_str!("../../../recipes/baselines/histogram-logistic.toml")),
    ("knn", include_str!("../../../recipes/baselines/knn.toml")),
    ("decision-tree", include_str!("../../../recipes/baselines/decision-tree.toml")),
    ("random-forest", include_str!("../../../recipes/baselines/random-forest.toml")),
    ("gradient-boosting", include_str!("../../../recipes/baselines/gradient-boosting.toml")),
];

/// A complete, checked recipe of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineRecipe {
    /// Names the run's folder.
    pub name: String,
    /// One line on what it is.
    #[serde(default)]
    pub description: String,
    /// From pixels to numbers.
    #[serde(default)]
    pub features: FeaturesRecipe,
    /// From numbers to classes.
    #[serde(deserialize_with = "shorthand::one")]
    pub classifier: ClassifierSpec,
    /// What it learns from.
    #[serde(default)]
    pub data: DataRecipe,
    /// How it learns.
    #[serde(default)]
    pub train: BaselineTrain,
}

/// The features of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct FeaturesRecipe {
    /// Set side by side.
    #[serde(deserialize_with = "shorthand::list")]
    pub from: Vec<FeatureSpec>,
    /// Whether each number is brought to mean 0 and deviation 1 over the training part.
    pub standardize: bool,
    /// Principal components that are kept instead of all numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pca: Option<usize>,
}

/// What is left to choose about the fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct BaselineTrain {
    /// Of everything random: split, order, rows and features that trees see.
    pub seed: u64,
}

impl Default for FeaturesRecipe {
    fn default() -> Self {
        FeaturesRecipe { from: vec![FeatureSpec::Pixels {}], standardize: false, pca: None }
    }
}

impl Default for BaselineTrain {
    fn default() -> Self {
        BaselineTrain { seed: 1 }
    }
}

impl BaselineRecipe {
    /// Names and texts of the baselines that come with the program.
    pub fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
        BUILT_IN.into_iter()
    }

    /// The text of a baseline that comes with the program.
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
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let recipe: BaselineRecipe = parse_toml(text, origin)?;
        recipe.check().map_err(|reason| Error::Recipe { place: origin.into(), reason })?;
        Ok(recipe)
    }

    /// The recipe with some keys replaced. A new `type` takes its own defaults along.
    ///
    /// # Errors
    /// [`Error::Recipe`] names the key, and the nearest known one.
    pub fn with_overrides(&self, overrides: &[Override]) -> Result<Self> {
        let (recipe, place) = replace_keys(self, overrides)?;
        recipe.check().map_err(|reason| Error::Recipe { place, reason })?;
        Ok(recipe)
    }

    /// The recipe as a file, every key with its value.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe is TOML")
    }

    /// Features and classifier.
    pub fn plan(&self) -> Plan {
        let FeaturesRecipe { from, standardize, pca } = self.features.clone();
        Plan { features: FeaturePlan { from, standardize, pca }, classifier: self.classifier }
    }

    /// What is impossible about the values, if anything. Features are checked when the data's shape is known.
    fn check(&self) -> std::result::Result<(), String> {
        check_name(&self.name)?;
        self.classifier.check().map_err(|error| error.to_string())?;
        self.data.check()?;
        let DataRecipe { augment, sampling, store_size, .. } = &self.data;
        let for_networks = [
            ("data.augment", augment.is_empty()),
            ("data.sampling", *sampling == Sampling::default()),
            ("data.store-size", store_size.is_none()),
        ];
        if let Some((key, _)) = for_networks.iter().find(|(_, is_default)| !is_default) {
            return Err(format!("{key} is for networks; a baseline learns from the images as they are"));
        }
        Ok(())
    }
}

/// Fits a baseline and leaves its model file and its one row of metrics, which are returned, in the run's folder. The same
/// recipe and data give the same model, whatever the number of threads.
///
/// # Errors
/// [`tailor_baseline::Error::Stopped`] when the watcher asked for it, before anything was written;
/// [`Error::File`] when the folder cannot be written.
pub fn fit(
    recipe: &BaselineRecipe,
    data: &RunData,
    folder: &RunFolder,
    watcher: &dyn Watcher,
) -> Result<History> {
    let RunData { train, validation, normalization, .. } = data;
    let seed = recipe.train.seed;
    let start = Instant::now();
    let baseline = Baseline::fit(recipe.plan(), train, validation, normalization, seed, watcher)?;
    let seconds = start.elapsed().as_secs_f64();
    let (loss, accuracy) = judge(&baseline, validation)?;
    // On as many images, because some baselines take longer to predict the training part than to learn it.
    let (train_loss, train_accuracy) = judge(&baseline, &train.limit(validation.len(), seed))?;
    let info = ModelInfo {
        recipe: AnyRecipe::Baseline(recipe.clone()),
        data_name: data.name.clone(),
        class_names: train.class_names().to_vec(),
        shape: train.shape(),
        normalization: normalization.clone(),
        preparation: data.preparation,
        validation: Some(ValidationMetrics { epoch: 1, loss, accuracy }),
    };
    folder.write(files::MODEL, &info.baseline_bytes(&baseline))?;
    let history = History(vec![EpochRecord {
        epoch: 1,
        learning_rate: 0.0,
        train_loss,
        train_accuracy,
        validation_loss: Some(loss),
        validation_accuracy: Some(accuracy),
        seconds,
        images_per_second: train.len() as f64 / seconds,
    }]);
    let mut csv = Vec::new();
    history.write_csv(&mut csv)?;
    folder.write(files::METRICS, &csv)?;
    Ok(history)
}

/// Loss and accuracy.
fn judge(baseline: &Baseline, images: &Dataset) -> Result<(f64, f64)> {
    let logits = inference::baseline_logits(baseline, images);
    let labels = (0..images.len()).map(|i| images.label(i)).collect();
    let predictions = Predictions::from_logits(images.class_names().to_vec(), labels, &logits)?;
    let Evaluation { loss, accuracy, .. } = Evaluation::of(&predictions)?;
    Ok((loss, accuracy))
}
