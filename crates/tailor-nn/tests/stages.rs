//! Convolutions and batch norms that our kernels compute several at a time, in training, do what they do one by one in Burn's
//! operations: logits, the gradient of each weight, and the running statistics.

use burn::tensor::{Tensor, TensorData};
use tailor_nn::architecture::{
    Activation, Architecture, BatchNormSpec, ConvSpec, LayerSpec, PoolSpec, Shortcut,
};
use tailor_nn::layers::Pass;
use tailor_nn::weights::NamedTensor;
use tailor_nn::{Device, Network, Shape, with_burn_operations};

const SHAPE: Shape = Shape::Image { height: 13, width: 12, channels: 3 };
const IMAGES: usize = 4;
const CLASSES: usize = 3;

fn normalized(filters: usize, kernel: usize, activation: Activation) -> [LayerSpec; 2] {
    [
        LayerSpec::Conv(ConvSpec::bare(filters, kernel, 1)),
        LayerSpec::BatchNorm(BatchNormSpec::new(activation)),
    ]
}

fn inverted(filters: usize, stride: usize) -> LayerSpec {
    LayerSpec::InvertedResidual {
        filters,
        expand: 3,
        kernel: 3,
        stride,
        activation: Activation::Silu,
        squeeze: None,
        drop_rate: 0.0,
    }
}

/// What is compared, its layers, and which of their tensors are not trained.
type Case = (&'static str, Vec<LayerSpec>, fn(&str) -> bool);

/// Logits, and all tensors after a step against the gradient, of layers of which those that `is_frozen` names are not trained.
fn step(layers: &[LayerSpec], is_frozen: fn(&str) -> bool) -> (Vec<f32>, Vec<NamedTensor>) {
    let device = Device::flex().autodiff();
    let architecture = Architecture::new(layers.to_vec());
    let network = Network::new(&architecture, SHAPE, CLASSES, 5, &device).unwrap().freeze(is_frozen);
    let pixels: Vec<f32> = (0..IMAGES * SHAPE.len()).map(|i| (i as f32 * 0.37).sin()).collect();
    let logits = network.forward(network.images(pixels, &device), Pass::Training { seed: 1, step: 0 });
    let wanted: Vec<f32> = (0..IMAGES * CLASSES).map(|i| (i as f32 * 1.7).cos()).collect();
    let wanted = Tensor::<2>::from_data(TensorData::new(wanted, [IMAGES, CLASSES]), &device);
    let gradients = (logits.clone() * wanted).sum().backward();
    (
        tailor_nn::host_values(logits.inner()),
        network.update(&gradients, |_, weight, gradient| weight - gradient).export(),
    )
}

#[test]
fn several_stages_at_once_are_the_stages_one_by_one() {
    let block =
        |filters, stride, shortcut| LayerSpec::BasicBlock { filters, stride, shortcut, drop_rate: 0.0 };
    let four = || {
        let bodies = [6, 7, 8].map(|filters| normalized(filters, 3, Activation::Silu)).concat();
        LayerSpec::Residual {
            body: [bodies, normalized(5, 1, Activation::None).to_vec()].concat(),
            shortcut: normalized(5, 1, Activation::None).to_vec(),
            activation: Activation::Tanh,
            drop_rate: 0.0,
        }
    };
    let pool = || vec![LayerSpec::MaxPool(PoolSpec::new(2))];
    let cases: [Case; 6] = [
        ("inverted residuals with and without a shortcut", vec![inverted(3, 1), inverted(5, 2)], |_| false),
        ("basic blocks", vec![block(6, 2, Shortcut::Projection), block(6, 1, Shortcut::Projection)], |_| {
            false
        }),
        ("a body of four stages", vec![four()], |_| false),
        (
            "five stages, and one before a pool",
            {
                let stages =
                    [4, 5, 6, 5, 4, 6].map(|filters| normalized(filters, 3, Activation::Tanh)).concat();
                [stages, pool()].concat()
            },
            |_| false,
        ),
        ("a frozen norm between", vec![inverted(3, 1), inverted(5, 2)], |name| {
            name.starts_with("block1.bn2")
        }),
        ("a frozen convolution", vec![inverted(3, 1)], |name| name.starts_with("block1.conv2")),
    ];
    for (what, layers, is_frozen) in cases {
        let layers = [layers, vec![LayerSpec::GlobalAveragePool {}]].concat();
        let (our_logits, ours) = step(&layers, is_frozen);
        let (their_logits, theirs) = with_burn_operations(|| step(&layers, is_frozen));
        let logits =
            |values: Vec<f32>| NamedTensor { name: "logits".into(), shape: vec![values.len()], values };
        let ours = ours.into_iter().chain([logits(our_logits)]);
        for (ours, theirs) in ours.zip(theirs.into_iter().chain([logits(their_logits)])) {
            assert_eq!(ours.name, theirs.name);
            let largest = theirs.values.iter().fold(0.1f32, |largest, value| largest.max(value.abs()));
            for (a, b) in ours.values.iter().zip(&theirs.values) {
                assert!((a - b).abs() <= 1e-4 * largest, "{what}, {}: {a} and {b}", ours.name);
            }
        }
    }
}
