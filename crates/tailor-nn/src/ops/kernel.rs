//! Any of our kernels as a single node of Burn's automatic differentiation.

use std::fmt::Debug;

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, Backend, Dispatch, DispatchTensor, Flex, TensorMetadata, backend_extension, tensor::FloatTensor,
};
use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;

use super::buffer::{FlexTensor, tensor, values};

/// A differentiable function of `N` tensors that our kernels compute. Its inputs are contiguous.
pub trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass needs beside inputs and output.
    type Saved: Clone + Debug + Send + 'static;

    /// The output, and what [`Kernel::backward`] needs.
    fn forward(&self, inputs: &[FlexTensor; N]) -> (FlexTensor, Self::Saved);

    /// The output alone.
    fn infer(&self, inputs: &[FlexTensor; N]) -> FlexTensor {
        self.forward(inputs).0
    }

    /// The gradient with respect to each input; those that are not wanted may be left out.
    fn backward(&self, call: Call<N, Self::Saved>) -> [Option<AlignedBuffer>; N];
}

/// What a backward pass knows.
pub struct Call<'a, const N: usize, S> {
    /// Of the forward pass.
    pub inputs: &'a [FlexTensor; N],
    /// Of the forward pass.
    pub output: &'a FlexTensor,
    /// By the forward pass.
    pub saved: &'a S,
    /// The loss's gradient with respect to the output.
    pub gradient: &'a [f32],
    /// Which inputs' gradients are used.
    pub wanted: [bool; N],
}

impl<const N: usize, S> Call<'_, N, S> {
    /// The values of an input.
    pub fn input(&self, index: usize) -> &[f32] {
        values(&self.inputs[index])
    }

    /// Room for the gradient with respect to an input.
    pub fn gradient_of(&self, index: usize) -> AlignedBuffer {
        AlignedBuffer::new(self.input(index).len())
    }
}

/// Inputs that an operation can have at most.
const MOST: usize = 6;

/// Applies a kernel to tensors of any ranks; `D` is the rank of its output.
pub fn apply<const N: usize, const D: usize>(
    inputs: [DispatchTensor; N],
    kernel: impl Kernel<N>,
) -> Tensor<D> {
    // Burn finds the backend by arguments that are tensors: places beyond the N-th hold the first again, unused.
    let [a, b, c, d, e, f] =
        std::array::from_fn::<_, MOST, _>(|place| inputs[if place < N { place } else { 0 }].clone());
    drop(inputs);
    Tensor::from_dispatch(Dispatch::kernel::<N, _>(a, b, c, d, e, f, kernel))
}

#[backend_extension(Flex, Autodiff)]
trait KernelOp: Backend {
    fn kernel<const N: usize, K: Kernel<N>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        f: FloatTensor<Self>,
        kernel: K,
    ) -> FloatTensor<Self>;
}

impl KernelOp for Flex {
    fn kernel<const N: usize, K: Kernel<N>>(
        a: FlexTensor,
        b: FlexTensor,
        c: FlexTensor,
        d: FlexTensor,
        e: FlexTensor,
        f: FlexTensor,
        kernel: K,
    ) -> FlexTensor {
        kernel.infer(&first([a, b, c, d, e, f]).map(|tensor| tensor.to_contiguous()))
    }
}

impl<C: CheckpointStrategy> KernelOp for Autodiff<Flex, C> {
    fn kernel<const N: usize, K: Kernel<N>>(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        f: FloatTensor<Self>,
        kernel: K,
    ) -> FloatTensor<Self> {
        let (tensors, nodes): (Vec<_>, Vec<_>) =
            first::<_, N>([a, b, c, d, e, f]).into_iter().map(|tensor| tensor.into_parts()).unzip();
        let inputs = first(tensors).map(|tensor: FlexTensor| tensor.to_contiguous());
        match KernelBackward(kernel.clone()).prepare::<C>(first(nodes)).compute_bound().stateful() {
            OpsKind::UnTracked(untracked) => untracked.finish(kernel.infer(&inputs)),
            OpsKind::Tracked(tracked) => {
                let (output, saved) = kernel.forward(&inputs);
                tracked.finish(State { inputs, output: output.clone(), saved }, output)
            }
        }
    }
}

/// The first `N` of at least as many.
pub(super) fn first<T, const N: usize>(many: impl IntoIterator<Item = T>) -> [T; N] {
    let mut many = many.into_iter();
    std::array::from_fn(|_| many.next().expect("there are at least N"))
}

/// What is kept from the forward pass to the backward pass.
#[derive(Clone, Debug)]
struct State<const N: usize, S> {
    inputs: [FlexTensor; N],
    output: FlexTensor,
    saved: S,
}

#[derive(Debug)]
struct KernelBackward<K>(K);

impl<const N: usize, K: Kernel<N>> Backward<Flex, N> for KernelBackward<K> {
    type State = State<N, K::Saved>;

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let State { inputs, output, saved } = &ops.state;
        let nodes = ops.parents.map(|parent| parent.map(|node| node.id));
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let wanted = nodes.map(|node| node.is_some());
        let call = Call { inputs, output, saved, gradient: values(&gradient), wanted };
        for ((node, input), gradient) in nodes.into_iter().zip(inputs).zip(self.0.backward(call)) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                gradients.register::<Flex>(node, tensor(gradient, input.shape()));
            }
        }
    }
}
