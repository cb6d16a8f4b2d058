//! Convolution, bias and activation.

use burn::module::{Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module::conv2d};
use tailor_kernels::conv::NormBlock;

use super::{BatchNorm, Pass, Pool, activate, host_values, replace_values};
use crate::architecture::{Activation, Padding};
use crate::init::Initializer;
use crate::ops::{BlockSpec, conv_block, norm_block, on_kernels};
use crate::weights::{NamedTensor, WeightSource};
use crate::{Result, Shape};

/// `activation(x * weight + bias)`: a cross-correlation, as in all deep learning frameworks.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[C_out, K, K, C_in]`
    pub weight: Param<Tensor<4>>,
    /// `[C_out]`
    pub bias: Param<Tensor<1>>,
    stride: usize,
    #[module(skip)]
    padding: Padding,
    #[module(skip)]
    activation: Activation,
}

impl Conv {
    pub(super) fn new(
        input: Shape,
        filters: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
        activation: Activation,
        initializer: &mut Initializer,
    ) -> Self {
        let window = kernel * kernel;
        let channels = input.channels();
        Conv {
            weight: initializer.weight(
                [filters, kernel, kernel, channels],
                window * channels,
                window * filters,
            ),
            bias: initializer.bias(filters, window * channels),
            stride,
            padding,
            activation,
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
        match on_kernels(&x.device()) {
            true => self.forward_on_kernels(x, Some(pool.kernel())),
            false => pool.forward(self.forward_on_burn(x)),
        }
    }

    /// The convolution, and the batch norm and perhaps pool that follow it: in training one operation where our kernels
    /// compute and take the pool.
    pub fn forward_normalized(
        &self,
        x: Tensor<4>,
        norm: &BatchNorm,
        pool: Option<&Pool>,
        pass: Pass,
    ) -> Tensor<4> {
        let device = x.device();
        let [images, height, width, _] = x.dims();
        let spec = self.block_spec(height, width, pool.map(Pool::kernel));
        let block = spec.block(x.dims(), self.weight.dims());
        if !(matches!(pass, Pass::Training { .. }) && on_kernels(&device) && NormBlock::takes(&block)) {
            let y = norm.forward_image(self.forward(x), pass);
            return match pool {
                Some(pool) => pool.forward(y),
                None => y,
            };
        }
        let operands = norm.operands();
        let statistics = operands.statistics.clone();
        let y = norm_block(x, self.weight.val(), self.bias.val(), spec, operands);
        let [_, rows, columns, _] = block.convolution.output_shape();
        norm.record_batch(images * rows * columns, statistics.tensors(&device));
        y
    }

    fn forward_on_kernels(&self, x: Tensor<4>, pool: Option<tailor_kernels::pool::Pool>) -> Tensor<4> {
        let [_, height, width, _] = x.dims();
        conv_block(x, self.weight.val(), Some(self.bias.val()), self.block_spec(height, width, pool))
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
        BlockSpec { stride: self.stride, padding, groups: 1, activation: self.activation.kernel(), pool }
    }

    fn forward_on_burn(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, height, width, _] = x.dims();
        let [_, kernel, _, _] = self.weight.dims();
        let amounts = |extent| self.padding.amounts(extent, kernel, self.stride);
        let mut options = ConvOptions::new([self.stride; 2], [0, 0], [1, 1], 1);
        options.padding = [amounts(height), amounts(width)];
        let y = conv2d(
            x.permute([0, 3, 1, 2]),
            self.weight.val().permute([0, 3, 1, 2]),
            Some(self.bias.val()),
            options,
        );
        activate(y, self.activation).permute([0, 2, 3, 1])
    }

    pub(super) fn export(&self) -> Vec<NamedTensor> {
        let weight = self.weight.val().permute([0, 3, 1, 2]);
        vec![
            NamedTensor { name: "weight".into(), shape: weight.dims().to_vec(), values: host_values(weight) },
            NamedTensor {
                name: "bias".into(),
                shape: self.bias.dims().to_vec(),
                values: host_values(self.bias.val()),
            },
        ]
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
        let bias = source.take("bias", &[filters])?;
        self.weight = self.weight.clone().map(|weight| replace_values(&weight, ohwi));
        self.bias = self.bias.clone().map(|old| replace_values(&old, bias));
        Ok(())
    }
}
