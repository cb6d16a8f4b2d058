//! Convolutions with batch norm and an activation behind each, and perhaps a sum with a shortcut before the last, as one
//! operation, in training: the block of residual and mobile networks.
//!
//! Of what is between two convolutions only the first one's outputs are stored. The next normalises and activates them
//! again wherever it reads them, some rows or images at a time, in the cache; there the batch's statistics are summed up
//! too, and the sums that a gradient through a norm needs.
//!
//! ```text
//! forward   each convolution:   read the outputs before, normalise, convolve, write the outputs; their statistics
//!           at the end          normalise, add, activate
//! backward  at the end          dγ, dβ (and the shortcut's gradient) over the whole batch
//!           each convolution:   through the norm, the convolution's gradients; what is needed for dγ and dβ of the norm before
//! ```

use std::ops::Range;

use super::backward::{Operands, OutputGradient, ThroughNorm, parts, run};
use super::depthwise::{Taps, bands, inputs_of_rows};
use super::forward::{CHUNK, convolve_images};
use super::inputs::{GradientSink, Inputs};
use super::rows::RowBuffer;
use super::{ConvBlock, Convolution, FilterKind, Saved, pointwise};
use crate::activation::Activation;
use crate::bf16::Precision;
use crate::buffer::AlignedBuffer;
use crate::norm::{ActivatedNorm, InputGradients, Statistics};
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::Isa;
use crate::team;

/// `stageₙ(… stage₁(x))`, the last of which adds a shortcut before it activates, in training. For inference fold each norm
/// into its convolution: see [`crate::norm::fold`] and [`ConvBlock::infer`].
#[derive(Clone, Copy, Debug)]
pub struct ActivatedBlock<'a> {
    /// At least one; each reads what the one before puts out.
    pub stages: &'a [Stage<'a>],
}

/// `activation(norm(conv(x)))`. The convolution has no bias, which the norm would take away again.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    /// The convolution's geometry.
    pub convolution: Convolution,
    /// What it multiplies.
    pub precision: Precision,
    /// OHWI.
    pub weights: &'a [f32],
    /// What follows it, over all pixels of all images.
    pub norm: ActivatedNorm<'a>,
}

/// What the forward pass of a stage keeps for the backward pass.
#[derive(Clone, Debug)]
pub struct StageSaved {
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
    /// What was added before the last activation, if anything.
    pub shortcut: Option<&'a [f32]>,
    /// What the forward pass saved, of each stage.
    pub saved: &'a [StageSaved],
    /// The loss's gradient with respect to its output.
    pub dy: &'a [f32],
    /// Where the gradient with respect to `x` goes, if wanted; overwritten, as are all.
    pub dx: Option<&'a mut [f32]>,
    /// Where the gradient with respect to the shortcut goes, if wanted.
    pub dshortcut: Option<&'a mut [f32]>,
    /// Where the gradients with respect to the stages' parameters go.
    pub stages: Vec<StageGradient<'a>>,
}

/// Where the gradients with respect to a stage's parameters go.
#[derive(Debug)]
pub struct StageGradient<'a> {
    /// OHWI.
    pub dw: &'a mut [f32],
    /// `[Co]`
    pub dgamma: &'a mut [f32],
    /// `[Co]`
    pub dbeta: &'a mut [f32],
}

impl ActivatedBlock<'_> {
    /// Normalises a batch by its own statistics; returns what [`ActivatedBlock::backward`] needs.
    pub fn forward(&self, x: &[f32], shortcut: Option<&[f32]>, y: &mut [f32]) -> Vec<StageSaved> {
        let mut saved: Vec<StageSaved> = Vec::with_capacity(self.stages.len());
        for (at, stage) in self.stages.iter().enumerate() {
            let outputs = stage.forward(&self.inputs(at, x, &saved));
            saved.push(outputs);
        }
        let (last, outputs) = self.last(&saved);
        last.norm.apply(&outputs.statistics, &outputs.convolved, shortcut, y);
        saved
    }

    /// The exact gradients of [`ActivatedBlock::forward`], statistics included.
    pub fn backward(&self, gradient: ActivatedGradient) {
        let ActivatedGradient { x, shortcut, saved, dy, mut dx, mut dshortcut, stages: mut gradients } =
            gradient;
        assert!(saved.len() == self.stages.len() && gradients.len() == saved.len(), "one of each a stage");
        let (last, outputs) = self.last(saved);
        for len in [Some(dy.len()), shortcut.map(<[f32]>::len), dshortcut.as_ref().map(|d| d.len())] {
            assert!(
                len.is_none_or(|len| len == outputs.convolved.len()),
                "gradients are as long as the output"
            );
        }
        let mut terms = last.norm.input_terms(
            outputs.convolved.len() / last.convolution.out_channels,
            [&outputs.convolved, dy],
            shortcut,
            &outputs.statistics,
            dshortcut.as_deref_mut(),
            gradients.last_mut().expect("a block has stages").of_norm(),
        );
        // Where the gradient of what is activated was stored, it need not be computed again.
        let alone = last.norm.norm.alone();
        let (mut norm, mut shortcut, mut dy) = match &dshortcut {
            Some(dz) => (&alone, None, &dz[..]),
            None => (&last.norm, shortcut, dy),
        };
        let mut between;
        for (at, (stage, StageSaved { statistics, convolved })) in
            self.stages.iter().zip(saved).enumerate().rev()
        {
            let inputs = self.inputs(at, x, saved);
            let through = InputGradients { norm, statistics, terms: &terms, x: convolved, shortcut, dy };
            let Some(before) = at.checked_sub(1) else {
                return stage.backward(&inputs, &through, dx.take(), &mut [], &mut gradients[at]);
            };
            let (before, statistics) = (&self.stages[before], &saved[before].statistics);
            let mut sums = GradientSink::sums(before.convolution.out_channels);
            let mut of_inputs = AlignedBuffer::new(inputs.len());
            stage.backward(&inputs, &through, Some(&mut of_inputs), &mut sums, &mut gradients[at]);
            let rows = inputs.len() / before.convolution.out_channels;
            terms = before.norm.norm.terms(rows, statistics, &sums, gradients[at - 1].of_norm());
            between = of_inputs;
            (norm, shortcut, dy) = (&before.norm, None, &between);
        }
    }

    fn last<'s>(&self, saved: &'s [StageSaved]) -> (&Stage<'_>, &'s StageSaved) {
        self.stages.last().zip(saved.last()).expect("a block has stages")
    }

    /// What a stage reads.
    fn inputs<'s>(&'s self, at: usize, x: &'s [f32], saved: &'s [StageSaved]) -> Inputs<'s> {
        match at.checked_sub(1) {
            None => Inputs::Stored(x),
            Some(before) => {
                let StageSaved { statistics, convolved } = &saved[before];
                Inputs::Normalised { x: convolved, by: self.stages[before].norm.by(statistics) }
            }
        }
    }
}

impl StageGradient<'_> {
    fn of_norm(&mut self) -> [&mut [f32]; 2] {
        [&mut *self.dgamma, &mut *self.dbeta]
    }
}

impl Stage<'_> {
    /// The convolution alone.
    fn block(&self) -> ConvBlock {
        let Self { convolution, precision, .. } = *self;
        ConvBlock { convolution, activation: Activation::Identity, pool: None, precision }
    }

    fn forward(&self, inputs: &Inputs) -> StageSaved {
        self.check(inputs);
        let block = self.block();
        let filter = block.pack(self.weights, None, None);
        let conv = block.live().convolution;
        // Where outputs depend on one pixel alone, each pixel is an image.
        let is_pointwise = conv.is_pointwise();
        let unit = match is_pointwise {
            true => Convolution { batch: conv.batch * conv.height * conv.width, height: 1, width: 1, ..conv },
            false => conv,
        };
        let convolve = |x: &[f32], images: usize, outputs: &mut [f32]| {
            let convolution = match is_pointwise {
                true => Convolution { batch: 1, height: 1, width: images, ..conv },
                false => Convolution { batch: images, ..conv },
            };
            let block = ConvBlock { convolution, ..block };
            convolve_images(&block, &filter, ConstPointer::new(x), 0..convolution.batch, outputs);
        };
        let mut convolved = AlignedBuffer::new(unit.batch * unit.output_len());
        let all = MutPointer::new(&mut convolved);
        let parts = parts(&unit);
        let statistics = Statistics::gather(unit.out_channels, parts, |part, moments| {
            let images = team::part_of(unit.batch, part, parts);
            // SAFETY: each image's outputs belong to one part.
            let outputs =
                unsafe { all.slice(images.start * unit.output_len(), images.len() * unit.output_len()) };
            let part = Part { conv: &unit, isa: filter.isa, inputs, images };
            let add = |outputs: &[f32]| moments.add(filter.isa, outputs);
            match &filter.kind {
                FilterKind::Depthwise(taps) => part.by_rows(taps, outputs, add),
                _ => part.by_images(convolve, outputs, add),
            }
        });
        StageSaved { statistics, convolved }
    }

    /// `sums` takes what the norm before needs, if there is one.
    fn backward(
        &self,
        inputs: &Inputs,
        through: &InputGradients,
        dx: Option<&mut [f32]>,
        sums: &mut [f32],
        gradient: &mut StageGradient,
    ) {
        let (block, saved) = (self.block(), Saved::default());
        let len = self.convolution.batch * self.convolution.output_len();
        assert_eq!(through.x.len(), len, "what the forward pass of this block saved");
        let dx = dx.map(|dx| GradientSink::new(inputs, dx, sums));
        let operands = Operands { inputs, weights: self.weights, dx, dw: Some(gradient.dw), db: None };
        run(OutputGradient::normalised(&block, through.x, &saved, through), operands);
    }

    fn check(&self, inputs: &Inputs) {
        let conv = &self.convolution;
        conv.check();
        assert_eq!(inputs.len(), conv.batch * conv.image_len(), "a stage reads what the one before puts out");
        assert_eq!(self.norm.norm.gamma.len(), conv.out_channels, "one γ a channel");
    }
}

/// Part of a batch in the forward pass of a stage.
struct Part<'a> {
    conv: &'a Convolution,
    isa: Isa,
    inputs: &'a Inputs<'a>,
    images: Range<usize>,
}

impl Part<'_> {
    /// Convolves some images at a time, and hands on their outputs.
    fn by_images(
        self,
        convolve: impl Fn(&[f32], usize, &mut [f32]),
        outputs: &mut [f32],
        mut done: impl FnMut(&[f32]),
    ) {
        let Self { conv, isa, inputs, images } = self;
        let at_once = match conv.is_pointwise() {
            true => pointwise::strip(conv),
            false => (CHUNK * conv.out_channels / conv.output_len().max(1)).max(1),
        };
        let mut room = AlignedBuffer::default();
        let starts = images.clone().step_by(at_once);
        for (start, outputs) in starts.zip(outputs.chunks_mut(at_once * conv.output_len())) {
            let end = images.end.min(start + at_once);
            let x = inputs.read(isa, start * conv.image_len()..end * conv.image_len(), &mut room);
            convolve(x, end - start, outputs);
            done(outputs);
        }
    }

    /// Convolves some rows of an image at a time, and hands on their outputs.
    fn by_rows(self, taps: &Taps, outputs: &mut [f32], mut done: impl FnMut(&[f32])) {
        let Self { conv, isa, inputs, images } = self;
        let [_, rows, columns, channels] = conv.output_shape();
        let bands = bands(conv);
        let mut read = RowBuffer::default();
        for (image, outputs) in images.zip(outputs.chunks_exact_mut(conv.output_len())) {
            for band in 0..bands {
                let rows = team::part_of(rows, band, bands);
                let needed = inputs_of_rows(conv, rows.end);
                let x = inputs.read_rows(isa, [image, conv.image_len()], needed, &mut read);
                taps.forward_rows(isa, conv, Activation::Identity, rows.clone(), x, outputs);
                done(&outputs[rows.start * columns * channels..rows.end * columns * channels]);
            }
        }
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
