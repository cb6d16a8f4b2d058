//! Copies of images with zeros around them, and of some of their channels only: what kernels read where the
//! convolution is padded or its channels come in groups or slices.

use super::Convolution;

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

/// A copy that need not call the library for the usual width of a slice.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    match (<&[f32; 32]>::try_from(from), <&mut [f32; 32]>::try_from(&mut *to)) {
        (Ok(from), Ok(to)) => *to = *from,
        _ => to.copy_from_slice(from),
    }
}
