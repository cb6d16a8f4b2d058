//! Trees of questions "is this number at most that?", alone, as a forest and boosted.
//!
//! ```text
//! features [N, D] ─→ bins: at most 256 levels a feature, as u8, feature by feature
//!                      ├─ classification ─→ decision tree, random forest   (leaves hold shares of classes)
//!                      └─ boosting ───────→ trees added up                 (leaves hold scores)
//! ```

mod bins;
mod boosting;
mod classification;
mod criterion;
mod forest;

pub use boosting::GradientBoosting;
pub use criterion::Criterion;
pub use forest::{DecisionTree, RandomForest};

use rayon::prelude::*;

use crate::matrix::Matrix;
use crate::tensors::{Tensor, TensorSource};
use crate::{Error, Result};

/// A question or an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    /// Goes on at `next` if the feature's number is at most the threshold, else at `next + 1`.
    Question { feature: u32, threshold: f32, next: u32 },
    /// A row of the tree's values.
    Leaf(u32),
}

/// A tree; its root is the first node, and children come after their parents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    nodes: Vec<Node>,
    /// `[leaves, width]`
    values: Vec<f32>,
    width: usize,
}

impl Tree {
    fn new(width: usize) -> Self {
        Tree { nodes: vec![Node::Leaf(0)], values: Vec::new(), width }
    }

    /// Puts a question at a node; returns the first of its two children.
    fn ask(&mut self, node: usize, feature: usize, threshold: f32) -> usize {
        let next = self.nodes.len();
        self.nodes[node] = Node::Question { feature: feature as u32, threshold, next: next as u32 };
        self.nodes.extend([Node::Leaf(0); 2]);
        next
    }

    /// Puts an answer at a node.
    fn answer(&mut self, node: usize, values: impl IntoIterator<Item = f32>) {
        self.nodes[node] = Node::Leaf((self.values.len() / self.width) as u32);
        self.values.extend(values);
    }

    /// The values of the leaf that a row `[D]` comes to.
    fn find(&self, row: &[f32]) -> &[f32] {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Question { feature, threshold, next } => {
                    at = next as usize + usize::from(row[feature as usize] > threshold);
                }
                Node::Leaf(leaf) => return &self.values[leaf as usize * self.width..][..self.width],
            }
        }
    }

    /// Number of leaves.
    pub fn leaves(&self) -> usize {
        self.values.len() / self.width
    }
}

/// Trees whose leaves' values are averaged, for decision trees and forests, or added up per class, for boosting.
#[derive(Clone, Debug, PartialEq)]
pub struct Trees {
    trees: Vec<Tree>,
    combination: Combination,
}

#[derive(Clone, Debug, PartialEq)]
enum Combination {
    /// Leaves hold a value for each class.
    Mean { classes: usize },
    /// Leaves hold one value; tree `t` speaks for class `t mod K`. The values are added to these.
    Sum { start: Vec<f32> },
}

impl Trees {
    /// Number of trees.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.trees.len()
    }

    /// Leaves of all trees.
    pub fn leaves(&self) -> usize {
        self.trees.iter().map(Tree::leaves).sum()
    }

    /// Shares or scores `[N, K]` of features `[N, D]`.
    pub fn values(&self, features: &Matrix) -> Matrix {
        let classes = match &self.combination {
            Combination::Mean { classes } => *classes,
            Combination::Sum { start } => start.len(),
        };
        let mut values = Matrix::zeros(features.rows(), classes);
        values.values_mut().par_chunks_exact_mut(classes).enumerate().for_each(|(i, values)| {
            let row = features.row(i);
            match &self.combination {
                Combination::Mean { .. } => {
                    for tree in &self.trees {
                        values.iter_mut().zip(tree.find(row)).for_each(|(sum, value)| *sum += value);
                    }
                    values.iter_mut().for_each(|sum| *sum /= self.trees.len() as f32);
                }
                Combination::Sum { start } => {
                    values.copy_from_slice(start);
                    for (t, tree) in self.trees.iter().enumerate() {
                        values[t % classes] += tree.find(row)[0];
                    }
                }
            }
        });
        values
    }

    /// Nodes `[nodes, 3]` of all trees, one after the other: feature or −1, threshold, next node or leaf's row.
    pub(crate) fn export(&self, to: &mut Vec<Tensor>) {
        let (mut nodes, mut values) = (Vec::new(), Vec::new());
        for tree in &self.trees {
            for node in &tree.nodes {
                nodes.extend(match *node {
                    Node::Question { feature, threshold, next } => [feature as f32, threshold, next as f32],
                    Node::Leaf(leaf) => [-1.0, 0.0, leaf as f32],
                });
            }
            values.extend_from_slice(&tree.values);
        }
        let width = self.trees.first().map_or(1, |tree| tree.width);
        let sizes: Vec<f32> = self.trees.iter().map(|tree| tree.nodes.len() as f32).collect();
        to.push(Tensor::f32("classifier.nodes", vec![nodes.len() / 3, 3], nodes));
        to.push(Tensor::f32("classifier.values", vec![values.len() / width, width], values));
        to.push(Tensor::f32("classifier.sizes", vec![sizes.len()], sizes));
        if let Combination::Sum { start } = &self.combination {
            to.push(Tensor::f32("classifier.start", vec![start.len()], start.clone()));
        }
    }

    /// What [`export`](Self::export) gave, of leaves with a value for each class.
    pub(crate) fn import_mean(classes: usize, columns: usize, source: &mut TensorSource) -> Result<Self> {
        let trees = import_trees(classes, columns, source)?;
        Ok(Trees { trees, combination: Combination::Mean { classes } })
    }

    /// What [`export`](Self::export) gave, of leaves with one value.
    pub(crate) fn import_sum(classes: usize, columns: usize, source: &mut TensorSource) -> Result<Self> {
        let trees = import_trees(1, columns, source)?;
        let start = source.take_f32("classifier.start", &[classes])?;
        Ok(Trees { trees, combination: Combination::Sum { start } })
    }
}

fn import_trees(width: usize, columns: usize, source: &mut TensorSource) -> Result<Vec<Tree>> {
    let (all, leaves, trees) = (
        source.rows("classifier.nodes")?,
        source.rows("classifier.values")?,
        source.rows("classifier.sizes")?,
    );
    let nodes = source.take_f32("classifier.nodes", &[all, 3])?;
    let values = source.take_f32("classifier.values", &[leaves, width])?;
    let sizes = source.take_indices("classifier.sizes", &[trees], all + 1)?;
    if trees == 0 || sizes.iter().sum::<usize>() != all {
        return Err(Error::Mismatch(format!("`classifier.sizes` do not add up to its {all} nodes")));
    }
    let (mut nodes, mut values) = (nodes.as_chunks::<3>().0, &values[..]);
    let mut result = Vec::with_capacity(trees);
    for size in sizes {
        let (own, rest) = nodes.split_at(size);
        let tree = import_tree(own, width, columns, &mut values)?;
        nodes = rest;
        result.push(tree);
    }
    Ok(result)
}

/// Nodes of one tree; takes its leaves' values from the front of `values`. Every path ends, because children come after
/// their parents, and in a leaf that is there.
fn import_tree(nodes: &[[f32; 3]], width: usize, columns: usize, values: &mut &[f32]) -> Result<Tree> {
    let refuse = |node: usize| Error::Mismatch(format!("node {node} of a tree leads nowhere"));
    let mut tree = Tree { nodes: Vec::with_capacity(nodes.len()), values: Vec::new(), width };
    let leaves = nodes.iter().filter(|node| node[0] < 0.0).count();
    for (at, &[feature, threshold, next]) in nodes.iter().enumerate() {
        let whole = next >= 0.0 && next.fract() == 0.0 && feature.fract() == 0.0;
        let next = next as usize;
        let node = match feature < 0.0 {
            true if whole && next < leaves => Node::Leaf(next as u32),
            false if whole && (feature as usize) < columns && next > at && next + 1 < nodes.len() => {
                Node::Question { feature: feature as u32, threshold, next: next as u32 }
            }
            _ => return Err(refuse(at)),
        };
        tree.nodes.push(node);
    }
    if tree.nodes.is_empty() || values.len() < leaves * width {
        return Err(refuse(0));
    }
    let own;
    (own, *values) = values.split_at(leaves * width);
    tree.values = own.to_vec();
    Ok(tree)
}
