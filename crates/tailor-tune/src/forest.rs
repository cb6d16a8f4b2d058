//! A random forest for regression over the unit cube (Breiman 2001), and how much of its variance each dimension explains.

use tailor_data::random::{Generator, image_seed};

/// Trees of a forest, as in Hutter et al. 2014.
const TREES: usize = 64;
/// A leaf of fewer would follow the noise.
const SMALLEST_LEAF: usize = 2;

/// Trees over `[0, 1]ᵈ`.
pub struct Forest {
    trees: Vec<Vec<Leaf>>,
    dimensions: usize,
}

/// A box of the cube and the value in it.
#[derive(Clone, Debug)]
struct Leaf {
    low: Vec<f64>,
    high: Vec<f64>,
    value: f64,
}

impl Forest {
    /// Fits a forest to `values` at `points`, each in `[0, 1]ᵈ`.
    pub fn fitted(points: &[Vec<f64>], values: &[f64], seed: u64) -> Self {
        let dimensions = points.first().map_or(0, Vec::len);
        let tree = |number: usize| {
            let mut generator = Generator::new(image_seed(seed, number as u64, 0));
            let sample = (0..points.len()).map(|_| generator.below(points.len() as u32) as usize).collect();
            let whole = Leaf { low: vec![0.0; dimensions], high: vec![1.0; dimensions], value: 0.0 };
            let mut leaves = Vec::new();
            grow(points, values, sample, whole, &mut generator, &mut leaves);
            leaves
        };
        Forest { trees: (0..TREES).map(tree).collect(), dimensions }
    }

    /// The mean over its trees at a point.
    pub fn predict(&self, point: &[f64]) -> f64 {
        let at = |leaves: &Vec<Leaf>| {
            let leaf = leaves.iter().find(|leaf| {
                point
                    .iter()
                    .enumerate()
                    .all(|(d, x)| leaf.low[d] <= *x && (*x < leaf.high[d] || leaf.high[d] >= 1.0))
            });
            leaf.map_or(0.0, |leaf| leaf.value)
        };
        self.trees.iter().map(at).sum::<f64>() / self.trees.len() as f64
    }

    /// For each dimension the share of the forest's variance that its own effect explains, the others averaged out (Hutter et
    /// al. 2014, "An efficient approach for assessing hyperparameter importance", section 3, exact for each tree). What is
    /// missing to 1 is explained by dimensions together. All zero if nothing varies.
    pub fn shares(&self) -> Vec<f64> {
        let mut shares = vec![0.0; self.dimensions];
        let mut varying = 0;
        for leaves in &self.trees {
            let mean: f64 = leaves.iter().map(|leaf| leaf.value * leaf.volume()).sum();
            let variance: f64 = leaves.iter().map(|leaf| (leaf.value - mean).powi(2) * leaf.volume()).sum();
            if variance < 1e-12 {
                continue;
            }
            varying += 1;
            for (dimension, share) in shares.iter_mut().enumerate() {
                *share += variance_along(leaves, dimension, mean) / variance;
            }
        }
        shares.iter().map(|share| share / varying.max(1) as f64).collect()
    }
}

impl Leaf {
    fn width(&self, dimension: usize) -> f64 {
        self.high[dimension] - self.low[dimension]
    }

    fn volume(&self) -> f64 {
        (0..self.low.len()).map(|dimension| self.width(dimension)).product()
    }
}

/// `∫ (f(x) − mean)² dx` where `f(x)` is the mean over all that has `x` in a dimension.
fn variance_along(leaves: &[Leaf], dimension: usize, mean: f64) -> f64 {
    let mut edges: Vec<f64> =
        leaves.iter().flat_map(|leaf| [leaf.low[dimension], leaf.high[dimension]]).collect();
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    let between = |pair: &[f64]| {
        let (from, to) = (pair[0], pair[1]);
        let middle = (from + to) / 2.0;
        let here = leaves.iter().filter(|leaf| leaf.low[dimension] < middle && middle < leaf.high[dimension]);
        let marginal: f64 = here.map(|leaf| leaf.value * leaf.volume() / leaf.width(dimension)).sum();
        (to - from) * (marginal - mean).powi(2)
    };
    edges.windows(2).map(between).sum()
}

fn grow(
    points: &[Vec<f64>],
    values: &[f64],
    sample: Vec<usize>,
    mut here: Leaf,
    generator: &mut Generator,
    leaves: &mut Vec<Leaf>,
) {
    here.value = sample.iter().map(|&i| values[i]).sum::<f64>() / sample.len().max(1) as f64;
    let Some((dimension, edge)) = best_split(points, values, &sample, generator) else {
        leaves.push(here);
        return;
    };
    let (left, right): (Vec<usize>, Vec<usize>) =
        sample.into_iter().partition(|&i| points[i][dimension] < edge);
    let (mut below, mut above) = (here.clone(), here);
    below.high[dimension] = edge;
    above.low[dimension] = edge;
    grow(points, values, left, below, generator, leaves);
    grow(points, values, right, above, generator, leaves);
}

/// Where to part a sample such that the squared errors of both parts add up to the least: among two thirds of the dimensions,
/// drawn at random, and the middles between neighboring points.
fn best_split(
    points: &[Vec<f64>],
    values: &[f64],
    sample: &[usize],
    generator: &mut Generator,
) -> Option<(usize, f64)> {
    let count = points.first().map_or(0, Vec::len);
    let mut dimensions: Vec<usize> = (0..count).collect();
    generator.shuffle(&mut dimensions);
    dimensions.truncate((2 * count).div_ceil(3));
    let total: f64 = sample.iter().map(|&i| values[i]).sum();
    let n = sample.len() as f64;
    // What a split takes from the squared error, above what rounding could.
    let mut best: Option<(f64, usize, f64)> = None;
    for dimension in dimensions {
        let mut order = sample.to_vec();
        order.sort_by(|a, b| points[*a][dimension].total_cmp(&points[*b][dimension]));
        let mut left = 0.0;
        for (taken, pair) in (1..).zip(order.windows(2)) {
            left += values[pair[0]];
            let (below, above) = (points[pair[0]][dimension], points[pair[1]][dimension]);
            if below == above || taken < SMALLEST_LEAF || order.len() - taken < SMALLEST_LEAF {
                continue;
            }
            let (few, rest) = (taken as f64, n - taken as f64);
            let gain = left * left / few + (total - left).powi(2) / rest - total * total / n;
            if gain > best.map_or(1e-12, |(gain, ..)| gain) {
                best = Some((gain, dimension, (below + above) / 2.0));
            }
        }
    }
    best.map(|(_, dimension, edge)| (dimension, edge))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(low: [f64; 2], high: [f64; 2], value: f64) -> Leaf {
        Leaf { low: low.into(), high: high.into(), value }
    }

    #[test]
    fn shares_of_a_tree_by_hand() {
        // 0 for x < ½; above it 1 for y < ½ and 3 for the rest. Mean 1; variance ½·1 + ¼·0 + ¼·4 = 1.5.
        // Along x: 0 and 2, so ½·1 + ½·1 = 1. Along y: ½ and 1.5, so ¼. Together: 1.5 − 1 − ¼.
        let tree = vec![
            leaf([0.0, 0.0], [0.5, 1.0], 0.0),
            leaf([0.5, 0.0], [1.0, 0.5], 1.0),
            leaf([0.5, 0.5], [1.0, 1.0], 3.0),
        ];
        let shares = Forest { trees: vec![tree], dimensions: 2 }.shares();
        assert!(
            (shares[0] - 1.0 / 1.5).abs() < 1e-12 && (shares[1] - 0.25 / 1.5).abs() < 1e-12,
            "{shares:?}"
        );
    }

    #[test]
    fn a_forest_follows_a_function_and_finds_what_it_depends_on() {
        let mut generator = Generator::new(1);
        let points: Vec<Vec<f64>> =
            (0..200).map(|_| (0..3).map(|_| f64::from(generator.unit())).collect()).collect();
        // Variance 1/12 · 9 from x, 1/12 from y, none from z: shares 0.9, 0.1, 0.
        let values: Vec<f64> = points.iter().map(|p| 3.0 * p[0] + p[1]).collect();
        let forest = Forest::fitted(&points, &values, 1);
        assert!((forest.predict(&[0.5, 0.5, 0.5]) - 2.0).abs() < 0.2);
        let shares = forest.shares();
        assert!(
            (shares[0] - 0.9).abs() < 0.05 && (shares[1] - 0.1).abs() < 0.05 && shares[2] < 0.01,
            "{shares:?}"
        );
    }

    #[test]
    fn nothing_varies_where_all_values_are_equal() {
        let forest = Forest::fitted(&[vec![0.1], vec![0.9], vec![0.5], vec![0.2]], &[1.0; 4], 1);
        assert_eq!(forest.shares(), [0.0]);
        assert_eq!(forest.predict(&[0.3]), 1.0);
        assert!(Forest::fitted(&[], &[], 1).shares().is_empty());
    }
}
