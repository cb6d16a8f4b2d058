//! Layer normalization (Ba, Kiros & Hinton 2016).

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::replace_values;
use crate::Result;
use crate::init::Initializer;
use crate::ops::{layer_norm, on_kernels};
use crate::weights::{NamedTensor, WeightSource};

/// `(x − mean) / √(variance + ε) · weight + bias` over the last axis, by each row's own mean and biased variance.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[D]`
    pub weight: Param<Tensor<1>>,
    /// `[D]`
    pub bias: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    pub(super) fn new(width: usize, epsilon: f64, initializer: &Initializer) -> Self {
        LayerNorm {
            weight: initializer.constant(1.0, width),
            bias: initializer.constant(0.0, width),
            epsilon,
        }
    }

    /// `[…, D]` to `[…, D]`.
    pub fn forward<const R: usize>(&self, x: Tensor<R>) -> Tensor<R> {
        let shape = x.dims();
        let rows: Tensor<2> = x.reshape([-1, shape[R - 1] as i32]);
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let y = match on_kernels(&rows.device()) {
            true => layer_norm(rows, weight, bias, self.epsilon as f32),
            false => {
                let centered = rows.clone() - rows.mean_dim(1);
                let variance = centered.clone().square().mean_dim(1);
                let normalized = centered / variance.add_scalar(self.epsilon).sqrt();
                normalized * weight.unsqueeze() + bias.unsqueeze()
            }
        };
        y.reshape(shape)
    }

    pub(super) fn export(&self) -> Vec<NamedTensor> {
        vec![NamedTensor::of("weight", self.weight.val()), NamedTensor::of("bias", self.bias.val())]
    }

    pub(super) fn import(&mut self, source: &mut WeightSource) -> Result<()> {
        let shape = self.weight.dims();
        let [weight, bias] = [source.take("weight", &shape)?, source.take("bias", &shape)?];
        self.weight = self.weight.clone().map(|old| replace_values(&old, weight));
        self.bias = self.bias.clone().map(|old| replace_values(&old, bias));
        Ok(())
    }
}
