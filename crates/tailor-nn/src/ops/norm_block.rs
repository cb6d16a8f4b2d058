//! Convolution, bias, activation, batch norm in training, and pooling as one operation.

use std::sync::Arc;

use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::conv::{NormBlock, NormBlockGradient, NormSaved};
use tailor_kernels::norm::BatchNorm;

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply};
use super::{BatchStatistics, BlockSpec, NormOperands};

/// From `[N, H, W, C]`, weights `[C_out, K, K, C]` and bias `[C_out]` to `[N, H', W', C_out]`, normalized after the
/// activation and before the pool, which is none or a 2×2 maximum.
pub fn norm_block(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    spec: BlockSpec,
    norm: NormOperands,
) -> Tensor<4> {
    let kernel = TrainNormBlock { spec, epsilon: norm.epsilon, statistics: norm.statistics };
    let of_norm = [norm.weight, norm.bias].map(Tensor::into_dispatch);
    let [gamma, beta] = of_norm;
    apply([x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch(), gamma, beta], kernel)
}

#[derive(Clone, Debug)]
struct TrainNormBlock {
    spec: BlockSpec,
    epsilon: f32,
    statistics: BatchStatistics,
}

impl TrainNormBlock {
    fn block<'a>(&self, [x, weight, _, gamma, beta]: &'a [FlexTensor; 5]) -> NormBlock<'a> {
        NormBlock {
            block: self.spec.block(extents(x), extents(weight)),
            norm: BatchNorm { gamma: values(gamma), beta: values(beta), epsilon: self.epsilon },
        }
    }
}

impl Kernel<5> for TrainNormBlock {
    type Saved = Arc<NormSaved>;

    fn forward(&self, inputs: &[FlexTensor; 5]) -> (FlexTensor, Arc<NormSaved>) {
        let block = self.block(inputs);
        let [x, weight, bias, ..] = inputs.each_ref().map(values);
        let mut y = AlignedBuffer::new(block.block.output_shape().iter().product());
        let saved = block.forward(x, weight, Some(bias), &mut y);
        self.statistics.leave(Arc::new(saved.statistics.clone()));
        (tensor(y, block.block.output_shape()), Arc::new(saved))
    }

    fn backward(&self, call: Call<5, Arc<NormSaved>>) -> [Option<AlignedBuffer>; 5] {
        let mut dx = call.wanted[0].then(|| call.gradient_of(0));
        let [mut dw, mut db, mut dgamma, mut dbeta] = [1, 2, 3, 4].map(|input| call.gradient_of(input));
        self.block(call.inputs).backward(NormBlockGradient {
            x: call.input(0),
            weights: call.input(1),
            saved: call.saved,
            dy: call.gradient,
            dx: dx.as_deref_mut(),
            dw: &mut dw,
            db: &mut db,
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        });
        [dx, Some(dw), Some(db), Some(dgamma), Some(dbeta)]
    }
}
