//! The frozen layers that a network begins with: in training they only infer, so they are packed as in inference, and what
//! follows is trained on what they give.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::architecture::{LayerKind, PlannedLayer};
use crate::layers::{Activations, Layer, Pass, Residual, sequence};
use crate::ops::on_kernels;
use crate::predictor::{Part, Predictor};
use crate::{Network, Shape};

/// The layers before the first that training changes, without automatic differentiation.
#[derive(Debug)]
pub struct Prefix {
    layers: Predictor,
    /// Of one image.
    output: Shape,
    cut: Cut,
}

/// Where a network's prefix ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// Whole layers before it.
    layers: usize,
    /// Layers before it of the sequence that it may lie in.
    inside: usize,
}

impl Prefix {
    /// What training gets of normalized images `[N, H, W, C]`, one after the other.
    ///
    /// # Panics
    /// If the pixels are not whole images of the network's shape.
    pub fn features(&self, pixels: &[f32]) -> Vec<f32> {
        self.layers.run(pixels)
    }

    /// Values that it makes of one image.
    pub fn features_per_image(&self) -> usize {
        self.output.len()
    }
}

impl Network {
    /// The frozen layers that a network for training begins with, if there are any with weights and our kernels compute.
    pub fn frozen_prefix(&self) -> Option<Prefix> {
        if !on_kernels(&self.device()) {
            return None;
        }
        let whole = frozen_layers(&self.layers.layers);
        let inside = match self.layers.layers.get(whole) {
            Some(Layer::Sequence(inner)) => frozen_layers(&inner.layers),
            _ => 0,
        };
        let (cut, network) = (Cut { layers: whole, inside }, self.valid());
        let parts = network.parts_before(cut);
        let planned: Vec<&PlannedLayer> = parts.iter().flat_map(|part| part.plan).collect();
        if planned.iter().all(|planned| planned.trainable() == 0) {
            return None;
        }
        let output = planned.last()?.output;
        Some(Prefix { layers: Predictor::of_parts(&parts), output, cut })
    }

    /// Logits `[N, K]` of what a prefix of this network made of N images.
    ///
    /// # Panics
    /// If the values are not what the prefix makes of whole images.
    pub fn forward_after(&self, prefix: &Prefix, features: &[f32], pass: Pass) -> Tensor<2> {
        let images = features.len() / prefix.output.len();
        let x = Activations::of(features, images, prefix.output, &self.device());
        let forward = |x, part: Part| sequence::forward(part.layers, x, pass);
        match self.parts_after(prefix.cut).into_iter().fold(x, forward) {
            Activations::Features(logits) => logits,
            _ => unreachable!("a plan ends in a dense layer"),
        }
    }

    /// The layers after a prefix, for inference on what the prefix makes.
    pub fn predictor_after(&self, prefix: &Prefix) -> Predictor {
        Predictor::of_parts(&self.valid().parts_after(prefix.cut))
    }

    fn parts_before(&self, cut: Cut) -> Vec<Part<'_>> {
        let Cut { layers, inside } = cut;
        let whole = Part { layers: &self.layers.layers[..layers], plan: &self.plan[..layers] };
        match self.sequence_at(layers) {
            Some(inner) if inside > 0 => {
                vec![whole, Part { layers: &inner.layers[..inside], plan: &inner.plan[..inside] }]
            }
            _ => vec![whole],
        }
    }

    fn parts_after(&self, cut: Cut) -> Vec<Part<'_>> {
        let Cut { layers, inside } = cut;
        let from =
            |position: usize| Part { layers: &self.layers.layers[position..], plan: &self.plan[position..] };
        match self.sequence_at(layers) {
            Some(inner) if inside > 0 => {
                let rest = Part { layers: &inner.layers[inside..], plan: &inner.plan[inside..] };
                vec![rest, from(layers + 1)]
            }
            _ => vec![from(layers)],
        }
    }

    fn sequence_at(&self, position: usize) -> Option<Part<'_>> {
        match (self.layers.layers.get(position)?, &self.plan[position].kind) {
            (Layer::Sequence(inner), LayerKind::Sequence(plan)) => Some(Part { layers: &inner.layers, plan }),
            _ => None,
        }
    }
}

/// How many of these layers come before the first that is trained, or is random in training; what is computed in one pass
/// stays together.
fn frozen_layers(layers: &[Layer]) -> usize {
    let starts: Vec<usize> = sequence::fused(layers).map(|(position, _)| position).collect();
    let ends = starts.iter().skip(1).copied().chain([layers.len()]);
    let frozen =
        starts.iter().zip(ends).take_while(|(start, end)| layers[**start..*end].iter().all(is_frozen));
    frozen.last().map_or(0, |(_, end)| end)
}

/// Whether a layer does in training what it does in inference.
fn is_frozen(layer: &Layer) -> bool {
    !is_trained(layer) && !is_random(layer)
}

/// Whether training changes any of its weights.
pub(crate) fn is_trained(layer: &Layer) -> bool {
    struct Trained(bool);
    impl ModuleVisitor for Trained {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.is_require_grad();
        }
    }
    let mut trained = Trained(false);
    layer.visit(&mut trained);
    trained.0
}

fn is_random(layer: &Layer) -> bool {
    let any = |layers: &[Layer]| layers.iter().any(is_random);
    match layer {
        Layer::Dropout(_) => true,
        Layer::Sequence(sequence) => any(&sequence.layers),
        Layer::Residual(Residual { body, shortcut, drop_rate, .. }) => {
            *drop_rate > 0.0 || any(&body.layers) || any(&shortcut.layers)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::architecture::{Architecture, LayerSpec};

    fn network(frozen: impl Fn(&str) -> bool) -> Network {
        let layers = r#"[
            {"type": "resize", "size": 12},
            {"type": "sequence", "layers": [
                {"type": "conv", "filters": 4, "bias": false, "activation": "none"},
                {"type": "batch-norm", "activation": "relu6"},
                {"type": "inverted-residual", "filters": 4, "expand": 2},
                {"type": "inverted-residual", "filters": 6, "expand": 2, "stride": 2}
            ]},
            {"type": "global-average-pool"},
            {"type": "dropout", "rate": 0.5}
        ]"#;
        let layers: Vec<LayerSpec> = serde_json::from_str(layers).unwrap();
        let shape = Shape::Image { height: 8, width: 8, channels: 3 };
        let device = Device::flex().autodiff();
        Network::new(&Architecture::new(layers), shape, 3, 1, &device).unwrap().freeze(frozen)
    }

    fn images() -> Vec<f32> {
        (0..2 * 8 * 8 * 3).map(|i| (i as f32 * 0.7).sin()).collect()
    }

    #[test]
    fn a_prefix_and_what_follows_are_the_network() {
        struct Case {
            frozen: fn(&str) -> bool,
            features: Option<usize>,
        }
        for Case { frozen, features } in [
            Case { frozen: |name| name.starts_with("block1"), features: Some(6) },
            Case {
                frozen: |name| !name.starts_with("block1.block2") && !name.starts_with("fc"),
                features: Some(10 * 10 * 4),
            },
            // The convolution is frozen, but the norm in the same pass is not.
            Case { frozen: |name| name.starts_with("block1.conv1"), features: None },
            Case { frozen: |name| name.starts_with("fc"), features: None },
            Case { frozen: |_| false, features: None },
        ] {
            let network = network(frozen);
            let prefix = network.frozen_prefix();
            assert_eq!(prefix.as_ref().map(Prefix::features_per_image), features);
            let Some(prefix) = prefix else { continue };
            let whole = network.predictor().logits(&images());
            let features = prefix.features(&images());
            let parted = network.predictor_after(&prefix).logits(&features);
            let trained =
                crate::host_values(network.forward_after(&prefix, &features, Pass::Inference).inner());
            for ((whole, parted), trained) in whole.iter().zip(parted).zip(trained) {
                assert!((whole - parted).abs() < 1e-5 && (whole - trained).abs() < 1e-5);
            }
        }
    }
}
