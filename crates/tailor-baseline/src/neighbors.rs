//! k nearest neighbors: the images that look most alike vote.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::matrix::{Matrix, Packed};

/// Neighbors by Euclidean distance, found by comparing with every training image: in hundreds of dimensions a tree
/// visits nearly all of them as well, and products of matrices are faster than visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Neighbors {
    /// Neighbors that vote.
    pub k: usize,
    /// What a vote counts.
    pub weights: Weights,
}

/// What a neighbor's vote counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// As much as any other.
    Uniform,
    /// 1 / distance.
    #[default]
    Distance,
}

impl Default for Neighbors {
    fn default() -> Self {
        Neighbors { k: 5, weights: Weights::default() }
    }
}

/// Queries and training images that are compared at a time: their products stay in the cache.
const QUERIES: usize = 256;
const EXAMPLES: usize = 1024;

/// Training images to compare with.
#[derive(Clone, Debug, PartialEq)]
pub struct NeighborSearch {
    neighbors: Neighbors,
    examples: Matrix,
    squared_norms: Vec<f32>,
    labels: Vec<u16>,
    classes: usize,
}

impl NeighborSearch {
    /// Takes features `[N, D]` and labels `[N]` of training images.
    pub fn new(neighbors: Neighbors, examples: Matrix, labels: Vec<u16>, classes: usize) -> Self {
        let squared_norms = examples.squared_norms();
        NeighborSearch { neighbors, examples, squared_norms, labels, classes }
    }

    /// The label of each training image.
    pub(crate) fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// Each class's share of the votes, `[N, K]`.
    pub fn shares(&self, features: &Matrix) -> Matrix {
        let mut shares = Matrix::zeros(features.rows(), self.classes);
        let nearest = self.nearest(features);
        for (row, neighbors) in shares.values_mut().chunks_exact_mut(self.classes).zip(nearest) {
            // A neighbor at distance zero outvotes all that are not.
            let weight = |squared: f32| match self.neighbors.weights {
                Weights::Uniform => 1.0,
                Weights::Distance => 1.0 / squared.sqrt().max(1e-6),
            };
            let all: f32 = neighbors.iter().map(|&(squared, _)| weight(squared)).sum();
            for (squared, example) in neighbors {
                row[usize::from(self.labels[example as usize])] += weight(squared) / all;
            }
        }
        shares
    }

    /// Squared distance and position of the k nearest training images of each row, nearest first; the lower position
    /// first among equals.
    pub fn nearest(&self, features: &Matrix) -> Vec<Vec<(f32, u32)>> {
        let columns = features.columns();
        let packed: Vec<Packed> = self
            .examples
            .values()
            .par_chunks(EXAMPLES * columns)
            .map(|examples| Packed::rows(examples, columns))
            .collect();
        features
            .values()
            .par_chunks(QUERIES * columns)
            .flat_map_iter(|queries| self.nearest_of(queries, &packed))
            .collect()
    }

    fn nearest_of(&self, queries: &[f32], packed: &[Packed]) -> Vec<Vec<(f32, u32)>> {
        let columns = self.examples.columns();
        let k = self.neighbors.k.min(self.labels.len());
        let mut nearest = vec![Vec::with_capacity(k + 1); queries.len() / columns];
        let mut products = vec![0.0; nearest.len() * EXAMPLES];
        for (part, examples) in packed.iter().enumerate() {
            let first = part * EXAMPLES;
            let products = &mut products[..nearest.len() * examples.len()];
            examples.product(queries, products);
            let norms = &self.squared_norms[first..];
            for (products, nearest) in products.chunks_exact(examples.len()).zip(&mut nearest) {
                keep_nearest(nearest, k, products, norms, first);
            }
        }
        for (query, nearest) in queries.chunks_exact(columns).zip(&mut nearest) {
            // |q − e|² = |q|² + (|e|² − 2 q·e); rounding may leave it a little below zero.
            let norm: f32 = query.iter().map(|x| x * x).sum();
            nearest.iter_mut().for_each(|(distance, _)| *distance = (norm + *distance).max(0.0));
        }
        nearest
    }
}

/// Inserts examples `first..` that are nearer than the farthest of the `k` in the sorted list, by |e|² − 2 q·e.
fn keep_nearest(nearest: &mut Vec<(f32, u32)>, k: usize, products: &[f32], norms: &[f32], first: usize) {
    let mut farthest = if nearest.len() < k { f32::INFINITY } else { nearest[k - 1].0 };
    for (example, (product, norm)) in products.iter().zip(norms).enumerate() {
        let distance = norm - 2.0 * product;
        if distance < farthest {
            let at = nearest.partition_point(|&(other, _)| other <= distance);
            nearest.insert(at, (distance, (first + example) as u32));
            nearest.truncate(k);
            if nearest.len() == k {
                farthest = nearest[k - 1].0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_points_on_a_line_vote_by_distance() {
        let examples = Matrix::new(3, 1, vec![0.0, 1.0, 5.0]);
        let search = |k, weights| {
            let neighbors = Neighbors { k, weights };
            NeighborSearch::new(neighbors, examples.clone(), vec![0, 1, 1], 2)
        };
        let at_two = Matrix::new(1, 1, vec![2.0]);
        let nearest = search(3, Weights::Uniform).nearest(&at_two);
        assert_eq!(nearest, [[(1.0, 1), (4.0, 0), (9.0, 2)]]);
        assert_eq!(search(2, Weights::Uniform).shares(&at_two).values(), [0.5, 0.5]);
        // 1/2 for class 0, 1/1 + 1/3 for class 1: shares 3/11 and 8/11.
        let shares = search(9, Weights::Distance).shares(&at_two);
        assert!((shares.values()[0] - 3.0 / 11.0).abs() < 1e-6, "{shares:?}");
    }
}
