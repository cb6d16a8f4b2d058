//! All images in the plane: a page to look around in.

mod page;
mod sprite;

use crate::{Error, Picture, Result};

/// An image with its place in every projection.
#[derive(Clone, Debug)]
pub struct MappedImage {
    /// What is shown of it.
    pub picture: Picture,
    /// Its class.
    pub label: usize,
    /// What the model says.
    pub predicted: usize,
    /// How sure it is, 0 to 1.
    pub confidence: f64,
    /// Where it came from.
    pub origin: String,
}

/// A way to lay out the images.
#[derive(Clone, Debug)]
pub struct Projection {
    /// Its name, such as "t-SNE".
    pub name: String,
    /// What distances mean in it, in a sentence.
    pub meaning: String,
    /// The place of each image, at any scale.
    pub points: Vec<[f32; 2]>,
}

/// Everything that the page shows.
pub struct EmbeddingReport<'a> {
    /// The heading: the model.
    pub title: &'a str,
    /// Which images, and by which features.
    pub description: &'a str,
    /// In the order of the labels.
    pub class_names: &'a [String],
    /// The images.
    pub images: &'a [MappedImage],
    /// One or more; the first is shown first.
    pub projections: &'a [Projection],
    /// The command that leads to the same page.
    pub reproduce: &'a str,
}

/// Renders `report` as one HTML page that needs nothing else: the pictures are in one sheet within it.
///
/// # Errors
/// A projection that has not a place for each image, a label without a name, or too many pictures for a sheet.
pub fn embedding_html(report: &EmbeddingReport<'_>) -> Result<String> {
    let (images, classes) = (report.images.len(), report.class_names.len());
    let is_known = |image: &MappedImage| image.label.max(image.predicted) < classes;
    let fits = |projection: &Projection| projection.points.len() == images;
    if images == 0 || !report.images.iter().all(is_known) || !report.projections.iter().all(fits) {
        let mapped = format!("{images} images and {classes} classes");
        let placed: Vec<String> =
            report.projections.iter().map(|projection| projection.points.len().to_string()).collect();
        return Err(Error::Unmapped { mapped, placed: placed.join(", ") });
    }
    page::Page::of(report)?.render()
}
