//! Classical classifiers of images, as a yardstick for networks.
//!
//! ```text
//!  u8 images ─→ features ─────────────→ classifier ──────────────→ calibration ─→ logits
//!               pixels, hog, histogram   linear: logistic, svm      fitted on the
//!               scaling, pca             svm: pairs, rbf kernel     validation part
//!                                        neighbors
//!                                        trees: one, forest, boosting
//!  matrix: products on the CPU kernels     tensors: into a file and back     watch: progress, stopping
//! ```
//!
//! # Why the classifiers are our own
//!
//! Libraries were measured first, on the first N of Fashion-MNIST's training images (784 pixels each) and two cores that
//! did other work as well, with 90 seconds for each; "–" is more than that. The task is N = 55,000.
//!
//! | library | classifier | N = 1,100 | N = 5,500 | what it means |
//! |---|---|--:|--:|---|
//! | linfa-logistic 0.8.1 | logistic regression | 1.0 s | 20.7 s | usable, a minute or more for 55,000 |
//! | smartcore 0.7.0 | logistic regression | 15.5 s | – | |
//! | linfa-trees 0.8.1 | a tree, depth 12 | 0.5 s | 19.2 s | grows faster than N: above half an hour |
//! | smartcore 0.7.0 | a tree, depth 12 | 0.3 s | 6.8 s | likewise |
//! | linfa-ensemble 0.8.1 | ten trees of a forest | 0.2 s | 10.3 s | likewise, for each ten |
//! | smartcore 0.7.0 | ten trees of a forest | 0.4 s | 7.4 s | likewise |
//! | linfa-svm 0.8.1 | RBF SVM | 17.6 s | – | and keeps the whole kernel: 24 GB for 55,000 |
//! | smartcore 0.7.0 | RBF SVM | – | – | |
//! | libsvm-rs 0.9.2 | RBF SVM | 2.8 s | 21.8 s | sound, but 39 s for 5,000 predictions, and grows with N² |
//! | linfa-nn 0.8.1 | 500 queries, linear search | 0.6 s | 6.7 s | 20 minutes for 10,000 queries among 55,000 |
//! | linfa-nn 0.8.1 | 500 queries, k-d tree | 0.6 s | 10.5 s | |
//! | petal-neighbors 0.19.0 | 500 queries, ball tree | 0.1 s | 3.2 s | ten minutes likewise |
//! | smartcore 0.7.0 | 500 queries, cover tree | 1.1 s | 32.0 s | |
//! | forust-ml 0.4.8 | 50 rounds of boosting | 21.4 s | – | one class against the rest |
//! | perpetual 3.0.0-rc.2 | boosting, budget 0.5 | – | – | 1.9.4 needs a nightly compiler |
//! | linfa-reduction 0.8.1 | 50 principal components | 0.5 s | 3.1 s | usable; it would bring another matrix type |
//!
//! `lightgbm3` and `liblinear` bind C++ libraries, and would ask for CMake and a C++ compiler. Images are dense, so that
//! almost everything here is a product of matrices, for which this program has kernels, or counting bytes.
//!
//! Results depend on settings, data and seed, not on the number of threads: parts that are computed in parallel
//! are the same whoever computes them, and are put together in their order.

mod baseline;
mod calibration;
mod classifier;
mod error;
pub mod features;
pub mod linear;
mod matrix;
pub mod neighbors;
pub mod svm;
mod tensors;
pub mod trees;
mod watch;

pub use baseline::{Baseline, Frame, Plan};
pub use calibration::{Calibration, Scores};
pub use classifier::{Classifier, ClassifierSpec};
pub use error::{Error, Result};
pub use features::{FeaturePlan, FeatureSpec};
pub use matrix::Matrix;
pub use tensors::{Tensor, TensorSource, to_safetensors};
pub use watch::{Unwatched, Watcher};
