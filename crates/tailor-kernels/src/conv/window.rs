//! Copies of images with zeros around them, and of some of their channels only: what kernels read where the
//! convolution is padded or its channels come in groups or slices.

use super::Convolution;
use crate::bf16::round_pairs;
use crate::simd::{Isa, Kernel, Simd};

/// Some channels of images, padded: `[images, H + padding, W + padding, channels]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Rows of the image, and floats in one of its rows and pixels.
    height: usize,
    width: usize,
    pixel: usize,
    /// Floats in a row of the copy, of one whole copied image, and where the first pixel goes.
    pub row: usize,
    pub image: usize,
    origin: usize,
    /// Channels of the copy; those that the image does not have stay zero.
    pub channels: usize,
}

impl Window {
    pub fn new(conv: &Convolution, channels: usize) -> Self {
        let row = conv.padded_width() * channels;
        Self {
            height: conv.height,
            width: conv.width,
            pixel: conv.in_channels,
            row,
            image: conv.padded_height() * row,
            origin: conv.padding.top * row + conv.padding.left * channels,
            channels,
        }
    }

    /// Copies `live` channels from `first` on of one image into `to`, whose border is zero already.
    pub fn copy(&self, image: &[f32], first: usize, live: usize, to: &mut [f32]) {
        for (y, row) in image.chunks_exact(self.width * self.pixel).enumerate().take(self.height) {
            let to = &mut to[self.origin + y * self.row..];
            if live == self.pixel && live == self.channels {
                to[..row.len()].copy_from_slice(row);
                continue;
            }
            for (pixel, to) in row.chunks_exact(self.pixel).zip(to.chunks_exact_mut(self.channels)) {
                copy(&pixel[first..first + live], &mut to[..live]);
            }
        }
    }

    /// As [`Window::copy`], rounded to pairs of bf16, each of which is one of the copy's channels.
    pub fn copy_as_pairs(&self, isa: Isa, image: &[f32], first: usize, live: usize, to: &mut [f32]) {
        isa.run(CopyAsPairs { window: self, image, first, live, to });
    }

    /// The reverse of [`Window::copy`]: what fell on the border is dropped.
    pub fn copy_back(&self, from: &[f32], first: usize, live: usize, image: &mut [f32]) {
        for (y, row) in image.chunks_exact_mut(self.width * self.pixel).enumerate().take(self.height) {
            let from = &from[self.origin + y * self.row..];
            if live == self.pixel && live == self.channels {
                let len = row.len();
                row.copy_from_slice(&from[..len]);
                continue;
            }
            for (pixel, from) in row.chunks_exact_mut(self.pixel).zip(from.chunks_exact(self.channels)) {
                copy(&from[..live], &mut pixel[first..first + live]);
            }
        }
    }
}

struct CopyAsPairs<'a> {
    window: &'a Window,
    image: &'a [f32],
    first: usize,
    live: usize,
    to: &'a mut [f32],
}

impl Kernel for CopyAsPairs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { window, image, first, live, to } = self;
        for (y, row) in image.chunks_exact(window.width * window.pixel).enumerate().take(window.height) {
            let to = &mut to[window.origin + y * window.row..][..window.width * window.channels];
            if live == window.pixel && live == 2 * window.channels {
                round_pairs(row, to);
                continue;
            }
            for (pixel, to) in row.chunks_exact(window.pixel).zip(to.chunks_exact_mut(window.channels)) {
                round_pairs(&pixel[first..first + live], to);
            }
        }
    }
}

/// A copy that need not call the library for the usual width of a slice.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    match (<&[f32; 32]>::try_from(from), <&mut [f32; 32]>::try_from(&mut *to)) {
        (Ok(from), Ok(to)) => *to = *from,
        _ => to.copy_from_slice(from),
    }
}
