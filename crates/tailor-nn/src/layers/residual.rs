//! A branch beside its shortcut (He et al. 2016), left out now and then (Huang et al. 2016).

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use tailor_kernels::dropout::Dropout as Mask;

use super::sequence::{self, Step};
use super::{Activations, Builder, Fused, Layer, Pass, Sequence, activate, stage};
use crate::architecture::{Activation, PlannedLayer};
use crate::ops::{add, on_kernels};

/// `activation(body(x) + shortcut(x))`
#[derive(Module, Debug)]
pub struct Residual {
    pub(crate) body: Sequence,
    /// Without layers it is the input itself.
    pub(crate) shortcut: Sequence,
    #[module(skip)]
    pub(crate) activation: Activation,
    pub(crate) drop_rate: f64,
    /// Where the block stands in its network, so that two blocks draw different masks.
    position: usize,
}

impl Residual {
    pub(super) fn new(
        [body, shortcut]: [&[PlannedLayer]; 2],
        activation: Activation,
        drop_rate: f64,
        builder: &mut Builder,
    ) -> Self {
        let position = builder.position();
        let [body, shortcut] = [body, shortcut].map(|plan| Sequence::new(plan, builder));
        Residual { body, shortcut, activation, drop_rate, position }
    }

    /// Any shape to the shape in which both branches end.
    pub fn forward(&self, x: Activations, pass: Pass) -> Activations {
        let shortcut = self.shortcut.forward(x.clone(), pass);
        self.join(sequence::forward(self.before_sum(pass), x, pass), shortcut, pass)
    }

    /// The body up to where it meets the shortcut: its last pass over images takes in the sum and the activation, if it ends in a
    /// convolution and a norm.
    pub(crate) fn before_sum(&self, pass: Pass) -> &[Layer] {
        self.ending(pass).map_or(&self.body.layers, |(before, _)| before)
    }

    /// The sum of the shortcut and of what [`Residual::before_sum`] gives.
    pub(crate) fn join(&self, body: Activations, shortcut: Activations, pass: Pass) -> Activations {
        use Activations::{Features, Image, Tokens};
        match (self.ending(pass), body, shortcut) {
            (Some((_, Step::Stages(stages))), Image(body), Image(shortcut)) => {
                Image(stage::forward(body, &stages, Some((shortcut, self.activation))))
            }
            (
                Some((_, Step::Fused(Fused::Conv { conv, norm: Some(norm), .. }))),
                Image(body),
                Image(shortcut),
            ) => Image(conv.forward_added(body, norm, Some(shortcut), self.activation, pass)),
            (None, Image(body), Image(shortcut)) => Image(self.sum(shortcut, body, pass)),
            (None, Tokens(body), Tokens(shortcut)) => Tokens(self.sum(shortcut, body, pass)),
            (None, Features(body), Features(shortcut)) => Features(self.sum(shortcut, body, pass)),
            _ => unreachable!("a plan's branches end in the same shape"),
        }
    }

    /// What the branch of each image is multiplied by in training, if it may be left out.
    fn factors(&self, images: usize, pass: Pass) -> Option<Vec<f32>> {
        match pass {
            Pass::Training { seed, step } if self.drop_rate > 0.0 => {
                let mask = Mask::new(self.drop_rate as f32, seed, step, self.position as u64);
                let mut factors = vec![0.0; images];
                mask.forward(&vec![1.0; images], &mut factors);
                Some(factors)
            }
            _ => None,
        }
    }

    /// The last pass over images, if the body ends in a convolution and a batch norm without activation, behind what stands before
    /// it; none where images' bodies are scaled, which no norm does.
    fn ending(&self, pass: Pass) -> Option<(&[Layer], Step<'_>)> {
        let layers = &self.body.layers;
        match layers.as_slice() {
            [.., Layer::Conv(_), Layer::BatchNorm(norm)]
                if norm.activation == Activation::None && self.drop_rate == 0.0 =>
            {
                sequence::steps(layers, pass).last().map(|(last, step)| (&layers[..last.start], step))
            }
            _ => None,
        }
    }

    fn sum<const D: usize>(&self, shortcut: Tensor<D>, body: Tensor<D>, pass: Pass) -> Tensor<D> {
        let device = body.device();
        let factors = self.factors(body.dims()[0], pass);
        if on_kernels(&device) && self.activation.kernel().derives_from_output() {
            return add(shortcut, body, factors, self.activation.kernel());
        }
        let body = match factors {
            Some(factors) => {
                let mut shape = [1; D];
                shape[0] = factors.len();
                body * Tensor::from_data(TensorData::new(factors, shape), &device)
            }
            None => body,
        };
        activate(shortcut + body, self.activation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, LayerSpec};
    use crate::{Device, Network, Shape, host_values};

    #[test]
    fn a_dropped_body_leaves_the_shortcut_and_a_kept_one_is_scaled_up() {
        // The body triples nothing: dropout 0 is the identity, so that the sum is x + factor · x.
        let block = LayerSpec::Residual {
            body: vec![LayerSpec::Dropout { rate: 0.0 }],
            shortcut: Vec::new(),
            activation: Activation::None,
            drop_rate: 0.5,
        };
        let shape = Shape::Image { height: 1, width: 1, channels: 1 };
        let network = Network::new(&Architecture::new(vec![block]), shape, 2, 1, &Device::flex()).unwrap();
        let Layer::Residual(residual) = &network.layers.layers[0] else { panic!("a residual block") };
        let ones = Tensor::<4>::ones([1000, 1, 1, 1], &Device::flex());
        let Activations::Image(y) =
            residual.forward(Activations::Image(ones.clone()), Pass::Training { seed: 1, step: 0 })
        else {
            panic!("an image")
        };
        let values = host_values(y);
        // Kept: 1 + 1 / (1 − 0.5) = 3.
        assert!(values.iter().all(|&value| value == 1.0 || value == 3.0));
        let kept = values.iter().filter(|&&value| value == 3.0).count();
        // The deviation of the count is √(1000 / 4) = 16; five of them are 80.
        assert!(kept.abs_diff(500) < 80, "{kept}");
        let Activations::Image(y) = residual.forward(Activations::Image(ones), Pass::Inference) else {
            panic!("an image")
        };
        assert!(host_values(y).iter().all(|&value| value == 2.0));
    }
}
