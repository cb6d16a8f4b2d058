//! `tailor data`: look at a data set before training on it, or fetch one.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tailor_data::batch::{BatchPlan, batches};
use tailor_data::random::Generator;
use tailor_data::{
    Dataset, Normalization, OpenOptions, Pipeline, Source, Statistics, cache_dir, fetch, open,
};
use tailor_report::{Captioned, Grid, Picture, labeled_grid};
use tailor_train::recipe;
use tailor_train::run::replace_file;

use crate::Context;
use crate::progress::{Download, say};

/// Look at a data set, or fetch one
#[derive(clap::Subcommand)]
pub enum Command {
    Info(InfoArgs),
    Preview(PreviewArgs),
    Audit(super::audit::Args),
    Fetch(FetchArgs),
}

/// Print images per class, sizes, mean, deviation and duplicates
#[derive(clap::Args)]
#[command(after_help = "Example:\n  tailor data info --data photos/")]
pub struct InfoArgs {
    /// fashion-mnist, mnist, a folder of class folders, IDX files or a CSV file
    #[arg(long, value_name = "SOURCE", default_value = "fashion-mnist")]
    data: String,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Write a picture of some images of each class, before and after a recipe's augmentation
#[derive(clap::Args)]
#[command(after_help = "Example:\n  tailor data preview --recipe cnn-bn-32-64-128 --output preview.png")]
pub struct PreviewArgs {
    /// fashion-mnist, mnist, a folder of class folders, IDX files or a CSV file [default: the recipe's]
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,

    /// Whose augmentation is shown
    #[arg(long, value_name = "RECIPE|FILE.toml", default_value = recipe::DEFAULT)]
    recipe: String,

    /// Where the picture goes
    #[arg(long, value_name = "FILE.png", default_value = "preview.png")]
    output: PathBuf,

    /// Images of each class
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    images: u16,

    /// Which images, and how they are changed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Download a data set into the cache, checked by SHA-256
#[derive(clap::Args)]
#[command(after_help = "Example:\n  tailor data fetch mnist && tailor train cnn-32-64-64 --data mnist")]
pub struct FetchArgs {
    /// Which one
    #[arg(value_parser = ["fashion-mnist", "mnist"])]
    name: String,

    /// Take the files from a mirror
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub fn run(command: Command, context: Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Audit(args) => return super::audit::run(args, context),
        Command::Info(args) => info(&args),
        Command::Preview(args) => preview(&args, context),
        Command::Fetch(args) => fetch_source(&args, context),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn info(args: &InfoArgs) -> anyhow::Result<()> {
    let splits = open(&Source::parse(&args.data), &OpenOptions::default())?;
    let statistics = Statistics::of(&splits);
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &statistics)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{}, images of {}", statistics.name, statistics.shape)?;
    for note in &splits.notes {
        writeln!(out, "note: {note}")?;
    }
    write_class_counts(&mut out, &statistics)?;
    write_pixels(&mut out, &statistics)?;
    write_duplicates(&mut out, &statistics)
}

fn write_class_counts(out: &mut impl Write, statistics: &Statistics) -> anyhow::Result<()> {
    let names = statistics.class_names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
    write!(out, "\n{:names$}", "class")?;
    for part in &statistics.parts {
        write!(out, "  {:>10}", part.name)?;
    }
    for (class, name) in statistics.class_names.iter().enumerate() {
        write!(out, "\n{name:names$}")?;
        for part in &statistics.parts {
            write!(out, "  {:>10}", part.class_counts[class])?;
        }
    }
    write!(out, "\n{:names$}", "all")?;
    for part in &statistics.parts {
        write!(out, "  {:>10}", part.images)?;
    }
    Ok(writeln!(out, "\n")?)
}

fn write_pixels(out: &mut impl Write, statistics: &Statistics) -> anyhow::Result<()> {
    let values =
        |values: &[f32]| values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(", ");
    writeln!(
        out,
        "pixels of the training part, divided by 255: mean {}, deviation {}",
        values(&statistics.normalization.mean),
        values(&statistics.normalization.deviation)
    )?;
    Ok(())
}

fn write_duplicates(out: &mut impl Write, statistics: &Statistics) -> anyhow::Result<()> {
    let duplicates = &statistics.duplicates;
    for (position, part) in statistics.parts.iter().enumerate() {
        writeln!(
            out,
            "{}: {} images are exact copies of an earlier one",
            part.name,
            duplicates.within(part.name)
        )?;
        for earlier in &statistics.parts[..position] {
            let shared = duplicates.between(part.name, earlier.name);
            writeln!(out, "{}: {shared} images also occur in {}", part.name, earlier.name)?;
        }
    }
    match duplicates.conflicts().count() {
        0 => {}
        conflicts => writeln!(out, "{conflicts} images occur under different labels")?,
    }
    Ok(())
}

fn preview(args: &PreviewArgs, context: Context) -> anyhow::Result<()> {
    if args.output.extension().is_none_or(|extension| extension != "png") {
        return Err(super::Usage(format!("{} does not end in .png", args.output.display())).into());
    }
    let mut recipe = super::recipe(&args.recipe, &[])?;
    if let Some(source) = &args.data {
        recipe.data.source.clone_from(source);
    }
    let splits = tailor_train::data::open_source(&recipe.data)?;
    let stored = splits.train.shape();
    let shape = tailor_train::data::shape_of(&recipe.data, stored);
    let pipeline = Pipeline::resizing(&recipe.data.augment, stored, shape)?;
    let grid = preview_grid(&splits.train, &splits.name, &recipe.name, &pipeline, args)?;
    replace_file(&args.output, &labeled_grid(&grid)?)?;
    if !context.quiet {
        for note in &splits.notes {
            say(format_args!("note: {note}"));
        }
        writeln!(std::io::stdout(), "{}", args.output.display())?;
    }
    Ok(())
}

/// A row a class: each image as it is, and beside it what a recipe's augmentation makes of it in two epochs.
fn preview_grid(
    images: &Dataset,
    data: &str,
    recipe: &str,
    pipeline: &Pipeline,
    args: &PreviewArgs,
) -> anyhow::Result<Grid> {
    let chosen = usize::from(args.images);
    let rows = chosen_by_class(images, chosen, args.seed);
    // All in one batch, so that classes are mixed with each other where the recipe mixes images.
    let shown = images.subset(&rows.concat());
    let [mut originals, mut first, mut second] = [
        pixels(&shown, None, args.seed, 0)?,
        pixels(&shown, Some(pipeline), args.seed, 0)?,
        pixels(&shown, Some(pipeline), args.seed, 1)?,
    ]
    .map(Vec::into_iter);
    let mut cells = Vec::new();
    for row in &rows {
        for _ in row {
            cells.extend([&mut originals, &mut first, &mut second].map(|pictures| {
                let picture = pictures.next().expect("a picture of each image");
                Captioned { picture, caption: String::new() }
            }));
        }
        // A class may be without images.
        for _ in 3 * row.len()..3 * chosen {
            let shape = images.shape();
            let picture = Picture::new(shape.width, shape.height, shape.channels, vec![255; shape.len()])?;
            cells.push(Captioned { picture, caption: String::new() });
        }
    }
    let labels = ["original", "augmented", "augmented"];
    Ok(Grid {
        title: format!("{data}, augmented as in {recipe}"),
        columns: 3 * chosen,
        column_labels: labels.iter().cycle().take(3 * chosen).map(ToString::to_string).collect(),
        row_labels: images.class_names().to_vec(),
        cells,
    })
}

/// Positions of some images of each class; a class with too few images begins again.
fn chosen_by_class(images: &Dataset, chosen: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut generator = Generator::new(seed);
    let of_class = |class| {
        let mut positions: Vec<usize> = (0..images.len()).filter(|&i| images.label(i) == class).collect();
        generator.shuffle(&mut positions);
        positions.iter().cycle().take(chosen).copied().collect()
    };
    (0..images.classes()).map(of_class).collect()
}

/// The images as training would see them in an epoch.
fn pixels(
    images: &Dataset,
    pipeline: Option<&Pipeline>,
    seed: u64,
    epoch: u64,
) -> anyhow::Result<Vec<Picture>> {
    let shape = pipeline.map_or(images.shape(), Pipeline::shape);
    let plan = BatchPlan { seed, epoch, ..BatchPlan::in_order(images.len()) };
    let mut pictures = Vec::with_capacity(images.len());
    for batch in batches(images, &Normalization::unit(shape.channels), pipeline, &plan) {
        for image in batch.images.chunks_exact(shape.len()) {
            let pixels = image.iter().map(|value| (value * 255.0).round() as u8).collect();
            pictures.push(Picture::new(shape.width, shape.height, shape.channels, pixels)?);
        }
    }
    Ok(pictures)
}

fn fetch_source(args: &FetchArgs, context: Context) -> anyhow::Result<()> {
    let cache = cache_dir().context("there is no home folder for a cache; set TAILOR_CACHE to a folder")?;
    let download = Download::new(context.quiet);
    let folder = fetch(&args.name, &cache, args.url.as_deref(), &mut |progress| download.show(progress))?;
    drop(download);
    Ok(writeln!(std::io::stdout(), "{}", folder.display())?)
}
