//! The core of self-attention, between its two dense layers, as one operation.

use std::sync::Arc;

use burn::tensor::Tensor;
use tailor_kernels::attention::{Attention, AttentionGradient};
use tailor_kernels::buffer::AlignedBuffer;

use super::buffer::{FlexTensor, extents, tensor, values};
use super::kernel::{Call, Kernel, apply};

/// `softmax(q · kᵀ / √d) · v` of each head: from queries, keys and values side by side, `[N, T, 3·heads·d]`, to
/// `[N, T, heads·d]`.
pub fn attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    apply([qkv.into_dispatch()], Heads(heads))
}

#[derive(Clone, Debug)]
struct Heads(usize);

impl Heads {
    fn geometry(&self, qkv: &FlexTensor) -> Attention {
        let [batch, tokens, step] = extents(qkv);
        Attention { batch, tokens, heads: self.0, width: step / (3 * self.0) }
    }

    fn output(&self, qkv: &FlexTensor) -> (AlignedBuffer, [usize; 3]) {
        let [batch, tokens, step] = extents(qkv);
        (AlignedBuffer::new(batch * tokens * step / 3), [batch, tokens, step / 3])
    }
}

impl Kernel<1> for Heads {
    /// The attention maps.
    type Saved = Arc<AlignedBuffer>;

    fn forward(&self, [qkv]: &[FlexTensor; 1]) -> (FlexTensor, Arc<AlignedBuffer>) {
        let (mut y, shape) = self.output(qkv);
        let maps = self.geometry(qkv).forward(values(qkv), &mut y);
        (tensor(y, shape), Arc::new(maps))
    }

    fn infer(&self, [qkv]: &[FlexTensor; 1]) -> FlexTensor {
        let (mut y, shape) = self.output(qkv);
        self.geometry(qkv).infer(values(qkv), &mut y);
        tensor(y, shape)
    }

    fn backward(&self, call: Call<1, Arc<AlignedBuffer>>) -> [Option<AlignedBuffer>; 1] {
        let mut dqkv = call.gradient_of(0);
        self.geometry(&call.inputs[0]).backward(AttentionGradient {
            qkv: call.input(0),
            maps: call.saved,
            dy: call.gradient,
            dqkv: &mut dqkv,
        });
        [Some(dqkv)]
    }
}
