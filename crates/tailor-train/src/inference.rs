//! What a trained model says about images, batch by batch.

use std::time::Instant;

use tailor_baseline::Baseline;
use tailor_data::batch::{Batch, BatchPlan, batches};
use tailor_data::{Dataset, Normalization};
use tailor_eval::{Predictions, Timing};
use tailor_nn::Predictor;

use crate::Result;
use crate::model_file::{Classifier, Model};

/// Images a batch: large enough to keep every core busy, small enough for any machine.
pub const BATCH_SIZE: usize = 500;

/// Logits `[N, K]` of all images of a data set, in order.
pub fn logits(predictor: &Predictor, dataset: &Dataset, normalization: &Normalization) -> Vec<f32> {
    let plan = BatchPlan::in_order(BATCH_SIZE);
    let mut logits = Vec::with_capacity(dataset.len() * dataset.classes());
    for Batch { images, .. } in batches(dataset, normalization, None, &plan) {
        logits.extend(predictor.logits(&images));
    }
    logits
}

/// As [`logits`], of a baseline.
pub fn baseline_logits(baseline: &Baseline, dataset: &Dataset) -> Vec<f32> {
    let pixels: Vec<u8> = (0..dataset.len()).flat_map(|i| dataset.image(i)).copied().collect();
    baseline.logits(&pixels)
}

impl Model {
    /// Logits `[N, K]` of images `[N, H, W, C]`.
    pub fn logits(&self, pixels: &[u8]) -> Vec<f32> {
        match &self.classifier {
            Classifier::Network(predictor) => {
                let mut values = vec![0.0; pixels.len()];
                self.info.normalization.apply(pixels, &mut values);
                predictor.logits(&values)
            }
            Classifier::Baseline(baseline) => baseline.logits(pixels),
        }
    }

    /// The model's predictions on a labeled data set, and how long they took.
    ///
    /// # Errors
    /// Those of [`Predictions::from_logits`].
    pub fn predict(&self, dataset: &Dataset) -> Result<(Predictions, Timing)> {
        let start = Instant::now();
        let logits = match &self.classifier {
            Classifier::Network(predictor) => logits(predictor, dataset, &self.info.normalization),
            Classifier::Baseline(baseline) => baseline_logits(baseline, dataset),
        };
        let timing = Timing { images: dataset.len(), seconds: start.elapsed().as_secs_f64() };
        let labels = (0..dataset.len()).map(|i| dataset.label(i)).collect();
        Ok((Predictions::from_logits(self.info.class_names.clone(), labels, &logits)?, timing))
    }
}
