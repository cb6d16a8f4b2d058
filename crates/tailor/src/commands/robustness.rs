//! `tailor robustness`: what is left of a model's accuracy when images get worse.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::ProgressBar;
use tailor_data::{Corruption, Dataset, Judged, STRENGTHS};
use tailor_eval::{Corrupted, Evaluation, Robustness, thousands};
use tailor_report::{
    Sheet, SheetCard, SheetGroup, SheetSection, SheetTable, StrengthCurves, percent, sheet_html,
};
use tailor_train::Model;
use tailor_train::inference::labels;
use tailor_train::run::replace_file;

use super::evaluate::{self, Part};
use crate::Context;
use crate::progress::bar_style;
use crate::results::picture;

/// Measure accuracy under blur, noise, rotation, shift, contrast, occlusion and inversion, at five strengths each
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor robustness runs/starter-001
  tailor robustness runs/starter-001 --output robustness.html
  tailor robustness runs/starter-001 --beside runs/cnn-32-64-001     errors relative to another model's (mCE)

In the manner of Hendrycks and Dietterich (2019). The mean corruption error is the mean of all errors; beside another
model, mCE is the mean over the corruptions of the ratio of both models' errors, and relative mCE that of what they rise
above the clean error: below 1 is more robust. The same seed changes every image in the same way.")]
pub struct Args {
    /// A model file, or a run's folder
    model: PathBuf,

    /// Another model that takes images of the same shape, to be compared with
    #[arg(long, value_name = "MODEL")]
    beside: Option<PathBuf>,

    /// Judge on this instead of what the model was trained on (the test part if there is one, else what was held out)
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,

    /// Images, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// Of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Write a page with curves and pictures to this file
    #[arg(long, value_name = "FILE.html")]
    output: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    let model = super::model(&args.model, None, &context)?;
    let other = args.beside.as_deref().map(|path| super::model(path, None, &context)).transpose()?;
    let (name, images) = open(&model, &args, &context)?;
    other.iter().try_for_each(|other| super::check_fit(other, &images))?;
    let bar = bar(context.quiet, if other.is_some() { 2 } else { 1 });
    let mut robustness = measure(&model, &images, args.seed, &bar)?;
    let beside = other.as_ref().map(|other| measure(other, &images, args.seed, &bar)).transpose()?;
    bar.finish_and_clear();
    if let (Some(path), Some(beside)) = (&args.beside, &beside) {
        robustness = robustness.relative_to(&name_of(path), beside);
    }
    if let Some(path) = &args.output {
        let sheet = sheet(&args, &model, &robustness, beside.as_ref(), &images, &name)?;
        replace_file(path, sheet_html(&sheet)?.as_bytes())?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &robustness)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{} on {} images of {name}: accuracy, %\n", model.info.recipe.name(), images.len())?;
    let clean = format!("{:.2}", 100.0 * robustness.clean_accuracy);
    let strengths: String = (1..=STRENGTHS).map(|strength| format!("{strength:>8}")).collect();
    let relative = robustness.relative.as_ref();
    let ce = if relative.is_some() { "      CE" } else { "" };
    writeln!(out, "{:12}{:>8}{strengths}{:>12}{ce}", "", "clean", "mean error")?;
    for (position, corrupted) in robustness.corruptions.iter().enumerate() {
        let accuracies: String = corrupted.accuracies.iter().map(|a| format!("{:8.2}", 100.0 * a)).collect();
        let ce = relative
            .map_or(String::new(), |relative| format!("{:>8}", ratio(relative.corruption_errors[position])));
        let error = 100.0 * corrupted.mean_error;
        writeln!(out, "{:12}{clean:>8}{accuracies}{error:12.2}{ce}", corrupted.corruption)?;
    }
    writeln!(out, "\nmean corruption error  {:.2} %", 100.0 * robustness.mean_corruption_error)?;
    if let Some(relative) = relative {
        writeln!(
            out,
            "beside {}: mCE {}, relative mCE {} (below 1 is more robust)",
            relative.to,
            ratio(relative.mean_corruption_error),
            ratio(relative.relative_mean_corruption_error)
        )?;
    }
    if !context.quiet {
        match &args.output {
            Some(page) => writeln!(out, "page: {}", page.display())?,
            None => writeln!(out, "for a page with curves and pictures: --output FILE.html")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The images, and what to call them.
fn open(model: &Model, args: &Args, context: &Context) -> anyhow::Result<(String, Dataset)> {
    let Judged { name, part, images, .. } = evaluate::open(model, args.data.as_deref(), Part::Test, context)?;
    let images = match args.limit {
        Some(limit) => images.limit(limit as usize, args.seed),
        None => images,
    };
    Ok((format!("the {part} part of {name}"), images))
}

fn bar(quiet: bool, models: usize) -> ProgressBar {
    let steps = (models * (1 + Corruption::ALL.len() * STRENGTHS)) as u64;
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(steps) };
    let template = "{wide_bar:.cyan/dim} {pos}/{len}  {msg}";
    bar.set_style(bar_style(template));
    bar
}

fn measure(model: &Model, images: &Dataset, seed: u64, bar: &ProgressBar) -> anyhow::Result<Robustness> {
    let accuracy = |images: &Dataset| -> anyhow::Result<f64> {
        let (logits, _) = model.logits_of(images);
        bar.inc(1);
        Ok(Evaluation::of(&model.predictions(labels(images), &logits)?)?.accuracy)
    };
    let clean = accuracy(images)?;
    let mut corruptions = Vec::new();
    for corruption in Corruption::ALL {
        bar.set_message(corruption.to_string());
        let at = |strength| accuracy(&corruption.apply(images, strength, seed)?);
        let accuracies = (1..=STRENGTHS).map(at).collect::<anyhow::Result<_>>()?;
        let values = (1..=STRENGTHS).map(|strength| corruption.value(strength)).collect();
        corruptions.push(Corrupted::new(&corruption.to_string(), corruption.scale(), values, accuracies));
    }
    Ok(Robustness::new(images.len(), clean, corruptions))
}

/// A ratio of errors; a dash where there is nothing to divide by.
fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or("–".into(), |ratio| format!("{ratio:.3}"))
}

/// A run's folder by its name, a file by its path.
fn name_of(path: &Path) -> String {
    match path.file_name() {
        Some(name) if path.is_dir() => name.to_string_lossy().into_owned(),
        _ => path.display().to_string(),
    }
}

fn sheet(
    args: &Args,
    model: &Model,
    robustness: &Robustness,
    beside: Option<&Robustness>,
    images: &Dataset,
    name: &str,
) -> anyhow::Result<Sheet> {
    let title = model.info.recipe.name();
    let worst = robustness.corruptions.iter().max_by(|a, b| a.mean_error.total_cmp(&b.mean_error));
    let mildest = robustness.corruptions.iter().min_by(|a, b| a.mean_error.total_cmp(&b.mean_error));
    let mut verdict = format!(
        "{title} names {} of untouched images correctly and, on average over all corruptions and strengths, {} of worse ones.",
        percent(robustness.clean_accuracy),
        percent(1.0 - robustness.mean_corruption_error)
    );
    if let (Some(worst), Some(mildest)) = (worst, mildest) {
        verdict += &format!(
            " It bears {} best and {} worst: there {} are left on average.",
            mildest.corruption,
            worst.corruption,
            percent(1.0 - worst.mean_error)
        );
    }
    let heading = [String::new(), "clean".into()]
        .into_iter()
        .chain((1..=STRENGTHS).map(|strength| strength.to_string()))
        .chain(["mean error".into()])
        .chain(robustness.relative.as_ref().map(|_| "CE".into()));
    let row = |(position, corrupted): (usize, &Corrupted)| {
        let accuracies = [robustness.clean_accuracy].into_iter().chain(corrupted.accuracies.iter().copied());
        let ce = robustness.relative.as_ref().map(|r| ratio(r.corruption_errors[position]));
        [corrupted.corruption.clone()]
            .into_iter()
            .chain(accuracies.map(percent))
            .chain([percent(corrupted.mean_error)])
            .chain(ce)
            .collect()
    };
    let mut remarks = vec![format!(
        "Accuracy on {} images of {name}. The mean corruption error, over all strengths and corruptions, is {}.",
        thousands(robustness.images),
        percent(robustness.mean_corruption_error)
    )];
    remarks.extend(robustness.relative.as_ref().map(|relative| {
        format!(
            "Beside {}: mCE {}, relative mCE {}; below 1 is more robust than that model.",
            relative.to,
            ratio(relative.mean_corruption_error),
            ratio(relative.relative_mean_corruption_error)
        )
    }));
    let figures = SheetSection {
        heading: "Accuracy by strength".into(),
        remarks,
        table: SheetTable {
            heading: heading.collect(),
            rows: robustness.corruptions.iter().enumerate().map(row).collect(),
        },
        groups: Vec::new(),
    };
    let groups = Corruption::ALL.iter().enumerate().map(|(position, &corruption)| {
        let corrupted = &robustness.corruptions[position];
        group(corruption, title, corrupted, robustness, beside, images, args.seed)
    });
    let pictures = SheetSection {
        heading: "Each corruption".into(),
        remarks: vec!["One image untouched and at the five strengths, with what the strength is and what is left of the accuracy.".into()],
        groups: groups.collect::<anyhow::Result<_>>()?,
        ..SheetSection::default()
    };
    Ok(Sheet {
        title: format!("Robustness of {title}"),
        description: model.info.recipe.description().into(),
        verdict,
        sections: vec![figures, pictures],
        facts: vec![
            ("tailor".into(), env!("CARGO_PKG_VERSION").into()),
            ("Seed".into(), args.seed.to_string()),
        ],
        reproduce: super::command_line(),
    })
}

fn group(
    corruption: Corruption,
    name: &str,
    corrupted: &Corrupted,
    robustness: &Robustness,
    beside: Option<&Robustness>,
    images: &Dataset,
    seed: u64,
) -> anyhow::Result<SheetGroup> {
    // A class each, so that the page shows several.
    let shown = (0..images.len()).find(|&i| images.label(i) == corruption as usize % images.classes());
    let one = images.subset(&[shown.unwrap_or(0)]);
    let card = |strength: usize| -> anyhow::Result<SheetCard> {
        let changed = match strength {
            0 => one.clone(),
            strength => corruption.apply(&one, strength, seed)?,
        };
        Ok(SheetCard {
            picture: picture(&changed, 0),
            caption: match strength {
                0 => "clean".into(),
                strength => format!("{}", corruption.value(strength)),
            },
            lines: vec![percent(match strength {
                0 => robustness.clean_accuracy,
                strength => corrupted.accuracies[strength - 1],
            })],
            origin: one.origin(0),
            is_marked: false,
        })
    };
    let curve = |of: &Robustness| {
        let accuracies = of.corruptions.iter().find(|other| other.corruption == corrupted.corruption);
        let accuracies = accuracies.into_iter().flat_map(|other| other.accuracies.iter().copied());
        [of.clean_accuracy].into_iter().chain(accuracies).collect::<Vec<f64>>()
    };
    let other = robustness.relative.as_ref().zip(beside).map(|(r, beside)| (r.to.clone(), curve(beside)));
    Ok(SheetGroup {
        heading: corruption.to_string(),
        note: format!("By {}.", corruption.scale()),
        curves: Some(StrengthCurves {
            title: "Accuracy, %".into(),
            name: name.into(),
            accuracies: curve(robustness),
            other,
        }),
        cards: (0..=STRENGTHS).map(card).collect::<anyhow::Result<_>>()?,
        is_paired: false,
    })
}
