//! Gradient descent in its variants, with PyTorch's semantics, over the flat tensors of a network.

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use tailor_kernels::optimizer::{Optimizer as Kernel, Slot};
use tailor_nn::{Network, Trainable, host_values, on_kernels};

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
    moments: Moments,
    steps: u64,
}

/// For each trainable tensor its moments, each as long as the tensor.
#[derive(Debug)]
enum Moments {
    /// Where our kernels compute: one pass over all tensors, in place.
    Fused(Vec<Vec<Vec<f32>>>),
    /// On any other device: Burn's operations, tensor by tensor.
    Burn(Vec<Vec<Tensor<1>>>),
}

impl Optimizer {
    /// For tensors of these lengths on a device, with all moments zero.
    pub fn new(
        spec: OptimizerSpec,
        weight_decay: f64,
        clip_norm: Option<f64>,
        tensors: &[usize],
        device: &Device,
    ) -> Self {
        let moments = match on_kernels(device) {
            true => Moments::Fused(
                tensors.iter().map(|&length| vec![vec![0.0; length]; spec.moments()]).collect(),
            ),
            false => {
                let device = device.clone().inner();
                let zeros =
                    |&length: &usize| (0..spec.moments()).map(|_| Tensor::zeros([length], &device)).collect();
                Moments::Burn(tensors.iter().map(zeros).collect())
            }
        };
        Optimizer { spec, weight_decay, clip_norm, moments, steps: 0 }
    }

    /// One step down the gradients.
    pub fn step(&mut self, network: Network, gradients: &Gradients, learning_rate: f64) -> Network {
        self.steps += 1;
        let scale = self.clip_norm.map(|limit| (limit / (network.gradient_norm(gradients) + 1e-6)).min(1.0));
        let rule =
            Rule { spec: self.spec, weight_decay: self.weight_decay, steps: self.steps, learning_rate };
        match &mut self.moments {
            Moments::Fused(moments) => network.update_in_place(gradients, |trainables| {
                rule.update_fused(trainables, moments, scale.unwrap_or(1.0) as f32);
            }),
            Moments::Burn(moments) => network.update(gradients, |index, weights, gradient| {
                let gradient = match scale {
                    Some(scale) if scale < 1.0 => gradient.mul_scalar(scale),
                    _ => gradient,
                };
                rule.update_on_burn(&mut moments[index], weights, gradient)
            }),
        }
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// All moments on the host, tensor by tensor.
    pub fn state(&self) -> Vec<Vec<f32>> {
        match &self.moments {
            Moments::Fused(moments) => moments.iter().flatten().cloned().collect(),
            Moments::Burn(moments) => {
                moments.iter().flatten().map(|moment| host_values(moment.clone())).collect()
            }
        }
    }

    /// The reverse of [`Optimizer::state`].
    ///
    /// # Errors
    /// Says what differs when the state belongs to another network or optimizer.
    pub fn restore(&mut self, steps: u64, state: Vec<Vec<f32>>) -> Result<(), String> {
        let ours: Vec<usize> = self.state().iter().map(Vec::len).collect();
        let theirs: Vec<usize> = state.iter().map(Vec::len).collect();
        if ours != theirs {
            return Err(format!("its moments are of lengths {theirs:?}, but the optimizer keeps {ours:?}"));
        }
        match &mut self.moments {
            Moments::Fused(moments) => {
                moments.iter_mut().flatten().zip(state).for_each(|(moment, values)| *moment = values);
            }
            Moments::Burn(moments) => {
                for (moment, values) in moments.iter_mut().flatten().zip(state) {
                    let shape = moment.dims();
                    *moment = Tensor::from_data(TensorData::new(values, shape), &moment.device());
                }
            }
        }
        self.steps = steps;
        Ok(())
    }
}

/// What one step does to every tensor.
struct Rule {
    spec: OptimizerSpec,
    weight_decay: f64,
    /// This one included.
    steps: u64,
    learning_rate: f64,
}

impl Rule {
    /// All tensors in one pass of our kernels.
    fn update_fused(&self, trainables: Vec<Trainable>, moments: &mut [Vec<Vec<f32>>], scale: f32) {
        let weight_decay = self.weight_decay as f32;
        let kernel = match self.spec {
            OptimizerSpec::Sgd { momentum, nesterov } => {
                Kernel::Sgd { momentum: momentum as f32, nesterov, weight_decay }
            }
            OptimizerSpec::RmsProp { alpha, epsilon } => {
                Kernel::RmsProp { alpha: alpha as f32, epsilon: epsilon as f32, momentum: 0.0, weight_decay }
            }
            OptimizerSpec::Adam { beta1, beta2, epsilon }
            | OptimizerSpec::AdamW { beta1, beta2, epsilon } => Kernel::Adam {
                beta1: beta1 as f32,
                beta2: beta2 as f32,
                epsilon: epsilon as f32,
                weight_decay,
                decoupled: matches!(self.spec, OptimizerSpec::AdamW { .. }),
            },
        };
        let scaled: Vec<Option<Vec<f32>>> = trainables
            .iter()
            .map(|tensor| (scale < 1.0).then(|| tensor.gradient.iter().map(|g| g * scale).collect()))
            .collect();
        let mut moments: Vec<Option<&mut Vec<Vec<f32>>>> = moments.iter_mut().map(Some).collect();
        let slots: Vec<Slot> = trainables
            .into_iter()
            .zip(&scaled)
            .map(|(tensor, scaled)| {
                let moments = moments[tensor.index].take().expect("each tensor is updated once");
                let gradient = scaled.as_deref().unwrap_or(tensor.gradient);
                match moments.as_mut_slice() {
                    [] => Slot::new(tensor.values, gradient, []),
                    [only] => Slot::new(tensor.values, gradient, [only]),
                    [first, second] => Slot::new(tensor.values, gradient, [first, second]),
                    more => unreachable!("no optimizer keeps {} moments", more.len()),
                }
            })
            .collect();
        kernel.step(self.learning_rate as f32, self.steps, &slots);
    }

    /// One tensor with Burn's operations.
    fn update_on_burn(
        &self,
        moments: &mut [Tensor<1>],
        weights: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        let (lr, decay) = (self.learning_rate, self.weight_decay);
        let decayed = |gradient: Tensor<1>, weights: &Tensor<1>| gradient + weights.clone().mul_scalar(decay);
        match (self.spec, moments) {
            (OptimizerSpec::Sgd { momentum, nesterov }, moments) => {
                let gradient = decayed(gradient, &weights);
                let direction = match moments {
                    [velocity] => {
                        *velocity = velocity.clone().mul_scalar(momentum) + gradient.clone();
                        if nesterov {
                            gradient + velocity.clone().mul_scalar(momentum)
                        } else {
                            velocity.clone()
                        }
                    }
                    _ => gradient,
                };
                weights - direction.mul_scalar(lr)
            }
            (OptimizerSpec::RmsProp { alpha, epsilon }, [square]) => {
                let gradient = decayed(gradient, &weights);
                *square = running_mean(square, gradient.clone().square(), alpha);
                weights - (gradient / square.clone().sqrt().add_scalar(epsilon)).mul_scalar(lr)
            }
            (OptimizerSpec::Adam { beta1, beta2, epsilon }, [mean, square]) => {
                let gradient = decayed(gradient, &weights);
                weights - self.adam([mean, square], gradient, beta1, beta2, epsilon)
            }
            (OptimizerSpec::AdamW { beta1, beta2, epsilon }, [mean, square]) => {
                let shrunk = weights.mul_scalar(1.0 - lr * decay);
                shrunk - self.adam([mean, square], gradient, beta1, beta2, epsilon)
            }
            (spec, moments) => unreachable!("{spec:?} does not keep {} moments", moments.len()),
        }
    }

    /// The step of Adam: `lr · m̂ / (√v̂ + ε)` with bias-corrected moments.
    fn adam(
        &self,
        [mean, square]: [&mut Tensor<1>; 2],
        gradient: Tensor<1>,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
    ) -> Tensor<1> {
        *mean = running_mean(mean, gradient.clone(), beta1);
        *square = running_mean(square, gradient.square(), beta2);
        let steps = self.steps as f64;
        let root = square.clone().sqrt().div_scalar((1.0 - beta2.powf(steps)).sqrt()).add_scalar(epsilon);
        mean.clone().div(root).mul_scalar(self.learning_rate / (1.0 - beta1.powf(steps)))
    }
}

/// `old · keep + new · (1 − keep)`
fn running_mean(old: &Tensor<1>, new: Tensor<1>, keep: f64) -> Tensor<1> {
    old.clone().mul_scalar(keep) + new.mul_scalar(1.0 - keep)
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

    fn spec(name: &str) -> OptimizerSpec {
        let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
        match name {
            "sgd" => OptimizerSpec::Sgd { momentum: 0.0, nesterov: false },
            "momentum" => OptimizerSpec::Sgd { momentum: 0.9, nesterov: false },
            "nesterov" => OptimizerSpec::Sgd { momentum: 0.9, nesterov: true },
            "rmsprop" => OptimizerSpec::RmsProp { alpha: 0.99, epsilon },
            "adam" => OptimizerSpec::Adam { beta1, beta2, epsilon },
            "adamw" => OptimizerSpec::AdamW { beta1, beta2, epsilon },
            other => panic!("no vector is called {other}"),
        }
    }

    #[test]
    fn ten_steps_of_every_optimizer_equal_pytorchs_fused_and_on_burn() {
        let vectors: Vectors =
            serde_json::from_str(include_str!("../tests/vectors/optimizers.json")).unwrap();
        assert_eq!(vectors.steps.len(), 6);
        for (name, steps) in &vectors.steps {
            let spec = spec(name);
            let mut fused = vectors.start.clone();
            let mut fused_moments = vec![vec![vec![0.0; 3]; spec.moments()]];
            let mut burn = vector(&vectors.start);
            let mut burn_moments = vec![vector(&[0.0; 3]); spec.moments()];
            for (step, (gradient, expected)) in vectors.gradients.iter().zip(steps).enumerate() {
                let Vectors { lr: learning_rate, weight_decay, .. } = vectors;
                let rule = Rule { spec, weight_decay, steps: step as u64 + 1, learning_rate };
                let trainable = Trainable { index: 0, values: &mut fused, gradient };
                rule.update_fused(vec![trainable], &mut fused_moments, 1.0);
                burn = rule.update_on_burn(&mut burn_moments, burn, vector(gradient));
                for ours in [&fused, &host_values(burn.clone())] {
                    let near = ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
                    assert!(near, "{name}, step {}: {ours:?}, but PyTorch {expected:?}", step + 1);
                }
            }
        }
    }

    #[test]
    fn state_is_restored_only_into_an_optimizer_that_keeps_as_much() {
        let device = Device::flex();
        let mut optimizer = Optimizer::new(OptimizerSpec::default(), 0.0, None, &[2], &device);
        let state = vec![vec![0.5, -1.0], vec![0.25, 1.0]];
        optimizer.restore(7, state.clone()).unwrap();
        assert_eq!((optimizer.steps(), optimizer.state()), (7, state));
        assert!(optimizer.restore(1, vec![vec![0.0; 2]]).unwrap_err().contains("[2, 2]"));
        assert!(optimizer.restore(1, vec![vec![0.0; 2], vec![0.0; 3]]).unwrap_err().contains("[2, 3]"));
    }
}
