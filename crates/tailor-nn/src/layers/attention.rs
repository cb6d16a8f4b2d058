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
        let qkv = self.qkv.forward(x.reshape([images * tokens, width])).reshape([images, tokens, 3 * width]);
        let y = match on_kernels(&qkv.device()) {
            true => attention(qkv, self.heads),
            false => self.attend_on_burn(qkv),
        };
        self.out.forward(y.reshape([images * tokens, width])).reshape([images, tokens, width])
    }

    fn attend_on_burn(&self, qkv: Tensor<3>) -> Tensor<3> {
        let [images, tokens, step] = qkv.dims();
        let (heads, size) = (self.heads, step / 3 / self.heads);
        // [N, T, 3·heads, d] to three of [N, heads, T, d]
        let qkv = qkv.reshape([images, tokens, 3 * heads, size]).swap_dims(1, 2);
        let [q, k, v] = [0, 1, 2].map(|part| qkv.clone().narrow(1, part * heads, heads));
        let scores = q.matmul(k.swap_dims(2, 3)).div_scalar((size as f64).sqrt());
        softmax(scores, 3).matmul(v).swap_dims(1, 2).reshape([images, tokens, heads * size])
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
