//! What a convolution of a block reads: values, or what a norm and an activation make of them. The latter are not kept from
//! the forward to the backward pass: whoever reads them computes them, mostly some at a time, in the cache.

use std::ops::Range;

use super::rows::RowBuffer;
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

    /// Image number `image`, of `len` floats, as [`RowBuffer::until`] has it.
    pub fn read_rows<'s>(
        &'s self,
        isa: Isa,
        [image, len]: [usize; 2],
        needed: usize,
        rows: &'s mut RowBuffer,
    ) -> &'s [f32] {
        match self {
            Inputs::Stored(x) => &x[image * len..(image + 1) * len],
            Inputs::Normalised { x, by } => rows.until(image, len, needed, |range, values| {
                by.rows(isa, &x[image * len + range.start..], None, values);
            }),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Inputs::Stored(x) | Inputs::Normalised { x, .. } => x.len(),
        }
    }
}

/// Where the gradient with respect to a convolution's inputs is put. Where these are normalised, the sums are taken on the way
/// that the gradient through the norm needs.
#[derive(Clone, Copy)]
pub(super) struct GradientSink<'a> {
    inputs: &'a Inputs<'a>,
    dx: MutPointer<'a, f32>,
    /// Per part: as in [`ByStatistics::add_sums`].
    sums: MutPointer<'a, f32>,
    /// Parts that there are sums for.
    parts: usize,
    /// Floats of a part's sums.
    sums_len: usize,
}

impl<'a> GradientSink<'a> {
    /// `dx` is as long as the inputs, and `sums` what [`GradientSink::sums`] gives; nothing where the inputs are stored.
    pub fn new(inputs: &'a Inputs<'a>, dx: &'a mut [f32], sums: &'a mut [f32]) -> Self {
        assert_eq!(dx.len(), inputs.len(), "dx is as long as x");
        let parts = team::threads();
        let sums_len = sums.len() / parts;
        Self { inputs, dx: MutPointer::new(dx), sums: MutPointer::new(sums), parts, sums_len }
    }

    /// Room for the sums of each part that a job can have, over inputs of so many channels.
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
            assert!(part < self.parts, "a job has no more parts than the team threads");
            // SAFETY: as this function's contract; the part has sums.
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
