//! Pooling and flattening: the layers without weights.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use tailor_kernels::pool::{Pool as Kernel, PoolKind};

use crate::ops::{on_kernels, pool};

/// The largest value or the mean of each `size`×`size` window, `size` apart; windows that would cross the border are
/// dropped.
#[derive(Module, Debug)]
pub struct Pool {
    #[module(skip)]
    kind: PoolKind,
    size: usize,
}

/// Every pixel's channels, row by row, as features.
#[derive(Module, Debug)]
pub struct Flatten {}

impl Pool {
    pub(super) fn new(kind: PoolKind, size: usize) -> Self {
        Pool { kind, size }
    }

    /// From `[N, H, W, C]` to `[N, ⌊H / size⌋, ⌊W / size⌋, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if on_kernels(&x.device()) {
            return pool(x, self.kernel());
        }
        let (window, x) = ([self.size; 2], x.permute([0, 3, 1, 2]));
        let y = match self.kind {
            PoolKind::Max => max_pool2d(x, MaxPoolOptions::new(window).with_stride(window)),
            PoolKind::Average => avg_pool2d(x, AvgPoolOptions::new(window).with_stride(window)),
        };
        y.permute([0, 2, 3, 1])
    }

    /// The same for our kernels.
    pub(crate) fn kernel(&self) -> Kernel {
        Kernel { kind: self.kind, window: [self.size; 2], stride: [self.size; 2], ..Kernel::MAX_2X2 }
    }
}

impl Flatten {
    pub(super) fn new() -> Self {
        Flatten {}
    }

    /// From `[N, H, W, C]` to `[N, H·W·C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        x.flatten(1, 3)
    }
}
