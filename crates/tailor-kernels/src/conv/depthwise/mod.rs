//! Depthwise convolution: every channel has a kernel of its own, so vectors run over channels.
//!
//! Images are read where they lie, without a copy of them that is padded: taps that would read the padding are left
//! out. The input gradient is a correlation as well, of the output gradient; with a stride it is one for each remainder
//! of the input's rows and columns.

mod correlation;
mod weight_gradient;

use std::ops::Range;

use super::Convolution;
use super::backward::{Operands, OutputGradient, Scratch, parts};
use super::rows::RowBuffer;
use crate::activation::Activation;
use crate::buffer::AlignedBuffer;
use crate::elementwise::{self, add_rows};
use crate::pointer::MutPointer;
use crate::simd::Isa;
use crate::team;
use correlation::{Correlation, Correlator};
use weight_gradient::WeightGradient;

/// Bytes of input, output and their gradients that are gone through at a time, so that what is computed of some rows is in
/// the cache when the next step reads it: a share of the second level.
const BAND_BYTES: usize = 384 << 10;

/// Weights as `[tap][channel]`, with what is added and scaled per channel.
#[derive(Clone, Debug)]
pub(super) struct Taps {
    weights: AlignedBuffer,
    bias: AlignedBuffer,
    affine: Option<[AlignedBuffer; 2]>,
}

/// `[C, taps]` to `[taps, C]`.
fn transpose(weights: &[f32], channels: usize) -> AlignedBuffer {
    let taps = weights.len() / channels;
    let mut transposed = AlignedBuffer::new(weights.len());
    for (channel, kernel) in weights.chunks_exact(taps).enumerate() {
        for (tap, &weight) in kernel.iter().enumerate() {
            transposed[tap * channels + channel] = weight;
        }
    }
    transposed
}

impl Taps {
    pub fn pack(
        conv: &Convolution,
        weights: &[f32],
        bias: Option<&[f32]>,
        affine: Option<[&[f32]; 2]>,
    ) -> Self {
        let channels = conv.out_channels;
        Self {
            weights: transpose(weights, channels),
            bias: bias.map_or_else(|| AlignedBuffer::zeroed(channels), AlignedBuffer::from_slice),
            affine: affine.map(|affine| affine.map(AlignedBuffer::from_slice)),
        }
    }

    /// Whether they are those of a convolution's kernel and channels.
    pub fn fit(&self, conv: &Convolution) -> bool {
        self.weights.len() == conv.kernel[0] * conv.kernel[1] * conv.out_channels
            && self.bias.len() == conv.out_channels
    }

    /// `output [Ho, Wo, C]` of one image.
    pub fn forward_image(
        &self,
        isa: Isa,
        conv: &Convolution,
        activation: Activation,
        x: &[f32],
        output: &mut [f32],
    ) {
        let [_, rows, ..] = conv.output_shape();
        self.forward_rows(isa, conv, activation, 0..rows, x, output);
    }

    /// Some rows of it.
    pub fn forward_rows(
        &self,
        isa: Isa,
        conv: &Convolution,
        activation: Activation,
        rows: Range<usize>,
        x: &[f32],
        output: &mut [f32],
    ) {
        let [_, output_rows, columns, _] = conv.output_shape();
        let correlation = Correlation {
            channels: conv.in_channels,
            input: [conv.height, conv.width],
            output: [output_rows, columns],
            kernel: conv.kernel,
            first: [0, 0],
            step: [1, 1],
            stride: conv.stride,
            origin: [-(conv.padding.top as isize), -(conv.padding.left as isize)],
        };
        isa.run(Correlator {
            correlation,
            rows,
            weights: &self.weights,
            bias: Some(&self.bias),
            activation,
            affine: self.affine.as_ref().map(|[scale, shift]| [&scale[..], &shift[..]]),
            x,
            y: output,
        });
    }
}

/// The correlations that make the input gradient, and each one's weights `[tap][channel]`.
fn turned(conv: &Convolution, weights: &[f32]) -> Vec<(Correlation, AlignedBuffer)> {
    let [_, rows, columns, channels] = conv.output_shape();
    let padding = [conv.padding.top, conv.padding.left];
    let mut all = Vec::with_capacity(conv.stride[0] * conv.stride[1]);
    for remainder in 0..conv.stride[0] * conv.stride[1] {
        let first = [remainder / conv.stride[1], remainder % conv.stride[1]];
        // Input i is read by output (i + padding - k) / stride, for the taps k where this is a whole number: of these
        // `tap` is the least, and from one to the next of them the output moves back by one.
        let tap: [usize; 2] = std::array::from_fn(|d| (first[d] + padding[d]) % conv.stride[d]);
        let kernel: [usize; 2] =
            std::array::from_fn(|d| conv.kernel[d].saturating_sub(tap[d]).div_ceil(conv.stride[d]));
        let origin = std::array::from_fn(|d| {
            ((first[d] + padding[d] - tap[d]) / conv.stride[d]) as isize - (kernel[d] as isize - 1)
        });
        let mut turned = AlignedBuffer::new(kernel[0] * kernel[1] * channels);
        for (at, to) in turned.chunks_exact_mut(channels).enumerate() {
            let [row, column] = [at / kernel[1], at % kernel[1]];
            let row = tap[0] + conv.stride[0] * (kernel[0] - 1 - row);
            let column = tap[1] + conv.stride[1] * (kernel[1] - 1 - column);
            let from = (row * conv.kernel[1] + column) * channels;
            to.copy_from_slice(&weights[from..from + channels]);
        }
        let correlation = Correlation {
            channels,
            input: [rows, columns],
            output: [conv.height, conv.width],
            kernel,
            first,
            step: conv.stride,
            stride: [1, 1],
            origin,
        };
        all.push((correlation, turned));
    }
    all
}

/// Bands of rows that an image is gone through in.
pub(super) fn bands(conv: &Convolution) -> usize {
    let floats = 2 * conv.image_len() + conv.output_len();
    (floats * size_of::<f32>()).div_ceil(BAND_BYTES)
}

/// Floats of an image's input that its first `rows` rows of output read.
pub(super) fn inputs_of_rows(conv: &Convolution, rows: usize) -> usize {
    let end = conv.rows_spanned(rows.max(1));
    end.saturating_sub(conv.padding.top).min(conv.height) * conv.width * conv.in_channels
}

/// Rows of output that read any of an image's first `rows` rows of input.
fn outputs_of_rows(conv: &Convolution, rows: usize) -> usize {
    let [_, output_rows, ..] = conv.output_shape();
    (rows + conv.padding.top).div_ceil(conv.stride[0]).min(output_rows)
}

/// The gradients of a depthwise block.
pub(super) fn backward(outputs: OutputGradient, operands: Operands) {
    let OutputGradient { block, isa, .. } = outputs;
    let conv = &block.convolution;
    let [_, rows, _, channels] = conv.output_shape();
    let weights = transpose(operands.weights, channels);
    let dx = operands.dx.map(|dx| (dx, turned(conv, &weights)));
    let (is_frozen, with_bias) = (operands.dw.is_none(), operands.db.is_some());
    let bands = bands(conv);
    let parts = parts(conv);
    // `[tap][channel]`, then one bias a channel.
    let sums_len = weights.len() + channels;
    let mut sums = AlignedBuffer::zeroed(parts * sums_len);
    let all_sums = MutPointer::new(&mut sums);
    team::run(parts, |part| {
        // SAFETY: each part has its own sums.
        let (dw, db) = unsafe { all_sums.slice(part * sums_len, sums_len) }.split_at_mut(weights.len());
        let (mut scratch, mut read) = (Scratch::default(), RowBuffer::default());
        for image in team::part_of(conv.batch, part, parts) {
            let of_image = image * conv.image_len()..(image + 1) * conv.image_len();
            for band in 0..bands {
                let band_rows = team::part_of(rows, band, bands);
                let input_rows = team::part_of(conv.height, band, bands);
                let needed = band_rows.end.max(outputs_of_rows(conv, input_rows.end));
                let dz = outputs.rows(image, needed, &mut scratch);
                if !is_frozen {
                    let needed = inputs_of_rows(conv, band_rows.end);
                    let x = operands.inputs.read_rows(isa, [image, conv.image_len()], needed, &mut read);
                    isa.run(WeightGradient { conv, rows: band_rows, x, dz, dw: &mut *dw });
                }
                if let Some((dx, turned)) = &dx {
                    let row = conv.width * channels;
                    let written =
                        of_image.start + input_rows.start * row..of_image.start + input_rows.end * row;
                    // SAFETY: each image belongs to one part.
                    unsafe {
                        let image = dx.slice(of_image.start, of_image.len());
                        input_gradient(isa, turned, input_rows, dz, image);
                        dx.is_written(isa, part, written);
                    }
                }
            }
            if with_bias {
                add_rows(isa, outputs.rows(image, rows, &mut scratch), db);
            }
        }
    });
    let (dw, db) = elementwise::sum_rows(isa, &mut sums, sums_len).split_at(weights.len());
    if let Some(to) = operands.dw {
        let taps = weights.len() / channels;
        for (tap, row) in dw.chunks_exact(channels).enumerate() {
            for (channel, &dw) in row.iter().enumerate() {
                to[channel * taps + tap] = dw;
            }
        }
    }
    if let Some(to) = operands.db {
        to.copy_from_slice(db);
    }
}

/// Some rows of an image's input gradient.
fn input_gradient(
    isa: Isa,
    turned: &[(Correlation, AlignedBuffer)],
    rows: Range<usize>,
    dz: &[f32],
    dx: &mut [f32],
) {
    for (correlation, weights) in turned {
        isa.run(Correlator {
            correlation: *correlation,
            rows: rows.clone(),
            weights,
            bias: None,
            activation: Activation::Identity,
            affine: None,
            x: dz,
            y: dx,
        });
    }
}
