//! Gradient descent in its variants, with PyTorch's semantics, over the flat tensors of a network.

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use tailor_nn::Network;

/// Which optimizer, and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Stochastic gradient descent; with `nesterov`, Sutskever et al. 2013 as in PyTorch.
    Sgd {
        /// Of the velocity; 0 is plain gradient descent.
        #[serde(default = "momentum")]
        momentum: f64,
        /// Whether the step looks ahead along the velocity.
        #[serde(default)]
        nesterov: bool,
    },
    /// Tieleman & Hinton 2012.
    RmsProp {
        /// Of the running mean of squared gradients.
        #[serde(default = "rmsprop_alpha")]
        alpha: f64,
        /// Added to the root.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// Kingma & Ba 2015, algorithm 1. Weight decay is added to the gradient.
    Adam {
        /// Of the running mean of gradients.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Of the running mean of squared gradients.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// Loshchilov & Hutter 2019, algorithm 2. Weight decay shrinks the weights themselves.
    AdamW {
        /// Of the running mean of gradients.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Of the running mean of squared gradients.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        OptimizerSpec::Adam { beta1: beta1(), beta2: beta2(), epsilon: epsilon() }
    }
}

impl OptimizerSpec {
    /// What is impossible about the settings, if anything.
    pub fn check(&self) -> Result<(), String> {
        let below_one = |name: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("train.optimizer.{name} must be at least 0 and less than 1, not {value}")),
        };
        let positive = |name: &str, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(format!("train.optimizer.{name} must be above 0, not {value}")),
        };
        match *self {
            OptimizerSpec::Sgd { momentum, nesterov } => {
                if nesterov && momentum == 0.0 {
                    return Err("train.optimizer.nesterov needs a momentum above 0".into());
                }
                below_one("momentum", momentum)
            }
            OptimizerSpec::RmsProp { alpha, epsilon } => {
                below_one("alpha", alpha)?;
                positive("epsilon", epsilon)
            }
            OptimizerSpec::Adam { beta1, beta2, epsilon }
            | OptimizerSpec::AdamW { beta1, beta2, epsilon } => {
                below_one("beta1", beta1)?;
                below_one("beta2", beta2)?;
                positive("epsilon", epsilon)
            }
        }
    }

    /// Running means that it keeps for each weight.
    fn moments(&self) -> usize {
        match self {
            OptimizerSpec::Sgd { momentum, .. } => usize::from(*momentum > 0.0),
            OptimizerSpec::RmsProp { .. } => 1,
            OptimizerSpec::Adam { .. } | OptimizerSpec::AdamW { .. } => 2,
        }
    }
}

/// An optimizer with the state it has gathered.
#[derive(Debug)]
pub struct Optimizer {
    spec: OptimizerSpec,
    weight_decay: f64,
    clip_norm: Option<f64>,
    /// For each trainable tensor its moments, each a flat tensor of the same length.
    moments: Vec<Vec<Tensor<1>>>,
    steps: u64,
}

impl Optimizer {
    /// For tensors of these lengths, with all moments zero.
    pub fn new(
        spec: OptimizerSpec,
        weight_decay: f64,
        clip_norm: Option<f64>,
        tensors: &[usize],
        device: &Device,
    ) -> Self {
        let zeros = |&length: &usize| (0..spec.moments()).map(|_| Tensor::zeros([length], device)).collect();
        Optimizer { spec, weight_decay, clip_norm, moments: tensors.iter().map(zeros).collect(), steps: 0 }
    }

    /// One step down the gradients.
    pub fn step(&mut self, network: Network, gradients: &Gradients, learning_rate: f64) -> Network {
        self.steps += 1;
        let scale = self.clip_norm.map(|limit| (limit / (network.gradient_norm(gradients) + 1e-6)).min(1.0));
        network.update(gradients, |index, weights, gradient| {
            let gradient = match scale {
                Some(scale) if scale < 1.0 => gradient.mul_scalar(scale),
                _ => gradient,
            };
            self.update(index, weights, gradient, learning_rate)
        })
    }

    fn update(&mut self, index: usize, weights: Tensor<1>, gradient: Tensor<1>, lr: f64) -> Tensor<1> {
        let decay = self.weight_decay;
        let moments = &mut self.moments[index];
        let mut take = || std::mem::take(moments);
        let with_decay = |gradient: Tensor<1>, weights: &Tensor<1>| match decay {
            0.0 => gradient,
            _ => gradient + weights.clone().mul_scalar(decay),
        };
        match self.spec {
            OptimizerSpec::Sgd { momentum: 0.0, .. } => {
                let gradient = with_decay(gradient, &weights);
                weights - gradient.mul_scalar(lr)
            }
            OptimizerSpec::Sgd { momentum, nesterov } => {
                let [velocity] = take().try_into().expect("SGD keeps one moment");
                let gradient = with_decay(gradient, &weights);
                let velocity: Tensor<1> = velocity.mul_scalar(momentum) + gradient.clone();
                let direction = if nesterov {
                    gradient + velocity.clone().mul_scalar(momentum)
                } else {
                    velocity.clone()
                };
                *moments = vec![velocity];
                weights - direction.mul_scalar(lr)
            }
            OptimizerSpec::RmsProp { alpha, epsilon } => {
                let [square] = take().try_into().expect("RMSprop keeps one moment");
                let gradient = with_decay(gradient, &weights);
                let square = running_mean(square, gradient.clone().square(), alpha);
                let direction = gradient / square.clone().sqrt().add_scalar(epsilon);
                *moments = vec![square];
                weights - direction.mul_scalar(lr)
            }
            OptimizerSpec::Adam { beta1, beta2, epsilon } => {
                let gradient = with_decay(gradient, &weights);
                weights - self.adam(index, gradient, lr, beta1, beta2, epsilon)
            }
            OptimizerSpec::AdamW { beta1, beta2, epsilon } => {
                let shrunk = weights.mul_scalar(1.0 - lr * decay);
                shrunk - self.adam(index, gradient, lr, beta1, beta2, epsilon)
            }
        }
    }

    /// The step of Adam: `lr · m̂ / (√v̂ + ε)` with bias-corrected moments.
    fn adam(
        &mut self,
        index: usize,
        gradient: Tensor<1>,
        lr: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
    ) -> Tensor<1> {
        let moments = std::mem::take(&mut self.moments[index]);
        let [mean, square] = moments.try_into().expect("Adam keeps two moments");
        let mean = running_mean(mean, gradient.clone(), beta1);
        let square = running_mean(square, gradient.square(), beta2);
        let steps = self.steps as f64;
        let correction1 = 1.0 - beta1.powf(steps);
        let correction2 = (1.0 - beta2.powf(steps)).sqrt();
        let root = square.clone().sqrt().div_scalar(correction2).add_scalar(epsilon);
        let step = mean.clone().div(root).mul_scalar(lr / correction1);
        self.moments[index] = vec![mean, square];
        step
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// All moments on the host, tensor by tensor.
    pub fn state(&self) -> Vec<Vec<f32>> {
        let values = |tensor: &Tensor<1>| -> Vec<f32> {
            tensor.to_data_as::<f32>().try_into_vec().expect("data read as f32 holds f32")
        };
        self.moments.iter().flatten().map(values).collect()
    }

    /// The reverse of [`Optimizer::state`].
    ///
    /// # Errors
    /// Says what differs when the state belongs to another network or optimizer.
    pub fn restore(&mut self, steps: u64, state: Vec<Vec<f32>>) -> Result<(), String> {
        let expected = self.moments.iter().map(Vec::len).sum::<usize>();
        if state.len() != expected {
            return Err(format!("it holds {} moments, but the optimizer keeps {expected}", state.len()));
        }
        for (moment, values) in self.moments.iter_mut().flatten().zip(state) {
            let [length] = moment.dims();
            if values.len() != length {
                return Err(format!("a moment has {} values, but its tensor has {length}", values.len()));
            }
            *moment = Tensor::from_data(TensorData::new(values, [length]), &moment.device());
        }
        self.steps = steps;
        Ok(())
    }
}

/// `old · keep + new · (1 − keep)`
fn running_mean(old: Tensor<1>, new: Tensor<1>, keep: f64) -> Tensor<1> {
    old.mul_scalar(keep) + new.mul_scalar(1.0 - keep)
}

fn momentum() -> f64 {
    0.9
}

fn rmsprop_alpha() -> f64 {
    0.99
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.999
}

fn epsilon() -> f64 {
    1e-8
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Deserialize)]
    struct Vectors {
        start: Vec<f32>,
        lr: f64,
        weight_decay: f64,
        gradients: Vec<Vec<f32>>,
        /// By optimizer, the weights after each step.
        steps: BTreeMap<String, Vec<Vec<f32>>>,
    }

    fn vector(values: &[f32]) -> Tensor<1> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::flex())
    }

    #[test]
    fn ten_steps_of_every_optimizer_equal_pytorchs() {
        let vectors: Vectors =
            serde_json::from_str(include_str!("../tests/vectors/optimizers.json")).unwrap();
        let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
        let specs = BTreeMap::from([
            ("sgd", OptimizerSpec::Sgd { momentum: 0.0, nesterov: false }),
            ("momentum", OptimizerSpec::Sgd { momentum: 0.9, nesterov: false }),
            ("nesterov", OptimizerSpec::Sgd { momentum: 0.9, nesterov: true }),
            ("rmsprop", OptimizerSpec::RmsProp { alpha: 0.99, epsilon }),
            ("adam", OptimizerSpec::Adam { beta1, beta2, epsilon }),
            ("adamw", OptimizerSpec::AdamW { beta1, beta2, epsilon }),
        ]);
        assert_eq!(specs.len(), vectors.steps.len());
        for (name, steps) in &vectors.steps {
            let device = Device::flex();
            let mut optimizer =
                Optimizer::new(specs[name.as_str()], vectors.weight_decay, None, &[3], &device);
            let mut weights = vector(&vectors.start);
            for (gradient, expected) in vectors.gradients.iter().zip(steps) {
                optimizer.steps += 1;
                weights = optimizer.update(0, weights, vector(gradient), vectors.lr);
                for (ours, theirs) in tailor_nn::host_values(weights.clone()).iter().zip(expected) {
                    assert!(
                        (ours - theirs).abs() < 1e-6,
                        "{name}, step {}: {ours} {theirs}",
                        optimizer.steps
                    );
                }
            }
        }
    }

    #[test]
    fn a_restored_optimizer_goes_on_as_the_one_it_was_taken_from() {
        let device = Device::flex();
        let make = || Optimizer::new(OptimizerSpec::default(), 0.0, None, &[2], &device);
        let gradient = || vector(&[0.3, -2.0]);
        let mut first = make();
        first.steps = 1;
        let weights = first.update(0, vector(&[1.0, 1.0]), gradient(), 0.1);
        let mut second = make();
        second.restore(first.steps(), first.state()).unwrap();
        for optimizer in [&mut first, &mut second] {
            optimizer.steps += 1;
        }
        let ours = first.update(0, weights.clone(), gradient(), 0.1).into_data();
        assert_eq!(ours, second.update(0, weights, gradient(), 0.1).into_data());

        assert!(make().restore(1, vec![vec![0.0; 2]]).unwrap_err().contains("moments"));
        assert!(make().restore(1, vec![vec![0.0; 2], vec![0.0; 3]]).unwrap_err().contains("3 values"));
    }
}
