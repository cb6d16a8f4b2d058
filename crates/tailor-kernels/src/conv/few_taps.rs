//! The gradients of a first layer, whose kernel spans few inputs (3×3 of one channel: nine).
//!
//! There the lists' vectors along a kernel row would be almost empty. Here vectors run over output channels
//! instead: for every output and every tap, `dw[tap][channels] += input × gradient[channels]`, nine taps by two
//! vectors of sums in registers. The input gradient, where anybody wants it, comes from [`Columns`].

use super::Padding;
use super::backward::{Operands, OutputGradient, Scratch, parts};
use super::columns::{Columns, Room};
use super::window::Window;
use crate::activation::Activation;
use crate::buffer::AlignedBuffer;
use crate::elementwise;
use crate::pointer::MutPointer;
use crate::simd::{Kernel, Simd, unrolled};
use crate::team;
use crate::tile::DEAD;

/// Where in a pooling window a gradient may go.
const PLACES: usize = 4;

pub(super) fn backward(outputs: OutputGradient, operands: Operands) {
    let OutputGradient { block, isa, .. } = outputs;
    let conv = &block.convolution;
    let window = Window::new(conv, conv.in_channels);
    let direct = conv.padding == Padding::default();
    let (channels, taps) = (conv.out_channels, conv.reduction());
    let [_, rows, columns, _] = conv.output_shape();
    let (right, down) = (conv.stride[1] * conv.in_channels, conv.stride[0] * window.row);
    let windowed = outputs.is_windowed();
    let size = if windowed { 2 } else { 1 };
    let is_frozen = operands.dw.is_none() && operands.db.is_none();
    let dx = operands.dx.map(|dx| (dx, Columns::new(conv, isa, operands.weights)));

    // Row 0 … taps - 1: weights [tap][channel]; row `taps`: bias.
    let parts = parts(conv);
    let sums_len = (taps + 1) * channels;
    let mut sums = AlignedBuffer::zeroed(parts * sums_len);
    let all_sums = MutPointer::new(&mut sums);
    team::run(parts, |part| {
        // SAFETY: each part has its own sums.
        let sums = unsafe { all_sums.slice(part * sums_len, sums_len) };
        let mut copy = AlignedBuffer::zeroed(if direct { 0 } else { window.image });
        let (mut scratch, mut room) = (Scratch::default(), Room::default());
        let mut input_room = AlignedBuffer::default();
        for image in team::part_of(conv.batch, part, parts) {
            let of_image = image * conv.image_len()..(image + 1) * conv.image_len();
            if let Some((dx, by_columns)) = &dx {
                let dz = outputs.dense(image, &mut scratch);
                // SAFETY: each image belongs to one part.
                unsafe {
                    by_columns.image(dz, &mut room, dx.slice(of_image.start, of_image.len()));
                    dx.is_written(isa, part, of_image.clone());
                }
            }
            if is_frozen {
                continue;
            }
            let mut x = operands.inputs.read(isa, of_image, &mut input_room);
            if !direct {
                window.copy(x, 0, conv.in_channels, &mut copy);
                x = &copy;
            }
            let (dz, y, index) = match outputs.plain(image) {
                Some((dy, y)) => (dy, Some(y), None),
                None if windowed => {
                    let (dz, index) = outputs.windows(image, &mut scratch);
                    (dz, None, Some(index))
                }
                None => (outputs.dense(image, &mut scratch), None, None),
            };
            isa.run(Taps {
                x,
                dz,
                y,
                activation: block.activation,
                index,
                extent: [rows / size, columns / size],
                step: [size * down, size * right],
                places: [0, right, down, down + right],
                kernel_rows: conv.kernel[0],
                kernel_row: window.row,
                run: conv.kernel[1] * conv.in_channels,
                channels,
                sums: &mut *sums,
            });
        }
    });
    let (dw, db) = elementwise::sum_rows(isa, &mut sums, sums_len).split_at(taps * channels);
    if let Some(to) = operands.dw {
        for (tap, dw) in dw.chunks_exact(channels).enumerate() {
            for (channel, &dw) in dw.iter().enumerate() {
                to[channel * taps + tap] = dw;
            }
        }
    }
    if let Some(to) = operands.db {
        to.copy_from_slice(db);
    }
}

struct Taps<'a> {
    /// One (padded) image.
    x: &'a [f32],
    /// `[extent, channels]`: gradients before the activation, or after it where the outputs `y` are given.
    dz: &'a [f32],
    y: Option<&'a [f32]>,
    activation: Activation,
    /// For windows which of their four places each gradient goes to.
    index: Option<&'a [u8]>,
    /// Rows and columns of outputs (or windows), and how far apart their inputs begin.
    extent: [usize; 2],
    step: [usize; 2],
    places: [usize; PLACES],
    /// Taps: `kernel_rows` runs of `run`, `kernel_row` apart.
    kernel_rows: usize,
    kernel_row: usize,
    run: usize,
    channels: usize,
    /// `[taps + 1, channels]`, added to.
    sums: &'a mut [f32],
}

impl Kernel for Taps<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [rows, columns] = self.extent;
        if rows == 0 || columns == 0 {
            return;
        }
        let last = (rows - 1) * self.step[0]
            + (columns - 1) * self.step[1]
            + if self.index.is_some() { self.places[3] } else { 0 }
            + (self.kernel_rows - 1) * self.kernel_row
            + self.run;
        assert!(last <= self.x.len(), "the last tap of the last output lies in the image");
        assert!(self.dz.len() >= rows * columns * self.channels);
        assert!(self.y.is_none_or(|y| y.len() >= self.dz.len()));
        assert!(self.index.is_none_or(|index| index.len() >= rows * columns * self.channels));
        assert!(self.sums.len() == (self.kernel_rows * self.run + 1) * self.channels);
        let two = S::REGISTERS >= 32;
        let mut channel = 0;
        while channel < self.channels {
            let left = self.channels - channel;
            // SAFETY: the assertions above bound every access; channels beyond the last are masked.
            channel += unsafe {
                match (self.index.is_some(), two && left > S::LANES) {
                    (true, true) => self.channels::<S, 2, true>(s, channel),
                    (true, false) => self.channels::<S, 1, true>(s, channel),
                    (false, true) => self.channels::<S, 2, false>(s, channel),
                    (false, false) => self.channels::<S, 1, false>(s, channel),
                }
            };
        }
    }
}

impl Taps<'_> {
    /// All taps for `V` vectors of channels; returns how many channels those are.
    #[inline(always)]
    unsafe fn channels<S: Simd, const V: usize, const WINDOWED: bool>(&self, s: S, channel: usize) -> usize {
        let taps = self.kernel_rows * self.run;
        // The bias comes along with the first block of taps.
        // SAFETY: as the caller's; `tap` and the taps that follow exist.
        let mut tap = unsafe {
            match taps {
                9.. => self.block::<S, V, 9, WINDOWED, true>(s, channel, 0),
                3.. => self.block::<S, V, 3, WINDOWED, true>(s, channel, 0),
                _ => self.block::<S, V, 1, WINDOWED, true>(s, channel, 0),
            }
        };
        while tap < taps {
            // SAFETY: as above.
            tap += unsafe {
                match taps - tap {
                    9.. => self.block::<S, V, 9, WINDOWED, false>(s, channel, tap),
                    3.. => self.block::<S, V, 3, WINDOWED, false>(s, channel, tap),
                    _ => self.block::<S, V, 1, WINDOWED, false>(s, channel, tap),
                }
            };
        }
        V * S::LANES
    }

    #[inline(always)]
    unsafe fn block<S: Simd, const V: usize, const T: usize, const WINDOWED: bool, const BIAS: bool>(
        &self,
        s: S,
        channel: usize,
        tap: usize,
    ) -> usize {
        let mut offsets = [0; T];
        for (t, offset) in offsets.iter_mut().enumerate() {
            let tap = tap + t;
            *offset = tap / self.run * self.kernel_row + tap % self.run;
        }
        let live = self.live::<S, V>(channel);
        let mut sums = [[s.splat(0.); V]; T];
        let mut bias = [s.splat(0.); V];
        // SAFETY: as the caller's.
        unsafe {
            for row in 0..self.extent[0] {
                for column in 0..self.extent[1] {
                    let at = (row * self.extent[1] + column) * self.channels + channel;
                    let x = self.x.as_ptr().add(row * self.step[0] + column * self.step[1]);
                    let mut dz = [s.splat(0.); V];
                    for v in 0..V {
                        dz[v] = s.load_n(self.dz.as_ptr().add(at + v * S::LANES), live[v]);
                    }
                    if let Some(y) = self.y
                        && !WINDOWED
                    {
                        for v in 0..V {
                            let y = s.load_n(y.as_ptr().add(at + v * S::LANES), live[v]);
                            dz[v] = self.activation.gradient(s, y, dz[v]);
                        }
                    }
                    let mut code = [s.splat_i(0); V];
                    if let Some(index) = self.index
                        && WINDOWED
                    {
                        let dead = s.splat_i(i32::from(DEAD));
                        for v in 0..V {
                            code[v] = s.load_bytes(index.as_ptr().add(at + v * S::LANES), live[v]);
                            dz[v] = s.select(s.gt_i(dead, code[v]), dz[v], s.splat(0.));
                        }
                    }
                    if BIAS {
                        for v in 0..V {
                            bias[v] = s.add(bias[v], dz[v]);
                        }
                    }
                    if !WINDOWED {
                        for t in 0..T {
                            let x = s.splat(*x.add(offsets[t]));
                            for v in 0..V {
                                sums[t][v] = s.fma(x, dz[v], sums[t][v]);
                            }
                        }
                        continue;
                    }
                    unrolled!(place < PLACES, {
                        let x = x.add(self.places[place]);
                        let mut here = [s.splat(0.); V];
                        for v in 0..V {
                            here[v] = s.select(s.eq_i(code[v], s.splat_i(place as i32)), dz[v], s.splat(0.));
                        }
                        for t in 0..T {
                            let x = s.splat(*x.add(offsets[t]));
                            for v in 0..V {
                                sums[t][v] = s.fma(x, here[v], sums[t][v]);
                            }
                        }
                    });
                }
            }
            unrolled!(t < T, { self.add_to(s, (tap + t) * self.channels + channel, live, sums[t]) });
            if BIAS {
                self.add_to(s, self.kernel_rows * self.run * self.channels + channel, live, bias);
            }
        }
        T
    }

    /// How many lanes of each vector are channels.
    #[inline(always)]
    fn live<S: Simd, const V: usize>(&self, channel: usize) -> [usize; V] {
        let mut live = [0; V];
        for (v, live) in live.iter_mut().enumerate() {
            *live = (self.channels - channel).saturating_sub(v * S::LANES).min(S::LANES);
        }
        live
    }

    #[inline(always)]
    unsafe fn add_to<S: Simd, const V: usize>(&self, s: S, at: usize, live: [usize; V], sums: [S::F; V]) {
        for v in 0..V {
            // SAFETY: as the caller's; `self` borrows the sums exclusively.
            unsafe {
                let to = self.sums.as_ptr().cast_mut().add(at + v * S::LANES);
                s.store_n(to, live[v], s.add(s.load_n(to, live[v]), sums[v]));
            }
        }
    }
}
