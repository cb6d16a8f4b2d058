//! What a report is made of.

use tailor_eval::{Evaluation, History, Predictions};

use crate::page::Page;
use crate::{Picture, Pictures, Result};

/// Everything that a run's page shows.
pub struct RunReport<'a> {
    /// The heading, such as the recipe's name.
    pub title: &'a str,
    /// A line beneath it: what kind of model this is. May be empty.
    pub description: &'a str,
    /// The data set that was tested on, such as "Fashion-MNIST".
    pub data_name: &'a str,
    /// Which part of it: "test", "validation" or "training".
    pub part: &'a str,
    /// The figures of `predictions`.
    pub evaluation: &'a Evaluation,
    /// What the model said about the images of that part.
    pub predictions: &'a Predictions,
    /// How training went; without epochs, the page has no section on it.
    pub history: &'a History,
    /// The epoch whose weights the model has, if it is known.
    pub kept_epoch: Option<usize>,
    /// Their pictures, in the order of `predictions`.
    pub pictures: &'a dyn Pictures,
    /// Where the model looks; without it, pictures stand alone.
    pub heats: Option<&'a dyn Heats>,
    /// The model, layer by layer; may be empty.
    pub layers: Vec<LayerRow>,
    /// The recipe, as TOML; may be empty.
    pub settings: &'a str,
    /// Timings, versions, seeds: a name and a value each.
    pub facts: Vec<(String, String)>,
    /// The commands that lead to the same figures, a line each; may be empty.
    pub reproduce: &'a str,
}

/// Where a model looks in the images of a report.
pub trait Heats {
    /// What the heat means, in a sentence or two.
    fn meaning(&self) -> &str;

    /// These images, each with heat over it for the class that the model names.
    fn overlays(&self, images: &[usize]) -> Vec<Picture>;
}

/// A layer of the model.
#[derive(Clone, Debug)]
pub struct LayerRow {
    /// Its name or kind.
    pub name: String,
    /// The shape of what it gives, such as `[N, 28, 28, 32]`.
    pub output_shape: String,
    /// Number of trainable values.
    pub parameters: usize,
}

/// Renders `report` as one HTML page that needs nothing else: styles, plots and pictures are within.
///
/// The same report gives the same page, byte for byte. Pictures above 64 pixels enter as previews, so that the page stays
/// below about 1.5 MB.
///
/// # Errors
/// `evaluation` is not of `predictions`, or a picture cannot be encoded.
pub fn html(report: &RunReport<'_>) -> Result<String> {
    Page::of(report)?.render()
}
