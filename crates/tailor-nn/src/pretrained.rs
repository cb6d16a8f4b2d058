//! Weights that were trained on other images, from torchvision's files into a network's base.
//!
//! torchvision numbers and nests its modules in its own way; here the names follow from a walk over the base's layers.

use std::collections::HashMap;

use crate::architecture::{Activation, BASE, Base, LayerKind, LayerSpec, PlannedLayer};
use crate::weights::{NamedTensor, WeightSource};
use crate::{Error, Network, Result};

impl Network {
    /// Gives the base of the network the weights that torchvision trained, by torchvision's names. The file's classifier is
    /// left out. Where the base gets grey images, its first convolution takes the sum of the weights of the three colors,
    /// which is what they do to an image whose colors are equal.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the network has no base, or names the first tensor that is missing, too many, misshapen or
    /// not finite.
    pub fn import_base(&mut self, base: Base, tensors: Vec<NamedTensor>) -> Result<()> {
        let position = self.plan.iter().position(|planned| planned.name == BASE);
        let position = position.ok_or_else(|| Error::Mismatch("it builds on no published network".into()))?;
        let planned = &self.plan[position];
        let LayerKind::Sequence(layers) = &planned.kind else { unreachable!("a base is a sequence") };
        let ours: HashMap<String, String> =
            modules(base, layers).into_iter().map(|module| (module.theirs, module.ours)).collect();
        let classifier = match base {
            Base::MobilenetV2 => "classifier.",
            Base::Resnet18 => "fc.",
        };
        let renamed = tensors.into_iter().filter_map(|mut tensor| {
            let (module, kind) = tensor.name.rsplit_once('.')?;
            if tensor.name.starts_with(classifier) {
                return None;
            }
            // A name that is none of torchvision's stays, to be refused by it.
            if let Some(module) = ours.get(module) {
                tensor.name = format!("{module}.{kind}");
            }
            let is_first = tensor.name == format!("{}.weight", layers[0].name);
            Some(if is_first && planned.input.channels() == 1 { sum_of_colors(tensor) } else { tensor })
        });
        let mut source = WeightSource::new(renamed.collect());
        self.layers.layers[position].import(planned, &mut source)?;
        source.finish()
    }
}

/// A layer with tensors, by both names.
struct Module {
    ours: String,
    theirs: String,
}

fn modules(base: Base, layers: &[PlannedLayer]) -> Vec<Module> {
    match base {
        Base::MobilenetV2 => mobilenet_v2(layers),
        Base::Resnet18 => resnet_18(layers),
    }
}

/// `features.0` to `features.18`: what is numbered there are convolutions with their norms, and blocks.
fn mobilenet_v2(layers: &[PlannedLayer]) -> Vec<Module> {
    let (mut modules, mut feature, mut rest) = (Vec::new(), 0, layers);
    while let [first, after @ ..] = rest {
        rest = match &first.kind {
            LayerKind::Sequence(body) | LayerKind::Residual { body, .. } => {
                modules.extend(numbered(body, &format!("features.{feature}.conv"), 0));
                after
            }
            _ => {
                modules.extend(numbered(&rest[..2], "features", feature));
                &rest[2..]
            }
        };
        feature += 1;
    }
    modules
}

/// Pairs of a convolution and its norm as torchvision numbers them from `next` on: one module of parts 0 and 1 where an
/// activation follows (its `Conv2dNormActivation`), two modules where none does.
fn numbered(layers: &[PlannedLayer], prefix: &str, mut next: usize) -> Vec<Module> {
    let mut modules = Vec::new();
    for pair in layers.chunks_exact(2) {
        let is_activated = matches!(
            &pair[1].kind,
            LayerKind::Layer(LayerSpec::BatchNorm(norm)) if norm.activation != Activation::None
        );
        let numbers = match is_activated {
            true => [format!("{next}.0"), format!("{next}.1")],
            false => [next.to_string(), (next + 1).to_string()],
        };
        next += if is_activated { 1 } else { 2 };
        modules.extend(pair.iter().zip(numbers).map(|(layer, number)| Module {
            ours: layer.name.clone(),
            theirs: format!("{prefix}.{number}"),
        }));
    }
    modules
}

/// `conv1`, `bn1`, and `layer1.0` to `layer4.1`: a stage is what has the same number of channels.
fn resnet_18(layers: &[PlannedLayer]) -> Vec<Module> {
    let (mut modules, mut stage, mut block, mut channels) = (Vec::new(), 0, 0, 0);
    for layer in layers {
        let LayerKind::Residual { body, shortcut, .. } = &layer.kind else {
            let theirs = layer.name.rsplit('.').next().expect("a name has a last part").to_string();
            modules.push(Module { ours: layer.name.clone(), theirs });
            continue;
        };
        (stage, block) =
            if layer.output.channels() == channels { (stage, block + 1) } else { (stage + 1, 0) };
        channels = layer.output.channels();
        let prefix = format!("layer{stage}.{block}");
        for part in body {
            let theirs = part.name.replacen(&layer.name, &prefix, 1);
            modules.push(Module { ours: part.name.clone(), theirs });
        }
        for (position, part) in shortcut.iter().enumerate() {
            modules
                .push(Module { ours: part.name.clone(), theirs: format!("{prefix}.downsample.{position}") });
        }
    }
    modules
}

/// Weights `[O, 3, K, K]` as `[O, 1, K, K]`.
fn sum_of_colors(tensor: NamedTensor) -> NamedTensor {
    let [filters, 3, height, width] = tensor.shape[..] else { return tensor };
    let window = height * width;
    let values = tensor
        .values
        .chunks_exact(3 * window)
        .flat_map(|filter| (0..window).map(|i| filter[i] + filter[i + window] + filter[i + 2 * window]));
    NamedTensor { name: tensor.name, shape: vec![filters, 1, height, width], values: values.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::{Device, Shape};

    fn network(base: LayerSpec, channels: usize) -> Network {
        let shape = Shape::Image { height: 32, width: 32, channels };
        Network::new(&Architecture::new(vec![base]), shape, 2, 1, &Device::flex()).unwrap()
    }

    /// The base's tensors under torchvision's names.
    fn theirs(network: &Network, base: Base) -> Vec<NamedTensor> {
        let LayerKind::Sequence(layers) = &network.plan[0].kind else { panic!("a base") };
        let names: HashMap<String, String> =
            modules(base, layers).into_iter().map(|module| (module.ours, module.theirs)).collect();
        let tensors = network.export().into_iter().filter(|tensor| tensor.name.starts_with(BASE));
        tensors
            .map(|tensor| {
                let (module, kind) = tensor.name.rsplit_once('.').unwrap();
                NamedTensor { name: format!("{}.{kind}", names[module]), ..tensor }
            })
            .collect()
    }

    #[test]
    fn names_are_those_of_torchvision() {
        let mobilenet = theirs(&network(LayerSpec::MobilenetV2 {}, 3), Base::MobilenetV2);
        let names: Vec<&str> = mobilenet.iter().map(|tensor| tensor.name.as_str()).collect();
        // torchvision has 314 with 52 counters of batches and two tensors of the classifier.
        assert_eq!(names.len(), 314 - 52 - 2);
        for name in [
            "features.0.0.weight",
            "features.0.1.running_var",
            "features.1.conv.0.0.weight",
            "features.1.conv.1.weight",
            "features.1.conv.2.bias",
            "features.17.conv.1.0.weight",
            "features.17.conv.2.weight",
            "features.17.conv.3.running_mean",
            "features.18.1.weight",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        let resnet = theirs(&network(LayerSpec::Resnet18 {}, 3), Base::Resnet18);
        let names: Vec<&str> = resnet.iter().map(|tensor| tensor.name.as_str()).collect();
        // 122 with 20 counters and two tensors of the classifier
        assert_eq!(names.len(), 122 - 20 - 2);
        for name in [
            "conv1.weight",
            "bn1.bias",
            "layer1.1.bn2.weight",
            "layer2.0.downsample.0.weight",
            "layer2.0.downsample.1.running_mean",
            "layer4.1.conv2.weight",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        assert!(!names.iter().any(|name| name.starts_with("layer1.0.downsample")));
    }

    #[test]
    fn weights_arrive_and_what_does_not_fit_is_named() {
        let from = network(LayerSpec::MobilenetV2 {}, 3);
        let tensors = theirs(&from, Base::MobilenetV2);
        let mut to = network(LayerSpec::MobilenetV2 {}, 3);
        let classifier = NamedTensor { name: "classifier.1.bias".into(), shape: vec![1], values: vec![1.0] };
        to.import_base(Base::MobilenetV2, [tensors.clone(), vec![classifier]].concat()).unwrap();
        let base = |network: &Network| -> Vec<NamedTensor> {
            network.export().into_iter().filter(|tensor| tensor.name.starts_with(BASE)).collect()
        };
        assert_eq!(base(&to), base(&from));

        let error = to.import_base(Base::MobilenetV2, tensors[1..].to_vec()).unwrap_err().to_string();
        assert!(error.contains("`base1.conv1.weight` is missing"), "{error}");
        let other = NamedTensor { name: "features.19.weight".into(), shape: vec![1], values: vec![1.0] };
        let error =
            to.import_base(Base::MobilenetV2, [tensors, vec![other]].concat()).unwrap_err().to_string();
        assert!(error.contains("no tensor `features.19.weight`"), "{error}");
    }

    #[test]
    fn a_grey_image_is_seen_as_one_of_equal_colors() {
        let color = network(LayerSpec::Resnet18 {}, 3);
        let mut grey = network(LayerSpec::Resnet18 {}, 1);
        grey.import_base(Base::Resnet18, theirs(&color, Base::Resnet18)).unwrap();
        let classifier = color.export().into_iter().filter(|tensor| tensor.name.starts_with("fc"));
        let base = grey.export().into_iter().filter(|tensor| tensor.name.starts_with(BASE));
        grey.import(base.chain(classifier).collect()).unwrap();
        let image: Vec<f32> = (0..32 * 32).map(|i| (i as f32 * 0.37).sin()).collect();
        let colors: Vec<f32> = image.iter().flat_map(|&value| [value; 3]).collect();
        let (ours, theirs) = (grey.predictor().logits(&image), color.predictor().logits(&colors));
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() < 1e-4 * b.abs().max(1.0), "{a} against {b}");
        }
    }
}
