//! Class activation maps from gradients, over the feature maps `A` `[H, W, C]` of a layer. `g` is the gradient of the
//! class's logit with respect to them.

use crate::Heat;

/// `ReLU(Σ_c w_c · A_c)`, `w_c` being the mean of `g_c` (Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2).
///
/// # Panics
/// If either does not fill `[height, width, channels]`.
pub fn grad_cam(activations: &[f32], gradients: &[f32], [height, width, channels]: [usize; 3]) -> Heat {
    check(activations, gradients, [height, width, channels]);
    let mut weights = vec![0.0; channels];
    for pixel in gradients.chunks_exact(channels) {
        weights.iter_mut().zip(pixel).for_each(|(weight, gradient)| *weight += gradient);
    }
    weights.iter_mut().for_each(|weight| *weight /= (height * width) as f32);
    weighted(activations, &weights, [height, width])
}

/// As [`grad_cam`], with `w_c = Σ α · ReLU(g)` over pixels, where `α = g² / (2 g² + g³ Σ A_c)` (Chattopadhay et al. 2018,
/// arXiv:1710.11063, equations 15 and 19, for the class's score `exp(logit)`, whose derivatives are powers of `g`).
///
/// Only rising gradients count, and for them α is `1 / (2 + g Σ A_c)`. The derivation is for activations that are not
/// negative; a sum below zero, as tanh may give, counts as zero.
///
/// # Panics
/// As [`grad_cam`].
pub fn grad_cam_plus_plus(
    activations: &[f32],
    gradients: &[f32],
    [height, width, channels]: [usize; 3],
) -> Heat {
    check(activations, gradients, [height, width, channels]);
    let mut sums = vec![0.0f32; channels];
    for pixel in activations.chunks_exact(channels) {
        sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
    }
    let mut weights = vec![0.0; channels];
    for pixel in gradients.chunks_exact(channels) {
        for ((weight, &gradient), sum) in weights.iter_mut().zip(pixel).zip(&sums) {
            if gradient > 0.0 {
                *weight += gradient / (2.0 + gradient * sum.max(0.0));
            }
        }
    }
    weighted(activations, &weights, [height, width])
}

/// The rectified sum over channels.
fn weighted(activations: &[f32], weights: &[f32], [height, width]: [usize; 2]) -> Heat {
    let at = |pixel: &[f32]| pixel.iter().zip(weights).map(|(a, w)| a * w).sum::<f32>().max(0.0);
    Heat::new(height, width, activations.chunks_exact(weights.len()).map(at).collect())
}

fn check(activations: &[f32], gradients: &[f32], shape: [usize; 3]) {
    let len: usize = shape.iter().product();
    assert!(activations.len() == len && gradients.len() == len, "one image's values fill {shape:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Two pixels, two channels: A = (1, 2), (3, 4); g = (1, −1), (3, −3): w = (2, −2).
        let (a, g) = ([1.0, 2.0, 3.0, 4.0], [1.0, -1.0, 3.0, -3.0]);
        // 1·2 − 2·2 = −2 is cut off, and so is 3·2 − 4·2.
        assert_eq!(grad_cam(&a, &g, [1, 2, 2]).values(), [0.0, 0.0]);
        let falling = [-1.0, 1.0, -3.0, 3.0];
        assert_eq!(grad_cam(&a, &falling, [1, 2, 2]).values(), [2.0, 2.0]);
        // Only the first channel rises; Σ A = 4: w = 1 / (2 + 4) + 3 / (2 + 12).
        let weight = 1.0 / 6.0 + 3.0 / 14.0;
        let heat = grad_cam_plus_plus(&a, &g, [1, 2, 2]);
        assert!((heat.values()[0] - weight).abs() < 1e-6 && (heat.values()[1] - 3.0 * weight).abs() < 1e-6);
    }

    #[test]
    fn activations_below_zero_do_no_harm() {
        // Σ A = −2 would make α infinite.
        let heat = grad_cam_plus_plus(&[-3.0, 1.0], &[1.0, 1.0], [1, 2, 1]);
        assert_eq!(heat.values(), [0.0, 1.0]);
    }
}
