//! t-SNE (van der Maaten & Hinton 2008), its repulsion by a quadtree (van der Maaten 2014, "Accelerating t-SNE using
//! Tree-Based Algorithms").
//!
//! ```text
//!  points → neighbors → affinities P (each row of the same perplexity, made symmetric)
//!                            │
//!  first map → descent ←─────┴── attraction along P, repulsion by the tree → map
//! ```
//!
//! There is nothing random in it: the map starts from the first principal components (Kobak & Berens 2019), and sums are
//! taken in the order of the points. The tree is a library's; `bhtsne`, to which it belongs, sums in an order that
//! varies with threads, and would change the features that other dependencies are built with.

use barnes_hut_tree::{BarnesHutTree, Dim, Morton};
use rayon::prelude::*;
use tailor_baseline::Matrix;
use tailor_baseline::neighbors::{NeighborSearch, Neighbors, Weights};

/// About how many neighbors count: the usual value, and scikit-learn's.
const PERPLEXITY: f64 = 30.0;
/// Neighbors that are looked at for each that counts (van der Maaten 2014, section 4.1).
const NEIGHBORS: f64 = 3.0;
/// Steps with and without exaggerated attraction.
const EARLY: usize = 250;
const LATE: usize = 500;
/// Factor of the attraction in the early steps, so that groups find together.
const EXAGGERATION: f64 = 12.0;
/// A cell whose half width is less than this share of its distance is taken as a single point: scikit-learn's angle of 0.5,
/// which is of the whole width.
const THETA: f32 = 0.25;
/// The deviation of the first map.
const START: f64 = 1e-4;
/// The least learning rate; otherwise N / 12 / 4 (Belkina et al. 2019, for gradients without their factor of 4).
const LEAST_RATE: f64 = 50.0;

/// How much neighbors belong together: row i's entries are `columns[rows[i]..rows[i + 1]]`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Affinities {
    rows: Vec<usize>,
    columns: Vec<u32>,
    /// All sum to 1.
    values: Vec<f32>,
}

/// Points `[N, D]` in the plane, so that neighbors stay neighbors. `first` is where they begin, at any scale.
///
/// # Panics
/// If there are fewer than four points, or not as many places.
pub fn tsne(points: &Matrix, first: &[[f32; 2]]) -> Vec<[f32; 2]> {
    assert!(points.rows() == first.len() && first.len() > 3, "a first place for each of some points");
    let perplexity = PERPLEXITY.min((points.rows() - 1) as f64 / NEIGHBORS);
    let affinities = Affinities::of(points, perplexity);
    let deviation =
        (first.iter().map(|place| f64::from(place[0]).powi(2)).sum::<f64>() / first.len() as f64).sqrt();
    let scale = if deviation > 0.0 { START / deviation } else { 0.0 };
    let map = first.iter().map(|place| place.map(|x| (f64::from(x) * scale) as f32)).collect();
    Descent::new(map).run(&affinities)
}

impl Affinities {
    /// Of Gaussians around each point, as wide as makes their perplexity.
    fn of(points: &Matrix, perplexity: f64) -> Self {
        let count = points.rows();
        // The nearest of a point is itself, or a point in the same place.
        let k = ((NEIGHBORS * perplexity) as usize + 1).min(count);
        let search = Neighbors { k, weights: Weights::Uniform };
        let nearest = NeighborSearch::new(search, points.clone(), vec![0; count], 1).nearest(points);
        let shares: Vec<Vec<(u32, f64)>> = nearest
            .into_par_iter()
            .enumerate()
            .map(|(point, mut neighbors)| {
                let own = neighbors.iter().position(|&(_, other)| other as usize == point);
                neighbors.remove(own.unwrap_or(neighbors.len() - 1));
                let squares: Vec<f64> = neighbors.iter().map(|&(square, _)| f64::from(square)).collect();
                let shares = gaussian(&squares, perplexity);
                neighbors.into_iter().map(|(_, other)| other).zip(shares).collect()
            })
            .collect();
        Affinities::symmetric(&shares)
    }

    /// `(p_ij + p_ji) / 2N`
    fn symmetric(shares: &[Vec<(u32, f64)>]) -> Self {
        let mut rows: Vec<Vec<(u32, f64)>> = shares.to_vec();
        for (point, row) in shares.iter().enumerate() {
            row.iter().for_each(|&(other, share)| rows[other as usize].push((point as u32, share)));
        }
        let mut affinities = Affinities { rows: vec![0], ..Affinities::default() };
        for row in &mut rows {
            row.sort_by_key(|&(other, _)| other);
            for same in row.chunk_by(|a, b| a.0 == b.0) {
                let sum: f64 = same.iter().map(|(_, share)| share).sum();
                affinities.columns.push(same[0].0);
                affinities.values.push((sum / (2 * shares.len()) as f64) as f32);
            }
            affinities.rows.push(affinities.columns.len());
        }
        affinities
    }

    /// The entries of a row.
    fn row(&self, point: usize) -> impl Iterator<Item = (usize, f32)> {
        let range = self.rows[point]..self.rows[point + 1];
        let columns = self.columns[range.clone()].iter().map(|&column| column as usize);
        columns.zip(self.values[range].iter().copied())
    }
}

/// `exp(−β d²)` of squared distances, made to sum to 1, β being such that their perplexity is as wanted.
fn gaussian(squares: &[f64], perplexity: f64) -> Vec<f64> {
    let nearest = squares.iter().copied().fold(f64::INFINITY, f64::min);
    let (mut low, mut high, mut beta) = (0.0, f64::INFINITY, 1.0);
    let mut shares = Vec::new();
    for _ in 0..100 {
        // Without the nearest distance, nothing vanishes altogether.
        let powers: Vec<f64> = squares.iter().map(|square| (-beta * (square - nearest)).exp()).collect();
        let sum: f64 = powers.iter().sum();
        shares = powers.iter().map(|power| power / sum).collect();
        let entropy: f64 = shares.iter().filter(|&&share| share > 0.0).map(|share| -share * share.ln()).sum();
        let excess = entropy - perplexity.ln();
        if excess.abs() < 1e-5 {
            break;
        }
        if excess > 0.0 {
            low = beta;
            beta = if high.is_finite() { (low + high) / 2.0 } else { beta * 2.0 };
        } else {
            high = beta;
            beta = (low + high) / 2.0;
        }
    }
    shares
}

/// Gradient descent with momentum and a gain for each coordinate (Jacobs 1988), as in the authors' implementation.
struct Descent {
    map: Vec<[f32; 2]>,
    speeds: Vec<[f32; 2]>,
    gains: Vec<[f32; 2]>,
    rate: f32,
    tree: BarnesHutTree<f32, <Dim<2> as Morton<2>>::Word, 2>,
}

impl Descent {
    fn new(map: Vec<[f32; 2]>) -> Self {
        let rate = (map.len() as f64 / EXAGGERATION / 4.0).max(LEAST_RATE) as f32;
        let count = map.len();
        Descent {
            map,
            speeds: vec![[0.0; 2]; count],
            gains: vec![[1.0; 2]; count],
            rate,
            tree: BarnesHutTree::empty(),
        }
    }

    fn run(mut self, affinities: &Affinities) -> Vec<[f32; 2]> {
        for step in 0..EARLY + LATE {
            let (exaggeration, momentum) = if step < EARLY { (EXAGGERATION as f32, 0.5) } else { (1.0, 0.8) };
            let gradients = self.gradients(affinities, exaggeration);
            self.step(&gradients, momentum);
        }
        self.map
    }

    /// A quarter of the gradient of the Kullback–Leibler divergence: attraction along the affinities less repulsion.
    fn gradients(&mut self, affinities: &Affinities, exaggeration: f32) -> Vec<[f32; 2]> {
        let flat = self.map.as_flattened();
        self.tree.rebuild_uniform(flat);
        let (map, tree) = (&self.map, &self.tree);
        let forces: Vec<([f32; 2], [f32; 2], f32)> = (0..map.len())
            .into_par_iter()
            .map(|point| {
                let mut attraction = [0.0; 2];
                for (other, affinity) in affinities.row(point) {
                    let apart = [0, 1].map(|axis| map[point][axis] - map[other][axis]);
                    let pull = affinity / (1.0 + apart[0] * apart[0] + apart[1] * apart[1]);
                    attraction.iter_mut().zip(apart).for_each(|(sum, apart)| *sum += pull * apart);
                }
                let (mut repulsion, mut normalizer) = ([0.0; 2], 0.0);
                let mut stack = <Dim<2> as Morton<2>>::empty_stack();
                tree.compute_non_edge_forces(
                    point,
                    THETA * THETA,
                    flat,
                    &mut repulsion,
                    &mut normalizer,
                    stack.as_mut(),
                );
                (attraction, repulsion, normalizer)
            })
            .collect();
        let normalizer: f64 = forces.iter().map(|&(_, _, part)| f64::from(part)).sum();
        // Points that are all in one place repel nobody.
        let share = if normalizer > 0.0 { (1.0 / normalizer) as f32 } else { 0.0 };
        let gradient = |(attraction, repulsion, _): ([f32; 2], [f32; 2], f32)| {
            [0, 1].map(|axis| exaggeration * attraction[axis] - share * repulsion[axis])
        };
        forces.into_iter().map(gradient).collect()
    }

    /// Moves every point, and the map's middle back to zero.
    fn step(&mut self, gradients: &[[f32; 2]], momentum: f32) {
        let points = self.map.iter_mut().zip(&mut self.speeds).zip(&mut self.gains);
        for (((place, speed), gain), gradient) in points.zip(gradients) {
            for axis in 0..2 {
                // Downhill, speed and gradient are of opposite signs.
                let is_downhill = speed[axis] * gradient[axis] < 0.0;
                gain[axis] = if is_downhill { gain[axis] + 0.2 } else { (gain[axis] * 0.8).max(0.01) };
                speed[axis] = momentum * speed[axis] - 4.0 * self.rate * gain[axis] * gradient[axis];
                place[axis] += speed[axis];
            }
        }
        for axis in 0..2 {
            let sum: f64 = self.map.iter().map(|place| f64::from(place[axis])).sum();
            let mean = (sum / self.map.len() as f64) as f32;
            self.map.iter_mut().for_each(|place| place[axis] -= mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use tailor_nn::weights::{NamedTensor, from_safetensors};

    struct Vectors {
        points: Matrix,
        p: Vec<f32>,
        start: Vec<[f32; 2]>,
        map: Vec<[f32; 2]>,
    }

    fn vectors() -> Vectors {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/neighbors.safetensors");
        let (tensors, _) = from_safetensors(&std::fs::read(path).unwrap()).unwrap();
        let take = |name: &str| -> NamedTensor {
            tensors.iter().find(|tensor| tensor.name == name).unwrap().clone()
        };
        let points = take("points");
        Vectors {
            points: Matrix::new(points.shape[0], points.shape[1], points.values),
            p: take("p").values,
            start: take("start").values.as_chunks().0.to_vec(),
            map: take("map").values.as_chunks().0.to_vec(),
        }
    }

    /// `Σ p ln(p / q)`, over all pairs.
    fn divergence(affinities: &Affinities, map: &[[f32; 2]]) -> f64 {
        let closeness = |a: usize, b: usize| {
            let [x, y] = [0, 1].map(|axis| f64::from(map[a][axis] - map[b][axis]));
            1.0 / (1.0 + x * x + y * y)
        };
        let pairs = (0..map.len()).flat_map(|a| (0..map.len()).map(move |b| (a, b)));
        let all: f64 = pairs.filter(|(a, b)| a != b).map(|(a, b)| closeness(a, b)).sum();
        let of_point = |a: usize| -> f64 {
            let row = affinities.row(a).filter(|&(_, p)| p > 0.0);
            row.map(|(b, p)| f64::from(p) * (f64::from(p) / (closeness(a, b) / all)).ln()).sum()
        };
        (0..map.len()).map(of_point).sum()
    }

    #[test]
    fn affinities_are_scikit_learns() {
        let Vectors { points, p, .. } = vectors();
        // With every other point as a neighbor nothing is left out.
        let count = points.rows();
        let rows: Vec<Vec<(u32, f64)>> = (0..count)
            .map(|a| {
                let others: Vec<usize> = (0..count).filter(|&b| b != a).collect();
                let square = |&b: &usize| {
                    let pairs = points.row(a).iter().zip(points.row(b));
                    pairs.map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>()
                };
                let squares: Vec<f64> = others.iter().map(square).collect();
                let shares = gaussian(&squares, 10.0);
                others.into_iter().map(|b| b as u32).zip(shares).collect()
            })
            .collect();
        let ours = Affinities::symmetric(&rows);
        for a in 0..count {
            for (b, value) in ours.row(a) {
                assert!((value - p[a * count + b]).abs() < 1e-6, "{a} {b}: {value} {}", p[a * count + b]);
            }
        }
        assert!((ours.values.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        // The nearest thirty hold nearly all of it.
        let sparse = Affinities::of(&points, 10.0);
        let kept: f32 = (0..count).flat_map(|a| sparse.row(a)).map(|(_, value)| value).sum();
        assert!(sparse.values.len() < ours.values.len() / 2 && (kept - 1.0).abs() < 1e-5);
        for a in 0..count {
            for (b, value) in sparse.row(a) {
                assert!((value - p[a * count + b]).abs() < 2e-4, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_map_is_as_good_as_scikit_learns() {
        let Vectors { points, start, map, .. } = vectors();
        let affinities = Affinities::of(&points, 30.0);
        let [before, theirs, ours] =
            [&start, &map, &tsne(&points, &start)].map(|map| divergence(&affinities, map));
        assert!(ours < 1.05 * theirs, "{ours} against scikit-learn's {theirs}");
        assert!(before > 2.0 * ours, "{before} before, {ours} after");
    }
}
