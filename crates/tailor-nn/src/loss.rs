//! Softmax cross-entropy, with label smoothing and soft targets.

use burn::tensor::{Device, Tensor, TensorData, activation::log_softmax};

use crate::ops::{self, on_kernels};

/// Targets as distributions over the classes, `[N, K]`: `1 − smoothing` on the label, and `smoothing` spread
/// evenly over all K classes (Szegedy et al. 2016, section 7; PyTorch's `label_smoothing`).
///
/// # Panics
/// If a label is not below `classes`.
pub fn smoothed_targets(labels: &[u16], classes: usize, smoothing: f64, device: &Device) -> Tensor<2> {
    let rest = (smoothing / classes as f64) as f32;
    let mut targets = vec![rest; labels.len() * classes];
    for (row, &label) in targets.chunks_exact_mut(classes).zip(labels) {
        row[usize::from(label)] += (1.0 - smoothing) as f32;
    }
    Tensor::from_data(TensorData::new(targets, [labels.len(), classes]), device)
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

    #[test]
    fn the_loss_is_what_a_hand_computes() {
        let device = Device::flex();
        // softmax(0, ln 3) = (1/4, 3/4)
        let logits = Tensor::<2>::from_floats([[0.0, 3f32.ln()], [0.0, 3f32.ln()]], &device);
        let plain = cross_entropy(logits.clone(), smoothed_targets(&[1, 0], 2, 0.0, &device));
        let expected = (-(0.75f32.ln()) - 0.25f32.ln()) / 2.0;
        assert!((plain.into_scalar::<f32>() - expected).abs() < 1e-6);

        // Smoothing by 0.2 over two classes: targets (0.1, 0.9).
        let smoothed = cross_entropy(logits.narrow(0, 0, 1), smoothed_targets(&[1], 2, 0.2, &device));
        let expected = -(0.1 * 0.25f32.ln() + 0.9 * 0.75f32.ln());
        assert!((smoothed.into_scalar::<f32>() - expected).abs() < 1e-6);
    }

    #[test]
    fn huge_logits_stay_finite() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[1e4, -1e4, 0.0]], &device);
        let loss = cross_entropy(logits, smoothed_targets(&[1], 3, 0.0, &device)).into_scalar::<f32>();
        assert!((loss - 2e4).abs() < 1.0, "{loss}");
    }
}
