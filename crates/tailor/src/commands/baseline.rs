//! `tailor baseline`: a classical classifier, from a recipe to a run's folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::Context as _;
use indicatif::ProgressBar;
use tailor_baseline::Watcher;
use tailor_train::run::files;
use tailor_train::{BaselineRecipe, Error, Override, RunData, RunFolder, baseline, confidence};

use crate::progress::{bar_style, say};
use crate::results::Results;
use crate::{Context, interrupt};

/// Fit a classical classifier, judge it on the test set, and leave a folder as `train` does
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor baseline                                  lists those that come with the program
  tailor baseline hog-svm
  tailor baseline knn --set classifier.k=3 --data photos/
  tailor baseline random-forest --set classifier.trees=20 --set data.limit=5000
  tailor recipes hog-svm > mine.toml               a file to edit: tailor baseline mine.toml

A baseline is fitted in one go: there is nothing to resume, and a run that is stopped leaves nothing.
The run's folder works with evaluate and predict.")]
pub struct Args {
    /// A built-in baseline or a file
    #[arg(value_name = "NAME|FILE.toml")]
    name: Option<String>,

    /// What to fit it to: fashion-mnist, mnist, a folder of class folders, IDX files or a CSV file
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,

    /// Of everything random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Replace a key of the recipe (may be repeated)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,

    /// The run's folder [default: runs/NAME-001, -002, …]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    let Some(name) = &args.name else {
        super::recipes::list_baselines(&mut std::io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    };
    let recipe = resolved(name, &args)?;
    // Whatever is impossible is refused before a folder is made.
    let data = RunData::split(&recipe.data, recipe.train.seed)?;
    // Before, Ctrl-C ends at once.
    interrupt::listen();
    recipe.plan().check(data.train.shape(), data.train.classes())?;
    let folder = match &args.run {
        Some(path) => RunFolder::create(path)?,
        None => RunFolder::create_next(Path::new("runs"), &recipe.name)?,
    };
    if !context.quiet {
        say(format_args!("baseline {}  {}", recipe.name, recipe.description));
        super::train::announce_data(&data, &folder);
    }
    let stages = Stages::new(context.quiet);
    let fitted = baseline::fit(&recipe, &data, &folder, &stages);
    stages.clear();
    let history = match fitted {
        Err(Error::Baseline(tailor_baseline::Error::Stopped)) => {
            folder.discard()?;
            say("stopped; nothing was kept");
            return Ok(ExitCode::from(interrupt::EXIT_CODE));
        }
        fitted => fitted?,
    };
    let version = env!("CARGO_PKG_VERSION");
    folder.write(files::RECIPE, format!("# tailor {version}\n{}", recipe.to_toml()).as_bytes())?;

    let model = confidence::complete(folder.path(), &data, &context.device)?;
    let (part, images) = match &data.test {
        Some(test) => ("test", test),
        None => ("validation", &data.validation),
    };
    let results = Results::new(&model, images, part, &data.name, history, &context)?;
    results.write(folder.path())?;
    results.print(context.quiet, Some(&folder.file(files::REPORT)))?;
    Ok(ExitCode::SUCCESS)
}

/// The recipe that the arguments say.
fn resolved(name: &str, args: &Args) -> anyhow::Result<BaselineRecipe> {
    let mut recipe = recipe(name, &[])?;
    if let Some(source) = &args.data {
        recipe.data.source = super::absolute_source(source);
    }
    recipe.train.seed = args.seed.unwrap_or(recipe.train.seed);
    Ok(recipe.with_overrides(&args.overrides)?)
}

/// The recipe of a built-in name or of a file, with some keys replaced.
pub(super) fn recipe(name: &str, overrides: &[Override]) -> anyhow::Result<BaselineRecipe> {
    let recipe = match super::is_recipe_file(name) {
        true => {
            let text =
                std::fs::read_to_string(name).with_context(|| format!("cannot read the recipe {name}"))?;
            BaselineRecipe::parse(&text, name)?
        }
        false => BaselineRecipe::parse(BaselineRecipe::built_in_text(name)?, name)?,
    };
    Ok(recipe.with_overrides(overrides)?)
}

/// Shows how far a fit has come: a bar on a terminal, a line a stage everywhere.
pub(super) struct Stages {
    quiet: bool,
    bar: ProgressBar,
    stage: Mutex<String>,
}

impl Stages {
    pub(super) fn new(quiet: bool) -> Self {
        // Hides itself when standard error is no terminal.
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(1) };
        let template = "{wide_bar:.cyan/dim} {pos}/{len}  {msg}";
        bar.set_style(bar_style(template));
        Stages { quiet, bar, stage: Mutex::default() }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Stages {
    fn progress(&self, stage: &str, done: usize, all: usize) {
        if self.quiet {
            return;
        }
        let mut current = self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if *current != stage {
            *current = stage.into();
            match self.bar.is_hidden() {
                true => say(format_args!("fitting: {stage}")),
                false => self.bar.set_message(stage.to_string()),
            }
        }
        self.bar.set_length(all as u64);
        self.bar.set_position(done as u64);
    }

    fn should_stop(&self) -> bool {
        interrupt::requested()
    }
}
