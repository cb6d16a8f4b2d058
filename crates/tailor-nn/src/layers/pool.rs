//! Pooling and flattening: the layers without weights.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};

/// The largest value of each `size`×`size` window.
#[derive(Module, Debug)]
pub struct MaxPool {
    size: usize,
}

/// The mean of each `size`×`size` window.
#[derive(Module, Debug)]
pub struct AveragePool {
    size: usize,
}

/// Every pixel's channels, row by row, as features.
#[derive(Module, Debug)]
pub struct Flatten {}

impl MaxPool {
    pub(super) fn new(size: usize) -> Self {
        MaxPool { size }
    }

    /// From `[N, H, W, C]` to `[N, ⌊H / size⌋, ⌊W / size⌋, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let options = MaxPoolOptions::new([self.size; 2]).with_stride([self.size; 2]);
        max_pool2d(x.permute([0, 3, 1, 2]), options).permute([0, 2, 3, 1])
    }
}

impl AveragePool {
    pub(super) fn new(size: usize) -> Self {
        AveragePool { size }
    }

    /// From `[N, H, W, C]` to `[N, ⌊H / size⌋, ⌊W / size⌋, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let options = AvgPoolOptions::new([self.size; 2]).with_stride([self.size; 2]);
        avg_pool2d(x.permute([0, 3, 1, 2]), options).permute([0, 2, 3, 1])
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
