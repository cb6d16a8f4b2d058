//! Access to all weights and gradients of a module at once, in place, for an optimizer's single pass.

use burn::backend::Flex;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Gradients, Tensor};

use super::buffer::{FlexTensor, values};

/// One trainable tensor, flat.
pub struct Trainable<'a> {
    /// Counts the trainable tensors of the module.
    pub index: usize,
    /// Its weights.
    pub values: &'a mut [f32],
    /// The loss's gradient with respect to them.
    pub gradient: &'a [f32],
}

/// Lets `update` change the weights of a module whose tensors our kernels work on. Tensors without a gradient are
/// left out.
pub fn update_in_place<M: Module>(
    module: M,
    gradients: &Gradients,
    update: impl FnOnce(Vec<Trainable>),
) -> M {
    let mut taken = Take { gradients, tensors: Vec::new(), index: 0 };
    let module = module.map(&mut taken);
    let trainables = taken.tensors.iter_mut().map(|taken| Trainable {
        index: taken.index,
        values: taken.weights.storage_mut(),
        gradient: values(&taken.gradient),
    });
    update(trainables.collect());
    module.map(&mut Put { tensors: taken.tensors.into_iter().peekable(), index: 0 })
}

struct Taken {
    index: usize,
    weights: FlexTensor,
    gradient: FlexTensor,
}

/// Takes the weights out, so that nothing else shares their memory and they are changed where they lie.
struct Take<'a> {
    gradients: &'a Gradients,
    tensors: Vec<Taken>,
    index: usize,
}

impl ModuleMapper for Take<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        let index = self.index;
        self.index += 1;
        let Some(gradient) = param.val().grad(self.gradients) else { return param };
        param.map(|tensor| {
            let placeholder = Tensor::zeros([1; D], &tensor.device());
            let weights = primitive(tensor.inner()).to_contiguous();
            self.tensors.push(Taken { index, weights, gradient: primitive(gradient).to_contiguous() });
            placeholder.require_grad()
        })
    }
}

/// Puts the weights back.
struct Put<I: Iterator<Item = Taken>> {
    tensors: std::iter::Peekable<I>,
    index: usize,
}

impl<I: Iterator<Item = Taken>> ModuleMapper for Put<I> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        let index = self.index;
        self.index += 1;
        match self.tensors.next_if(|taken| taken.index == index) {
            Some(taken) => param
                .map(|_| Tensor::from_inner(Tensor::from_primitive::<Flex>(taken.weights)).require_grad()),
            None => param,
        }
    }
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("the module's tensors are on Burn's CPU backend")
}
