//! Looking into a network: what is between its layers, how a class's logit depends on it, and what attention attends to.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use crate::architecture::{LayerKind, PlannedLayer};
use crate::layers::{Activations, Layer, Pass, host_values, sequence};
use crate::weights::NamedTensor;
use crate::{Network, Shape};

/// A trained network with automatic differentiation, whose weights stay as they are.
///
/// Places between layers are counted: place 0 is before the first layer, place `n` after the first `n` of
/// [`Probe::layers`]. Layers of a sequence stand for themselves here; a residual block is a single layer.
#[derive(Debug)]
pub struct Probe {
    network: Network,
    layers: Vec<Layer>,
    plan: Vec<PlannedLayer>,
}

/// How the logits of some classes depend on what is at a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Slopes {
    /// `[N, K]`
    pub logits: Vec<f32>,
    /// `[N, …]`, in the shape of the place.
    pub activations: Vec<f32>,
    /// The gradient of each image's logit with respect to them.
    pub gradients: Vec<f32>,
}

impl Probe {
    /// Takes a copy of the network as it infers: batch norm uses its running statistics, dropout does nothing.
    pub fn new(network: &Network) -> Self {
        let network = network.valid().train().no_grad();
        let (mut layers, mut plan) = (Vec::new(), Vec::new());
        unfold(&network.layers.layers, &network.plan, &mut layers, &mut plan);
        Probe { network, layers, plan }
    }

    /// Layers and blocks in the order in which an image passes them; the last gives the logits.
    pub fn layers(&self) -> &[PlannedLayer] {
        &self.plan
    }

    /// The shape of one image's values at a place.
    ///
    /// # Panics
    /// If there are fewer layers, as all functions here do.
    pub fn shape(&self, place: usize) -> Shape {
        match place {
            0 => self.plan[0].input,
            place => self.plan[place - 1].output,
        }
    }

    /// The weights, under PyTorch's names and in its layouts.
    pub fn export(&self) -> Vec<NamedTensor> {
        self.network.export()
    }

    /// What is at a place when normalized images `[N, H, W, C]` pass: `[N, …]`.
    pub fn activations(&self, pixels: &[f32], place: usize) -> Vec<f32> {
        self.forward_to(pixels, place).into_values()
    }

    /// How the logit of one class of each image depends on what is at a place.
    ///
    /// # Panics
    /// If there is not a class for each image.
    pub fn slopes(&self, pixels: &[f32], place: usize, classes: &[usize]) -> Slopes {
        let here = self.forward_to(pixels, place).detach().require_grad();
        let Activations::Features(logits) =
            sequence::forward(&self.layers[place..], here.clone(), Pass::Inference)
        else {
            unreachable!("a plan ends in a dense layer")
        };
        let [images, outputs] = logits.dims();
        assert_eq!(images, classes.len(), "a class for each image");
        let mut chosen = vec![0.0; images * outputs];
        classes.iter().enumerate().for_each(|(image, &class)| chosen[image * outputs + class] = 1.0);
        let chosen = Tensor::from_data(TensorData::new(chosen, [images, outputs]), &logits.device());
        // Images do not depend on each other, so the gradient of the sum holds that of each.
        let gradients = (logits.clone() * chosen).sum().backward();
        let gradients = here.gradient(&gradients);
        let activations = here.into_values();
        Slopes {
            logits: host_values(logits),
            gradients: gradients.unwrap_or_else(|| vec![0.0; activations.len()]),
            activations,
        }
    }

    /// How much each token takes of each other one in each attention layer, in their order: `[N, heads, T, T]`, rows
    /// being the takers. None of a network without attention.
    pub fn attention(&self, pixels: &[f32]) -> Vec<Vec<f32>> {
        let mut maps = Vec::new();
        record(&self.layers, self.forward_to(pixels, 0), &mut maps);
        maps
    }

    fn forward_to(&self, pixels: &[f32], place: usize) -> Activations {
        let images = Activations::Image(self.network.images(pixels.to_vec(), &self.network.device()));
        sequence::forward(&self.layers[..place], images, Pass::Inference)
    }
}

/// Appends layers, and those of a sequence in its place.
fn unfold(
    layers: &[Layer],
    plan: &[PlannedLayer],
    to_layers: &mut Vec<Layer>,
    to_plan: &mut Vec<PlannedLayer>,
) {
    for (layer, planned) in layers.iter().zip(plan) {
        match (layer, &planned.kind) {
            (Layer::Sequence(inner), LayerKind::Sequence(plan)) => {
                unfold(&inner.layers, plan, to_layers, to_plan);
            }
            _ => {
                to_layers.push(layer.clone());
                to_plan.push(planned.clone());
            }
        }
    }
}

/// Applies layers one after the other, and keeps the maps of those that attend.
fn record(layers: &[Layer], input: Activations, maps: &mut Vec<Vec<f32>>) -> Activations {
    layers.iter().fold(input, |x, layer| match (layer, x) {
        (Layer::Sequence(sequence), x) => record(&sequence.layers, x, maps),
        (Layer::Residual(residual), x) => {
            let shortcut = record(&residual.shortcut.layers, x.clone(), maps);
            let body = record(residual.before_sum(Pass::Inference), x, maps);
            residual.join(body, shortcut, Pass::Inference)
        }
        (Layer::Attention(attention), Activations::Tokens(x)) => {
            maps.push(host_values(attention.maps(x.clone())));
            Activations::Tokens(attention.forward(x))
        }
        (layer, x) => layer.forward(x, Pass::Inference),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, LayerSpec};
    use crate::{Device, with_burn_operations};

    /// Every layer that has a gradient, in two networks for images of 8×8×2.
    fn probes() -> [Probe; 2] {
        let images = r#"[
            {"type": "conv", "filters": 4, "padding": "same"},
            {"type": "batch-norm", "activation": "relu"},
            {"type": "max-pool"},
            {"type": "depthwise-conv", "padding": 1, "activation": "silu"},
            {"type": "basic-block", "filters": 6, "stride": 2},
            {"type": "inverted-residual", "filters": 6, "expand": 2, "squeeze": 2},
            {"type": "dense", "units": 7, "activation": "tanh"}
        ]"#;
        let tokens = r#"[
            {"type": "resize", "size": 12},
            {"type": "conv", "filters": 8, "kernel": 4, "stride": 4, "activation": "none"},
            {"type": "tokens", "class-token": true},
            {"type": "transformer-block", "heads": 2, "units": 12},
            {"type": "transformer-block", "heads": 4, "units": 12},
            {"type": "layer-norm"},
            {"type": "class-token"}
        ]"#;
        [images, tokens].map(|layers| {
            let layers: Vec<LayerSpec> = serde_json::from_str(layers).unwrap();
            let shape = Shape::Image { height: 8, width: 8, channels: 2 };
            let network = Network::new(&Architecture::new(layers), shape, 3, 1, &Device::flex());
            Probe::new(&network.unwrap())
        })
    }

    fn assert_close(ours: &[f32], theirs: &[f32], place: usize) {
        let largest = theirs.iter().fold(1.0f32, |largest, value| largest.max(value.abs()));
        for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
            assert!((a - b).abs() < 1e-4 * largest, "[{i}] at place {place}: {a} against {b}");
        }
    }

    fn pixels(images: usize) -> Vec<f32> {
        (0..images * 128).map(|i| ((i * 37 % 101) as f32 - 50.0) / 40.0).collect()
    }

    #[test]
    fn slopes_at_every_place_are_those_of_burns_operations_and_of_small_steps() {
        for probe in probes() {
            let classes = [2, 0];
            let logits = probe.slopes(&pixels(2), 0, &classes).logits;
            for place in 0..probe.layers().len() {
                let slopes = probe.slopes(&pixels(2), place, &classes);
                let burn = with_burn_operations(|| probe.slopes(&pixels(2), place, &classes));
                assert_eq!(slopes.activations.len(), 2 * probe.shape(place).len());
                assert_close(&slopes.logits, &logits, place);
                assert_close(&slopes.gradients, &burn.gradients, place);
                assert!(slopes.gradients.iter().any(|gradient| gradient.abs() > 1e-4), "place {place}");
            }
            // A step along the gradient raises the logit by its squared length.
            let slopes = probe.slopes(&pixels(1), 0, &[1]);
            let step = 1e-3;
            let moved: Vec<f32> =
                slopes.activations.iter().zip(&slopes.gradients).map(|(x, g)| x + step * g).collect();
            let rise = probe.slopes(&moved, 0, &[1]).logits[1] - slopes.logits[1];
            let expected = step * slopes.gradients.iter().map(|g| g * g).sum::<f32>();
            assert!((rise - expected).abs() < 0.05 * expected, "{rise} against {expected}");
        }
    }

    #[test]
    fn attention_is_shares_of_each_layer_and_leaves_the_logits_alone() {
        let [without, with] = probes();
        assert!(without.attention(&pixels(1)).is_empty());
        let maps = with.attention(&pixels(2));
        // Two images, nine patches and the class token.
        let lengths: Vec<usize> = maps.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2 * 2 * 100, 2 * 4 * 100]);
        for row in maps.iter().flat_map(|map| map.chunks(10)) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5 && row.iter().all(|&share| share >= 0.0));
        }
        let layers = &with.layers;
        let Activations::Features(logits) = record(layers, with.forward_to(&pixels(2), 0), &mut Vec::new())
        else {
            panic!("logits")
        };
        assert_eq!(host_values(logits), with.activations(&pixels(2), layers.len()));
    }
}
