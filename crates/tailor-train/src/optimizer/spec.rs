//! Which optimizer a recipe asks for, and which rule that means for each tensor.

use serde::{Deserialize, Serialize};
use tailor_nn::{TensorInfo, shorthand};

use super::rule::Method;

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
    /// Jordan et al. 2024: orthogonalized momentum for matrices and convolution filters `[C_out, rest]`. Weight decay
    /// shrinks the weights themselves.
    Muon {
        /// Of the running mean of gradients.
        #[serde(default = "muon_momentum")]
        momentum: f64,
        /// Whether the mean looks ahead along the newest gradient.
        #[serde(default = "yes")]
        nesterov: bool,
        /// Newton–Schulz iterations.
        #[serde(default = "muon_iterations")]
        iterations: usize,
        /// Whether the last layer's matrix is among those.
        #[serde(default)]
        classifier: bool,
        /// For all other tensors.
        #[serde(default, deserialize_with = "shorthand::one")]
        others: OthersSpec,
    },
}

/// What updates the tensors that Muon is not for, at a rate of its own, which the schedule moves likewise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum OthersSpec {
    /// See [`OptimizerSpec::AdamW`].
    AdamW {
        /// The highest learning rate.
        #[serde(default = "others_lr")]
        lr: f64,
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
    /// See [`OptimizerSpec::Sgd`].
    Sgd {
        /// The highest learning rate.
        lr: f64,
        /// Of the velocity; 0 is plain gradient descent.
        #[serde(default = "momentum")]
        momentum: f64,
        /// Whether the step looks ahead along the velocity.
        #[serde(default)]
        nesterov: bool,
    },
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        OptimizerSpec::Adam { beta1: beta1(), beta2: beta2(), epsilon: epsilon() }
    }
}

impl Default for OthersSpec {
    fn default() -> Self {
        OthersSpec::AdamW { lr: others_lr(), beta1: beta1(), beta2: beta2(), epsilon: epsilon() }
    }
}

impl OptimizerSpec {
    /// What is impossible about the settings, if anything.
    pub fn check(&self) -> Result<(), String> {
        match *self {
            OptimizerSpec::Muon { momentum, iterations, others, .. } => {
                below_one("train.optimizer.momentum", momentum)?;
                if !(1..=20).contains(&iterations) {
                    return Err(format!("train.optimizer.iterations must be 1 to 20, not {iterations}"));
                }
                match others {
                    OthersSpec::AdamW { lr, .. } | OthersSpec::Sgd { lr, .. } => {
                        positive("train.optimizer.others.lr", lr)?;
                    }
                }
                others.method().check("train.optimizer.others")
            }
            _ => self.method().check("train.optimizer"),
        }
    }

    /// How a tensor is updated, and at which part of the run's learning rate, `lr` at its highest.
    pub(super) fn method_for(&self, tensor: &TensorInfo, is_classifier: bool, lr: f64) -> (Method, f64) {
        match (*self, tensor.matrix()) {
            (OptimizerSpec::Muon { momentum, nesterov, iterations, classifier, .. }, Some(matrix))
                if classifier || !is_classifier =>
            {
                let [rows, columns] = matrix;
                // A step of the same size for each output, whatever the shape.
                let scale = (rows as f64 / columns as f64).max(1.0).sqrt();
                let first = tensor.memory_shape[0];
                let shape = [first, rows * columns / first];
                (Method::Muon { momentum, nesterov, iterations, scale, shape }, 1.0)
            }
            (OptimizerSpec::Muon { others, .. }, _) => {
                let (OthersSpec::AdamW { lr: own, .. } | OthersSpec::Sgd { lr: own, .. }) = others;
                (others.method(), own / lr)
            }
            _ => (self.method(), 1.0),
        }
    }

    /// Of optimizers that treat all tensors alike.
    fn method(&self) -> Method {
        match *self {
            OptimizerSpec::Sgd { momentum, nesterov } => Method::Sgd { momentum, nesterov },
            OptimizerSpec::RmsProp { alpha, epsilon } => Method::RmsProp { alpha, epsilon },
            OptimizerSpec::Adam { beta1, beta2, epsilon } => {
                Method::Adam { beta1, beta2, epsilon, decoupled: false }
            }
            OptimizerSpec::AdamW { beta1, beta2, epsilon } => {
                Method::Adam { beta1, beta2, epsilon, decoupled: true }
            }
            OptimizerSpec::Muon { .. } => unreachable!("Muon's method depends on the tensor"),
        }
    }
}

impl OthersSpec {
    fn method(&self) -> Method {
        match *self {
            OthersSpec::AdamW { beta1, beta2, epsilon, .. } => {
                Method::Adam { beta1, beta2, epsilon, decoupled: true }
            }
            OthersSpec::Sgd { momentum, nesterov, .. } => Method::Sgd { momentum, nesterov },
        }
    }
}

impl Method {
    /// What is impossible about the settings that a recipe states under `key`, if anything.
    fn check(&self, key: &str) -> Result<(), String> {
        let below_one = |name: &str, value: f64| below_one(&format!("{key}.{name}"), value);
        let positive = |name: &str, value: f64| positive(&format!("{key}.{name}"), value);
        match *self {
            Method::Sgd { momentum, nesterov } => {
                if nesterov && momentum == 0.0 {
                    return Err(format!("{key}.nesterov needs a momentum above 0"));
                }
                below_one("momentum", momentum)
            }
            Method::RmsProp { alpha, epsilon } => {
                below_one("alpha", alpha)?;
                positive("epsilon", epsilon)
            }
            Method::Adam { beta1, beta2, epsilon, .. } => {
                below_one("beta1", beta1)?;
                below_one("beta2", beta2)?;
                positive("epsilon", epsilon)
            }
            Method::Muon { .. } => Ok(()),
        }
    }
}

fn below_one(key: &str, value: f64) -> Result<(), String> {
    match (0.0..1.0).contains(&value) {
        true => Ok(()),
        false => Err(format!("{key} must be at least 0 and less than 1, not {value}")),
    }
}

fn positive(key: &str, value: f64) -> Result<(), String> {
    match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(format!("{key} must be above 0, not {value}")),
    }
}

fn yes() -> bool {
    true
}

fn momentum() -> f64 {
    0.9
}

fn muon_momentum() -> f64 {
    0.95
}

fn muon_iterations() -> usize {
    5
}

fn others_lr() -> f64 {
    1e-3
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
