//! What is written and printed after a model was judged on a labeled part of the data.

use std::io::Write;
use std::path::Path;

use tailor_data::{Dataset, Views};
use tailor_eval::{ConfidenceCheck, Evaluation, History, Predictions, Timing, table, thousands};
use tailor_report::{LayerRow, Picture, Pictures, RunReport, html, plots};
use tailor_train::inference::labels;
use tailor_train::run::{files, replace_file};
use tailor_train::{AnyRecipe, Model};

use crate::Context;
use crate::looking::{DatasetHeats, Opened};

/// A model's judgment on one part of a data set.
pub struct Results<'a> {
    model: &'a Model,
    images: &'a Dataset,
    /// test, validation, training or only.
    part: &'a str,
    data_name: &'a str,
    history: History,
    predictions: Predictions,
    evaluation: Evaluation,
    timing: Timing,
    threads: usize,
}

impl<'a> Results<'a> {
    /// Lets the model predict every image.
    pub fn new(
        model: &'a Model,
        images: &'a Dataset,
        part: &'a str,
        data_name: &'a str,
        history: History,
        context: &Context,
    ) -> anyhow::Result<Self> {
        let (logits, timing) = model.logits_of(images);
        let predictions = model.predictions(labels(images), &logits)?;
        let mut evaluation = Evaluation::of(&predictions)?;
        if let Some(confidence) = &model.confidence {
            let names = predictions.class_names().to_vec();
            let unscaled = Predictions::from_logits(names, labels(images), &logits)?;
            evaluation.confidence = Some(ConfidenceCheck::of(confidence, &predictions, &unscaled));
        }
        Ok(Results {
            model,
            images,
            part,
            data_name,
            history,
            predictions,
            evaluation,
            timing,
            threads: context.threads,
        })
    }

    /// Writes evaluation.json, timing.json, predictions.csv, plots and report.html into a folder.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let mut predictions = Vec::new();
        self.predictions.write_csv(&mut predictions)?;
        replace_file(&folder.join(files::PREDICTIONS), &predictions)?;
        for (name, bytes) in plots(&self.evaluation, self.epochs(), self.kept_epoch())? {
            replace_file(&folder.join(name), &bytes)?;
        }
        replace_file(&folder.join(files::REPORT), self.page()?.as_bytes())?;
        let mut timing = Vec::new();
        self.timing.write_json(&mut timing)?;
        replace_file(&folder.join(files::TIMING), &timing)?;
        // Last: where it is, the others are too.
        replace_file(&folder.join(files::EVALUATION), &self.json()?)?;
        Ok(())
    }

    /// Right answers among all.
    pub fn accuracy(&self) -> f64 {
        self.evaluation.accuracy
    }

    /// Prints the tables, and where the page is.
    pub fn print(&self, quiet: bool, page: Option<&Path>) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} on the {} part of {}:", self.model.info.recipe.name(), self.part, self.data_name)?;
        writeln!(out, "{}", table(&self.evaluation))?;
        if !quiet {
            writeln!(out, "{:.0} images/s", self.timing.images_per_second())?;
            match page {
                Some(page) => writeln!(out, "report: {}", page.display())?,
                None => writeln!(out, "for a page with pictures: --output DIR")?,
            }
        }
        Ok(())
    }

    /// Prints what evaluation.json holds.
    pub fn print_json(&self) -> anyhow::Result<()> {
        Ok(std::io::stdout().lock().write_all(&self.json()?)?)
    }

    fn json(&self) -> anyhow::Result<Vec<u8>> {
        let mut json = Vec::new();
        self.evaluation.write_json(&mut json)?;
        Ok(json)
    }

    fn page(&self) -> anyhow::Result<String> {
        let info = &self.model.info;
        let layers = self
            .model
            .summary
            .rows
            .iter()
            .map(|row| LayerRow {
                name: format!("{} · {}", row.name, row.layer),
                output_shape: row.output.to_string(),
                parameters: row.trainable + row.statistics,
            })
            .collect();
        let settings = info.recipe.to_toml();
        let opened = Opened::new(self.model);
        let heats = DatasetHeats {
            explainer: opened.explainer(None, None)?,
            images: self.images,
            predictions: &self.predictions,
        };
        let report = RunReport {
            title: info.recipe.name(),
            description: info.recipe.description(),
            data_name: self.data_name,
            part: self.part,
            evaluation: &self.evaluation,
            predictions: &self.predictions,
            history: self.epochs(),
            kept_epoch: self.kept_epoch(),
            pictures: &DatasetPictures(self.images),
            heats: Some(&heats),
            layers,
            settings: &settings,
            facts: self.facts(),
            reproduce: &self.reproduce(),
        };
        Ok(html(&report)?)
    }

    fn is_network(&self) -> bool {
        matches!(self.model.info.recipe, AnyRecipe::Network(_))
    }

    /// What curves are drawn of: a baseline has a single row of metrics, and no curves.
    fn epochs(&self) -> &History {
        static NONE: History = History(Vec::new());
        if self.is_network() { &self.history } else { &NONE }
    }

    fn kept_epoch(&self) -> Option<usize> {
        self.model.info.validation.filter(|_| self.is_network()).map(|kept| kept.epoch)
    }

    fn facts(&self) -> Vec<(String, String)> {
        let info = &self.model.info;
        let mut facts = vec![("tailor".to_string(), env!("CARGO_PKG_VERSION").to_string())];
        let mut add = |name: &str, value: String| facts.push((name.to_string(), value));
        add("Seed", info.recipe.seed().to_string());
        add("Parameters", thousands(self.model.summary.parameters()));
        if let Some(kept) = info.validation {
            if self.is_network() {
                add("Kept epoch", format!("{} of {}", kept.epoch, self.history.0.len().max(kept.epoch)));
            }
            add("Validation accuracy", format!("{:.2} %", 100.0 * kept.accuracy));
        }
        if !self.history.0.is_empty() {
            let seconds: f64 = self.history.0.iter().map(|epoch| epoch.seconds).sum();
            add("Training time", format!("{seconds:.1} s"));
            let images_per_second: f64 = self.history.0.iter().map(|epoch| epoch.images_per_second).sum();
            add("Training speed", format!("{:.0} images/s", images_per_second / self.history.0.len() as f64));
        }
        if let Some(confidence) = &self.model.confidence {
            add("Temperature", format!("{:.3}", confidence.temperature));
        }
        if self.model.views != Views::None {
            add("Views of each image", self.model.views.to_string());
        }
        add("Threads", self.threads.to_string());
        add("Instructions", tailor_kernels::Isa::current().to_string());
        add("Evaluation speed", format!("{:.0} images/s", self.timing.images_per_second()));
        facts
    }

    fn reproduce(&self) -> String {
        let threads = self.threads;
        let views = match self.model.views {
            views if views == self.model.info.recipe.views() => String::new(),
            views => format!(" --views {views}"),
        };
        let command = if self.is_network() { "train" } else { "baseline" };
        format!(
            "tailor {command} recipe.toml --threads {threads}    # the recipe above, saved as a file\n\
             tailor evaluate model.safetensors{views}"
        )
    }
}

/// The images of a data set, for a page.
pub struct DatasetPictures<'a>(pub &'a Dataset);

impl Pictures for DatasetPictures<'_> {
    fn picture(&self, i: usize) -> Picture {
        picture(self.0, i)
    }

    fn origin(&self, i: usize) -> Option<String> {
        Some(self.0.origin(i))
    }
}

/// The picture of image `i`.
pub fn picture(images: &Dataset, i: usize) -> Picture {
    let shape = images.shape();
    Picture::new(shape.width, shape.height, shape.channels, images.image(i).to_vec())
        .expect("a data set holds whole images")
}
