//! `tailor evaluate`: what a model is worth.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use tailor_data::{Dataset, OpenOptions, Source};
use tailor_eval::History;
use tailor_train::run::files;
use tailor_train::{Model, RunData};

use super::Usage;
use crate::Context;
use crate::progress::say;
use crate::results::Judged;

/// Judge a model on labeled images it has not seen: accuracy, loss, precision, recall, confusion
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor evaluate runs/cnn-32-64-001                        the test part of what it was trained on
  tailor evaluate model.safetensors --data my-photos/ --output judged/
  tailor evaluate runs/cnn-32-64-001 --json | jq .accuracy")]
pub struct Args {
    /// A model file, or a run's folder
    model: PathBuf,

    /// Judge it on this instead of what it was trained on (the source's test part if it has parts)
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,

    /// Which part of the data
    #[arg(long, value_enum, default_value_t = Part::Test)]
    part: Part,

    /// Write evaluation.json, predictions.csv, plots and report.html into this folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Print evaluation.json instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Held out until the end
    Test,
    /// On which the best epoch was chosen
    Validation,
    /// On which the weights were fitted
    Train,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    let model = Model::load(&args.model, &context.device)?;
    let (images, data_name, notes) = open(&model, &args)?;
    if !context.quiet {
        notes.iter().for_each(|note| say(format_args!("note: {note}")));
    }
    check_fit(&model, &images)?;
    let history = history_beside(&args.model)?;
    let part = match args.part {
        Part::Test => "test",
        Part::Validation => "validation",
        Part::Train => "training",
    };
    let judged = Judged::new(&model, &images, part, &data_name, history)?;
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder)?;
        judged.write(folder)?;
    }
    match args.json {
        true => judged.print_json()?,
        false => {
            judged.print(context.quiet, args.output.map(|folder| folder.join(files::REPORT)).as_deref())?
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The images, what their source calls itself, and what the user should know of it.
fn open(model: &Model, args: &Args) -> anyhow::Result<(Dataset, String, Vec<String>)> {
    let mut recipe = model.info.recipe.clone();
    if let Some(source) = &args.data {
        recipe.data.source.clone_from(source);
    }
    if args.part != Part::Test {
        // Split by the recipe's seed: exactly the parts that it was trained with.
        let data = RunData::open(&recipe)?;
        let images = if args.part == Part::Train { data.train } else { data.validation };
        return Ok((images, data.name, data.notes));
    }
    let shape = model.info.shape;
    let options = OpenOptions {
        size: Some((shape.height, shape.width)),
        channels: Some(shape.channels),
        class_names: Some(model.info.class_names.clone()),
    };
    let source = Source::parse(&recipe.data.source);
    let (images, notes) = tailor_data::open_test(&source, &options)?;
    Ok((images, source.to_string(), notes))
}

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

/// The epochs of the run that a model lies in, if it does.
fn history_beside(model: &Path) -> anyhow::Result<History> {
    let metrics = Model::file_of(model).with_file_name(files::METRICS);
    match metrics.exists() {
        true => Ok(History::read_csv(metrics)?),
        false => Ok(History::default()),
    }
}
