//! The backward pass: which way it goes, and the gradient before pooling and activation that all ways start
//! from.

use std::ops::Range;

use super::inputs::{GradientSink, Inputs};
use super::rows::RowBuffer;
use super::{
    ConvBlock, ConvGradient, Convolution, Saved, depthwise, few_taps, lists, pointwise, small_images,
};
use crate::activation::{Activation, Gradient};
use crate::buffer::AlignedBuffer;
use crate::elementwise;
use crate::pool::PoolKind;
use crate::simd::Isa;
use crate::team;
use crate::tile::Unit;

/// Products per output up to which a layer's weight gradient keeps all weights of two vectors of output channels in
/// registers, a few passes at a time, as a first layer's.
const FEW_TAPS: usize = 32;

/// Multiply-adds that are not worth another thread.
const WORTH_SPLITTING: usize = 200_000;

/// What the gradients of a convolution are computed from, beside that of its outputs, and where they go.
pub(super) struct Operands<'a> {
    pub inputs: &'a Inputs<'a>,
    /// OHWI.
    pub weights: &'a [f32],
    /// If wanted, as all three.
    pub dx: Option<GradientSink<'a>>,
    pub dw: Option<&'a mut [f32]>,
    pub db: Option<&'a mut [f32]>,
}

impl Operands<'_> {
    fn check(&self, conv: &Convolution) {
        conv.check();
        let weights_len = conv.out_channels * conv.reduction();
        assert_eq!(self.inputs.len(), conv.batch * conv.image_len(), "x is [N, H, W, Ci]");
        assert_eq!(self.weights.len(), weights_len, "weights are [Co, Kh, Kw, Ci / groups]");
        assert!(self.dw.as_ref().is_none_or(|dw| dw.len() == weights_len), "dw is as long as the weights");
        assert!(self.db.as_ref().is_none_or(|db| db.len() == conv.out_channels), "db is [Co]");
    }
}

pub(super) fn run(outputs: OutputGradient, operands: Operands) {
    operands.check(&outputs.block.convolution);
    let block = outputs.block.live();
    let live = OutputGradient { block: &block, ..outputs };
    let Some(taps) = outputs.block.convolution.live_taps() else {
        return run_live(live, operands);
    };
    let weights = taps.of(operands.weights);
    let mut live_dw = operands.dw.as_ref().map(|_| AlignedBuffer::new(weights.len()));
    run_live(live, Operands { weights: &weights, dw: live_dw.as_deref_mut(), ..operands });
    if let (Some(live_dw), Some(dw)) = (live_dw, operands.dw) {
        taps.spread(&live_dw, dw);
    }
}

/// Of a block that is computed as it is.
fn run_live(outputs: OutputGradient, operands: Operands) {
    let conv = &outputs.block.convolution;
    if conv.is_depthwise() {
        depthwise::backward(outputs, operands);
    } else if conv.is_pointwise() {
        pointwise::backward(outputs, operands);
    } else if conv.groups == 1 && conv.reduction() <= FEW_TAPS {
        few_taps::backward(outputs, operands);
    } else if small_images::pays(&outputs) {
        small_images::backward(outputs, operands);
    } else {
        lists::backward(outputs, operands);
    }
}

/// Parts that the images of a batch are split in for sums over them.
pub(super) fn parts(conv: &Convolution) -> usize {
    if conv.multiply_adds() < WORTH_SPLITTING { 1 } else { team::threads().min(conv.batch).max(1) }
}

/// Room for the gradients of one image.
#[derive(Default)]
pub(super) struct Scratch {
    pooled: AlignedBuffer,
    full: RowBuffer,
}

/// The gradient with respect to what the convolution put out, image by image.
#[derive(Clone, Copy)]
pub(super) struct OutputGradient<'a> {
    pub block: &'a ConvBlock,
    pub isa: Isa,
    pub y: &'a [f32],
    dy: &'a [f32],
    saved: &'a Saved,
    /// What normalises, and pools, the block's outputs; `dy` is then the gradient of what it makes of them.
    norm: Option<&'a dyn ThroughNorm>,
}

/// From the gradient of what a norm makes of the outputs to that of the convolution's.
pub(super) trait ThroughNorm: Sync {
    /// Whether a pool follows the norm, so that only whole images can be asked for.
    fn is_pooled(&self) -> bool;

    /// Of as many pixels of the batch from `first` on as `dz` has room for, overwritten.
    fn pixels(&self, isa: Isa, first: usize, dz: &mut [f32]);
}

impl<'a> OutputGradient<'a> {
    pub fn new(block: &'a ConvBlock, gradient: &ConvGradient<'a>) -> Self {
        let ConvGradient { y, dy, saved, .. } = *gradient;
        if block.pool.is_some_and(|pool| pool.kind == PoolKind::Max) {
            assert_eq!(saved.index.len(), y.len(), "what the forward pass of this block saved");
        }
        Self { block, isa: Isa::current(), y, dy, saved, norm: None }
    }

    /// Of an unpooled block whose outputs are normalised.
    pub fn normalised(
        block: &'a ConvBlock,
        y: &'a [f32],
        saved: &'a Saved,
        norm: &'a dyn ThroughNorm,
    ) -> Self {
        Self { block, isa: Isa::current(), y, dy: &[], saved, norm: Some(norm) }
    }

    /// Whether the forward pass folded a 2×2 maximum in: then [`OutputGradient::windows`] is the short way.
    pub fn is_windowed(&self) -> bool {
        self.block.unit() == Some(Unit::MaxWindow)
    }

    /// Without a pool or norm: the image's `dy` and `y`, for whoever goes through the activation on the way.
    pub fn plain(&self, image: usize) -> Option<(&'a [f32], &'a [f32])> {
        let range = image * self.y_len()..(image + 1) * self.y_len();
        self.is_plain().then(|| (&self.dy[range.clone()], &self.y[range]))
    }

    /// Whether the gradient of some pixels can be had without the rest of their image: nothing is pooled.
    pub fn is_pixelwise(&self) -> bool {
        self.block.pool.is_none() && self.norm.is_none_or(|norm| !norm.is_pooled())
    }

    /// Of some pixels of the batch, `[pixels, Co]`, where [`OutputGradient::is_pixelwise`].
    pub fn pixels<'s>(&self, pixels: Range<usize>, scratch: &'s mut Scratch) -> &'s [f32]
    where
        'a: 's,
    {
        if self.is_dy() {
            return &self.dy[self.floats(pixels)];
        }
        let dz = scratch.full.unnamed(self.floats(pixels.clone()).len());
        self.compute_pixels(pixels, dz);
        dz
    }

    /// As [`OutputGradient::dense`], of which the first `rows` rows are there, the others being anything: to be asked for from
    /// the first to the last.
    pub fn rows<'s>(&self, image: usize, rows: usize, scratch: &'s mut Scratch) -> &'s [f32]
    where
        'a: 's,
    {
        if self.is_dy() || !self.is_pixelwise() {
            return self.dense(image, scratch);
        }
        let [_, _, columns, channels] = self.block.convolution.output_shape();
        let first = self.pixels_of(image).start;
        let needed = rows * columns * channels;
        scratch.full.until(image, self.block.convolution.output_len(), needed, |range, dz| {
            self.compute_pixels(first + range.start / channels..first + range.end / channels, dz);
        })
    }

    /// Floats of an image of `y`.
    fn y_len(&self) -> usize {
        self.y.len() / self.block.convolution.batch.max(1)
    }

    /// Per window and channel the gradient and where in the window it goes (or [`crate::tile::DEAD`]).
    pub fn windows<'s>(&self, image: usize, scratch: &'s mut Scratch) -> (&'s [f32], &'s [u8])
    where
        'a: 's,
    {
        let range = image * self.y_len()..(image + 1) * self.y_len();
        let (dy, index) = (&self.dy[range.clone()], &self.saved.index[range.clone()]);
        if self.block.activation.bounds().is_some() {
            return (dy, index); // where the others are flat, the index says so; elsewhere they have slope 1
        }
        scratch.pooled.resize(dy.len());
        self.through_activation(&self.y[range], dy, &mut scratch.pooled);
        (&scratch.pooled, index)
    }

    /// The gradient of the image's `[Ho, Wo, Co]` convolution outputs; computed once where asked for repeatedly.
    pub fn dense<'s>(&self, image: usize, scratch: &'s mut Scratch) -> &'s [f32]
    where
        'a: 's,
    {
        if self.is_dy() {
            return &self.dy[self.floats(self.pixels_of(image))];
        }
        let Scratch { pooled, full } = scratch;
        let len = self.block.convolution.output_len();
        full.until(image, len, len, |_, dz| self.compute_image(image, pooled, dz))
    }

    /// Whether nothing but an activation follows the convolution.
    fn is_plain(&self) -> bool {
        self.block.pool.is_none() && self.norm.is_none()
    }

    /// Whether it is what the block's outputs have.
    fn is_dy(&self) -> bool {
        self.is_plain() && self.block.activation == Activation::Identity
    }

    /// An image's, of those of the batch.
    fn pixels_of(&self, image: usize) -> Range<usize> {
        let [_, rows, columns, _] = self.block.convolution.output_shape();
        image * rows * columns..(image + 1) * rows * columns
    }

    /// Where in `y` and `dy` pixels are.
    fn floats(&self, pixels: Range<usize>) -> Range<usize> {
        let channels = self.block.convolution.out_channels;
        pixels.start * channels..pixels.end * channels
    }

    /// What a block without a pool of its own passes on.
    fn compute_pixels(&self, pixels: Range<usize>, dz: &mut [f32]) {
        let range = self.floats(pixels.clone());
        match self.norm {
            Some(norm) => norm.pixels(self.isa, pixels.start, dz),
            None => self.through_activation(&self.y[range.clone()], &self.dy[range], dz),
        }
    }

    fn compute_image(&self, image: usize, pooled: &mut AlignedBuffer, full: &mut [f32]) {
        let conv = &self.block.convolution;
        let Some(pool) = self.block.pool else {
            return self.compute_pixels(self.pixels_of(image), full);
        };
        let [_, rows, columns, channels] = conv.output_shape();
        let range = image * self.y_len()..(image + 1) * self.y_len();
        let (y, dy) = (&self.y[range.clone()], &self.dy[range.clone()]);
        match pool.kind {
            PoolKind::Max => {
                // The winner's activation is the output, so its derivative is known before it is spread.
                pooled.resize(y.len());
                self.through_activation(y, dy, pooled);
                if self.is_windowed() {
                    spread_windows(pooled, &self.saved.index[range], [rows, columns, channels], full);
                } else {
                    pool.backward_image(
                        self.isa,
                        [rows, columns, channels],
                        &self.saved.index[range],
                        pooled,
                        full,
                    );
                }
            }
            PoolKind::Average => {
                pool.backward_image(self.isa, [rows, columns, channels], &[], dy, full);
                if self.block.activation != Activation::Identity {
                    let len = conv.output_len();
                    let activations = &self.saved.activations[image * len..(image + 1) * len];
                    let to = full.as_mut_ptr();
                    // SAFETY: both are one image of `[Ho, Wo, Co]`.
                    unsafe {
                        let f = Gradient(self.block.activation);
                        elementwise::zip_raw(self.isa, f, activations.as_ptr(), to, to, len);
                    }
                }
            }
        }
    }

    fn through_activation(&self, y: &[f32], dy: &[f32], dz: &mut [f32]) {
        assert!(dy.len() == y.len() && dz.len() == y.len());
        // SAFETY: all three have the same length.
        unsafe {
            let f = Gradient(self.block.activation);
            elementwise::zip_raw(self.isa, f, y.as_ptr(), dy.as_ptr(), dz.as_mut_ptr(), y.len());
        }
    }
}

/// The gradient of a folded-in 2×2 maximum, by its codes: `[rows / 2, columns / 2, channels]` to `[rows, columns,
/// channels]`.
fn spread_windows(dy: &[f32], index: &[u8], [rows, columns, channels]: [usize; 3], dx: &mut [f32]) {
    dx.fill(0.);
    let windows = columns / 2;
    for (i, (&dy, &code)) in dy.iter().zip(index).enumerate().take(rows / 2 * windows * channels) {
        let (window, channel) = (i / channels, i % channels);
        let (row, column) = (2 * (window / windows), 2 * (window % windows));
        if code < crate::tile::DEAD {
            let (row, column) = (row + code as usize / 2, column + code as usize % 2);
            dx[(row * columns + column) * channels + channel] = dy;
        }
    }
}
