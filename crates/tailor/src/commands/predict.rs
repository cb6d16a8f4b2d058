//! `tailor predict`: what a model says about photographs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use tailor_data::{Views, photo};
use tailor_eval::{Confidence, Predictions};
use tailor_train::Model;
use tailor_train::familiarity::Familiarity;
use tailor_train::run::replace_file;

use crate::Context;
use crate::inputs::{Input, Inputs, PrepareArg};

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
at all; JSON and CSV hold the distance, too. A model that `tailor calibrate` gave a threshold says \"not sure\" below
it; one that it gave prediction sets names in braces the classes among which the true one is as often as promised.")]
pub struct Args {
    /// A model file, or a run's folder
    model: PathBuf,

    /// Images, folders of images, or data sets (IDX, CSV, fashion-mnist, mnist)
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
    /// views; six times) [default: as the model's recipe says]
    #[arg(long, value_name = "VIEWS")]
    views: Option<Views>,

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

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    let model = super::model(&args.model, args.views, &context)?;
    if let Some(folder) = &args.show_input {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let mut predictor = Predictor {
        printer: Printer::new(&model, &args)?,
        model: &model,
        show_input: args.show_input.as_deref(),
        done: 0,
    };
    let mut inputs = Inputs::new(&model.info, args.prepare);
    for input in &args.inputs {
        inputs.read(input, &mut |images| predictor.predict(images))?;
    }
    Ok(inputs.conclude("classified"))
}

struct Predictor<'a> {
    model: &'a Model,
    show_input: Option<&'a Path>,
    printer: Printer,
    done: usize,
}

impl Predictor<'_> {
    /// Classifies images and prints what the model says.
    fn predict(&mut self, images: &[Input]) -> anyhow::Result<()> {
        let info = &self.model.info;
        let pixels: Vec<u8> = images.iter().flat_map(|image| &image.pixels).copied().collect();
        let logits = self.model.logits(&pixels);
        // Predictions are of labeled images; these labels are not looked at.
        let predictions = self.model.predictions(vec![0; images.len()], &logits)?;
        for Input { name, pixels, .. } in images {
            self.done += 1;
            if let Some(folder) = self.show_input {
                let stem = Path::new(name).file_stem().map_or("image".into(), |stem| stem.to_string_lossy());
                let file =
                    folder.join(format!("{:05}-{}.png", self.done, stem.replace(['/', '#', ' '], "-")));
                replace_file(&file, &photo::png(pixels, info.shape)?)?;
            }
        }
        let names: Vec<&str> = images.iter().map(|image| image.name.as_str()).collect();
        let distances = self.model.distances(&pixels);
        self.printer.print(&names, &predictions, distances.as_deref())
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
                let strange = distance.map(|(far, is_strange)| [far.to_string(), is_strange.to_string()]);
                let image = std::iter::once(image.to_string());
                image.chain(classes).chain(sure).chain(set).chain(strange.into_iter().flatten()).collect()
            })),
        }
    }

    fn write_csv_heading(&self) -> anyhow::Result<()> {
        let classes = (1..=self.top).flat_map(|k| [format!("class_{k}"), format!("probability_{k}")]);
        let confidence = self.confidence.as_ref();
        let sure = confidence.and_then(|c| c.abstention).map(|_| "sure".to_string());
        let set = confidence.and_then(|c| c.sets).map(|_| "set".to_string());
        let strange = self.most_familiar.map(|_| ["distance", "strange"].map(String::from));
        let image = std::iter::once("image".to_string());
        let last = strange.into_iter().flatten();
        write_csv(std::iter::once(image.chain(classes).chain(sure).chain(set).chain(last).collect()))
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
pub fn printable(name: &str) -> String {
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
