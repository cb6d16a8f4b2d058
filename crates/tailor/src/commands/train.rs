//! `tailor train`: from a recipe to a run's folder.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use tailor_data::Source;
use tailor_train::run::files;
use tailor_train::{Model, Outcome, Override, Recipe, RunData, RunFolder, Start, recipe};

use super::Usage;
use crate::progress::{Console, say};
use crate::results::Results;
use crate::{Context, interrupt};

/// Train a network, judge it on the test set, and leave a folder with the model and a report
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor train                                        the default recipe on Fashion-MNIST
  tailor train cnn-32-64-64 --epochs 5 --seed 7
  tailor train cnn-32-64 --data photos/               a folder of class folders
  tailor train mine.toml --set train.lr=3e-4 --set train.optimizer=adamw
  tailor train --run runs/starter-001 --resume      go on with a run that was stopped

The run's folder holds recipe.toml, metrics.csv, TensorBoard events, model.safetensors (the best
epoch on the validation part), last.checkpoint, evaluation.json, predictions.csv, plots and report.html.")]
pub struct Args {
    /// A built-in recipe (see `tailor recipes`) or a file [default: starter]
    #[arg(value_name = "RECIPE|FILE.toml")]
    recipe: Option<String>,

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

    /// Replace a key of the recipe (may be repeated)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,

    /// The run's folder [default: runs/RECIPE-001, -002, …]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,

    /// Go on with the run in the folder given by --run
    #[arg(long, requires = "run", conflicts_with_all = ["recipe", "data", "epochs", "seed", "limit", "overrides"])]
    resume: bool,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    interrupt::listen();
    let (recipe, start) = match (&args.run, args.resume) {
        (Some(folder), true) => (recipe_of_run(folder)?, Start::Resume),
        _ => (recipe_of_arguments(&args)?, Start::Fresh),
    };
    // Whatever is impossible is refused before a folder is made.
    let data = RunData::open(&recipe)?;
    recipe.architecture().plan(data.shape(), data.train.classes())?;
    let folder = match (&args.run, start) {
        (Some(path), Start::Resume) => RunFolder::open(path)?,
        (Some(path), Start::Fresh) => RunFolder::create(path)?,
        (None, _) => RunFolder::create_next(Path::new("runs"), &recipe.name)?,
    };
    let version = env!("CARGO_PKG_VERSION");
    folder.write(files::RECIPE, format!("# tailor {version}\n{}", recipe.to_toml()).as_bytes())?;
    if !context.quiet {
        announce(&recipe, &data, &folder);
    }
    train(&recipe, &data, &folder, start, &context)
}

fn train(
    recipe: &Recipe,
    data: &RunData,
    folder: &RunFolder,
    start: Start,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let mut console = Console::new(recipe, context);
    let run = tailor_train::Run { recipe, data, folder, device: &context.device, threads: context.threads };
    let outcome = tailor_train::train(run, start, &mut console)?;
    drop(console);
    let progress = match outcome {
        Outcome::Stopped(progress) => {
            let path = folder.path().display();
            say(format_args!(
                "stopped in epoch {}, step {}; go on with: tailor train --run {path} --resume",
                progress.epochs + 1,
                progress.steps
            ));
            return Ok(ExitCode::from(interrupt::EXIT_CODE));
        }
        Outcome::Finished(progress) => progress,
    };

    let model = Model::load(folder.path(), &context.device)?;
    let (part, images) = match &data.test {
        Some(test) => ("test", test),
        None => ("validation", &data.validation),
    };
    let results = Results::new(&model, images, part, &data.name, progress.history, context)?;
    results.write(folder.path())?;
    results.print(context.quiet, Some(&folder.file(files::REPORT)))?;
    Ok(ExitCode::SUCCESS)
}

fn recipe_of_arguments(args: &Args) -> anyhow::Result<Recipe> {
    let mut recipe = super::recipe(args.recipe.as_deref().unwrap_or(recipe::DEFAULT), &[])?;
    if let Some(source) = &args.data {
        // Absolute, so that the run can be resumed and evaluated from anywhere.
        recipe.data.source = match Source::parse(source) {
            Source::Path(path) => path.canonicalize().unwrap_or(path).display().to_string(),
            named => named.to_string(),
        };
    }
    recipe.train.epochs = args.epochs.map_or(recipe.train.epochs, NonZeroUsize::get);
    recipe.train.seed = args.seed.unwrap_or(recipe.train.seed);
    recipe.data.limit = args.limit.map(NonZeroUsize::get).or(recipe.data.limit);
    Ok(recipe.with_overrides(&args.overrides)?)
}

fn recipe_of_run(folder: &Path) -> anyhow::Result<Recipe> {
    let path = folder.join(files::RECIPE);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Usage(format!(
            "{} holds no run that could be resumed: cannot read {}: {error}",
            folder.display(),
            files::RECIPE
        ))
    })?;
    Recipe::parse(&text, &path.display().to_string()).context("the run cannot be resumed")
}

fn announce(recipe: &Recipe, data: &RunData, folder: &RunFolder) {
    say(format_args!("recipe  {}  {}", recipe.name, recipe.description));
    let test = data.test.as_ref().map_or("no".to_string(), |test| test.len().to_string());
    say(format_args!(
        "data    {}: {} training, {} validation, {test} test images of {}, {} classes",
        data.name,
        data.train.len(),
        data.validation.len(),
        data.train.shape(),
        data.train.classes()
    ));
    say(format_args!("run     {}\n", folder.path().display()));
    for note in &data.notes {
        say(format_args!("note: {note}"));
    }
}
