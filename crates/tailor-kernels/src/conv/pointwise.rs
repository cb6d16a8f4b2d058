//! The backward pass of 1×1 convolutions: matrix products over pixels, on the tiles.

use std::ops::Range;

use super::Convolution;
use super::backward::{Operands, OutputGradient, Scratch, parts};
use crate::buffer::AlignedBuffer;
use crate::elementwise::{self, add_rows};
use crate::matrix::{self, multiply, multiply_add};
use crate::panels::Panels;
use crate::pointer::MutPointer;
use crate::team;
use crate::tile::Layout;

/// Pixels that are gone through at a time, so that what is computed of them is in the cache when the next step reads it.
pub(super) fn strip(conv: &Convolution) -> usize {
    // Inputs, their copies and gradients; output gradients and their copies.
    matrix::strip(3 * conv.in_channels + 2 * conv.out_channels)
}

pub(super) fn backward(outputs: OutputGradient, operands: Operands) {
    let OutputGradient { block, isa, .. } = outputs;
    let conv = &block.convolution;
    let (ci, co) = (conv.in_channels, conv.out_channels);
    // dx [pixels, Ci] = dz [pixels, Co] · w [Co, Ci]
    let dx = operands.dx.map(|dx| {
        let weights = Panels::from_rows(isa, operands.weights, ci, co, None, |output| output * ci);
        (dx, weights)
    });
    let (is_frozen, with_bias) = (operands.dw.is_none(), operands.db.is_some());
    let of_image = conv.height * conv.width;
    let strip = strip(conv);

    let parts = parts(conv);
    let weights_len = if is_frozen { 0 } else { co * ci };
    let sums_len = weights_len + co;
    let mut sums = AlignedBuffer::zeroed(parts * sums_len);
    let all_sums = MutPointer::new(&mut sums);
    team::run(parts, |part| {
        // SAFETY: each part has its own sums.
        let (dw, db) = unsafe { all_sums.slice(part * sums_len, sums_len) }.split_at_mut(weights_len);
        let (mut scratch, mut room) = (Scratch::default(), AlignedBuffer::default());
        let images = team::part_of(conv.batch, part, parts);
        let mut add = |pixels: Range<usize>, dz: &[f32]| {
            let inputs = pixels.start * ci..pixels.end * ci;
            if with_bias {
                add_rows(isa, dz, db);
            }
            if !is_frozen {
                // dw [Co, Ci] += dzᵀ [Co, pixels] · x [pixels, Ci]
                let x = operands.inputs.read(isa, inputs.clone(), &mut room);
                let x = Panels::from_rows(isa, x, ci, pixels.len(), None, |pixel| pixel * ci);
                multiply_add(&x, Layout::matrix(co, 1, pixels.len(), co), dz, dw, ci);
            }
            if let Some((dx, weights)) = &dx {
                let layout = Layout::matrix(pixels.len(), co, co, 1);
                // SAFETY: each image belongs to one part.
                unsafe {
                    multiply(weights, layout, dz, dx.slice(inputs.start, inputs.len()), ci);
                    dx.is_written(isa, part, inputs);
                }
            }
        };
        if outputs.is_pixelwise() {
            let pixels = images.start * of_image..images.end * of_image;
            for start in pixels.clone().step_by(strip) {
                let pixels = start..pixels.end.min(start + strip);
                add(pixels.clone(), outputs.pixels(pixels, &mut scratch));
            }
        } else {
            for image in images {
                add(image * of_image..(image + 1) * of_image, outputs.dense(image, &mut scratch));
            }
        }
    });
    let (sum_of_dw, sum_of_db) = elementwise::sum_rows(isa, &mut sums, sums_len).split_at(weights_len);
    if let Some(dw) = operands.dw {
        dw.copy_from_slice(sum_of_dw);
    }
    if let Some(db) = operands.db {
        db.copy_from_slice(sum_of_db);
    }
}
