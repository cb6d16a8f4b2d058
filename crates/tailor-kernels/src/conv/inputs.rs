//! What a convolution of a block reads: values, or what a norm and an activation make of them. The latter are never
//! stored: whoever reads them computes them, some at a time, in the cache.

use std::ops::Range;

use crate::buffer::AlignedBuffer;
use crate::norm::ByStatistics;
use crate::pointer::MutPointer;
use crate::simd::Isa;
use crate::team;

/// The inputs of a convolution, `[N, H, W, Ci]`.
#[derive(Debug)]
pub(super) enum Inputs<'a> {
    /// As they are.
    Stored(&'a [f32]),
    /// What follows the convolution before, which put out `x`, makes of it.
    Normalised {
        /// The convolution's outputs.
        x: &'a [f32],
        /// What normalises and activates them.
        by: ByStatistics<'a>,
    },
}

impl Inputs<'_> {
    /// Those in a range of floats, which covers whole pixels.
    pub fn read<'s>(&'s self, isa: Isa, range: Range<usize>, room: &'s mut AlignedBuffer) -> &'s [f32] {
        match self {
            Inputs::Stored(x) => &x[range],
            Inputs::Normalised { x, by } => {
                room.resize(range.len());
                by.rows(isa, &x[range], None, room);
                room
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Inputs::Stored(x) | Inputs::Normalised { x, .. } => x.len(),
        }
    }
}

/// An image of [`Inputs`] that is read from its first row to its last, some rows at a time.
#[derive(Default)]
pub(super) struct RowReader {
    room: AlignedBuffer,
    /// Where the image begins.
    start: Option<usize>,
    /// Floats of it that are there.
    ready: usize,
}

impl RowReader {
    /// The image in a range of floats, the first `needed` of which are there: the others are anything.
    pub fn read<'s>(
        &'s mut self,
        inputs: &'s Inputs,
        isa: Isa,
        image: Range<usize>,
        needed: usize,
    ) -> &'s [f32] {
        let Inputs::Normalised { x, by } = inputs else { return inputs.read(isa, image, &mut self.room) };
        if self.start.replace(image.start) != Some(image.start) {
            self.room.resize(image.len());
            self.ready = 0;
        }
        let missing = self.ready..needed.min(image.len());
        if !missing.is_empty() {
            by.rows(isa, &x[image.start + missing.start..], None, &mut self.room[missing.clone()]);
            self.ready = missing.end;
        }
        &self.room
    }
}

/// Where the gradient with respect to a convolution's inputs goes. Where these are normalised, the sums are taken on the way
/// that the gradient through the norm needs.
#[derive(Clone, Copy)]
pub(super) struct InputGradient<'a> {
    inputs: &'a Inputs<'a>,
    dx: MutPointer<'a, f32>,
    /// Per part: as in [`ByStatistics::add_sums`].
    sums: MutPointer<'a, f32>,
    /// Floats of a part's sums; none where the inputs are stored.
    sums_len: usize,
}

impl<'a> InputGradient<'a> {
    /// `sums` is what [`InputGradient::sums`] gave, or nothing where the inputs are stored.
    pub fn new(inputs: &'a Inputs<'a>, dx: &'a mut [f32], sums: &'a mut [f32]) -> Self {
        assert_eq!(dx.len(), inputs.len(), "dx is as long as x");
        let sums_len = sums.len() / team::threads();
        Self { inputs, dx: MutPointer::new(dx), sums: MutPointer::new(sums), sums_len }
    }

    /// Room for the sums of any number of parts, over inputs of so many channels.
    pub fn sums(channels: usize) -> AlignedBuffer {
        AlignedBuffer::zeroed(team::threads() * 2 * channels)
    }

    /// Floats `start..start + len` of the gradient.
    ///
    /// # Safety
    /// They lie within it, and nobody else accesses them while the result lives.
    pub unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: as this function's contract.
        unsafe { self.dx.slice(start, len) }
    }

    /// Takes the sums over a range of floats, which covers whole pixels.
    ///
    /// # Safety
    /// They are written, and nobody else writes them or works as this part meanwhile.
    pub unsafe fn is_written(&self, isa: Isa, part: usize, range: Range<usize>) {
        if let Inputs::Normalised { x, by } = self.inputs {
            // SAFETY: as this function's contract.
            let (dx, sums) = unsafe {
                (
                    self.dx.slice(range.start, range.len()),
                    self.sums.slice(part * self.sums_len, self.sums_len),
                )
            };
            by.add_sums(isa, &x[range], None, dx, None, sums);
        }
    }
}
