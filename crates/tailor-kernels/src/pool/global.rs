//! The average over whole images.

use super::split_images;
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::{Isa, Kernel, Simd, unrolled};

/// Pixels that are summed up before a sum goes back to memory.
const PIXELS: usize = 4;

/// The mean over each image: `y[n, c] = mean of x[n, :, :, c]`, `x` being `[N, H, W, C]`.
pub fn global_average(shape: [usize; 4], x: &[f32], y: &mut [f32]) {
    let [_, h, w, c] = shape;
    let len = h * w * c;
    check(shape, x.len(), y.len());
    let (isa, x, y) = (Isa::current(), ConstPointer::new(x), MutPointer::new(y));
    split_images(shape, |images| {
        for image in images {
            // SAFETY: the image is one of `n`, and its outputs belong to this thread.
            let (x, y) =
                unsafe { (std::slice::from_raw_parts(x.at(image * len), len), y.slice(image * c, c)) };
            isa.run(Mean { x, y });
        }
    });
}

/// The gradient of [`global_average`], overwritten.
pub fn global_average_backward(shape: [usize; 4], dy: &[f32], dx: &mut [f32]) {
    let [_, h, w, c] = shape;
    let len = h * w * c;
    check(shape, dx.len(), dy.len());
    let (isa, dx) = (Isa::current(), MutPointer::new(dx));
    split_images(shape, |images| {
        for image in images {
            // SAFETY: each image belongs to one thread.
            let dx = unsafe { dx.slice(image * len, len) };
            isa.run(Spread { dy: &dy[image * c..(image + 1) * c], dx });
        }
    });
}

fn check(shape: [usize; 4], images: usize, means: usize) {
    let [n, h, w, c] = shape;
    assert_eq!(images, n * h * w * c, "images are {shape:?}");
    assert_eq!(means, n * c, "there is one value an image and channel of {shape:?}");
}

/// `y[c] = mean of x[:, c]`
struct Mean<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, y } = self;
        let channels = y.len();
        let pixels = x.len() / channels;
        let share = s.splat(1. / pixels as f32);
        y.fill(0.);
        for first in (0..pixels).step_by(PIXELS) {
            for c in (0..channels).step_by(S::LANES) {
                let live = (channels - c).min(S::LANES);
                // SAFETY: pixels and live channels lie in the image.
                unsafe {
                    let to = y.as_mut_ptr().add(c);
                    let mut sum = s.load_n(to, live);
                    unrolled!(pixel < PIXELS, {
                        if first + pixel < pixels {
                            sum = s.add(sum, s.load_n(x.as_ptr().add((first + pixel) * channels + c), live));
                        }
                    });
                    let last = first + PIXELS >= pixels;
                    s.store_n(to, live, if last { s.mul(sum, share) } else { sum });
                }
            }
        }
    }
}

/// `dx[:, c] = dy[c] / pixels`
struct Spread<'a> {
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { dy, dx } = self;
        let channels = dy.len();
        let pixels = dx.len() / channels;
        let share = s.splat(1. / pixels as f32);
        for pixel in dx.chunks_exact_mut(channels) {
            for c in (0..channels).step_by(S::LANES) {
                let live = (channels - c).min(S::LANES);
                // SAFETY: live channels lie in the pixel and in `dy`.
                unsafe {
                    s.store_n(
                        pixel.as_mut_ptr().add(c),
                        live,
                        s.mul(share, s.load_n(dy.as_ptr().add(c), live)),
                    );
                }
            }
        }
    }
}
