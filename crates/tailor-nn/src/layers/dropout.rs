//! Inverted dropout (Srivastava et al. 2014) whose masks depend on nothing but a seed.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use super::Pass;
use crate::ops::{dropout, on_kernels};
use tailor_kernels::dropout::Dropout as Mask;

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
        let mask = match pass {
            Pass::Training { seed, step } if self.rate > 0.0 => {
                Mask::new(self.rate as f32, seed, step, self.position as u64)
            }
            _ => return x,
        };
        if on_kernels(&x.device()) {
            return dropout(x, mask);
        }
        // The kernel draws the mask on the host: every device drops the same values.
        let shape = x.dims();
        let mut factors = vec![0.0; shape.iter().product()];
        mask.forward(&vec![1.0; factors.len()], &mut factors);
        x.clone() * Tensor::from_data(TensorData::new(factors, shape), &x.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::host_values;
    use burn::tensor::Device;

    /// What is left of ones on the CPU.
    fn masked(position: usize, step: u64) -> Vec<f32> {
        let ones = Tensor::<1>::ones([10_000], &Device::flex());
        let layer = Dropout::new(0.3, position);
        host_values(layer.forward(ones, Pass::Training { seed: 7, step }))
    }

    #[test]
    fn steps_and_layers_draw_different_masks_and_the_same_step_the_same() {
        assert_eq!(masked(1, 1), masked(1, 1));
        assert_ne!(masked(1, 1), masked(1, 2));
        assert_ne!(masked(1, 1), masked(2, 1));
        let kept = masked(1, 1).iter().filter(|&&value| value == 1.0 / 0.7).count();
        // The deviation of the share is √(.3 · .7 / 10,000) = 0.0046; five of them are 0.023.
        assert!((kept as f64 / 1e4 - 0.7).abs() < 0.023, "{kept}");
    }

    #[test]
    fn inference_drops_nothing() {
        let ones = Tensor::<1>::ones([10], &Device::flex());
        assert_eq!(host_values(Dropout::new(0.9, 0).forward(ones, Pass::Inference)), [1.0; 10]);
    }
}
