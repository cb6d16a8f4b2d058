//! Inverted dropout (Srivastava et al. 2014) whose masks depend on nothing but a seed.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use super::Pass;

/// In training, sets each value to zero with probability `rate` and divides the others by `1 − rate`.
#[derive(Module, Debug)]
pub struct Dropout {
    rate: f64,
    /// Where the layer stands in its network, so that two layers draw different masks.
    position: usize,
}

impl Dropout {
    pub(super) fn new(rate: f64, position: usize) -> Self {
        Dropout { rate, position }
    }

    /// Any shape to the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, pass: Pass) -> Tensor<D> {
        match pass {
            Pass::Training { seed } if self.rate > 0.0 => {
                let mask = self.mask(seed, x.dims().iter().product());
                let mask = Tensor::from_data(TensorData::new(mask, x.dims()), &x.device());
                x * mask
            }
            _ => x,
        }
    }

    /// 0 or `1 / (1 − rate)` for each value, drawn from a counter: value `i` does not depend on the others.
    fn mask(&self, seed: u64, length: usize) -> Vec<f32> {
        let key = mix(seed ^ mix(self.position as u64));
        let keep = (1.0 / (1.0 - self.rate)) as f32;
        // Compares 32 random bits with rate · 2³².
        let threshold = (self.rate * (1u64 << 32) as f64) as u32;
        let kept = |bits: u32| if bits >= threshold { keep } else { 0.0 };
        let mut mask = Vec::with_capacity(length + 1);
        for counter in 0..length.div_ceil(2) as u64 {
            let bits = mix(key.wrapping_add(counter.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            mask.extend([kept(bits as u32), kept((bits >> 32) as u32)]);
        }
        mask.truncate(length);
        mask
    }
}

/// The finalizer of SplitMix64 (Steele, Lea & Flood 2014; Vigna's `splitmix64.c`).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_the_expected_share_and_the_expected_value() {
        let rate = 0.3;
        let mask = Dropout::new(rate, 4).mask(7, 100_001);
        assert_eq!(mask.len(), 100_001);
        let dropped = mask.iter().filter(|&&m| m == 0.0).count() as f64 / mask.len() as f64;
        // The deviation of the share is √(.3 · .7 / 100,001) = 0.0015; five of them are 0.0073.
        assert!((dropped - rate).abs() < 0.0073, "{dropped}");
        assert!(mask.iter().all(|&m| m == 0.0 || m == (1.0 / 0.7) as f32));
    }

    #[test]
    fn steps_and_layers_draw_different_masks_and_the_same_seed_the_same() {
        let first = Dropout::new(0.5, 1);
        assert_eq!(first.mask(1, 1000), first.mask(1, 1000));
        assert_ne!(first.mask(1, 1000), first.mask(2, 1000));
        assert_ne!(first.mask(1, 1000), Dropout::new(0.5, 2).mask(1, 1000));
    }
}
