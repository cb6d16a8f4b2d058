//! Support vector machines with a Gaussian kernel, `k(x, y) = exp(−γ |x − y|²)`: one for each pair of classes, as in
//! LIBSVM (Chang and Lin 2011).

mod kernel;
mod smo;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::matrix::{BLOCK, Matrix, Packed};
use crate::tensors::{Tensor, TensorSource};
use crate::watch::Watcher;
use crate::{Error, Result};
use kernel::{Gaussian, KernelRows};

/// Minimizes `½‖w‖² + c Σ max(0, 1 − y f(x))` for each pair of classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct RbfSvm {
    /// What an image on the wrong side costs.
    pub c: f64,
    /// γ; by default 1 / (numbers of an image · their variance), which scikit-learn calls "scale".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// By how much the optimality conditions may be violated at the end.
    pub tolerance: f64,
    /// Megabytes for values of the kernel while fitting. A pair of classes whose values do not fit is fitted more slowly.
    pub memory: usize,
}

impl Default for RbfSvm {
    fn default() -> Self {
        RbfSvm { c: 1.0, gamma: None, tolerance: 1e-3, memory: 2048 }
    }
}

/// Machines for all pairs of classes, with the training images that support them.
#[derive(Clone, Debug, PartialEq)]
pub struct PairwiseSvm {
    gamma: f32,
    /// `[S, D]`, class by class.
    support: Matrix,
    /// Supporting images of each class.
    counts: Vec<usize>,
    /// `[S, K − 1]`: what an image of class `a` adds to the machine of `a` and the other classes, in their order.
    coefficients: Matrix,
    /// Of each pair, `(0,1), (0,2), …, (1,2), …`.
    bias: Vec<f32>,
}

/// All pairs of classes, the lower first.
pub fn pairs(classes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..classes).flat_map(move |a| (a + 1..classes).map(move |b| (a, b)))
}

impl RbfSvm {
    /// Fits machines to features `[N, D]`. The second result are the positions of the images that support them.
    ///
    /// # Errors
    /// [`Error::Stopped`]
    pub fn fit(
        &self,
        features: &Matrix,
        labels: &[u16],
        classes: usize,
        watcher: &dyn Watcher,
    ) -> Result<(PairwiseSvm, Vec<usize>)> {
        let gamma = self.gamma.unwrap_or_else(|| scale(features)) as f32;
        let mut members = vec![Vec::new(); classes];
        for (image, &label) in labels.iter().enumerate() {
            members[usize::from(label)].push(image);
        }
        let pairs: Vec<(usize, usize)> = pairs(classes).collect();
        let done = AtomicUsize::new(0);
        let fit = |&(a, b): &(usize, usize)| {
            let images = [&members[a][..], &members[b][..]].concat();
            let kernel = Gaussian::new(features.select(&images), gamma);
            let mut rows = KernelRows::new(kernel, self.memory << 20, watcher)?;
            let machine =
                smo::solve(&mut rows, members[a].len(), self.c as f32, self.tolerance as f32, watcher)?;
            watcher.step("pairs of classes", 1 + done.fetch_add(1, Relaxed), pairs.len())?;
            Ok(machine)
        };
        let largest = members.iter().map(Vec::len).max().unwrap_or(0);
        let bytes = (2 * largest).pow(2) * size_of::<f32>();
        let together = ((self.memory << 20) / bytes.max(1)).clamp(1, pairs.len().max(1));
        let mut machines = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(together.min(rayon::current_num_threads())) {
            machines.extend(pairs.par_iter().map(fit).collect::<Result<Vec<_>>>()?);
        }
        Ok(PairwiseSvm::new(gamma, features, &members, &machines))
    }
}

/// 1 / (D · variance of all numbers)
fn scale(features: &Matrix) -> f64 {
    let values = features.values();
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    if variance > 0.0 { 1.0 / (features.columns() as f64 * variance) } else { 1.0 }
}

impl PairwiseSvm {
    fn new(
        gamma: f32,
        features: &Matrix,
        members: &[Vec<usize>],
        machines: &[smo::Machine],
    ) -> (Self, Vec<usize>) {
        let classes = members.len();
        // What each image of each class adds to the machines with the other classes, `[members, K − 1]`.
        let mut all: Vec<Vec<f32>> =
            members.iter().map(|images| vec![0.0; images.len() * (classes - 1)]).collect();
        for ((a, b), machine) in pairs(classes).zip(machines) {
            let (of_a, of_b) = machine.coefficients.split_at(members[a].len());
            // `b` is the (b − 1)th of the others of `a`, and `a` the `a`th of those of `b`.
            for (coefficients, &value) in all[a].chunks_exact_mut(classes - 1).zip(of_a) {
                coefficients[b - 1] = value;
            }
            for (coefficients, &value) in all[b].chunks_exact_mut(classes - 1).zip(of_b) {
                coefficients[a] = value;
            }
        }
        let (mut supporting, mut coefficients, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for (images, all) in members.iter().zip(&all) {
            let before = supporting.len();
            for (&image, row) in images.iter().zip(all.chunks_exact(classes - 1)) {
                if row.iter().any(|&value| value != 0.0) {
                    supporting.push(image);
                    coefficients.extend_from_slice(row);
                }
            }
            counts.push(supporting.len() - before);
        }
        let svm = PairwiseSvm {
            gamma,
            support: features.select(&supporting),
            counts,
            coefficients: Matrix::new(supporting.len(), classes - 1, coefficients),
            bias: machines.iter().map(|machine| machine.bias).collect(),
        };
        (svm, supporting)
    }

    /// Images that support the machines.
    pub fn support_len(&self) -> usize {
        self.support.rows()
    }

    /// The decision of each pair's machine, `[N, pairs]`: positive for the lower class.
    pub fn decisions(&self, features: &Matrix) -> Matrix {
        let pairs = self.bias.len();
        let experts = self.experts();
        let mut decisions = Matrix::zeros(features.rows(), pairs);
        decisions.values_mut().par_chunks_mut(BLOCK * pairs).zip(features.blocks()).for_each(
            |(decisions, features)| {
                for row in decisions.chunks_exact_mut(pairs) {
                    row.copy_from_slice(&self.bias);
                }
                experts.iter().for_each(|expert| expert.add(features, decisions, pairs));
            },
        );
        decisions
    }

    fn experts(&self) -> Vec<Expert> {
        let classes = self.counts.len();
        let columns = self.support.columns();
        let mut first = 0;
        let mut experts = Vec::with_capacity(classes);
        for (class, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let support = &self.support.values()[first * columns..][..count * columns];
            let coefficients = &self.coefficients.values()[first * (classes - 1)..][..count * (classes - 1)];
            let pair_of = |other: usize| {
                let (a, b) = (class.min(other), class.max(other));
                // Pairs before those of `a`, then those of `a` before `b`.
                a * (2 * classes - a - 1) / 2 + b - a - 1
            };
            experts.push(Expert {
                kernel: Gaussian::new(Matrix::new(count, columns, support.to_vec()), self.gamma),
                coefficients: Packed::columns(coefficients, count),
                pairs: (0..classes).filter(|&other| other != class).map(pair_of).collect(),
            });
            first += count;
        }
        experts
    }

    pub(crate) fn export(&self, to: &mut Vec<Tensor>) {
        let counts = self.counts.iter().map(|&count| count as f32).collect();
        to.push(Tensor::f32("classifier.gamma", vec![1], vec![self.gamma]));
        to.push(Tensor::f32("classifier.counts", vec![self.counts.len()], counts));
        let shape = vec![self.coefficients.rows(), self.coefficients.columns()];
        to.push(Tensor::f32("classifier.coefficients", shape, self.coefficients.values().to_vec()));
        to.push(Tensor::f32("classifier.bias", vec![self.bias.len()], self.bias.clone()));
    }

    /// What [`export`](Self::export) gave, with the features of the supporting images.
    pub(crate) fn import(classes: usize, support: Matrix, source: &mut TensorSource) -> Result<Self> {
        let gamma = source.take_f32("classifier.gamma", &[1])?[0];
        let counts = source.take_indices("classifier.counts", &[classes], support.rows() + 1)?;
        if counts.iter().sum::<usize>() != support.rows() {
            let rows = support.rows();
            return Err(Error::Mismatch(format!("`classifier.counts` do not add up to its {rows} images")));
        }
        let shape = [support.rows(), classes - 1];
        let coefficients = source.take_f32("classifier.coefficients", &shape)?;
        let coefficients = Matrix::new(support.rows(), classes - 1, coefficients);
        let bias = source.take_f32("classifier.bias", &[classes * (classes - 1) / 2])?;
        Ok(PairwiseSvm { gamma, support, counts, coefficients, bias })
    }
}

/// The supporting images of one class, and what they say in its K − 1 machines.
struct Expert {
    kernel: Gaussian,
    /// `[K − 1, S of the class]`
    coefficients: Packed,
    /// The K − 1 machines.
    pairs: Vec<usize>,
}

impl Expert {
    /// Adds Σ coefficient · k(support, x) to the decisions `[N, pairs]` on features `[N, D]`.
    fn add(&self, features: &[f32], decisions: &mut [f32], pairs: usize) {
        let images = decisions.len() / pairs;
        let mut values = vec![0.0; images * self.kernel.len()];
        self.kernel.values(features, &mut values);
        let mut sums = vec![0.0; images * self.pairs.len()];
        self.coefficients.product(&values, &mut sums);
        for (decisions, sums) in decisions.chunks_exact_mut(pairs).zip(sums.chunks_exact(self.pairs.len())) {
            for (&pair, sum) in self.pairs.iter().zip(sums) {
                decisions[pair] += sum;
            }
        }
    }
}
