//! Gradient descent in its variants, with PyTorch's semantics, over the flat tensors of a network.

mod rule;
mod spec;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use tailor_nn::{Network, host_values, on_kernels};

pub use spec::{OptimizerSpec, OthersSpec};

use crate::groups;
use crate::recipe::TrainRecipe;
use rule::{Job, Moment, Rule, update_fused};

/// An optimizer with the state it has gathered.
#[derive(Debug)]
pub struct Optimizer {
    /// Of each trainable tensor.
    rules: Vec<Rule>,
    clip_norm: Option<f64>,
    moments: Moments,
    steps: u64,
}

/// For each trainable tensor its moments, each as long as the tensor.
#[derive(Debug)]
enum Moments {
    /// Where our kernels compute: few passes over all tensors, in place.
    Fused(Vec<Vec<Vec<f32>>>),
    /// On any other device: Burn's operations, tensor by tensor.
    Burn(Vec<Vec<Tensor<1>>>),
}

impl Optimizer {
    /// Of a recipe, for the trainable tensors of a network, with all moments zero.
    ///
    /// # Errors
    /// Says which group of the recipe matches no tensor of the network.
    pub fn new(recipe: &TrainRecipe, network: &Network) -> Result<Self, String> {
        let tensors = network.tensors();
        let treatments = groups::treatments(recipe, &tensors)?;
        let classifier = tensors.iter().rposition(|tensor| tensor.matrix().is_some());
        let trained: Vec<(usize, Rule)> = tensors
            .iter()
            .zip(&treatments)
            .enumerate()
            .filter(|(_, (tensor, _))| tensor.trainable)
            .map(|(position, (tensor, treatment))| {
                let is_classifier = Some(position) == classifier;
                let (method, rate) = recipe.optimizer.method_for(tensor, is_classifier, recipe.lr);
                let rate = rate * treatment.lr_factor;
                (tensor.shape.iter().product(), Rule { method, rate, weight_decay: treatment.weight_decay })
            })
            .collect();
        let moments = Moments::zero(&trained, &network.device());
        let rules = trained.into_iter().map(|(_, rule)| rule).collect();
        Ok(Optimizer { rules, clip_norm: recipe.clip_norm, moments, steps: 0 })
    }

    /// One step down the gradients.
    pub fn step(&mut self, network: Network, gradients: &Gradients, learning_rate: f64) -> Network {
        self.steps += 1;
        let scale = self.clip_norm.map(|limit| (limit / (network.gradient_norm(gradients) + 1e-6)).min(1.0));
        let scale = scale.filter(|scale| *scale < 1.0);
        let at = Moment { learning_rate, step: self.steps };
        let rules = &self.rules;
        match &mut self.moments {
            Moments::Fused(moments) => network.update_in_place(gradients, |trainables| {
                let scaled: Vec<Option<Vec<f32>>> = trainables
                    .iter()
                    .map(|tensor| {
                        let scale = scale? as f32;
                        Some(tensor.gradient.iter().map(|g| g * scale).collect())
                    })
                    .collect();
                let mut moments: Vec<Option<&mut Vec<Vec<f32>>>> = moments.iter_mut().map(Some).collect();
                let jobs = trainables.into_iter().zip(&scaled).map(|(tensor, scaled)| {
                    let moments = moments[tensor.index].take().expect("each tensor is updated once");
                    Job::new(rules[tensor.index], tensor, scaled.as_deref(), moments)
                });
                update_fused(jobs.collect(), at);
            }),
            Moments::Burn(moments) => network.update(gradients, |index, weights, gradient| {
                let gradient = match scale {
                    Some(scale) => gradient.mul_scalar(scale),
                    None => gradient,
                };
                rules[index].update_on_burn(at, &mut moments[index], weights, gradient)
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

impl Moments {
    /// For tensors of these lengths and rules.
    fn zero(tensors: &[(usize, Rule)], device: &Device) -> Self {
        if on_kernels(device) {
            let zeros = |(length, rule): &(usize, Rule)| vec![vec![0.0; *length]; rule.method.moments()];
            return Moments::Fused(tensors.iter().map(zeros).collect());
        }
        let device = device.clone().inner();
        let zeros = |(length, rule): &(usize, Rule)| {
            (0..rule.method.moments()).map(|_| Tensor::zeros([*length], &device)).collect()
        };
        Moments::Burn(tensors.iter().map(zeros).collect())
    }
}

#[cfg(test)]
mod tests;
