//! An image that is computed from its first row to its last, as far as it is needed.

use std::ops::Range;

use crate::buffer::AlignedBuffer;

/// Room for one image, and how much of it is there.
#[derive(Default)]
pub(super) struct RowBuffer {
    values: AlignedBuffer,
    image: Option<usize>,
    /// Floats.
    ready: usize,
}

impl RowBuffer {
    /// Image number `image`, of `len` floats, the first `needed` of which are there: the others are anything. What is missing of
    /// them is computed by `fill(range, values)`.
    pub fn until(
        &mut self,
        image: usize,
        len: usize,
        needed: usize,
        fill: impl FnOnce(Range<usize>, &mut [f32]),
    ) -> &[f32] {
        if self.image.replace(image) != Some(image) {
            self.values.resize(len);
            self.ready = 0;
        }
        let missing = self.ready..needed.min(len);
        if !missing.is_empty() {
            fill(missing.clone(), &mut self.values[missing.clone()]);
            self.ready = missing.end;
        }
        &self.values
    }

    /// The room alone, for `len` floats of no image in particular.
    pub fn unnamed(&mut self, len: usize) -> &mut [f32] {
        self.image = None;
        self.values.resize(len);
        &mut self.values
    }
}
