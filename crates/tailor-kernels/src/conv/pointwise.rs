//! The backward pass of 1×1 convolutions: matrix products over pixels, on the tiles.

use super::ConvGradient;
use super::backward::{OutputGradient, Scratch, add_rows, parts};
use crate::buffer::AlignedBuffer;
use crate::elementwise;
use crate::matrix::multiply;
use crate::panels::Panels;
use crate::pointer::MutPointer;
use crate::team;
use crate::tile::Layout;

pub(super) fn backward(outputs: OutputGradient, gradient: ConvGradient) {
    let OutputGradient { block, isa, .. } = outputs;
    let conv = &block.convolution;
    let (ci, co) = (conv.in_channels, conv.out_channels);
    let pixels = conv.height * conv.width;
    // dx [pixels, Ci] = dz [pixels, Co] · w [Co, Ci]
    let weights = gradient
        .dx
        .is_some()
        .then(|| Panels::from_rows(isa, gradient.weights, ci, co, None, |output| output * ci));
    let dx = gradient.dx.map(MutPointer::new);
    let (is_frozen, with_bias) = (gradient.dw.is_none(), gradient.db.is_some());

    let parts = parts(conv);
    let sums_len = co * ci + co;
    let mut sums = AlignedBuffer::zeroed(parts * sums_len);
    let all_sums = MutPointer::new(&mut sums);
    team::run(parts, |part| {
        // SAFETY: each part has its own sums.
        let (dw, db) = unsafe { all_sums.slice(part * sums_len, sums_len) }.split_at_mut(co * ci);
        let mut scratch = Scratch::default();
        let mut image_dw = AlignedBuffer::new(co * ci);
        for image in team::part_of(conv.batch, part, parts) {
            let x = &gradient.x[image * pixels * ci..(image + 1) * pixels * ci];
            let dz = outputs.dense(image, &mut scratch);
            if with_bias {
                add_rows(isa, dz, db);
            }
            if !is_frozen {
                // dw [Co, Ci] = dzᵀ [Co, pixels] · x [pixels, Ci]
                let inputs = Panels::from_rows(isa, x, ci, pixels, None, |pixel| pixel * ci);
                multiply(&inputs, Layout::matrix(co, 1, pixels, co), dz, &mut image_dw, ci);
                elementwise::accumulate(isa, &image_dw, dw);
            }
            if let (Some(weights), Some(dx)) = (&weights, dx) {
                // SAFETY: each image belongs to one part.
                let dx = unsafe { dx.slice(image * pixels * ci, pixels * ci) };
                multiply(weights, Layout::matrix(pixels, co, co, 1), dz, dx, ci);
            }
        }
    });
    let (first, others) = sums.split_at_mut(sums_len);
    for part in others.chunks_exact(sums_len) {
        elementwise::accumulate(isa, part, first);
    }
    if let Some(dw) = gradient.dw {
        dw.copy_from_slice(&first[..co * ci]);
    }
    if let Some(db) = gradient.db {
        db.copy_from_slice(&first[co * ci..]);
    }
}
