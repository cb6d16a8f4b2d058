//! What a network is made of inside: the filters of its first layer, and its feature maps.

use tailor_nn::architecture::{LayerKind, LayerSpec};
use tailor_nn::{Probe, Shape};

use crate::Heat;

/// The weights of the first layer, each filter as an image of the shape that it looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Filters {
    /// The layer's name.
    pub layer: String,
    /// Filters there are, also those that are not kept.
    pub count: usize,
    /// Height, width and channels of a filter.
    pub shape: [usize; 3],
    /// `[H, W, C]` each, the first ones.
    pub filters: Vec<Vec<f32>>,
}

/// Some feature maps of a layer for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureMaps {
    /// The layer's name.
    pub layer: String,
    /// Height, width and channels.
    pub shape: [usize; 3],
    /// The channels with the largest values, in their order, and where each is large.
    pub maps: Vec<(usize, Heat)>,
}

/// The first layer's filters, `most` at most: those of a convolution, or of a dense layer the weights of its units over the
/// image. None if the first layer with weights is of another kind.
pub fn filters(probe: &Probe, most: usize) -> Option<Filters> {
    let tensors = probe.export();
    let weight = tensors.iter().find(|tensor| tensor.name.ends_with(".weight"))?;
    let (Shape::Image { height, width, channels }, shape) = (probe.shape(0), weight.shape.as_slice()) else {
        return None;
    };
    // PyTorch's layouts: [filters, channels, rows, columns], and [units, channels · rows · columns].
    let [channels, height, width] = match *shape {
        [_, channels, height, width] => [channels, height, width],
        [_, inputs] if inputs == height * width * channels => [channels, height, width],
        _ => return None,
    };
    let turned = |filter: &[f32]| -> Vec<f32> {
        let area = height * width;
        (0..area * channels).map(|i| filter[i % channels * area + i / channels]).collect()
    };
    let filters = weight.values.chunks_exact(channels * height * width).take(most).map(turned).collect();
    let layer = weight.name.trim_end_matches(".weight").to_string();
    Some(Filters { layer, count: shape[0], shape: [height, width, channels], filters })
}

/// Feature maps of up to `layers` layers that give an image, spread evenly over the depth, for one normalized image: of each the
/// `channels` channels with the largest values. None of a network without such layers.
pub fn feature_maps(probe: &Probe, image: &[f32], layers: usize, channels: usize) -> Vec<FeatureMaps> {
    let is_shown = |place: &usize| {
        let kind = &probe.layers()[place - 1].kind;
        matches!(probe.shape(*place), Shape::Image { .. })
            && !matches!(kind, LayerKind::Layer(LayerSpec::Resize { .. } | LayerSpec::Dropout { .. }))
    };
    let places: Vec<usize> = (1..probe.layers().len()).filter(is_shown).collect();
    let shown = layers.min(places.len());
    (0..shown).map(|i| maps_at(probe, image, places[i * places.len() / shown], channels)).collect()
}

fn maps_at(probe: &Probe, image: &[f32], place: usize, most: usize) -> FeatureMaps {
    let Shape::Image { height, width, channels } = probe.shape(place) else {
        unreachable!("only such places are shown")
    };
    let values = probe.activations(image, place);
    let of_channel =
        |channel: usize| values.iter().skip(channel).step_by(channels).copied().collect::<Vec<f32>>();
    let largest = |channel: &usize| of_channel(*channel).into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut order: Vec<usize> = (0..channels).collect();
    order.sort_by(|a, b| largest(b).total_cmp(&largest(a)));
    order.truncate(most);
    order.sort_unstable();
    let maps = order.into_iter().map(|channel| (channel, Heat::new(height, width, of_channel(channel))));
    FeatureMaps {
        layer: probe.layers()[place - 1].name.clone(),
        shape: [height, width, channels],
        maps: maps.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailor_nn::architecture::Architecture;
    use tailor_nn::weights::NamedTensor;
    use tailor_nn::{Device, Network};

    /// A network for images of 3×4 with two channels, whose first weights count up from 0 in PyTorch's layout.
    fn probe(layers: &str) -> Probe {
        let layers: Vec<LayerSpec> = serde_json::from_str(layers).unwrap();
        let shape = Shape::Image { height: 3, width: 4, channels: 2 };
        let mut network = Network::new(&Architecture::new(layers), shape, 3, 1, &Device::flex()).unwrap();
        let mut tensors = network.export();
        let NamedTensor { values, .. } = &mut tensors[0];
        values.iter_mut().enumerate().for_each(|(i, value)| *value = i as f32);
        network.import(tensors).unwrap();
        Probe::new(&network)
    }

    #[test]
    fn filters_are_turned_so_that_channels_come_last() {
        let convolution = probe(r#"[{"type": "conv", "filters": 5, "kernel": 2}]"#);
        let filters = filters(&convolution, 2).unwrap();
        assert_eq!((filters.layer.as_str(), filters.count, filters.shape), ("conv1", 5, [2, 2, 2]));
        // Channels (0 1 / 2 3) and (4 5 / 6 7).
        assert_eq!(filters.filters.len(), 2);
        assert_eq!(filters.filters[0], [0., 4., 1., 5., 2., 6., 3., 7.]);
        assert_eq!(filters.filters[1][0], 8.0);
        let dense = super::filters(&probe(r#"[{"type": "dense", "units": 7}]"#), 9).unwrap();
        assert_eq!((dense.count, dense.filters.len(), dense.shape), (7, 7, [3, 4, 2]));
        assert_eq!(dense.filters[0][..4], [0., 12., 1., 13.]);
        assert_eq!(super::filters(&probe(r#"[{"type": "batch-norm"}]"#), 9), None);
    }

    #[test]
    fn feature_maps_are_the_largest_channels_of_layers_spread_over_the_depth() {
        let probe = probe(
            r#"[{"type": "conv", "filters": 6, "kernel": 1, "activation": "none"}, {"type": "max-pool", "size": 1},
                {"type": "conv", "filters": 2, "kernel": 2}, {"type": "dense", "units": 4}]"#,
        );
        let image: Vec<f32> = (0..24).map(|i| i as f32 / 24.0).collect();
        let maps = feature_maps(&probe, &image, 2, 3);
        let layers: Vec<&str> = maps.iter().map(|maps| maps.layer.as_str()).collect();
        assert_eq!(layers, ["conv1", "pool1"]);
        // Filter c weighs the two channels by 2c and 2c + 1: the last are the largest.
        let channels: Vec<usize> = maps[0].maps.iter().map(|(channel, _)| *channel).collect();
        assert_eq!(channels, [3, 4, 5]);
        let (first, second) = (image[0], image[1]);
        let value = maps[0].maps[0].1.values()[0];
        assert!((value - (6.0 * first + 7.0 * second)).abs() < 1e-5);
    }
}
