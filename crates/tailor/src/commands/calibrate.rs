//! `tailor calibrate`: what a model's confidence is worth, and from where on it is relied on.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use tailor_data::{Dataset, Source, Splits};
use tailor_eval::{
    ACCEPTED, Confidence, ConfidenceCheck, Evaluation, Interval, Nonconformity, Predictions, Wanted,
    thousands,
};
use tailor_train::inference::labels;
use tailor_train::run::files;
use tailor_train::{Model, RunData, RunFolder, confidence};

use super::{Usage, absolute_source, check_fit};
use crate::Context;
use crate::progress::say;

/// Make a model's confidence honest, and choose when it says "not sure" and which other classes it names
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor calibrate runs/starter-001                       the temperature only, as after training
  tailor calibrate runs/starter-001 --accuracy 0.99       \"not sure\" rather than more than 1 % of mistakes
  tailor calibrate runs/starter-001 --coverage 0.95       sets of classes that hold the true one 95 times of 100
  tailor calibrate model.safetensors --data my-photos/    for images of another kind

Everything is chosen on images that the model was not trained on, never on the test part, and stored in the model
file; predict and evaluate then go by it. What was chosen before is chosen anew. --accuracy 0 and --coverage 0 take
a choice back.")]
pub struct Args {
    /// A model file, or a run's folder
    model: PathBuf,

    /// Answer only as many images as this share of the answers can be promised to be right
    #[arg(long, value_name = "SHARE")]
    accuracy: Option<f64>,

    /// Name a set of classes that holds the true one in this share of the images
    #[arg(long, value_name = "SHARE")]
    coverage: Option<f64>,

    /// How sets are made: lac (small ones) or aps (large where there is much doubt)
    #[arg(long, value_name = "KIND", requires = "coverage", default_value = "lac")]
    sets: Nonconformity,

    /// Choose on this [default: the validation part that the model was trained with]; its validation part where it has
    /// one, otherwise all that is not its test part
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    for (name, share) in [("--accuracy", args.accuracy), ("--coverage", args.coverage)] {
        if let Some(share) = share.filter(|share| !(0.0..1.0).contains(share)) {
            return Err(
                Usage(format!("{name} is {share}; it is a share from 0 to below 1, such as 0.95")).into()
            );
        }
    }
    let mut model = super::model(&args.model, None, &context)?;
    let path = Model::file_of(&args.model);
    // Not while it is being trained.
    let _run = match path.parent() {
        Some(folder) if folder.join(files::RECIPE).exists() => Some(RunFolder::open(folder)?),
        _ => None,
    };
    let (name, images) = open(&mut model, args.data.as_deref(), &context)?;

    let before = model.confidence.map(|confidence| confidence.wanted()).unwrap_or_default();
    let wanted = Wanted {
        accuracy: args.accuracy.or(before.accuracy).filter(|&accuracy| accuracy > 0.0),
        coverage: match args.coverage {
            Some(coverage) => Some((args.sets, coverage)),
            None => before.coverage,
        }
        .filter(|&(_, coverage)| coverage > 0.0),
    };
    let (logits, _) = model.logits_of(&images);
    let confidence = confidence::fit(&model, &images, &logits, wanted)?;
    model.confidence = Some(confidence);
    let words = words(&model, &confidence, &images, &logits, &name)?;
    model.store_reliability(&path)?;
    let mut out = std::io::stdout().lock();
    write!(out, "{words}")?;
    if !context.quiet {
        let path = path.display();
        writeln!(out, "stored in {path}\nwhat it is worth on the test part: tailor evaluate {path}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What to choose on: never a test part. With the data that the model was trained with, it learns to tell strangers anew.
fn open(model: &mut Model, data: Option<&str>, context: &Context) -> anyhow::Result<(String, Dataset)> {
    let recipe = model.info.recipe.data();
    let own = |source: &&str| absolute_source(source) == absolute_source(&recipe.source);
    let (name, images, notes) = match data.filter(|source| !own(source)) {
        None => {
            let data = RunData::split(recipe, model.info.recipe.seed())?;
            check_fit(model, &data.validation)?;
            model.familiarity = Some(confidence::familiarity(model, &data)?);
            (format!("the validation part of {}", data.name), data.validation, data.notes)
        }
        Some(source) => {
            let options = model.info.open_options();
            let Splits { name, train, validation, notes, .. } =
                tailor_data::open(&Source::parse(source), &options)?;
            let images = validation.unwrap_or(train);
            check_fit(model, &images)?;
            if let Some(mut familiarity) = model.familiarity.take() {
                familiarity.choose_threshold(model, &images);
                model.familiarity = Some(familiarity);
            }
            (name, images, notes)
        }
    };
    if !context.quiet {
        notes.iter().for_each(|note| say(format_args!("note: {note}")));
    }
    Ok((name, images))
}

/// What was chosen, and what it means.
fn words(
    model: &Model,
    confidence: &Confidence,
    images: &Dataset,
    logits: &[f32],
    name: &str,
) -> anyhow::Result<String> {
    let scaled = model.predictions(labels(images), logits)?;
    let unscaled = Predictions::from_logits(model.info.class_names.clone(), labels(images), logits)?;
    let after = Evaluation::of(&scaled)?;
    let check = ConfidenceCheck::of(confidence, &scaled, &unscaled);
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let interval = |Interval { low, high }| format!("95 % interval {} to {}", percent(low), percent(high));
    let mut lines = vec![
        format!("on {} images of {name}:", thousands(images.len())),
        format!(
            "temperature {:.3}: loss {:.4} → {:.4}, calibration error {} → {}",
            confidence.temperature,
            check.unscaled.loss,
            after.loss,
            percent(check.unscaled.expected_calibration_error),
            percent(after.expected_calibration_error)
        ),
    ];
    if let Some(sure) = confidence.abstention {
        let (coverage, range) = sure.coverage();
        lines.push(format!(
            "not sure below a confidence of {}: {} of the images are expected to be answered ({}), {} of them right \
             with 95 % certainty (here {} of {})",
            percent(sure.confidence),
            percent(coverage),
            interval(range),
            percent(sure.wanted),
            thousands(sure.correct),
            thousands(sure.answered)
        ));
    }
    if let (Some(sets), Some(here)) = (confidence.sets, check.sets) {
        lines.push(format!(
            "sets ({}) hold the true class in {} of the images, with {:.2} classes each on these",
            sets.by,
            percent(sets.promised),
            here.mean_size
        ));
    }
    if let Some(familiarity) = &model.familiarity {
        lines.push(format!(
            "images further than {:.3} from the training images are called strange: {} of these",
            familiarity.threshold(),
            percent(1.0 - ACCEPTED)
        ));
    }
    Ok(lines.join("\n") + "\n")
}
