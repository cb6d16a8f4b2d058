//! Linear support vector machines, one class against the rest, by dual coordinate descent (Hsieh, Chang, Lin, Keerthi
//! and Sundararajan 2008, "A dual coordinate descent method for large-scale linear SVM", algorithm 1), as LIBLINEAR.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tailor_data::random::Generator;

use super::Linear;
use crate::Result;
use crate::matrix::{Matrix, add_scaled, dot};
use crate::watch::Watcher;

/// Minimizes `½‖w‖² + c Σ max(0, 1 − y (w·x + b))²` for each class, the bias being the weight of a feature that is
/// always 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct LinearSvm {
    /// What an image on the wrong side costs.
    pub c: f64,
    /// Passes over the images at most.
    pub passes: usize,
    /// The largest and the smallest projected gradient of the last pass differ by less.
    pub tolerance: f64,
}

impl Default for LinearSvm {
    fn default() -> Self {
        LinearSvm { c: 1.0, passes: 1000, tolerance: 0.1 }
    }
}

impl LinearSvm {
    /// Fits weights to features `[N, D]`.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped)
    pub fn fit(
        &self,
        features: &Matrix,
        labels: &[u16],
        classes: usize,
        seed: u64,
        watcher: &dyn Watcher,
    ) -> Result<Linear> {
        let columns = features.columns();
        let lengths: Vec<f32> = features.squared_norms().into_iter().map(|norm| norm + 1.0).collect();
        let mut machines: Vec<Machine> = (0..classes).map(|class| Machine::new(class, features)).collect();
        let mut order: Vec<u32> = (0..features.rows() as u32).collect();
        for pass in 0..self.passes {
            watcher.step("passes over the images", pass, self.passes)?;
            Generator::for_epoch(seed, pass as u64).shuffle(&mut order);
            // Machines of a thread see an image together, so that it crosses from memory once.
            let together = classes.div_ceil(rayon::current_num_threads());
            machines.par_chunks_mut(together).for_each(|machines| {
                for &image in &order {
                    let (image, label) = (image as usize, labels[image as usize]);
                    for machine in machines.iter_mut().filter(|machine| !machine.done) {
                        machine.descend(features.row(image), image, label, lengths[image], self.c as f32);
                    }
                }
                machines.iter_mut().for_each(|machine| machine.end_pass(self.tolerance as f32));
            });
            if machines.iter().all(|machine| machine.done) {
                break;
            }
        }
        let weights = machines.iter().flat_map(|machine| &machine.weights).copied().collect();
        let bias = machines.iter().map(|machine| machine.bias).collect();
        Ok(Linear { weights: Matrix::new(classes, columns, weights), bias })
    }
}

/// One class against the rest.
struct Machine {
    class: usize,
    /// `[D]`
    weights: Vec<f32>,
    bias: f32,
    /// The dual variable of each image.
    alphas: Vec<f32>,
    /// Of the projected gradients of this pass.
    smallest: f32,
    largest: f32,
    done: bool,
}

impl Machine {
    fn new(class: usize, features: &Matrix) -> Self {
        Machine {
            class,
            weights: vec![0.0; features.columns()],
            bias: 0.0,
            alphas: vec![0.0; features.rows()],
            smallest: f32::INFINITY,
            largest: f32::NEG_INFINITY,
            done: false,
        }
    }

    /// The best value of one image's dual variable, all others being as they are.
    fn descend(&mut self, x: &[f32], image: usize, label: u16, length: f32, c: f32) {
        let y = if usize::from(label) == self.class { 1.0 } else { -1.0 };
        // The squared loss adds 1/2c to the diagonal and lifts the upper bound.
        let diagonal = 1.0 / (2.0 * c);
        let alpha = self.alphas[image];
        let gradient = y * (dot(&self.weights, x) + self.bias) - 1.0 + diagonal * alpha;
        let projected = if alpha == 0.0 { gradient.min(0.0) } else { gradient };
        self.smallest = self.smallest.min(projected);
        self.largest = self.largest.max(projected);
        if projected != 0.0 {
            let moved = (alpha - gradient / (length + diagonal)).max(0.0);
            self.alphas[image] = moved;
            add_scaled(&mut self.weights, y * (moved - alpha), x);
            self.bias += y * (moved - alpha);
        }
    }

    fn end_pass(&mut self, tolerance: f32) {
        self.done |= self.largest - self.smallest < tolerance;
        (self.smallest, self.largest) = (f32::INFINITY, f32::NEG_INFINITY);
    }
}
