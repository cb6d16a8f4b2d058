//! Layers in words, as a summary shows them.

use std::fmt;

use super::{Activation, ConvSpec, LayerKind, LayerSpec, Padding, PoolSpec};

impl fmt::Display for LayerSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            LayerSpec::Conv(conv) => conv.fmt(f),
            LayerSpec::DepthwiseConv(conv) => {
                let size = conv.kernel;
                write!(
                    f,
                    "depthwise conv {size}×{size}{}",
                    after_conv(conv.stride, conv.padding, conv.activation)
                )
            }
            LayerSpec::BatchNorm(norm) => write!(f, "batch norm{}", after(norm.activation)),
            LayerSpec::LayerNorm { .. } => write!(f, "layer norm"),
            LayerSpec::Activation { function } => function.fmt(f),
            LayerSpec::MaxPool(pool) => write!(f, "max {pool}"),
            LayerSpec::AveragePool(pool) => write!(f, "average {pool}"),
            LayerSpec::GlobalAveragePool {} => write!(f, "global average pool"),
            LayerSpec::Dense { units, activation } => write!(f, "dense {units}{}", after(*activation)),
            LayerSpec::Dropout { rate } => write!(f, "dropout {rate}"),
            LayerSpec::SqueezeExcite { units, .. } => write!(f, "squeeze-and-excitation {units}"),
            LayerSpec::Tokens { class_token } => {
                write!(f, "tokens with positions{}", if *class_token { ", class token" } else { "" })
            }
            LayerSpec::ClassToken {} => write!(f, "class token"),
            LayerSpec::Attention { heads } => write!(f, "attention, {heads} heads"),
            LayerSpec::Resize { size, only_smaller } => {
                write!(f, "resize to {}{size}×{size}", if *only_smaller { "at least " } else { "" })
            }
            LayerSpec::PadShortcut { filters, stride } => {
                write!(f, "every {stride}. pixel, zeros up to {filters} channels")
            }
            LayerSpec::Sequence { .. } => write!(f, "sequence"),
            LayerSpec::Residual { activation, drop_rate, .. } => residual(f, *activation, *drop_rate),
            LayerSpec::BasicBlock { filters, .. } => write!(f, "basic block, {filters} filters"),
            LayerSpec::InvertedResidual { filters, expand, .. } => {
                write!(f, "inverted residual, {filters} filters, expanded {expand} times")
            }
            LayerSpec::TransformerBlock { heads, units, .. } => {
                write!(f, "transformer block, {heads} heads, {units} units")
            }
            LayerSpec::MobilenetV2 {} => write!(f, "MobileNetV2"),
            LayerSpec::Resnet18 {} => write!(f, "ResNet-18"),
        }
    }
}

impl fmt::Display for ConvSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let ConvSpec { filters, kernel, stride, padding, groups, activation, .. } = *self;
        write!(f, "conv {kernel}×{kernel}, {filters} filters")?;
        if groups > 1 {
            write!(f, ", {groups} groups")?;
        }
        f.write_str(&after_conv(stride, padding, activation))
    }
}

impl fmt::Display for PoolSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "pool {size}×{size}", size = self.size)?;
        if self.step() != self.size {
            write!(f, ", stride {}", self.step())?;
        }
        Ok(())
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            LayerKind::Layer(spec) => spec.fmt(f),
            LayerKind::Flatten => write!(f, "flatten"),
            LayerKind::Sequence(_) => write!(f, "sequence"),
            LayerKind::Residual { activation, drop_rate, .. } => residual(f, *activation, *drop_rate),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Activation::Relu => "relu",
            Activation::Relu6 => "relu6",
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
            Activation::Silu => "silu",
            Activation::Gelu => "gelu",
            Activation::None => "none",
        })
    }
}

fn residual(f: &mut fmt::Formatter, activation: Activation, drop_rate: f64) -> fmt::Result {
    write!(f, "sum with the shortcut{}", after(activation))?;
    match drop_rate {
        0.0 => Ok(()),
        rate => write!(f, ", body dropped {rate}"),
    }
}

fn after_conv(stride: usize, padding: Padding, activation: Activation) -> String {
    let stride = if stride > 1 { format!(", stride {stride}") } else { String::new() };
    let padding = match padding {
        Padding::Valid | Padding::Zeros(0) => String::new(),
        Padding::Same => ", same padding".into(),
        Padding::Zeros(zeros) => format!(", padding {zeros}"),
    };
    format!("{stride}{padding}{}", after(activation))
}

fn after(activation: Activation) -> String {
    match activation {
        Activation::None => String::new(),
        other => format!(", {other}"),
    }
}
