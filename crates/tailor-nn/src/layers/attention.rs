//! Multi-head self-attention (Vaswani et al. 2017, section 3.2).

use burn::module::Module;
use burn::tensor::{Tensor, activation::softmax};

use super::{Dense, prefixed};
use crate::Result;
use crate::architecture::Activation;
use crate::init::Initializer;
use crate::ops::{attention, on_kernels};
use crate::weights::{NamedTensor, WeightSource};

/// `softmax(q · kᵀ / √d) · v` for each head, between two dense layers; tensors are named as in PyTorch's
/// `MultiheadAttention`.
#[derive(Module, Debug)]
pub struct Attention {
    /// To queries, keys and values, `[D, 3·D]`.
    qkv: Dense,
    out: Dense,
    heads: usize,
}

impl Attention {
    pub(super) fn new(width: usize, heads: usize, initializer: &mut Initializer) -> Self {
        Attention {
            qkv: Dense::new(width, 3 * width, Activation::None, None, initializer),
            out: Dense::new(width, width, Activation::None, None, initializer),
            heads,
        }
    }

    /// `[N, T, D]` to `[N, T, D]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [images, tokens, width] = x.dims();
        let qkv = self.project(x);
        let y = match on_kernels(&qkv.device()) {
            true => attention(qkv, self.heads),
            false => {
                let [q, k, v] = self.split(qkv);
                attend(q, k).matmul(v).swap_dims(1, 2).reshape([images, tokens, width])
            }
        };
        self.out.forward(y.reshape([images * tokens, width])).reshape([images, tokens, width])
    }

    /// How much each token takes of each other one: `[N, T, D]` to `[N, heads, T, T]`, rows being the takers; they sum to 1.
    pub fn maps(&self, x: Tensor<3>) -> Tensor<4> {
        let [q, k, _] = self.split(self.project(x));
        attend(q, k)
    }

    /// `[N, T, D]` to queries, keys and values side by side, `[N, T, 3·D]`.
    fn project(&self, x: Tensor<3>) -> Tensor<3> {
        let [images, tokens, width] = x.dims();
        self.qkv.forward(x.reshape([images * tokens, width])).reshape([images, tokens, 3 * width])
    }

    /// `[N, T, 3·heads·d]` to queries, keys and values, each `[N, heads, T, d]`.
    fn split(&self, qkv: Tensor<3>) -> [Tensor<4>; 3] {
        let [images, tokens, step] = qkv.dims();
        let (heads, size) = (self.heads, step / 3 / self.heads);
        let qkv = qkv.reshape([images, tokens, 3 * heads, size]).swap_dims(1, 2);
        [0, 1, 2].map(|part| qkv.clone().narrow(1, part * heads, heads))
    }

    pub(super) fn export(&self) -> Vec<NamedTensor> {
        let mut tensors = self.qkv.export();
        for tensor in &mut tensors {
            tensor.name = format!("in_proj_{}", tensor.name);
        }
        [tensors, prefixed("out_proj", self.out.export())].concat()
    }

    pub(super) fn import(&mut self, source: &mut WeightSource) -> Result<()> {
        self.qkv.import_named(source, ["in_proj_weight", "in_proj_bias"])?;
        source.within("out_proj", |source| self.out.import(source))
    }
}

/// `softmax(q · kᵀ / √d)`: `[N, heads, T, d]` twice to `[N, heads, T, T]`.
fn attend(q: Tensor<4>, k: Tensor<4>) -> Tensor<4> {
    let [_, _, _, size] = q.dims();
    softmax(q.matmul(k.swap_dims(2, 3)).div_scalar((size as f64).sqrt()), 3)
}
