//! `tailor strangers`: whether a model notices what it has never learned.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use tailor_data::{Dataset, ImageShape, Judged, OpenOptions, Source, Strangers, open_judged};
use tailor_eval::{Detection, energies};
use tailor_report::{Sheet, SheetCard, SheetGroup, SheetSection, SheetTable, percent, sheet_html};
use tailor_train::run::replace_file;
use tailor_train::{Classifier, Model};

use super::Usage;
use super::evaluate::{self, Part};
use crate::Context;
use crate::progress::say;
use crate::results::picture;

/// Show a model digits, noise, textures and blank images: does it notice that they are not what it has learned?
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor strangers runs/starter-001
  tailor strangers runs/starter-001 --output strangers.html
  tailor strangers runs/starter-001 --data cats/          images of your own that it cannot know

Digits are those of MNIST where `tailor data fetch mnist` has put them, else drawn ones. Scores: distance to the
nearest training images as the model describes them, by which `predict` says \"strange\" (Sun et al. 2022); the energy
of the logits (Liu et al. 2020); and the doubt, 1 - the highest probability (Hendrycks and Gimpel 2017).")]
pub struct Args {
    /// A model file, or a run's folder
    model: PathBuf,

    /// Other strangers instead: a data set or a folder of images without anything that the model has learned
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,

    /// Of each kind, and of the known images, at most
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(10..))]
    images: u32,

    /// Of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Write a page with pictures to this file
    #[arg(long, value_name = "FILE.html")]
    output: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Pictures of each kind on the page.
const PICTURES: usize = 12;

/// What is printed as JSON.
#[derive(Serialize)]
struct Findings {
    /// Known images, and the share of them that the stored threshold accepts.
    known_images: usize,
    known_accepted: Option<f64>,
    /// Distance up to which an image is accepted.
    threshold: Option<f64>,
    strangers: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    kind: String,
    images: usize,
    /// The share that the stored threshold takes for images of the known kind.
    accepted: Option<f64>,
    distance: Option<Detection>,
    energy: Detection,
    doubt: Detection,
}

/// The scores of some images.
struct Scores {
    distances: Option<Vec<f64>>,
    energies: Vec<f64>,
    doubts: Vec<f64>,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    let model = super::model(&args.model, None, &context)?;
    let limit = args.images as usize;
    let Judged { name, part, images, .. } = evaluate::open(&model, None, Part::Test, &context)?;
    let (known_name, known) = (format!("the {part} part of {name}"), images.limit(limit, args.seed));
    let kinds = kinds(&model, &args, limit, context.quiet)?;
    let note = |text: &str| {
        if !context.quiet {
            say(format_args!("note: {text}"))
        }
    };
    if model.familiarity.is_none() {
        note("this model cannot tell strangers by distance yet; teach it by: tailor calibrate MODEL");
    }
    if matches!(model.classifier, Classifier::Baseline(_)) {
        note("the logits of a baseline are made of probabilities or votes, so their energy says little");
    }

    let scores = Scores::of(&model, &known)?;
    let mut findings = Findings {
        known_images: known.len(),
        known_accepted: accepted(&model, &scores),
        threshold: model.familiarity.as_ref().map(|familiarity| familiarity.threshold()),
        strangers: Vec::new(),
    };
    let mut groups = Vec::new();
    for (kind, images) in &kinds {
        let found = Scores::of(&model, images)?;
        groups.push(group(&model, kind, images, &found)?);
        findings.strangers.push(Finding {
            kind: kind.clone(),
            images: images.len(),
            accepted: accepted(&model, &found),
            distance: scores
                .distances
                .as_ref()
                .zip(found.distances.as_ref())
                .map(|(k, s)| Detection::of(k, s)),
            energy: Detection::of(&scores.energies, &found.energies),
            doubt: Detection::of(&scores.doubts, &found.doubts),
        });
    }
    if let Some(path) = &args.output {
        let sheet = sheet(&args, &model, &known_name, &findings, groups);
        replace_file(path, sheet_html(&sheet)?.as_bytes())?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &findings)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{}, known images: {} of {known_name}\n", model.info.recipe.name(), findings.known_images)?;
    let table = table(&findings);
    let widths: Vec<usize> = (0..table.heading.len())
        .map(|c| {
            table.rows.iter().chain([&table.heading]).map(|row| row[c].chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in [&table.heading].into_iter().chain(&table.rows) {
        let cells = row.iter().zip(&widths).skip(1).map(|(cell, width)| format!("  {cell:>width$}"));
        writeln!(out, "{:width$}{}", row[0], cells.collect::<String>(), width = widths[0])?;
    }
    if !context.quiet {
        writeln!(out, "\nFPR: strangers that pass where 95 % of the known images do.")?;
        match &args.output {
            Some(page) => writeln!(out, "page: {}", page.display())?,
            None => writeln!(out, "for a page with pictures: --output FILE.html")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The strangers, each kind with its name.
fn kinds(model: &Model, args: &Args, limit: usize, quiet: bool) -> anyhow::Result<Vec<(String, Dataset)>> {
    let shape = model.info.shape;
    let open = |source: &str| -> anyhow::Result<(String, Dataset)> {
        // Strangers have classes of their own.
        let options = OpenOptions { class_names: None, ..model.info.open_options() };
        let judged = open_judged(&Source::parse(source), &options)?;
        let images = judged.images.limit(limit, args.seed).resized(shape.height, shape.width)?;
        if images.shape() != shape {
            let text =
                format!("the model takes images of {shape}, but those of {source} have other channels");
            return Err(Usage(text).into());
        }
        Ok((judged.name, images))
    };
    if let Some(source) = &args.data {
        return Ok(vec![open(source)?]);
    }
    let digits = match shape.channels {
        1 => open("mnist").ok(),
        _ => None,
    };
    if digits.is_none() && !quiet {
        say("note: digits are drawn; for those of MNIST, in gray: tailor data fetch mnist");
    }
    let drawn = |kind: Strangers| Ok((kind.to_string(), kind.draw(limit, shape, args.seed)?));
    Strangers::ALL
        .into_iter()
        .map(|kind| match (&digits, kind) {
            (Some((_, images)), Strangers::Digits) => Ok(("MNIST digits".to_string(), images.clone())),
            _ => drawn(kind),
        })
        .collect()
}

impl Scores {
    fn of(model: &Model, images: &Dataset) -> anyhow::Result<Self> {
        let (logits, _) = model.logits_of(images);
        let predictions = model.predictions(vec![0; images.len()], &logits)?;
        let familiarity = model.familiarity.as_ref();
        Ok(Scores {
            distances: familiarity.map(|familiarity| familiarity.distances(&model.features_of(images))),
            energies: energies(&logits, model.info.class_names.len()),
            doubts: (0..images.len()).map(|i| 1.0 - predictions.confidence(i)).collect(),
        })
    }
}

/// The share of images that the stored threshold takes for known ones.
fn accepted(model: &Model, scores: &Scores) -> Option<f64> {
    let threshold = model.familiarity.as_ref()?.threshold();
    let distances = scores.distances.as_ref()?;
    let accepted = distances.iter().filter(|&&distance| distance <= threshold).count();
    Some(accepted as f64 / distances.len() as f64)
}

fn table(findings: &Findings) -> SheetTable {
    let heading = [
        "strangers",
        "images",
        "accepted",
        "distance: AUROC",
        "FPR",
        "energy: AUROC",
        "FPR",
        "doubt: AUROC",
        "FPR",
    ];
    let optional = |share: Option<f64>| share.map_or("–".to_string(), percent);
    let rows = findings.strangers.iter().map(|found| {
        let distance = found.distance;
        vec![
            found.kind.clone(),
            found.images.to_string(),
            optional(found.accepted),
            distance.map_or("–".into(), |distance| format!("{:.4}", distance.auroc)),
            optional(distance.map(|distance| distance.false_positives)),
            format!("{:.4}", found.energy.auroc),
            percent(found.energy.false_positives),
            format!("{:.4}", found.doubt.auroc),
            percent(found.doubt.false_positives),
        ]
    });
    SheetTable { heading: heading.map(String::from).to_vec(), rows: rows.collect() }
}

/// Some pictures of a kind, what the model takes them for, and whether it notices.
fn group(model: &Model, kind: &str, images: &Dataset, scores: &Scores) -> anyhow::Result<SheetGroup> {
    let shown: Vec<usize> = (0..images.len().min(PICTURES)).collect();
    let (logits, _) = model.logits_of(&images.subset(&shown));
    let predictions = model.predictions(vec![0; shown.len()], &logits)?;
    let threshold = model.familiarity.as_ref().map(|familiarity| familiarity.threshold());
    let card = |&i: &usize| {
        let distance = scores.distances.as_ref().map(|distances| distances[i]);
        let is_accepted = distance.zip(threshold).is_some_and(|(distance, threshold)| distance <= threshold);
        SheetCard {
            picture: picture(images, i),
            caption: if is_accepted { "accepted" } else { "strange" }.into(),
            lines: vec![
                distance.map_or(String::new(), |distance| format!("{distance:.3}")),
                predictions.class_names()[predictions.predicted(i)].clone(),
            ],
            origin: images.origin(i),
            is_marked: is_accepted,
        }
    };
    Ok(SheetGroup {
        heading: kind.to_string(),
        cards: shown.iter().map(card).collect(),
        ..SheetGroup::default()
    })
}

fn sheet(args: &Args, model: &Model, known: &str, findings: &Findings, groups: Vec<SheetGroup>) -> Sheet {
    let ImageShape { height, width, .. } = model.info.shape;
    let name = model.info.recipe.name();
    let verdict = match findings.known_accepted {
        Some(accepted) => {
            let images: usize = findings.strangers.iter().map(|found| found.images).sum();
            let passed: f64 =
                findings.strangers.iter().map(|f| f.images as f64 * f.accepted.unwrap_or(0.0)).sum();
            format!(
                "{name} accepts {} of the images that it should know and {} of those that it cannot know.",
                percent(accepted),
                percent(passed / images.max(1) as f64)
            )
        }
        None => format!("{name} has not learned to tell strangers by their distance."),
    };
    let scores = SheetSection {
        heading: "How well strangers are told apart".into(),
        remarks: vec![
            format!(
                "Known images: {} of {known}. AUROC is the probability that a stranger scores higher than a known image: 1 is \
                 perfect, 0.5 is chance. FPR is the share of strangers that passes where 95 % of the known images do: 0 is \
                 perfect.",
                findings.known_images
            ),
            "Distance: to the nearest training images, as the model describes them. Energy: of its logits. Doubt: 1 − its highest \
             probability."
                .into(),
        ],
        table: table(findings),
        groups: Vec::new(),
    };
    let pictures = SheetSection {
        heading: "What it saw".into(),
        remarks: vec![format!(
            "As the model gets them, {width} × {height} pixels, with their distance and the class that they look most like. Marked: \
             those that it takes for images of the known kind."
        )],
        groups,
        ..SheetSection::default()
    };
    Sheet {
        title: format!("Strangers before {name}"),
        description: model.info.recipe.description().into(),
        verdict,
        sections: vec![scores, pictures],
        facts: vec![
            ("tailor".into(), env!("CARGO_PKG_VERSION").into()),
            ("Seed".into(), args.seed.to_string()),
        ],
        reproduce: super::command_line(),
    }
}
