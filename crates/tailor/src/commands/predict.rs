//! `tailor predict`: what a model says about photographs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use rayon::prelude::*;
use tailor_data::preparation::{is_prepared, prepare, take_as_is};
use tailor_data::{
    Dataset, OpenOptions, PathKind, Photo, Preparation, Source, Views, kind_of, open_judged, photo,
};
use tailor_eval::{Confidence, Predictions};
use tailor_train::Model;
use tailor_train::familiarity::Familiarity;
use tailor_train::run::replace_file;
use walkdir::WalkDir;

use crate::Context;
use crate::progress::say;

/// Name the garment on photographs
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor predict runs/starter-001 shoe.jpg
  tailor predict model.safetensors photos/ --top 1 --format csv > classes.csv
  tailor predict model.safetensors shirt.png --show-input seen/

A model of Fashion-MNIST sees a photograph after the preparation that made that data set: borders of
the corners' color are trimmed, then it is made smaller, sharpened, centered, negated and grey. That
works for one garment on a plain light background, not for worn clothes or busy scenes.

\"strange\" marks images that are further from the training images than 19 of 20 of their kind: perhaps not clothing
at all. A model that `tailor calibrate` gave a threshold says \"not sure\" below it; one that it gave prediction sets
names in braces the classes among which the true one is as often as promised.")]
pub struct Args {
    /// A model file, or a run's folder
    model: PathBuf,

    /// Images, folders of images, or data sets (IDX, CSV)
    #[arg(required = true, value_name = "IMAGE|FOLDER|DATASET")]
    inputs: Vec<PathBuf>,

    /// How many classes to print, the likeliest first
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,

    /// How to print; json is one object a line
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// How photographs are prepared [default: as the model's data was]
    #[arg(long, value_enum)]
    prepare: Option<PrepareArg>,

    /// Average the logits over views of each image: none, flip (its mirror image, too; twice the time) or flip+shift (six
    /// views; six times)
    #[arg(long, value_name = "VIEWS", default_value = "none")]
    views: Views,

    /// Write what the network sees of each image into this folder, as PNG
    #[arg(long, value_name = "DIR")]
    show_input: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PrepareArg {
    /// Trim, shrink, sharpen, center, negate and turn grey, as Fashion-MNIST was made
    FashionMnist,
    /// Only resize
    Resize,
}

/// Images that are in memory at the same time.
const CHUNK: usize = 256;

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    let model = super::model(&args.model, args.views, &context)?;
    if let Some(folder) = &args.show_input {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let preparation = match args.prepare {
        None => model.info.preparation,
        Some(PrepareArg::FashionMnist) => Preparation::FashionMnist,
        Some(PrepareArg::Resize) => Preparation::Resize,
    };
    let mut predictor = Predictor {
        printer: Printer::new(&model, &args)?,
        model: &model,
        preparation,
        show_input: args.show_input.as_deref(),
        failed: 0,
        done: 0,
    };
    for input in &args.inputs {
        predictor.predict(input)?;
    }
    match predictor.failed {
        0 => Ok(ExitCode::SUCCESS),
        failed => {
            say(format_args!(
                "error: {failed} of {} inputs could not be classified",
                failed + predictor.done
            ));
            Ok(ExitCode::FAILURE)
        }
    }
}

struct Predictor<'a> {
    model: &'a Model,
    preparation: Preparation,
    show_input: Option<&'a Path>,
    printer: Printer,
    failed: usize,
    done: usize,
}

impl Predictor<'_> {
    fn predict(&mut self, input: &Path) -> anyhow::Result<()> {
        match kind_of(input) {
            Ok(PathKind::Image) => self.predict_files(&[input.to_path_buf()]),
            Ok(PathKind::ImageFolder | PathKind::ClassFolders) => self.predict_folder(input),
            Ok(PathKind::Dataset) => match self.open_dataset(input) {
                Ok(dataset) => self.predict_dataset(&dataset),
                Err(error) => self.fail(&error),
            },
            Err(tailor_data::Error::UnknownFormat { .. }) if input.is_dir() => {
                self.fail(&anyhow::anyhow!("{} holds no image and no data set", input.display()))
            }
            Err(error) => self.fail(&error.into()),
        }
    }

    /// Every image below a folder, in the order of names.
    fn predict_folder(&mut self, folder: &Path) -> anyhow::Result<()> {
        let mut chunk = Vec::with_capacity(CHUNK);
        for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(entry) if matches!(kind_of(entry.path()), Ok(PathKind::Image)) => {
                    chunk.push(entry.into_path());
                }
                Ok(_) => {}
                Err(error) => self.fail(&error.into())?,
            }
            if chunk.len() == CHUNK {
                self.predict_files(&chunk)?;
                chunk.clear();
            }
        }
        self.predict_files(&chunk)
    }

    fn predict_files(&mut self, files: &[PathBuf]) -> anyhow::Result<()> {
        let decoded: Vec<_> =
            files.par_iter().map(|path| photo::decode(path).map(|photo| self.pixels(&photo))).collect();
        let mut images = Vec::with_capacity(files.len());
        for (path, pixels) in files.iter().zip(decoded) {
            match pixels {
                Ok(pixels) => images.push((path.display().to_string(), pixels)),
                Err(error) => self.fail(&error.into())?,
            }
        }
        self.predict_images(&images)
    }

    fn predict_dataset(&mut self, dataset: &Dataset) -> anyhow::Result<()> {
        for start in (0..dataset.len()).step_by(CHUNK) {
            let images: Vec<_> = (start..dataset.len().min(start + CHUNK))
                .map(|i| (dataset.origin(i), dataset.image(i).to_vec()))
                .collect();
            self.predict_images(&images)?;
        }
        Ok(())
    }

    /// Classifies images of the network's shape and prints what it says.
    fn predict_images(&mut self, images: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
        if images.is_empty() {
            return Ok(());
        }
        let info = &self.model.info;
        let pixels: Vec<u8> = images.iter().flat_map(|(_, pixels)| pixels).copied().collect();
        let logits = self.model.logits(&pixels);
        // Predictions are of labeled images; these labels are not looked at.
        let predictions = self.model.predictions(vec![0; images.len()], &logits)?;
        for (name, pixels) in images {
            self.done += 1;
            if let Some(folder) = self.show_input {
                let stem = Path::new(name).file_stem().map_or("image".into(), |stem| stem.to_string_lossy());
                let file =
                    folder.join(format!("{:05}-{}.png", self.done, stem.replace(['/', '#', ' '], "-")));
                replace_file(&file, &photo::png(pixels, info.shape)?)?;
            }
        }
        let names: Vec<&str> = images.iter().map(|(name, _)| name.as_str()).collect();
        let distances = self.model.distances(&pixels);
        self.printer.print(&names, &predictions, distances.as_deref())
    }

    /// What the network sees of a photograph. One that has its shape and has no more color is taken as it is.
    fn pixels(&self, photo: &Photo) -> Vec<u8> {
        let shape = self.model.info.shape;
        match is_prepared(photo, shape) {
            true => take_as_is(photo, shape.channels),
            false => prepare(photo, shape, self.preparation),
        }
    }

    fn open_dataset(&self, path: &Path) -> anyhow::Result<Dataset> {
        let dataset = open_judged(&Source::Path(path.into()), &OpenOptions::default())?.images;
        let needed = self.model.info.shape;
        anyhow::ensure!(
            dataset.shape() == needed,
            "{} holds images of {}, but the model takes {needed}",
            path.display(),
            dataset.shape()
        );
        Ok(dataset)
    }

    fn fail(&mut self, error: &anyhow::Error) -> anyhow::Result<()> {
        say(format_args!("error: {error:#}"));
        self.failed += 1;
        Ok(())
    }
}

/// Prints predictions chunk by chunk.
struct Printer {
    top: usize,
    format: Format,
    /// What is stored with the model.
    confidence: Option<Confidence>,
    /// The distance from which on an image is called strange.
    most_familiar: Option<f64>,
}

/// What is said about an image.
struct Answer<'a> {
    image: &'a str,
    /// The likeliest classes and their probabilities.
    likeliest: Vec<(&'a str, f64)>,
    /// Whether the likeliest counts as the answer, where the model has a threshold.
    is_sure: Option<bool>,
    /// The classes among which the true one is as often as promised, where the model has such sets.
    set: Option<Vec<&'a str>>,
    /// How far it is from the training images, and whether that is too far for an image of their kind, where the model can tell.
    distance: Option<(f64, bool)>,
}

impl Printer {
    fn new(model: &Model, args: &Args) -> anyhow::Result<Self> {
        let printer = Printer {
            top: usize::from(args.top).min(model.info.class_names.len()),
            format: args.format,
            confidence: model.confidence,
            most_familiar: model.familiarity.as_ref().map(Familiarity::threshold),
        };
        if printer.format == Format::Csv {
            printer.write_csv_heading()?;
        }
        Ok(printer)
    }

    fn print(
        &self,
        names: &[&str],
        predictions: &Predictions,
        distances: Option<&[f64]>,
    ) -> anyhow::Result<()> {
        let distance = |i: usize| Some((distances?[i], distances?[i] > self.most_familiar?));
        let answers: Vec<Answer> = names
            .iter()
            .enumerate()
            .map(|(i, &name)| Answer { distance: distance(i), ..self.answer(name, predictions, i) })
            .collect();
        match self.format {
            Format::Table => write_table(&answers, predictions.class_names()),
            Format::Json => write_json_lines(&answers),
            Format::Csv => write_csv(answers.into_iter().map(|answer| {
                let Answer { image, likeliest, is_sure, set, distance } = answer;
                let classes = likeliest.into_iter().flat_map(|(class, p)| [class.to_string(), p.to_string()]);
                let sure = is_sure.map(|is_sure| is_sure.to_string());
                let set = set.map(|set| set.join(";"));
                let strange = distance.map(|(_, is_strange)| is_strange.to_string());
                let image = std::iter::once(image.to_string());
                image.chain(classes).chain(sure).chain(set).chain(strange).collect()
            })),
        }
    }

    fn write_csv_heading(&self) -> anyhow::Result<()> {
        let classes = (1..=self.top).flat_map(|k| [format!("class_{k}"), format!("probability_{k}")]);
        let confidence = self.confidence.as_ref();
        let sure = confidence.and_then(|c| c.abstention).map(|_| "sure".to_string());
        let set = confidence.and_then(|c| c.sets).map(|_| "set".to_string());
        let strange = self.most_familiar.map(|_| "strange".to_string());
        let image = std::iter::once("image".to_string());
        write_csv(std::iter::once(image.chain(classes).chain(sure).chain(set).chain(strange).collect()))
    }

    fn answer<'a>(&self, image: &'a str, predictions: &'a Predictions, i: usize) -> Answer<'a> {
        let name = |class: usize| predictions.class_names()[class].as_str();
        let top = predictions.top(i, self.top);
        let sets = self.confidence.and_then(|confidence| confidence.sets);
        Answer {
            image,
            likeliest: top.into_iter().map(|(class, probability)| (name(class), probability)).collect(),
            is_sure: self.confidence.and_then(|confidence| confidence.is_sure(predictions.row(i))),
            set: sets.map(|sets| sets.of(predictions.row(i)).into_iter().map(name).collect()),
            distance: None,
        }
    }
}

fn write_table(answers: &[Answer], class_names: &[String]) -> anyhow::Result<()> {
    let names = answers.iter().map(|answer| answer.image.chars().count()).max().unwrap_or(0);
    let classes = class_names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    for Answer { image, likeliest, is_sure, set, distance } in answers {
        write!(out, "{:names$}", printable(image))?;
        let doubt = match (distance, is_sure) {
            (Some((_, true)), _) => Some("strange"),
            (_, Some(false)) => Some("not sure"),
            (None, None) => None,
            _ => Some(""),
        };
        if let Some(doubt) = doubt {
            write!(out, "   {doubt:8}")?;
        }
        for (class, probability) in likeliest {
            write!(out, "   {class:classes$} {:>5.1} %", 100.0 * probability)?;
        }
        if let Some(set) = set {
            write!(out, "   {{{}}}", set.join(", "))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// A file's name may hold what would move a terminal's cursor.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn write_json_lines(answers: &[Answer]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for Answer { image, likeliest, is_sure, set, distance } in answers {
        let predictions: Vec<_> = likeliest
            .iter()
            .map(|(class, p)| serde_json::json!({ "class": class, "probability": p }))
            .collect();
        let mut line = serde_json::json!({ "image": image, "predictions": predictions });
        is_sure.iter().for_each(|is_sure| line["sure"] = (*is_sure).into());
        set.iter().for_each(|set| line["set"] = set.clone().into());
        if let Some((distance, is_strange)) = distance {
            line["distance"] = (*distance).into();
            line["strange"] = (*is_strange).into();
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn write_csv(rows: impl Iterator<Item = Vec<String>>) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(std::io::stdout().lock());
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(writer.flush()?)
}
