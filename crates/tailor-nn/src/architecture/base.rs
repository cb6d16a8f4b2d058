//! Published networks without their classifiers: what other images have taught them carries over to one's own.

use serde::{Deserialize, Serialize};

use super::{Activation, BatchNormSpec, ConvSpec, LayerSpec, PoolSpec};

/// A published network without its classifier, from images to images of many channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Base {
    /// MobileNetV2 1.0 (Sandler et al. 2018, table 2).
    #[serde(rename = "mobilenet-v2")]
    MobilenetV2,
    /// ResNet-18 (He et al. 2016, table 1).
    #[serde(rename = "resnet-18")]
    Resnet18,
}

impl Base {
    /// As a recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Base::MobilenetV2 => "mobilenet-v2",
            Base::Resnet18 => "resnet-18",
        }
    }

    /// From the image to the last activation before the pool.
    pub(super) fn layers(self) -> Vec<LayerSpec> {
        match self {
            Base::MobilenetV2 => mobilenet_v2(),
            Base::Resnet18 => resnet_18(),
        }
    }
}

fn mobilenet_v2() -> Vec<LayerSpec> {
    /// Table 2's t, c, n and s.
    const BLOCKS: [[usize; 4]; 7] = [
        [1, 16, 1, 1],
        [6, 24, 2, 2],
        [6, 32, 3, 2],
        [6, 64, 4, 2],
        [6, 96, 3, 1],
        [6, 160, 3, 2],
        [6, 320, 1, 1],
    ];
    let blocks = BLOCKS.into_iter().flat_map(|[expand, filters, blocks, stride]| {
        (0..blocks).map(move |block| LayerSpec::InvertedResidual {
            filters,
            expand,
            kernel: 3,
            stride: if block == 0 { stride } else { 1 },
            activation: Activation::Relu6,
            squeeze: None,
            drop_rate: 0.0,
        })
    });
    let stem = normed(ConvSpec::bare(32, 3, 2), Activation::Relu6);
    let last = normed(ConvSpec::bare(1280, 1, 1), Activation::Relu6);
    stem.into_iter().chain(blocks).chain(last).collect()
}

fn resnet_18() -> Vec<LayerSpec> {
    let blocks = [64, 128, 256, 512].into_iter().flat_map(|filters| {
        let stride = if filters == 64 { 1 } else { 2 };
        [stride, 1].map(|stride| LayerSpec::BasicBlock {
            filters,
            stride,
            shortcut: Default::default(),
            drop_rate: 0.0,
        })
    });
    let stem = normed(ConvSpec::bare(64, 7, 2), Activation::Relu);
    let pool = LayerSpec::MaxPool(PoolSpec { size: 3, stride: Some(2), padding: 1 });
    stem.into_iter().chain([pool]).chain(blocks).collect()
}

fn normed(conv: ConvSpec, activation: Activation) -> [LayerSpec; 2] {
    [LayerSpec::Conv(conv), LayerSpec::BatchNorm(BatchNormSpec::new(activation))]
}
