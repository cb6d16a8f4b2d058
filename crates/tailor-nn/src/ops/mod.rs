//! Operations that the CPU kernels compute as single nodes of Burn's automatic differentiation.
//!
//! Each operation is a trait that Burn dispatches to its CPU backend, Flex, and to automatic differentiation over
//! it; forward and backward call `tailor-kernels` on the tensors' memory. On any other device the layers build
//! the same function out of Burn's own operations: [`on_kernels`] tells which it is.

mod buffer;
mod conv_block;
mod cross_entropy;
mod dense;
mod dropout;
mod norm;
pub(crate) mod optimizer;
mod pool;

pub(crate) use conv_block::{BlockSpec, conv_block};
pub(crate) use cross_entropy::cross_entropy;
pub(crate) use dense::dense;
pub(crate) use dropout::dropout;
pub(crate) use norm::{BatchStatistics, batch_norm};
pub(crate) use pool::pool;

use burn::backend::DispatchDevice;
use burn::tensor::Device;

/// Whether tensors of this device are computed on by our kernels.
pub fn on_kernels(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}
