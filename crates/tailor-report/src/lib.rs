//! What people look at: a run's page, a page that compares several, plots as files, grids of pictures.
//!
//! Figures come from [`tailor_eval`]; this crate draws them and says what they mean. All plots are SVG, drawn once: the page
//! shows them in its own colors, light or dark, and files of their own carry fixed ones. PNG is made from the same SVG with
//! an embedded font, so a machine without fonts, display or network gives the same pixels.
//!
//! ```text
//!   RunReport ──► page ───────────────────────────────────────► report.html
//!                  ├── remarks      what the numbers say, in words
//!                  ├── gallery      which images are worth showing
//!                  └── picture      pictures as data URIs
//!
//!   ComparisonReport ──► comparison ────────────────────────────► comparison.html
//!                  ├── standings_plot, scatter, overlay      all models
//!                  └── class_bars, difference_map, disagreements      two of them
//!
//!   Evaluation ──► heat_map ─────┐
//!              └─► reliability ──┼─► svg ──► inline in the page; *.svg
//!   History ─────► curves (axis)─┘    └──► raster ──► *.png        (plots)
//!   Predictions ─► coverage_plot ─► inline in the page
//!
//!   StudyReport ─► study_page ──► study_plots (scale) ─────────► report.html of a study
//!   Rates ───────► rate_plot (scale) ► svg ► raster ───────────► *.svg, *.png
//!
//!   Sheet ───────► sheet (tables, curves, captioned pictures) ──► a page of any trial
//!
//!   Grid ────────► svg ──► raster ──► PNG bytes                    (grid)
//!
//!   Convergence ─────► convergence: words and curves of repeated runs, side by side ─► page
//!
//!   ExplanationReport ► explanation ─► page, and a PNG for each image      (heat over images)
//!   EmbeddingReport ──► embedding ───► page with a map to look around in   (images in the plane)
//!
//!   palette: every color, light and dark, by role      number: counts and percent as people read them
//! ```

mod axis;
mod comparison;
mod convergence;
mod coverage_plot;
mod curves;
mod embedding;
mod error;
mod explanation;
mod gallery;
mod grid;
mod heat_map;
mod number;
mod page;
mod palette;
mod picture;
mod plots;
mod raster;
mod rate_plot;
mod reliability;
mod remarks;
mod report;
mod scale;
mod sheet;
mod study;
mod study_page;
mod study_plots;
mod svg;

pub use comparison::{ComparisonReport, comparison_html};
pub use convergence::{Comparison, Convergence, Question, Variant, convergence_html, convergence_words};
pub use embedding::{EmbeddingReport, MappedImage, Projection, embedding_html};
pub use error::{Error, Result};
pub use explanation::{Explanation, ExplanationReport, PictureRow, explanation_png, explanations_html};
pub use grid::{Captioned, Grid, labeled_grid};
pub use number::percent;
pub use picture::{Picture, Pictures};
pub use plots::plots;
pub use rate_plot::{Rate, rate_plot};
pub use report::{Heats, LayerRow, RunReport, html};
pub use sheet::{Sheet, SheetCard, SheetGroup, SheetSection, SheetTable, StrengthCurves, sheet_html};
pub use study::{
    Confirmation, ConfirmedScores, Fate, GainOverStart, ParameterScale, StudyParameter, StudyReport,
    StudyTrial, study_html,
};
