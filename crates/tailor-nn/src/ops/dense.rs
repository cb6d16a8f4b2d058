//! Matrix product, bias and activation as one operation.

use burn::tensor::Tensor;
use tailor_kernels::activation::Activation;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::dense::{Dense, DenseGradient};

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply};

/// `activation(x · weight + bias)`: from `[M, F_in]`, `[F_in, F_out]` and `[F_out]` to `[M, F_out]`.
pub fn dense(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, activation: Activation) -> Tensor<2> {
    apply([x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()], DenseKernel { activation })
}

#[derive(Clone, Debug)]
struct DenseKernel {
    activation: Activation,
}

impl DenseKernel {
    fn layer(&self, [x, weight, _]: &[FlexTensor; 3]) -> Dense {
        let ([batch, inputs], [_, outputs]) = (extents(x), extents(weight));
        Dense { batch, inputs, outputs, activation: self.activation }
    }
}

impl Kernel<3> for DenseKernel {
    type Saved = ();

    fn forward(&self, inputs: &[FlexTensor; 3]) -> (FlexTensor, ()) {
        let layer = self.layer(inputs);
        let [x, weight, bias] = inputs.each_ref().map(values);
        let mut y = AlignedBuffer::new(layer.batch * layer.outputs);
        layer.forward(x, weight, Some(bias), &mut y);
        (tensor(y, [layer.batch, layer.outputs]), ())
    }

    fn backward(&self, call: Call<3, ()>) -> [Option<AlignedBuffer>; 3] {
        let mut dx = call.wanted[0].then(|| call.gradient_of(0));
        let [mut dw, mut db] = [call.gradient_of(1), call.gradient_of(2)];
        self.layer(call.inputs).backward(DenseGradient {
            x: call.input(0),
            weights: call.input(1),
            y: values(call.output),
            dy: call.gradient,
            dx: dx.as_deref_mut(),
            dw: &mut dw,
            db: Some(&mut db),
        });
        [dx, Some(dw), Some(db)]
    }
}
