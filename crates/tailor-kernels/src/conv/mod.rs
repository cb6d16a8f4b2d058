//! Convolution blocks: convolution, bias, activation, pooling, in one pass; and their exact gradients.
//!
//! ```text
//!            x [N, H, W, Ci]                              dy [N, Po, Qo, Co]
//!   forward ─┬─ tiles      (weights in panels)   backward ─┬─ lists      (the general case, sparse)
//!            ├─ winograd   (3×3 of many channels)        │
//!            ├─ depthwise  (one channel a group)           │   ├─ slices, pairs, list_gradients, pixels
//!            ├─ pool       (what no tile folds in)         │   └─ turned (an input gradient that is dense)
//!            ├─ normalised (batch norm before the pool)    ├─ few_taps   (a first layer), columns
//!            ├─ activated  (norms, one layer to the next)  ├─ pointwise  (1×1: matrix products)
//!            └─ chain      (some rows through many layers) ├─ small_images (dense gradients of many channels)
//!                                                          └─ depthwise
//! ```
//!
//! Layouts: activations NHWC, weights OHWI `[Co, Kh, Kw, Ci / groups]`.

mod activated;
mod backward;
mod chain;
mod columns;
mod depthwise;
mod few_taps;
mod forward;
mod inputs;
mod list_gradients;
mod lists;
mod live;
mod normalised;
mod pairs;
mod pixels;
mod pointwise;
mod rows;
mod slices;
mod small_images;
mod turned;
mod window;
mod winograd;

pub use activated::{ActivatedBlock, ActivatedGradient, Stage, StageGradient, StageSaved};
pub use chain::ConvChain;
pub use normalised::{NormBlock, NormBlockGradient, NormSaved};

use std::ops::Range;

use inputs::{GradientSink, Inputs};

use crate::activation::Activation;
use crate::bf16::{FEW_CHANNELS, Precision};
use crate::buffer::AlignedBuffer;
use crate::panels::Panels;
use crate::pool::{Pool, PoolKind};
use crate::simd::Isa;
use crate::tile::Unit;

/// Rows and columns of zeros around an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// The same on all four sides.
    pub const fn all(n: usize) -> Self {
        Self { top: n, left: n, bottom: n, right: n }
    }
}

/// The geometry of a two-dimensional convolution over a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Images, N.
    pub batch: usize,
    /// Rows of an input image, H.
    pub height: usize,
    /// Columns of an input image, W.
    pub width: usize,
    /// Ci
    pub in_channels: usize,
    /// Co
    pub out_channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zeros around each image.
    pub padding: Padding,
    /// Input and output channels are split into this many groups; a group sees only its own inputs.
    pub groups: usize,
}

impl Convolution {
    /// `[N, Ho, Wo, Co]`
    pub fn output_shape(&self) -> [usize; 4] {
        let rows = (self.padded_height() - self.kernel[0]) / self.stride[0] + 1;
        let columns = (self.padded_width() - self.kernel[1]) / self.stride[1] + 1;
        [self.batch, rows, columns, self.out_channels]
    }

    /// Multiply-adds of a forward pass.
    pub fn multiply_adds(&self) -> usize {
        self.output_shape().iter().product::<usize>() * self.reduction()
    }

    fn padded_height(&self) -> usize {
        self.height + self.padding.top + self.padding.bottom
    }

    fn padded_width(&self) -> usize {
        self.width + self.padding.left + self.padding.right
    }

    /// Input channels of a group.
    fn group_inputs(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of a group.
    fn group_outputs(&self) -> usize {
        self.out_channels / self.groups
    }

    /// 32-bit words of a pixel of a group: floats, or pairs of bf16.
    fn group_words(&self, precision: Precision) -> usize {
        match precision {
            Precision::F32 => self.group_inputs(),
            Precision::Bf16 => self.group_inputs().div_ceil(2),
        }
    }

    /// Products summed up in one output.
    fn reduction(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.group_inputs()
    }

    /// Floats of an input image, `[H, W, Ci]`.
    fn image_len(&self) -> usize {
        self.height * self.width * self.in_channels
    }

    /// Floats of an output image before pooling, `[Ho, Wo, Co]`.
    fn output_len(&self) -> usize {
        let [_, rows, columns, channels] = self.output_shape();
        rows * columns * channels
    }

    /// Whether each output pixel depends on the input pixel in its place alone, and on all its channels.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1]
            && self.stride == [1, 1]
            && self.padding == Padding::default()
            && self.groups == 1
    }

    /// Whether each channel is convolved by itself.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.group_inputs() == 1 && self.group_outputs() == 1
    }

    /// Whether each row of output reads some row of the image.
    fn is_row_by_row(&self) -> bool {
        self.padding.top.max(self.padding.bottom) < self.kernel[0]
    }

    /// Rows of the padded image that so many rows of output, which follow each other, span.
    fn rows_spanned(&self, rows: usize) -> usize {
        (rows - 1) * self.stride[0] + self.kernel[0]
    }

    /// Which rows of an image some of its rows of output read, and the convolution of these alone, where each row of output reads
    /// some.
    fn of_rows(&self, rows: Range<usize>) -> (Range<usize>, Self) {
        let top = self.padding.top;
        let first = rows.start * self.stride[0];
        let end = first + self.rows_spanned(rows.len());
        let needed = first.saturating_sub(top)..(end - top).min(self.height);
        let padding = Padding {
            top: top.saturating_sub(first),
            bottom: end.saturating_sub(top + self.height),
            ..self.padding
        };
        (needed.clone(), Self { batch: 1, height: needed.len(), padding, ..*self })
    }

    fn check(&self) {
        let Self { kernel, stride, groups, .. } = *self;
        assert!(kernel[0] > 0 && kernel[1] > 0, "a kernel has rows and columns: {kernel:?}");
        assert!(stride[0] > 0 && stride[1] > 0, "a stride is at least 1: {stride:?}");
        assert!(
            groups > 0 && self.in_channels.is_multiple_of(groups) && self.out_channels.is_multiple_of(groups),
            "{groups} groups divide {} and {} channels",
            self.in_channels,
            self.out_channels
        );
        assert!(self.in_channels > 0 && self.out_channels > 0, "a convolution has channels: {self:?}");
        assert!(
            self.padded_height() >= kernel[0] && self.padded_width() >= kernel[1],
            "the kernel fits the padded image: {self:?}"
        );
    }
}

/// A convolution and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvBlock {
    /// The convolution's geometry.
    pub convolution: Convolution,
    /// What is applied to each of its outputs.
    pub activation: Activation,
    /// What becomes of windows of them.
    pub pool: Option<Pool>,
    /// How the convolution's operands are rounded.
    pub precision: Precision,
}

/// What a forward pass in training keeps for the backward pass, besides its input and output.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// Per output of a maximum pool: which input of its window won.
    index: AlignedBuffer<u8>,
    /// Activations before an average pool, `[N, Ho, Wo, Co]`, where their derivative needs them.
    activations: AlignedBuffer,
}

/// Weights packed for inference: pack once, infer often.
#[derive(Clone, Debug)]
pub struct PackedFilter {
    isa: Isa,
    kind: FilterKind,
}

#[derive(Clone, Debug)]
enum FilterKind {
    Panels(Panels),
    /// One set of panels a group.
    Groups(Vec<Panels>),
    Depthwise(depthwise::Taps),
    Winograd(winograd::Filter),
}

/// Operands of [`ConvBlock::backward`].
#[derive(Debug)]
pub struct ConvGradient<'a> {
    /// The forward pass's input, `[N, H, W, Ci]`.
    pub x: &'a [f32],
    /// Its weights, OHWI.
    pub weights: &'a [f32],
    /// Its output, as [`ConvBlock::output_shape`].
    pub y: &'a [f32],
    /// What it saved.
    pub saved: &'a Saved,
    /// The loss's gradient with respect to `y`.
    pub dy: &'a [f32],
    /// Where the gradient with respect to `x` goes, if wanted; overwritten, as are all.
    pub dx: Option<&'a mut [f32]>,
    /// Where the gradient with respect to the weights goes, unless they are frozen.
    pub dw: Option<&'a mut [f32]>,
    /// Where the gradient with respect to the bias goes, if there is one.
    pub db: Option<&'a mut [f32]>,
}

impl PackedFilter {
    /// One set of panels a group, unless the convolution is depthwise.
    fn panels(&self) -> &[Panels] {
        match &self.kind {
            FilterKind::Panels(panels) => std::slice::from_ref(panels),
            FilterKind::Groups(panels) => panels,
            FilterKind::Depthwise(_) | FilterKind::Winograd(_) => &[],
        }
    }
}

impl ConvBlock {
    /// `[N, H, W, C]` of what the block puts out.
    pub fn output_shape(&self) -> [usize; 4] {
        let shape = self.convolution.output_shape();
        self.pool.map_or(shape, |pool| pool.output_shape(shape))
    }

    /// Packs OHWI weights, a bias `[Co]`, and scale and shift `[Co]` that are applied after the activation (a
    /// batch normalisation at inference). Independent of the batch.
    pub fn pack(&self, weights: &[f32], bias: Option<&[f32]>, affine: Option<[&[f32]; 2]>) -> PackedFilter {
        let conv = &self.convolution;
        conv.check();
        assert_eq!(
            weights.len(),
            conv.out_channels * conv.reduction(),
            "weights are [Co, Kh, Kw, Ci / groups]"
        );
        for values in [bias, affine.map(|a| a[0]), affine.map(|a| a[1])].into_iter().flatten() {
            assert_eq!(values.len(), conv.out_channels, "bias, scale and shift have one value a channel");
        }
        match conv.live_taps() {
            Some(taps) => self.live().pack_live(&taps.of(weights), bias, affine),
            None => self.live().pack_live(weights, bias, affine),
        }
    }

    /// Of a block that is computed as it is.
    fn pack_live(&self, weights: &[f32], bias: Option<&[f32]>, affine: Option<[&[f32]; 2]>) -> PackedFilter {
        let (conv, isa) = (&self.convolution, Isa::current());
        if conv.is_depthwise() {
            return PackedFilter {
                isa,
                kind: FilterKind::Depthwise(depthwise::Taps::pack(conv, weights, bias, affine)),
            };
        }
        if self.effective_precision() == Precision::F32 && winograd::pays(conv) {
            let filter = winograd::Filter::pack(conv, isa, weights, bias, affine);
            return PackedFilter { isa, kind: FilterKind::Winograd(filter) };
        }
        let (outputs, reduction) = (conv.group_outputs(), conv.reduction());
        let panels = |group: usize| {
            let of_group = group * outputs..(group + 1) * outputs;
            let weights = &weights[of_group.start * reduction..of_group.end * reduction];
            let bias = bias.map(|bias| &bias[of_group.clone()]);
            let panels = match self.effective_precision() {
                Precision::F32 => Panels::from_channels(isa, weights, outputs, reduction, bias),
                Precision::Bf16 => {
                    Panels::from_channels_as_pairs(isa, weights, outputs, conv.group_inputs(), bias)
                }
            };
            match affine {
                Some([scale, shift]) => panels.with_affine(&scale[of_group.clone()], &shift[of_group]),
                None => panels,
            }
        };
        let kind = match conv.groups {
            1 => FilterKind::Panels(panels(0)),
            groups => FilterKind::Groups((0..groups).map(panels).collect()),
        };
        PackedFilter { isa, kind }
    }

    /// Inference: `y = pool(scale · activation(conv(x) + bias) + shift)`.
    pub fn infer(&self, filter: &PackedFilter, x: &[f32], y: &mut [f32]) {
        self.check(x, y);
        forward::run(self, filter, x, y, None);
    }

    /// Training: `y = pool(activation(conv(x) + bias))`, and what [`ConvBlock::backward`] needs.
    pub fn forward(&self, x: &[f32], weights: &[f32], bias: Option<&[f32]>, y: &mut [f32]) -> Saved {
        self.check(x, y);
        self.activation.check_derives_from_output();
        let filter = self.pack(weights, bias, None);
        let mut saved = Saved::default();
        match self.pool.map(|pool| pool.kind) {
            Some(PoolKind::Max) => saved.index = AlignedBuffer::new(y.len()),
            Some(PoolKind::Average) if self.activation != Activation::Identity => {
                saved.activations =
                    AlignedBuffer::new(self.convolution.batch * self.convolution.output_len());
            }
            _ => {}
        }
        forward::run(self, &filter, x, y, Some(&mut saved));
        saved
    }

    /// The exact gradients of [`ConvBlock::forward`].
    pub fn backward(&self, gradient: ConvGradient) {
        assert_eq!(gradient.dy.len(), gradient.y.len(), "dy is as long as y");
        self.check(gradient.x, gradient.y);
        let outputs = backward::OutputGradient::new(self, &gradient);
        let ConvGradient { x, weights, dx, dw, db, .. } = gradient;
        let inputs = &Inputs::Stored(x);
        let dx = dx.map(|dx| GradientSink::new(inputs, dx, &mut []));
        backward::run(outputs, backward::Operands { inputs, weights, dx, dw, db });
    }

    /// The precision, unless there is too little to gain.
    fn effective_precision(&self) -> Precision {
        if self.convolution.group_inputs() > FEW_CHANNELS { self.precision } else { Precision::F32 }
    }

    /// The pool that tiles can fold in: it is why rows and columns it drops are never computed.
    fn unit(&self) -> Option<Unit> {
        match self.pool {
            None => Some(Unit::Pixel),
            Some(pool) if pool.is_max_2x2() && !self.convolution.is_depthwise() => Some(Unit::MaxWindow),
            Some(_) => None,
        }
    }

    fn check(&self, x: &[f32], y: &[f32]) {
        let conv = &self.convolution;
        conv.check();
        assert_eq!(x.len(), conv.batch * conv.image_len(), "x is [N, H, W, Ci]");
        assert_eq!(y.len(), self.output_shape().iter().product::<usize>(), "y is {:?}", self.output_shape());
    }
}
