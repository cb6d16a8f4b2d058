//! A norm's scale in the weights of the convolution before it.

use burn::backend::TensorMetadata;
use burn::tensor::Tensor;
use tailor_kernels::buffer::AlignedBuffer;

use super::buffer::{FlexTensor, tensor, values};
use super::kernel::{Call, Kernel, apply};

/// Each filter of weights `[C_out, …]` times its value of `scale`, `[C_out]`.
pub fn scaled_filters(weight: Tensor<4>, scale: Tensor<1>) -> Tensor<4> {
    apply([weight.into_dispatch(), scale.into_dispatch()], ScaledFilters)
}

#[derive(Clone, Debug)]
struct ScaledFilters;

/// `filters[c] · scale[c]` of filters one after the other.
fn scaled(filters: &[f32], scale: &[f32]) -> AlignedBuffer {
    let mut result = AlignedBuffer::new(filters.len());
    let len = filters.len() / scale.len();
    for ((filter, scale), to) in filters.chunks_exact(len).zip(scale).zip(result.chunks_exact_mut(len)) {
        to.iter_mut().zip(filter).for_each(|(to, weight)| *to = weight * scale);
    }
    result
}

impl Kernel<2> for ScaledFilters {
    type Saved = ();

    fn forward(&self, [weight, scale]: &[FlexTensor; 2]) -> (FlexTensor, ()) {
        (tensor(scaled(values(weight), values(scale)), weight.shape()), ())
    }

    fn backward(&self, call: Call<2, ()>) -> [Option<AlignedBuffer>; 2] {
        let (weight, scale) = (call.input(0), call.input(1));
        let len = weight.len() / scale.len();
        let mut dscale = call.gradient_of(1);
        let filters = weight.chunks_exact(len).zip(call.gradient.chunks_exact(len));
        for (to, (filter, gradient)) in dscale.iter_mut().zip(filters) {
            *to = filter.iter().zip(gradient).map(|(weight, gradient)| weight * gradient).sum();
        }
        [Some(scaled(call.gradient, scale)), Some(dscale)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn filters_and_their_gradients_are_scaled() {
        let device = Device::flex().autodiff();
        let weight =
            Tensor::<1>::from_floats([1., 2., 3., 4., 5., 6.], &device).reshape([2, 1, 1, 3]).require_grad();
        let scale = Tensor::<1>::from_floats([2., -1.], &device).require_grad();
        let scaled = scaled_filters(weight.clone(), scale.clone());
        let expected = [2., 4., 6., -4., -5., -6.];
        scaled
            .to_data()
            .assert_eq(&Tensor::<1>::from_floats(expected, &device).reshape([2, 1, 1, 3]).to_data(), true);
        // Of the sum of squares: dy = 2y, dw = 2y · scale, dscale = Σ 2y · w.
        let gradients = scaled.powi_scalar(2).sum().backward();
        let gradient = |values: Option<Tensor<4>>| values.unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(gradient(weight.grad(&gradients)), [8., 16., 24., 8., 10., 12.]);
        assert_eq!(scale.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap(), [56., -154.]);
    }
}
