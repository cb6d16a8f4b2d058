//! The same logits, loss, gradients and running statistics as PyTorch, from the same weights
//! (`vectors/make.py` made them).

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use tailor_nn::architecture::{
    Activation, Architecture, BatchNormSpec, ConvSpec, LayerSpec, Padding, PoolSpec, Shortcut,
};
use tailor_nn::layers::Pass;
use tailor_nn::loss::{Targets, cross_entropy};
use tailor_nn::weights::{NamedTensor, from_safetensors};
use tailor_nn::{Device, Network, Shape, with_burn_operations};

struct Reference {
    tensors: BTreeMap<String, NamedTensor>,
}

impl Reference {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
        let (tensors, _) = from_safetensors(&std::fs::read(path).unwrap()).unwrap();
        Reference { tensors: tensors.into_iter().map(|t| (t.name.clone(), t)).collect() }
    }

    fn values(&self, name: &str) -> &[f32] {
        &self.tensors[name].values
    }

    /// The tensors whose names are those of a network's weights.
    fn weights(&self) -> Vec<NamedTensor> {
        let is_weight = |name: &str| {
            ["conv", "bn", "fc", "block", "ln", "tokens"].iter().any(|prefix| name.starts_with(prefix))
        };
        self.tensors.values().filter(|tensor| is_weight(&tensor.name)).cloned().collect()
    }

    /// `[N, C, H, W]` as `[N, H, W, C]`.
    fn images(&self, device: &Device) -> Tensor<4> {
        let input = &self.tensors["input"];
        let shape: [usize; 4] = input.shape.clone().try_into().unwrap();
        let nchw = Tensor::<4>::from_data(TensorData::new(input.values.clone(), shape), device);
        nchw.permute([0, 2, 3, 1])
    }

    fn labels(&self) -> Vec<u16> {
        self.values("labels").iter().map(|&label| label as u16).collect()
    }
}

fn assert_close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}[{i}]: {a} against PyTorch's {b}");
    }
}

/// Compares a network on our kernels and on Burn's operations.
fn compare(name: &str, layers: Vec<LayerSpec>, input: Shape, classes: usize, smoothing: f64) {
    let architecture = Architecture::new(layers);
    compare_here(name, &architecture, input, classes, smoothing);
    with_burn_operations(|| compare_here(name, &architecture, input, classes, smoothing));
}

/// Compares inference, and then one training step: with gradients as a step of size 1 along them shows them.
fn compare_here(name: &str, architecture: &Architecture, input: Shape, classes: usize, smoothing: f64) {
    let reference = Reference::read(name);
    let device = Device::flex().autodiff();
    let mut network = Network::new(architecture, input, classes, 1, &device).unwrap();
    network.import(reference.weights()).unwrap();

    let pixels = tailor_nn::host_values(reference.images(&device));
    assert_close("predicted logits", &network.predictor().logits(&pixels), reference.values("logits"), 1e-5);
    let logits = network.forward(reference.images(&device), Pass::Inference);
    assert_close("logits", &tailor_nn::host_values(logits), reference.values("logits"), 1e-5);

    let logits = network.forward(reference.images(&device), Pass::Training { seed: 1, step: 0 });
    let labels = &reference.labels();
    let targets = Targets { labels, partners: None, classes, smoothing, class_weights: None };
    let loss = cross_entropy(logits, targets.tensor(&device));
    assert_close("loss", &[loss.clone().into_scalar::<f32>()], reference.values("loss"), 1e-5);

    let gradients = loss.backward();
    let squares: f64 = reference
        .tensors
        .values()
        .filter(|tensor| tensor.name.starts_with("grad."))
        .flat_map(|tensor| &tensor.values)
        .map(|&g| f64::from(g) * f64::from(g))
        .sum();
    assert!((network.gradient_norm(&gradients) - squares.sqrt()).abs() < 1e-5);

    let before: BTreeMap<String, Vec<f32>> =
        network.export().into_iter().map(|t| (t.name, t.values)).collect();
    let after = network.update(&gradients, |_, weights, gradient| weights - gradient).export();
    for tensor in after {
        match reference.tensors.get(&format!("after.{}", tensor.name)) {
            Some(statistic) => assert_close(&tensor.name, &tensor.values, &statistic.values, 1e-5),
            None => {
                let gradient: Vec<f32> =
                    before[&tensor.name].iter().zip(&tensor.values).map(|(old, new)| old - new).collect();
                assert_close(
                    &tensor.name,
                    &gradient,
                    reference.values(&format!("grad.{}", tensor.name)),
                    1e-5,
                );
            }
        }
    }
}

fn conv(filters: usize, kernel: usize, stride: usize, padding: Padding, activation: Activation) -> LayerSpec {
    LayerSpec::Conv(ConvSpec { stride, padding, activation, ..ConvSpec::new(filters, kernel) })
}

#[test]
fn batch_norm_after_relu_and_flattening_agree_with_pytorch() {
    let layers = vec![
        conv(8, 3, 1, Padding::Valid, Activation::Relu),
        LayerSpec::BatchNorm(BatchNormSpec::new(Activation::None)),
        LayerSpec::MaxPool(PoolSpec::new(2)),
        conv(6, 3, 1, Padding::Valid, Activation::Relu),
        LayerSpec::Dense { units: 7, activation: Activation::Relu },
    ];
    compare("bn_after_relu.safetensors", layers, Shape::Image { height: 12, width: 12, channels: 1 }, 4, 0.0);
}

#[test]
fn same_padding_strides_colors_and_label_smoothing_agree_with_pytorch() {
    let layers = vec![
        conv(4, 5, 2, Padding::Same, Activation::Tanh),
        LayerSpec::AveragePool(PoolSpec::new(2)),
        conv(5, 1, 1, Padding::Valid, Activation::Relu6),
    ];
    compare(
        "padded_strided.safetensors",
        layers,
        Shape::Image { height: 11, width: 11, channels: 3 },
        3,
        0.1,
    );
}

#[test]
fn residual_blocks_with_both_shortcuts_agree_with_pytorch() {
    let block =
        |filters, stride, shortcut| LayerSpec::BasicBlock { filters, stride, shortcut, drop_rate: 0.0 };
    let layers = vec![
        LayerSpec::Conv(ConvSpec::bare(6, 7, 2)),
        LayerSpec::BatchNorm(BatchNormSpec::new(Activation::Relu)),
        LayerSpec::MaxPool(PoolSpec { size: 3, stride: Some(2), padding: 1 }),
        block(6, 1, Shortcut::Projection),
        block(10, 2, Shortcut::Projection),
        block(16, 2, Shortcut::Pad),
        LayerSpec::GlobalAveragePool {},
    ];
    compare("residual.safetensors", layers, Shape::Image { height: 33, width: 33, channels: 3 }, 4, 0.0);
}

#[test]
fn inverted_residuals_with_squeeze_and_excitation_agree_with_pytorch() {
    let block = |filters, expand, kernel, stride, squeeze, activation| LayerSpec::InvertedResidual {
        filters,
        expand,
        kernel,
        stride,
        activation,
        squeeze,
        drop_rate: 0.0,
    };
    let layers = vec![
        LayerSpec::Conv(ConvSpec { groups: 3, ..ConvSpec::bare(9, 3, 1) }),
        LayerSpec::BatchNorm(BatchNormSpec::new(Activation::Silu)),
        block(8, 1, 3, 2, None, Activation::Relu6),
        block(8, 3, 5, 1, Some(4), Activation::Silu),
        LayerSpec::Conv(ConvSpec { activation: Activation::Gelu, ..ConvSpec::new(12, 1) }),
        LayerSpec::AveragePool(PoolSpec::new(2)),
        LayerSpec::Activation { function: Activation::Sigmoid },
        LayerSpec::GlobalAveragePool {},
        LayerSpec::Dense { units: 6, activation: Activation::Silu },
    ];
    compare("inverted.safetensors", layers, Shape::Image { height: 9, width: 9, channels: 3 }, 3, 0.0);
}

#[test]
fn a_vision_transformer_agrees_with_pytorch() {
    let layers = vec![
        LayerSpec::Conv(ConvSpec { stride: 4, activation: Activation::None, ..ConvSpec::new(12, 4) }),
        LayerSpec::Tokens { class_token: true },
        LayerSpec::TransformerBlock { heads: 3, units: 20, dropout: 0.0, drop_rate: 0.0 },
        LayerSpec::LayerNorm { epsilon: 1e-6 },
        LayerSpec::ClassToken {},
    ];
    compare("transformer.safetensors", layers, Shape::Image { height: 12, width: 12, channels: 1 }, 5, 0.1);
}
