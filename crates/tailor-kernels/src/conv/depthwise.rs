//! Depthwise convolution: every channel has a kernel of its own, so vectors run over channels.

use super::backward::{OutputGradient, Scratch, add_rows, parts};
use super::window::Window;
use super::{ConvGradient, Convolution};
use crate::activation::Activation;
use crate::buffer::AlignedBuffer;
use crate::elementwise;
use crate::pointer::MutPointer;
use crate::simd::{Isa, Kernel, Simd};
use crate::team;

/// Weights as `[tap][channel]`, with what is added and scaled per channel.
#[derive(Clone, Debug)]
pub(super) struct Taps {
    weights: AlignedBuffer,
    bias: AlignedBuffer,
    affine: Option<[AlignedBuffer; 2]>,
}

/// `[C, taps]` to `[taps, C]`.
fn transpose(weights: &[f32], channels: usize) -> AlignedBuffer {
    let taps = weights.len() / channels;
    let mut transposed = AlignedBuffer::new(weights.len());
    for (tap, row) in transposed.chunks_exact_mut(channels).enumerate() {
        for (channel, to) in row.iter_mut().enumerate() {
            *to = weights[channel * taps + tap];
        }
    }
    transposed
}

impl Taps {
    pub fn pack(
        conv: &Convolution,
        weights: &[f32],
        bias: Option<&[f32]>,
        affine: Option<[&[f32]; 2]>,
    ) -> Self {
        let channels = conv.out_channels;
        Self {
            weights: transpose(weights, channels),
            bias: bias.map_or_else(|| AlignedBuffer::zeroed(channels), AlignedBuffer::from_slice),
            affine: affine.map(|affine| affine.map(AlignedBuffer::from_slice)),
        }
    }

    /// `output [Ho, Wo, C]` of one image.
    pub fn forward_image(
        &self,
        isa: Isa,
        conv: &Convolution,
        activation: Activation,
        x: &[f32],
        output: &mut [f32],
    ) {
        let (window, padded) = padded(conv, x);
        isa.run(Forward {
            taps: self,
            geometry: Geometry::new(conv, &window),
            activation,
            x: &padded,
            output,
        });
    }
}

/// The image with its padding.
fn padded(conv: &Convolution, x: &[f32]) -> (Window, AlignedBuffer) {
    let window = Window::new(conv, conv.in_channels);
    let mut copy = AlignedBuffer::zeroed(window.image);
    window.copy(x, 0, conv.in_channels, &mut copy);
    (window, copy)
}

#[derive(Clone, Copy)]
struct Geometry {
    channels: usize,
    /// Rows and columns of outputs, and how far apart their inputs begin.
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
    kernel: [usize; 2],
    /// Floats in a row of the padded image.
    row: usize,
}

impl Geometry {
    fn new(conv: &Convolution, window: &Window) -> Self {
        let [_, rows, columns, channels] = conv.output_shape();
        let [down, right] = conv.stride;
        let (row_step, column_step) = (down * window.row, right * channels);
        Self { channels, rows, columns, row_step, column_step, kernel: conv.kernel, row: window.row }
    }

    /// Floats of the padded image that outputs read.
    fn input_len(&self) -> usize {
        (self.rows - 1) * self.row_step
            + (self.columns - 1) * self.column_step
            + (self.kernel[0] - 1) * self.row
            + self.kernel[1] * self.channels
    }

    /// Where the input of a tap lies, from the first.
    #[inline(always)]
    fn tap(&self, tap: usize) -> usize {
        tap / self.kernel[1] * self.row + tap % self.kernel[1] * self.channels
    }

    #[inline(always)]
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

struct Forward<'a> {
    taps: &'a Taps,
    geometry: Geometry,
    activation: Activation,
    x: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { taps, geometry: g, activation, x, output } = self;
        assert!(x.len() >= g.input_len() && output.len() == g.rows * g.columns * g.channels);
        assert!(taps.weights.len() == g.taps() * g.channels && taps.bias.len() == g.channels);
        for channel in (0..g.channels).step_by(S::LANES) {
            let live = (g.channels - channel).min(S::LANES);
            // SAFETY: the lengths were checked: all taps of all outputs lie in `x`; channels beyond the last
            // are masked.
            unsafe {
                let weights = taps.weights.as_ptr().add(channel);
                let bias = s.load_n(taps.bias.as_ptr().add(channel), live);
                let mut affine = (s.splat(1.), s.splat(0.));
                if let Some([scale, shift]) = &taps.affine {
                    affine = (
                        s.load_n(scale[channel..].as_ptr(), live),
                        s.load_n(shift[channel..].as_ptr(), live),
                    );
                }
                for row in 0..g.rows {
                    for column in 0..g.columns {
                        let input = x.as_ptr().add(row * g.row_step + column * g.column_step + channel);
                        let mut sum = bias;
                        for kernel_row in 0..g.kernel[0] {
                            for kernel_column in 0..g.kernel[1] {
                                let tap = kernel_row * g.kernel[1] + kernel_column;
                                let at = kernel_row * g.row + kernel_column * g.channels;
                                let weight = s.load_n(weights.add(tap * g.channels), live);
                                sum = s.fma(s.load_n(input.add(at), live), weight, sum);
                            }
                        }
                        let value = s.fma(affine.0, activation.apply(s, sum), affine.1);
                        let at = (row * g.columns + column) * g.channels + channel;
                        s.store_n(output.as_mut_ptr().add(at), live, value);
                    }
                }
            }
        }
    }
}

/// The gradients of a depthwise block.
pub(super) fn backward(outputs: OutputGradient, gradient: ConvGradient) {
    let OutputGradient { block, isa, .. } = outputs;
    let conv = &block.convolution;
    let channels = conv.out_channels;
    let weights = transpose(gradient.weights, channels);
    let dx = gradient.dx.map(MutPointer::new);
    let parts = parts(conv);
    // `[tap][channel]`, then one bias a channel.
    let sums_len = weights.len() + channels;
    let mut sums = AlignedBuffer::zeroed(parts * sums_len);
    let all_sums = MutPointer::new(&mut sums);
    team::run(parts, |part| {
        // SAFETY: each part has its own sums.
        let (dw, db) = unsafe { all_sums.slice(part * sums_len, sums_len) }.split_at_mut(weights.len());
        let mut scratch = Scratch::default();
        let mut dx_window = AlignedBuffer::default();
        for image in team::part_of(conv.batch, part, parts) {
            let image_range = image * conv.image_len()..(image + 1) * conv.image_len();
            let (window, x) = padded(conv, &gradient.x[image_range.clone()]);
            let dz = outputs.dense(image, &mut scratch);
            add_rows(isa, dz, db);
            let geometry = Geometry::new(conv, &window);
            dx_window.resize(if dx.is_some() { window.image } else { 0 });
            dx_window.fill(0.);
            isa.run(Backward { geometry, weights: &weights, x: &x, dz, dw: &mut *dw, dx: &mut dx_window });
            if let Some(dx) = dx {
                // SAFETY: each image belongs to one part.
                let dx = unsafe { dx.slice(image_range.start, image_range.len()) };
                window.copy_back(&dx_window, 0, channels, dx);
            }
        }
    });
    let (first, others) = sums.split_at_mut(sums_len);
    for part in others.chunks_exact(sums_len) {
        elementwise::accumulate(isa, part, first);
    }
    let (dw, db) = first.split_at(weights.len());
    let taps = weights.len() / channels;
    for (tap, row) in dw.chunks_exact(channels).enumerate() {
        for (channel, &dw) in row.iter().enumerate() {
            gradient.dw[channel * taps + tap] = dw;
        }
    }
    if let Some(to) = gradient.db {
        to.copy_from_slice(db);
    }
}

struct Backward<'a> {
    geometry: Geometry,
    /// `[tap][channel]`
    weights: &'a [f32],
    x: &'a [f32],
    dz: &'a [f32],
    /// Added to.
    dw: &'a mut [f32],
    /// The padded image, added to; empty where nobody asks.
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { geometry: g, weights, x, dz, dw, dx } = self;
        assert!(x.len() >= g.input_len() && dz.len() == g.rows * g.columns * g.channels);
        assert!(weights.len() == g.taps() * g.channels && dw.len() == weights.len());
        assert!(dx.is_empty() || dx.len() >= g.input_len());
        for channel in (0..g.channels).step_by(S::LANES) {
            let live = (g.channels - channel).min(S::LANES);
            for tap in 0..g.taps() {
                let at = tap * g.channels + channel;
                // SAFETY: the lengths were checked: this tap of every output lies in `x` and `dx`; channels
                // beyond the last are masked.
                unsafe {
                    let weight = s.load_n(weights.as_ptr().add(at), live);
                    let mut sum = s.load_n(dw.as_ptr().add(at), live);
                    for row in 0..g.rows {
                        for column in 0..g.columns {
                            let output = (row * g.columns + column) * g.channels + channel;
                            let input = row * g.row_step + column * g.column_step + g.tap(tap) + channel;
                            let dz = s.load_n(dz.as_ptr().add(output), live);
                            sum = s.fma(dz, s.load_n(x.as_ptr().add(input), live), sum);
                            if !dx.is_empty() {
                                let to = dx.as_mut_ptr().add(input);
                                s.store_n(to, live, s.fma(dz, weight, s.load_n(to, live)));
                            }
                        }
                    }
                    s.store_n(dw.as_mut_ptr().add(at), live, sum);
                }
            }
        }
    }
}
