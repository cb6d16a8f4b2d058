//! The same heat as PyTorch's hooks and NumPy give, from the same weights, and neighbors as scikit-learn finds them
//! (`vectors/make.py` made them).

use std::collections::BTreeMap;
use std::path::Path;

use tailor_data::ImageShape;
use tailor_explain::integrated_gradients::{STEPS, integrated_gradients};
use tailor_explain::occlusion::{Patch, occlusion};
use tailor_explain::rollout::rollout;
use tailor_explain::{Heat, cam};
use tailor_nn::architecture::{Architecture, LayerSpec};
use tailor_nn::weights::{NamedTensor, from_safetensors};
use tailor_nn::{Device, Network, Probe, Shape};

/// The steps that `make.py` takes.
const THEIR_STEPS: usize = 16;

struct Reference(BTreeMap<String, NamedTensor>);

impl Reference {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{name}.safetensors"));
        let (tensors, _) = from_safetensors(&std::fs::read(path).unwrap()).unwrap();
        Reference(tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect())
    }

    fn values(&self, name: &str) -> &[f32] {
        &self.0[name].values
    }

    fn classes(&self) -> Vec<usize> {
        self.values("classes").iter().map(|&class| class as usize).collect()
    }

    /// `[N, C, H, W]` as `[N, H, W, C]`.
    fn images(&self, name: &str) -> Vec<f32> {
        let NamedTensor { shape, values, .. } = &self.0[name];
        let (channels, area) = (shape[1], shape[2] * shape[3]);
        let of_image = |image: &[f32]| -> Vec<f32> {
            (0..image.len()).map(|i| image[i % channels * area + i / channels]).collect()
        };
        values.chunks_exact(channels * area).flat_map(of_image).collect()
    }

    fn probe(&self, layers: &str, [side, channels, classes]: [usize; 3]) -> Probe {
        let layers: Vec<LayerSpec> = serde_json::from_str(layers).unwrap();
        let shape = Shape::Image { height: side, width: side, channels };
        let mut network =
            Network::new(&Architecture::new(layers), shape, classes, 1, &Device::flex()).unwrap();
        let is_weight = |tensor: &&NamedTensor| {
            ["conv", "bn", "fc", "block", "ln", "tokens"].iter().any(|prefix| tensor.name.starts_with(prefix))
        };
        network.import(self.0.values().filter(is_weight).cloned().collect()).unwrap();
        Probe::new(&network)
    }

    fn convolutions(&self) -> Probe {
        self.probe(
            r#"[{"type": "conv", "filters": 6}, {"type": "max-pool"},
                {"type": "conv", "filters": 8, "padding": 1, "bias": false, "activation": "none"},
                {"type": "batch-norm", "activation": "relu"}, {"type": "average-pool"},
                {"type": "dense", "units": 9}]"#,
            [11, 2, 4],
        )
    }
}

fn assert_close(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let largest = theirs.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.01, "{what}: there is something to compare");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= 1e-4 * largest, "{what}[{i}]: {a} against {b}");
    }
}

#[test]
fn class_activation_maps_agree_with_pytorchs_hooks() {
    let reference = Reference::read("convolutions");
    let probe = reference.convolutions();
    for layer in ["conv1", "pool1", "bn1"] {
        let place = 1 + probe.layers().iter().position(|planned| planned.name == layer).unwrap();
        let Shape::Image { height, width, channels } = probe.shape(place) else { panic!("an image") };
        let shape = [height, width, channels];
        let slopes = probe.slopes(&reference.images("input"), place, &reference.classes());
        assert_close("logits", &slopes.logits, reference.values("logits"));
        let len = probe.shape(place).len();
        let heat = |map: fn(&[f32], &[f32], [usize; 3]) -> Heat| -> Vec<f32> {
            let each = slopes.activations.chunks(len).zip(slopes.gradients.chunks(len));
            each.flat_map(|(a, g)| map(a, g, shape).values().to_vec()).collect()
        };
        let name = format!("grad-cam.{layer}");
        assert_close(&name, &heat(cam::grad_cam), reference.values(&name));
        let name = format!("grad-cam++.{layer}");
        assert_close(&name, &heat(cam::grad_cam_plus_plus), reference.values(&name));
    }
}

#[test]
fn integrated_gradients_agree_with_pytorch_and_sum_to_the_difference_of_logits() {
    let reference = Reference::read("convolutions");
    let probe = reference.convolutions();
    let (images, baselines) = (reference.images("input"), reference.images("baseline"));
    let theirs = reference.images("integrated-gradients");
    let size = 11 * 11 * 2;
    let each = images.chunks(size).zip(baselines.chunks(size)).zip(reference.classes()).enumerate();
    for (i, ((image, baseline), class)) in each {
        let ours = integrated_gradients(&probe, image, baseline, class, THEIR_STEPS);
        assert_close("integrated gradients", &ours, &theirs[i * size..][..size]);
        // Completeness (Sundararajan et al. 2017, proposition 1); kinks cost the midpoint rule some accuracy.
        let logit = |name: &str| reference.values(name)[i * 4 + class];
        let difference = logit("logits") - logit("logits.baseline");
        let sum = |steps| integrated_gradients(&probe, image, baseline, class, steps).iter().sum::<f32>();
        let error = |steps| (sum(steps) - difference).abs();
        assert!(error(STEPS) < 0.01 * difference.abs().max(1.0), "{} against {difference}", sum(STEPS));
        assert!(error(1024) < 1e-3 * difference.abs().max(1.0), "{} against {difference}", sum(1024));
    }
}

#[test]
fn occlusion_agrees_with_pytorch() {
    let (probe, reference) = (Reference::read("convolutions").convolutions(), Reference::read("occlusion"));
    let bytes = |values: &[f32]| values.iter().map(|&value| value as u8).collect::<Vec<u8>>();
    let logits = |pixels: &[u8]| {
        let values: Vec<f32> = pixels.iter().map(|&value| f32::from(value) / 255.0).collect();
        probe.activations(&values, probe.layers().len())
    };
    let (images, cover) = (bytes(&reference.images("input")), bytes(reference.values("cover")));
    let patch = Patch { size: 3, stride: 2 };
    let each = images.chunks(11 * 11 * 2).zip(reference.classes());
    let ours: Vec<f32> = each
        .flat_map(|(image, class)| {
            let heat = occlusion(logits, image, ImageShape::new(11, 11, 2), class, patch, &cover);
            heat.values().to_vec()
        })
        .collect();
    assert_close("occlusion", &ours, reference.values("occlusion"));
}

#[test]
fn attention_rollout_agrees_with_numpy() {
    let reference = Reference::read("transformer");
    let probe = reference.probe(
        r#"[{"type": "conv", "filters": 12, "kernel": 4, "stride": 4, "activation": "none"},
            {"type": "tokens", "class-token": true},
            {"type": "transformer-block", "heads": 3, "units": 20},
            {"type": "transformer-block", "heads": 2, "units": 20},
            {"type": "layer-norm"}, {"type": "class-token"}]"#,
        [12, 1, 5],
    );
    let images = reference.images("input");
    assert_close("logits", &probe.activations(&images, probe.layers().len()), reference.values("logits"));
    let maps = probe.attention(&images);
    let joined: Vec<f32> = (0..3)
        .flat_map(|image| {
            let of_image: Vec<&[f32]> =
                maps.iter().map(|map| &map[image * map.len() / 3..][..map.len() / 3]).collect();
            rollout(&of_image, 10)
        })
        .collect();
    assert_close("rollout", &joined, reference.values("rollout"));
    let rows = joined.chunks(10);
    assert!(rows.clone().all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    // It is no even spread that would pass for anything.
    assert!(rows.map(|row| row[0]).fold(0.0, f32::max) > 0.2);
}
