//! The layers of the model zoo as Burn modules. Images are `[N, H, W, C]`, features `[N, F]`.
//!
//! A layer's tensors in memory have the layout that is fastest; `Layer::export` and `Layer::import` turn
//! them into PyTorch's names and layouts.

mod batch_norm;
mod conv;
mod dense;
mod dropout;
mod pool;

pub use batch_norm::BatchNorm;
pub use conv::Conv;
pub use dense::Dense;
pub use dropout::Dropout;
pub use pool::{Flatten, Pool};

use burn::module::Module;
use burn::tensor::{Tensor, TensorData, activation};
use tailor_kernels::pool::PoolKind;

use crate::architecture::{Activation, LayerKind, LayerSpec, PlannedLayer};
use crate::init::Initializer;
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
pub enum Activations {
    /// `[N, H, W, C]`
    Image(Tensor<4>),
    /// `[N, F]`
    Features(Tensor<2>),
}

/// Any layer of a network.
#[derive(Module, Debug)]
pub enum Layer {
    /// See [`Conv`].
    Conv(Conv),
    /// See [`BatchNorm`].
    BatchNorm(BatchNorm),
    /// See [`Pool`].
    Pool(Pool),
    /// See [`Flatten`].
    Flatten(Flatten),
    /// See [`Dense`].
    Dense(Dense),
    /// See [`Dropout`].
    Dropout(Dropout),
}

impl Layer {
    /// A new layer at `position` of the network, with initial weights.
    pub(crate) fn new(
        planned: &PlannedLayer,
        position: usize,
        flattened: Option<Shape>,
        initializer: &mut Initializer,
    ) -> Self {
        match (&planned.kind, planned.input) {
            (LayerKind::Flatten, _) => Layer::Flatten(Flatten::new()),
            (LayerKind::Spec(spec), input) => match *spec {
                LayerSpec::Conv { filters, kernel, stride, padding, activation } => {
                    Layer::Conv(Conv::new(input, filters, kernel, stride, padding, activation, initializer))
                }
                LayerSpec::BatchNorm { momentum, epsilon } => {
                    Layer::BatchNorm(BatchNorm::new(input.channels(), momentum, epsilon, initializer))
                }
                LayerSpec::MaxPool { size } => Layer::Pool(Pool::new(PoolKind::Max, size)),
                LayerSpec::AveragePool { size } => Layer::Pool(Pool::new(PoolKind::Average, size)),
                LayerSpec::Dense { units, activation } => {
                    Layer::Dense(Dense::new(input.len(), units, activation, flattened, initializer))
                }
                LayerSpec::Dropout { rate } => Layer::Dropout(Dropout::new(rate, position)),
            },
        }
    }

    /// Applies the layer.
    ///
    /// # Panics
    /// If an image reaches a dense layer or features a convolution, which a planned network rules out.
    pub fn forward(&self, input: Activations, pass: Pass) -> Activations {
        use Activations::{Features, Image};
        match (self, input) {
            (Layer::Conv(conv), Image(x)) => Image(conv.forward(x)),
            (Layer::BatchNorm(norm), Image(x)) => Image(norm.forward_image(x, pass)),
            (Layer::BatchNorm(norm), Features(x)) => Features(norm.forward(x, pass)),
            (Layer::Pool(pool), Image(x)) => Image(pool.forward(x)),
            (Layer::Flatten(flatten), Image(x)) => Features(flatten.forward(x)),
            (Layer::Dense(dense), Features(x)) => Features(dense.forward(x)),
            (Layer::Dropout(dropout), Image(x)) => Image(dropout.forward(x, pass)),
            (Layer::Dropout(dropout), Features(x)) => Features(dropout.forward(x, pass)),
            (layer, Image(_)) => unreachable!("an image cannot reach {layer:?}"),
            (layer, Features(_)) => unreachable!("features cannot reach {layer:?}"),
        }
    }

    /// The layer's tensors under PyTorch's names (without the layer's own) and in its layouts, in the order in which
    /// Burn visits them.
    pub(crate) fn export(&self) -> Vec<NamedTensor> {
        match self {
            Layer::Conv(conv) => conv.export(),
            Layer::BatchNorm(norm) => norm.export(),
            Layer::Dense(dense) => dense.export(),
            Layer::Pool(_) | Layer::Flatten(_) | Layer::Dropout(_) => Vec::new(),
        }
    }

    /// The reverse of `Layer::export`.
    pub(crate) fn import(&mut self, source: &mut WeightSource) -> Result<()> {
        match self {
            Layer::Conv(conv) => conv.import(source),
            Layer::BatchNorm(norm) => norm.import(source),
            Layer::Dense(dense) => dense.import(source),
            Layer::Pool(_) | Layer::Flatten(_) | Layer::Dropout(_) => Ok(()),
        }
    }
}

/// Applies an [`Activation`] elementwise.
fn activate<const D: usize>(x: Tensor<D>, function: Activation) -> Tensor<D> {
    match function {
        Activation::Relu => activation::relu(x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Tanh => activation::tanh(x),
        Activation::None => x,
    }
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
