//! One tree, and many that vote.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tailor_data::random::{Generator, image_seed};

use super::bins::{Binned, MOST};
use super::classification::Growth;
use super::{Combination, Criterion, Trees};
use crate::Result;
use crate::matrix::Matrix;
use crate::watch::Watcher;

/// A tree grown on all rows with the best of all questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct DecisionTree {
    /// What a question is to reduce.
    pub criterion: Criterion,
    /// Questions on the way to any leaf at most; by default as many as it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<usize>,
    /// Images of any leaf at least.
    pub min_leaf: usize,
}

/// Trees grown on random rows with the best of a few random questions (Breiman 2001, "Random forests").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct RandomForest {
    /// Trees.
    pub trees: usize,
    /// What a question is to reduce.
    pub criterion: Criterion,
    /// Questions on the way to any leaf at most; by default as many as it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<usize>,
    /// Images of any leaf at least.
    pub min_leaf: usize,
    /// Numbers of an image among which each question is chosen; by default the square root of how many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
}

impl Default for DecisionTree {
    fn default() -> Self {
        DecisionTree { criterion: Criterion::Gini, max_depth: None, min_leaf: 1 }
    }
}

impl Default for RandomForest {
    fn default() -> Self {
        RandomForest {
            trees: 100,
            criterion: Criterion::Gini,
            max_depth: None,
            min_leaf: 1,
            candidates: None,
        }
    }
}

impl DecisionTree {
    /// Grows the tree on features `[N, D]`.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped)
    pub fn fit(
        &self,
        features: &Matrix,
        labels: &[u16],
        classes: usize,
        watcher: &dyn Watcher,
    ) -> Result<Trees> {
        let growth = Growth {
            binned: &Binned::new(features, MOST),
            labels,
            classes,
            criterion: self.criterion,
            max_depth: self.max_depth,
            min_leaf: self.min_leaf,
            candidates: None,
            watcher,
        };
        let rows = (0..labels.len() as u32).collect();
        let tree = growth.grow(rows, &mut Generator::new(0))?;
        Ok(Trees { trees: vec![tree], combination: Combination::Mean { classes } })
    }
}

impl RandomForest {
    /// Grows the trees on features `[N, D]`, each on N rows drawn with replacement.
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
        let root = (features.columns() as f64).sqrt() as usize;
        let growth = Growth {
            binned: &Binned::new(features, MOST),
            labels,
            classes,
            criterion: self.criterion,
            max_depth: self.max_depth,
            min_leaf: self.min_leaf,
            candidates: Some(self.candidates.unwrap_or(root).max(1)),
            watcher,
        };
        let done = AtomicUsize::new(0);
        let grow = |tree: usize| {
            let mut generator = Generator::new(image_seed(seed, 0, tree));
            let images = labels.len() as u32;
            let mut rows: Vec<u32> = (0..images).map(|_| generator.below(images)).collect();
            // In the order of memory.
            rows.sort_unstable();
            let tree = growth.grow(rows, &mut generator)?;
            watcher.step("trees", 1 + done.fetch_add(1, Relaxed), self.trees)?;
            Ok(tree)
        };
        let trees = (0..self.trees).into_par_iter().map(grow).collect::<Result<_>>()?;
        Ok(Trees { trees, combination: Combination::Mean { classes } })
    }
}
