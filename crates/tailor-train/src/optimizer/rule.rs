//! One step of one rule: on our kernels over many tensors in one pass, or with Burn's operations tensor by tensor.

use burn::tensor::Tensor;
use tailor_kernels::muon::{Matrix, Muon};
use tailor_kernels::optimizer::{Optimizer as Kernel, Slot};
use tailor_nn::Trainable;

/// How a tensor is updated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Method {
    Sgd {
        momentum: f64,
        nesterov: bool,
    },
    RmsProp {
        alpha: f64,
        epsilon: f64,
    },
    /// Adam, or AdamW with decoupled weight decay.
    Adam {
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        decoupled: bool,
    },
    Muon {
        momentum: f64,
        nesterov: bool,
        iterations: usize,
        /// Of each step, for the matrix's shape.
        scale: f64,
        /// Rows and columns in memory.
        shape: [usize; 2],
    },
}

impl Method {
    /// Running means that it keeps for each weight.
    pub fn moments(&self) -> usize {
        match self {
            Method::Sgd { momentum, .. } => usize::from(*momentum > 0.0),
            Method::RmsProp { .. } | Method::Muon { .. } => 1,
            Method::Adam { .. } => 2,
        }
    }
}

/// A method with what differs between tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rule {
    pub method: Method,
    /// Of the run's learning rate.
    pub rate: f64,
    pub weight_decay: f64,
}

/// Where the run stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Of the run; each rule takes its part of it.
    pub learning_rate: f64,
    /// The step to be taken, from 1.
    pub step: u64,
}

/// A trainable tensor with its rule and its state.
pub(super) struct Job<'a> {
    pub rule: Rule,
    pub values: &'a mut [f32],
    pub gradient: &'a [f32],
    pub moments: &'a mut [Vec<f32>],
}

impl<'a> Job<'a> {
    pub fn new(
        rule: Rule,
        tensor: Trainable<'a>,
        scaled: Option<&'a [f32]>,
        moments: &'a mut [Vec<f32>],
    ) -> Self {
        Job { rule, values: tensor.values, gradient: scaled.unwrap_or(tensor.gradient), moments }
    }
}

/// All tensors with our kernels: those of the same rule in one pass.
pub(super) fn update_fused(jobs: Vec<Job>, at: Moment) {
    let mut passes: Vec<(Rule, Vec<Slot>)> = Vec::new();
    for Job { rule, values, gradient, moments } in jobs {
        let learning_rate = at.learning_rate * rule.rate;
        let slot = match (rule.method, moments) {
            (Method::Muon { momentum, nesterov, iterations, scale, shape }, [mean]) => {
                let [momentum, scale, weight_decay] = [momentum, scale, rule.weight_decay].map(|x| x as f32);
                let muon = Muon { momentum, nesterov, iterations, scale, weight_decay };
                muon.step(learning_rate as f32, Matrix { shape, values, gradient, mean });
                continue;
            }
            (_, []) => Slot::new(values, gradient, []),
            (_, [only]) => Slot::new(values, gradient, [only]),
            (_, [first, second]) => Slot::new(values, gradient, [first, second]),
            (method, more) => unreachable!("{method:?} does not keep {} moments", more.len()),
        };
        match passes.iter_mut().find(|(other, _)| *other == rule) {
            Some((_, slots)) => slots.push(slot),
            None => passes.push((rule, vec![slot])),
        }
    }
    for (rule, slots) in passes {
        rule.kernel().step((at.learning_rate * rule.rate) as f32, at.step, &slots);
    }
}

impl Rule {
    fn kernel(&self) -> Kernel {
        let weight_decay = self.weight_decay as f32;
        match self.method {
            Method::Sgd { momentum, nesterov } => {
                Kernel::Sgd { momentum: momentum as f32, nesterov, weight_decay }
            }
            Method::RmsProp { alpha, epsilon } => {
                Kernel::RmsProp { alpha: alpha as f32, epsilon: epsilon as f32, momentum: 0.0, weight_decay }
            }
            Method::Adam { beta1, beta2, epsilon, decoupled } => Kernel::Adam {
                beta1: beta1 as f32,
                beta2: beta2 as f32,
                epsilon: epsilon as f32,
                weight_decay,
                decoupled,
            },
            Method::Muon { .. } => unreachable!("Muon takes matrices one by one"),
        }
    }

    /// One tensor with Burn's operations.
    pub fn update_on_burn(
        &self,
        at: Moment,
        moments: &mut [Tensor<1>],
        weights: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        let (lr, decay) = (at.learning_rate * self.rate, self.weight_decay);
        let decayed = |gradient: Tensor<1>, weights: &Tensor<1>| gradient + weights.clone().mul_scalar(decay);
        match (self.method, moments) {
            (Method::Sgd { momentum, nesterov }, moments) => {
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
            (Method::RmsProp { alpha, epsilon }, [square]) => {
                let gradient = decayed(gradient, &weights);
                *square = running_mean(square, gradient.clone().square(), alpha);
                weights - (gradient / square.clone().sqrt().add_scalar(epsilon)).mul_scalar(lr)
            }
            (Method::Adam { beta1, beta2, epsilon, decoupled }, [mean, square]) => {
                let (gradient, weights) = match decoupled {
                    true => (gradient, weights.mul_scalar(1.0 - lr * decay)),
                    false => (decayed(gradient, &weights), weights),
                };
                *mean = running_mean(mean, gradient.clone(), beta1);
                *square = running_mean(square, gradient.square(), beta2);
                // lr · m̂ / (√v̂ + ε) with bias-corrected moments
                let [mean_bias, square_bias] = [beta1, beta2].map(|beta| 1.0 - beta.powf(at.step as f64));
                let root = square.clone().sqrt().div_scalar(square_bias.sqrt()).add_scalar(epsilon);
                weights - mean.clone().div(root).mul_scalar(lr / mean_bias)
            }
            (Method::Muon { momentum, nesterov, iterations, scale, shape }, [mean]) => {
                *mean = running_mean(mean, gradient.clone(), momentum);
                let direction = match nesterov {
                    true => running_mean(mean, gradient, momentum),
                    false => mean.clone(),
                };
                let direction = orthogonalized(direction.reshape(shape), iterations).reshape([-1]);
                weights.mul_scalar(1.0 - lr * decay) - direction.mul_scalar(lr * scale)
            }
            (method, moments) => unreachable!("{method:?} does not keep {} moments", moments.len()),
        }
    }
}

/// `old · keep + new · (1 − keep)`
fn running_mean(old: &Tensor<1>, new: Tensor<1>, keep: f64) -> Tensor<1> {
    old.clone().mul_scalar(keep) + new.mul_scalar(1.0 - keep)
}

/// As [`tailor_kernels::muon::orthogonalized`].
fn orthogonalized(x: Tensor<2>, iterations: usize) -> Tensor<2> {
    let [rows, columns] = x.dims();
    if rows > columns {
        return orthogonalized(x.transpose(), iterations).transpose();
    }
    let norm = x.clone().square().sum().sqrt().add_scalar(1e-7).reshape([1, 1]);
    let mut x = x / norm;
    for _ in 0..iterations {
        let gram = x.clone().matmul(x.clone().transpose());
        let square = gram.clone().matmul(gram.clone());
        let polynomial = gram.mul_scalar(-4.775) + square.mul_scalar(2.0315);
        x = x.clone().mul_scalar(3.4445) + polynomial.matmul(x);
    }
    x
}
