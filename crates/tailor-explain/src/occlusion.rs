//! What is lost when a part of the image is covered.

use tailor_data::ImageShape;

use crate::Heat;

/// The patch that covers, and how far it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Height and width in pixels.
    pub size: usize,
    /// Pixels from one place to the next.
    pub stride: usize,
}

impl Patch {
    /// A fifth of the shorter side, moved by half of itself.
    pub fn for_images_of(shape: ImageShape) -> Self {
        let size = (shape.height.min(shape.width) / 5).max(1);
        Patch { size, stride: (size / 2).max(1) }
    }

    /// Where it starts along one axis; the last place ends at the border.
    fn starts(self, extent: usize) -> Vec<usize> {
        let last = extent - self.size;
        (0..last).step_by(self.stride).chain([last]).collect()
    }
}

/// For each pixel, by how much `ln p` of the class falls when a patch lies over it, averaged over the patches that do
/// (Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2, who map p itself; its logarithm does not saturate). Any
/// classifier will do.
///
/// `logits` gives `[N, K]` for images `[N, H, W, C]`; `cover` is the color of the patch, `[C]`.
///
/// # Panics
/// If image and cover are not of the shape, or the patch does not fit.
pub fn occlusion(
    logits: impl Fn(&[u8]) -> Vec<f32>,
    image: &[u8],
    shape: ImageShape,
    class: usize,
    patch: Patch,
    cover: &[u8],
) -> Heat {
    let ImageShape { height, width, channels } = shape;
    assert!(image.len() == shape.len() && cover.len() == channels, "an image and a color of {shape}");
    let (rows, columns) = (patch.starts(height), patch.starts(width));
    let places: Vec<(usize, usize)> =
        rows.iter().flat_map(|&row| columns.iter().map(move |&column| (row, column))).collect();
    let mut images = image.to_vec();
    for &(top, left) in &places {
        let mut covered = image.to_vec();
        for row in top..top + patch.size {
            let line = &mut covered[(row * width + left) * channels..][..patch.size * channels];
            line.chunks_exact_mut(channels).for_each(|pixel| pixel.copy_from_slice(cover));
        }
        images.extend(covered);
    }
    let logits = logits(&images);
    let classes = logits.len() / (places.len() + 1);
    let mut log_probabilities = logits.chunks_exact(classes).map(|logits| log_softmax(logits, class));
    let whole = log_probabilities.next().expect("the image itself comes first");
    let (mut falls, mut patches) = (vec![0.0f64; height * width], vec![0u32; height * width]);
    for (&(top, left), covered) in places.iter().zip(log_probabilities) {
        for row in top..top + patch.size {
            for pixel in row * width + left..row * width + left + patch.size {
                falls[pixel] += whole - covered;
                patches[pixel] += 1;
            }
        }
    }
    // With a stride up to the size, every pixel is covered by a patch at least.
    let mean = |(fall, patches): (f64, u32)| (fall / f64::from(patches.max(1))) as f32;
    Heat::new(height, width, falls.into_iter().zip(patches).map(mean).collect())
}

/// `ln p` of one class.
fn log_softmax(logits: &[f32], class: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    f64::from(logits[class] - largest) - sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pixel_that_decides_is_found() {
        // Class 1 is as likely as the pixel at (1, 2) is bright.
        let shape = ImageShape::new(3, 4, 1);
        let logits = |images: &[u8]| {
            images.chunks(12).flat_map(|image| [0.0, f32::from(image[6]) / 10.0]).collect::<Vec<f32>>()
        };
        let mut image = vec![0; 12];
        image[6] = 100;
        let heat = occlusion(logits, &image, shape, 1, Patch { size: 1, stride: 1 }, &[0]);
        // Without it both classes are equally likely: the fall is ln σ(10) − ln ½.
        let fall = -(1.0 + (-10.0f64).exp()).ln() + 2.0f64.ln();
        for (pixel, &value) in heat.values().iter().enumerate() {
            let expected = if pixel == 6 { fall } else { 0.0 };
            assert!((f64::from(value) - expected).abs() < 1e-6, "{pixel}: {value}");
        }
        // Against class 0 the same pixel speaks.
        let against = occlusion(logits, &image, shape, 0, Patch { size: 1, stride: 1 }, &[0]);
        assert!(against.values()[6] < -9.0);
        // A patch of two lies over (1, 2) in four places, over a neighbor of it in half of its own.
        let coarse = occlusion(logits, &image, shape, 1, Patch { size: 2, stride: 1 }, &[0]);
        assert!((f64::from(coarse.values()[6]) - fall).abs() < 1e-6);
        assert!((f64::from(coarse.values()[5]) - fall / 2.0).abs() < 1e-6);
    }

    #[test]
    fn patches_reach_every_border() {
        let patch = Patch::for_images_of(ImageShape::new(28, 28, 1));
        assert_eq!(patch, Patch { size: 5, stride: 2 });
        assert_eq!(Patch { size: 3, stride: 2 }.starts(8), [0, 2, 4, 5]);
        assert_eq!(Patch { size: 4, stride: 2 }.starts(4), [0]);
    }
}
