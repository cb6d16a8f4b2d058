//! Features in the plane: principal components, and t-SNE.

use tailor_baseline::Matrix;
use tailor_baseline::features::Pca;
use tailor_data::random::Generator;

use crate::{Error, Result, tsne};

/// Images in the plane, in two ways.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// By the two directions in which the features differ most.
    pub pca: Vec<[f32; 2]>,
    /// The share of the features' variance along these two.
    pub pca_share: f64,
    /// Neighbors beside each other.
    pub tsne: Vec<[f32; 2]>,
}

/// The fewest images that have neighbors.
const LEAST: usize = 10;
/// Components that neighbors are looked for in, as van der Maaten & Hinton 2008 do for images.
const COMPONENTS: usize = 50;
/// The most features whose covariance is decomposed in seconds.
const WIDEST: usize = 1536;

impl Embedding {
    /// Of features `[N, F]`.
    ///
    /// # Errors
    /// [`Error::TooFewImages`].
    pub fn of(features: &Matrix) -> Result<Self> {
        let images = features.rows();
        if images < LEAST {
            return Err(Error::TooFewImages { least: LEAST, images });
        }
        let hashed = (features.columns() > WIDEST).then(|| hashed(features, WIDEST));
        let features = hashed.as_ref().unwrap_or(features);
        let components = COMPONENTS.min(features.columns());
        let projected = Pca::fit(features, components).transform(features);
        let pca: Vec<[f32; 2]> = (0..images)
            .map(|image| {
                let row = projected.row(image);
                [row[0], row.get(1).copied().unwrap_or(0.0)]
            })
            .collect();
        let spread: f64 = pca.iter().flatten().map(|&x| f64::from(x) * f64::from(x)).sum();
        let all = variance(features) * images as f64;
        let pca_share = if all > 0.0 { spread / all } else { 1.0 };
        Ok(Embedding { tsne: tsne::tsne(&projected, &pca), pca, pca_share })
    }
}

/// The sum over columns of their variance.
fn variance(matrix: &Matrix) -> f64 {
    let rows = matrix.rows() as f64;
    let (mut sums, mut squares) = (vec![0.0f64; matrix.columns()], 0.0f64);
    for value in matrix.values().chunks_exact(matrix.columns()) {
        sums.iter_mut().zip(value).for_each(|(sum, &x)| *sum += f64::from(x));
        squares += value.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    }
    let means: f64 = sums.iter().map(|sum| (sum / rows).powi(2)).sum();
    squares / rows - means
}

/// Each feature is added to one of fewer columns or taken from it, at random: distances stay about the same (Weinberger et
/// al. 2009, arXiv:0902.2206, equations 1 to 4).
fn hashed(matrix: &Matrix, columns: usize) -> Matrix {
    let mut random = Generator::new(0);
    let places: Vec<(usize, f32)> = (0..matrix.columns())
        .map(|_| (random.below(columns as u32) as usize, if random.chance(0.5) { 1.0 } else { -1.0 }))
        .collect();
    let mut values = vec![0.0; matrix.rows() * columns];
    for (to, from) in values.chunks_exact_mut(columns).zip(matrix.values().chunks_exact(matrix.columns())) {
        from.iter().zip(&places).for_each(|(value, &(place, sign))| to[place] += sign * value);
    }
    Matrix::new(matrix.rows(), columns, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three groups of images far from each other, in `columns` features.
    fn groups(columns: usize) -> Matrix {
        let mut random = Generator::new(3);
        let centers: Vec<f32> = (0..3 * columns).map(|_| random.within(5.0)).collect();
        let values = (0..60).flat_map(|i| (0..columns).map(move |c| (i % 3) * columns + c));
        let values: Vec<f32> = values.map(|at| centers[at] + random.within(0.5)).collect();
        Matrix::new(60, columns, values)
    }

    /// Of how many images the nearest other one is of their own group.
    fn nearest_is_own(points: &[[f32; 2]]) -> usize {
        let distance = |a: usize, b: usize| {
            let [x, y] = [0, 1].map(|axis| points[a][axis] - points[b][axis]);
            x * x + y * y
        };
        let nearest = |a: usize| {
            let others = (0..points.len()).filter(|&b| b != a);
            others.min_by(|&b, &c| distance(a, b).total_cmp(&distance(a, c))).unwrap()
        };
        (0..points.len()).filter(|&a| nearest(a) % 3 == a % 3).count()
    }

    #[test]
    fn groups_stay_together_however_many_features_there_are() {
        for columns in [2, 20, 200] {
            let embedding = Embedding::of(&groups(columns)).unwrap();
            assert_eq!(nearest_is_own(&embedding.tsne), 60, "{columns} features");
            assert_eq!(nearest_is_own(&embedding.pca), 60, "{columns} features");
            assert!(embedding.pca_share > 0.9 && embedding.pca_share < 1.0001, "{}", embedding.pca_share);
        }
    }

    #[test]
    fn hashing_keeps_distances_about_as_they_are() {
        let (wide, narrow) = (groups(3000), hashed(&groups(3000), 500));
        let distance = |matrix: &Matrix, a: usize, b: usize| {
            let pairs = matrix.row(a).iter().zip(matrix.row(b));
            pairs.map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>()
        };
        for (a, b) in [(0, 1), (0, 2), (1, 2), (0, 3)] {
            let ratio = distance(&narrow, a, b) / distance(&wide, a, b);
            // Its deviation is about √(2 / 500), 6 %.
            assert!((ratio - 1.0).abs() < 0.25, "{a} {b}: {ratio}");
        }
    }

    #[test]
    fn the_same_features_give_the_same_map_and_odd_ones_do_no_harm() {
        assert_eq!(Embedding::of(&groups(30)), Embedding::of(&groups(30)));
        let one = Matrix::new(12, 1, (0..12).map(|i| i as f32).collect());
        assert!(Embedding::of(&one).unwrap().tsne.iter().flatten().all(|x| x.is_finite()));
        let same = Embedding::of(&Matrix::zeros(40, 3)).unwrap();
        assert!(same.tsne.iter().chain(&same.pca).flatten().all(|x| x.is_finite()));
        let error = Embedding::of(&Matrix::zeros(9, 3)).unwrap_err();
        assert_eq!(error.to_string(), "a map needs at least 10 images, but there are 9");
    }
}
