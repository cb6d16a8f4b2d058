//! Convolution, batch norm, the sum with a shortcut and an activation as one operation, in training: the block of
//! residual and mobile networks. The activation needs no pass of its own, and the batch's statistics, and the gradient
//! of the convolution's outputs, none through memory: both are computed image by image, in the cache.
//!
//! ```text
//! forward   image by image: convolve, add to the statistics                 then normalise, add, activate
//! backward  dγ, dβ (and the shortcut's gradient) over the whole batch       then image by image: through the norm,
//!                                                                           the convolution's gradients
//! ```

use super::backward::{OutputGradient, ThroughNorm, parts, run};
use super::forward::{CHUNK, convolve_images};
use super::{ConvBlock, ConvGradient, Convolution, Saved};
use crate::activation::Activation;
use crate::bf16::Precision;
use crate::buffer::AlignedBuffer;
use crate::norm::{ActivatedNorm, InputGradients, Statistics};
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::Isa;
use crate::team;

/// `y = activation(norm(conv(x)) + shortcut)`, in training. The convolution has no bias, which the norm would take away
/// again. For inference fold the norm into the convolution: see [`crate::norm::fold`] and [`ConvBlock::infer`].
#[derive(Clone, Copy, Debug)]
pub struct ActivatedBlock<'a> {
    /// The convolution's geometry.
    pub convolution: Convolution,
    /// What it multiplies.
    pub precision: Precision,
    /// What follows it, over all pixels of all images.
    pub norm: ActivatedNorm<'a>,
}

/// What a forward pass keeps for the backward pass.
#[derive(Clone, Debug)]
pub struct ActivatedSaved {
    /// Of the convolution's outputs.
    pub statistics: Statistics,
    /// The convolution's outputs, `[N, Ho, Wo, Co]`.
    convolved: AlignedBuffer,
}

/// Operands of [`ActivatedBlock::backward`].
#[derive(Debug)]
pub struct ActivatedGradient<'a> {
    /// The forward pass's input, `[N, H, W, Ci]`.
    pub x: &'a [f32],
    /// Its weights, OHWI.
    pub weights: &'a [f32],
    /// What was added before the activation, if anything.
    pub shortcut: Option<&'a [f32]>,
    /// What the forward pass saved.
    pub saved: &'a ActivatedSaved,
    /// The loss's gradient with respect to its output.
    pub dy: &'a [f32],
    /// Where the gradient with respect to `x` goes, if wanted; overwritten, as are all.
    pub dx: Option<&'a mut [f32]>,
    /// Where the gradient with respect to the shortcut goes, if wanted.
    pub dshortcut: Option<&'a mut [f32]>,
    /// Where the gradient with respect to the weights goes.
    pub dw: &'a mut [f32],
    /// Where the gradient with respect to γ goes.
    pub dgamma: &'a mut [f32],
    /// Where the gradient with respect to β goes.
    pub dbeta: &'a mut [f32],
}

impl ActivatedBlock<'_> {
    /// The convolution alone.
    fn block(&self) -> ConvBlock {
        let Self { convolution, precision, .. } = *self;
        ConvBlock { convolution, activation: Activation::Identity, pool: None, precision }
    }

    /// Normalises a batch by its own statistics; returns what [`ActivatedBlock::backward`] needs.
    pub fn forward(
        &self,
        x: &[f32],
        weights: &[f32],
        shortcut: Option<&[f32]>,
        y: &mut [f32],
    ) -> ActivatedSaved {
        let (block, conv) = (self.block(), &self.convolution);
        block.check(x, y);
        self.check();
        let filter = block.pack(weights, None, None);
        let len = conv.output_len();
        let mut convolved = AlignedBuffer::new(y.len());
        let (all, x) = (MutPointer::new(&mut convolved), ConstPointer::new(x));
        let images_at_once = (CHUNK * conv.out_channels / len.max(1)).max(1);
        let parts = parts(conv);
        let statistics = Statistics::gather(conv.out_channels, parts, |part, moments| {
            let images = team::part_of(conv.batch, part, parts);
            for first in images.clone().step_by(images_at_once) {
                let images = first..images.end.min(first + images_at_once);
                // SAFETY: each image's outputs belong to one part.
                let convolved = unsafe { all.slice(first * len, images.len() * len) };
                convolve_images(&block, &filter, x, images, convolved);
                moments.add(filter.isa, convolved);
            }
        });
        self.norm.apply(&statistics, &convolved, shortcut, y);
        ActivatedSaved { statistics, convolved }
    }

    /// The exact gradients of [`ActivatedBlock::forward`], statistics included.
    pub fn backward(&self, gradient: ActivatedGradient) {
        let ActivatedGradient { x, weights, shortcut, saved, dy, dx, mut dshortcut, dw, dgamma, dbeta } =
            gradient;
        let (block, conv) = (self.block(), &self.convolution);
        let ActivatedSaved { statistics, convolved } = saved;
        self.check();
        for len in [Some(dy.len()), shortcut.map(<[f32]>::len), dshortcut.as_ref().map(|d| d.len())] {
            assert!(len.is_none_or(|len| len == convolved.len()), "gradients are as long as the output");
        }
        let rows = convolved.len() / conv.out_channels;
        let dz = dshortcut.as_deref_mut();
        let terms = self.norm.input_terms(rows, [convolved, dy], shortcut, statistics, dz, [dgamma, dbeta]);
        let alone = self.norm.norm.alone();
        let through = match dshortcut {
            Some(dz) => InputGradients {
                norm: &alone,
                statistics,
                terms: &terms,
                x: convolved,
                shortcut: None,
                dy: dz,
            },
            None => {
                InputGradients { norm: &self.norm, statistics, terms: &terms, x: convolved, shortcut, dy }
            }
        };
        let saved = Saved::default();
        let gradient =
            ConvGradient { x, weights, y: convolved, saved: &saved, dy, dx, dw: Some(dw), db: None };
        block.check_gradient(&gradient);
        run(OutputGradient::normalised(&block, &gradient, &through), gradient);
    }

    fn check(&self) {
        assert_eq!(self.norm.norm.gamma.len(), self.convolution.out_channels, "one γ a channel");
    }
}

impl ThroughNorm for InputGradients<'_> {
    fn is_pooled(&self) -> bool {
        false
    }

    fn pixels(&self, isa: Isa, first: usize, dz: &mut [f32]) {
        self.rows(isa, first, dz);
    }
}
