//! `tailor explain`: where a model looks.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;
use tailor_explain::features::{FeatureMaps, feature_maps, filters};
use tailor_explain::{Explainer, Heat, Method, paint};
use tailor_nn::Probe;
use tailor_report::{
    Captioned, Explanation, ExplanationReport, Grid, Picture, PictureRow, explanation_png, explanations_html,
    labeled_grid,
};
use tailor_train::Model;
use tailor_train::run::replace_file;

use super::Usage;
use super::predict::printable;
use crate::Context;
use crate::inputs::{Input, Inputs, PrepareArg};
use crate::looking::{self, Opened};
use crate::progress::say;

/// Show which places of an image speak for a class, as pictures and a page
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor explain runs/starter-001 shoe.jpg                 writes explained/explanations.html and a PNG
  tailor explain runs/starter-001 shoe.jpg --class Bag     what speaks for a bag, and not for a shoe
  tailor explain runs/starter-001 photos/ --method occlusion --output why/
  tailor explain runs/starter-001 fashion-mnist --limit 100
  tailor explain runs/starter-001 shoe.jpg --features      also filters and feature maps

Methods: grad-cam and grad-cam++ for networks with convolutions; integrated-gradients for any network;
occlusion for any model, classical baselines too; attention for transformers. A map says what the model used, not
whether that was right to use; compare methods before you trust one.")]
pub struct Args {
    /// A model file, or a run's folder
    model: PathBuf,

    /// Images, folders of images, or data sets (IDX, CSV, fashion-mnist, mnist)
    #[arg(required = true, value_name = "IMAGE|FOLDER|DATASET")]
    inputs: Vec<PathBuf>,

    /// grad-cam, grad-cam++, integrated-gradients, occlusion or attention [default: what suits the model]
    #[arg(long, value_name = "METHOD")]
    method: Option<Method>,

    /// What speaks for this class [default: the likeliest of each image]
    #[arg(long, value_name = "NAME")]
    class: Option<String>,

    /// The layer that grad-cam looks at, by its name in `tailor summary` [default: the deepest whose map is not too coarse]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,

    /// Show the filters of the first layer and the feature maps of each image as well
    #[arg(long)]
    features: bool,

    /// How many classes to name, the likeliest first
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,

    /// Explain this many images at most
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// How photographs are prepared [default: as the model's data was]
    #[arg(long, value_enum)]
    prepare: Option<PrepareArg>,

    /// The folder for pictures and the page
    #[arg(long, value_name = "DIR", default_value = "explained")]
    output: PathBuf,

    /// Print one JSON object a line, with the heat as numbers, instead of a table
    #[arg(long)]
    json: bool,
}

/// The page's name in the output folder.
const PAGE: &str = "explanations.html";
/// The first layer's filters, likewise.
const FILTERS: &str = "filters.png";
/// Filters that are shown.
const MOST_FILTERS: usize = 64;
/// Layers whose feature maps are shown, and maps of each.
const LAYERS: usize = 6;
const MAPS: usize = 12;

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    let model = super::model(&args.model, None, &context)?;
    let class = args.class.as_deref().map(|name| class_named(&model, name)).transpose()?;
    let opened = Opened::new(&model);
    let explainer = opened.explainer(args.method, args.layer.as_deref())?;
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make the folder {}", args.output.display()))?;

    let mut writer = Writer {
        args: &args,
        model: &model,
        probe: opened.probe.as_ref().filter(|_| args.features),
        explainer: &explainer,
        class,
        explanations: Vec::new(),
    };
    let mut inputs = Inputs::new(&model.info, args.prepare).at_most(args.limit as usize);
    for input in &args.inputs {
        inputs.read(input, &mut |images| writer.explain(images))?;
    }
    let mut notes = Vec::new();
    if inputs.is_cut() {
        notes.push(format!("Only the first {} images are explained; --limit N takes more.", args.limit));
    }
    if let Some(class) = class {
        notes.push(format!("The heat is that for {}.", model.info.class_names[class]));
    }
    let explanations = std::mem::take(&mut writer.explanations);
    if !explanations.is_empty() {
        let filters = writer.filters(&mut notes)?;
        let report = ExplanationReport {
            title: model.info.recipe.name(),
            method: &explainer.describe(),
            meaning: explainer.method().meaning(),
            is_signed: explainer.method().is_signed(),
            explanations: &explanations,
            filters,
            notes: &notes,
            reproduce: &super::command_line(),
        };
        let page = args.output.join(PAGE);
        replace_file(&page, explanations_html(&report)?.as_bytes())?;
        if !context.quiet {
            notes.iter().for_each(|note| say(format_args!("note: {note}")));
            say(format_args!("{}; page: {}", explainer.describe(), page.display()));
        }
    }
    Ok(inputs.conclude("explained"))
}

/// The class of this name, whatever the case of its letters.
fn class_named(model: &Model, name: &str) -> anyhow::Result<usize> {
    let names = &model.info.class_names;
    let exact = names.iter().position(|known| known == name);
    let found = exact.or_else(|| names.iter().position(|known| known.to_lowercase() == name.to_lowercase()));
    found.ok_or_else(|| {
        let known = names.join(", ");
        Usage(format!("the model knows no class {name:?}; its classes are {known}")).into()
    })
}

/// Explains images, and writes and prints what comes of it.
struct Writer<'a> {
    args: &'a Args,
    model: &'a Model,
    /// To show features of, if they are asked for.
    probe: Option<&'a Probe>,
    explainer: &'a Explainer<'a>,
    class: Option<usize>,
    explanations: Vec<Explanation>,
}

impl Writer<'_> {
    fn explain(&mut self, images: &[Input]) -> anyhow::Result<()> {
        let info = &self.model.info;
        let pixels: Vec<u8> = images.iter().flat_map(|image| &image.pixels).copied().collect();
        let logits = self.model.logits(&pixels);
        // Predictions are of labeled images; these labels are not looked at.
        let predictions = self.model.predictions(vec![0; images.len()], &logits)?;
        let classes: Vec<usize> =
            (0..images.len()).map(|i| self.class.unwrap_or_else(|| predictions.predicted(i))).collect();
        let heats = self.explainer.explain(&pixels, &classes);
        let names = images.iter().map(|image| image.name.chars().count()).max().unwrap_or(0);
        for (i, (image, heat)) in images.iter().zip(heats).enumerate() {
            let name = |(class, p): (usize, f64)| (info.class_names[class].clone(), p);
            let explanation = Explanation {
                name: image.name.clone(),
                picture: picture(&image.pixels, [info.shape.height, info.shape.width, info.shape.channels]),
                heat: looking::heat(&heat, info.shape),
                overlay: looking::overlay(&heat, &image.pixels, info.shape),
                class: info.class_names[classes[i]].clone(),
                label: image.label.map(|label| info.class_names[label].clone()),
                top: predictions.top(i, usize::from(self.args.top)).into_iter().map(name).collect(),
                focus: heat.focus(),
                maps: self.maps(image),
            };
            let file = self.write(&explanation)?;
            match self.args.json {
                true => print_json(&explanation, &heat, self.explainer, &file)?,
                false => print_row(&explanation, names, &info.class_names)?,
            }
            self.explanations.push(explanation);
        }
        Ok(())
    }

    /// Writes the pictures of an image, and names the main one.
    fn write(&self, explanation: &Explanation) -> anyhow::Result<PathBuf> {
        let stem = Path::new(&explanation.name).file_stem();
        let stem = stem.map_or("image".into(), |stem| stem.to_string_lossy());
        let number = self.explanations.len() + 1;
        let stem = format!("{number:05}-{}", stem.replace(['/', '#', ' '], "-"));
        let file = self.args.output.join(format!("{stem}.png"));
        replace_file(&file, &explanation_png(explanation)?)?;
        if !explanation.maps.is_empty() {
            let file = self.args.output.join(format!("{stem}-features.png"));
            replace_file(&file, &labeled_grid(&grid(&explanation.name, &explanation.maps, MAPS))?)?;
        }
        Ok(file)
    }

    /// The feature maps of an image, if they are asked for.
    fn maps(&self, image: &Input) -> Vec<PictureRow> {
        let Some(probe) = self.probe else { return Vec::new() };
        let mut values = vec![0.0; image.pixels.len()];
        self.model.info.normalization.apply(&image.pixels, &mut values);
        let row = |FeatureMaps { layer, shape: [height, width, channels], maps }: FeatureMaps| {
            let shown = if maps.len() < channels {
                format!("{} of {channels}", maps.len())
            } else {
                channels.to_string()
            };
            let map = |(_, map): (usize, Heat)| picture(&paint::feature_map(&map), [height, width, 1]);
            PictureRow {
                name: format!("{layer} {height}×{width}, {shown}"),
                pictures: maps.into_iter().map(map).collect(),
            }
        };
        feature_maps(probe, &values, LAYERS, MAPS).into_iter().map(row).collect()
    }

    /// The first layer's filters, as a picture of their own and for the page, if they are asked for.
    fn filters(&self, notes: &mut Vec<String>) -> anyhow::Result<Option<PictureRow>> {
        if !self.args.features {
            return Ok(None);
        }
        let Some(probe) = self.probe else {
            notes.push("A classical baseline has no filters and no feature maps.".into());
            return Ok(None);
        };
        let Some(filters) = filters(probe, MOST_FILTERS) else {
            notes.push("The first layer has no filters that look at an image.".into());
            return Ok(None);
        };
        if feature_maps(probe, &vec![0.0; probe.shape(0).len()], 1, 1).is_empty() {
            notes.push("No layer of this network gives an image, so there are no feature maps.".into());
        }
        let [height, width, channels] = filters.shape;
        let colors = match channels {
            3 => "in its colors",
            _ => "warm above zero, cold below",
        };
        let row = PictureRow {
            name: format!(
                "{}: {} of {} filters of {height}×{width}, each at its own scale, {colors}.",
                filters.layer,
                filters.filters.len(),
                filters.count
            ),
            pictures: filters
                .filters
                .iter()
                .map(|filter| picture(&paint::filter(filter, filters.shape), [height, width, 3]))
                .collect(),
        };
        let unnamed = PictureRow { name: String::new(), pictures: row.pictures.clone() };
        let sheet = labeled_grid(&Grid { row_labels: Vec::new(), ..grid(&row.name, &[unnamed], 8) })?;
        replace_file(&self.args.output.join(FILTERS), &sheet)?;
        Ok(Some(row))
    }
}

/// Rows of pictures with their names before them.
fn grid(title: &str, rows: &[PictureRow], columns: usize) -> Grid {
    let blank = || picture(&[255], [1, 1, 1]);
    let cell = |picture: Picture| Captioned { picture, caption: String::new() };
    let filled = |row: &PictureRow| {
        let missing = row.pictures.len().next_multiple_of(columns) - row.pictures.len();
        row.pictures.iter().cloned().chain((0..missing).map(|_| blank())).map(cell).collect::<Vec<_>>()
    };
    Grid {
        title: title.into(),
        columns,
        row_labels: rows.iter().map(|row| row.name.clone()).collect(),
        cells: rows.iter().flat_map(filled).collect(),
        ..Grid::default()
    }
}

fn picture(pixels: &[u8], [height, width, channels]: [usize; 3]) -> Picture {
    Picture::new(width, height, channels, pixels.to_vec()).expect("whole pictures")
}

fn print_row(explanation: &Explanation, names: usize, class_names: &[String]) -> anyhow::Result<()> {
    let classes = class_names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    write!(out, "{:names$}", printable(&explanation.name))?;
    for (class, probability) in &explanation.top {
        write!(out, "   {class:classes$} {:>5.1} %", 100.0 * probability)?;
    }
    let Explanation { class, focus, .. } = explanation;
    match focus {
        Some((place, share)) => writeln!(out, "   {class}: {place}, {:.0} % of the heat", 100.0 * share)?,
        None => writeln!(out, "   nothing speaks for {class}")?,
    }
    Ok(())
}

fn print_json(
    explanation: &Explanation,
    heat: &Heat,
    explainer: &Explainer,
    file: &Path,
) -> anyhow::Result<()> {
    let Explanation { name, class, label, top, focus, .. } = explanation;
    let predictions: Vec<_> =
        top.iter().map(|(class, p)| json!({ "class": class, "probability": p })).collect();
    let mut line = BTreeMap::from([
        ("image", json!(name)),
        ("method", json!(explainer.method().to_string())),
        ("class", json!(class)),
        ("predictions", json!(predictions)),
        ("focus", json!(focus.as_ref().map(|(place, share)| json!({ "place": place, "share": share })))),
        ("heat", json!(heat.values().chunks(heat.width()).collect::<Vec<_>>())),
        ("file", json!(file.display().to_string())),
    ]);
    line.extend(label.iter().map(|label| ("label", json!(label))));
    line.extend(explainer.layer().map(|layer| ("layer", json!(layer))));
    writeln!(std::io::stdout(), "{}", json!(line))?;
    Ok(())
}
