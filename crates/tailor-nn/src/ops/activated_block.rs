//! Convolutions, each with batch norm in training and an activation, and the sum with a shortcut, as one operation.

use std::sync::Arc;

use burn::backend::DispatchTensor;
use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::conv::{ActivatedBlock, ActivatedGradient, Stage, StageGradient, StageSaved};
use tailor_kernels::norm::{ActivatedNorm, BatchNorm};

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply, first};
use super::{BatchStatistics, BlockSpec, NormOperands};

/// A convolution without bias, and its batch norm.
pub struct StageOperands {
    /// `[C_out, K, K, C / groups]`
    pub weight: Tensor<4>,
    pub norm: NormOperands,
    /// The activation is applied to what is normalized, in the last stage with the shortcut added.
    pub spec: BlockSpec,
}

/// Stages that one operation can have at most.
pub const MOST_STAGES: usize = 3;

/// `activation(norm(… * weight) + shortcut)`: from `[N, H, W, C]` through up to [`MOST_STAGES`] stages to `[N, H', W', C_out]`.
pub fn activated_block(x: Tensor<4>, stages: Vec<StageOperands>, shortcut: Option<Tensor<4>>) -> Tensor<4> {
    let mut inputs = vec![x.into_dispatch()];
    let (mut norms, mut weights, mut kernel) = (Vec::new(), Vec::new(), TrainActivatedBlock(Vec::new()));
    for StageOperands { weight, norm, spec } in stages {
        norms.extend([norm.weight, norm.bias]);
        weights.push(weight.into_dispatch());
        kernel.0.push(StageKernel { spec, epsilon: norm.epsilon, statistics: norm.statistics });
    }
    inputs.push(Tensor::cat(norms, 0).into_dispatch());
    inputs.extend(weights);
    inputs.extend(shortcut.map(Tensor::into_dispatch));
    fn of<const N: usize>(inputs: Vec<DispatchTensor>, kernel: TrainActivatedBlock) -> Tensor<4> {
        apply::<N, 4>(first(inputs), kernel)
    }
    match inputs.len() {
        3 => of::<3>(inputs, kernel),
        4 => of::<4>(inputs, kernel),
        5 => of::<5>(inputs, kernel),
        6 => of::<6>(inputs, kernel),
        _ => unreachable!("one to {MOST_STAGES} stages, and perhaps a shortcut"),
    }
}

#[derive(Clone, Debug)]
struct TrainActivatedBlock(Vec<StageKernel>);

#[derive(Clone, Debug)]
struct StageKernel {
    spec: BlockSpec,
    epsilon: f32,
    statistics: BatchStatistics,
}

impl TrainActivatedBlock {
    /// Of inputs: the image, all norms' weights and biases behind each other, the stages' weights, and perhaps the shortcut.
    fn stages<'a>(&self, inputs: &'a [FlexTensor]) -> Vec<Stage<'a>> {
        let (mut image, mut norms) = (extents(&inputs[0]), values(&inputs[1]));
        let mut stages = Vec::with_capacity(self.0.len());
        for (StageKernel { spec, epsilon, .. }, weight) in self.0.iter().zip(&inputs[2..]) {
            let convolution = spec.block(image, extents(weight)).convolution;
            let (gamma, rest) = norms.split_at(convolution.out_channels);
            let (beta, rest) = rest.split_at(convolution.out_channels);
            (image, norms) = (convolution.output_shape(), rest);
            let norm = BatchNorm { gamma, beta, epsilon: *epsilon };
            let norm = ActivatedNorm { norm, activation: spec.activation };
            stages.push(Stage { convolution, precision: spec.precision, weights: values(weight), norm });
        }
        stages
    }

    fn shortcut<'a>(&self, inputs: &'a [FlexTensor]) -> Option<&'a [f32]> {
        inputs.get(2 + self.0.len()).map(values)
    }
}

impl<const N: usize> Kernel<N> for TrainActivatedBlock {
    type Saved = Arc<Vec<StageSaved>>;

    fn forward(&self, inputs: &[FlexTensor; N]) -> (FlexTensor, Self::Saved) {
        let stages = self.stages(inputs);
        let shape = stages.last().expect("a block has stages").convolution.output_shape();
        let mut y = AlignedBuffer::new(shape.iter().product());
        let block = ActivatedBlock { stages: &stages };
        let saved = block.forward(values(&inputs[0]), self.shortcut(inputs), &mut y);
        for (stage, saved) in self.0.iter().zip(&saved) {
            stage.statistics.leave(Arc::new(saved.statistics.clone()));
        }
        (tensor(y, shape), Arc::new(saved))
    }

    fn backward(&self, call: Call<N, Self::Saved>) -> [Option<AlignedBuffer>; N] {
        let count = self.0.len();
        let stages = self.stages(call.inputs);
        let mut dx = call.wanted[0].then(|| call.gradient_of(0));
        let mut dnorms = call.gradient_of(1);
        let mut weights: Vec<AlignedBuffer> = (2..2 + count).map(|input| call.gradient_of(input)).collect();
        let mut dshortcut = (N > 2 + count).then(|| call.gradient_of(2 + count));
        let mut rest = &mut dnorms[..];
        let gradients = stages.iter().zip(&mut weights).map(|(stage, dw)| {
            let channels = stage.convolution.out_channels;
            let (of_norm, after) = std::mem::take(&mut rest).split_at_mut(2 * channels);
            rest = after;
            let (dgamma, dbeta) = of_norm.split_at_mut(channels);
            StageGradient { dw, dgamma, dbeta }
        });
        ActivatedBlock { stages: &stages }.backward(ActivatedGradient {
            x: call.input(0),
            shortcut: self.shortcut(call.inputs),
            saved: call.saved,
            dy: call.gradient,
            dx: dx.as_deref_mut(),
            dshortcut: dshortcut.as_deref_mut(),
            stages: gradients.collect(),
        });
        let parameters = [dnorms].into_iter().chain(weights).map(Some);
        first([dx].into_iter().chain(parameters).chain([dshortcut]))
    }
}
