//! Why a model decided: heat over the image, filters and feature maps, and a map of all images.
//!
//! ```text
//!                       Explainer (which method suits the model, at which layer)
//!                           │
//!  tailor_nn::Probe ──→ cam · integrated_gradients · rollout ──┐
//!  logits of any model ──→ occlusion ──────────────────────────┴─→ Heat ──→ paint ──→ pictures
//!
//!  tailor_nn::Probe ──→ features (filters, feature maps)
//!
//!  what a model makes of images ──→ embedding: PCA, t-SNE ──→ points in the plane
//! ```
//!
//! A method answers for one class of one image and knows nothing of files, pages or how its heat is shown.

pub mod cam;
pub mod embedding;
mod error;
mod explainer;
pub mod features;
mod heat;
pub mod integrated_gradients;
mod method;
pub mod occlusion;
pub mod paint;
pub mod rollout;
pub mod tsne;

pub use error::{Error, Result};
pub use explainer::{Explainer, Logits, Subject};
pub use heat::Heat;
pub use method::Method;
