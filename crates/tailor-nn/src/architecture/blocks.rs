//! Blocks by name, as the layers that they stand for.

use super::{Activation, Base, BatchNormSpec, ConvSpec, DepthwiseConvSpec, LayerSpec, Padding, Shortcut};

impl LayerSpec {
    /// What a block that gets `channels` channels consists of: a residual or a sequence. None for a layer.
    pub(super) fn expand(&self, channels: usize) -> Option<LayerSpec> {
        match *self {
            LayerSpec::BasicBlock { filters, stride, shortcut, drop_rate } => {
                Some(basic_block(channels, filters, stride, shortcut, drop_rate))
            }
            LayerSpec::InvertedResidual { filters, stride, drop_rate, .. } => {
                let layers = inverted_bottleneck(self, channels);
                Some(match stride == 1 && filters == channels {
                    true => residual(layers, drop_rate),
                    false => LayerSpec::Sequence { layers },
                })
            }
            LayerSpec::TransformerBlock { heads, units, dropout, drop_rate } => {
                let attention = vec![LayerSpec::Attention { heads }];
                let network = vec![
                    LayerSpec::Dense { units, activation: Activation::Gelu },
                    LayerSpec::Dropout { rate: dropout },
                    LayerSpec::Dense { units: channels, activation: Activation::None },
                ];
                let with_norm = |layers: Vec<LayerSpec>| {
                    let norm = LayerSpec::LayerNorm { epsilon: 1e-6 };
                    let body = [vec![norm], layers, vec![LayerSpec::Dropout { rate: dropout }]].concat();
                    residual(body, drop_rate)
                };
                Some(LayerSpec::Sequence { layers: vec![with_norm(attention), with_norm(network)] })
            }
            _ => self.base().map(|base| LayerSpec::Sequence { layers: base.layers() }),
        }
    }

    /// The published network that it is, if it is one.
    pub(super) fn base(&self) -> Option<Base> {
        match self {
            LayerSpec::MobilenetV2 {} => Some(Base::MobilenetV2),
            LayerSpec::Resnet18 {} => Some(Base::Resnet18),
            _ => None,
        }
    }
}

fn basic_block(
    channels: usize,
    filters: usize,
    stride: usize,
    shortcut: Shortcut,
    drop_rate: f64,
) -> LayerSpec {
    LayerSpec::Residual {
        body: vec![
            LayerSpec::Conv(ConvSpec::bare(filters, 3, stride)),
            norm(Activation::Relu),
            LayerSpec::Conv(ConvSpec::bare(filters, 3, 1)),
            norm(Activation::None),
        ],
        shortcut: match shortcut {
            _ if stride == 1 && filters == channels => Vec::new(),
            Shortcut::Projection => {
                vec![LayerSpec::Conv(ConvSpec::bare(filters, 1, stride)), norm(Activation::None)]
            }
            Shortcut::Pad => vec![LayerSpec::PadShortcut { filters, stride }],
        },
        activation: Activation::Relu,
        drop_rate,
    }
}

/// From `channels` to `expand` times as many and to the block's filters, without the shortcut.
fn inverted_bottleneck(block: &LayerSpec, channels: usize) -> Vec<LayerSpec> {
    let &LayerSpec::InvertedResidual { filters, expand, kernel, stride, activation, squeeze, .. } = block
    else {
        unreachable!("only called for that block")
    };
    let mut layers = Vec::new();
    if expand > 1 {
        layers.push(LayerSpec::Conv(ConvSpec::bare(channels.saturating_mul(expand), 1, 1)));
        layers.push(norm(activation));
    }
    layers.push(LayerSpec::DepthwiseConv(DepthwiseConvSpec {
        kernel,
        stride,
        padding: Padding::Zeros(kernel / 2),
        bias: false,
        activation: Activation::None,
    }));
    layers.push(norm(activation));
    if let Some(fraction) = squeeze {
        layers.push(LayerSpec::SqueezeExcite { units: (channels / fraction.max(1)).max(1), activation });
    }
    layers.push(LayerSpec::Conv(ConvSpec::bare(filters, 1, 1)));
    layers.push(norm(Activation::None));
    layers
}

/// `body(x) + x`
fn residual(body: Vec<LayerSpec>, drop_rate: f64) -> LayerSpec {
    LayerSpec::Residual { body, shortcut: Vec::new(), activation: Activation::None, drop_rate }
}

fn norm(activation: Activation) -> LayerSpec {
    LayerSpec::BatchNorm(BatchNormSpec::new(activation))
}
