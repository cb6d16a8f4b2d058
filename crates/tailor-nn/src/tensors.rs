//! A network as a list of tensors: their names, freezing some, averaging all.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::Network;
use crate::ops::blend;

/// One tensor of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// As in a model file: `conv1.weight`, `bn1.running_mean`.
    pub name: String,
    /// As in a model file, outputs first.
    pub shape: Vec<usize>,
    /// As our own layers have it; its rows may be the other's columns.
    pub memory_shape: Vec<usize>,
    /// Whether training changes it: not if it is frozen, a running statistic, or without automatic differentiation.
    pub trainable: bool,
}

impl TensorInfo {
    /// Rows and columns where it is a matrix: outputs, and everything that goes into one of them.
    pub fn matrix(&self) -> Option<[usize; 2]> {
        let [rows, rest @ ..] = self.shape.as_slice() else { return None };
        let columns = rest.iter().product();
        (!rest.is_empty() && *rows > 1 && columns > 1).then_some([*rows, columns])
    }
}

impl Network {
    /// All tensors, in the order in which Burn visits them.
    pub fn tensors(&self) -> Vec<TensorInfo> {
        struct Collect(Vec<(Vec<usize>, bool)>);
        impl ModuleVisitor for Collect {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.push((param.dims().to_vec(), param.is_require_grad()));
            }
        }
        let mut visited = Collect(Vec::new());
        self.visit(&mut visited);
        let exported = self.export();
        assert_eq!(exported.len(), visited.0.len(), "a network exports what it consists of");
        exported
            .into_iter()
            .zip(visited.0)
            .map(|(tensor, (memory_shape, trainable))| {
                let length: usize = memory_shape.iter().product();
                assert_eq!(tensor.values.len(), length, "{} is exported in its place", tensor.name);
                TensorInfo { name: tensor.name, shape: tensor.shape, memory_shape, trainable }
            })
            .collect()
    }

    /// The network with the tensors of these names no longer trained. A batch norm whose weight is among them works in
    /// training as in inference.
    pub fn freeze(self, frozen: impl Fn(&str) -> bool) -> Self {
        struct Freeze(std::vec::IntoIter<bool>);
        impl ModuleMapper for Freeze {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                match self.0.next().expect("a network maps the tensors that it visits") {
                    true => param.set_require_grad(false),
                    false => param,
                }
            }
        }
        let frozen: Vec<bool> = self.tensors().iter().map(|tensor| frozen(&tensor.name)).collect();
        self.map(&mut Freeze(frozen.into_iter()))
    }

    /// A copy without automatic differentiation, to be averaged into.
    pub fn copy(&self) -> Self {
        self.valid()
    }

    /// `self + share · (network − self)` for each tensor, running statistics included.
    ///
    /// # Panics
    /// If the networks are of different architectures, or `self` is one for training.
    pub fn blend(self, network: &Network, share: f64) -> Self {
        // The copy has its running statistics up to date.
        blend::blend(self, blend::tensors(&network.copy()), share)
    }

    /// The network with all tensors' values taken from another one.
    ///
    /// # Panics
    /// If the networks are of different architectures.
    pub fn with_values_of(self, network: &Network) -> Self {
        // Statistics of a batch that are still on their way would replace the new ones.
        drop(self.copy());
        blend::replace(self, blend::tensors(&network.copy()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Activation, Architecture, BatchNormSpec, ConvSpec, LayerSpec, Padding};
    use crate::weights::NamedTensor;
    use crate::{Device, Shape, host_values};

    fn network() -> Network {
        let layers = vec![
            LayerSpec::Conv(ConvSpec { padding: Padding::Same, ..ConvSpec::new(3, 3) }),
            LayerSpec::BatchNorm(BatchNormSpec::new(Activation::None)),
            LayerSpec::Dense { units: 5, activation: Activation::Tanh },
        ];
        let shape = Shape::Image { height: 4, width: 6, channels: 2 };
        Network::new(&Architecture::new(layers), shape, 4, 1, &Device::flex().autodiff()).unwrap()
    }

    /// Every layer that has tensors, in two networks.
    fn nested() -> [Network; 2] {
        let images = r#"[
            {"type": "conv", "filters": 4},
            {"type": "batch-norm"},
            {"type": "basic-block", "filters": 6, "stride": 2},
            {"type": "inverted-residual", "filters": 6, "expand": 2, "squeeze": 2},
            {"type": "squeeze-excite", "units": 2},
            {"type": "residual", "body": [{"type": "conv", "filters": 3, "padding": "same"}],
             "shortcut": [{"type": "sequence", "layers": [{"type": "conv", "filters": 3, "kernel": 1}]}]}
        ]"#;
        let tokens = r#"[
            {"type": "conv", "filters": 8, "kernel": 2, "stride": 2},
            {"type": "tokens", "class-token": true},
            {"type": "transformer-block", "heads": 2, "units": 12},
            {"type": "class-token"},
            {"type": "layer-norm"}
        ]"#;
        [images, tokens].map(|layers| {
            let layers: Vec<LayerSpec> = serde_json::from_str(layers).unwrap();
            let shape = Shape::Image { height: 8, width: 8, channels: 2 };
            Network::new(&Architecture::new(layers), shape, 5, 1, &Device::flex().autodiff()).unwrap()
        })
    }

    #[test]
    fn names_belong_to_the_tensors_that_are_visited() {
        for mut network in [network()].into_iter().chain(nested()) {
            let numbered = network.export().into_iter().enumerate().map(|(number, tensor)| NamedTensor {
                values: vec![number as f32; tensor.values.len()],
                ..tensor
            });
            network.import(numbered.collect()).unwrap();
            let (infos, visited) = (network.tensors(), blend::tensors(&network.copy()));
            assert_eq!(infos.len(), visited.len());
            for (number, tensor) in visited.into_iter().enumerate() {
                let values = host_values(tensor);
                assert!(values.iter().all(|&value| value == number as f32), "{:?}", infos[number]);
            }
        }
    }

    #[test]
    fn matrices_have_outputs_as_rows_and_statistics_are_not_trainable() {
        let infos = network().tensors();
        assert_eq!(infos[0].matrix(), Some([3, 18]));
        assert_eq!(infos[6].matrix(), Some([5, 72]));
        assert_eq!(infos[1].matrix(), None);
        assert_eq!((infos[4].name.as_str(), infos[4].trainable), ("bn1.running_mean", false));
    }

    #[test]
    fn frozen_tensors_are_no_longer_trained() {
        let network = network().freeze(|name| name.starts_with("conv1") || name == "bn1.bias");
        let trained: Vec<String> = network
            .tensors()
            .into_iter()
            .filter(|tensor| tensor.trainable)
            .map(|tensor| tensor.name)
            .collect();
        assert_eq!(trained, ["bn1.weight", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]);
        assert_eq!(network.trainable_tensors(), [3, 360, 5, 20, 4]);
    }
}
