//! Batch norm between a convolution's activation and its pool, in training, with as few passes over the activations
//! as the batch's statistics allow.
//!
//! ```text
//! forward   image by image, in cache: convolve, add to the statistics, pool    then normalise what the pool left
//! backward  dγ and dβ over what the pool left                                  then image by image, in cache: the
//!                                                                              convolution's gradients
//! ```
//!
//! Normalising is monotone in each channel, so a maximum may be taken before it: of the activations where γ is
//! positive, and a minimum where it is negative. (Where γ is zero a window's values are all equal; the gradient then
//! goes to the largest activation.)

use std::ops::Range;

use super::backward::{Operands, OutputGradient, ThroughNorm, parts, run};
use super::forward::{CHUNK, convolve_images};
use super::inputs::{GradientSink, Inputs};
use super::{ConvBlock, Saved};
use crate::activation::Activation;
use crate::buffer::AlignedBuffer;
use crate::norm::{BatchNorm, InputTerms, Statistics};
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::{Isa, Kernel, Simd, unrolled};
use crate::team;

/// A convolution block with batch norm after the activation and before the pool, in training. For inference see
/// [`ConvBlock::pack`].
#[derive(Clone, Copy, Debug)]
pub struct NormBlock<'a> {
    /// The convolution, its activation, and what follows the norm: no pool, or a 2×2 maximum.
    pub block: ConvBlock,
    /// Over all pixels of all images.
    pub norm: BatchNorm<'a>,
}

/// What a forward pass keeps for the backward pass.
#[derive(Clone, Debug)]
pub struct NormSaved {
    /// Of the activations.
    pub statistics: Statistics,
    /// The activations, `[N, Ho, Wo, Co]`, and which of each window won.
    block: Saved,
    /// Winning activations, where there is a pool.
    winners: AlignedBuffer,
}

/// Operands of [`NormBlock::backward`].
#[derive(Debug)]
pub struct NormBlockGradient<'a> {
    /// The forward pass's input, `[N, H, W, Ci]`.
    pub x: &'a [f32],
    /// Its weights, OHWI.
    pub weights: &'a [f32],
    /// What it saved.
    pub saved: &'a NormSaved,
    /// The loss's gradient with respect to its output.
    pub dy: &'a [f32],
    /// Where the gradient with respect to `x` goes, if wanted; overwritten, as are all.
    pub dx: Option<&'a mut [f32]>,
    /// Where the gradient with respect to the weights goes.
    pub dw: &'a mut [f32],
    /// Where the gradient with respect to the convolution's bias goes.
    pub db: &'a mut [f32],
    /// Where the gradient with respect to γ goes.
    pub dgamma: &'a mut [f32],
    /// Where the gradient with respect to β goes.
    pub dbeta: &'a mut [f32],
}

/// Positions in a window.
const PLACES: usize = 4;

impl NormBlock<'_> {
    /// Whether blocks with this pool can be computed: none, or a 2×2 maximum.
    pub fn takes(block: &ConvBlock) -> bool {
        block.pool.is_none_or(|pool| pool.is_max_2x2())
    }

    /// `y = pool(norm(activation(conv(x) + bias)))`, and what [`NormBlock::backward`] needs.
    pub fn forward(&self, x: &[f32], weights: &[f32], bias: Option<&[f32]>, y: &mut [f32]) -> NormSaved {
        self.check(x, y);
        let conv = &self.block.convolution;
        let [_, rows, columns, channels] = conv.output_shape();
        let unpooled = ConvBlock { pool: None, ..self.block };
        let filter = unpooled.pack(weights, bias, None);
        let (len, pooled_len) = (conv.output_len(), rows / 2 * (columns / 2) * channels);
        let winners_len = if self.block.pool.is_some() { y.len() } else { 0 };
        let mut activations = AlignedBuffer::new(conv.batch * len);
        let mut index = AlignedBuffer::new(winners_len);
        let mut winners = AlignedBuffer::new(winners_len);
        let (all, all_winners) = (MutPointer::new(&mut activations), MutPointer::new(&mut winners));
        let (x, all_index) = (ConstPointer::new(x), MutPointer::new(&mut index));
        let (isa, gamma) = (filter.isa, self.norm.gamma);
        let images_at_once = (CHUNK / (rows * columns)).max(1);
        let parts = parts(conv);
        let statistics = Statistics::gather(channels, parts, |part, moments| {
            let images = team::part_of(conv.batch, part, parts);
            for first in images.clone().step_by(images_at_once) {
                let images = first..images.end.min(first + images_at_once);
                // SAFETY: each image's activations belong to one part.
                let activations = unsafe { all.slice(first * len, images.len() * len) };
                convolve_images(&unpooled, &filter, x, images.clone(), activations);
                moments.add(isa, activations);
                if winners_len == 0 {
                    continue;
                }
                for (image, x) in images.zip(activations.chunks_exact(len)) {
                    // SAFETY: as above.
                    let (winners, index) = unsafe {
                        let at = image * pooled_len;
                        (all_winners.slice(at, pooled_len), all_index.slice(at, pooled_len))
                    };
                    isa.run(Winners { extent: [rows, columns], x, gamma, winners, index });
                }
            }
        });
        let saved = NormSaved { statistics, block: Saved { index, activations }, winners };
        self.norm.apply(&saved.statistics, self.source(&saved), y);
        saved
    }

    /// The exact gradients of [`NormBlock::forward`], statistics included.
    pub fn backward(&self, gradient: NormBlockGradient) {
        let NormBlockGradient { x, weights, saved, dy, dx, dw, db, dgamma, dbeta } = gradient;
        self.check(x, dy);
        let conv = &self.block.convolution;
        let [batch, rows, columns, _] = conv.output_shape();
        let (activations, source) = (&saved.block.activations, self.source(saved));
        assert_eq!(source.len(), dy.len(), "what the forward pass of this block saved");
        assert_eq!(activations.len(), batch * conv.output_len(), "what the forward pass of this block saved");
        let terms =
            self.norm.input_terms(batch * rows * columns, source, &saved.statistics, dy, dgamma, dbeta);
        let through = ThroughPool {
            activation: self.block.activation,
            extent: [rows, columns],
            mean: &saved.statistics.mean,
            terms,
            activations,
            dy,
            index: self.block.pool.map(|_| &saved.block.index[..]),
        };
        let unpooled = ConvBlock { pool: None, ..self.block };
        let inputs = &Inputs::Stored(x);
        let dx = dx.map(|dx| GradientSink::new(inputs, dx, &mut []));
        let operands = Operands { inputs, weights, dx, dw: Some(dw), db: Some(db) };
        run(OutputGradient::normalised(&unpooled, activations, &saved.block, &through), operands);
    }

    /// What of the activations is normalised and put out.
    fn source<'s>(&self, saved: &'s NormSaved) -> &'s [f32] {
        if self.block.pool.is_some() { &saved.winners } else { &saved.block.activations }
    }

    fn check(&self, x: &[f32], y: &[f32]) {
        self.block.activation.check_derives_from_output();
        assert!(Self::takes(&self.block), "no pool, or a 2×2 maximum: {:?}", self.block.pool);
        self.block.check(x, y);
        assert_eq!(self.norm.gamma.len(), self.block.convolution.out_channels, "one γ a channel");
    }
}

/// From the gradient of the norm's (and the pool's) outputs to that of the convolution's, image by image.
#[derive(Debug)]
struct ThroughPool<'a> {
    activation: Activation,
    /// Rows and columns of an image of activations.
    extent: [usize; 2],
    /// Of the activations, per channel.
    mean: &'a [f32],
    terms: InputTerms,
    /// `[N, rows, columns, C]`
    activations: &'a [f32],
    /// As long as the activations, or per window.
    dy: &'a [f32],
    /// Per window which of its activations won.
    index: Option<&'a [u8]>,
}

impl ThroughNorm for ThroughPool<'_> {
    fn is_pooled(&self) -> bool {
        self.index.is_some()
    }

    fn pixels(&self, isa: Isa, first: usize, dz: &mut [f32]) {
        let channels = self.mean.len();
        let range = first * channels..first * channels + dz.len();
        let outputs = match self.index {
            Some(_) => {
                let [rows, columns] = self.extent;
                let (image, len) = (first / (rows * columns), rows / 2 * (columns / 2) * channels);
                image * len..(image + 1) * len
            }
            None => range.clone(),
        };
        isa.run(PixelGradients {
            through: self,
            activations: &self.activations[range],
            dy: &self.dy[outputs.clone()],
            index: self.index.map(|index| &index[outputs]),
            dz,
        });
    }
}

/// Per 2×2 window the largest activation, or the smallest where γ is negative, and where it is.
struct Winners<'a> {
    extent: [usize; 2],
    /// `[extent, C]`
    x: &'a [f32],
    gamma: &'a [f32],
    /// `[extent / 2, C]`, both.
    winners: &'a mut [f32],
    index: &'a mut [u8],
}

impl Kernel for Winners<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [rows, columns] = self.extent;
        let Self { x, gamma, winners, index, .. } = self;
        let channels = gamma.len();
        let windows = [rows / 2, columns / 2];
        assert_eq!(x.len(), rows * columns * channels);
        assert_eq!(winners.len(), windows[0] * windows[1] * channels);
        assert_eq!(index.len(), winners.len());
        let places = places(columns, channels);
        for c in (0..channels).step_by(S::LANES) {
            let live = (channels - c).min(S::LANES);
            // SAFETY: windows and live channels lie in the slices, whose lengths were checked.
            unsafe {
                let negative = s.gt(s.splat(0.), s.load_n(gamma.as_ptr().add(c), live));
                let sign = s.select(negative, s.splat(-1.), s.splat(1.));
                for row in 0..windows[0] {
                    for column in 0..windows[1] {
                        let corner = x.as_ptr().add((2 * row * columns + 2 * column) * channels + c);
                        let mut best = s.mul(sign, s.load_n(corner, live));
                        let mut code = s.splat_i(0);
                        for place in 1..PLACES {
                            let value = s.mul(sign, s.load_n(corner.add(places[place]), live));
                            code = s.select_i(s.gt(value, best), s.splat_i(place as i32), code);
                            best = s.max(best, value);
                        }
                        let at = (row * windows[1] + column) * channels + c;
                        s.store_n(winners.as_mut_ptr().add(at), live, s.mul(sign, best));
                        s.store_bytes(index.as_mut_ptr().add(at), live, code);
                    }
                }
            }
        }
    }
}

/// Floats from a window's first activation to each of its four.
#[inline(always)]
fn places(columns: usize, channels: usize) -> [usize; PLACES] {
    [0, channels, columns * channels, (columns + 1) * channels]
}

/// `dz = activation'(y) · (scale · dy + of_x · (y - mean) + shift)`, with `dy` being zero where a window's winner is
/// another one, or there is no window.
struct PixelGradients<'a> {
    through: &'a ThroughPool<'a>,
    /// Of some pixels, or of an image where there are windows.
    activations: &'a [f32],
    dy: &'a [f32],
    index: Option<&'a [u8]>,
    dz: &'a mut [f32],
}

impl Kernel for PixelGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ThroughPool { activation, extent: [rows, columns], mean, ref terms, .. } = *self.through;
        let channels = mean.len();
        let windows = [rows / 2, columns / 2];
        assert_eq!(self.activations.len(), self.dz.len());
        match self.index {
            Some(index) => {
                assert_eq!(self.dz.len(), rows * columns * channels, "windows are those of a whole image");
                assert_eq!((self.dy.len(), index.len()), (windows[0] * windows[1] * channels, self.dy.len()));
            }
            None => assert_eq!(self.dy.len(), self.dz.len()),
        }
        let places = places(columns, channels);
        for c in (0..channels).step_by(S::LANES) {
            let live = (channels - c).min(S::LANES);
            // SAFETY: pixels, windows and live channels lie in the slices, whose lengths were checked; the terms
            // have one value a channel.
            unsafe {
                let pixel = Pixel {
                    activation,
                    mean: s.load_n(mean.as_ptr().add(c), live),
                    of_x: s.load_n(terms.of_x.as_ptr().add(c), live),
                    shift: s.load_n(terms.shift.as_ptr().add(c), live),
                    live,
                    y: self.activations.as_ptr().add(c),
                    dz: self.dz.as_mut_ptr().add(c),
                };
                let scale = s.load_n(terms.scale.as_ptr().add(c), live);
                let dy = self.dy.as_ptr().add(c);
                let Some(index) = self.index else {
                    for at in (0..self.dz.len()).step_by(channels) {
                        pixel.gradient(s, at, s.mul(scale, s.load_n(dy.add(at), live)));
                    }
                    continue;
                };
                for row in 0..windows[0] {
                    for column in 0..windows[1] {
                        let window = (row * windows[1] + column) * channels;
                        let corner = (2 * row * columns + 2 * column) * channels;
                        let dy = s.mul(scale, s.load_n(dy.add(window), live));
                        let code = s.load_bytes(index.as_ptr().add(window + c), live);
                        unrolled!(place < PLACES, {
                            let won = s.eq_i(code, s.splat_i(place as i32));
                            pixel.gradient(s, corner + places[place], s.select(won, dy, s.splat(0.)));
                        });
                    }
                }
                for at in outside(windows, columns, rows) {
                    pixel.gradient(s, at * channels, s.splat(0.));
                }
            }
        }
    }
}

/// The pixels in no window: of an odd last column, and of an odd last row.
fn outside(windows: [usize; 2], columns: usize, rows: usize) -> impl Iterator<Item = usize> {
    let last_column: Range<usize> = if columns % 2 == 1 { 0..2 * windows[0] } else { 0..0 };
    last_column.map(move |row| (row + 1) * columns - 1).chain(2 * windows[0] * columns..rows * columns)
}

/// One vector of channels.
#[derive(Clone, Copy)]
struct Pixel<S: Simd> {
    activation: Activation,
    mean: S::F,
    of_x: S::F,
    shift: S::F,
    live: usize,
    y: *const f32,
    dz: *mut f32,
}

impl<S: Simd> Pixel<S> {
    /// # Safety
    /// `live` floats can be read and written at `at`.
    #[inline(always)]
    unsafe fn gradient(&self, s: S, at: usize, scaled_dy: S::F) {
        // SAFETY: as this function's contract.
        unsafe {
            let y = s.load_n(self.y.add(at), self.live);
            let dz = s.fma(self.of_x, s.sub(y, self.mean), s.add(scaled_dy, self.shift));
            s.store_n(self.dz.add(at), self.live, self.activation.gradient(s, y, dz));
        }
    }
}
