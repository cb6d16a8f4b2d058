//! Batch normalization (Ioffe & Szegedy 2015), with PyTorch's conventions.

use burn::module::{Module, Param, RunningState};
use burn::tensor::module::{batch_norm, batch_norm_train};
use burn::tensor::{Device, Tensor, TensorData};

use super::{Pass, activate, host_values, replace_values};
use crate::Result;
use crate::architecture::{Activation, BatchNormSpec};
use crate::init::Initializer;
use crate::ops::{self, BatchStatistics, NormOperands, on_kernels};
use crate::weights::{NamedTensor, WeightSource};

/// `activation((x − mean) / √(variance + ε) · weight + bias)` for each channel.
///
/// In training the batch's mean and biased variance are used; the running statistics take the mean and the
/// unbiased variance with weight `momentum`, as in PyTorch.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// `[C]`
    pub weight: Param<Tensor<1>>,
    /// `[C]`
    pub bias: Param<Tensor<1>>,
    /// `[C]`
    pub running_mean: RunningState<Tensor<1>>,
    /// `[C]`
    pub running_variance: RunningState<Tensor<1>>,
    momentum: f64,
    epsilon: f64,
    #[module(skip)]
    pub(crate) activation: Activation,
}

impl BatchNorm {
    pub(super) fn new(channels: usize, spec: BatchNormSpec, initializer: &Initializer) -> Self {
        let BatchNormSpec { momentum, epsilon, activation } = spec;
        let device = initializer.device();
        BatchNorm {
            weight: initializer.constant(1.0, channels),
            bias: initializer.constant(0.0, channels),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_variance: RunningState::new(Tensor::ones([channels], device)),
            momentum,
            epsilon,
            activation,
        }
    }

    /// What a pass is for this layer: one that is frozen in a network for training infers.
    pub(super) fn pass(&self, pass: Pass) -> Pass {
        let weight = self.weight.val();
        match weight.is_autodiff() && !weight.is_require_grad() {
            true => Pass::Inference,
            false => pass,
        }
    }

    /// `[M, C]` to `[M, C]`, where M counts every position of every image.
    pub fn forward(&self, x: Tensor<2>, pass: Pass) -> Tensor<2> {
        self.forward_added(x, None, self.activation, pass)
    }

    /// `[N, H, W, C]` to `[N, H, W, C]`.
    pub fn forward_image(&self, x: Tensor<4>, pass: Pass) -> Tensor<4> {
        let [n, h, w, c] = x.dims();
        self.forward(x.reshape([n * h * w, c]), pass).reshape([n, h, w, c])
    }

    /// `activation(norm(x) + shortcut)`, both `[M, C]`, in training one operation where our kernels compute. The layer's own
    /// activation is not applied.
    pub(super) fn forward_added(
        &self,
        x: Tensor<2>,
        shortcut: Option<Tensor<2>>,
        activation: Activation,
        pass: Pass,
    ) -> Tensor<2> {
        let pass = self.pass(pass);
        let ([values, _], device) = (x.dims(), x.device());
        if matches!(pass, Pass::Training { .. }) && on_kernels(&device) {
            return self.train(values, &device, |operands| {
                ops::batch_norm(x, shortcut, operands, activation.kernel())
            });
        }
        let normalized = match pass {
            Pass::Inference => batch_norm(
                x,
                self.weight.val(),
                self.bias.val(),
                self.running_mean.value(),
                self.running_variance.value(),
                self.epsilon,
            ),
            Pass::Training { .. } => {
                let result = batch_norm_train(x, self.weight.val(), self.bias.val(), self.epsilon);
                self.record_batch(values, [result.mean, result.variance]);
                result.output
            }
        };
        let sum = match shortcut {
            Some(shortcut) => normalized + shortcut,
            None => normalized,
        };
        activate(sum, activation)
    }

    /// Runs an operation of our kernels that normalizes by the batch's own statistics, over `values` a channel, and lets the
    /// running ones follow.
    pub(super) fn train<const D: usize>(
        &self,
        values: usize,
        device: &Device,
        operation: impl FnOnce(NormOperands) -> Tensor<D>,
    ) -> Tensor<D> {
        let operands = self.operands();
        let statistics = operands.statistics.clone();
        let y = operation(operands);
        self.record(values, &statistics, device);
        y
    }

    /// What an operation of our kernels takes.
    pub(super) fn operands(&self) -> NormOperands {
        NormOperands {
            weight: self.weight.val(),
            bias: self.bias.val(),
            epsilon: self.epsilon as f32,
            statistics: BatchStatistics::default(),
        }
    }

    /// Lets the running statistics follow what such an operation left, over `values` a channel.
    pub(super) fn record(&self, values: usize, statistics: &BatchStatistics, device: &Device) {
        self.record_batch(values, statistics.tensors(device));
    }

    /// Lets the running statistics follow a batch's mean and biased variance over `values` a channel.
    fn record_batch(&self, values: usize, [mean, variance]: [Tensor<1>; 2]) {
        // Bessel's correction; a single value has no spread to correct.
        let unbiased = values as f64 / values.saturating_sub(1).max(1) as f64;
        self.follow(&self.running_mean, mean);
        self.follow(&self.running_variance, variance.mul_scalar(unbiased));
    }

    /// Scale and shift `[C]` that do the same, in a network for training that leaves both its tensors as they are.
    pub(super) fn frozen_affine(&self) -> Option<[Tensor<1>; 2]> {
        let tensors = [self.weight.val(), self.bias.val()];
        let is_frozen = tensors.iter().all(|tensor| tensor.is_autodiff() && !tensor.is_require_grad());
        is_frozen.then(|| {
            let device = tensors[0].device();
            self.affine()
                .map(|values| Tensor::from_data(TensorData::new(values, self.weight.dims()), &device))
        })
    }

    /// Scale and shift `[C]` that do the same with the running statistics.
    pub(crate) fn affine(&self) -> [Vec<f32>; 2] {
        let [weight, bias] = [&self.weight, &self.bias].map(|param| host_values(param.val()));
        let [mean, variance] =
            [&self.running_mean, &self.running_variance].map(|statistic| host_values(statistic.value_sync()));
        let norm =
            tailor_kernels::norm::BatchNorm { gamma: &weight, beta: &bias, epsilon: self.epsilon as f32 };
        norm.affine(&mean, &variance).map(|values| values.to_vec())
    }

    fn follow(&self, statistic: &RunningState<Tensor<1>>, batch: Tensor<1>) {
        let running = statistic.value_sync().mul_scalar(1.0 - self.momentum);
        statistic.update(running.add(batch.mul_scalar(self.momentum)).detach());
    }

    pub(super) fn export(&self) -> Vec<NamedTensor> {
        vec![
            NamedTensor::of("weight", self.weight.val()),
            NamedTensor::of("bias", self.bias.val()),
            NamedTensor::of("running_mean", self.running_mean.value_sync()),
            NamedTensor::of("running_var", self.running_variance.value_sync()),
        ]
    }

    pub(super) fn import(&mut self, source: &mut WeightSource) -> Result<()> {
        let shape = self.weight.dims();
        let weight = source.take("weight", &shape)?;
        let bias = source.take("bias", &shape)?;
        let mean = source.take("running_mean", &shape)?;
        let variance = source.take("running_var", &shape)?;
        self.weight = self.weight.clone().map(|old| replace_values(&old, weight));
        self.bias = self.bias.clone().map(|old| replace_values(&old, bias));
        self.running_mean = RunningState::new(replace_values(&self.running_mean.value(), mean));
        self.running_variance = RunningState::new(replace_values(&self.running_variance.value(), variance));
        Ok(())
    }
}
