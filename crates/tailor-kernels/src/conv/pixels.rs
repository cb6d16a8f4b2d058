//! The input gradient of sparse outputs, pixel by pixel.
//!
//! For each output pixel the channels that carry a gradient are listed; then, a part of a kernel row at a time,
//!
//! ```text
//! for each pixel: load the input gradients under the kernel
//!     for each pair of its list: dinputs += gradient × weights of the channel        dinputs in registers
//! ```
//!
//! so that nothing is stored per pair. Channels come in blocks, whose parts of a kernel row fit the first-level cache.

use super::pairs::Pushed;
use super::slices::Plan;
use crate::buffer::AlignedBuffer;
use crate::simd::{Isa, Kernel, Simd};

/// Output channels of a block: 64 times six vectors of 64 bytes are 24 KiB.
const BLOCK: usize = 64;

/// Places in a pooling window: each is a pixel of its own.
const PLACES: usize = 4;

/// The lists of all pixels, one a block of channels.
pub(super) struct PixelLists {
    /// `[blocks][capacity]`; at the end of each block there is room for a vector.
    gradients: AlignedBuffer,
    /// Where the weights of each listed channel begin in its slice.
    kernels: AlignedBuffer<u32>,
    capacity: usize,
    /// `[blocks][pixels]`: where each pixel's list ends, the next one's beginning.
    ends: AlignedBuffer<u32>,
    /// Per pixel where its inputs begin.
    begins: AlignedBuffer<u32>,
    pixels: usize,
    /// Output channels in all and of a group, and the floats of a kernel.
    channels: usize,
    group: usize,
    kernel_len: usize,
}

impl PixelLists {
    /// Room for `outputs`, which may be windows.
    pub fn new(plan: &Plan, outputs: usize, windowed: bool) -> Self {
        let (channels, group) = (plan.conv.out_channels, plan.conv.group_outputs());
        let capacity = outputs * BLOCK.min(group) + plan.isa.lanes();
        let blocks = plan.conv.groups * group.div_ceil(BLOCK);
        let pixels = outputs * if windowed { PLACES } else { 1 };
        Self {
            gradients: AlignedBuffer::new(blocks * capacity),
            kernels: AlignedBuffer::new(blocks * capacity),
            capacity,
            ends: AlignedBuffer::new(blocks * pixels),
            begins: AlignedBuffer::new(pixels),
            pixels: 0,
            channels,
            group,
            kernel_len: plan.kernel_len(),
        }
    }

    pub fn clear(&mut self) {
        self.pixels = 0;
    }

    pub fn push(&mut self, isa: Isa, pushed: Pushed) {
        let outputs = pushed.begins.len();
        let pixels = outputs * if pushed.places.is_some() { PLACES } else { 1 };
        assert_eq!(pushed.dz.len(), outputs * self.channels, "gradients are [outputs, channels]");
        assert!(pushed.places.is_none_or(|(codes, _)| codes.len() == pushed.dz.len()), "one code a gradient");
        assert!(self.pixels + pixels <= self.begins.len(), "the lists have room");
        isa.run(Push { lists: self, pushed });
        self.pixels += pixels;
    }

    /// The blocks of a group.
    fn blocks(&self, group: usize) -> std::ops::Range<usize> {
        let blocks = self.group.div_ceil(BLOCK);
        group * blocks..(group + 1) * blocks
    }

    /// First and last channel (exclusive) of one of a group's blocks, within the group.
    fn channels(&self, block: usize) -> [usize; 2] {
        let start = block % self.group.div_ceil(BLOCK) * BLOCK;
        [start, self.group.min(start + BLOCK)]
    }

    /// Where in `ends` a block's pixels begin.
    #[inline(always)]
    fn ends_of(&self, block: usize) -> usize {
        block * self.begins.len()
    }

    /// Where a pixel's list begins in its block.
    #[inline(always)]
    fn start(&self, block: usize, pixel: usize) -> usize {
        if pixel == 0 { 0 } else { self.ends[self.ends_of(block) + pixel - 1] as usize }
    }
}

struct Push<'a> {
    lists: &'a mut PixelLists,
    pushed: Pushed<'a>,
}

impl Kernel for Push<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { lists, pushed } = self;
        let places = if pushed.places.is_some() { PLACES } else { 1 };
        for (output, &begin) in pushed.begins.iter().enumerate() {
            for place in 0..places {
                let mut begin = pushed.base + begin as usize;
                if let Some((_, [right, down])) = pushed.places {
                    begin += place % 2 * right + place / 2 * down;
                }
                lists.begins[lists.pixels + output * places + place] = begin as u32;
            }
        }
        for block in 0..lists.channels / lists.group * lists.group.div_ceil(BLOCK) {
            let group = block / lists.group.div_ceil(BLOCK);
            let [first, last] = lists.channels(block);
            let mut length = lists.start(block, lists.pixels);
            let mut end = lists.ends_of(block) + lists.pixels;
            for output in 0..pushed.begins.len() {
                for place in 0..places {
                    for channel in (first..last).step_by(S::LANES) {
                        let live = (last - channel).min(S::LANES);
                        let at = output * lists.channels + group * lists.group + channel;
                        // SAFETY: live channels lie in the gradients and codes, whose lengths `push` checked; a
                        // block has room for all pairs and a vector more.
                        unsafe {
                            let mut dz = s.load_n(pushed.dz.as_ptr().add(at), live);
                            if let Some((codes, _)) = pushed.places {
                                let code = s.load_bytes(codes.as_ptr().add(at), live);
                                let here = s.eq_i(code, s.splat_i(place as i32));
                                dz = s.select(here, dz, s.splat(0.));
                            }
                            let nonzero = s.nonzero(dz);
                            let kernel = s.add_i(
                                s.splat_i((channel * lists.kernel_len) as i32),
                                s.mul_i(s.lanes(), s.splat_i(lists.kernel_len as i32)),
                            );
                            let to = block * lists.capacity + length;
                            s.compress(lists.gradients.as_mut_ptr().add(to), nonzero, dz);
                            s.compress_i(lists.kernels.as_mut_ptr().add(to).cast(), nonzero, kernel);
                            length += s.count(nonzero);
                        }
                    }
                    lists.ends[end] = length as u32;
                    end += 1;
                }
            }
        }
    }
}

/// Adds the input gradients of what the lists hold.
pub(super) struct InputGradients<'a> {
    pub plan: &'a Plan<'a>,
    pub lists: &'a PixelLists,
    /// From a slice to the next.
    pub slice_len: usize,
    pub input_gradients: *mut f32,
    /// As `Plan::weights_len`.
    pub weights: &'a [f32],
}

impl Kernel for InputGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, lists, .. } = self;
        let slice_weights = lists.group * lists.kernel_len;
        assert!(self.weights.len() >= plan.conv.groups * plan.slices * slice_weights);
        for slice in 0..plan.conv.groups * plan.slices {
            for block in lists.blocks(slice / plan.slices) {
                for row in 0..plan.conv.kernel[0] {
                    let mut vector = 0;
                    while vector < plan.row / S::LANES {
                        // In a slice's kernels, and in its inputs.
                        let at = row * plan.row + vector * S::LANES;
                        let input = row * plan.window.row + vector * S::LANES;
                        // SAFETY: all inputs of a listed pixel lie in its slice, up to whole vectors of the last
                        // row, for which the slices have room at the end and the weights are zero.
                        unsafe {
                            let weights = self.weights.as_ptr().add(slice * slice_weights + at);
                            let inputs = self.input_gradients.add(slice * self.slice_len + input);
                            vector += match plan.row / S::LANES - vector {
                                6.. => self.add::<S, 6>(s, block, weights, inputs),
                                3.. => self.add::<S, 3>(s, block, weights, inputs),
                                2 => self.add::<S, 2>(s, block, weights, inputs),
                                _ => self.add::<S, 1>(s, block, weights, inputs),
                            };
                        }
                    }
                }
            }
        }
    }
}

impl InputGradients<'_> {
    /// `V` vectors of a kernel row, for a block of channels; returns `V`.
    #[inline(always)]
    unsafe fn add<S: Simd, const V: usize>(
        &self,
        s: S,
        block: usize,
        weights: *const f32,
        inputs: *mut f32,
    ) -> usize {
        let lists = self.lists;
        let at = block * lists.capacity;
        // SAFETY: lists end within their block; else as the caller's.
        unsafe {
            let (gradients, kernels) = (lists.gradients.as_ptr().add(at), lists.kernels.as_ptr().add(at));
            let ends = lists.ends.as_ptr().add(lists.ends_of(block));
            let mut start = 0;
            for pixel in 0..lists.pixels {
                let end = *ends.add(pixel) as usize;
                if start == end {
                    continue;
                }
                let to = inputs.add(*lists.begins.as_ptr().add(pixel) as usize);
                let mut sums = [s.splat(0.); V];
                for v in 0..V {
                    sums[v] = s.load(to.add(v * S::LANES));
                }
                for pair in start..end {
                    let gradient = s.splat(*gradients.add(pair));
                    let weights = weights.add(*kernels.add(pair) as usize);
                    for v in 0..V {
                        sums[v] = s.fma(gradient, s.load(weights.add(v * S::LANES)), sums[v]);
                    }
                }
                for v in 0..V {
                    s.store(to.add(v * S::LANES), sums[v]);
                }
                start = end;
            }
        }
        V
    }
}
