//! One module a command: its arguments and what it does.

pub mod audit;
pub mod baseline;
pub mod benchmark;
pub mod calibrate;
pub mod compare;
pub mod data;
pub mod embed;
pub mod evaluate;
pub mod explain;
pub mod predict;
pub mod recipes;
pub mod robustness;
pub mod strangers;
pub mod study;
pub mod summary;
pub mod train;
pub mod tune;

use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::Context as _;
use tailor_data::{Dataset, Source, Views};
use tailor_train::pretrained::{self, Weights};
use tailor_train::{BaselineRecipe, Classifier, Model, Override, Recipe, RunData, batch_size, recipe};

use crate::Context;
use crate::progress::{Decoding, Download, say};

/// An error in what was asked: exit status 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A source as an absolute path, so that a run on it can be resumed and evaluated from anywhere.
fn absolute_source(source: &str) -> String {
    match Source::parse(source) {
        Source::Path(path) => path.canonicalize().unwrap_or(path).display().to_string(),
        named => named.to_string(),
    }
}

/// Weights with an absolute path, so that a run that begins with them can be begun again from anywhere.
fn absolute_weights(text: &str) -> Weights {
    match Weights::from(text.to_string()) {
        Weights::File(path) => Weights::File(path.canonicalize().unwrap_or(path)),
        named => named,
    }
}

/// Downloads the weights that a recipe begins with, unless they are there.
fn fetch_weights(recipe: &Recipe, context: &Context) -> anyhow::Result<()> {
    let download = Download::new(context.quiet);
    Ok(pretrained::fetch(recipe, &mut |progress| download.show(progress))?)
}

/// Which recipe, and what of it is replaced.
#[derive(clap::Args)]
pub struct RecipeArgs {
    /// A built-in recipe (see `tailor recipes`) or a file [default: starter]
    #[arg(value_name = "RECIPE|FILE.toml")]
    pub recipe: Option<String>,

    /// What to train on: fashion-mnist, mnist, a folder of class folders, IDX files or a CSV file
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,

    /// Passes over the training images
    #[arg(long, value_name = "N")]
    epochs: Option<NonZeroUsize>,

    /// Of everything random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Train on N images only
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,

    /// What a published network in the recipe begins with: imagenet, none, or a file (safetensors, .pth, .whl)
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,

    /// Replace a key of the recipe (may be repeated); train.batch-size=auto measures which size is fastest
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,
}

impl RecipeArgs {
    /// Whether anything was given.
    pub fn is_empty(&self) -> bool {
        let RecipeArgs { recipe, data, epochs, seed, limit, weights, overrides } = self;
        let texts = [recipe, data, weights].into_iter().all(Option::is_none);
        texts && epochs.is_none() && seed.is_none() && limit.is_none() && overrides.is_empty()
    }

    /// The recipe with everything replaced, and its data, opened. An automatic batch size is measured and becomes a number.
    pub fn resolve(&self, context: &Context) -> anyhow::Result<(Recipe, RunData)> {
        let mut recipe = recipe(self.recipe.as_deref().unwrap_or(recipe::DEFAULT), &[])?;
        if let Some(source) = &self.data {
            recipe.data.source = absolute_source(source);
        }
        recipe.train.epochs = self.epochs.map_or(recipe.train.epochs, NonZeroUsize::get);
        recipe.train.seed = self.seed.unwrap_or(recipe.train.seed);
        recipe.data.limit = self.limit.map(NonZeroUsize::get).or(recipe.data.limit);
        let is_automatic = |set: &&Override| set.key == "train.batch-size" && set.value == "auto";
        let (automatic, given): (Vec<&Override>, Vec<&Override>) =
            self.overrides.iter().partition(is_automatic);
        let weights = self.weights.as_ref().map(|weights| Override {
            key: "model.weights".into(),
            value: String::from(absolute_weights(weights)),
        });
        let given: Vec<Override> = given.into_iter().cloned().chain(weights).collect();
        let mut recipe = recipe.with_overrides(&given)?;
        fetch_weights(&recipe, context)?;
        let data = open_data(&recipe, context)?;
        if !automatic.is_empty() {
            recipe.train.batch_size = fastest_batch_size(&recipe, &data, context)?;
        }
        Ok((recipe, data))
    }
}

/// Opens the data of a recipe, and shows how far that is where photographs have to be decoded.
fn open_data(recipe: &Recipe, context: &Context) -> anyhow::Result<RunData> {
    let decoding = Decoding::new(context.quiet);
    Ok(RunData::open_watched(recipe, &|done, of| decoding.show(done, of))?)
}

/// Measures batch sizes and says what was found.
fn fastest_batch_size(recipe: &Recipe, data: &RunData, context: &Context) -> anyhow::Result<usize> {
    let sizes = batch_size::measure(recipe, data, &context.device)?;
    if !context.quiet {
        for speed in &sizes.speeds {
            let is_suggested = speed.batch_size == sizes.suggestion;
            let mark = if is_suggested { "  ← the smallest within 5 % of the fastest" } else { "" };
            say(format_args!(
                "batch {:>5}  {:>9.0} images/s{mark}",
                speed.batch_size, speed.images_per_second
            ));
        }
        if sizes.is_bounded_by_memory {
            say("note: larger batches would need more than half of the free memory");
        }
        say(format_args!("train.batch-size = {}\n", sizes.suggestion));
    }
    Ok(sizes.suggestion)
}

/// The recipe of a built-in name or of a file, with some keys replaced.
fn recipe(name_or_file: &str, overrides: &[Override]) -> anyhow::Result<Recipe> {
    if BaselineRecipe::built_in_text(name_or_file).is_ok() {
        let text = format!("`{name_or_file}` is no network; fit it with: tailor baseline {name_or_file}");
        return Err(Usage(text).into());
    }
    let recipe = if is_recipe_file(name_or_file) {
        let text = std::fs::read_to_string(Path::new(name_or_file))
            .with_context(|| format!("cannot read the recipe {name_or_file}"))?;
        Recipe::parse(&text, name_or_file)?
    } else {
        Recipe::parse(Recipe::built_in_text(name_or_file)?, name_or_file)?
    };
    Ok(recipe.with_overrides(overrides)?)
}

/// Whether it is a recipe's file rather than a built-in name.
fn is_recipe_file(name_or_file: &str) -> bool {
    name_or_file.ends_with(".toml") || name_or_file.contains(std::path::is_separator)
}

/// A model that looks at each image in the ways that are asked for, else in its own.
fn model(path: &Path, views: Option<Views>, context: &Context) -> anyhow::Result<Model> {
    let model = Model::load(path, &context.device)?;
    let views = views.unwrap_or(model.views);
    if views != Views::None && matches!(model.classifier, Classifier::Baseline(_)) {
        return Err(Usage("--views is for networks; a baseline looks at each image once".into()).into());
    }
    Ok(Model { views, ..model })
}

/// The command that is running, to be shown on its page and typed into a shell.
fn command_line() -> String {
    let quoted = |text: String| match text.contains([' ', '\'', '"', '\\', '$']) {
        true => format!("'{}'", text.replace('\'', "'\\''")),
        false => text,
    };
    let arguments = std::env::args_os().skip(1).map(|argument| quoted(argument.to_string_lossy().into()));
    std::iter::once("tailor".to_string()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Whether a model can be judged on these images.
fn check_fit(model: &Model, images: &Dataset) -> anyhow::Result<()> {
    let info = &model.info;
    if images.shape() != info.shape {
        return Err(Usage(format!(
            "the model takes images of {}, but these are {}; choose data of its size",
            info.shape,
            images.shape()
        ))
        .into());
    }
    if images.classes() != info.class_names.len() {
        return Err(Usage(format!(
            "the model knows {} classes, but the data has {}",
            info.class_names.len(),
            images.classes()
        ))
        .into());
    }
    Ok(())
}
