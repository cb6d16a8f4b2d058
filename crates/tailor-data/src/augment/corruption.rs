//! Images made worse in known ways and strengths, to see what a model bears (in the manner of Hendrycks and Dietterich 2019,
//! "Benchmarking neural network robustness to common corruptions and perturbations").

use std::fmt;

use rayon::prelude::*;

use super::color::ColorChange;
use super::elastic::gaussian;
use super::geometry::{Geometry, Map};
use super::noise;
use super::pipeline::{corner_color, resample};
use super::pixels::Rectangle;
use super::projective::Projective;
use crate::dataset::{Dataset, ImageShape};
use crate::error::Result;
use crate::random::{Generator, Turn};

/// A way to make images worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// A Gaussian blur.
    Blur,
    /// Normally distributed noise on every value.
    Noise,
    /// A turn about the center, to either side.
    Rotation,
    /// A movement in any direction.
    Shift,
    /// Less contrast, about the image's mean.
    Contrast,
    /// A square of the color of the image's corners, anywhere.
    Occlusion,
    /// The brighter part negated; at the last strength everything.
    Inversion,
}

/// Strengths of each corruption, counted from 1.
pub const STRENGTHS: usize = 5;

impl Corruption {
    /// All of them.
    pub const ALL: [Corruption; 7] = [
        Corruption::Blur,
        Corruption::Noise,
        Corruption::Rotation,
        Corruption::Shift,
        Corruption::Contrast,
        Corruption::Occlusion,
        Corruption::Inversion,
    ];

    /// What the strengths mean, in words.
    pub fn scale(self) -> &'static str {
        match self {
            Corruption::Blur => "deviation of the blur, of the image's shorter side",
            Corruption::Noise => "deviation of the noise, of the range of values",
            Corruption::Rotation => "angle in degrees",
            Corruption::Shift => "distance, of the image's shorter side",
            Corruption::Contrast => "contrast that is left",
            Corruption::Occlusion => "covered part of the image's area",
            Corruption::Inversion => "value from which on all are negated, of the range",
        }
    }

    /// The value of a strength, 1 to 5; see [`scale`](Self::scale).
    ///
    /// # Panics
    /// If there is no such strength.
    pub fn value(self, strength: usize) -> f64 {
        let values = match self {
            Corruption::Blur => [0.02, 0.035, 0.05, 0.075, 0.10],
            Corruption::Noise => [0.04, 0.08, 0.14, 0.22, 0.32],
            Corruption::Rotation => [7.0, 15.0, 25.0, 40.0, 60.0],
            Corruption::Shift => [0.05, 0.10, 0.15, 0.20, 0.28],
            Corruption::Contrast => [0.7, 0.5, 0.33, 0.2, 0.1],
            Corruption::Occlusion => [0.04, 0.09, 0.16, 0.25, 0.36],
            Corruption::Inversion => [0.9, 0.75, 0.6, 0.4, 0.0],
        };
        values[strength - 1]
    }

    /// All images of a data set, made worse at a strength of 1 to 5. Each is a function of the seed and its position.
    ///
    /// # Errors
    /// None that the data set had not had before.
    ///
    /// # Panics
    /// If there is no such strength.
    pub fn apply(self, images: &Dataset, strength: usize, seed: u64) -> Result<Dataset> {
        let (shape, value) = (images.shape(), self.value(strength));
        let mut pixels = vec![0; images.len() * shape.len()];
        pixels.par_chunks_exact_mut(shape.len()).enumerate().for_each(|(index, out)| {
            // The same direction and place at every strength: only the strength differs.
            let mut generator = Turn { seed, epoch: self as u64, index }.generator();
            self.change(&images.image(index), shape, value, &mut generator, out);
        });
        let labels = (0..images.len()).map(|i| images.label(i) as u16).collect();
        Dataset::new(shape, pixels, labels, images.class_names().to_vec())
    }

    fn change(self, image: &[u8], shape: ImageShape, value: f64, generator: &mut Generator, out: &mut [u8]) {
        let side = shape.height.min(shape.width) as f64;
        let moved = |map: Projective, out: &mut [u8]| {
            let mut geometry = Geometry::new(shape, shape);
            geometry.push(Map::Projective(map));
            resample(geometry, image, out);
        };
        match self {
            Corruption::Rotation => {
                let direction = if generator.chance(0.5) { 1.0 } else { -1.0 };
                return moved(Projective::rotation(direction * value), out);
            }
            Corruption::Shift => {
                let direction = f64::from(generator.unit()) * std::f64::consts::TAU;
                let [right, down] = [direction.cos(), direction.sin()].map(|part| part * value * side);
                return moved(Projective::translation(right, down), out);
            }
            Corruption::Blur => return blur(image, shape, (value * side) as f32, out),
            _ => out.copy_from_slice(image),
        }
        match self {
            Corruption::Noise => noise::add(out, value as f32, generator),
            Corruption::Contrast => ColorChange::Contrast(value as f32).apply(out, shape),
            Corruption::Inversion => ColorChange::Solarize((255.0 * value).round() as u16).apply(out, shape),
            _ => {
                let size = |side: usize| ((value.sqrt() * side as f64).round() as usize).clamp(1, side);
                let [height, width] = [size(shape.height), size(shape.width)];
                let top = generator.below((shape.height - height) as u32 + 1) as usize;
                let left = generator.below((shape.width - width) as u32 + 1) as usize;
                let color = corner_color(image, shape);
                for row in (Rectangle { top, left, height, width }).rows(out, shape) {
                    for pixel in row.chunks_exact_mut(shape.channels) {
                        pixel.copy_from_slice(&color[..shape.channels]);
                    }
                }
            }
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Corruption::Blur => "blur",
            Corruption::Noise => "noise",
            Corruption::Rotation => "rotation",
            Corruption::Shift => "shift",
            Corruption::Contrast => "contrast",
            Corruption::Occlusion => "occlusion",
            Corruption::Inversion => "inversion",
        })
    }
}

/// A Gaussian of a deviation in pixels over rows, then columns; beyond the edges the outermost pixels go on.
fn blur(image: &[u8], shape: ImageShape, deviation: f32, out: &mut [u8]) {
    let ImageShape { height, width, channels } = shape;
    let weights = gaussian(deviation);
    let reach = weights.len() / 2;
    let near = |at: usize, tap: usize, side: usize| (at + tap).saturating_sub(reach).min(side - 1);
    let mut rows = vec![0.0; image.len()];
    for (i, sum) in rows.iter_mut().enumerate() {
        let (channel, x, y) = (i % channels, i / channels % width, i / channels / width);
        let value = |tap: usize| f32::from(image[(y * width + near(x, tap, width)) * channels + channel]);
        *sum = weights.iter().enumerate().map(|(tap, weight)| weight * value(tap)).sum();
    }
    let stride = width * channels;
    for (i, out) in out.iter_mut().enumerate() {
        let (column, y) = (i % stride, i / stride);
        let value = |tap: usize| rows[near(y, tap, height) * stride + column];
        // `as` saturates.
        *out = (weights.iter().enumerate().map(|(tap, weight)| weight * value(tap)).sum::<f32>() + 0.5) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image with a bright block off its center, twice.
    fn images(channels: usize) -> Dataset {
        let shape = ImageShape::new(28, 28, channels);
        let block = |i: usize| {
            let (x, y) = (i / channels % 28, i / channels / 28);
            if (8..18).contains(&x) && (6..20).contains(&y) { 180 } else { 10 }
        };
        let pixels: Vec<u8> = (0..2 * shape.len()).map(|i| block(i % shape.len())).collect();
        Dataset::new(shape, pixels, vec![0, 1], vec!["a".into(), "b".into()]).unwrap()
    }

    fn distance(a: &[u8], b: &[u8]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>()
    }

    #[test]
    fn stronger_is_further_from_the_image_and_the_seed_decides() {
        for channels in [1, 3] {
            let images = images(channels);
            for corruption in Corruption::ALL {
                let at = |strength, seed| corruption.apply(&images, strength, seed).unwrap();
                let mut last = 0.0;
                for strength in 1..=STRENGTHS {
                    let changed = at(strength, 7);
                    assert_eq!((changed.label(1), changed.len()), (1, 2));
                    let now = distance(&changed.image(0), &images.image(0));
                    // A square may cover what a larger one elsewhere does not.
                    assert!(now >= last || corruption == Corruption::Occlusion, "{corruption} {strength}");
                    last = now;
                    assert_eq!(changed.image(0), at(strength, 7).image(0));
                }
                assert!(last > 0.0, "{corruption}");
                let is_random =
                    !matches!(corruption, Corruption::Blur | Corruption::Contrast | Corruption::Inversion);
                let others = (1..20).map(|seed| at(5, seed));
                assert_eq!(others.into_iter().any(|other| other.image(0) != at(5, 0).image(0)), is_random);
                let by_position = (0..20).any(|seed| at(5, seed).image(0) != at(5, seed).image(1));
                assert_eq!(by_position, is_random, "{corruption}");
            }
        }
    }

    #[test]
    fn each_does_what_it_says() {
        let images = images(1);
        let image = images.image(0).to_vec();
        let at = |corruption: Corruption, strength| {
            corruption.apply(&images, strength, 3).unwrap().image(0).to_vec()
        };
        assert!(at(Corruption::Inversion, 5).iter().zip(&image).all(|(a, b)| *a == 255 - b));
        assert_eq!(at(Corruption::Inversion, 1), image, "nothing is brighter than 0.9");
        let mean = image.iter().map(|&v| f64::from(v)).sum::<f64>() / 784.0;
        for (&a, &b) in at(Corruption::Contrast, 2).iter().zip(&image) {
            assert!((f64::from(a) - mean - 0.5 * (f64::from(b) - mean)).abs() <= 1.0);
        }
        let covered = at(Corruption::Occlusion, 5);
        assert!(covered.iter().all(|&v| v == 10 || v == 180));
        let light = |image: &[u8]| image.iter().map(|&v| u64::from(v)).sum::<u64>() as f64;
        let blurred = at(Corruption::Blur, 4);
        assert!((light(&blurred) / light(&image) - 1.0).abs() < 0.01, "blur moves light, it takes none");
        assert!(blurred[13 * 28 + 8] < 150 && blurred[13 * 28 + 8] > 60, "an edge is soft");
    }

    #[test]
    fn a_blur_by_hand() {
        // One bright pixel of five, blurred by e^(-x²/2): .399, .242, .054, .004 of it, the rows of one pixel stay.
        let mut out = [0; 5];
        blur(&[0, 0, 250, 0, 0], ImageShape::new(1, 5, 1), 1.0, &mut out);
        assert_eq!(out, [14, 61, 100, 61, 14], "{out:?}");
    }
}
