//! Networks: layers, the model zoo, weights in and out, summaries.
//!
//! ```text
//!            recipe                               safetensors, .pth (state_dict, pickle)
//!              │                                      ↕
//!        architecture ──→ network ←── layers       weights, pretrained
//!     (checked, shapes)   │  │  │   conv, dense, …
//!              init ──────┘  │  └──→ summary
//!      (initial weights)     │
//!                  images → logits → loss
//!                  probe: activations, slopes and attention in between
//! ```
//!
//! Models are written once, over Burn's tensors; the device that the tensors live on decides what computes them.
//! Images are `[N, H, W, C]` from end to end.

pub mod architecture;
mod device;
mod error;
pub mod init;
pub mod layers;
pub mod loss;
mod network;
mod ops;
mod pickle;
mod predictor;
mod prefix;
mod pretrained;
mod probe;
mod shape;
pub mod shorthand;
mod state_dict;
mod summary;
mod tensors;
mod timings;
pub mod weights;

pub use burn::tensor::Device;
pub use device::DeviceName;
pub use error::{Error, Result};
pub use layers::host_values;
pub use network::Network;
pub use ops::{on_kernels, optimizer::Trainable, with_burn_operations};
pub use predictor::Predictor;
pub use prefix::Prefix;
pub use probe::{Probe, Slopes};
pub use shape::Shape;
pub use state_dict::from_state_dict;
pub use summary::{Summary, SummaryRow};
pub use tensors::TensorInfo;
pub use timings::{TimedLayer, Timing};
