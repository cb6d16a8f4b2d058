//! Initial weights, drawn on the host so that every device starts from the same bits.

use std::f64::consts::TAU;
use std::fmt;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

/// How initial weights are drawn. A fan is the number of products in one sum: of a layer's outputs (in) or of the
/// gradients of its inputs (out). Biases start at zero unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initialization {
    /// Uniform in ±√(6 / (fan_in + fan_out)): Glorot & Bengio 2010, equation 16, and Keras' default.
    #[default]
    GlorotUniform,
    /// Normal with variance 2 / (fan_in + fan_out): Glorot & Bengio 2010, equation 12.
    GlorotNormal,
    /// Uniform in ±√(6 / fan_in), which has the variance of the next one.
    HeUniform,
    /// Normal with variance 2 / fan_in: He et al. 2015, equation 10.
    HeNormal,
    /// Random orthonormal rows or columns, whichever are fewer, of the matrix `[outputs, everything else]`
    /// (Saxe et al. 2014, section 3; evenly distributed as in Mezzadri 2007, section 5).
    Orthogonal,
    /// Weights and biases uniform in ±1/√fan_in: the default of PyTorch's layers, `kaiming_uniform_(a=√5)`.
    #[serde(rename = "pytorch")]
    PyTorch,
    /// Convolutions pass on what they get: filter o is one in the middle of channel o mod C, and zero elsewhere (PyTorch's
    /// `dirac_`, repeated where there are more filters than channels). Matrices are as by `GlorotUniform`.
    Dirac,
}

impl Initialization {
    /// All of them, the default first.
    pub const ALL: [Self; 7] = [
        Self::GlorotUniform,
        Self::GlorotNormal,
        Self::HeUniform,
        Self::HeNormal,
        Self::Orthogonal,
        Self::PyTorch,
        Self::Dirac,
    ];
}

impl fmt::Display for Initialization {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::GlorotUniform => "glorot-uniform",
            Self::GlorotNormal => "glorot-normal",
            Self::HeUniform => "he-uniform",
            Self::HeNormal => "he-normal",
            Self::Orthogonal => "orthogonal",
            Self::PyTorch => "pytorch",
            Self::Dirac => "dirac",
        })
    }
}

/// Draws the initial weights of a network, one tensor after the other.
pub struct Initializer {
    scheme: Initialization,
    random: Pcg64Mcg,
    device: Device,
}

impl Initializer {
    /// The same `seed` gives the same weights on every device.
    pub fn new(scheme: Initialization, seed: u64, device: &Device) -> Self {
        Initializer { scheme, random: Pcg64Mcg::seed_from_u64(seed), device: device.clone() }
    }

    /// The filters of a convolution, `[C_out, K, K, C_in / groups]`.
    pub fn filters(&mut self, shape: [usize; 4], fan_in: usize, fan_out: usize) -> Param<Tensor<4>> {
        if self.scheme != Initialization::Dirac {
            return self.weight(shape, fan_in, fan_out);
        }
        let [filters, rows, columns, channels] = shape;
        let window = rows * columns;
        let mut values = vec![0.0; filters * window * channels];
        let middle = rows / 2 * columns + columns / 2;
        for (o, filter) in values.chunks_exact_mut(window * channels).enumerate() {
            filter[middle * channels + o % channels] = 1.0;
        }
        self.parameter(values, shape)
    }

    /// The weights of a layer. The first axis counts outputs or, in a matrix, inputs; what the others count makes no
    /// difference.
    pub fn weight<const D: usize>(
        &mut self,
        shape: [usize; D],
        fan_in: usize,
        fan_out: usize,
    ) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        let mean_fan = (fan_in + fan_out) as f32 / 2.0;
        let values = match self.scheme {
            Initialization::GlorotUniform | Initialization::Dirac => {
                self.uniform(count, (6.0 / (fan_in + fan_out) as f32).sqrt())
            }
            Initialization::GlorotNormal => self.normal(count, (1.0 / mean_fan).sqrt()),
            Initialization::HeUniform => self.uniform(count, (6.0 / fan_in as f32).sqrt()),
            Initialization::HeNormal => self.normal(count, (2.0 / fan_in as f32).sqrt()),
            Initialization::Orthogonal => self.orthogonal(shape[0], count / shape[0]),
            Initialization::PyTorch => self.uniform(count, 1.0 / (fan_in as f32).sqrt()),
        };
        self.parameter(values, shape)
    }

    /// The biases of a layer whose sums have `fan_in` products.
    pub fn bias(&mut self, length: usize, fan_in: usize) -> Param<Tensor<1>> {
        match self.scheme {
            Initialization::PyTorch => {
                let values = self.uniform(length, 1.0 / (fan_in as f32).sqrt());
                self.parameter(values, [length])
            }
            _ => self.constant(0.0, length),
        }
    }

    /// Normal values of this deviation.
    pub fn spread<const D: usize>(&mut self, shape: [usize; D], deviation: f32) -> Param<Tensor<D>> {
        let values = self.normal(shape.iter().product(), deviation);
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

    fn uniform(&mut self, count: usize, limit: f32) -> Vec<f32> {
        (0..count).map(|_| self.random.random_range(-limit..limit)).collect()
    }

    fn normal(&mut self, count: usize, deviation: f32) -> Vec<f32> {
        (0..count).map(|_| self.standard_normal() as f32 * deviation).collect()
    }

    /// Box & Muller 1958.
    fn standard_normal(&mut self) -> f64 {
        let [radius, angle]: [f64; 2] = [self.random.random(), self.random.random()];
        (-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos()
    }

    /// A matrix `[rows, columns]` whose shorter side's vectors are orthonormal.
    fn orthogonal(&mut self, rows: usize, columns: usize) -> Vec<f32> {
        let (vectors, length) = (rows.min(columns), rows.max(columns));
        let mut basis: Vec<Vec<f64>> = Vec::with_capacity(vectors);
        while basis.len() < vectors {
            // Directions of a normal distribution are evenly spread, so those of what is left of them are too.
            let mut vector: Vec<f64> = (0..length).map(|_| self.standard_normal()).collect();
            // Twice is enough: what rounding leaves of the others the first time is gone after the second.
            for _ in 0..2 {
                let shares: Vec<f64> = basis.iter().map(|other| dot(other, &vector)).collect();
                for (other, share) in basis.iter().zip(shares) {
                    vector.iter_mut().zip(other).for_each(|(value, o)| *value -= share * o);
                }
            }
            let norm = dot(&vector, &vector).sqrt();
            basis.push(vector.into_iter().map(|value| value / norm).collect());
        }
        let value = |row: usize, column: usize| match rows <= columns {
            true => basis[row][column],
            false => basis[column][row],
        };
        (0..rows * columns).map(|i| value(i / columns, i % columns) as f32).collect()
    }
}

/// In several sums at once, which a compiler can put side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_values;

    fn weights<const D: usize>(scheme: Initialization, shape: [usize; D], fans: [usize; 2]) -> Vec<f32> {
        let mut initializer = Initializer::new(scheme, 7, &Device::flex());
        host_values(initializer.weight(shape, fans[0], fans[1]).val())
    }

    /// Mean, variance, and kurtosis: 9/5 for a uniform distribution, 3 for a normal one.
    fn moments(values: &[f32]) -> [f64; 3] {
        let mean_of = |f: &dyn Fn(f64) -> f64| {
            values.iter().map(|&value| f(f64::from(value))).sum::<f64>() / values.len() as f64
        };
        let mean = mean_of(&|value| value);
        let variance = mean_of(&|value| (value - mean).powi(2));
        [mean, variance, mean_of(&|value| (value - mean).powi(4)) / variance.powi(2)]
    }

    #[test]
    fn each_distribution_has_the_moments_of_its_definition() {
        // A 5×5 convolution of 40 channels with 64 filters: fan_in = 25·40 = 1000, fan_out = 25·64 = 1600.
        struct Case {
            scheme: Initialization,
            variance: f64,
            kurtosis: f64,
        }
        for Case { scheme, variance, kurtosis } in [
            // limit² / 3 = 6 / 2600 / 3
            Case { scheme: Initialization::GlorotUniform, variance: 2.0 / 2600.0, kurtosis: 1.8 },
            Case { scheme: Initialization::GlorotNormal, variance: 2.0 / 2600.0, kurtosis: 3.0 },
            // 6 / 1000 / 3
            Case { scheme: Initialization::HeUniform, variance: 2.0 / 1000.0, kurtosis: 1.8 },
            Case { scheme: Initialization::HeNormal, variance: 2.0 / 1000.0, kurtosis: 3.0 },
            // 1 / 1000 / 3
            Case { scheme: Initialization::PyTorch, variance: 1.0 / 3000.0, kurtosis: 1.8 },
        ] {
            let values = weights(scheme, [64, 5, 5, 40], [1000, 1600]);
            let [mean, found, shape] = moments(&values);
            // 64,000 values: the mean deviates by σ/√64,000, the variance by some half a per cent, the kurtosis by .02.
            assert!(mean.abs() < 4.0 * (variance / 64_000.0).sqrt(), "{scheme}: mean {mean}");
            assert!((found / variance - 1.0).abs() < 0.03, "{scheme}: variance {found}, not {variance}");
            assert!((shape - kurtosis).abs() < 0.1, "{scheme}: kurtosis {shape}, not {kurtosis}");
        }
    }

    #[test]
    fn orthogonal_filters_and_matrices_have_orthonormal_vectors_on_their_shorter_side() {
        // [rows, columns] of the matrix, and whether rows are what is orthonormal.
        let conv = weights(Initialization::Orthogonal, [32, 3, 3, 16], [144, 288]);
        let tall = weights(Initialization::Orthogonal, [300, 40], [300, 40]);
        for (values, [rows, columns]) in [(conv, [32, 144]), (tall, [300, 40])] {
            let (vectors, length) = (rows.min(columns), rows.max(columns));
            let at = |vector: usize, i: usize| {
                f64::from(if rows <= columns {
                    values[vector * columns + i]
                } else {
                    values[i * columns + vector]
                })
            };
            for a in 0..vectors {
                for b in 0..vectors {
                    let product: f64 = (0..length).map(|i| at(a, i) * at(b, i)).sum();
                    let expected = if a == b { 1.0 } else { 0.0 };
                    assert!((product - expected).abs() < 1e-6, "{a} · {b} = {product} in {rows}×{columns}");
                }
            }
            // Evenly spread directions: the entries' mean vanishes.
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
            assert!(mean.abs() < 4.0 / (length as f64).sqrt() / (values.len() as f64).sqrt(), "{mean}");
        }
    }

    #[test]
    fn dirac_filters_pass_on_one_channel_each() {
        let mut initializer = Initializer::new(Initialization::Dirac, 7, &Device::flex());
        let values = host_values(initializer.filters([5, 3, 3, 2], 18, 45).val());
        for (filter, values) in values.chunks_exact(18).enumerate() {
            // Row 1, column 1 of three by three, two channels each: 8 and 9.
            let expected: Vec<f32> = (0..18).map(|at| f32::from(u8::from(at == 8 + filter % 2))).collect();
            assert_eq!(values, expected, "filter {filter}");
        }
        assert_eq!(
            weights(Initialization::Dirac, [300, 40], [300, 40]),
            weights(Initialization::GlorotUniform, [300, 40], [300, 40])
        );
    }

    #[test]
    fn biases_are_zero_but_for_pytorchs() {
        for scheme in Initialization::ALL {
            let mut initializer = Initializer::new(scheme, 1, &Device::flex());
            let bias = host_values(initializer.bias(1000, 25).val());
            let largest = bias.iter().fold(0f32, |most, value| most.max(value.abs()));
            // 1 / √25
            let expected = if scheme == Initialization::PyTorch { 0.19..0.2 } else { 0.0..1e-30 };
            assert!(expected.contains(&largest), "{scheme}: {largest}");
        }
    }

    #[test]
    fn names_in_recipes_are_those_that_are_printed() {
        for scheme in Initialization::ALL {
            assert_eq!(serde_json::to_string(&scheme).unwrap(), format!("\"{scheme}\""));
        }
    }
}
