//! What a trained model says about images, batch by batch.

use std::time::Instant;

use tailor_baseline::Baseline;
use tailor_data::batch::{Batch, BatchPlan, batches};
use tailor_data::{Dataset, ImageShape, Normalization, Views};
use tailor_eval::{Predictions, Timing};
use tailor_nn::Predictor;

use crate::Result;
use crate::model_file::{Classifier, Model};

/// Small images a batch: enough to keep every core busy.
pub const BATCH_SIZE: usize = 500;

/// Values of a batch of large images, 64 MB: several batches are in memory at a time.
const BATCH_VALUES: usize = 1 << 24;

/// How many images of a shape are best taken at a time.
pub fn batch_size(shape: ImageShape) -> usize {
    (BATCH_VALUES / shape.len()).clamp(1, BATCH_SIZE)
}

/// Logits `[N, K]` of all images of a data set, in order: weighted means over the views of each image.
pub fn logits(
    predictor: &Predictor,
    dataset: &Dataset,
    normalization: &Normalization,
    views: Views,
) -> Vec<f32> {
    let plan = BatchPlan::in_order(batch_size(dataset.shape()));
    let mut logits = Vec::with_capacity(dataset.len() * dataset.classes());
    for Batch { images, .. } in batches(dataset, normalization, None, &plan) {
        logits.extend(logits_of_views(predictor, &images, dataset.shape(), views));
    }
    logits
}

/// Weighted means of the logits of several views of normalized images `[N, H, W, C]`. Each view costs as much as the
/// images by themselves.
fn logits_of_views(predictor: &Predictor, images: &[f32], shape: ImageShape, views: Views) -> Vec<f32> {
    if views == Views::None {
        return predictor.logits(images);
    }
    let mut mean: Vec<f32> = Vec::new();
    for view in views.list() {
        let logits = predictor.logits(&view.of(images, shape));
        mean.resize(logits.len(), 0.0);
        mean.iter_mut().zip(logits).for_each(|(sum, logit)| *sum += view.weight * logit);
    }
    mean
}

/// As [`logits`], of a baseline.
pub fn baseline_logits(baseline: &Baseline, dataset: &Dataset) -> Vec<f32> {
    baseline.logits(&dataset.pixels(0..dataset.len()))
}

impl Model {
    /// Logits `[N, K]` of images `[N, H, W, C]`, from the model's views of them; a baseline has one.
    pub fn logits(&self, pixels: &[u8]) -> Vec<f32> {
        match &self.classifier {
            Classifier::Network(predictor) => {
                let mut values = vec![0.0; pixels.len()];
                self.info.normalization.apply(pixels, &mut values);
                logits_of_views(predictor, &values, self.info.shape, self.views)
            }
            Classifier::Baseline(baseline) => baseline.logits(pixels),
        }
    }

    /// Logits `[N, K]` of all images of a data set, from the model's views of them, and how long they took.
    pub fn logits_of(&self, dataset: &Dataset) -> (Vec<f32>, Timing) {
        let start = Instant::now();
        let logits = match &self.classifier {
            Classifier::Network(predictor) => {
                logits(predictor, dataset, &self.info.normalization, self.views)
            }
            Classifier::Baseline(baseline) => baseline_logits(baseline, dataset),
        };
        (logits, Timing { images: dataset.len(), seconds: start.elapsed().as_secs_f64() })
    }

    /// The model's own description `[N, F]` of all images of a data set: what a network's last layer gets, or a baseline's
    /// features.
    pub fn features_of(&self, dataset: &Dataset) -> Vec<f32> {
        let indices: Vec<usize> = (0..dataset.len()).collect();
        let batch = |batch: &[usize]| self.features(&dataset.pixels(batch.iter().copied()));
        indices.chunks(batch_size(dataset.shape())).flat_map(batch).collect()
    }

    /// As [`features_of`](Self::features_of), of images `[N, H, W, C]`.
    pub fn features(&self, pixels: &[u8]) -> Vec<f32> {
        match &self.classifier {
            Classifier::Network(predictor) => {
                let mut values = vec![0.0; pixels.len()];
                self.info.normalization.apply(pixels, &mut values);
                predictor.features(&values)
            }
            Classifier::Baseline(baseline) => baseline.features().of(pixels).values().to_vec(),
        }
    }

    /// How far images `[N, H, W, C]` are from what the model knows, if it can tell.
    pub fn distances(&self, pixels: &[u8]) -> Option<Vec<f64>> {
        Some(self.familiarity.as_ref()?.distances(&self.features(pixels)))
    }

    /// What logits `[N, K]` of images with these labels say: with the temperature, if the model has one.
    ///
    /// # Errors
    /// Those of [`Predictions::from_logits`].
    pub fn predictions(&self, labels: Vec<usize>, logits: &[f32]) -> Result<Predictions> {
        let temperature = self.confidence.map_or(1.0, |confidence| confidence.temperature);
        Ok(Predictions::from_scaled_logits(self.info.class_names.clone(), labels, logits, temperature)?)
    }
}

/// The labels of all images, `[N]`.
pub fn labels(dataset: &Dataset) -> Vec<usize> {
    (0..dataset.len()).map(|i| dataset.label(i)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailor_nn::architecture::{Activation, Architecture, LayerSpec};
    use tailor_nn::{Device, Network, Shape};

    #[test]
    fn logits_are_the_weighted_means_over_the_views() {
        let shape = ImageShape::new(2, 3, 1);
        let layers = vec![LayerSpec::Dense { units: 4, activation: Activation::Tanh }];
        let input = Shape::Image { height: 2, width: 3, channels: 1 };
        let network = Network::new(&Architecture::new(layers), input, 2, 1, &Device::flex()).unwrap();
        let predictor = network.predictor();
        let (image, mirrored) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        let [plain, turned] = [image, mirrored].map(|pixels| predictor.logits(&pixels));
        assert_eq!(logits_of_views(&predictor, &image, shape, Views::None), plain);
        let flipped = logits_of_views(&predictor, &image, shape, Views::Flip);
        for class in 0..2 {
            assert!((flipped[class] - (plain[class] + turned[class]) / 2.0).abs() < 1e-6, "{flipped:?}");
        }
        assert!((plain[0] - turned[0]).abs() > 1e-3, "the mirror image looks the same");
    }
}
