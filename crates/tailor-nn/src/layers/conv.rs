//! Convolution, bias and activation.

use burn::module::{Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module::conv2d};
use tailor_kernels::conv::NormBlock;

use super::{BatchNorm, Pass, Pool, Stage, activate, host_values, replace_values, stage};
use crate::architecture::{Activation, ConvSpec, Padding, Precision};
use crate::init::Initializer;
use crate::ops::{BlockSpec, add, conv_block, norm_block, on_kernels, scaled_filters};
use crate::weights::{NamedTensor, WeightSource};
use crate::{Result, Shape};

/// `activation(x * weight + bias)`: a cross-correlation, as in all deep learning frameworks.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[C_out, K, K, C_in / groups]`
    pub weight: Param<Tensor<4>>,
    /// `[C_out]`
    pub bias: Option<Param<Tensor<1>>>,
    stride: usize,
    groups: usize,
    #[module(skip)]
    padding: Padding,
    #[module(skip)]
    pub(crate) activation: Activation,
    #[module(skip)]
    precision: Precision,
}

impl Conv {
    pub(super) fn new(
        input: Shape,
        spec: ConvSpec,
        precision: Precision,
        initializer: &mut Initializer,
    ) -> Self {
        let ConvSpec { filters, kernel, stride, padding, groups, bias, activation } = spec;
        let window = kernel * kernel;
        let channels = input.channels() / groups;
        let (fan_in, fan_out) = (window * channels, window * filters / groups);
        Conv {
            weight: initializer.filters([filters, kernel, kernel, channels], fan_in, fan_out),
            bias: bias.then(|| initializer.bias(filters, fan_in)),
            stride,
            groups,
            padding,
            activation,
            precision,
        }
    }

    /// From `[N, H, W, C_in]` to `[N, H', W', C_out]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match on_kernels(&x.device()) {
            true => self.forward_on_kernels(x, None),
            false => self.forward_on_burn(x),
        }
    }

    /// The convolution and the pool that follows it, in one pass where our kernels compute.
    pub fn forward_pooled(&self, x: Tensor<4>, pool: &Pool) -> Tensor<4> {
        match on_kernels(&x.device()) && self.activation.kernel().derives_from_output() {
            true => self.forward_on_kernels(x, Some(pool.kernel())),
            false => pool.forward(self.forward(x)),
        }
    }

    /// The convolution, and the batch norm and perhaps pool that follow it: in training one operation where our kernels
    /// compute, whichever of the two the activation follows.
    pub fn forward_normalized(
        &self,
        x: Tensor<4>,
        norm: &BatchNorm,
        pool: Option<&Pool>,
        pass: Pass,
    ) -> Tensor<4> {
        let pass = norm.pass(pass);
        if let (Some(bias), true) = (&self.bias, self.is_normalized_after_activation(&x, norm, pool, pass)) {
            let ([images, height, width, _], device) = (x.dims(), x.device());
            let spec = self.block_spec(height, width, pool.map(Pool::kernel));
            let [_, rows, columns, _] = spec.block(x.dims(), self.weight.dims()).convolution.output_shape();
            return norm.train(images * rows * columns, &device, |operands| {
                norm_block(x, self.weight.val(), bias.val(), spec, operands)
            });
        }
        let y = match Stage::new(self, norm, pass) {
            Some(stage) => stage::forward(x, &[stage], None),
            None => self.forward_added(x, norm, None, norm.activation, pass),
        };
        match pool {
            Some(pool) => pool.forward(y),
            None => y,
        }
    }

    /// `activation(norm(conv(x)) + shortcut)` of what is no [`Stage`]; a frozen norm is folded into a frozen convolution. The norm's
    /// own activation is not applied.
    pub(super) fn forward_added(
        &self,
        x: Tensor<4>,
        norm: &BatchNorm,
        shortcut: Option<Tensor<4>>,
        activation: Activation,
        pass: Pass,
    ) -> Tensor<4> {
        let pass = norm.pass(pass);
        let [_, height, width, _] = x.dims();
        if self.bias.is_none()
            && self.activation == Activation::None
            && self.is_frozen()
            && on_kernels(&x.device())
            && let Some([scale, shift]) = norm.frozen_affine()
        {
            let mut spec = self.block_spec(height, width, None);
            let y = |spec| conv_block(x, scaled_filters(self.weight.val(), scale), Some(shift), spec);
            return match shortcut {
                None if activation.kernel().derives_from_output() => {
                    spec.activation = activation.kernel();
                    y(spec)
                }
                None => activate(y(spec), activation),
                Some(shortcut) => add(shortcut, y(spec), None, activation.kernel()),
            };
        }
        let convolved = self.forward(x);
        let [n, h, w, c] = convolved.dims();
        let rows = |image: Tensor<4>| image.reshape([n * h * w, c]);
        norm.forward_added(rows(convolved), shortcut.map(rows), activation, pass).reshape([n, h, w, c])
    }

    /// Whether a network for training leaves its weights as they are.
    fn is_frozen(&self) -> bool {
        let weight = self.weight.val();
        weight.is_autodiff() && !weight.is_require_grad()
    }

    fn is_normalized_after_activation(
        &self,
        x: &Tensor<4>,
        norm: &BatchNorm,
        pool: Option<&Pool>,
        pass: Pass,
    ) -> bool {
        let [_, height, width, _] = x.dims();
        let spec = self.block_spec(height, width, pool.map(Pool::kernel));
        matches!(pass, Pass::Training { .. })
            && on_kernels(&x.device())
            && self.activation != Activation::None
            && spec.activation.derives_from_output()
            && norm.activation == Activation::None
            && NormBlock::takes(&spec.block(x.dims(), self.weight.dims()))
    }

    /// An activation whose slope the kernels need the sum for is an operation of its own.
    fn forward_on_kernels(&self, x: Tensor<4>, pool: Option<tailor_kernels::pool::Pool>) -> Tensor<4> {
        let [_, height, width, _] = x.dims();
        let mut spec = self.block_spec(height, width, pool);
        let by_itself = !spec.activation.derives_from_output();
        if by_itself {
            spec.activation = Activation::None.kernel();
        }
        let y = conv_block(x, self.weight.val(), self.bias.as_ref().map(Param::val), spec);
        if by_itself { activate(y, self.activation) } else { y }
    }

    /// What the kernels need to know of the layer on images of this size.
    pub(crate) fn block_spec(
        &self,
        height: usize,
        width: usize,
        pool: Option<tailor_kernels::pool::Pool>,
    ) -> BlockSpec {
        let [_, kernel, _, _] = self.weight.dims();
        let (top, bottom) = self.padding.amounts(height, kernel, self.stride);
        let (left, right) = self.padding.amounts(width, kernel, self.stride);
        let padding = tailor_kernels::conv::Padding { top, left, bottom, right };
        BlockSpec {
            stride: self.stride,
            padding,
            groups: self.groups,
            activation: self.activation.kernel(),
            pool,
            precision: self.precision.kernel(),
        }
    }

    fn forward_on_burn(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, height, width, _] = x.dims();
        let [_, kernel, _, _] = self.weight.dims();
        let amounts = |extent| self.padding.amounts(extent, kernel, self.stride);
        let mut options = ConvOptions::new([self.stride; 2], [0, 0], [1, 1], self.groups);
        options.padding = [amounts(height), amounts(width)];
        let y = conv2d(
            x.permute([0, 3, 1, 2]),
            self.weight.val().permute([0, 3, 1, 2]),
            self.bias.as_ref().map(Param::val),
            options,
        );
        activate(y, self.activation).permute([0, 2, 3, 1])
    }

    /// Weights and bias on the host, OHWI and `[C_out]`; zeros where there is no bias.
    pub(crate) fn host_weights(&self) -> [Vec<f32>; 2] {
        let weight = host_values(self.weight.val());
        let [filters, ..] = self.weight.dims();
        let bias = self.bias.as_ref().map_or(vec![0.0; filters], |bias| host_values(bias.val()));
        [weight, bias]
    }

    pub(super) fn export(&self) -> Vec<NamedTensor> {
        let weight = NamedTensor::of("weight", self.weight.val().permute([0, 3, 1, 2]));
        let bias = self.bias.as_ref().map(|bias| NamedTensor::of("bias", bias.val()));
        [weight].into_iter().chain(bias).collect()
    }

    pub(super) fn import(&mut self, source: &mut WeightSource) -> Result<()> {
        let [filters, kernel, _, channels] = self.weight.dims();
        let oihw = source.take("weight", &[filters, channels, kernel, kernel])?;
        let mut ohwi = Vec::with_capacity(oihw.len());
        for filter in oihw.chunks_exact(channels * kernel * kernel) {
            for position in 0..kernel * kernel {
                ohwi.extend((0..channels).map(|channel| filter[channel * kernel * kernel + position]));
            }
        }
        self.weight = self.weight.clone().map(|weight| replace_values(&weight, ohwi));
        if let Some(old) = self.bias.take() {
            let bias = source.take("bias", &[filters])?;
            self.bias = Some(old.map(|old| replace_values(&old, bias)));
        }
        Ok(())
    }
}
