//! Batch normalization in training as one operation.

use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Tensor, TensorData};
use tailor_kernels::activation::Activation;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::norm::{ActivatedNorm, ActivatedNormGradient, BatchNorm, Statistics};

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply, first};

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

/// `activation(norm(x) + shortcut)` of `[M, C]`, normalized by the batch's own statistics.
pub fn batch_norm(
    x: Tensor<2>,
    shortcut: Option<Tensor<2>>,
    norm: NormOperands,
    activation: Activation,
) -> Tensor<2> {
    let kernel = TrainNorm { epsilon: norm.epsilon, statistics: norm.statistics, activation };
    let [x, weight, bias] = [x.into_dispatch(), norm.weight.into_dispatch(), norm.bias.into_dispatch()];
    match shortcut {
        Some(shortcut) => apply([x, weight, bias, shortcut.into_dispatch()], kernel),
        None => apply([x, weight, bias], kernel),
    }
}

#[derive(Clone, Debug)]
struct TrainNorm {
    epsilon: f32,
    statistics: BatchStatistics,
    activation: Activation,
}

impl TrainNorm {
    fn norm<'a>(&self, inputs: &'a [FlexTensor]) -> ActivatedNorm<'a> {
        let norm = BatchNorm { gamma: values(&inputs[1]), beta: values(&inputs[2]), epsilon: self.epsilon };
        ActivatedNorm { norm, activation: self.activation }
    }
}

/// Values, weight, bias and, with `N` = 4, the shortcut.
impl<const N: usize> Kernel<N> for TrainNorm {
    type Saved = Arc<Statistics>;

    fn forward(&self, inputs: &[FlexTensor; N]) -> (FlexTensor, Arc<Statistics>) {
        let x = &inputs[0];
        let mut y = AlignedBuffer::new(values(x).len());
        let statistics = self.norm(inputs).forward(values(x), inputs.get(3).map(values), &mut y);
        let statistics = Arc::new(statistics);
        self.statistics.leave(Arc::clone(&statistics));
        (tensor(y, extents::<2>(x)), statistics)
    }

    fn backward(&self, call: Call<N, Arc<Statistics>>) -> [Option<AlignedBuffer>; N] {
        let [mut dx, mut dgamma, mut dbeta] = [0, 1, 2].map(|input| call.gradient_of(input));
        let mut dshortcut = (N == 4).then(|| call.gradient_of(3));
        self.norm(call.inputs).backward(ActivatedNormGradient {
            x: call.input(0),
            shortcut: call.inputs.get(3).map(values),
            statistics: call.saved,
            dy: call.gradient,
            dx: &mut dx,
            dshortcut: dshortcut.as_deref_mut(),
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        });
        first([Some(dx), Some(dgamma), Some(dbeta), dshortcut])
    }
}
