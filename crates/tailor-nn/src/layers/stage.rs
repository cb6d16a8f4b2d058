//! Convolutions and the batch norms behind them in training, several of them as one operation.

use burn::tensor::Tensor;

use super::{BatchNorm, Conv, Pass};
use crate::architecture::Activation;
use crate::ops::{self, StageOperands, on_kernels};

/// A convolution without bias or activation, and a batch norm behind it that goes by the batch's statistics.
#[derive(Clone, Copy)]
pub(super) struct Stage<'a> {
    pub conv: &'a Conv,
    pub norm: &'a BatchNorm,
}

impl<'a> Stage<'a> {
    /// If these are one, and our kernels compute.
    pub fn new(conv: &'a Conv, norm: &'a BatchNorm, pass: Pass) -> Option<Self> {
        let is_bare = conv.bias.is_none() && conv.activation == Activation::None;
        let is_trained = matches!(norm.pass(pass), Pass::Training { .. });
        (is_bare && is_trained && on_kernels(&conv.weight.val().device())).then_some(Stage { conv, norm })
    }
}

/// One stage after the other. A shortcut is added before the last one activates, by the function that comes with it.
pub(super) fn forward(
    x: Tensor<4>,
    stages: &[Stage],
    shortcut: Option<(Tensor<4>, Activation)>,
) -> Tensor<4> {
    let device = x.device();
    let mut image = x.dims();
    let mut operands = Vec::with_capacity(stages.len());
    let mut values = Vec::with_capacity(stages.len());
    for &Stage { conv, norm } in stages {
        let [_, height, width, _] = image;
        let mut spec = conv.block_spec(height, width, None);
        spec.activation = norm.activation.kernel();
        let weight = conv.weight.val();
        image = spec.block(image, weight.dims()).convolution.output_shape();
        let [images, rows, columns, _] = image;
        values.push(images * rows * columns);
        operands.push(StageOperands { weight, norm: norm.operands(), spec });
    }
    let shortcut = shortcut.map(|(shortcut, activation)| {
        operands.last_mut().expect("there are stages").spec.activation = activation.kernel();
        shortcut
    });
    let statistics: Vec<_> = operands.iter().map(|stage| stage.norm.statistics.clone()).collect();
    let y = ops::activated_block(x, operands, shortcut);
    for ((Stage { norm, .. }, values), statistics) in stages.iter().zip(values).zip(&statistics) {
        norm.record(values, statistics, &device);
    }
    y
}
