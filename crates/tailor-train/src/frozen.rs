//! What the frozen layers that a network begins with make of images: they only infer, and of images that stay the same they
//! need do so only once.

use tailor_data::batch::{Batch, BatchPlan, batches};
use tailor_data::{Dataset, memory};
use tailor_nn::{Network, Prefix};

use crate::data::RunData;
use crate::{Error, Result, inference};

/// The frozen beginning of a network, for as long as it stays frozen.
pub(crate) struct Frozen {
    prefix: Prefix,
    kept: Option<Features>,
}

/// Of all images, in their order.
struct Features {
    train: Vec<f32>,
    validation: Vec<f32>,
}

/// Of the free memory, this share may be filled with features.
const MEMORY_SHARE: f64 = 0.5;

/// Is told how many images are done, and how many there are; false stops the work.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(usize, usize) -> bool;

impl Frozen {
    /// Of a network for training, if it begins with frozen layers.
    pub fn of(network: &Network) -> Option<Self> {
        network.frozen_prefix().map(|prefix| Frozen { prefix, kept: None })
    }

    /// Computes the features of all training and validation images, to be used from now on; none if the watch stopped it.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] if they would fill the memory.
    pub fn keep(self, data: &RunData, watch: Watch) -> Result<Option<Self>> {
        let RunData { train, validation, .. } = data;
        let images = train.len() + validation.len();
        let bytes = 4.0 * images as f64 * self.prefix.features_per_image() as f64;
        if memory::free().is_some_and(|free| bytes > MEMORY_SHARE * free as f64) {
            return Err(Error::Unsuitable(format!(
                "the features of {images} images take {:.1} GB, more than half of the free memory; leave \
                 train.cache-features out, or let the frozen layers end in \"global-average-pool\"",
                bytes / 1e9
            )));
        }
        let mut done = 0;
        let mut of_part = |part: &Dataset| -> Option<Vec<f32>> {
            let mut features = Vec::with_capacity(part.len() * self.prefix.features_per_image());
            for batch in batches(
                part,
                &data.normalization,
                None,
                &BatchPlan::in_order(inference::batch_size(part.shape())),
            ) {
                features.extend(self.prefix.features(&batch.images));
                done += batch.len();
                if !watch(done, images) {
                    return None;
                }
            }
            Some(features)
        };
        let (Some(train), Some(validation)) = (of_part(train), of_part(validation)) else { return Ok(None) };
        Ok(Some(Frozen { kept: Some(Features { train, validation }), ..self }))
    }

    /// The frozen layers.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// What the trained layers get of a batch of training images.
    pub fn of_batch(&self, batch: &Batch) -> Vec<f32> {
        match &self.kept {
            None => self.prefix.features(&batch.images),
            Some(Features { train, .. }) => {
                let length = self.prefix.features_per_image();
                batch.indices.iter().flat_map(|&i| &train[i * length..][..length]).copied().collect()
            }
        }
    }

    /// Logits `[N, K]` of all validation images, if their features are kept.
    pub fn validation_logits(&self, network: &Network) -> Option<Vec<f32>> {
        let Features { validation, .. } = self.kept.as_ref()?;
        Some(network.predictor_after(&self.prefix).logits(validation))
    }
}
