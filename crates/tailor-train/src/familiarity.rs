//! How far an image is from everything that a model was trained on: distance to the nearest training images, as the model
//! itself describes them (Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors").

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use tailor_data::Dataset;
use tailor_eval::accepting_threshold;
use tailor_kernels::activation::Activation;
use tailor_kernels::bf16::rounded;
use tailor_kernels::dense::{Dense, PackedDense};

use crate::inference::BATCH_SIZE;
use crate::model_file::Model;

/// Training images that are kept: enough that more change little (section 4.2 of the paper keeps one of a hundred).
pub(crate) const EXEMPLARS: usize = 1000;
/// The distance is that of the so many nearest, which a single odd training image cannot spoil; the paper's k for a hundredth of
/// the images.
const NEIGHBORS: usize = 10;

/// Training images in a model's own description, and the distance up to which others are taken for images of the same kind.
#[derive(Debug)]
pub struct Familiarity {
    /// Values of a description, F.
    dimensions: usize,
    /// `[M, F]`, each of length 1.
    exemplars: Vec<f32>,
    neighbors: usize,
    /// 95 % of the images that it was chosen on are as near or nearer.
    threshold: f64,
    /// The exemplars, for products with other descriptions.
    packed: PackedDense,
}

/// As it stands in a model file.
#[derive(Serialize, Deserialize)]
struct Stored {
    dimensions: usize,
    neighbors: usize,
    threshold: f64,
    /// bfloat16, little-endian, in base64.
    exemplars: String,
}

impl Familiarity {
    /// Takes some training images, the classes in their proportions, and chooses the threshold on others that the model was not
    /// trained on.
    pub fn fit(model: &Model, train: &Dataset, validation: &Dataset, seed: u64) -> Self {
        let chosen = train.limit(EXEMPLARS, seed);
        let features = model.features_of(&chosen);
        let dimensions = features.len() / chosen.len().max(1);
        // Rounded as they are stored, so that a model that was loaded says the same to the bit.
        let exemplars = unit_rows(&features, dimensions).into_iter().map(rounded).collect();
        let mut familiarity = Self::new(dimensions, exemplars, NEIGHBORS.min(chosen.len()), 0.0);
        familiarity.choose_threshold(model, validation);
        familiarity
    }

    fn new(dimensions: usize, exemplars: Vec<f32>, neighbors: usize, threshold: f64) -> Self {
        let packed = product(0, dimensions, &exemplars).pack_transposed(&exemplars, None);
        Self { dimensions, exemplars, neighbors, threshold, packed }
    }

    /// Chooses the threshold so that 95 % of these images are taken for images of the same kind.
    pub fn choose_threshold(&mut self, model: &Model, images: &Dataset) {
        self.threshold = accepting_threshold(&self.distances(&model.features_of(images)));
    }

    /// The distance up to which images are taken for images of the kind that the model knows.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// The distances, 0 to 2, of images from what the model knows, given its descriptions `[N, F]` of them.
    pub fn distances(&self, features: &[f32]) -> Vec<f64> {
        let exemplars = self.exemplars.len() / self.dimensions;
        let batches = features.chunks(BATCH_SIZE * self.dimensions);
        let of_batch = |features: &[f32]| {
            let images = features.len() / self.dimensions;
            let mut cosines = vec![0.0; images * exemplars];
            let rows = unit_rows(features, self.dimensions);
            product(images, self.dimensions, &self.exemplars).infer(&self.packed, &rows, &mut cosines);
            cosines.chunks_exact_mut(exemplars).map(|row| self.distance(row)).collect::<Vec<f64>>()
        };
        batches.flat_map(of_batch).collect()
    }

    /// ‖a − b‖² = 2 − 2 a·b of unit vectors, for the neighbor that counts.
    fn distance(&self, cosines: &mut [f32]) -> f64 {
        let (_, cosine, _) = cosines.select_nth_unstable_by(self.neighbors - 1, |a, b| b.total_cmp(a));
        (2.0 - 2.0 * f64::from(*cosine)).max(0.0).sqrt()
    }

    /// As text for a model file.
    pub(crate) fn to_json(&self) -> String {
        let bytes: Vec<u8> =
            self.exemplars.iter().flat_map(|value| value.to_le_bytes()[2..].to_vec()).collect();
        let Self { dimensions, neighbors, threshold, .. } = *self;
        let stored = Stored { dimensions, neighbors, threshold, exemplars: BASE64_STANDARD.encode(bytes) };
        serde_json::to_string(&stored).expect("plain data is JSON")
    }

    /// The reverse of [`to_json`](Self::to_json), for a model whose descriptions have so many values; the text is not trusted.
    pub(crate) fn from_json(text: &str, dimensions: usize) -> Result<Self, String> {
        let stored: Stored = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let bytes = BASE64_STANDARD.decode(&stored.exemplars).map_err(|error| error.to_string())?;
        let exemplars: Vec<f32> = bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&[low, high]| f32::from_le_bytes([0, 0, low, high]))
            .collect();
        let rows = exemplars.len() / dimensions.max(1);
        let is_whole = stored.dimensions == dimensions && 2 * rows * dimensions == bytes.len();
        if !is_whole || !(1..=rows).contains(&stored.neighbors) {
            return Err(format!("{} bytes of exemplars do not fit {dimensions} features", bytes.len()));
        }
        if !stored.threshold.is_finite() || exemplars.iter().any(|value| !value.is_finite()) {
            return Err("it holds numbers that are not finite".into());
        }
        Ok(Self::new(dimensions, exemplars, stored.neighbors, stored.threshold))
    }
}

/// Cosines of so many descriptions with the exemplars.
fn product(images: usize, dimensions: usize, exemplars: &[f32]) -> Dense {
    let outputs = exemplars.len() / dimensions.max(1);
    Dense { batch: images, inputs: dimensions, outputs, activation: Activation::Identity }
}

/// Each row divided by its length; a row of zeros stays.
fn unit_rows(values: &[f32], columns: usize) -> Vec<f32> {
    let mut rows = values.to_vec();
    for row in rows.chunks_exact_mut(columns.max(1)) {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|value| *value /= length);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_that_of_the_neighbor_that_counts() {
        // Exemplars along x, y and −x; the image lies along x: distances 0, √2 and 2.
        let exemplars = vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
        for (neighbors, expected) in [(1, 0.0), (2, 2f64.sqrt()), (3, 2.0)] {
            let found = Familiarity::new(2, exemplars.clone(), neighbors, 1.0).distances(&[7.0, 0.0]);
            assert!((found[0] - expected).abs() < 1e-6, "{neighbors}: {found:?}");
        }
        // No direction at all is as far from everything.
        let nowhere = Familiarity::new(2, exemplars, 1, 1.0).distances(&[0.0, 0.0]);
        assert!((nowhere[0] - 2f64.sqrt()).abs() < 1e-6);
    }

    #[derive(Deserialize)]
    struct Case {
        dimensions: usize,
        neighbors: usize,
        exemplars: Vec<f32>,
        features: Vec<f32>,
        distances: Vec<f64>,
        threshold: f64,
    }

    #[test]
    fn distances_and_threshold_are_those_of_scikit_learn_and_numpy() {
        let case: Case = serde_json::from_str(include_str!("../tests/vectors/familiarity.json")).unwrap();
        let exemplars = unit_rows(&case.exemplars, case.dimensions);
        let familiarity = Familiarity::new(case.dimensions, exemplars, case.neighbors, 0.0);
        let found = familiarity.distances(&case.features);
        for (ours, theirs) in found.iter().zip(&case.distances) {
            assert!((ours - theirs).abs() < 1e-5, "{ours}, scikit-learn {theirs}");
        }
        assert_eq!(found.len(), case.distances.len());
        assert!((accepting_threshold(&found) - case.threshold).abs() < 1e-5);
    }

    #[test]
    fn what_is_stored_reads_back_to_the_bit_and_lies_are_refused() {
        let exemplars: Vec<f32> = [0.1, -0.7, 0.333, 0.5].map(rounded).to_vec();
        let stored = Familiarity::new(2, exemplars, 1, 0.25).to_json();
        let again = Familiarity::from_json(&stored, 2).unwrap();
        assert_eq!(again.to_json(), stored);
        assert!(Familiarity::from_json(&stored, 3).is_err());
        for (from, to) in [
            ("\"neighbors\":1", "\"neighbors\":9"),
            ("\"neighbors\":1", "\"neighbors\":0"),
            ("\"threshold\":0.25", "\"threshold\":1e999"),
            ("\"exemplars\":\"", "\"exemplars\":\"AAAA"),
            ("\"exemplars\":\"", "\"exemplars\":\"?"),
        ] {
            assert!(stored.contains(from), "{stored}");
            assert!(Familiarity::from_json(&stored.replace(from, to), 2).is_err(), "{to}");
        }
        assert!(Familiarity::from_json("{}", 2).is_err());
    }

    #[test]
    fn rounding_is_to_the_nearest() {
        assert_eq!(rounded(1.0), 1.0);
        assert_eq!(rounded(1.003), 1.0);
        assert_eq!(rounded(1.005), 1.0078125);
    }
}
