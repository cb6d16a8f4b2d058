//! Dense layer, bias and activation.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::linear;

use super::{activate, host_values, replace_values};
use crate::architecture::Activation;
use crate::init::Initializer;
use crate::ops::{dense, on_kernels};
use crate::weights::{NamedTensor, WeightSource};
use crate::{Result, Shape};

/// `activation(x · weight + bias)`.
#[derive(Module, Debug)]
pub struct Dense {
    /// `[F_in, F_out]`
    pub weight: Param<Tensor<2>>,
    /// `[F_out]`
    pub bias: Param<Tensor<1>>,
    /// Whose flattened pixels are the inputs: we flatten `[H, W, C]`, PyTorch `[C, H, W]`.
    #[module(skip)]
    flattened: Option<Shape>,
    #[module(skip)]
    pub(crate) activation: Activation,
}

impl Dense {
    pub(super) fn new(
        inputs: usize,
        units: usize,
        activation: Activation,
        flattened: Option<Shape>,
        initializer: &mut Initializer,
    ) -> Self {
        Dense {
            weight: initializer.weight([inputs, units], inputs, units),
            bias: initializer.bias(units, inputs),
            flattened,
            activation,
        }
    }

    /// From `[N, F_in]` to `[N, F_out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let activation = self.activation.kernel();
        match on_kernels(&x.device()) {
            true if activation.derives_from_output() => dense(x, weight, bias, activation),
            true => activate(dense(x, weight, bias, Activation::None.kernel()), self.activation),
            false => activate(linear(x, weight, Some(bias)), self.activation),
        }
    }

    /// From `[N, T, F_in]` to `[N, T, F_out]`, each token by itself.
    pub fn forward_tokens(&self, x: Tensor<3>) -> Tensor<3> {
        let [images, tokens, width] = x.dims();
        let y = self.forward(x.reshape([images * tokens, width]));
        let [_, units] = y.dims();
        y.reshape([images, tokens, units])
    }

    /// For each of PyTorch's inputs, in order, which of ours it is.
    fn input_order(&self, inputs: usize) -> Vec<usize> {
        match self.flattened {
            Some(Shape::Image { height, width, channels }) => (0..channels)
                .flat_map(|channel| (0..height * width).map(move |position| position * channels + channel))
                .collect(),
            _ => (0..inputs).collect(),
        }
    }

    pub(super) fn export(&self) -> Vec<NamedTensor> {
        let [inputs, units] = self.weight.dims();
        let ours = host_values(self.weight.val());
        let order = self.input_order(inputs);
        let theirs = (0..units)
            .flat_map(|unit| order.iter().map(move |&input| (input, unit)))
            .map(|(input, unit)| ours[input * units + unit]);
        vec![
            NamedTensor { name: "weight".into(), shape: vec![units, inputs], values: theirs.collect() },
            NamedTensor::of("bias", self.bias.val()),
        ]
    }

    pub(super) fn import(&mut self, source: &mut WeightSource) -> Result<()> {
        self.import_named(source, ["weight", "bias"])
    }

    /// Takes tensors of other names than usual.
    pub(super) fn import_named(
        &mut self,
        source: &mut WeightSource,
        [weight, bias]: [&str; 2],
    ) -> Result<()> {
        let [inputs, units] = self.weight.dims();
        let theirs = source.take(weight, &[units, inputs])?;
        let bias = source.take(bias, &[units])?;
        let mut ours = vec![0.0; inputs * units];
        for (column, input) in self.input_order(inputs).into_iter().enumerate() {
            for unit in 0..units {
                ours[input * units + unit] = theirs[unit * inputs + column];
            }
        }
        self.weight = self.weight.clone().map(|weight| replace_values(&weight, ours));
        self.bias = self.bias.clone().map(|old| replace_values(&old, bias));
        Ok(())
    }
}
