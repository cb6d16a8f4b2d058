//! Weights as the tiles read them: blocks of two vectors of output channels, `[block][reduction][2 vectors]`,
//! padded with zeros; the last block has one vector where that is enough. With them travel what is added and
//! scaled per channel.

use crate::bf16::{Precision, pair, round_pairs};
use crate::buffer::AlignedBuffer;
use crate::pointer::MutPointer;
use crate::simd::{Isa, Kernel, Simd};
use crate::team;

/// Packed weights, bias and affine transform of `channels` outputs.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    isa: Isa,
    channels: usize,
    reduction: usize,
    precision: Precision,
    /// Floats, or pairs of bf16.
    weights: AlignedBuffer,
    /// `[blocks][2 vectors]`, and scale and shift likewise.
    bias: AlignedBuffer,
    affine: Option<[AlignedBuffer; 2]>,
}

/// Packing fewer weights than this is not worth another thread.
const WORTH_SPLITTING: usize = 16 << 10;

impl Panels {
    fn empty(isa: Isa, channels: usize, reduction: usize, bias: Option<&[f32]>) -> Self {
        let padded = channels.next_multiple_of(isa.lanes());
        let bias = padded_copy(bias, channels.next_multiple_of(2 * isa.lanes()));
        let weights = AlignedBuffer::new(padded * reduction);
        Self { isa, channels, reduction, precision: Precision::F32, weights, bias, affine: None }
    }

    /// From weights whose reduction is contiguous, `[channels, reduction]`, as in OHWI.
    pub fn from_channels(
        isa: Isa,
        weights: &[f32],
        channels: usize,
        reduction: usize,
        bias: Option<&[f32]>,
    ) -> Self {
        assert_eq!(weights.len(), channels * reduction, "weights are [channels, reduction]");
        let mut panels = Self::empty(isa, channels, reduction, bias);
        panels.fill(|block, to| {
            let first = block * 2 * isa.lanes();
            let width = to.len() / reduction;
            let live = width.min(channels - first);
            let from = &weights[first * reduction..(first + live) * reduction];
            isa.run(TransposeRows { from, to, reduction, width });
        });
        panels
    }

    /// As [`Panels::from_channels`], from `[channels, taps, inputs]`, rounded: two inputs of a tap are a pair, and an odd
    /// last one is paired with zero.
    pub fn from_channels_as_pairs(
        isa: Isa,
        weights: &[f32],
        channels: usize,
        inputs: usize,
        bias: Option<&[f32]>,
    ) -> Self {
        let len = weights.len() / channels;
        let reduction = len / inputs * inputs.div_ceil(2);
        let mut panels = Self { precision: Precision::Bf16, ..Self::empty(isa, channels, reduction, bias) };
        panels.fill(|block, to| {
            let first = block * 2 * isa.lanes();
            let width = to.len() / reduction;
            let live = width.min(channels - first);
            let mut pairs = AlignedBuffer::new(live * reduction);
            isa.run(RoundRows { from: &weights[first * len..(first + live) * len], inputs, to: &mut pairs });
            isa.run(TransposeRows { from: &pairs, to, reduction, width });
        });
        panels
    }

    /// From weights whose channels are contiguous: row `r` of the reduction starts at `row_start(r)`.
    pub fn from_rows(
        isa: Isa,
        weights: &[f32],
        channels: usize,
        reduction: usize,
        bias: Option<&[f32]>,
        row_start: impl Fn(usize) -> usize + Sync,
    ) -> Self {
        let mut panels = Self::empty(isa, channels, reduction, bias);
        panels.fill(|block, to| {
            let first = block * 2 * isa.lanes();
            let width = to.len() / reduction;
            let live = width.min(channels - first);
            for (row, to) in to.chunks_exact_mut(width).enumerate() {
                let start = row_start(row) + first;
                to[..live].copy_from_slice(&weights[start..start + live]);
                to[live..].fill(0.);
            }
        });
        panels
    }

    /// As [`Panels::from_rows`], rounded: the rows `[2n]` and `[2n + 1]` of `rows(n)` are a pair, the second one being zero
    /// where there is none.
    pub fn from_rows_as_pairs(
        isa: Isa,
        weights: &[f32],
        channels: usize,
        reduction: usize,
        rows: impl Fn(usize) -> (usize, Option<usize>) + Sync,
    ) -> Self {
        let mut panels = Self { precision: Precision::Bf16, ..Self::empty(isa, channels, reduction, None) };
        panels.fill(|block, to| {
            let first = block * 2 * isa.lanes();
            let width = to.len() / reduction;
            let live = width.min(channels - first);
            isa.run(PairRows { weights: &weights[first..], rows: &rows, live, to, width });
        });
        panels
    }

    /// Adds an affine transform per channel, applied after the activation.
    pub fn with_affine(mut self, scale: &[f32], shift: &[f32]) -> Self {
        assert_eq!(
            (scale.len(), shift.len()),
            (self.channels, self.channels),
            "one scale and shift a channel"
        );
        self.affine = Some([scale, shift].map(|values| padded_copy(Some(values), self.bias.len())));
        self
    }

    fn fill(&mut self, pack: impl Fn(usize, &mut [f32]) + Sync) {
        let (blocks, len) = (self.blocks(), self.weights.len());
        if len == 0 {
            return; // a sum over an empty batch
        }
        let block_len = self.reduction * 2 * self.isa.lanes();
        let to = MutPointer::new(&mut self.weights);
        let pack_blocks = |range: std::ops::Range<usize>| {
            for block in range {
                let start = block * block_len;
                // SAFETY: blocks lie within the weights and do not overlap.
                pack(block, unsafe { to.slice(start, block_len.min(len - start)) });
            }
        };
        if len < WORTH_SPLITTING {
            pack_blocks(0..blocks)
        } else {
            team::split(blocks, |_, range| pack_blocks(range))
        }
    }

    pub fn isa(&self) -> Isa {
        self.isa
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// What the weights are, and what inputs have to be.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Products, or pairs of them, summed up in one output.
    pub fn reduction(&self) -> usize {
        self.reduction
    }

    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(2 * self.isa.lanes())
    }

    #[inline(always)]
    pub fn first_channel(&self, block: usize) -> usize {
        block * 2 * self.isa.lanes()
    }

    /// Channels of a block, padding included: one or two vectors.
    #[inline(always)]
    pub fn width(&self, block: usize) -> usize {
        if self.channels - self.first_channel(block) <= self.isa.lanes() {
            self.isa.lanes()
        } else {
            2 * self.isa.lanes()
        }
    }

    /// The block's weights, `[reduction][width]`.
    #[inline(always)]
    pub fn block(&self, block: usize) -> *const f32 {
        self.weights[self.first_channel(block) * self.reduction..].as_ptr()
    }

    /// The block's bias, two vectors.
    #[inline(always)]
    pub fn bias(&self, block: usize) -> *const f32 {
        self.bias[self.first_channel(block)..].as_ptr()
    }

    /// The block's scale and shift, two vectors each.
    #[inline(always)]
    pub fn affine(&self, block: usize) -> Option<(*const f32, *const f32)> {
        let [scale, shift] = self.affine.as_ref()?;
        let first = self.first_channel(block);
        Some((scale[first..].as_ptr(), shift[first..].as_ptr()))
    }
}

fn padded_copy(values: Option<&[f32]>, len: usize) -> AlignedBuffer {
    let mut copy = AlignedBuffer::zeroed(len);
    if let Some(values) = values {
        copy[..values.len()].copy_from_slice(values);
    }
    copy
}

/// `to[r][c] = from[c][r]` for the channels of one block, zero for those that do not exist.
struct TransposeRows<'a> {
    /// `[live, reduction]`
    from: &'a [f32],
    /// `[reduction, width]`
    to: &'a mut [f32],
    reduction: usize,
    width: usize,
}

impl Kernel for TransposeRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, to, reduction, width } = self;
        let live = from.len() / reduction;
        let square_rows = reduction - reduction % S::LANES;
        for channel in (0..width).step_by(S::LANES) {
            let whole = channel + S::LANES <= live;
            let squares = if whole { square_rows } else { 0 };
            for row in (0..squares).step_by(S::LANES) {
                let (from, to) = (&from[channel * reduction + row..], &mut to[row * width + channel..]);
                assert!(from.len() >= (S::LANES - 1) * reduction + S::LANES);
                assert!(to.len() >= (S::LANES - 1) * width + S::LANES);
                // SAFETY: both squares lie within the slices: `row + LANES <= reduction`, and all the
                // `LANES` channels exist.
                unsafe { s.transpose(from.as_ptr(), reduction, to.as_mut_ptr(), width) };
            }
            for row in squares..reduction {
                for lane in 0..S::LANES {
                    let c = channel + lane;
                    to[row * width + c] = if c < live { from[c * reduction + row] } else { 0. };
                }
            }
        }
    }
}

/// Rows of `inputs` floats, each rounded to pairs.
struct RoundRows<'a> {
    from: &'a [f32],
    inputs: usize,
    to: &'a mut [f32],
}

impl Kernel for RoundRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        if self.inputs.is_multiple_of(2) {
            return round_pairs(self.from, self.to);
        }
        let to = self.to.chunks_exact_mut(self.inputs.div_ceil(2));
        for (from, to) in self.from.chunks_exact(self.inputs).zip(to) {
            round_pairs(from, to);
        }
    }
}

/// Rows of `live` channels in pairs, zero for the channels that do not exist.
struct PairRows<'a, F> {
    weights: &'a [f32],
    rows: &'a F,
    live: usize,
    /// `[reduction, width]`
    to: &'a mut [f32],
    width: usize,
}

impl<F: Fn(usize) -> (usize, Option<usize>)> Kernel for PairRows<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { weights, live, .. } = self;
        for (row, to) in self.to.chunks_exact_mut(self.width).enumerate() {
            let (first, second) = (self.rows)(row);
            let firsts = &weights[first..first + live];
            match second {
                Some(second) => {
                    let both = firsts.iter().zip(&weights[second..second + live]);
                    to.iter_mut().zip(both).for_each(|(to, (&a, &b))| *to = pair(a, b));
                }
                None => to.iter_mut().zip(firsts).for_each(|(to, &a)| *to = pair(a, 0.)),
            }
            to[live..].fill(0.);
        }
    }
}
