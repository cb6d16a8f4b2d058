//! Softmax cross-entropy, with label smoothing and soft targets.

use burn::tensor::{Device, Tensor, TensorData, activation::log_softmax};

use crate::ops::{self, on_kernels};

/// What a network should say of the images of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// `[N]`
    pub labels: &'a [u16],
    /// Of mixed images.
    pub partners: Option<Partners<'a>>,
    /// K
    pub classes: usize,
    /// Probability mass that is spread evenly over all classes (Szegedy et al. 2016, section 7).
    pub smoothing: f64,
    /// What each class counts, `[K]`.
    pub class_weights: Option<&'a [f32]>,
}

/// What images were mixed with (Zhang et al. 2018, Yun et al. 2019).
#[derive(Clone, Copy, Debug)]
pub struct Partners<'a> {
    /// `[N]`
    pub labels: &'a [u16],
    /// The share of each image that is its own, `[N]`.
    pub own: &'a [f32],
}

impl Targets<'_> {
    /// As distributions over the classes, `[N, K]`.
    ///
    /// With class weights each class's entry is multiplied by its weight, and all are divided by the mean weight of the
    /// labels: [`cross_entropy`] is then a weighted mean, as PyTorch's `CrossEntropyLoss(weight, label_smoothing)`.
    ///
    /// # Panics
    /// If a label is not below K, or a slice has another length than the labels.
    pub fn tensor(&self, device: &Device) -> Tensor<2> {
        let Targets { labels, classes, smoothing, .. } = *self;
        let rest = (smoothing / classes as f64) as f32;
        let mut targets = vec![rest; labels.len() * classes];
        let mut give = |image: usize, label: u16, share: f64| {
            targets[image * classes..][..classes][usize::from(label)] += ((1.0 - smoothing) * share) as f32;
        };
        match self.partners {
            None => labels.iter().enumerate().for_each(|(image, &label)| give(image, label, 1.0)),
            Some(partners) => {
                assert_eq!([partners.labels.len(), partners.own.len()], [labels.len(); 2]);
                for (image, (&label, &own)) in labels.iter().zip(partners.own).enumerate() {
                    give(image, label, f64::from(own));
                    give(image, partners.labels[image], 1.0 - f64::from(own));
                }
            }
        }
        if let Some(weights) = self.class_weights {
            let factor = 1.0 / self.mean_weight(weights);
            for row in targets.chunks_exact_mut(classes) {
                row.iter_mut().zip(weights).for_each(|(target, weight)| *target *= weight * factor);
            }
        }
        Tensor::from_data(TensorData::new(targets, [labels.len(), classes]), device)
    }

    /// Of the labels, a mixed image counting for both of its own.
    fn mean_weight(&self, weights: &[f32]) -> f32 {
        let weight = |label: u16| f64::from(weights[usize::from(label)]);
        let sum: f64 = match self.partners {
            None => self.labels.iter().map(|&label| weight(label)).sum(),
            Some(Partners { labels, own }) => (self.labels.iter().zip(labels).zip(own))
                .map(|((&label, &partner), &own)| {
                    f64::from(own) * weight(label) + (1.0 - f64::from(own)) * weight(partner)
                })
                .sum(),
        };
        (sum / self.labels.len() as f64) as f32
    }
}

/// Mean over the batch of −Σ target · ln softmax(logits), in nats; both are `[N, K]`.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    if on_kernels(&logits.device()) {
        return ops::cross_entropy(logits, targets);
    }
    let [images, _] = logits.dims();
    (targets * log_softmax(logits, 1)).sum().div_scalar(-(images as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(labels: &[u16], classes: usize, smoothing: f64) -> Tensor<2> {
        plain(labels, classes, smoothing).tensor(&Device::flex())
    }

    fn plain(labels: &[u16], classes: usize, smoothing: f64) -> Targets<'_> {
        Targets { labels, partners: None, classes, smoothing, class_weights: None }
    }

    #[test]
    fn the_loss_is_what_a_hand_computes() {
        let device = Device::flex();
        // softmax(0, ln 3) = (1/4, 3/4)
        let logits = Tensor::<2>::from_floats([[0.0, 3f32.ln()], [0.0, 3f32.ln()]], &device);
        let plain = cross_entropy(logits.clone(), targets(&[1, 0], 2, 0.0));
        let expected = (-(0.75f32.ln()) - 0.25f32.ln()) / 2.0;
        assert!((plain.into_scalar::<f32>() - expected).abs() < 1e-6);

        // Smoothing by 0.2 over two classes: targets (0.1, 0.9).
        let smoothed = cross_entropy(logits.narrow(0, 0, 1), targets(&[1], 2, 0.2));
        let expected = -(0.1 * 0.25f32.ln() + 0.9 * 0.75f32.ln());
        assert!((smoothed.into_scalar::<f32>() - expected).abs() < 1e-6);
    }

    #[test]
    fn class_weights_make_a_weighted_mean_as_in_pytorch() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0], [2.0, 2.0, 2.0]], &device);
        let weights = [0.5, 1.0, 4.0];
        // CrossEntropyLoss(weight=tensor([.5, 1., 4.]), label_smoothing=s)(logits, tensor([1, 0, 2]))
        for (smoothing, expected) in [(0.0, 1.1621381), (0.1, 1.172_947)] {
            let targets = Targets { class_weights: Some(&weights), ..plain(&[1, 0, 2], 3, smoothing) };
            for cross_entropy in [cross_entropy, with_burns_operations] {
                let loss = cross_entropy(logits.clone(), targets.tensor(&device)).into_scalar::<f32>();
                assert!((loss - expected).abs() < 1e-6, "{loss}, but PyTorch {expected}");
            }
        }
    }

    fn with_burns_operations(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
        crate::with_burn_operations(|| cross_entropy(logits, targets))
    }

    #[test]
    fn mixed_images_have_both_labels() {
        let partners = Partners { labels: &[2, 1], own: &[0.75, 1.0] };
        let mixed = Targets { partners: Some(partners), ..plain(&[0, 1], 3, 0.3) };
        // 0.3 / 3 everywhere, and 0.7 of the shares.
        let expected = [0.1 + 0.7 * 0.75, 0.1, 0.1 + 0.7 * 0.25, 0.1, 0.8, 0.1];
        let values = crate::host_values(mixed.tensor(&Device::flex()));
        assert!(values.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{values:?}");

        // Weights 2, 1, 4: the mean is (¾ · 2 + ¼ · 4 + 1) / 2 = 7/4.
        let weighted = Targets { class_weights: Some(&[2.0, 1.0, 4.0]), ..mixed };
        let values = crate::host_values(weighted.tensor(&Device::flex()));
        let expected = expected.iter().zip([2.0, 1.0, 4.0, 2.0, 1.0, 4.0]).map(|(e, w)| e * w * 4.0 / 7.0);
        assert!(values.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{values:?}");
    }

    #[test]
    fn huge_logits_stay_finite() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[1e4, -1e4, 0.0]], &device);
        let loss = cross_entropy(logits, targets(&[1], 3, 0.0)).into_scalar::<f32>();
        assert!((loss - 2e4).abs() < 1.0, "{loss}");
    }
}
