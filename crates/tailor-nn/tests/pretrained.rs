//! The same logits as torchvision's own networks, from its files of weights (`vectors/make_pretrained.py` made the vectors).

use std::path::{Path, PathBuf};

use tailor_nn::architecture::{Architecture, Base, LayerKind, LayerSpec};
use tailor_nn::layers::Pass;
use tailor_nn::weights::{NamedTensor, from_safetensors};
use tailor_nn::{Device, Network, Shape, from_state_dict, host_values};

fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

fn expected(name: &str) -> Vec<f32> {
    let bytes = std::fs::read(vectors("pretrained.safetensors")).unwrap();
    let (tensors, _) = from_safetensors(&bytes).unwrap();
    tensors.into_iter().find(|tensor| tensor.name == name).unwrap().values
}

/// The script's image of three colors, `[size, size, 3]`.
fn image(size: usize) -> Vec<f32> {
    let value = |row: usize, column: usize, color: usize| {
        let (row, column, color) = (row as f64, column as f64, color as f64);
        let waves = 1.5 * (0.05 * row * (color + 1.0) + 0.11 * column).sin();
        (waves + 0.3 * (0.9 * column - 0.7 * row).sin()) as f32
    };
    let pixel = |row, column| (0..3).map(move |color| value(row, column, color));
    (0..size).flat_map(|row| (0..size).flat_map(move |column| pixel(row, column))).collect()
}

/// The script's weights by their names and shapes.
fn by_formula(name: &str, shape: Vec<usize>) -> NamedTensor {
    let seed: u32 = name.bytes().map(u32::from).sum();
    let length: usize = shape.iter().product();
    let value = |i: usize| {
        let position = (i % 10007) as f64;
        let wave = (0.37 * position * position + f64::from(seed)).sin();
        let value = match shape[..] {
            [outputs, _, ..] => wave * (4.0 / (length / outputs) as f64).sqrt(),
            _ if name.ends_with("running_var") || name.ends_with("weight") => 1.0 + 0.3 * wave,
            _ => wave * 0.1,
        };
        value as f32
    };
    let values = (0..length).map(value).collect();
    NamedTensor { name: name.into(), shape, values }
}

/// torchvision's network of 1,000 classes on images of `size`, with the weights of a file.
fn network(base: Base, size: usize, tensors: Vec<NamedTensor>, device: &Device) -> Network {
    let spec = match base {
        Base::MobilenetV2 => LayerSpec::MobilenetV2 {},
        Base::Resnet18 => LayerSpec::Resnet18 {},
    };
    let architecture = Architecture::new(vec![spec, LayerSpec::GlobalAveragePool {}]);
    let shape = Shape::Image { height: size, width: size, channels: 3 };
    let mut network = Network::new(&architecture, shape, 1000, 1, device).unwrap();
    network.import_base(base, tensors.clone()).unwrap();
    let classifier = |kind: &str| {
        let theirs = match base {
            Base::MobilenetV2 => format!("classifier.1.{kind}"),
            Base::Resnet18 => format!("fc.{kind}"),
        };
        let tensor = tensors.iter().find(|tensor| tensor.name == theirs).unwrap();
        NamedTensor { name: format!("fc1.{kind}"), ..tensor.clone() }
    };
    let base = network.export().into_iter().filter(|tensor| !tensor.name.starts_with("fc1"));
    network.import(base.chain(["weight", "bias"].map(classifier)).collect()).unwrap();
    network
}

fn assert_close(name: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len());
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{name}, logit {i}: {a} against torchvision's {b}");
    }
}

/// As a predictor has it, and in training with all of the base frozen, where norms are folded as well.
fn compare(name: &str, base: Base, size: usize, tensors: &[NamedTensor]) {
    let expected = expected(name);
    let network = network(base, size, tensors.to_vec(), &Device::flex().autodiff());
    assert_close(name, &network.predictor().logits(&image(size)), &expected);
    let network = network.freeze(|name| name.starts_with("base1."));
    let images = network.images(image(size), &network.device());
    let trained = network.forward(images, Pass::Training { seed: 1, step: 0 });
    assert_close(name, &host_values(trained.inner()), &expected);
}

/// The names and shapes of torchvision's file, by the walk that reads it.
fn names_and_shapes(base: Base) -> Vec<(String, Vec<usize>)> {
    let of_file: Vec<&str> = match base {
        Base::MobilenetV2 => include_str!("vectors/mobilenet_v2.names").lines().collect(),
        Base::Resnet18 => include_str!("vectors/resnet18.names").lines().collect(),
    };
    let parse = |line: &str| {
        let (name, shape) = line.split_once(' ').unwrap();
        (name.to_string(), shape.split('x').map(|extent| extent.parse().unwrap()).collect())
    };
    of_file.into_iter().map(parse).collect()
}

#[test]
fn logits_are_torchvisions_with_weights_by_a_formula() {
    for (name, base) in [("mobilenet_v2.formula", Base::MobilenetV2), ("resnet18.formula", Base::Resnet18)] {
        let tensors: Vec<NamedTensor> =
            names_and_shapes(base).into_iter().map(|(name, shape)| by_formula(&name, shape)).collect();
        compare(name, base, 64, &tensors);
    }
}

#[test]
fn logits_are_torchvisions_with_imagenets_weights() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/weights/mobilenet_v2.imagenet.safetensors");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return;
    };
    let tensors = from_state_dict(&bytes).unwrap();
    for size in [96, 160, 224] {
        compare(&format!("mobilenet_v2.imagenet.{size}"), Base::MobilenetV2, size, &tensors);
    }
}

/// The four formats of the same tensors.
fn tiny(name: &str) -> Vec<u8> {
    std::fs::read(vectors(name)).unwrap()
}

#[test]
fn pytorchs_files_and_a_wheel_are_read() {
    let tensor = |name: &str, shape: &[usize], values: &[f32]| NamedTensor {
        name: name.into(),
        shape: shape.into(),
        values: values.into(),
    };
    let expected = [
        tensor("bn.weight", &[2], &[-1.5, 2.25]),
        tensor("conv.bias", &[3], &[1.5, 1.75, 2.0]),
        // A transposed view.
        tensor("conv.weight", &[3, 2], &[0.0, 0.75, 0.25, 1.0, 0.5, 1.25]),
    ];
    for name in ["tiny.pth", "tiny_legacy.pth", "tiny.whl"] {
        assert_eq!(from_state_dict(&tiny(name)).unwrap(), expected, "{name}");
    }
}

#[test]
fn cut_and_damaged_files_are_refused_or_read_as_something_else_but_never_panic() {
    for name in ["tiny.pth", "tiny_legacy.pth", "tiny.whl", "pretrained.safetensors"] {
        let whole = tiny(name);
        let step = (whole.len() / 800).max(1);
        for length in (0..whole.len()).step_by(step) {
            assert!(from_state_dict(&whole[..length]).is_err(), "{name} cut to {length} bytes");
        }
        for position in (0..whole.len()).step_by(step) {
            for value in [0, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[position] = value;
                let _ = from_state_dict(&damaged);
            }
        }
    }
    for bytes in [&b""[..], b"PK", b"PK\x05\x06", b"\x80", b"\x80\x02.", b"GIF89a"] {
        assert!(from_state_dict(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_model_instead_of_its_tensors_is_explained() {
    // pickle.dumps(os.system, protocol=2) called: what a hostile file does.
    let mut file = Vec::new();
    for pickle in [
        &b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..],
        b"\x80\x02M\xe9\x03.",
        b"\x80\x02}.",
        b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.",
        b"\x80\x02].",
    ] {
        file.extend_from_slice(pickle);
    }
    let error = from_state_dict(&file).unwrap_err().to_string();
    assert!(error.contains("`posix.system`") && error.contains("state_dict"), "{error}");
}

#[test]
fn a_base_is_a_sequence_of_the_plan() {
    let architecture = Architecture::new(vec![LayerSpec::MobilenetV2 {}]);
    assert_eq!(architecture.base(), Some(Base::MobilenetV2));
    let shape = Shape::Image { height: 96, width: 96, channels: 3 };
    let plan = architecture.plan(shape, 10).unwrap();
    assert!(plan[0].name == "base1" && matches!(plan[0].kind, LayerKind::Sequence(_)));
    // Sandler et al. 2018, table 2: 32 times smaller, 1,280 channels; 2,223,872 weights and 34,112 statistics.
    assert_eq!(plan[0].output, Shape::Image { height: 3, width: 3, channels: 1280 });
    assert_eq!((plan[0].trainable(), plan[0].statistics()), (2_223_872, 34_112));
}
