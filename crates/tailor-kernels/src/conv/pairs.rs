//! Lists of pairs, one list an output channel: a gradient that is not zero, and where its inputs begin.
//!
//! Gradients come channel by channel for each output, and are wanted output by output for each channel. So
//! squares of vectors are transposed, and what is zero is squeezed out of each vector.

use crate::buffer::AlignedBuffer;
use crate::simd::{Isa, Kernel, Simd};
use crate::tile::DEAD;

/// The lists of all output channels.
pub(super) struct Lists {
    /// `[channels][capacity]`; after the end of each list there is room for a vector.
    gradients: AlignedBuffer,
    begins: AlignedBuffer<u32>,
    capacity: usize,
    /// Per channel the length of its list.
    lengths: AlignedBuffer<u32>,
}

/// Outputs to be listed.
#[derive(Clone, Copy)]
pub(super) struct Pushed<'a> {
    /// What is added to all beginnings: where the image begins.
    pub base: usize,
    /// Per output (pixel or window).
    pub begins: &'a [u32],
    /// `[outputs, channels]`
    pub dz: &'a [f32],
    /// For windows the code of each gradient, `[outputs, channels]`, and how far right and down in the window the
    /// inputs of its columns and rows begin.
    pub places: Option<(&'a [u8], [usize; 2])>,
}

impl Lists {
    /// Room for as many pairs a channel as there are outputs.
    pub fn new(channels: usize, outputs: usize, isa: Isa) -> Self {
        let capacity = outputs + isa.lanes();
        Self {
            gradients: AlignedBuffer::new(channels * capacity),
            begins: AlignedBuffer::new(channels * capacity),
            capacity,
            lengths: AlignedBuffer::zeroed(channels),
        }
    }

    pub fn clear(&mut self) {
        self.lengths.fill(0);
    }

    pub fn push(&mut self, isa: Isa, pushed: Pushed) {
        let (channels, outputs) = (self.lengths.len(), pushed.begins.len());
        assert_eq!(pushed.dz.len(), outputs * channels, "gradients are [outputs, channels]");
        assert!(pushed.places.is_none_or(|(codes, _)| codes.len() == pushed.dz.len()), "one code a gradient");
        let longest = self.lengths.iter().max().map_or(0, |&length| length as usize);
        assert!(longest + outputs + isa.lanes() <= self.capacity, "the lists have room");
        isa.run(Push { lists: self, pushed });
    }

    /// The pairs of one channel.
    #[inline(always)]
    pub fn channel(&self, channel: usize) -> (&[f32], &[u32]) {
        let range = channel * self.capacity..channel * self.capacity + self.lengths[channel] as usize;
        (&self.gradients[range.clone()], &self.begins[range])
    }
}

struct Push<'a> {
    lists: &'a mut Lists,
    pushed: Pushed<'a>,
}

/// The largest square of vectors, of which the first `LANES²` elements are used.
#[repr(align(64))]
struct Square([f32; 256]);

impl Square {
    #[inline(always)]
    fn zero() -> Self {
        Self([0.; 256])
    }
}

impl Kernel for Push<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { lists, pushed } = self;
        let (channels, outputs) = (lists.lengths.len(), pushed.begins.len());
        let (mut by_output, mut by_channel) = (Square::zero(), Square::zero());
        let (mut begins_by_output, mut begins_by_channel) = (Square::zero(), Square::zero());
        for first in (0..outputs).step_by(S::LANES) {
            let rows = (outputs - first).min(S::LANES);
            // Outputs that do not exist have no gradient.
            by_output.0[rows * S::LANES..].fill(0.);
            let mut begins = [0u32; 16];
            begins[..rows].copy_from_slice(&pushed.begins[first..first + rows]);
            for channel in (0..channels).step_by(S::LANES) {
                let live = (channels - channel).min(S::LANES);
                // SAFETY: rows and live channels lie in the gradients and codes, whose lengths `push` checked;
                // squares have room for `LANES` vectors, and lists for the pairs and a vector more.
                unsafe {
                    for row in 0..rows {
                        let at = (first + row) * channels + channel;
                        let mut dz = s.load_n(pushed.dz.as_ptr().add(at), live);
                        if let Some((codes, [right, down])) = pushed.places {
                            let code = s.load_bytes(codes.as_ptr().add(at), live);
                            dz = s.select(s.gt_i(s.splat_i(i32::from(DEAD)), code), dz, s.splat(0.));
                            let down_steps = s.shr_i::<1>(code);
                            let right_steps = s.xor_i(code, s.add_i(down_steps, down_steps));
                            let place = s.add_i(
                                s.mul_i(right_steps, s.splat_i(right as i32)),
                                s.mul_i(down_steps, s.splat_i(down as i32)),
                            );
                            let begin = s.splat_i((pushed.base + begins[row] as usize) as i32);
                            s.store_i(
                                begins_by_output.0.as_mut_ptr().add(row * S::LANES).cast(),
                                s.add_i(begin, place),
                            );
                        }
                        s.store(by_output.0.as_mut_ptr().add(row * S::LANES), dz);
                    }
                    s.transpose(by_output.0.as_ptr(), S::LANES, by_channel.0.as_mut_ptr(), S::LANES);
                    if pushed.places.is_some() {
                        let to = begins_by_channel.0.as_mut_ptr();
                        s.transpose(begins_by_output.0.as_ptr(), S::LANES, to, S::LANES);
                    }
                    for lane in 0..live {
                        let dz = s.load(by_channel.0.as_ptr().add(lane * S::LANES));
                        let begin = if pushed.places.is_some() {
                            s.load_i(begins_by_channel.0.as_ptr().add(lane * S::LANES).cast())
                        } else {
                            s.add_i(s.splat_i(pushed.base as i32), s.load_i(begins.as_ptr().cast()))
                        };
                        let nonzero = s.nonzero(dz);
                        let length = &mut lists.lengths[channel + lane];
                        let at = (channel + lane) * lists.capacity + *length as usize;
                        s.compress(lists.gradients.as_mut_ptr().add(at), nonzero, dz);
                        s.compress_i(lists.begins.as_mut_ptr().add(at).cast(), nonzero, begin);
                        *length += s.count(nonzero) as u32;
                    }
                }
            }
        }
    }
}
