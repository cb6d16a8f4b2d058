//! Excitation: the scaling of each channel of an image by a number of its own, as squeeze-and-excitation blocks do (Hu, Shen & Sun 2018,
//! arXiv:1709.01507). Their squeeze is [`crate::pool::global_average`].

use crate::pointer::MutPointer;
use crate::pool::split_images;
use crate::simd::{Isa, Kernel, Simd, unrolled};

/// Pixels that are summed up before a sum goes back to memory.
const PIXELS: usize = 4;

/// `y[n, h, w, c] = x[n, h, w, c] · s[n, c]`
pub fn excite(shape: [usize; 4], x: &[f32], s: &[f32], y: &mut [f32]) {
    let [_, h, w, c] = shape;
    let len = h * w * c;
    check(shape, x.len(), s.len());
    assert_eq!(y.len(), x.len(), "x and y have the same length");
    let (isa, y) = (Isa::current(), MutPointer::new(y));
    split_images(shape, |images| {
        for image in images {
            // SAFETY: each image belongs to one thread.
            let y = unsafe { y.slice(image * len, len) };
            let (x, s) = (&x[image * len..(image + 1) * len], &s[image * c..(image + 1) * c]);
            isa.run(Scale { x, s, y });
        }
    });
}

/// Operands of [`excite_backward`].
#[derive(Debug)]
pub struct ExciteGradient<'a> {
    /// The forward pass's input, `[N, H, W, C]`.
    pub x: &'a [f32],
    /// Its factors, `[N, C]`.
    pub s: &'a [f32],
    /// The loss's gradient with respect to the output.
    pub dy: &'a [f32],
    /// Where the gradient with respect to `x` goes; overwritten, as is the other.
    pub dx: &'a mut [f32],
    /// Where the gradient with respect to the factors goes.
    pub ds: &'a mut [f32],
}

/// The gradients of [`excite`], in one pass.
pub fn excite_backward(shape: [usize; 4], gradient: ExciteGradient) {
    let [_, h, w, c] = shape;
    let len = h * w * c;
    let ExciteGradient { x, s, dy, dx, ds } = gradient;
    check(shape, x.len(), s.len());
    check(shape, dx.len(), ds.len());
    assert_eq!(dy.len(), x.len(), "x and dy have the same length");
    let (isa, dx, ds) = (Isa::current(), MutPointer::new(dx), MutPointer::new(ds));
    split_images(shape, |images| {
        for image in images {
            // SAFETY: each image belongs to one thread.
            let (dx, ds) = unsafe { (dx.slice(image * len, len), ds.slice(image * c, c)) };
            let of_image = image * len..(image + 1) * len;
            let s = &s[image * c..(image + 1) * c];
            isa.run(ScaleGradient { x: &x[of_image.clone()], s, dy: &dy[of_image], dx, ds });
        }
    });
}

fn check(shape: [usize; 4], images: usize, means: usize) {
    let [n, h, w, c] = shape;
    assert_eq!(images, n * h * w * c, "images are {shape:?}");
    assert_eq!(means, n * c, "there is one factor an image and channel of {shape:?}");
}

/// `y[:, c] = x[:, c] · s[c]`
struct Scale<'a> {
    x: &'a [f32],
    s: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.s.len();
        for (x, y) in self.x.chunks_exact(channels).zip(self.y.chunks_exact_mut(channels)) {
            for c in (0..channels).step_by(S::LANES) {
                let live = (channels - c).min(S::LANES);
                // SAFETY: live channels lie in both pixels and in `s`.
                unsafe {
                    let factor = s.load_n(self.s.as_ptr().add(c), live);
                    s.store_n(y.as_mut_ptr().add(c), live, s.mul(factor, s.load_n(x.as_ptr().add(c), live)));
                }
            }
        }
    }
}

/// `dx[:, c] = dy[:, c] · s[c]` and `ds[c] = Σ dy[:, c] · x[:, c]`.
struct ScaleGradient<'a> {
    x: &'a [f32],
    s: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    ds: &'a mut [f32],
}

impl Kernel for ScaleGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, dy, dx, ds, .. } = self;
        let channels = ds.len();
        let pixels = dx.len() / channels;
        assert!(x.len() == dx.len() && dy.len() == dx.len() && self.s.len() == channels);
        ds.fill(0.);
        for first in (0..pixels).step_by(PIXELS) {
            for c in (0..channels).step_by(S::LANES) {
                let live = (channels - c).min(S::LANES);
                // SAFETY: pixels and live channels lie in the image, and live channels in `s` and `ds`.
                unsafe {
                    let factor = s.load_n(self.s.as_ptr().add(c), live);
                    let mut sum = s.load_n(ds.as_ptr().add(c), live);
                    unrolled!(pixel < PIXELS, {
                        if first + pixel < pixels {
                            let at = (first + pixel) * channels + c;
                            let dy = s.load_n(dy.as_ptr().add(at), live);
                            sum = s.fma(dy, s.load_n(x.as_ptr().add(at), live), sum);
                            s.store_n(dx.as_mut_ptr().add(at), live, s.mul(dy, factor));
                        }
                    });
                    s.store_n(ds.as_mut_ptr().add(c), live, sum);
                }
            }
        }
    }
}
