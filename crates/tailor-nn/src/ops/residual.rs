//! The sum of a branch and its shortcut, and what scales the channels of an image, each as one operation.

use std::sync::Arc;

use burn::backend::TensorMetadata;
use burn::tensor::Tensor;
use tailor_kernels::activation::Activation;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::excitation::{ExciteGradient, excite as kernel, excite_backward};
use tailor_kernels::residual::{Residual, ResidualGradient};

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply};

/// `activation(shortcut + factor · branch)`, both `[N, …]`, with a factor for each image or 1.
pub fn add<const D: usize>(
    shortcut: Tensor<D>,
    branch: Tensor<D>,
    factors: Option<Vec<f32>>,
    activation: Activation,
) -> Tensor<D> {
    apply(
        [shortcut.into_dispatch(), branch.into_dispatch()],
        Sum { factors: factors.map(Arc::new), activation },
    )
}

/// `y[n, h, w, c] = x[n, h, w, c] · factors[n, c]`
pub fn excite(x: Tensor<4>, factors: Tensor<2>) -> Tensor<4> {
    apply([x.into_dispatch(), factors.into_dispatch()], Excite)
}

#[derive(Clone, Debug)]
struct Sum {
    factors: Option<Arc<Vec<f32>>>,
    activation: Activation,
}

impl Sum {
    fn residual(&self) -> Residual<'_> {
        Residual {
            activation: self.activation,
            factors: self.factors.as_ref().map(|factors| factors.as_slice()),
        }
    }
}

impl Kernel<2> for Sum {
    type Saved = ();

    fn forward(&self, [shortcut, branch]: &[FlexTensor; 2]) -> (FlexTensor, ()) {
        let mut y = AlignedBuffer::new(values(branch).len());
        self.residual().forward(values(shortcut), values(branch), &mut y);
        (tensor(y, branch.shape()), ())
    }

    fn backward(&self, call: Call<2, ()>) -> [Option<AlignedBuffer>; 2] {
        let mut dsum = call.gradient_of(0);
        let mut dbranch = self.factors.is_some().then(|| call.gradient_of(1));
        self.residual().backward(ResidualGradient {
            y: values(call.output),
            dy: call.gradient,
            dsum: Some(&mut dsum),
            dbranch: dbranch.as_deref_mut(),
        });
        let dbranch = dbranch.unwrap_or_else(|| AlignedBuffer::from_slice(&dsum));
        [Some(dsum), Some(dbranch)]
    }
}

#[derive(Clone, Debug)]
struct Excite;

impl Kernel<2> for Excite {
    type Saved = ();

    fn forward(&self, [x, factors]: &[FlexTensor; 2]) -> (FlexTensor, ()) {
        let mut y = AlignedBuffer::new(values(x).len());
        kernel(extents(x), values(x), values(factors), &mut y);
        (tensor(y, x.shape()), ())
    }

    fn backward(&self, call: Call<2, ()>) -> [Option<AlignedBuffer>; 2] {
        let [mut dx, mut ds] = [0, 1].map(|input| call.gradient_of(input));
        excite_backward(
            extents(&call.inputs[0]),
            ExciteGradient {
                x: call.input(0),
                s: call.input(1),
                dy: call.gradient,
                dx: &mut dx,
                ds: &mut ds,
            },
        );
        [Some(dx), Some(ds)]
    }
}
