//! Reads clothing images from every source into one data set: splits, preparation, augmentation, batches.
//!
//! Nothing here knows of models. Pixels are `u8`, `[N, H, W, C]`, until a batch is made.
//!
//! ```text
//!  fashion-mnist, mnist          a path                        a photograph
//!    official  cache              form                            photo
//!       │  ▲                ┌──────┼───────┐                        │
//!       │  fetch           idx    csv    folder ◀──────────── preparation ──▶ pixels for prediction
//!       ▼                 (gzip)(gzip)     │                    (resample)
//!     source ◀──────────────┴──────┴───────┘ ⇄ photographs ⇄ image_cache
//!       │ open                    classes
//!       ▼
//!     dataset: Splits ──▶ statistics ──▶ duplicates, near_duplicates
//!       │
//!     split ──▶ training part ──▶ normalization
//!                     │                │
//!                     ▼                ▼
//!           sampling ─▶ batch ◀── augment                      random: the same bits, always
//!                         └─▶ views, for evaluation
//!
//!     strangers: drawn images of other things
//! ```
//!
//! ```no_run
//! use tailor_data::{BatchPlan, Normalization, OpenOptions, Source, batches, open, split};
//!
//! let splits = open(&Source::parse("fashion-mnist"), &OpenOptions::default())?;
//! let (train, validation) = split::stratified(&splits.train, 5_000, 42)?;
//! let normalization = Normalization::of(&train);
//! for batch in batches(&validation, &normalization, None, &BatchPlan::in_order(256)) {
//!     println!("{} images, the first a {}", batch.len(), validation.class_names()[batch.labels[0] as usize]);
//! }
//! # Ok::<(), tailor_data::Error>(())
//! ```

pub mod augment;
pub mod batch;
mod cache;
mod classes;
mod csv;
mod dataset;
pub mod duplicates;
mod error;
pub mod fetch;
mod folder;
mod form;
mod gzip;
mod idx;
mod image_cache;
pub mod memory;
pub mod near_duplicates;
mod normalization;
mod official;
pub mod photo;
mod photographs;
pub mod preparation;
pub mod random;
mod replace;
mod resample;
pub mod sampling;
mod source;
pub mod split;
pub mod statistics;
pub mod strangers;
pub mod views;

pub use augment::{Augmentation, Corruption, Mix, Pipeline, STRENGTHS};
pub use batch::{Batch, BatchPlan, Batches, batches};
pub use cache::cache_dir;
pub use dataset::{Dataset, ImageShape, Lost, Splits};
pub use duplicates::Duplicates;
pub use error::{Error, Result};
pub use fetch::{Published, fetch};
pub use form::{PathKind, kind_of};
pub use near_duplicates::{NearDuplicate, near_duplicates};
pub use normalization::Normalization;
pub use official::Sum;
pub use photo::Photo;
pub use preparation::Preparation;
pub use replace::replace_file;
pub use sampling::Sampling;
pub use source::{Judged, OpenOptions, Source, Watch, open, open_judged, open_watched};
pub use statistics::Statistics;
pub use strangers::Strangers;
pub use views::{View, Views};
