//! Batch normalization (Ioffe & Szegedy 2015), with PyTorch's conventions.

use burn::module::{Module, Param, RunningState};
use burn::tensor::Tensor;
use burn::tensor::module::{batch_norm, batch_norm_train};

use super::{Pass, host_values, replace_values};
use crate::Result;
use crate::init::Initializer;
use crate::ops::{self, BatchStatistics, NormOperands, on_kernels};
use crate::weights::{NamedTensor, WeightSource};

/// `(x − mean) / √(variance + ε) · weight + bias` for each channel.
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
}

impl BatchNorm {
    pub(super) fn new(channels: usize, momentum: f64, epsilon: f64, initializer: &Initializer) -> Self {
        let device = initializer.device();
        BatchNorm {
            weight: initializer.constant(1.0, channels),
            bias: initializer.constant(0.0, channels),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_variance: RunningState::new(Tensor::ones([channels], device)),
            momentum,
            epsilon,
        }
    }

    /// `[M, C]` to `[M, C]`, where M counts every position of every image.
    pub fn forward(&self, x: Tensor<2>, pass: Pass) -> Tensor<2> {
        match pass {
            Pass::Inference => batch_norm(
                x,
                self.weight.val(),
                self.bias.val(),
                self.running_mean.value(),
                self.running_variance.value(),
                self.epsilon,
            ),
            Pass::Training { .. } => {
                let [values, _] = x.dims();
                let device = x.device();
                let (output, [mean, variance]) = match on_kernels(&device) {
                    true => self.normalize_on_kernels(x),
                    false => {
                        let result = batch_norm_train(x, self.weight.val(), self.bias.val(), self.epsilon);
                        (result.output, [result.mean, result.variance])
                    }
                };
                self.record_batch(values, [mean, variance]);
                output
            }
        }
    }

    /// `[N, H, W, C]` to `[N, H, W, C]`.
    pub fn forward_image(&self, x: Tensor<4>, pass: Pass) -> Tensor<4> {
        let [n, h, w, c] = x.dims();
        self.forward(x.reshape([n * h * w, c]), pass).reshape([n, h, w, c])
    }

    fn normalize_on_kernels(&self, x: Tensor<2>) -> (Tensor<2>, [Tensor<1>; 2]) {
        let device = x.device();
        let operands = self.operands();
        let statistics = operands.statistics.clone();
        let output = ops::batch_norm(x, operands);
        (output, statistics.tensors(&device))
    }

    /// What an operation of our kernels takes to normalize in training.
    pub(super) fn operands(&self) -> NormOperands {
        NormOperands {
            weight: self.weight.val(),
            bias: self.bias.val(),
            epsilon: self.epsilon as f32,
            statistics: BatchStatistics::default(),
        }
    }

    /// Lets the running statistics follow a batch's mean and biased variance over `values` a channel.
    pub(super) fn record_batch(&self, values: usize, [mean, variance]: [Tensor<1>; 2]) {
        // Bessel's correction; a single value has no spread to correct.
        let unbiased = values as f64 / values.saturating_sub(1).max(1) as f64;
        self.record(&self.running_mean, mean);
        self.record(&self.running_variance, variance.mul_scalar(unbiased));
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

    fn record(&self, statistic: &RunningState<Tensor<1>>, batch: Tensor<1>) {
        let running = statistic.value_sync().mul_scalar(1.0 - self.momentum);
        statistic.update(running.add(batch.mul_scalar(self.momentum)).detach());
    }

    pub(super) fn export(&self) -> Vec<NamedTensor> {
        [
            ("weight", self.weight.val()),
            ("bias", self.bias.val()),
            ("running_mean", self.running_mean.value_sync()),
            ("running_var", self.running_variance.value_sync()),
        ]
        .into_iter()
        .map(|(name, tensor)| NamedTensor {
            name: name.into(),
            shape: tensor.dims().to_vec(),
            values: host_values(tensor),
        })
        .collect()
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
