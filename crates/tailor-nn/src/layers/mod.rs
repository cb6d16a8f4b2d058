//! The layers of the model zoo as Burn modules. Images are `[N, H, W, C]`, tokens `[N, T, D]`, features
//! `[N, F]`.
//!
//! A layer's tensors in memory have the layout that is fastest; `Layer::export` and `Layer::import` turn
//! them into PyTorch's names and layouts.

mod attention;
mod batch_norm;
mod conv;
mod dense;
mod dropout;
mod layer_norm;
mod pool;
mod residual;
mod resize;
pub(crate) mod sequence;
mod squeeze_excite;
mod stage;
mod tokens;

pub use attention::Attention;
pub use batch_norm::BatchNorm;
pub use conv::Conv;
pub use dense::Dense;
pub use dropout::Dropout;
pub use layer_norm::LayerNorm;
pub use pool::{Flatten, GlobalAverage, Pool};
pub use residual::Residual;
pub use resize::{PadShortcut, Resize};
pub(crate) use sequence::Fused;
pub use sequence::Sequence;
pub use squeeze_excite::SqueezeExcite;
use stage::Stage;
pub use tokens::{ClassToken, Tokens};

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor, TensorData, activation};
use tailor_kernels::pool::PoolKind;

use crate::architecture::{Activation, LayerKind, LayerSpec, PlannedLayer, Precision};
use crate::init::Initializer;
use crate::ops::{self, on_kernels};
use crate::weights::{NamedTensor, WeightSource};
use crate::{Result, Shape};

/// Whether a forward pass trains or infers.
#[derive(Clone, Copy, Debug)]
pub enum Pass {
    /// Batch norm uses its running statistics, dropout does nothing.
    Inference,
    /// Batch norm uses and records the batch's statistics, dropout draws its mask.
    Training {
        /// Of the run.
        seed: u64,
        /// Counts the run's steps; the same step draws the same masks on every device.
        step: u64,
    },
}

/// What flows between two layers.
#[derive(Clone)]
pub enum Activations {
    /// `[N, H, W, C]`
    Image(Tensor<4>),
    /// `[N, T, D]`
    Tokens(Tensor<3>),
    /// `[N, F]`
    Features(Tensor<2>),
}

impl Activations {
    /// Values of this shape an image, on a device.
    pub(crate) fn of(values: &[f32], images: usize, shape: Shape, device: &Device) -> Self {
        fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
            Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
        }
        match shape {
            Shape::Image { height, width, channels } => {
                Activations::Image(tensor(values, [images, height, width, channels], device))
            }
            Shape::Tokens { tokens, width } => {
                Activations::Tokens(tensor(values, [images, tokens, width], device))
            }
            Shape::Features(features) => Activations::Features(tensor(values, [images, features], device)),
        }
    }

    /// The same values, outside of any graph.
    pub(crate) fn detach(self) -> Self {
        match self {
            Activations::Image(x) => Activations::Image(x.detach()),
            Activations::Tokens(x) => Activations::Tokens(x.detach()),
            Activations::Features(x) => Activations::Features(x.detach()),
        }
    }

    /// The same values, whose gradient is wanted.
    pub(crate) fn require_grad(self) -> Self {
        match self {
            Activations::Image(x) => Activations::Image(x.require_grad()),
            Activations::Tokens(x) => Activations::Tokens(x.require_grad()),
            Activations::Features(x) => Activations::Features(x.require_grad()),
        }
    }

    /// On the host, in row-major order.
    pub(crate) fn into_values(self) -> Vec<f32> {
        match self {
            Activations::Image(x) => host_values(x),
            Activations::Tokens(x) => host_values(x),
            Activations::Features(x) => host_values(x),
        }
    }

    /// Their gradient on the host, where something depends on them.
    pub(crate) fn gradient(&self, gradients: &Gradients) -> Option<Vec<f32>> {
        match self {
            Activations::Image(x) => x.grad(gradients).map(host_values),
            Activations::Tokens(x) => x.grad(gradients).map(host_values),
            Activations::Features(x) => x.grad(gradients).map(host_values),
        }
    }

    /// How long the backward pass takes from where the gradient of these is there.
    pub(crate) fn seconds_of_backward(self) -> f64 {
        match self {
            Activations::Image(x) => ops::seconds_of_backward(x),
            Activations::Tokens(x) => ops::seconds_of_backward(x),
            Activations::Features(x) => ops::seconds_of_backward(x),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Activations::Image(_) => "an image",
            Activations::Tokens(_) => "tokens",
            Activations::Features(_) => "features",
        }
    }
}

/// Any layer of a network.
#[derive(Module, Debug)]
pub enum Layer {
    /// See [`Conv`].
    Conv(Conv),
    /// See [`BatchNorm`].
    BatchNorm(BatchNorm),
    /// See [`LayerNorm`].
    LayerNorm(LayerNorm),
    /// See [`Elementwise`].
    Activation(Elementwise),
    /// See [`Pool`].
    Pool(Pool),
    /// See [`GlobalAverage`].
    GlobalAverage(GlobalAverage),
    /// See [`Flatten`].
    Flatten(Flatten),
    /// See [`Dense`].
    Dense(Dense),
    /// See [`Dropout`].
    Dropout(Dropout),
    /// See [`SqueezeExcite`].
    SqueezeExcite(SqueezeExcite),
    /// See [`Tokens`].
    Tokens(Tokens),
    /// See [`ClassToken`].
    ClassToken(ClassToken),
    /// See [`Attention`].
    Attention(Attention),
    /// See [`Resize`].
    Resize(Resize),
    /// See [`PadShortcut`].
    PadShortcut(PadShortcut),
    /// See [`Sequence`].
    Sequence(Sequence),
    /// See [`Residual`].
    Residual(Residual),
}

/// What the layers of a network are made with, one after the other.
pub(crate) struct Builder<'a> {
    initializer: &'a mut Initializer,
    precision: Precision,
    /// Layers and blocks before the next.
    positions: usize,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(initializer: &'a mut Initializer, precision: Precision) -> Self {
        Builder { initializer, precision, positions: 0 }
    }

    pub(crate) fn sequence(&mut self, plan: &[PlannedLayer]) -> Sequence {
        Sequence::new(plan, self)
    }

    /// Where the layer that is being made stands in the network.
    fn position(&self) -> usize {
        self.positions - 1
    }
}

impl Layer {
    /// A new layer with initial weights. A dense layer that follows a flatten step knows the image's shape.
    fn new(planned: &PlannedLayer, flattened: Option<Shape>, builder: &mut Builder) -> Self {
        builder.positions += 1;
        let (position, input) = (builder.position(), planned.input);
        let spec = match &planned.kind {
            LayerKind::Flatten => return Layer::Flatten(Flatten::new()),
            LayerKind::Sequence(layers) => return Layer::Sequence(Sequence::new(layers, builder)),
            LayerKind::Residual { body, shortcut, activation, drop_rate } => {
                return Layer::Residual(Residual::new([body, shortcut], *activation, *drop_rate, builder));
            }
            LayerKind::Layer(spec) => spec,
        };
        let (initializer, precision) = (&mut *builder.initializer, builder.precision);
        match *spec {
            LayerSpec::Conv(conv) => Layer::Conv(Conv::new(input, conv, precision, initializer)),
            LayerSpec::DepthwiseConv(conv) => {
                Layer::Conv(Conv::new(input, conv.of_channels(input.channels()), precision, initializer))
            }
            LayerSpec::BatchNorm(norm) => {
                Layer::BatchNorm(BatchNorm::new(input.channels(), norm, initializer))
            }
            LayerSpec::LayerNorm { epsilon } => {
                Layer::LayerNorm(LayerNorm::new(input.channels(), epsilon, initializer))
            }
            LayerSpec::Activation { function } => Layer::Activation(Elementwise::new(function)),
            LayerSpec::MaxPool(pool) => Layer::Pool(Pool::new(PoolKind::Max, pool)),
            LayerSpec::AveragePool(pool) => Layer::Pool(Pool::new(PoolKind::Average, pool)),
            LayerSpec::GlobalAveragePool {} => Layer::GlobalAverage(GlobalAverage::new()),
            LayerSpec::Dense { units, activation } => {
                let inputs = match input {
                    Shape::Tokens { width, .. } => width,
                    other => other.len(),
                };
                Layer::Dense(Dense::new(inputs, units, activation, flattened, initializer))
            }
            LayerSpec::Dropout { rate } => Layer::Dropout(Dropout::new(rate, position)),
            LayerSpec::SqueezeExcite { units, activation } => {
                Layer::SqueezeExcite(SqueezeExcite::new(input.channels(), units, activation, initializer))
            }
            LayerSpec::Tokens { class_token } => {
                let (width, tokens) = (input.channels(), planned.output.len() / input.channels());
                Layer::Tokens(Tokens::new(tokens, width, class_token, initializer))
            }
            LayerSpec::ClassToken {} => Layer::ClassToken(ClassToken::new()),
            LayerSpec::Attention { heads } => {
                Layer::Attention(Attention::new(input.channels(), heads, initializer))
            }
            LayerSpec::Resize { .. } => {
                let Shape::Image { height, width, .. } = planned.output else {
                    unreachable!("images are resized to images")
                };
                Layer::Resize(Resize::new(height, width))
            }
            LayerSpec::PadShortcut { filters, stride } => {
                Layer::PadShortcut(PadShortcut::new(filters, stride))
            }
            LayerSpec::Sequence { .. }
            | LayerSpec::Residual { .. }
            | LayerSpec::BasicBlock { .. }
            | LayerSpec::InvertedResidual { .. }
            | LayerSpec::TransformerBlock { .. }
            | LayerSpec::MobilenetV2 {}
            | LayerSpec::Resnet18 {} => unreachable!("a plan has resolved its blocks"),
        }
    }

    /// Applies the layer.
    ///
    /// # Panics
    /// If what reaches the layer is not what it takes, which a planned network rules out.
    pub fn forward(&self, input: Activations, pass: Pass) -> Activations {
        use Activations::{Features, Image, Tokens};
        match (self, input) {
            (Layer::Sequence(sequence), x) => sequence.forward(x, pass),
            (Layer::Residual(residual), x) => residual.forward(x, pass),
            (Layer::Conv(conv), Image(x)) => Image(conv.forward(x)),
            (Layer::BatchNorm(norm), Image(x)) => Image(norm.forward_image(x, pass)),
            (Layer::BatchNorm(norm), Features(x)) => Features(norm.forward(x, pass)),
            (Layer::LayerNorm(norm), Image(x)) => Image(norm.forward(x)),
            (Layer::LayerNorm(norm), Tokens(x)) => Tokens(norm.forward(x)),
            (Layer::LayerNorm(norm), Features(x)) => Features(norm.forward(x)),
            (Layer::Activation(activation), Image(x)) => Image(activation.forward(x)),
            (Layer::Activation(activation), Tokens(x)) => Tokens(activation.forward(x)),
            (Layer::Activation(activation), Features(x)) => Features(activation.forward(x)),
            (Layer::Pool(pool), Image(x)) => Image(pool.forward(x)),
            (Layer::GlobalAverage(pool), Image(x)) => Features(pool.forward(x)),
            (Layer::GlobalAverage(pool), Tokens(x)) => Features(pool.forward_tokens(x)),
            (Layer::Flatten(flatten), Image(x)) => Features(flatten.forward(x)),
            (Layer::Dense(dense), Features(x)) => Features(dense.forward(x)),
            (Layer::Dense(dense), Tokens(x)) => Tokens(dense.forward_tokens(x)),
            (Layer::Dropout(dropout), Image(x)) => Image(dropout.forward(x, pass)),
            (Layer::Dropout(dropout), Tokens(x)) => Tokens(dropout.forward(x, pass)),
            (Layer::Dropout(dropout), Features(x)) => Features(dropout.forward(x, pass)),
            (Layer::SqueezeExcite(layer), Image(x)) => Image(layer.forward(x)),
            (Layer::Tokens(layer), Image(x)) => Tokens(layer.forward(x)),
            (Layer::ClassToken(layer), Tokens(x)) => Features(layer.forward(x)),
            (Layer::Attention(layer), Tokens(x)) => Tokens(layer.forward(x)),
            (Layer::Resize(layer), Image(x)) => Image(layer.forward(x)),
            (Layer::PadShortcut(layer), Image(x)) => Image(layer.forward(x)),
            (layer, input) => unreachable!("{} cannot reach {layer:?}", input.kind()),
        }
    }

    /// The layer's tensors under PyTorch's names and in its layouts, in the order in which Burn visits them.
    fn export(&self, planned: &PlannedLayer) -> Vec<NamedTensor> {
        let tensors = match (self, &planned.kind) {
            (Layer::Sequence(sequence), LayerKind::Sequence(plan)) => return sequence.export(plan),
            (Layer::Residual(residual), LayerKind::Residual { body, shortcut, .. }) => {
                return [residual.body.export(body), residual.shortcut.export(shortcut)].concat();
            }
            (Layer::Conv(layer), _) => layer.export(),
            (Layer::BatchNorm(layer), _) => layer.export(),
            (Layer::LayerNorm(layer), _) => layer.export(),
            (Layer::Dense(layer), _) => layer.export(),
            (Layer::SqueezeExcite(layer), _) => layer.export(),
            (Layer::Tokens(layer), _) => layer.export(),
            (Layer::Attention(layer), _) => layer.export(),
            _ => Vec::new(),
        };
        prefixed(&planned.name, tensors)
    }

    /// The reverse of `Layer::export`.
    pub(crate) fn import(&mut self, planned: &PlannedLayer, source: &mut WeightSource) -> Result<()> {
        match (&mut *self, &planned.kind) {
            (Layer::Sequence(sequence), LayerKind::Sequence(plan)) => return sequence.import(plan, source),
            (Layer::Residual(residual), LayerKind::Residual { body, shortcut, .. }) => {
                residual.body.import(body, source)?;
                return residual.shortcut.import(shortcut, source);
            }
            _ => {}
        }
        source.within(&planned.name, |source| match self {
            Layer::Conv(layer) => layer.import(source),
            Layer::BatchNorm(layer) => layer.import(source),
            Layer::LayerNorm(layer) => layer.import(source),
            Layer::Dense(layer) => layer.import(source),
            Layer::SqueezeExcite(layer) => layer.import(source),
            Layer::Tokens(layer) => layer.import(source),
            Layer::Attention(layer) => layer.import(source),
            _ => Ok(()),
        })
    }
}

/// An activation by itself.
#[derive(Module, Debug)]
pub struct Elementwise {
    #[module(skip)]
    pub(crate) function: Activation,
}

impl Elementwise {
    fn new(function: Activation) -> Self {
        Elementwise { function }
    }

    /// Any shape to the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        activate(x, self.function)
    }
}

/// Applies an [`Activation`] elementwise.
fn activate<const D: usize>(x: Tensor<D>, function: Activation) -> Tensor<D> {
    match function {
        Activation::None => x,
        _ if on_kernels(&x.device()) => ops::activation(x, function.kernel()),
        Activation::Relu => activation::relu(x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Tanh => activation::tanh(x),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
    }
}

/// Tensors of a layer or of a part of one, under its name.
fn prefixed(name: &str, mut tensors: Vec<NamedTensor>) -> Vec<NamedTensor> {
    for tensor in &mut tensors {
        tensor.name = format!("{name}.{}", tensor.name);
    }
    tensors
}

/// The values of a tensor on the host, in row-major order.
pub fn host_values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_as::<f32>().try_into_vec().expect("data read as f32 holds f32")
}

/// A parameter's tensor from values on the host, on the device of `like` and as trainable as it.
fn replace_values<const D: usize>(like: &Tensor<D>, values: Vec<f32>) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, like.dims()), &like.device())
        .set_require_grad(like.is_require_grad())
}
