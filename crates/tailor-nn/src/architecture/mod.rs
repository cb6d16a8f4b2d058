//! What a network is made of, as a recipe states it.
//!
//! ```text
//!  LayerSpec ──→ blocks (a named block as the layers it stands for) ──→ plan (names, shapes, counts)
//! ```
//!
//! An [`Architecture`] is a list of [`LayerSpec`]s. [`Architecture::plan`] checks it against the shape of
//! the images and completes it: a flatten step before the first dense layer, names as a PyTorch user would
//! choose them (`conv1`, `bn1`, `fc1`, …), and the dense layer that ends in one logit a class.

mod base;
mod blocks;
mod display;
mod plan;

pub use base::Base;
pub use plan::{BASE, LayerKind, PlannedLayer};

use serde::{Deserialize, Serialize};

use crate::init::Initialization;
use crate::shorthand;

/// The layers of a feed-forward network, without its final dense layer, which follows from the classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// In the order in which the image passes through them.
    #[serde(deserialize_with = "shorthand::list")]
    pub layers: Vec<LayerSpec>,
    /// How the weights of all of them are drawn.
    #[serde(default)]
    pub initialization: Initialization,
    /// What their convolutions round.
    #[serde(default)]
    pub precision: Precision,
}

impl Architecture {
    /// These layers, with weights drawn as by default.
    pub fn new(layers: Vec<LayerSpec>) -> Self {
        Architecture { layers, initialization: Initialization::default(), precision: Precision::default() }
    }

    /// The published network that it builds on, if there is one; its tensors are named [`BASE`].
    pub fn base(&self) -> Option<Base> {
        self.layers.iter().find_map(LayerSpec::base)
    }
}

/// One layer of an [`Architecture`], as in `{ type = "conv", filters = 32 }`, or a block of layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum LayerSpec {
    /// A convolution, then an activation.
    Conv(ConvSpec),
    /// A convolution of each channel by itself, then an activation.
    DepthwiseConv(DepthwiseConvSpec),
    /// Batch normalization of each channel (Ioffe & Szegedy 2015), then an activation.
    BatchNorm(BatchNormSpec),
    /// Normalization of each pixel, token or vector of features by itself (Ba et al. 2016).
    LayerNorm {
        /// Added to the variance.
        #[serde(default = "layer_norm_epsilon")]
        epsilon: f64,
    },
    /// An activation by itself.
    Activation {
        /// Applied to each value.
        function: Activation,
    },
    /// The largest value of each window; windows that would cross the border are dropped.
    MaxPool(PoolSpec),
    /// The mean of each window; windows that would cross the border are dropped.
    AveragePool(PoolSpec),
    /// The mean over all pixels or tokens.
    GlobalAveragePool {},
    /// A dense layer with bias, then an activation; of tokens, each by itself.
    Dense {
        /// Output features.
        units: usize,
        /// Applied to the result.
        #[serde(default)]
        activation: Activation,
    },
    /// Inverted dropout (Srivastava et al. 2014), in training only.
    Dropout {
        /// Probability that a value is set to zero, in `[0, 1)`.
        rate: f64,
    },
    /// Scales each channel by a factor that two small dense layers draw from the means of all channels (Hu et al. 2018).
    SqueezeExcite {
        /// Features between the two layers.
        units: usize,
        /// Between the two layers; a sigmoid follows the second.
        #[serde(default)]
        activation: Activation,
    },
    /// Pixels as a sequence of tokens, each with a learned position added (Dosovitskiy et al. 2021, equation 1).
    Tokens {
        /// Whether a learned token goes before them, to gather what the classifier needs.
        #[serde(default)]
        class_token: bool,
    },
    /// The first token alone.
    ClassToken {},
    /// Multi-head self-attention (Vaswani et al. 2017) with biases, as in PyTorch's `MultiheadAttention`.
    Attention {
        /// Each attends with its share of the width.
        heads: usize,
    },
    /// Images brought to another size by bilinear interpolation (half-pixel centers). Only as the first layer.
    Resize {
        /// Height and width.
        size: usize,
        /// Whether images that have at least this height and width stay as they are.
        #[serde(default)]
        only_smaller: bool,
    },
    /// Every `stride`-th pixel, with channels of zeros appended: the shortcut without weights of He et al. 2016,
    /// option A.
    PadShortcut {
        /// Output channels.
        filters: usize,
        /// Step between two pixels, in rows and columns.
        stride: usize,
    },
    /// Layers under one name.
    Sequence {
        /// In order.
        #[serde(deserialize_with = "shorthand::list")]
        layers: Vec<LayerSpec>,
    },
    /// `activation(body(x) + shortcut(x))` (He et al. 2016).
    Residual {
        /// The branch with the weights.
        #[serde(deserialize_with = "shorthand::list")]
        body: Vec<LayerSpec>,
        /// What is added; nothing is the input itself.
        #[serde(default, deserialize_with = "shorthand::list")]
        shortcut: Vec<LayerSpec>,
        /// Of the sum.
        #[serde(default = "no_activation")]
        activation: Activation,
        /// Probability that the body of an image is left out in training: stochastic depth (Huang et al. 2016), the others
        /// scaled up.
        #[serde(default)]
        drop_rate: f64,
    },
    /// Two 3×3 convolutions with batch norm and a shortcut: ResNet-18, -20 and -34 (He et al. 2016, figure 2).
    BasicBlock {
        /// Output channels.
        filters: usize,
        /// Of the first convolution.
        #[serde(default = "one")]
        stride: usize,
        /// What the shortcut does where the shape changes.
        #[serde(default)]
        shortcut: Shortcut,
        /// As in `residual`.
        #[serde(default)]
        drop_rate: f64,
    },
    /// 1×1 convolution to more channels, depthwise convolution, 1×1 convolution to few, each with batch norm, and a
    /// shortcut where the shape stays: MobileNetV2 (Sandler et al. 2018, figure 4); with squeeze-and-excitation,
    /// EfficientNet (Tan & Le 2019).
    InvertedResidual {
        /// Output channels.
        filters: usize,
        /// Factor by which the channels grow in between.
        expand: usize,
        /// Of the depthwise convolution.
        #[serde(default = "three")]
        kernel: usize,
        /// Of the depthwise convolution.
        #[serde(default = "one")]
        stride: usize,
        /// After the first two convolutions.
        #[serde(default = "relu6")]
        activation: Activation,
        /// Squeeze-and-excitation with this fraction of the block's input channels, 1 over this number; none by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        squeeze: Option<usize>,
        /// As in `residual`.
        #[serde(default)]
        drop_rate: f64,
    },
    /// Attention and a small network over each token, both with layer norm before and a shortcut around: an encoder block
    /// of the vision transformer (Dosovitskiy et al. 2021, equations 2 and 3).
    TransformerBlock {
        /// See `attention`.
        heads: usize,
        /// Hidden units of the network over each token.
        units: usize,
        /// Of what each of the two adds.
        #[serde(default)]
        dropout: f64,
        /// As in `residual`.
        #[serde(default)]
        drop_rate: f64,
    },
    /// See [`Base::MobilenetV2`].
    MobilenetV2 {},
    /// See [`Base::Resnet18`].
    #[serde(rename = "resnet-18")]
    Resnet18 {},
}

/// A convolution with its activation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvSpec {
    /// Output channels.
    pub filters: usize,
    /// Height and width of the kernel.
    #[serde(default = "three")]
    pub kernel: usize,
    /// Step between two outputs, in rows and columns.
    #[serde(default = "one")]
    pub stride: usize,
    /// What happens at the border.
    #[serde(default)]
    pub padding: Padding,
    /// Input and output channels fall into this many groups; a group sees only its own inputs.
    #[serde(default = "one")]
    pub groups: usize,
    /// Whether a value for each filter is added.
    #[serde(default = "yes")]
    pub bias: bool,
    /// Applied to the result.
    #[serde(default)]
    pub activation: Activation,
}

impl ConvSpec {
    /// With bias and ReLU, stride 1 and valid padding.
    pub fn new(filters: usize, kernel: usize) -> Self {
        ConvSpec {
            filters,
            kernel,
            stride: 1,
            padding: Padding::Valid,
            groups: 1,
            bias: true,
            activation: Activation::Relu,
        }
    }

    /// As it stands before a batch norm: no bias, no activation, and padding that keeps the size at stride 1.
    pub fn bare(filters: usize, kernel: usize, stride: usize) -> Self {
        ConvSpec {
            stride,
            padding: Padding::Zeros(kernel / 2),
            bias: false,
            activation: Activation::None,
            ..Self::new(filters, kernel)
        }
    }
}

/// A depthwise convolution with its activation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthwiseConvSpec {
    /// Height and width of the kernel.
    #[serde(default = "three")]
    pub kernel: usize,
    /// Step between two outputs, in rows and columns.
    #[serde(default = "one")]
    pub stride: usize,
    /// What happens at the border.
    #[serde(default)]
    pub padding: Padding,
    /// Whether a value for each channel is added.
    #[serde(default = "yes")]
    pub bias: bool,
    /// Applied to the result.
    #[serde(default)]
    pub activation: Activation,
}

impl DepthwiseConvSpec {
    /// As a convolution of `channels` groups.
    pub(crate) fn of_channels(self, channels: usize) -> ConvSpec {
        let DepthwiseConvSpec { kernel, stride, padding, bias, activation } = self;
        ConvSpec { filters: channels, kernel, stride, padding, groups: channels, bias, activation }
    }
}

/// A batch norm with its activation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNormSpec {
    /// Weight of the newest batch in the running statistics, as in PyTorch.
    #[serde(default = "batch_norm_momentum")]
    pub momentum: f64,
    /// Added to the variance.
    #[serde(default = "batch_norm_epsilon")]
    pub epsilon: f64,
    /// Applied to the result.
    #[serde(default = "no_activation")]
    pub activation: Activation,
}

impl BatchNormSpec {
    /// With PyTorch's constants.
    pub fn new(activation: Activation) -> Self {
        BatchNormSpec { momentum: batch_norm_momentum(), epsilon: batch_norm_epsilon(), activation }
    }
}

/// A pool.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// Height and width of the window.
    #[serde(default = "two")]
    pub size: usize,
    /// Step between two windows; by default the size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// Rows and columns around the image that no maximum is taken from.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub padding: usize,
}

impl PoolSpec {
    /// Windows that touch and do not overlap.
    pub fn new(size: usize) -> Self {
        PoolSpec { size, stride: None, padding: 0 }
    }

    /// Step between two windows.
    pub fn step(self) -> usize {
        self.stride.unwrap_or(self.size)
    }
}

/// What a shortcut does where a block changes the shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortcut {
    /// A 1×1 convolution with batch norm: option B of He et al. 2016, and torchvision's ResNets.
    #[default]
    Projection,
    /// Skips pixels and pads channels with zeros: option A, without weights.
    Pad,
}

/// What a convolution does at the border of its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PaddingText", into = "PaddingText")]
pub enum Padding {
    /// The kernel stays inside: the output is smaller.
    #[default]
    Valid,
    /// Zeros around it, the odd one at the bottom and right, so that `output = ⌈input / stride⌉` (as in Keras).
    Same,
    /// This many zeros on each side (as in PyTorch).
    Zeros(usize),
}

/// How a recipe writes a [`Padding`]: `"valid"`, `"same"`, or a number.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "padding is \"valid\", \"same\" or a number of zeros")]
enum PaddingText {
    Named(NamedPadding),
    Zeros(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NamedPadding {
    Valid,
    Same,
}

impl From<PaddingText> for Padding {
    fn from(text: PaddingText) -> Self {
        match text {
            PaddingText::Named(NamedPadding::Valid) => Padding::Valid,
            PaddingText::Named(NamedPadding::Same) => Padding::Same,
            PaddingText::Zeros(zeros) => Padding::Zeros(zeros),
        }
    }
}

impl From<Padding> for PaddingText {
    fn from(padding: Padding) -> Self {
        match padding {
            Padding::Valid => PaddingText::Named(NamedPadding::Valid),
            Padding::Same => PaddingText::Named(NamedPadding::Same),
            Padding::Zeros(zeros) => PaddingText::Zeros(zeros),
        }
    }
}

impl Padding {
    /// Zeros before and after one axis of `input` values.
    pub fn amounts(self, input: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self {
            Padding::Valid => (0, 0),
            Padding::Same => {
                let total = ((input.div_ceil(stride) - 1) * stride + kernel).saturating_sub(input);
                (total / 2, total - total / 2)
            }
            Padding::Zeros(zeros) => (zeros, zeros),
        }
    }
}

/// An elementwise function after a convolution, norm or dense layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `max(x, 0)`
    #[default]
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `tanh(x)`
    Tanh,
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `x / (1 + e⁻ˣ)`, also called swish (Elfwing et al. 2018)
    Silu,
    /// `x · Φ(x)`, Φ being the normal distribution's (Hendrycks & Gimpel 2016)
    Gelu,
    /// `x`
    None,
}

impl Activation {
    /// The same for our kernels.
    pub(crate) fn kernel(self) -> tailor_kernels::activation::Activation {
        use tailor_kernels::activation::Activation as Kernel;
        match self {
            Activation::Relu => Kernel::Relu,
            Activation::Relu6 => Kernel::Relu6,
            Activation::Tanh => Kernel::Tanh,
            Activation::Sigmoid => Kernel::Sigmoid,
            Activation::Silu => Kernel::Silu,
            Activation::Gelu => Kernel::Gelu,
            Activation::None => Kernel::Identity,
        }
    }
}

/// What convolutions on our kernels round; Burn's operations on a GPU round nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Nothing: 24 bits.
    #[default]
    F32,
    /// The factors of most products, to 8 bits; their sums stay `f32`. See [`tailor_kernels::bf16::Precision`].
    Bf16,
}

impl Precision {
    /// The same for our kernels.
    pub(crate) fn kernel(self) -> tailor_kernels::bf16::Precision {
        match self {
            Precision::F32 => tailor_kernels::bf16::Precision::F32,
            Precision::Bf16 => tailor_kernels::bf16::Precision::Bf16,
        }
    }
}

fn one() -> usize {
    1
}

fn two() -> usize {
    2
}

fn three() -> usize {
    3
}

fn yes() -> bool {
    true
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn no_activation() -> Activation {
    Activation::None
}

fn relu6() -> Activation {
    Activation::Relu6
}

fn batch_norm_momentum() -> f64 {
    0.1
}

fn batch_norm_epsilon() -> f64 {
    1e-5
}

fn layer_norm_epsilon() -> f64 {
    1e-5
}
