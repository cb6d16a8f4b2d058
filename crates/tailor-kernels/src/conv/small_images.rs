//! Dense gradients of small images with many channels, over the whole batch at once: there one image has too few pixels
//! to be worth reading all weights for, and many taps of its kernels lie outside.
//!
//! ```text
//! input gradient   the turned convolution, of many images at a time
//! weight gradient  for each tap: dw [Co, Ci] = Σ dz [pixel, Co] ⊗ x [pixel under the tap, Ci]    over pixels that have one
//! ```

use std::ops::Range;

use super::backward::{Operands, OutputGradient, Scratch};
use super::inputs::Inputs;
use super::turned::Turned;
use super::{ConvBlock, Convolution};
use crate::activation::Activation;
use crate::buffer::AlignedBuffer;
use crate::elementwise::add_rows;
use crate::matrix::multiply;
use crate::panels::Panels;
use crate::pointer::MutPointer;
use crate::team;
use crate::tile::Layout;

/// Fewer channels than this are cheaper as lists, which copy nothing.
const MANY_CHANNELS: usize = 64;

/// Pixels of an image up to which it is small: 7×7. Beyond, lists read their inputs from the first-level cache and are as fast.
const SMALL: usize = 49;

pub(super) fn pays(outputs: &OutputGradient) -> bool {
    let ConvBlock { convolution: conv, activation, .. } = outputs.block;
    let is_small = conv.output_len() <= SMALL * conv.out_channels;
    let is_dense = *activation == Activation::Identity && outputs.is_pixelwise();
    let is_deep = conv.in_channels.min(conv.out_channels) >= MANY_CHANNELS;
    is_small && is_deep && is_dense && Turned::pays(outputs.block, outputs.y)
}

pub(super) fn backward(outputs: OutputGradient, operands: Operands) {
    let OutputGradient { block, isa, .. } = outputs;
    let conv = &block.convolution;
    let (ci, co) = (conv.in_channels, conv.out_channels);
    let (image_len, output_len) = (conv.image_len(), conv.output_len());

    let dx = operands.dx.map(|dx| (dx, Turned::new(block, isa, operands.weights)));
    let mut dz = AlignedBuffer::new(conv.batch * output_len);
    let mut normalised = AlignedBuffer::new(match operands.inputs {
        Inputs::Normalised { x, .. } => x.len(),
        Inputs::Stored(_) => 0,
    });
    let all_normalised = MutPointer::new(&mut normalised);
    let all_dz = MutPointer::new(&mut dz);
    team::split(conv.batch, |part, range| {
        let mut scratch = Scratch::default();
        let at_once = dx.as_ref().map_or(range.len(), |(_, turned)| turned.images_at_once());
        for start in range.clone().step_by(at_once) {
            let images = start..range.end.min(start + at_once);
            let pixels = images.start * output_len / co..images.end * output_len / co;
            // SAFETY: each image belongs to one part.
            let dz = unsafe { all_dz.slice(images.start * output_len, images.len() * output_len) };
            dz.copy_from_slice(outputs.pixels(pixels, &mut scratch));
            let inputs = images.start * image_len..images.end * image_len;
            if let Inputs::Normalised { x, by } = operands.inputs {
                // SAFETY: as above.
                let normalised = unsafe { all_normalised.slice(inputs.start, inputs.len()) };
                by.rows(isa, &x[inputs.clone()], None, normalised);
            }
            if let Some((dx, turned)) = &dx {
                // SAFETY: as above.
                unsafe {
                    turned.images(dz, dx.slice(inputs.start, inputs.len()));
                    dx.is_written(isa, part, inputs);
                }
            }
        }
    });
    if let Some(db) = operands.db {
        db.fill(0.);
        add_rows(isa, &dz, db);
    }

    let Some(dw) = operands.dw else { return };
    let x = match operands.inputs {
        Inputs::Stored(x) => *x,
        Inputs::Normalised { .. } => &normalised[..],
    };
    let taps: Vec<(Vec<Pair>, Panels)> = positions(conv)
        .map(|pairs| {
            let start = |row: usize| row / pairs.len() * image_len + pairs[row % pairs.len()].input * ci;
            let panels = Panels::from_rows(isa, x, ci, conv.batch * pairs.len(), None, start);
            (pairs, panels)
        })
        .collect();
    let dw = MutPointer::new(dw);
    team::split(co, |_, channels| {
        let filter = taps.len() * ci;
        // SAFETY: each filter belongs to one part.
        let dw = unsafe { dw.slice(channels.start * filter, channels.len() * filter) };
        let mut rows = AlignedBuffer::default();
        for (tap, (pairs, panels)) in taps.iter().enumerate() {
            gather(&dz, [conv.batch, output_len, co], pairs, channels.clone(), &mut rows);
            let layout = Layout::matrix(channels.len(), 1, conv.batch * pairs.len(), channels.len());
            multiply(panels, layout, &rows, &mut dw[tap * ci..], filter);
        }
    });
}

/// An output pixel, and the input pixel under a tap of its kernel.
#[derive(Clone, Copy)]
struct Pair {
    output: usize,
    input: usize,
}

/// For each tap the outputs of an image where it meets a pixel. Strides are 1.
fn positions(conv: &Convolution) -> impl Iterator<Item = Vec<Pair>> {
    let [_, rows, columns, _] = conv.output_shape();
    let (height, width, padding) = (conv.height, conv.width, conv.padding);
    let [kernel_rows, kernel_columns] = conv.kernel;
    (0..kernel_rows * kernel_columns).map(move |tap| {
        let (down, right) = (tap / kernel_columns, tap % kernel_columns);
        let pair = |output: usize| {
            let row = (output / columns + down).checked_sub(padding.top)?;
            let column = (output % columns + right).checked_sub(padding.left)?;
            (row < height && column < width).then_some(Pair { output, input: row * width + column })
        };
        (0..rows * columns).filter_map(pair).collect()
    })
}

/// Some channels of the outputs of all images' pairs, `[images, pairs, channels]`.
fn gather(
    dz: &[f32],
    [images, output_len, co]: [usize; 3],
    pairs: &[Pair],
    channels: Range<usize>,
    to: &mut AlignedBuffer,
) {
    to.resize(images * pairs.len() * channels.len());
    let outputs =
        dz.chunks_exact(output_len).flat_map(|dz| pairs.iter().map(|pair| &dz[pair.output * co..][..co]));
    for (to, output) in to.chunks_exact_mut(channels.len()).zip(outputs) {
        to.copy_from_slice(&output[channels.clone()]);
    }
}
