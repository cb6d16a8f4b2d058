//! Pooling and flattening: the layers without weights.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use tailor_kernels::conv::Padding;
use tailor_kernels::pool::{Pool as Kernel, PoolKind};

use crate::architecture::PoolSpec;
use crate::ops::{global_average_pool, on_kernels, pool};

/// The largest value or the mean of each window; windows that would cross the border are dropped.
#[derive(Module, Debug)]
pub struct Pool {
    #[module(skip)]
    kind: PoolKind,
    size: usize,
    stride: usize,
    padding: usize,
}

/// The mean over all pixels or tokens.
#[derive(Module, Debug)]
pub struct GlobalAverage {}

/// Every pixel's channels, row by row, as features.
#[derive(Module, Debug)]
pub struct Flatten {}

impl Pool {
    pub(super) fn new(kind: PoolKind, spec: PoolSpec) -> Self {
        Pool { kind, size: spec.size, stride: spec.step(), padding: spec.padding }
    }

    /// From `[N, H, W, C]` to `[N, H', W', C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if on_kernels(&x.device()) {
            return pool(x, self.kernel());
        }
        let ([size, stride, padding], x) =
            ([self.size, self.stride, self.padding].map(|n| [n; 2]), x.permute([0, 3, 1, 2]));
        let y = match self.kind {
            PoolKind::Max => {
                max_pool2d(x, MaxPoolOptions::new(size).with_stride(stride).with_padding(padding))
            }
            PoolKind::Average => {
                avg_pool2d(x, AvgPoolOptions::new(size).with_stride(stride).with_padding(padding))
            }
        };
        y.permute([0, 2, 3, 1])
    }

    /// The same for our kernels.
    pub(crate) fn kernel(&self) -> Kernel {
        Kernel {
            kind: self.kind,
            window: [self.size; 2],
            stride: [self.stride; 2],
            padding: Padding::all(self.padding),
        }
    }
}

impl GlobalAverage {
    pub(super) fn new() -> Self {
        GlobalAverage {}
    }

    /// From `[N, H, W, C]` to `[N, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        global_average(x)
    }

    /// From `[N, T, D]` to `[N, D]`.
    pub fn forward_tokens(&self, x: Tensor<3>) -> Tensor<2> {
        let [images, tokens, width] = x.dims();
        global_average(x.reshape([images, tokens, 1, width]))
    }
}

/// The mean of each channel of each image.
pub(super) fn global_average(x: Tensor<4>) -> Tensor<2> {
    let [images, height, width, channels] = x.dims();
    match on_kernels(&x.device()) {
        true => global_average_pool(x),
        false => x.reshape([images, height * width, channels]).mean_dim(1).reshape([images, channels]),
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
