//! `tailor data audit`: labels that are probably wrong, and images that occur nearly twice.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use tailor_data::{Dataset, NearDuplicate, Splits, near_duplicates, split};
use tailor_eval::{ConfidentJoint, Evaluation, LabelError, Predictions, label_errors, thousands};
use tailor_report::{Sheet, SheetCard, SheetGroup, SheetSection, SheetTable, sheet_html};
use tailor_train::data::open_source;
use tailor_train::inference::labels;
use tailor_train::recipe::{DataRecipe, Keep};
use tailor_train::run::{files, replace_file};
use tailor_train::{AnyRecipe, BaselineRecipe, Model, Override, Recipe, RunData, RunFolder, baseline};

use super::baseline::Stages;
use super::study::{RunLine, train};
use super::{Usage, absolute_source, is_recipe_file};
use crate::progress::say;
use crate::results::picture;
use crate::{Context, interrupt};

/// Find training images whose label is probably wrong, and images that occur nearly twice
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor data audit --data my-photos/ --output audit/
  tailor data audit --recipe starter --folds 10
  tailor data audit --data my-photos/ --recipe hog-svm

Every training image is judged by a model that has not seen it (cross-validation); confident learning (Northcutt et
al. 2021) tells which labels are probably wrong. Near-duplicates are pairs of images, within a part and between
parts, whose pixels correlate. The folder gets audit.html, label-errors.csv, near-duplicates.csv and audit.json. Folds
that are finished are not repeated: the same command goes on where it was stopped.")]
pub struct Args {
    /// What to look through: fashion-mnist, mnist, a folder of class folders, IDX files or a CSV file [default: the
    /// recipe's]
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,

    /// What is trained on the other images: a network or a baseline, by its name or from a file
    #[arg(long, value_name = "RECIPE|FILE.toml", default_value = "cnn-32-64-64")]
    recipe: String,

    /// Passes over the training images in each fold [default: the recipe's]
    #[arg(long, value_name = "N")]
    epochs: Option<NonZeroUsize>,

    /// Replace a key of the recipe (may be repeated)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,

    /// Parts that the training images are divided into; each is judged by a model of the others
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=100))]
    folds: u16,

    /// Pairs of images that correlate at least so much are near-duplicates
    #[arg(long, value_name = "R", default_value_t = 0.99)]
    correlation: f64,

    /// Where everything goes [default: audits/RECIPE-DATA]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Pictures of each kind on the page.
const PICTURES: usize = 120;
/// Pairs of near-duplicates on the page, of each kind.
const PAIRS: usize = 24;

/// What is written as audit.json.
#[derive(Serialize)]
struct Audit {
    data: String,
    recipe: String,
    images: usize,
    folds: usize,
    /// Of the models of the folds on the images that they had not seen.
    held_out_accuracy: f64,
    /// The estimated share of wrong labels.
    estimated_noise: f64,
    label_errors: usize,
    class_names: Vec<String>,
    confident_joint: ConfidentJoint,
    least_correlation: f64,
    near_duplicates: Vec<PairCount>,
}

/// Near-duplicates by the parts that they are in.
#[derive(Serialize)]
struct PairCount {
    parts: [&'static str; 2],
    pairs: usize,
    /// Images of the second part that have one.
    images: usize,
    /// Pairs with different labels.
    conflicts: usize,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    if !(0.5..=1.0).contains(&args.correlation) {
        let text = format!("--correlation is {}; it is a number from 0.5 to 1", args.correlation);
        return Err(Usage(text).into());
    }
    let recipe = recipe(&args)?;
    let splits = open_source(recipe.data())?;
    let splits = Splits {
        train: match recipe.data().limit {
            Some(limit) => splits.train.limit(limit, recipe.seed()),
            None => splits.train,
        },
        ..splits
    };
    let folds = split::folds(&splits.train, args.folds.into(), recipe.seed())?;
    let name: String = splits.name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let folder = args
        .output
        .clone()
        .unwrap_or_else(|| Path::new("audits").join(format!("{}-{}", recipe.name(), name.to_lowercase())));
    if !context.quiet {
        splits.notes.iter().for_each(|note| say(format_args!("note: {note}")));
        say(format_args!(
            "{}: {} training images in {} folds, each judged by {} trained on the others; in {}",
            splits.name,
            thousands(splits.train.len()),
            folds.len(),
            recipe.name(),
            folder.display()
        ));
    }
    interrupt::listen();
    let Some(predictions) = cross_validate(&recipe, &splits, &folds, &folder, &context)? else {
        say("stopped; the same command goes on from here");
        return Ok(ExitCode::from(interrupt::EXIT_CODE));
    };
    if !context.quiet {
        say("comparing all images with each other");
    }
    let pairs = near_duplicates(&splits, args.correlation)?;
    let errors = label_errors(&predictions);
    let joint = ConfidentJoint::of(&predictions);
    let audit = Audit {
        data: splits.name.clone(),
        recipe: recipe.name().into(),
        images: splits.train.len(),
        folds: folds.len(),
        held_out_accuracy: Evaluation::of(&predictions)?.accuracy,
        estimated_noise: joint.noise(&predictions),
        label_errors: errors.len(),
        class_names: splits.train.class_names().to_vec(),
        confident_joint: joint,
        least_correlation: args.correlation,
        near_duplicates: counts(&pairs),
    };
    replace_file(&folder.join("label-errors.csv"), &errors_csv(&errors, &predictions, &splits.train)?)?;
    replace_file(&folder.join("near-duplicates.csv"), &pairs_csv(&pairs, &splits)?)?;
    let page = folder.join("audit.html");
    replace_file(&page, sheet_html(&sheet(&audit, &errors, &predictions, &pairs, &splits))?.as_bytes())?;
    let mut json = serde_json::to_vec_pretty(&audit)?;
    json.push(b'\n');
    replace_file(&folder.join("audit.json"), &json)?;

    let mut out = std::io::stdout().lock();
    words(&audit).iter().try_for_each(|sentence| writeln!(out, "{sentence}"))?;
    if !context.quiet {
        writeln!(out, "page: {}", page.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is trained in each fold; the last epoch is kept, because none may be chosen by the images that are to be judged.
fn recipe(args: &Args) -> anyhow::Result<AnyRecipe> {
    let change = |data: &mut DataRecipe| {
        if let Some(source) = &args.data {
            data.source = absolute_source(source);
        }
    };
    let is_baseline = BaselineRecipe::built_in_text(&args.recipe).is_ok()
        || (is_recipe_file(&args.recipe)
            && std::fs::read_to_string(&args.recipe).is_ok_and(|text| {
                matches!(AnyRecipe::parse(&text, &args.recipe), Ok(AnyRecipe::Baseline(_)))
            }));
    if is_baseline {
        let mut recipe = super::baseline::recipe(&args.recipe, &args.overrides)?;
        if args.epochs.is_some() {
            return Err(Usage("--epochs is for networks; a baseline is fitted in one go".into()).into());
        }
        change(&mut recipe.data);
        return Ok(AnyRecipe::Baseline(recipe));
    }
    let mut recipe: Recipe = super::recipe(&args.recipe, &args.overrides)?;
    change(&mut recipe.data);
    recipe.train.epochs = args.epochs.map_or(recipe.train.epochs, NonZeroUsize::get);
    recipe.train.keep = Keep::Last;
    recipe.train.patience = None;
    Ok(AnyRecipe::Network(recipe))
}

/// What models say of all training images that they have not seen; none if somebody asked to stop.
fn cross_validate(
    recipe: &AnyRecipe,
    splits: &Splits,
    folds: &[Vec<usize>],
    folder: &Path,
    context: &Context,
) -> anyhow::Result<Option<Predictions>> {
    let classes = splits.train.classes();
    let mut all = vec![0.0; splits.train.len() * classes];
    for (position, fold) in folds.iter().enumerate() {
        let data = RunData::fold(recipe.data(), splits, fold)?;
        let path = folder.join(format!("fold-{}", position + 1));
        let is_trained = match recipe {
            AnyRecipe::Network(recipe) => {
                super::fetch_weights(recipe, context)?;
                tailor_train::check(recipe, &data)?;
                let name = format!("fold {}", position + 1);
                let mut line = RunLine::new(&name, recipe.train.epochs, context.quiet);
                let history = train(recipe, &data, &path, &mut line, context)?;
                history.iter().for_each(|history| line.finish(position + 1, folds.len(), history));
                history.is_some()
            }
            AnyRecipe::Baseline(recipe) => fit(recipe, &data, &path, context)?,
        };
        if !is_trained {
            return Ok(None);
        }
        let model = Model::load(&path, &context.device)?;
        let (logits, _) = model.logits_of(&data.validation);
        for (logits, &image) in logits.chunks_exact(classes).zip(fold) {
            all[image * classes..][..classes].copy_from_slice(logits);
        }
    }
    let names = splits.train.class_names().to_vec();
    Ok(Some(Predictions::from_logits(names, labels(&splits.train), &all)?))
}

/// Fits a baseline, or finds it there; false if somebody asked to stop.
fn fit(recipe: &BaselineRecipe, data: &RunData, path: &Path, context: &Context) -> anyhow::Result<bool> {
    let text = recipe.to_toml();
    if path.join(files::MODEL).exists() && path.join(files::RECIPE).exists() {
        if std::fs::read_to_string(path.join(files::RECIPE))? == text {
            return Ok(true);
        }
        let text = format!("{} is of another recipe; choose another folder with --output", path.display());
        return Err(Usage(text).into());
    }
    let folder = RunFolder::create(path)?;
    let stages = Stages::new(context.quiet);
    match baseline::fit(recipe, data, &folder, &stages) {
        Err(tailor_train::Error::Baseline(tailor_baseline::Error::Stopped)) => {
            folder.discard()?;
            return Ok(false);
        }
        fitted => fitted?,
    };
    stages.clear();
    // Last: where it is, the fold is finished.
    folder.write(files::RECIPE, text.as_bytes())?;
    Ok(true)
}

/// Near-duplicates by their parts, in the order of parts.
fn counts(pairs: &[NearDuplicate]) -> Vec<PairCount> {
    let mut kinds: Vec<[&'static str; 2]> = Vec::new();
    for pair in pairs {
        let parts = pair.copies.each_ref().map(|copy| copy.part);
        if !kinds.contains(&parts) {
            kinds.push(parts);
        }
    }
    kinds.sort_by_key(|parts| {
        parts.map(|part| ["train", "validation", "test"].iter().position(|p| *p == part))
    });
    let count = |parts: [&'static str; 2]| {
        let of_kind = || pairs.iter().filter(|pair| pair.copies.each_ref().map(|copy| copy.part) == parts);
        let mut images: Vec<usize> = of_kind().map(|pair| pair.copies[1].index).collect();
        images.sort_unstable();
        images.dedup();
        PairCount {
            parts,
            pairs: of_kind().count(),
            images: images.len(),
            conflicts: of_kind().filter(|pair| pair.copies[0].label != pair.copies[1].label).count(),
        }
    };
    kinds.into_iter().map(count).collect()
}

fn errors_csv(errors: &[LabelError], predictions: &Predictions, images: &Dataset) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "rank",
        "index",
        "origin",
        "given",
        "suggested",
        "p_given",
        "p_suggested",
        "margin",
    ])?;
    for (rank, error) in errors.iter().enumerate() {
        let row = predictions.row(error.image);
        writer.write_record([
            (rank + 1).to_string(),
            error.image.to_string(),
            images.origin(error.image),
            images.class_names()[error.given].clone(),
            images.class_names()[error.suggested].clone(),
            format!("{:.6}", row[error.given]),
            format!("{:.6}", row[error.suggested]),
            format!("{:.6}", error.margin),
        ])?;
    }
    Ok(writer.into_inner()?)
}

/// A part by its name.
fn part<'a>(splits: &'a Splits, name: &str) -> &'a Dataset {
    let optional = match name {
        "validation" => splits.validation.as_ref(),
        "test" => splits.test.as_ref(),
        _ => None,
    };
    optional.unwrap_or(&splits.train)
}

fn pairs_csv(pairs: &[NearDuplicate], splits: &Splits) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let columns = ["part", "index", "origin", "label"];
    let heading = [1, 2].iter().flat_map(|number| columns.map(|column| format!("{column}_{number}")));
    writer.write_record(heading.chain(["correlation".into()]))?;
    for pair in pairs {
        let fields = pair.copies.iter().flat_map(|copy| {
            let images = part(splits, copy.part);
            let label = images.class_names()[copy.label].clone();
            [copy.part.to_string(), copy.index.to_string(), images.origin(copy.index), label]
        });
        writer.write_record(fields.chain([format!("{:.6}", pair.correlation)]))?;
    }
    Ok(writer.into_inner()?)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// "within train", "between train and test".
fn place([first, second]: [&str; 2]) -> String {
    if first == second { format!("within {first}") } else { format!("between {first} and {second}") }
}

/// What was found, a sentence each.
fn words(audit: &Audit) -> Vec<String> {
    let mut words = vec![format!(
        "{} of {} labels are probably wrong ({}); judged by models of {} that name {} of the images that they have not \
         seen as they are labeled. The share of wrong labels is estimated at {}.",
        thousands(audit.label_errors),
        thousands(audit.images),
        percent(audit.label_errors as f64 / audit.images as f64),
        audit.recipe,
        percent(audit.held_out_accuracy),
        percent(audit.estimated_noise)
    )];
    if audit.near_duplicates.is_empty() {
        words.push(format!("No two images correlate at {} or more.", audit.least_correlation));
    }
    words.extend(audit.near_duplicates.iter().map(|count| {
        format!(
            "{} pairs {} correlate at {} or more ({} images of {}); {} of them have different labels.",
            thousands(count.pairs),
            place(count.parts),
            audit.least_correlation,
            thousands(count.images),
            count.parts[1],
            thousands(count.conflicts)
        )
    }));
    words
}

fn sheet(
    audit: &Audit,
    errors: &[LabelError],
    predictions: &Predictions,
    pairs: &[NearDuplicate],
    splits: &Splits,
) -> Sheet {
    let images = &splits.train;
    let name = |class: usize| images.class_names()[class].clone();
    let card = |error: &LabelError| SheetCard {
        picture: picture(images, error.image),
        caption: format!("{}?", name(error.suggested)),
        lines: vec![
            format!("labeled {}", name(error.given)),
            format!(
                "{:.0}\u{202f}% against {:.1}\u{202f}%",
                100.0 * predictions.row(error.image)[error.suggested],
                100.0 * predictions.row(error.image)[error.given]
            ),
        ],
        origin: images.origin(error.image),
        is_marked: false,
    };
    // On a page, a number and its sign stay on one line.
    let mut words = words(audit).into_iter().map(|sentence| sentence.replace(" %", "\u{202f}%"));
    let labels = SheetSection {
        heading: "Labels that are probably wrong".into(),
        remarks: vec![format!(
            "The surest of {}: what each image looks like to a model that has not seen it, beneath that its label and both \
             probabilities. All are in label-errors.csv. Some are no errors, but images between two classes: look before you \
             correct.",
            thousands(errors.len())
        )],
        groups: vec![SheetGroup {
            cards: errors.iter().take(PICTURES).map(card).collect(),
            ..SheetGroup::default()
        }],
        ..SheetSection::default()
    };
    let joint = SheetSection {
        heading: "Which labels are confused".into(),
        remarks: vec!["Images that are confidently of a class (across), by their label (down).".into()],
        table: SheetTable {
            heading: std::iter::once("label".into()).chain(audit.class_names.iter().cloned()).collect(),
            rows: audit
                .confident_joint
                .counts
                .iter()
                .enumerate()
                .map(|(label, row)| {
                    std::iter::once(name(label)).chain(row.iter().map(usize::to_string)).collect()
                })
                .collect(),
        },
        groups: Vec::new(),
    };
    let verdict = words.next().unwrap_or_default();
    let twins = SheetSection {
        heading: "Images that occur nearly twice".into(),
        remarks: words.collect(),
        groups: audit.near_duplicates.iter().map(|count| pair_group(count, pairs, splits)).collect(),
        ..SheetSection::default()
    };
    Sheet {
        title: format!("Audit of {}", audit.data),
        description: format!(
            "{} training images in {} folds, {}",
            thousands(audit.images),
            audit.folds,
            audit.recipe
        ),
        verdict,
        sections: vec![labels, joint, twins],
        facts: vec![("tailor".into(), env!("CARGO_PKG_VERSION").into())],
        reproduce: super::command_line(),
    }
}

/// Pairs of near-duplicates side by side: those with different labels first, then the rest spread over all.
fn pair_group(count: &PairCount, pairs: &[NearDuplicate], splits: &Splits) -> SheetGroup {
    let of_kind: Vec<&NearDuplicate> =
        pairs.iter().filter(|pair| pair.copies.each_ref().map(|copy| copy.part) == count.parts).collect();
    let (mut chosen, others): (Vec<&NearDuplicate>, Vec<&NearDuplicate>) =
        of_kind.into_iter().partition(|pair| pair.copies[0].label != pair.copies[1].label);
    chosen.truncate(PAIRS / 2);
    let step = others.len().div_ceil(PAIRS - chosen.len()).max(1);
    chosen.extend(others.into_iter().step_by(step));
    let cards = chosen.into_iter().flat_map(|pair| {
        let is_conflict = pair.copies[0].label != pair.copies[1].label;
        pair.copies.each_ref().map(|copy| {
            let images = part(splits, copy.part);
            SheetCard {
                picture: picture(images, copy.index),
                caption: images.class_names()[copy.label].clone(),
                lines: vec![
                    format!("{} {}", copy.part, copy.index),
                    format!("r\u{a0}=\u{a0}{:.4}", pair.correlation),
                ],
                origin: images.origin(copy.index),
                is_marked: is_conflict,
            }
        })
    });
    let heading = place(count.parts);
    let note = "Side by side; marked: different labels.".into();
    SheetGroup { heading, note, cards: cards.collect(), is_paired: true, ..SheetGroup::default() }
}
