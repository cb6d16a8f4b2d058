//! Products of matrices on one thread, on the tiles.

use crate::activation::Activation;
use crate::panels::Panels;
use crate::tile::{Layout, Tiles, Unit};

/// Bytes of the rows that are gone through at a time: a share of the second-level cache.
const STRIP_BYTES: usize = 384 << 10;

/// The least rows of a strip, so that sums are not read and written for few products.
const LEAST: usize = 72;

/// The units of a tile, or of two.
const TILE: usize = 12;

/// Rows that are gone through at a time, where each takes so many floats, so that they are in the cache when they are read
/// again.
pub(crate) fn strip(floats: usize) -> usize {
    (STRIP_BYTES / (floats.max(1) * size_of::<f32>())).max(LEAST).next_multiple_of(TILE)
}

/// `c [rows, channels] = a [rows, reduction] · panels`, with `a` laid out as `layout` says and rows of `c` `step` floats
/// apart.
pub(crate) fn multiply(panels: &Panels, layout: Layout, a: &[f32], c: &mut [f32], step: usize) {
    run(panels, layout, a, c, step, false);
}

/// The same, added to what `c` holds.
pub(crate) fn multiply_add(panels: &Panels, layout: Layout, a: &[f32], c: &mut [f32], step: usize) {
    run(panels, layout, a, c, step, true);
}

fn run(panels: &Panels, layout: Layout, a: &[f32], c: &mut [f32], step: usize, adds: bool) {
    let (rows, channels) = (layout.columns, panels.channels());
    if rows == 0 {
        return;
    }
    let last = (rows - 1) * layout.column_step + (layout.run.max(1) - 1) * layout.run_step;
    assert!(last < a.len() || layout.run == 0, "the first matrix is as large as the layout says");
    assert!(step >= channels && c.len() >= (rows - 1) * step + channels, "the product has room");
    panels.isa().run(Tiles {
        layout,
        unit: Unit::Pixel,
        input: a.as_ptr(),
        first_unit: 0,
        units: rows,
        panels,
        blocks: 0..panels.blocks(),
        activation: Activation::Identity,
        output: c.as_mut_ptr(),
        output_step: step,
        adds,
        index: std::ptr::null_mut(),
    });
}
