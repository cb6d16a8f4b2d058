//! Convolution, batch norm in training, the sum with a shortcut and an activation as one operation.

use std::sync::Arc;

use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::conv::{ActivatedBlock, ActivatedGradient, ActivatedSaved};
use tailor_kernels::norm::{ActivatedNorm, BatchNorm};

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply, first};
use super::{BatchStatistics, BlockSpec, NormOperands};

/// `activation(norm(x * weight) + shortcut)`: from `[N, H, W, C]` and weights `[C_out, K, K, C / groups]` to
/// `[N, H', W', C_out]`. The activation is that of `spec`.
pub fn activated_block(
    x: Tensor<4>,
    weight: Tensor<4>,
    norm: NormOperands,
    shortcut: Option<Tensor<4>>,
    spec: BlockSpec,
) -> Tensor<4> {
    let kernel = TrainActivatedBlock { spec, epsilon: norm.epsilon, statistics: norm.statistics };
    let [x, weight] = [x, weight].map(Tensor::into_dispatch);
    let [gamma, beta] = [norm.weight, norm.bias].map(Tensor::into_dispatch);
    match shortcut {
        Some(shortcut) => apply([x, weight, gamma, beta, shortcut.into_dispatch()], kernel),
        None => apply([x, weight, gamma, beta], kernel),
    }
}

#[derive(Clone, Debug)]
struct TrainActivatedBlock {
    spec: BlockSpec,
    epsilon: f32,
    statistics: BatchStatistics,
}

impl TrainActivatedBlock {
    fn block<'a>(&self, inputs: &'a [FlexTensor]) -> ActivatedBlock<'a> {
        let norm = BatchNorm { gamma: values(&inputs[2]), beta: values(&inputs[3]), epsilon: self.epsilon };
        ActivatedBlock {
            convolution: self.spec.block(extents(&inputs[0]), extents(&inputs[1])).convolution,
            precision: self.spec.precision,
            norm: ActivatedNorm { norm, activation: self.spec.activation },
        }
    }
}

/// Image, weights, the norm's weight and bias and, with `N` = 5, the shortcut.
impl<const N: usize> Kernel<N> for TrainActivatedBlock {
    type Saved = Arc<ActivatedSaved>;

    fn forward(&self, inputs: &[FlexTensor; N]) -> (FlexTensor, Arc<ActivatedSaved>) {
        let block = self.block(inputs);
        let shape = block.convolution.output_shape();
        let mut y = AlignedBuffer::new(shape.iter().product());
        let [x, weight] = [&inputs[0], &inputs[1]].map(values);
        let saved = block.forward(x, weight, inputs.get(4).map(values), &mut y);
        self.statistics.leave(Arc::new(saved.statistics.clone()));
        (tensor(y, shape), Arc::new(saved))
    }

    fn backward(&self, call: Call<N, Arc<ActivatedSaved>>) -> [Option<AlignedBuffer>; N] {
        let mut dx = call.wanted[0].then(|| call.gradient_of(0));
        let [mut dw, mut dgamma, mut dbeta] = [1, 2, 3].map(|input| call.gradient_of(input));
        let mut dshortcut = (N == 5).then(|| call.gradient_of(4));
        self.block(call.inputs).backward(ActivatedGradient {
            x: call.input(0),
            weights: call.input(1),
            shortcut: call.inputs.get(4).map(values),
            saved: call.saved,
            dy: call.gradient,
            dx: dx.as_deref_mut(),
            dshortcut: dshortcut.as_deref_mut(),
            dw: &mut dw,
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        });
        first([dx, Some(dw), Some(dgamma), Some(dbeta), dshortcut])
    }
}
