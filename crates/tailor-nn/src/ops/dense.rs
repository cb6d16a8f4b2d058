//! Matrix product, bias and activation as one operation.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use tailor_kernels::activation::Activation;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::dense::{Dense, DenseGradient};

use super::buffer::{FlexTensor, extents, register, tensor, values};

/// `activation(x · weight + bias)`: from `[N, F_in]`, `[F_in, F_out]` and `[F_out]` to `[N, F_out]`.
pub fn dense(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, activation: Activation) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::dense(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        activation,
    ))
}

#[backend_extension(Flex, Autodiff)]
trait DenseOp: Backend {
    fn dense(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self>;
}

fn layer(x: &FlexTensor, weight: &FlexTensor, activation: Activation) -> Dense {
    let ([batch, inputs], [_, outputs]) = (extents(x), extents(weight));
    Dense { batch, inputs, outputs, activation }
}

impl DenseOp for Flex {
    fn dense(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, activation: Activation) -> FlexTensor {
        let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
        let layer = layer(&x, &weight, activation);
        let mut y = AlignedBuffer::new(layer.batch * layer.outputs);
        layer.forward(values(&x), values(&weight), Some(values(&bias)), &mut y);
        tensor(y, [layer.batch, layer.outputs])
    }
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct State {
    x: FlexTensor,
    weight: FlexTensor,
    y: FlexTensor,
    activation: Activation,
}

impl<C: CheckpointStrategy> DenseOp for Autodiff<Flex, C> {
    fn dense(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let ((x, of_x), (weight, of_weight), (bias, of_bias)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        match DenseBackward.prepare::<C>([of_x, of_weight, of_bias]).compute_bound().stateful() {
            OpsKind::UnTracked(untracked) => untracked.finish(Flex::dense(x, weight, bias, activation)),
            OpsKind::Tracked(tracked) => {
                let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
                let y = Flex::dense(x.clone(), weight.clone(), bias, activation);
                tracked.finish(State { x, weight, y: y.clone(), activation }, y)
            }
        }
    }
}

#[derive(Debug)]
struct DenseBackward;

impl Backward<Flex, 3> for DenseBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [of_x, of_weight, of_bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        let State { x, weight, y, activation } = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let layer = layer(&x, &weight, activation);
        let mut dx = of_x.is_some().then(|| AlignedBuffer::new(layer.batch * layer.inputs));
        let mut dw = AlignedBuffer::new(layer.inputs * layer.outputs);
        let mut db = AlignedBuffer::new(layer.outputs);
        layer.backward(DenseGradient {
            x: values(&x),
            weights: values(&weight),
            y: values(&y),
            dy: values(&dy),
            dx: dx.as_deref_mut(),
            dw: &mut dw,
            db: Some(&mut db),
        });
        if let Some(dx) = dx {
            register(gradients, of_x, dx, [layer.batch, layer.inputs]);
        }
        register(gradients, of_weight, dw, [layer.inputs, layer.outputs]);
        register(gradients, of_bias, db, [layer.outputs]);
    }
}
