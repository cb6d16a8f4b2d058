//! Squeeze-and-excitation (Hu et al. 2018).

use burn::module::Module;
use burn::tensor::Tensor;

use super::pool::global_average;
use super::{Dense, prefixed};
use crate::Result;
use crate::architecture::Activation;
use crate::init::Initializer;
use crate::ops::{excite, on_kernels};
use crate::weights::{NamedTensor, WeightSource};

/// `x · σ(fc2(activation(fc1(mean(x)))))`, a factor for each channel of each image.
#[derive(Module, Debug)]
pub struct SqueezeExcite {
    fc1: Dense,
    fc2: Dense,
}

impl SqueezeExcite {
    pub(super) fn new(
        channels: usize,
        units: usize,
        activation: Activation,
        initializer: &mut Initializer,
    ) -> Self {
        SqueezeExcite {
            fc1: Dense::new(channels, units, activation, None, initializer),
            fc2: Dense::new(units, channels, Activation::Sigmoid, None, initializer),
        }
    }

    /// `[N, H, W, C]` to `[N, H, W, C]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let factors = self.fc2.forward(self.fc1.forward(global_average(x.clone())));
        match on_kernels(&x.device()) {
            true => excite(x, factors),
            false => {
                let [images, channels] = factors.dims();
                x * factors.reshape([images, 1, 1, channels])
            }
        }
    }

    pub(super) fn export(&self) -> Vec<NamedTensor> {
        [prefixed("fc1", self.fc1.export()), prefixed("fc2", self.fc2.export())].concat()
    }

    pub(super) fn import(&mut self, source: &mut WeightSource) -> Result<()> {
        source.within("fc1", |source| self.fc1.import(source))?;
        source.within("fc2", |source| self.fc2.import(source))
    }
}
