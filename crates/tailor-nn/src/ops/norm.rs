//! Batch normalization in training as one operation.

use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Tensor, TensorData};
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::norm::{BatchNorm, NormGradient, Statistics};

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply};

/// Where the forward pass leaves the batch's statistics, which are no part of the graph.
#[derive(Clone, Debug, Default)]
pub struct BatchStatistics(Arc<Mutex<Option<Arc<Statistics>>>>);

impl BatchStatistics {
    /// Mean and biased variance `[C]` of the batch that went through the operation.
    ///
    /// # Panics
    /// Before it did.
    pub fn tensors(&self, device: &Device) -> [Tensor<1>; 2] {
        let statistics =
            self.0.lock().expect("no holder panics").clone().expect("the forward pass leaves them");
        [&statistics.mean, &statistics.variance]
            .map(|values| Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device))
    }

    pub(super) fn leave(&self, statistics: Arc<Statistics>) {
        *self.0.lock().expect("no holder panics") = Some(statistics);
    }
}

/// A batch norm's weight and bias, `[C]`, what is added to the variance, and where the batch's statistics are left.
pub struct NormOperands {
    pub weight: Tensor<1>,
    pub bias: Tensor<1>,
    pub epsilon: f32,
    pub statistics: BatchStatistics,
}

/// Normalizes `[M, C]` by the batch's own statistics.
pub fn batch_norm(x: Tensor<2>, norm: NormOperands) -> Tensor<2> {
    let kernel = TrainNorm { epsilon: norm.epsilon, statistics: norm.statistics };
    apply([x.into_dispatch(), norm.weight.into_dispatch(), norm.bias.into_dispatch()], kernel)
}

#[derive(Clone, Debug)]
struct TrainNorm {
    epsilon: f32,
    statistics: BatchStatistics,
}

impl TrainNorm {
    fn norm<'a>(&self, [_, weight, bias]: &'a [FlexTensor; 3]) -> BatchNorm<'a> {
        BatchNorm { gamma: values(weight), beta: values(bias), epsilon: self.epsilon }
    }
}

impl Kernel<3> for TrainNorm {
    type Saved = Arc<Statistics>;

    fn forward(&self, inputs: &[FlexTensor; 3]) -> (FlexTensor, Arc<Statistics>) {
        let [x, ..] = inputs;
        let mut y = AlignedBuffer::new(values(x).len());
        let statistics = Arc::new(self.norm(inputs).forward(values(x), &mut y));
        self.statistics.leave(Arc::clone(&statistics));
        (tensor(y, extents::<2>(x)), statistics)
    }

    fn backward(&self, call: Call<3, Arc<Statistics>>) -> [Option<AlignedBuffer>; 3] {
        let [mut dx, mut dgamma, mut dbeta] = [0, 1, 2].map(|input| call.gradient_of(input));
        self.norm(call.inputs).backward(NormGradient {
            x: call.input(0),
            statistics: call.saved,
            dy: call.gradient,
            dx: &mut dx,
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        });
        [Some(dx), Some(dgamma), Some(dbeta)]
    }
}
