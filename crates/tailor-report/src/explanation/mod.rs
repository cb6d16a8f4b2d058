//! Where a model looks: a picture and a page of images with heat over them, of filters and of feature maps.

mod card;
mod page;

pub use card::explanation_png;

use crate::{Picture, Result};

/// An image, where the model looks, and what it says.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Its file, or its place in a data set.
    pub name: String,
    /// What the model sees.
    pub picture: Picture,
    /// What speaks for the class.
    pub heat: Picture,
    /// The one over the other.
    pub overlay: Picture,
    /// The class whose heat it is.
    pub class: String,
    /// What the image is, if that is known.
    pub label: Option<String>,
    /// The likeliest classes with their probabilities, likeliest first.
    pub top: Vec<(String, f64)>,
    /// Where most of the heat is, and its share; none where there is none.
    pub focus: Option<(String, f64)>,
    /// Feature maps, layer by layer; may be empty.
    pub maps: Vec<PictureRow>,
}

/// Pictures of one kind.
#[derive(Clone, Debug)]
pub struct PictureRow {
    /// What they are, such as a layer and its shape.
    pub name: String,
    /// One after the other.
    pub pictures: Vec<Picture>,
}

/// Everything that a page of explanations shows.
pub struct ExplanationReport<'a> {
    /// The heading: the model.
    pub title: &'a str,
    /// What was done to explain it: `grad-cam at conv2 (11×11)`.
    pub method: &'a str,
    /// What that means, in a sentence or two.
    pub meaning: &'a str,
    /// Whether there is heat against a class, too.
    pub is_signed: bool,
    /// The images.
    pub explanations: &'a [Explanation],
    /// The filters of the first layer; none if they are not shown.
    pub filters: Option<PictureRow>,
    /// What is to be known beside it, a sentence each.
    pub notes: &'a [String],
    /// The command that leads to the same page.
    pub reproduce: &'a str,
}

/// Renders `report` as one HTML page that needs nothing else.
///
/// # Errors
/// A picture cannot be encoded.
pub fn explanations_html(report: &ExplanationReport<'_>) -> Result<String> {
    page::Page::of(report)?.render()
}
