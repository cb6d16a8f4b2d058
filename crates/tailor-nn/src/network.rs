//! A network built from an architecture.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use crate::architecture::{Architecture, PlannedLayer};
use crate::init::Initializer;
use crate::layers::{Activations, Builder, Pass, Sequence};
use crate::ops::optimizer::{Trainable, update_in_place};
use crate::predictor::Predictor;
use crate::summary::Summary;
use crate::weights::{NamedTensor, WeightSource};
use crate::{Result, Shape};

/// A feed-forward classifier from images `[N, H, W, C]` to logits `[N, K]`.
#[derive(Module, Debug)]
pub struct Network {
    pub(crate) layers: Sequence,
    #[module(skip)]
    pub(crate) plan: Vec<PlannedLayer>,
}

impl Network {
    /// Builds the network for images of shape `input`, with weights drawn from `seed`.
    ///
    /// # Errors
    /// Those of [`Architecture::plan`].
    pub fn new(
        architecture: &Architecture,
        input: Shape,
        classes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let plan = architecture.plan(input, classes)?;
        let mut initializer = Initializer::new(architecture.initialization, seed, device);
        let layers = Builder::new(&mut initializer, architecture.precision).sequence(&plan);
        Ok(Network { layers, plan })
    }

    /// Logits `[N, K]` for normalized images `[N, H, W, C]`.
    ///
    /// # Panics
    /// If the images are not of the shape that the network was built for.
    pub fn forward(&self, images: Tensor<4>, pass: Pass) -> Tensor<2> {
        match self.layers.forward(Activations::Image(images), pass) {
            Activations::Features(logits) => logits,
            _ => unreachable!("a plan ends in a dense layer"),
        }
    }

    /// Lets `update` change all trainable tensors in place, in one pass.
    ///
    /// # Panics
    /// If the network is not on a device of our kernels; see [`crate::on_kernels`].
    pub fn update_in_place(self, gradients: &Gradients, update: impl FnOnce(Vec<Trainable>)) -> Self {
        update_in_place(self, gradients, update)
    }

    /// Replaces each trainable tensor by what `update` makes of it and its gradient, both as flat vectors.
    /// The first argument counts the trainable tensors in the order of [`Network::trainable_tensors`].
    pub fn update(
        self,
        gradients: &Gradients,
        update: impl FnMut(usize, Tensor<1>, Tensor<1>) -> Tensor<1>,
    ) -> Self {
        struct Mapper<'a, F> {
            gradients: &'a Gradients,
            update: F,
            next: usize,
        }
        impl<F: FnMut(usize, Tensor<1>, Tensor<1>) -> Tensor<1>> ModuleMapper for Mapper<'_, F> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                if !param.is_require_grad() {
                    return param;
                }
                let index = self.next;
                self.next += 1;
                let Some(gradient) = param.val().grad(self.gradients) else { return param };
                param.map(|tensor| {
                    let shape = tensor.dims();
                    let flat = tensor.inner().reshape([-1]);
                    let updated = (self.update)(index, flat, gradient.reshape([-1]));
                    Tensor::from_inner(updated.reshape(shape)).require_grad()
                })
            }
        }
        self.map(&mut Mapper { gradients, update, next: 0 })
    }

    /// Euclidean norm of all gradients together.
    pub fn gradient_norm(&self, gradients: &Gradients) -> f64 {
        struct Norm<'a> {
            gradients: &'a Gradients,
            squares: f64,
        }
        impl ModuleVisitor for Norm<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if let Some(gradient) = param.val().grad(self.gradients) {
                    self.squares += f64::from(gradient.square().sum().into_scalar::<f32>());
                }
            }
        }
        let mut norm = Norm { gradients, squares: 0.0 };
        self.visit(&mut norm);
        norm.squares.sqrt()
    }

    /// Values in each trainable tensor, in the order in which an update meets them; none without automatic
    /// differentiation.
    pub fn trainable_tensors(&self) -> Vec<usize> {
        struct Lengths(Vec<usize>);
        impl ModuleVisitor for Lengths {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if param.is_require_grad() {
                    self.0.push(param.dims().iter().product());
                }
            }
        }
        let mut lengths = Lengths(Vec::new());
        self.visit(&mut lengths);
        lengths.0
    }

    /// All tensors under PyTorch's names and in its layouts.
    pub fn export(&self) -> Vec<NamedTensor> {
        self.layers.export(&self.plan)
    }

    /// The reverse of [`Network::export`].
    ///
    /// # Errors
    /// [`crate::Error::Mismatch`] names the first tensor that is missing, too many, misshapen or not finite; the
    /// network may then hold some of the new weights.
    pub fn import(&mut self, tensors: Vec<NamedTensor>) -> Result<()> {
        let mut source = WeightSource::new(tensors);
        self.layers.import(&self.plan, &mut source)?;
        source.finish()
    }

    /// Layers, output shapes and parameter counts.
    pub fn summary(&self) -> Summary {
        let summary = Summary::of(&self.plan);
        let trained: usize = self.trainable_tensors().into_iter().sum();
        // Without automatic differentiation nothing is trained, which says nothing about freezing.
        let frozen = if trained == 0 { 0 } else { summary.trainable() - trained };
        Summary { frozen, ..summary }
    }

    /// The network for inference only, as fast as the device makes it.
    pub fn predictor(&self) -> Predictor {
        Predictor::new(self)
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.devices().remove(0)
    }

    /// Normalized pixels `[N, H, W, C]` as a tensor for [`Network::forward`].
    ///
    /// # Panics
    /// If the values are not whole images of the network's shape.
    pub fn images(&self, pixels: Vec<f32>, device: &Device) -> Tensor<4> {
        let Shape::Image { height, width, channels } = self.plan[0].input else {
            unreachable!("a network takes images")
        };
        let images = pixels.len() / (height * width * channels);
        Tensor::from_data(TensorData::new(pixels, [images, height, width, channels]), device)
    }
}
