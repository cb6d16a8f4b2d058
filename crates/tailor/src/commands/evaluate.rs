//! `tailor evaluate`: what a model is worth.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use tailor_data::{Judged, Source, Views};
use tailor_eval::History;
use tailor_train::run::files;
use tailor_train::{Model, RunData, RunFolder};

use super::Usage;
use crate::Context;
use crate::progress::say;
use crate::results::Results;

/// Judge a model on labeled images it has not seen: accuracy, loss, precision, recall, confusion
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor evaluate runs/starter-001                        the test part of what it was trained on
  tailor evaluate model.safetensors --data my-photos/ --output judged/
  tailor evaluate runs/starter-001 --json | jq .accuracy")]
pub struct Args {
    /// A model file, or a run's folder
    model: PathBuf,

    /// Judge it on this instead of what it was trained on (the source's test part if it has parts)
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,

    /// Which part of the data
    #[arg(long, value_enum, default_value_t = Part::Test)]
    part: Part,

    /// Average the logits over views of each image: none, flip (its mirror image, too; twice the time) or flip+shift (six
    /// views; six times) [default: as the model's recipe says]
    #[arg(long, value_name = "VIEWS")]
    views: Option<Views>,

    /// Write evaluation.json, predictions.csv, plots and report.html into this folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Print evaluation.json instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Held out until the end
    Test,
    /// On which the best epoch was chosen
    Validation,
    /// On which the weights were fitted
    Train,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    let model = super::model(&args.model, args.views, &context)?;
    // Locked, where it is the run that the model lies in.
    let _run = args.output.as_deref().map(|output| prepare_output(output, &args.model)).transpose()?;
    let Judged { name, part, images, .. } = open(&model, args.data.as_deref(), args.part, &context)?;
    let results = Results::new(&model, &images, part, &name, history_beside(&args.model)?, &context)?;
    if let Some(folder) = &args.output {
        results.write(folder)?;
    }
    match args.json {
        true => results.print_json()?,
        false => {
            results.print(context.quiet, args.output.map(|folder| folder.join(files::REPORT)).as_deref())?
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the folder, unless it holds the run of another model.
fn prepare_output(output: &Path, model: &Path) -> anyhow::Result<Option<RunFolder>> {
    std::fs::create_dir_all(output)
        .with_context(|| format!("cannot make the folder {}", output.display()))?;
    if !output.join(files::RECIPE).exists() {
        return Ok(None);
    }
    let model = Model::file_of(model).canonicalize()?;
    if model.parent() != Some(&output.canonicalize()?) {
        let text = format!("{} holds the run of another model; choose another folder", output.display());
        return Err(Usage(text).into());
    }
    Ok(Some(RunFolder::open(output)?))
}

/// The part of the data that a model is judged by: of other data the test part if there is one, of its own the one that was
/// held out. Says what a person should know about it.
///
/// # Errors
/// Those of reading and splitting, and images that the model cannot take.
pub fn open(model: &Model, data: Option<&str>, wanted: Part, context: &Context) -> anyhow::Result<Judged> {
    let judged = read(model, data, wanted)?;
    if !context.quiet {
        judged.notes.iter().for_each(|note| say(format_args!("note: {note}")));
    }
    super::check_fit(model, &judged.images)?;
    Ok(judged)
}

fn read(model: &Model, data: Option<&str>, wanted: Part) -> anyhow::Result<Judged> {
    let mut recipe = model.info.recipe.data().clone();
    if let Some(source) = data {
        recipe.source = source.into();
    }
    if wanted == Part::Test {
        let options = model.info.open_options();
        // The training part is not read where there is a test part.
        let judged = tailor_data::open_judged(&Source::parse(&recipe.source), &options)?;
        if judged.part == "test" || data.is_some() {
            return Ok(judged);
        }
    }
    // Split by the recipe's seed: exactly the parts that it was trained with. Data without a test part is judged, as
    // after training, by what was held out.
    let RunData { name, train, validation, notes, .. } = RunData::split(&recipe, model.info.recipe.seed())?;
    let (part, images) = match wanted {
        // They may be stored larger than the network takes them.
        Part::Train if train.shape() != model.info.shape => {
            ("training", train.resized(model.info.shape.height, model.info.shape.width)?)
        }
        Part::Train => ("training", train),
        Part::Test | Part::Validation => ("validation", validation),
    };
    Ok(Judged { name, part, images, notes })
}

/// The epochs of the run that a model lies in, if it does.
fn history_beside(model: &Path) -> anyhow::Result<History> {
    let metrics = Model::file_of(model).with_file_name(files::METRICS);
    match metrics.exists() {
        true => Ok(History::read_csv(metrics)?),
        false => Ok(History::default()),
    }
}
