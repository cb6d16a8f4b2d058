//! One name for all classifiers.

use serde::{Deserialize, Serialize};

use crate::calibration::Scores;
use crate::linear::{Linear, LinearSvm, LogisticRegression};
use crate::matrix::Matrix;
use crate::neighbors::{NeighborSearch, Neighbors};
use crate::svm::{PairwiseSvm, RbfSvm};
use crate::tensors::{Tensor, TensorSource};
use crate::trees::{DecisionTree, GradientBoosting, RandomForest, Trees};
use crate::watch::Watcher;
use crate::{Error, Result};

/// What learns from the features, and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ClassifierSpec {
    /// Linear scores, fitted by their likelihood.
    LogisticRegression(LogisticRegression),
    /// Linear scores, fitted by their margin.
    LinearSvm(LinearSvm),
    /// A Gaussian kernel and margins.
    RbfSvm(RbfSvm),
    /// The most similar images.
    NearestNeighbors(Neighbors),
    /// One tree.
    DecisionTree(DecisionTree),
    /// Trees that vote.
    RandomForest(RandomForest),
    /// Trees that add up.
    GradientBoosting(GradientBoosting),
}

/// A fitted classifier.
#[derive(Clone, Debug, PartialEq)]
pub enum Classifier {
    /// Logistic regression, linear SVM.
    Linear(Linear),
    /// A machine for each pair of classes.
    Pairwise(PairwiseSvm),
    /// Training images to compare with.
    Neighbors(NeighborSearch),
    /// A tree, a forest, a sum of trees.
    Trees(Trees),
}

/// A fitted classifier, and the training images that it compares with, if it does.
pub(crate) struct Fitted {
    pub classifier: Classifier,
    /// Positions of training images.
    pub exemplars: Vec<usize>,
}

impl ClassifierSpec {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// [`Error::Settings`] names the key.
    pub fn check(&self) -> Result<()> {
        let positive = |key: &str, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(Error::Settings(format!("classifier.{key} must be above 0, not {value}"))),
        };
        let at_least = |key: &str, least: usize, value: usize| match value >= least {
            true => Ok(()),
            false => Err(Error::Settings(format!("classifier.{key} must be at least {least}, not {value}"))),
        };
        match self {
            ClassifierSpec::LogisticRegression(LogisticRegression { c, steps, tolerance }) => {
                positive("c", *c)?;
                at_least("steps", 1, *steps)?;
                positive("tolerance", *tolerance)
            }
            ClassifierSpec::LinearSvm(LinearSvm { c, passes, tolerance }) => {
                positive("c", *c)?;
                at_least("passes", 1, *passes)?;
                positive("tolerance", *tolerance)
            }
            ClassifierSpec::RbfSvm(RbfSvm { c, gamma, tolerance, memory }) => {
                positive("c", *c)?;
                gamma.map_or(Ok(()), |gamma| positive("gamma", gamma))?;
                at_least("memory", 1, *memory)?;
                positive("tolerance", *tolerance)
            }
            ClassifierSpec::NearestNeighbors(Neighbors { k, .. }) => at_least("k", 1, *k),
            ClassifierSpec::DecisionTree(DecisionTree { max_depth, min_leaf, .. }) => {
                max_depth.map_or(Ok(()), |depth| at_least("max-depth", 1, depth))?;
                at_least("min-leaf", 1, *min_leaf)
            }
            ClassifierSpec::RandomForest(RandomForest { trees, max_depth, min_leaf, candidates, .. }) => {
                at_least("trees", 1, *trees)?;
                max_depth.map_or(Ok(()), |depth| at_least("max-depth", 1, depth))?;
                candidates.map_or(Ok(()), |candidates| at_least("candidates", 1, candidates))?;
                at_least("min-leaf", 1, *min_leaf)
            }
            ClassifierSpec::GradientBoosting(boosting) => {
                let GradientBoosting { rounds, lr, leaves, min_leaf, l2, bins, candidates } = *boosting;
                at_least("rounds", 1, rounds)?;
                positive("lr", lr)?;
                at_least("leaves", 2, leaves)?;
                at_least("min-leaf", 1, min_leaf)?;
                positive("candidates", candidates)?;
                if l2 < 0.0 || !l2.is_finite() {
                    return Err(Error::Settings(format!("classifier.l2 must be 0 or more, not {l2}")));
                }
                if candidates > 1.0 {
                    let text = format!("classifier.candidates is a share, at most 1, not {candidates}");
                    return Err(Error::Settings(text));
                }
                match bins {
                    2..=256 => Ok(()),
                    _ => Err(Error::Settings(format!("classifier.bins must be 2 to 256, not {bins}"))),
                }
            }
        }
    }

    /// Fits the classifier to features `[N, D]` and labels `[N]`.
    pub(crate) fn fit(
        &self,
        features: &Matrix,
        labels: &[u16],
        classes: usize,
        seed: u64,
        watcher: &dyn Watcher,
    ) -> Result<Fitted> {
        let alone = |classifier| Fitted { classifier, exemplars: Vec::new() };
        Ok(match self {
            ClassifierSpec::LogisticRegression(regression) => {
                alone(Classifier::Linear(regression.fit(features, labels, classes, watcher)?))
            }
            ClassifierSpec::LinearSvm(svm) => {
                alone(Classifier::Linear(svm.fit(features, labels, classes, seed, watcher)?))
            }
            ClassifierSpec::RbfSvm(svm) => {
                let (machines, exemplars) = svm.fit(features, labels, classes, watcher)?;
                Fitted { classifier: Classifier::Pairwise(machines), exemplars }
            }
            ClassifierSpec::NearestNeighbors(neighbors) => {
                let search = NeighborSearch::new(*neighbors, features.clone(), labels.to_vec(), classes);
                Fitted { classifier: Classifier::Neighbors(search), exemplars: (0..labels.len()).collect() }
            }
            ClassifierSpec::DecisionTree(tree) => {
                alone(Classifier::Trees(tree.fit(features, labels, classes, watcher)?))
            }
            ClassifierSpec::RandomForest(forest) => {
                alone(Classifier::Trees(forest.fit(features, labels, classes, seed, watcher)?))
            }
            ClassifierSpec::GradientBoosting(boosting) => {
                alone(Classifier::Trees(boosting.fit(features, labels, classes, seed, watcher)?))
            }
        })
    }

    /// How its scores are to be read.
    pub(crate) fn scores(&self) -> Scores {
        match self {
            ClassifierSpec::LogisticRegression(_)
            | ClassifierSpec::LinearSvm(_)
            | ClassifierSpec::GradientBoosting(_) => Scores::Decisions,
            ClassifierSpec::RbfSvm(_) => Scores::Pairwise,
            ClassifierSpec::NearestNeighbors(_)
            | ClassifierSpec::DecisionTree(_)
            | ClassifierSpec::RandomForest(_) => Scores::Shares,
        }
    }

    /// A classifier from its tensors and the features of its exemplars, if it has any.
    pub(crate) fn import(
        &self,
        classes: usize,
        columns: usize,
        exemplars: Option<Matrix>,
        source: &mut TensorSource,
    ) -> Result<Classifier> {
        let missing = || Error::Mismatch("tensor `exemplars` is missing".into());
        Ok(match self {
            ClassifierSpec::LogisticRegression(_) | ClassifierSpec::LinearSvm(_) => {
                Classifier::Linear(Linear::import(classes, columns, source)?)
            }
            ClassifierSpec::RbfSvm(_) => {
                Classifier::Pairwise(PairwiseSvm::import(classes, exemplars.ok_or_else(missing)?, source)?)
            }
            ClassifierSpec::NearestNeighbors(neighbors) => {
                let examples = exemplars.ok_or_else(missing)?;
                let labels = source.take_indices("classifier.labels", &[examples.rows()], classes)?;
                let labels = labels.into_iter().map(|label| label as u16).collect();
                Classifier::Neighbors(NeighborSearch::new(*neighbors, examples, labels, classes))
            }
            ClassifierSpec::DecisionTree(_) | ClassifierSpec::RandomForest(_) => {
                Classifier::Trees(Trees::import_mean(classes, columns, source)?)
            }
            ClassifierSpec::GradientBoosting(_) => {
                Classifier::Trees(Trees::import_sum(classes, columns, source)?)
            }
        })
    }
}

impl Classifier {
    /// What it says of features `[N, D]`: scores or shares `[N, K]`, or decisions `[N, pairs]`.
    pub fn scores(&self, features: &Matrix) -> Matrix {
        match self {
            Classifier::Linear(linear) => linear.scores(features),
            Classifier::Pairwise(svm) => svm.decisions(features),
            Classifier::Neighbors(search) => search.shares(features),
            Classifier::Trees(trees) => trees.values(features),
        }
    }

    /// What it consists of, in words.
    pub fn describe(&self) -> String {
        match self {
            Classifier::Linear(linear) => {
                format!("linear, {} weights a class", linear.weights.columns())
            }
            Classifier::Pairwise(svm) => format!("{} supporting images", svm.support_len()),
            Classifier::Neighbors(search) => format!("{} images to compare with", search.labels().len()),
            Classifier::Trees(trees) => format!("{} trees, {} leaves", trees.len(), trees.leaves()),
        }
    }

    /// Numbers that were fitted, training images that are kept not counted.
    pub fn parameters(&self) -> usize {
        let mut tensors = Vec::new();
        self.export(&mut tensors);
        tensors.iter().map(Tensor::len).sum()
    }

    pub(crate) fn export(&self, to: &mut Vec<Tensor>) {
        match self {
            Classifier::Linear(linear) => linear.export(to),
            Classifier::Pairwise(svm) => svm.export(to),
            Classifier::Neighbors(search) => {
                let labels: Vec<f32> = search.labels().iter().map(|&label| f32::from(label)).collect();
                to.push(Tensor::f32("classifier.labels", vec![labels.len()], labels));
            }
            Classifier::Trees(trees) => trees.export(to),
        }
    }
}
