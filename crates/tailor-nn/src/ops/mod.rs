//! Operations that the CPU kernels compute as single nodes of Burn's automatic differentiation.
//!
//! [`kernel`] hands any function with a forward and a backward pass to Burn, which dispatches it to its CPU backend,
//! Flex, and to automatic differentiation over it; each other module states one such function on the tensors'
//! memory. On any other device the layers build the same function out of Burn's own operations: [`on_kernels`]
//! tells which it is.

mod activated_block;
mod activation;
mod attention;
pub(crate) mod blend;
mod buffer;
mod clock;
mod conv_block;
mod cross_entropy;
mod dense;
mod dropout;
mod kernel;
mod layer_norm;
mod norm;
mod norm_block;
pub(crate) mod optimizer;
mod pad_shortcut;
mod pool;
mod residual;
mod scaled_filters;

pub(crate) use activated_block::{MOST_STAGES, StageOperands, activated_block};
pub(crate) use activation::activation;
pub(crate) use attention::attention;
pub(crate) use clock::seconds_of_backward;
pub(crate) use conv_block::{BlockSpec, conv_block};
pub(crate) use cross_entropy::cross_entropy;
pub(crate) use dense::dense;
pub(crate) use dropout::dropout;
pub(crate) use layer_norm::layer_norm;
pub(crate) use norm::{BatchStatistics, NormOperands, batch_norm};
pub(crate) use norm_block::norm_block;
pub(crate) use pad_shortcut::pad_shortcut;
pub(crate) use pool::{global_average_pool, pool};
pub(crate) use residual::{add, excite};
pub(crate) use scaled_filters::scaled_filters;

use std::cell::Cell;

use burn::backend::DispatchDevice;
use burn::tensor::Device;

thread_local! {
    static BURN_ONLY: Cell<bool> = const { Cell::new(false) };
}

/// Whether tensors of this device are computed on by our kernels.
pub fn on_kernels(device: &Device) -> bool {
    !BURN_ONLY.get() && matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}

/// Computes with Burn's own operations on the CPU too, for as long as `f` runs on this thread: what the kernels are
/// compared with.
pub fn with_burn_operations<R>(f: impl FnOnce() -> R) -> R {
    let before = BURN_ONLY.replace(true);
    let result = f();
    BURN_ONLY.set(before);
    result
}
