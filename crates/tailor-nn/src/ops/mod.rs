//! Operations that the CPU kernels compute as single nodes of Burn's automatic differentiation.
//!
//! Each operation is a trait that Burn dispatches to its CPU backend, Flex, and to automatic differentiation over
//! it; forward and backward call `tailor-kernels` on the tensors' memory. On any other device the layers build
//! the same function out of Burn's own operations: [`on_kernels`] tells which it is.

pub(crate) mod blend;
mod buffer;
mod conv_block;
mod cross_entropy;
mod dense;
mod dropout;
mod norm;
mod norm_block;
pub(crate) mod optimizer;
mod pool;

pub(crate) use conv_block::{BlockSpec, conv_block};
pub(crate) use cross_entropy::cross_entropy;
pub(crate) use dense::dense;
pub(crate) use dropout::dropout;
pub(crate) use norm::{BatchStatistics, batch_norm};
pub(crate) use norm_block::{NormOperands, norm_block};
pub(crate) use pool::pool;

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
