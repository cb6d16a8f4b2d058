//! `tailor train`: from a recipe to a run's folder.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use tailor_report::{Rate, rate_plot};
use tailor_train::run::files;
use tailor_train::{Outcome, Recipe, RunData, RunFolder, Start, confidence, learning_rate};

use super::{RecipeArgs, Usage, open_data};
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
  tailor train mobilenet-v2-finetune --data photos/   a network that ImageNet has taught, on your photographs
  tailor train mine.toml --set train.lr=3e-4 --set train.optimizer=adamw
  tailor train --run runs/starter-001 --resume        go on with a run that was stopped
  tailor train cnn-32-64 --find-lr                    which learning rate to begin with
  tailor train cnn-32-64 --set train.batch-size=auto  the fastest batch size on this machine

The run's folder holds recipe.toml, metrics.csv, TensorBoard events, model.safetensors (the best
epoch on the validation part), last.checkpoint, evaluation.json, predictions.csv, plots and report.html.")]
pub struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,

    /// The run's folder [default: runs/RECIPE-001, -002, …]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,

    /// Go on with the run in the folder given by --run
    #[arg(long, requires = "run", conflicts_with_all = ["recipe", "data", "epochs", "seed", "limit", "weights", "overrides"])]
    resume: bool,

    /// Do not train: raise the learning rate step by step, draw the loss against it, and suggest a rate
    #[arg(long, conflicts_with = "resume")]
    find_lr: bool,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    // Whatever is impossible is refused before a folder is made.
    let (recipe, data, start) = match (&args.run, args.resume) {
        (Some(folder), true) => {
            let recipe = recipe_of_run(folder)?;
            let data = open_data(&recipe, &context)?;
            (recipe, data, Start::Resume)
        }
        _ => {
            let (recipe, data) = args.recipe.resolve(&context)?;
            (recipe, data, Start::Fresh)
        }
    };
    if start == Start::Fresh {
        tailor_train::check(&recipe, &data)?;
    }
    // From here on there is something to end cleanly; before, Ctrl-C ends at once, and the cache has what was decoded.
    interrupt::listen();
    if args.find_lr {
        return find_learning_rate(&recipe, &data, args.run.as_deref(), &context);
    }
    let folder = match (&args.run, start) {
        (Some(path), Start::Resume) => RunFolder::open(path)?,
        (Some(path), Start::Fresh) => RunFolder::create(path)?,
        (None, _) => RunFolder::create_next(Path::new("runs"), &recipe.name)?,
    };
    let version = env!("CARGO_PKG_VERSION");
    folder.write(files::RECIPE, format!("# tailor {version}\n{}", recipe.to_toml()).as_bytes())?;
    if !context.quiet {
        say(format_args!("recipe  {}  {}", recipe.name, recipe.description));
        announce_data(&data, &folder);
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

    let model = confidence::complete(folder.path(), data, &context.device)?;
    let (part, images) = match &data.test {
        Some(test) => ("test", test),
        None => ("validation", &data.validation),
    };
    let results = Results::new(&model, images, part, &data.name, progress.history, context)?;
    results.write(folder.path())?;
    results.print(context.quiet, Some(&folder.file(files::REPORT)))?;
    Ok(ExitCode::SUCCESS)
}

/// The learning-rate range test, into a folder of its own.
fn find_learning_rate(
    recipe: &Recipe,
    data: &RunData,
    folder: Option<&Path>,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let test = learning_rate::range_test(recipe, data, &context.device)?;
    let folder = match folder {
        Some(path) => RunFolder::create(path)?,
        None => RunFolder::create_next(Path::new("runs"), &format!("{}-find-lr", recipe.name))?,
    };
    let rates: Vec<Rate> = test
        .points
        .iter()
        .map(|point| Rate { rate: point.learning_rate, loss: point.loss, smoothed: point.smoothed })
        .collect();
    for (name, bytes) in rate_plot(&rates, test.suggestion)? {
        folder.write(&name, &bytes)?;
    }
    let rows = rates.iter().map(|rate| format!("{:e},{},{}\n", rate.rate, rate.loss, rate.smoothed));
    let csv: String = std::iter::once("learning_rate,loss,smoothed\n".to_string()).chain(rows).collect();
    folder.write("learning-rate.csv", csv.as_bytes())?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "learning rate  {:e}  (the loss falls fastest; it is lowest at {:.1e})",
        test.suggestion, test.lowest
    )?;
    if !context.quiet {
        let command = args_of_recipe(recipe);
        writeln!(out, "picture        {}", folder.file("learning-rate.png").display())?;
        writeln!(out, "go on with     tailor train {command} --set train.lr={:e}", test.suggestion)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How the recipe is named on the command line.
fn args_of_recipe(recipe: &Recipe) -> &str {
    if Recipe::built_in().any(|(name, _)| name == recipe.name) { &recipe.name } else { "FILE.toml" }
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

/// Says what a run learns from and where it leaves things.
pub fn announce_data(data: &RunData, folder: &RunFolder) {
    let test = data.test.as_ref().map_or("no".to_string(), |test| test.len().to_string());
    say(format_args!(
        "data    {}: {} training, {} validation, {test} test images of {}, {} classes",
        data.name,
        data.train.len(),
        data.validation.len(),
        data.validation.shape(),
        data.train.classes()
    ));
    say(format_args!("run     {}\n", folder.path().display()));
    for note in &data.notes {
        say(format_args!("note: {note}"));
    }
}
