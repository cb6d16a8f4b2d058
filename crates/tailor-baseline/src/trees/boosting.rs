//! Gradient boosting (Friedman 2001, "Greedy function approximation: a gradient boosting machine") of the multinomial
//! loss, with trees grown leaf by leaf on histograms, as LightGBM (Ke et al. 2017).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tailor_data::random::{Generator, image_seed};

use super::bins::{Binned, partition};
use super::{Combination, Tree, Trees};
use crate::Result;
use crate::matrix::Matrix;
use crate::watch::Watcher;

/// A tree for each class a round; each takes a step against the gradient of the loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct GradientBoosting {
    /// Trees of each class.
    pub rounds: usize,
    /// By how much a tree's answers are shortened.
    pub lr: f64,
    /// Leaves of a tree at most.
    pub leaves: usize,
    /// Images of any leaf at least.
    pub min_leaf: usize,
    /// λ, which pulls answers towards zero.
    pub l2: f64,
    /// Levels to which numbers are brought.
    pub bins: usize,
    /// The share of an image's numbers that a tree may ask for, drawn anew for each.
    pub candidates: f64,
}

impl Default for GradientBoosting {
    fn default() -> Self {
        GradientBoosting {
            rounds: 100,
            lr: 0.1,
            leaves: 31,
            min_leaf: 20,
            l2: 0.0,
            bins: 255,
            candidates: 1.0,
        }
    }
}

/// Sums over rows: gradient, curvature, number; the fourth makes it a vector.
type Sums = [f32; 4];

/// Curvature of a leaf at least.
const LEAST_CURVATURE: f64 = 1e-3;

/// Gains below are rounding.
const LEAST_GAIN: f64 = 1e-7;

/// Features whose histograms are filled at a time: the sums of one row go to as many places, and none waits for another.
const TOGETHER: usize = 4;

impl GradientBoosting {
    /// Adds up trees on features `[N, D]`.
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
    ) -> Result<Trees> {
        let binned = Binned::new(features, self.bins);
        let start = log_shares(labels, classes);
        // `[K, N]`: a class's scores side by side.
        let mut scores: Vec<Vec<f32>> = start.iter().map(|&score| vec![score; labels.len()]).collect();
        let mut trees = Vec::with_capacity(self.rounds * classes);
        for round in 0..self.rounds {
            watcher.step("rounds", round, self.rounds)?;
            let sums = softmax_sums(&scores);
            let grown: Vec<Tree> = scores
                .par_iter_mut()
                .enumerate()
                .map(|(class, scores)| {
                    let gradients = gradients(scores, &sums, labels, class);
                    let seed = image_seed(seed, round as u64, class);
                    Booster { settings: self, binned: &binned, gradients, watcher }.grow(seed, scores)
                })
                .collect::<Result<_>>()?;
            trees.extend(grown);
        }
        Ok(Trees { trees, combination: Combination::Sum { start } })
    }
}

/// ln of each class's share; of one that does not occur, as if it had half an image.
fn log_shares(labels: &[u16], classes: usize) -> Vec<f32> {
    let mut counts = vec![0usize; classes];
    labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
    counts.into_iter().map(|count| ((count as f64).max(0.5) / labels.len() as f64).ln() as f32).collect()
}

/// For each row the largest score and Σ exp(score − largest).
fn softmax_sums(scores: &[Vec<f32>]) -> Vec<(f32, f32)> {
    let of_row = |row: usize| {
        let max = scores.iter().map(|scores| scores[row]).fold(f32::NEG_INFINITY, f32::max);
        (max, scores.iter().map(|scores| (scores[row] - max).exp()).sum())
    };
    (0..scores[0].len()).into_par_iter().map(of_row).collect()
}

/// First and second derivative of the loss by a class's score: p − [label is the class], p (1 − p).
fn gradients(scores: &[f32], sums: &[(f32, f32)], labels: &[u16], class: usize) -> Vec<Sums> {
    let of_row = |((score, (max, sum)), label): ((&f32, &(f32, f32)), &u16)| {
        let p = (score - max).exp() / sum;
        let target = if usize::from(*label) == class { 1.0 } else { 0.0 };
        [p - target, p * (1.0 - p), 1.0, 0.0]
    };
    scores.iter().zip(sums).zip(labels).map(of_row).collect()
}

/// Grows one tree.
struct Booster<'a> {
    settings: &'a GradientBoosting,
    binned: &'a Binned,
    /// `[N]`
    gradients: Vec<Sums>,
    watcher: &'a dyn Watcher,
}

/// A leaf that may become a question.
struct Leaf {
    node: usize,
    rows: Range<usize>,
    /// `[features drawn, bins]`
    histogram: Vec<Sums>,
    split: Option<Split>,
}

#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    feature: usize,
    /// The last level on the left.
    below: usize,
}

impl Booster<'_> {
    /// Grows a tree and adds its answers to the scores of all rows.
    fn grow(&self, seed: u64, scores: &mut [f32]) -> Result<Tree> {
        let features = self.draw_features(seed);
        let mut rows: Vec<u32> = (0..self.binned.rows() as u32).collect();
        let mut tree = Tree::new(1);
        let histogram = self.histogram(&rows, &features);
        let mut leaves = vec![self.leaf(0, 0..rows.len(), histogram, &features)];
        while leaves.len() < self.settings.leaves {
            // The leaf that gains most; the first among equals.
            let gain = |leaf: &Leaf| leaf.split.map_or(f64::NEG_INFINITY, |split| split.gain);
            let best =
                (1..leaves.len()).fold(0, |a, b| if gain(&leaves[b]) > gain(&leaves[a]) { b } else { a });
            let Some(split) = leaves[best].split else { break };
            self.watcher.go_on()?;
            let leaf = leaves.swap_remove(best);
            leaves.extend(self.divide(leaf, split, &mut rows, &features, &mut tree));
        }
        for leaf in leaves {
            let rows = &rows[leaf.rows];
            let answer = self.answer(rows);
            tree.answer(leaf.node, [answer]);
            rows.iter().for_each(|&row| scores[row as usize] += answer);
        }
        Ok(tree)
    }

    /// The features that this tree may ask for, ascending.
    fn draw_features(&self, seed: u64) -> Vec<usize> {
        let all = self.binned.features();
        let drawn = ((all as f64 * self.settings.candidates).round() as usize).clamp(1, all);
        let mut features: Vec<usize> = (0..all).collect();
        if drawn < all {
            Generator::new(seed).shuffle(&mut features);
            features.truncate(drawn);
            features.sort_unstable();
        }
        features
    }

    /// Sums over rows for each level of each feature.
    fn histogram(&self, rows: &[u32], features: &[usize]) -> Vec<Sums> {
        let bins = self.settings.bins;
        // In the order of rows, to be read in a row.
        let gradients: Vec<Sums> = rows.iter().map(|&row| self.gradients[row as usize]).collect();
        let mut histogram = vec![[0.0; 4]; features.len() * bins];
        for (histogram, features) in histogram.chunks_mut(TOGETHER * bins).zip(features.chunks(TOGETHER)) {
            match *features {
                [a, b, c, d] => {
                    let codes = [a, b, c, d].map(|feature| self.binned.codes(feature));
                    for (&row, sums) in rows.iter().zip(&gradients) {
                        for (i, codes) in codes.iter().enumerate() {
                            add(&mut histogram[i * bins + usize::from(codes[row as usize])], sums);
                        }
                    }
                }
                _ => {
                    for (histogram, &feature) in histogram.chunks_mut(bins).zip(features) {
                        let codes = self.binned.codes(feature);
                        for (&row, sums) in rows.iter().zip(&gradients) {
                            add(&mut histogram[usize::from(codes[row as usize])], sums);
                        }
                    }
                }
            }
        }
        histogram
    }

    fn leaf(&self, node: usize, rows: Range<usize>, histogram: Vec<Sums>, features: &[usize]) -> Leaf {
        let split = match rows.len() < 2 * self.settings.min_leaf {
            true => None,
            false => self.best_split(&histogram, features),
        };
        Leaf { node, rows, histogram, split }
    }

    /// Turns a leaf into a question with two leaves. Only the smaller side is counted; the other is the rest.
    fn divide(
        &self,
        leaf: Leaf,
        split: Split,
        rows: &mut [u32],
        features: &[usize],
        tree: &mut Tree,
    ) -> [Leaf; 2] {
        let Leaf { node, rows: range, histogram: mut rest, .. } = leaf;
        let levels = self.binned.levels(split.feature);
        let threshold = levels.between(split.below, split.below + 1);
        let codes = self.binned.codes(split.feature);
        let left = range.start..range.start + partition(&mut rows[range.clone()], codes, split.below as u8);
        let right = left.end..range.end;
        let left_is_smaller = left.len() <= right.len();
        let smaller =
            self.histogram(&rows[if left_is_smaller { left.clone() } else { right.clone() }], features);
        for (rest, sums) in rest.iter_mut().zip(&smaller) {
            rest.iter_mut().zip(sums).for_each(|(rest, sum)| *rest -= sum);
        }
        let (of_left, of_right) = if left_is_smaller { (smaller, rest) } else { (rest, smaller) };
        let next = tree.ask(node, split.feature, threshold);
        [self.leaf(next, left, of_left, features), self.leaf(next + 1, right, of_right, features)]
    }

    /// The question that decreases the loss most; the lowest feature and level among equals.
    fn best_split(&self, histogram: &[Sums], features: &[usize]) -> Option<Split> {
        let GradientBoosting { min_leaf, l2, bins, .. } = *self.settings;
        let mut best: Option<Split> = None;
        for (sums, &feature) in histogram.chunks_exact(bins).zip(features) {
            let levels = &sums[..self.binned.levels(feature).len()];
            let all = levels.iter().fold([0.0; 3], plus);
            let whole = all[0] * all[0] / (all[1] + l2);
            let mut left = [0.0; 3];
            for (below, sums) in levels[..levels.len() - 1].iter().enumerate() {
                // A level without rows asks the same as the one before.
                if sums[2].round() == 0.0 {
                    continue;
                }
                left = plus(left, sums);
                let right = [all[0] - left[0], all[1] - left[1], all[2] - left[2]];
                if (right[2].round() as usize) < min_leaf {
                    break;
                }
                if (left[2].round() as usize) < min_leaf || left[1].min(right[1]) < LEAST_CURVATURE {
                    continue;
                }
                let gain = left[0] * left[0] / (left[1] + l2) + right[0] * right[0] / (right[1] + l2) - whole;
                if gain > best.map_or(LEAST_GAIN, |best| best.gain) {
                    best = Some(Split { gain, feature, below });
                }
            }
        }
        best
    }

    /// −gradient / (curvature + λ), shortened: Newton's step.
    fn answer(&self, rows: &[u32]) -> f32 {
        let sums = rows.iter().map(|&row| &self.gradients[row as usize]).fold([0.0; 3], plus);
        let step = -sums[0] / (sums[1] + self.settings.l2).max(1e-15);
        (self.settings.lr * step) as f32
    }
}

fn add(to: &mut Sums, sums: &Sums) {
    to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
}

fn plus(to: [f64; 3], sums: &Sums) -> [f64; 3] {
    [to[0] + f64::from(sums[0]), to[1] + f64::from(sums[1]), to[2] + f64::from(sums[2])]
}
