//! Initial weights, drawn on the host so that every device starts from the same bits.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Draws the initial weights of a network, one tensor after the other.
pub struct Initializer {
    random: Pcg64Mcg,
    device: Device,
}

impl Initializer {
    /// The same `seed` gives the same weights on every device.
    pub fn new(seed: u64, device: &Device) -> Self {
        Initializer { random: Pcg64Mcg::seed_from_u64(seed), device: device.clone() }
    }

    /// Uniform in ±√(6 / (fan_in + fan_out)): Glorot & Bengio 2010, equation 16, and Keras' default.
    pub fn glorot_uniform<const D: usize>(
        &mut self,
        shape: [usize; D],
        fan_in: usize,
        fan_out: usize,
    ) -> Param<Tensor<D>> {
        let limit = (6.0 / (fan_in + fan_out) as f32).sqrt();
        let values = (0..shape.iter().product()).map(|_| self.random.random_range(-limit..limit)).collect();
        self.parameter(values, shape)
    }

    /// Every value the same.
    pub fn constant(&self, value: f32, length: usize) -> Param<Tensor<1>> {
        self.parameter(vec![value; length], [length])
    }

    /// Where the weights are put.
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn parameter<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }
}
