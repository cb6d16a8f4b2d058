//! Networks whose evidence is known, because their weights were set by hand: the heat lies there, and nowhere else once the
//! weights are others (Adebayo et al. 2018, "Sanity Checks for Saliency Maps").

use tailor_data::{ImageShape, Normalization};
use tailor_explain::{Explainer, Heat, Method, Subject};
use tailor_nn::architecture::{Architecture, LayerSpec};
use tailor_nn::{Device, Network, Probe, Shape};

const SIDE: usize = 12;
/// Of the feature map, which a 3×3 convolution makes smaller.
const MAP: usize = SIDE - 2;
/// A convolution with two filters and two classes.
fn network(seed: u64) -> Network {
    let layers: Vec<LayerSpec> = serde_json::from_str(r#"[{"type": "conv", "filters": 2}]"#).unwrap();
    let shape = Shape::Image { height: SIDE, width: SIDE, channels: 1 };
    Network::new(&Architecture::new(layers), shape, 2, seed, &Device::flex()).unwrap()
}

/// The first filter is bright where the image is; class 0 asks for that at the top left, class 1 at the bottom right.
fn knowing_places() -> Network {
    let mut network = network(1);
    let mut tensors = network.export();
    for tensor in &mut tensors {
        let of = |i: usize| match tensor.name.as_str() {
            "conv1.weight" if i < 9 => 1.0 / 9.0,
            "fc1.weight" => {
                // [classes, filters · rows · columns]
                let (class, place) = (i / (2 * MAP * MAP), i % (2 * MAP * MAP));
                let (row, column) = (place / MAP % MAP, place % MAP);
                let first = place < MAP * MAP;
                let (near, far) = (row < MAP / 2 && column < MAP / 2, row >= MAP / 2 && column >= MAP / 2);
                let sign = if class == 0 { 1.0 } else { -1.0 };
                f32::from(u8::from(first)) * sign * (f32::from(u8::from(near)) - f32::from(u8::from(far)))
            }
            _ => 0.0,
        };
        let values: Vec<f32> = (0..tensor.values.len()).map(of).collect();
        tensor.values = values;
    }
    network.import(tensors).unwrap();
    network
}

/// The first filter answers to a bright pixel right of a dark one, the second to a bright one left of it; class 0 counts the
/// first, class 1 the second.
fn knowing_edges() -> Network {
    let mut network = network(1);
    let mut tensors = network.export();
    let edges = [[0., 0., 0., -1., 1., 0., 0., 0., 0.], [0., 0., 0., 0., 1., -1., 0., 0., 0.]].concat();
    for tensor in &mut tensors {
        let area = MAP * MAP;
        tensor.values = match tensor.name.as_str() {
            "conv1.weight" => edges.clone(),
            "fc1.weight" => {
                (0..4 * area).map(|i| if i / (2 * area) == i / area % 2 { 1.0 } else { -1.0 }).collect()
            }
            _ => vec![0.0; tensor.values.len()],
        };
    }
    network.import(tensors).unwrap();
    network
}

/// A bright square at the top left, one at the bottom right, and two that no class asks for.
fn image() -> Vec<u8> {
    let is_bright = |i: usize| {
        let (row, column) = (i / SIDE, i % SIDE);
        [(2, 2), (2, 8), (8, 2), (8, 8)]
            .iter()
            .any(|&(top, left)| (top..top + 2).contains(&row) && (left..left + 2).contains(&column))
    };
    (0..SIDE * SIDE).map(|i| if is_bright(i) { 250 } else { 0 }).collect()
}

/// A transformer over 3×3 patches, one head, four values each.
fn transformer(seed: u64) -> Network {
    let layers = r#"[{"type": "conv", "filters": 4, "kernel": 4, "stride": 4, "activation": "none"},
        {"type": "tokens", "class-token": true}, {"type": "transformer-block", "heads": 1, "units": 4},
        {"type": "layer-norm"}, {"type": "class-token"}]"#;
    let layers: Vec<LayerSpec> = serde_json::from_str(layers).unwrap();
    let shape = Shape::Image { height: SIDE, width: SIDE, channels: 1 };
    Network::new(&Architecture::new(layers), shape, 2, seed, &Device::flex()).unwrap()
}

/// The class token asks for bright patches: the first two values of a patch are its brightness and the negative of it, the last
/// two of the class token 1 and −1; its query is the difference of these, a patch's key that of those.
fn knowing_brightness() -> Network {
    let mut network = transformer(1);
    let mut tensors = network.export();
    for tensor in &mut tensors {
        let of = |i: usize| match tensor.name.rsplit_once('.').unwrap() {
            ("conv1", "weight") => [1.0, -1.0, 0.0, 0.0][i / 16] / 16.0,
            ("tokens1", "class_token") => [0.0, 0.0, 1.0, -1.0][i],
            // Rows of queries, keys and values.
            (_, "in_proj_weight") => match i {
                2 | 16 => 1.0,
                3 | 17 => -1.0,
                _ => 0.0,
            },
            (module, "weight") if module.contains("ln") => 1.0,
            _ => 0.0,
        };
        let values: Vec<f32> = (0..tensor.values.len()).map(of).collect();
        tensor.values = values;
    }
    network.import(tensors).unwrap();
    network
}

/// One bright patch: that of the second row and the third column.
fn patch() -> Vec<u8> {
    let is_bright = |i: usize| (4..8).contains(&(i / SIDE)) && (8..12).contains(&(i % SIDE));
    (0..SIDE * SIDE).map(|i| if is_bright(i) { 250 } else { 0 }).collect()
}

fn explain(network: &Network, method: Method, class: usize) -> Heat {
    explain_image(network, method, class, &image())
}

fn explain_image(network: &Network, method: Method, class: usize, image: &[u8]) -> Heat {
    let (probe, normalization, predictor) =
        (Probe::new(network), Normalization::unit(1), network.predictor());
    let logits = |pixels: &[u8]| {
        let mut values = vec![0.0; pixels.len()];
        normalization.apply(pixels, &mut values);
        predictor.logits(&values)
    };
    let subject = Subject {
        probe: Some(&probe),
        logits: Box::new(logits),
        shape: ImageShape::new(SIDE, SIDE, 1),
        normalization: &normalization,
    };
    let explainer = Explainer::new(subject, Some(method), None).unwrap();
    explainer.explain(image, &[class]).remove(0)
}

/// The share of the positive heat in each quarter, row by row.
fn quarters(heat: &Heat) -> [f32; 4] {
    let mut sums = [0.0; 4];
    for (i, value) in heat.values().iter().enumerate() {
        let (row, column) = (i / heat.width(), i % heat.width());
        sums[2 * (2 * row / heat.height()) + 2 * column / heat.width()] += value.max(0.0);
    }
    let all: f32 = sums.iter().sum();
    sums.map(|sum| sum / all)
}

#[test]
fn the_heat_of_each_class_lies_where_its_evidence_is() {
    for method in [Method::IntegratedGradients, Method::Occlusion] {
        let [first, second] = [0, 1].map(|class| quarters(&explain(&knowing_places(), method, class)));
        assert!(first[0] > 0.95, "{method}: {first:?}");
        assert!(second[3] > 0.95, "{method}: {second:?}");
    }
}

#[test]
fn class_activation_maps_follow_the_filter_that_the_class_asks_for() {
    for method in [Method::GradCam, Method::GradCamPlusPlus] {
        // Squares begin at columns 2 and 8 and end at 3 and 9; a map's column is that of the kernel's left edge.
        for (class, columns) in [(0, [1, 7]), (1, [2, 8])] {
            let heat = explain(&knowing_edges(), method, class);
            for (i, &value) in heat.values().iter().enumerate() {
                let (row, column) = (i / MAP, i % MAP);
                let is_edge = [1, 2, 7, 8].contains(&row) && columns.contains(&column);
                assert_eq!(value > 0.0, is_edge, "{method}, class {class}, row {row}, column {column}");
            }
        }
    }
}

#[test]
fn roll_out_follows_the_patch_that_the_class_token_asks_for() {
    let heat = explain_image(&knowing_brightness(), Method::Attention, 0, &patch());
    assert_eq!((heat.width(), heat.height()), (3, 3));
    // Queries and keys have the product 2√2 · 2√2 / √4 = 4 at the bright patch and 0 elsewhere, so that this patch gets
    // e⁴ / (e⁴ + 9) of the attention, each other one 1 / (e⁴ + 9), half of which is mixed in.
    let all = 4.0f32.exp() + 9.0;
    for (i, &value) in heat.values().iter().enumerate() {
        let expected = if i == 5 { 4.0f32.exp() } else { 1.0 } / all / 2.0;
        assert!((value - expected).abs() < 1e-3 * expected, "patch {i}: {value}, not {expected}");
    }
}

/// Spearman's rank correlation, ties sharing their ranks.
fn rank_correlation(a: &[f32], b: &[f32]) -> f64 {
    let ranks = |values: &[f32]| -> Vec<f64> {
        let rank = |&value: &f32| {
            let below = values.iter().filter(|&&other| other < value).count();
            let same = values.iter().filter(|&&other| other == value).count();
            below as f64 + same as f64 / 2.0
        };
        values.iter().map(rank).collect()
    };
    let (a, b) = (ranks(a), ranks(b));
    let mean = a.len() as f64 / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    if spread > 0.0 { product(&a, &b) / spread } else { 0.0 }
}

#[test]
fn other_weights_give_another_map() {
    assert!((rank_correlation(&[1., 2., 2., 4.], &[10., 20., 20., 30.]) - 1.0).abs() < 1e-12);
    for (method, knowing) in [
        (Method::GradCam, knowing_edges()),
        (Method::GradCamPlusPlus, knowing_edges()),
        (Method::IntegratedGradients, knowing_places()),
        (Method::Occlusion, knowing_places()),
    ] {
        let heat = explain(&knowing, method, 0);
        let correlations: Vec<f64> = (2..10)
            .map(|seed| rank_correlation(heat.values(), explain(&network(seed), method, 0).values()))
            .collect();
        let mean = correlations.iter().sum::<f64>() / correlations.len() as f64;
        assert!(mean.abs() < 0.5, "{method}: {correlations:?}");
        // The same weights give the same map.
        assert_eq!(rank_correlation(heat.values(), explain(&knowing, method, 0).values()), 1.0);
    }
    let attention = |network| explain_image(&network, Method::Attention, 0, &patch());
    let heat = attention(knowing_brightness());
    let correlations: Vec<f64> =
        (2..10).map(|seed| rank_correlation(heat.values(), attention(transformer(seed)).values())).collect();
    assert!(correlations.iter().sum::<f64>().abs() / 8.0 < 0.5, "attention: {correlations:?}");
}
