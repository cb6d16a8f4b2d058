//! Layer normalization as one operation.

use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::norm::{LayerNorm, LayerNormGradient};

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply};

/// Normalizes each row of `[M, D]` by itself, with weight and bias `[D]`.
pub fn layer_norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f32) -> Tensor<2> {
    apply([x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()], RowNorm { epsilon })
}

#[derive(Clone, Debug)]
struct RowNorm {
    epsilon: f32,
}

impl RowNorm {
    fn norm<'a>(&self, [_, weight, bias]: &'a [FlexTensor; 3]) -> LayerNorm<'a> {
        LayerNorm { gamma: values(weight), beta: values(bias), epsilon: self.epsilon }
    }
}

impl Kernel<3> for RowNorm {
    type Saved = ();

    fn forward(&self, inputs: &[FlexTensor; 3]) -> (FlexTensor, ()) {
        let [x, ..] = inputs;
        let mut y = AlignedBuffer::new(values(x).len());
        self.norm(inputs).forward(values(x), &mut y);
        (tensor(y, extents::<2>(x)), ())
    }

    fn backward(&self, call: Call<3, ()>) -> [Option<AlignedBuffer>; 3] {
        let [mut dx, mut dgamma, mut dbeta] = [0, 1, 2].map(|input| call.gradient_of(input));
        self.norm(call.inputs).backward(LayerNormGradient {
            x: call.input(0),
            dy: call.gradient,
            dx: &mut dx,
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        });
        [Some(dx), Some(dgamma), Some(dbeta)]
    }
}
