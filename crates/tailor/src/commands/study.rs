//! `tailor study`: the same network trained in several ways, and what comes of it in words.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::ProgressBar;
use tailor_eval::{EpochRecord, History, thousands};
use tailor_nn::Summary;
use tailor_report::{Comparison, Convergence, Question, convergence_html, convergence_words};
use tailor_train::checkpoint::{Partial, Progress};
use tailor_train::run::{files, replace_file};
use tailor_train::study::{Variant, convergence, positions};
use tailor_train::{Error, Observer, Outcome, Override, RunData, RunFolder, Start};

use super::Usage;
use crate::progress::{bar_style, say};
use crate::{Context, interrupt};

/// Train the same network in several ways and compare them
#[derive(clap::Subcommand)]
pub enum Command {
    Convergence(Args),
}

/// With and without batch norm and augmentation, and with each initialization: who learns faster, who ends better
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor study convergence                                ten ways, three seeds, ten epochs each
  tailor study convergence cnn-32-64 --epochs 5 --seeds 1,2
  tailor study convergence mine.toml --data photos/ --output study/

Only the validation part is looked at. Runs that are finished are not repeated: the same command goes on where it was
stopped. The folder holds convergence.html, convergence.csv and every run's folder.")]
pub struct Args {
    /// A built-in recipe (see `tailor recipes`) or a file
    #[arg(value_name = "RECIPE|FILE.toml", default_value = "cnn-32-64-64")]
    recipe: String,

    /// What to train on: fashion-mnist, mnist, a folder of class folders, IDX files or a CSV file
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,

    /// Epochs of each run [default: the recipe's]
    #[arg(long, value_name = "N")]
    epochs: Option<NonZeroUsize>,

    /// Train on N images only
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,

    /// Seeds, a run of each variant for each
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,

    /// Replace a key of the recipe (may be repeated)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,

    /// The study's folder [default: studies/convergence-RECIPE]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub fn run(command: Command, context: Context) -> anyhow::Result<ExitCode> {
    let Command::Convergence(args) = command;
    interrupt::listen();
    if let Some(seed) = args.seeds.iter().enumerate().find(|(i, seed)| args.seeds[..*i].contains(seed)) {
        return Err(Usage(format!("--seeds names {} twice; a run is not repeated", seed.1)).into());
    }
    let mut recipe = super::recipe(&args.recipe, &[])?;
    if let Some(source) = &args.data {
        recipe.data.source = super::absolute_source(source);
    }
    recipe.train.epochs = args.epochs.map_or(recipe.train.epochs, NonZeroUsize::get);
    recipe.data.limit = args.limit.map(NonZeroUsize::get).or(recipe.data.limit);
    let recipe = recipe.with_overrides(&args.overrides)?;
    let variants = convergence(&recipe).map_err(Usage)?;
    let folder = args
        .output
        .clone()
        .unwrap_or_else(|| Path::new("studies").join(format!("convergence-{}", recipe.name)));

    let Some(trained) = train_all(&variants, &args.seeds, &folder, &context)? else {
        say("stopped; the same command goes on from here");
        return Ok(ExitCode::from(interrupt::EXIT_CODE));
    };
    let seeds: Vec<String> = args.seeds.iter().map(u64::to_string).collect();
    let title = format!("Convergence of {}", recipe.name);
    let description = format!(
        "{} images of {}, {} epochs, seeds {}; validated on {} others",
        thousands(trained.images),
        trained.data_name,
        recipe.train.epochs,
        seeds.join(", "),
        thousands(trained.validated)
    );
    let reproduce = super::command_line();
    let study = Convergence {
        title: &title,
        description: &description,
        questions: questions(&variants),
        variants: trained.variants,
        facts: vec![
            ("tailor".into(), env!("CARGO_PKG_VERSION").into()),
            ("Threads".into(), context.threads.to_string()),
            ("Instructions".into(), tailor_kernels::Isa::current().to_string()),
            ("Batch size".into(), recipe.train.batch_size.to_string()),
            ("Learning rate".into(), recipe.train.lr.to_string()),
        ],
        reproduce: &reproduce,
    };
    replace_file(&folder.join("convergence.csv"), &csv(&study, &args.seeds)?)?;
    let page = folder.join("convergence.html");
    replace_file(&page, convergence_html(&study)?.as_bytes())?;
    let mut out = std::io::stdout().lock();
    for (question, sentences) in convergence_words(&study) {
        writeln!(out, "{question}")?;
        sentences.iter().try_for_each(|sentence| writeln!(out, "  {sentence}"))?;
    }
    if !context.quiet {
        writeln!(out, "page: {}", page.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What all runs left, and what they were trained on.
struct Trained {
    variants: Vec<tailor_report::Variant>,
    data_name: String,
    images: usize,
    validated: usize,
}

/// Trains each variant with each seed; none if somebody asked to stop.
fn train_all(
    variants: &[Variant],
    seeds: &[u64],
    folder: &Path,
    context: &Context,
) -> anyhow::Result<Option<Trained>> {
    let mut trained: Option<Trained> = None;
    let runs = variants.len() * seeds.len();
    for (position, variant) in variants.iter().enumerate() {
        let mut histories = Vec::new();
        for (number, seed) in seeds.iter().enumerate() {
            let mut recipe = variant.recipe.clone();
            recipe.train.seed = *seed;
            let data = RunData::open(&recipe)?;
            tailor_train::check(&recipe, &data)?;
            let name = format!("{} · seed {seed}", variant.name);
            let mut line = RunLine::new(&name, recipe.train.epochs, context.quiet);
            let path = folder.join(variant.name.replace(' ', "-")).join(format!("seed-{seed}"));
            let Some(history) = train(&recipe, &data, &path, &mut line, context)? else { return Ok(None) };
            line.finish(position * seeds.len() + number + 1, runs, &history);
            histories.push(history);
            trained.get_or_insert_with(|| Trained {
                variants: Vec::new(),
                data_name: data.name.clone(),
                images: data.train.len(),
                validated: data.validation.len(),
            });
        }
        let name = match position {
            positions::PLAIN => format!("plain ({})", variant.recipe.model.init),
            _ => variant.name.clone(),
        };
        if let Some(trained) = &mut trained {
            trained.variants.push(tailor_report::Variant { name, runs: histories });
        }
    }
    Ok(trained)
}

/// Trains one run to its end, or finds it there; none if somebody asked to stop. A run that diverges ends early.
pub(super) fn train(
    recipe: &tailor_train::Recipe,
    data: &RunData,
    path: &Path,
    observer: &mut RunLine,
    context: &Context,
) -> anyhow::Result<Option<History>> {
    // A run that was killed before its first checkpoint has its recipe only.
    let folder = match path.join(files::RECIPE).exists() {
        true => RunFolder::open(path)?,
        false => RunFolder::create(path)?,
    };
    let start = if path.join(files::CHECKPOINT).exists() { Start::Resume } else { Start::Fresh };
    if start == Start::Fresh {
        folder.write(files::RECIPE, recipe.to_toml().as_bytes())?;
    }
    let run = tailor_train::Run {
        recipe,
        data,
        folder: &folder,
        device: &context.device,
        threads: context.threads,
    };
    match tailor_train::train(run, start, observer) {
        Ok(Outcome::Finished(progress)) => Ok(Some(progress.history)),
        Ok(Outcome::Stopped(_)) => Ok(None),
        Err(Error::Diverged { .. }) => Ok(Some(std::mem::take(&mut observer.history))),
        Err(error @ Error::NotResumable(..)) => Err(anyhow::Error::from(error)
            .context("the study in this folder was begun otherwise; choose another with --output")),
        Err(error) => Err(error.into()),
    }
}

fn questions(variants: &[Variant]) -> Vec<Question> {
    use positions::{AUGMENTATION, BATCH_NORM, BOTH, INITIALIZATIONS, PLAIN};
    let compare = |with, without, what: &str| Comparison { variants: [with, without], what: what.into() };
    let others = INITIALIZATIONS..variants.len();
    vec![
        Question {
            title: "Batch norm".into(),
            variants: vec![PLAIN, BATCH_NORM, AUGMENTATION, BOTH],
            comparisons: vec![
                compare(BATCH_NORM, PLAIN, "Batch norm without augmentation"),
                compare(BOTH, AUGMENTATION, "Batch norm with augmentation"),
            ],
        },
        Question {
            title: "Augmentation".into(),
            variants: vec![PLAIN, BATCH_NORM, AUGMENTATION, BOTH],
            comparisons: vec![
                compare(AUGMENTATION, PLAIN, "Augmentation without batch norm"),
                compare(BOTH, BATCH_NORM, "Augmentation with batch norm"),
            ],
        },
        Question {
            title: "Initialization".into(),
            variants: [PLAIN].into_iter().chain(others.clone()).collect(),
            comparisons: others
                .map(|other| {
                    let what =
                        format!("{} instead of {}", variants[other].name, variants[PLAIN].recipe.model.init);
                    compare(other, PLAIN, &what)
                })
                .collect(),
        },
    ]
}

/// A row for each epoch of each run, without times, so that the same study gives the same bytes.
fn csv(study: &Convergence, seeds: &[u64]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heading = [
        "variant",
        "seed",
        "epoch",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
    ];
    writer.write_record(heading)?;
    for variant in &study.variants {
        for (run, seed) in variant.runs.iter().zip(seeds) {
            for record in &run.0 {
                writer.write_record([
                    variant.name.clone(),
                    seed.to_string(),
                    record.epoch.to_string(),
                    record.train_loss.to_string(),
                    record.train_accuracy.to_string(),
                    record.validation_loss.map_or(String::new(), |loss| loss.to_string()),
                    record.validation_accuracy.map_or(String::new(), |accuracy| accuracy.to_string()),
                ])?;
            }
        }
    }
    Ok(writer.into_inner()?)
}

/// A bar for one run, and a line when it is done.
pub(super) struct RunLine {
    name: String,
    quiet: bool,
    bar: ProgressBar,
    epochs: usize,
    steps_per_epoch: usize,
    history: History,
}

impl RunLine {
    pub(super) fn new(name: &str, epochs: usize, quiet: bool) -> Self {
        let bar = ProgressBar::hidden();
        RunLine { name: name.into(), quiet, bar, epochs, steps_per_epoch: 0, history: History::default() }
    }

    pub(super) fn finish(&self, number: usize, runs: usize, history: &History) {
        self.bar.finish_and_clear();
        if self.quiet {
            return;
        }
        let accuracy = history.0.last().and_then(|record| record.validation_accuracy);
        let end = match accuracy {
            Some(accuracy) if history.0.len() == self.epochs => format!("{:.2} %", 100.0 * accuracy),
            _ => "diverged".into(),
        };
        let seconds: f64 = history.0.iter().map(|record| record.seconds).sum();
        say(format_args!("{number:>4}/{runs:<4} {:42} {end:>9}  {seconds:>7.1} s", self.name));
    }
}

impl Observer for RunLine {
    fn started(&mut self, _: &Summary, progress: &Progress, steps_per_epoch: usize) {
        self.steps_per_epoch = steps_per_epoch;
        self.history = progress.history.clone();
        if self.quiet || progress.finished {
            return;
        }
        // Hides itself when standard error is no terminal.
        self.bar = ProgressBar::new((steps_per_epoch * self.epochs) as u64);
        let template = "{wide_bar:.cyan/dim} {percent:>3}%  {msg}  {eta_precise} left";
        self.bar.set_style(bar_style(template));
        self.bar.set_message(self.name.clone());
    }

    fn step(&mut self, epoch: usize, step: usize, _: &Partial) {
        self.bar.set_position(((epoch - 1) * self.steps_per_epoch + step) as u64);
    }

    fn epoch(&mut self, record: &EpochRecord, _: bool) {
        self.history.0.push(*record);
    }

    fn should_stop(&self) -> bool {
        interrupt::requested()
    }
}
