//! The page that shows several models beside each other.

mod class_bars;
mod difference_map;
mod disagreements;
mod overlay;
mod page;
mod remarks;
mod scatter;
mod series;
mod standings_plot;

use tailor_eval::Comparison;

use crate::{Pictures, Result};

/// Everything that a comparison's page shows.
pub struct ComparisonReport<'a> {
    /// The figures of all models.
    pub comparison: &'a Comparison,
    /// The two that are shown in detail: different places in the standings.
    pub pair: (usize, usize),
    /// The data set that all were tested on.
    pub data_name: &'a str,
    /// The pictures of the test images, in the order of the answers, if they are at hand.
    pub pictures: Option<&'a dyn Pictures>,
    /// What the reader should know, a sentence each.
    pub notes: &'a [String],
    /// The command that leads to the same page; may be empty.
    pub reproduce: &'a str,
}

/// Renders `report` as one HTML page that needs nothing else.
///
/// The same report gives the same page, byte for byte.
///
/// # Errors
/// A picture cannot be encoded.
///
/// # Panics
/// If `pair` are not two places of the standings.
pub fn comparison_html(report: &ComparisonReport<'_>) -> Result<String> {
    page::Page::of(report)?.render()
}
