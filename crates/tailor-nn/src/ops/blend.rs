//! Averages of whole modules.

use burn::backend::Flex;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::buffer::{FlexTensor, values};
use super::on_kernels;

/// The tensors of a module, running statistics included, flat and in order.
pub fn tensors<M: Module>(module: &M) -> Vec<Tensor<1>> {
    struct Collect(Vec<Tensor<1>>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().inner().reshape([-1]));
        }
    }
    let mut collected = Collect(Vec::new());
    module.visit(&mut collected);
    collected.0
}

/// `average + share · (tensors − average)`, for each tensor of a module without automatic differentiation.
pub fn blend<M: Module>(average: M, tensors: Vec<Tensor<1>>, share: f64) -> M {
    struct Blend {
        tensors: std::vec::IntoIter<Tensor<1>>,
        share: f64,
    }
    impl ModuleMapper for Blend {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let tensor = self.tensors.next().expect("both modules have the same tensors");
            param.map(|average| match on_kernels(&average.device()) {
                true => on_our_kernels(average, tensor, self.share as f32),
                false => {
                    let tensor = tensor.reshape(average.dims());
                    average.clone().add((tensor - average).mul_scalar(self.share))
                }
            })
        }
    }
    average.map(&mut Blend { tensors: tensors.into_iter(), share })
}

/// In the average's own memory, unless something else shares it.
fn on_our_kernels<const D: usize>(average: Tensor<D>, tensor: Tensor<1>, share: f32) -> Tensor<D> {
    let mut average = primitive(average);
    tailor_kernels::blend(average.storage_mut(), values(&primitive(tensor)), share);
    Tensor::from_primitive::<Flex>(average)
}

/// Puts the values of these tensors in place of a module's own, as trainable as those.
pub fn replace<M: Module>(module: M, tensors: Vec<Tensor<1>>) -> M {
    struct Replace(std::vec::IntoIter<Tensor<1>>);
    impl ModuleMapper for Replace {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let tensor = self.0.next().expect("both modules have the same tensors");
            param.map(|old| {
                let new = tensor.reshape(old.dims());
                let new = if old.is_autodiff() { Tensor::from_inner(new) } else { new };
                new.set_require_grad(old.is_require_grad())
            })
        }
    }
    module.map(&mut Replace(tensors.into_iter()))
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    let tensor = tensor.try_into_primitive::<Flex>().expect("the module's tensors are on Burn's CPU backend");
    tensor.to_contiguous()
}
