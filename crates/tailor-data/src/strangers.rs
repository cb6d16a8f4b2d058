//! Images of things that no model of clothing has learned, drawn here, to see whether a model notices.

use std::fmt;

use crate::augment::Augmentation;
use crate::augment::Pipeline;
use crate::augment::noise;
use crate::dataset::{Dataset, ImageShape};
use crate::error::Result;
use crate::random::{Generator, Turn};

/// A kind of drawn images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// Handwriting-like digits, bright on dark, drawn from strokes of random width that are turned, slanted and bent. They stand for
    /// MNIST where it is missing.
    Digits,
    /// Every value is as likely as any other, and has nothing to do with its neighbors.
    UniformNoise,
    /// Normally distributed values about gray, a quarter of the range wide.
    GaussianNoise,
    /// Discs of all sizes and colors that hide each other: as full of edges and surfaces as photographs, such as CIFAR's (dead
    /// leaves; Lee, Mumford and Huang 2001, "Occlusion models for natural images").
    Textures,
    /// Nothing but one color.
    Blank,
}

impl Strangers {
    /// All kinds.
    pub const ALL: [Strangers; 5] = [
        Strangers::Digits,
        Strangers::UniformNoise,
        Strangers::GaussianNoise,
        Strangers::Textures,
        Strangers::Blank,
    ];

    /// So many images of this kind and shape; each is a function of the seed and its position.
    ///
    /// # Errors
    /// The shape is impossible.
    pub fn draw(self, images: usize, shape: ImageShape, seed: u64) -> Result<Dataset> {
        shape.check()?;
        let bends = Pipeline::new(&BENDS, shape)?;
        let mut pixels = vec![0; images * shape.len()];
        for (index, image) in pixels.chunks_exact_mut(shape.len()).enumerate() {
            let turn = Turn { seed, epoch: self as u64, index };
            let mut generator = turn.generator();
            match self {
                Strangers::UniformNoise => generator.fill(image),
                Strangers::GaussianNoise => {
                    image.fill(128);
                    noise::add(image, 0.25, &mut generator);
                }
                Strangers::Blank => {
                    let color = color(shape, &mut generator);
                    fill(image, shape, |_, _| Some(color));
                }
                Strangers::Textures => dead_leaves(image, shape, &mut generator),
                Strangers::Digits => {
                    let mut upright = vec![0; image.len()];
                    digit(&mut upright, shape, index % DIGITS.len(), generator.between(0.035, 0.075));
                    bends.apply(&upright, &turn, image);
                }
            }
        }
        Dataset::new(shape, pixels, vec![0; images], vec![self.to_string()])
    }
}

impl fmt::Display for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strangers::Digits => "drawn digits",
            Strangers::UniformNoise => "uniform noise",
            Strangers::GaussianNoise => "Gaussian noise",
            Strangers::Textures => "textures",
            Strangers::Blank => "blank images",
        })
    }
}

/// How digits are bent, as hands do.
const BENDS: [Augmentation; 4] = [
    Augmentation::Rotate { degrees: 12.0 },
    Augmentation::Shear { degrees: 15.0 },
    Augmentation::Zoom { fraction: 0.12 },
    Augmentation::Shift { fraction: 0.04 },
];

/// The strokes of 0 to 9, as points (right, down) of a square of side 1.
const DIGITS: [&[&[[f32; 2]]]; 10] = [
    &[&[
        [0.5, 0.16],
        [0.34, 0.24],
        [0.29, 0.5],
        [0.34, 0.76],
        [0.5, 0.84],
        [0.66, 0.76],
        [0.71, 0.5],
        [0.66, 0.24],
        [0.5, 0.16],
    ]],
    &[&[[0.38, 0.28], [0.52, 0.16], [0.52, 0.84]]],
    &[&[[0.31, 0.3], [0.4, 0.18], [0.57, 0.16], [0.68, 0.28], [0.63, 0.45], [0.3, 0.82], [0.71, 0.82]]],
    &[&[
        [0.32, 0.2],
        [0.55, 0.16],
        [0.67, 0.28],
        [0.6, 0.43],
        [0.46, 0.48],
        [0.63, 0.54],
        [0.7, 0.68],
        [0.56, 0.83],
        [0.31, 0.8],
    ]],
    &[&[[0.58, 0.84], [0.58, 0.16], [0.27, 0.62], [0.73, 0.62]]],
    &[&[
        [0.67, 0.17],
        [0.36, 0.17],
        [0.34, 0.45],
        [0.55, 0.43],
        [0.69, 0.57],
        [0.66, 0.75],
        [0.5, 0.84],
        [0.31, 0.79],
    ]],
    &[&[
        [0.63, 0.17],
        [0.43, 0.33],
        [0.32, 0.6],
        [0.37, 0.78],
        [0.53, 0.84],
        [0.67, 0.73],
        [0.64, 0.56],
        [0.48, 0.51],
        [0.34, 0.62],
    ]],
    &[&[[0.3, 0.18], [0.7, 0.18], [0.45, 0.84]], &[[0.38, 0.5], [0.66, 0.5]]],
    &[&[
        [0.5, 0.48],
        [0.35, 0.36],
        [0.37, 0.22],
        [0.5, 0.16],
        [0.63, 0.22],
        [0.65, 0.36],
        [0.5, 0.48],
        [0.32, 0.63],
        [0.36, 0.79],
        [0.5, 0.84],
        [0.64, 0.79],
        [0.68, 0.63],
        [0.5, 0.48],
    ]],
    &[&[
        [0.66, 0.38],
        [0.5, 0.49],
        [0.36, 0.42],
        [0.35, 0.26],
        [0.48, 0.16],
        [0.63, 0.22],
        [0.66, 0.38],
        [0.6, 0.84],
    ]],
];

/// Draws a digit; `width` is half of a stroke's, of a side of 1.
fn digit(image: &mut [u8], shape: ImageShape, digit: usize, width: f32) {
    let edge = 1.0 / shape.height.min(shape.width) as f32;
    fill(image, shape, |x, y| {
        let segments = DIGITS[digit].iter().flat_map(|stroke| stroke.windows(2));
        let distance = segments.map(|ends| to_segment([x, y], ends[0], ends[1])).fold(f32::MAX, f32::min);
        // White within, falling to black over a pixel.
        let white = ((width - distance) / edge + 0.5).clamp(0.0, 1.0);
        Some([(255.0 * white) as u8; 3])
    });
}

/// The distance of a point from a line between two others.
fn to_segment(point: [f32; 2], from: [f32; 2], to: [f32; 2]) -> f32 {
    let along = [to[0] - from[0], to[1] - from[1]];
    let away = [point[0] - from[0], point[1] - from[1]];
    let part = (along[0] * away[0] + along[1] * away[1]) / (along[0] * along[0] + along[1] * along[1]);
    let part = part.clamp(0.0, 1.0);
    (away[0] - part * along[0]).hypot(away[1] - part * along[1])
}

/// Discs whose number falls with the cube of their radius, the later ones above the earlier ones.
fn dead_leaves(image: &mut [u8], shape: ImageShape, generator: &mut Generator) {
    const LEAVES: usize = 150;
    const SMALLEST: f32 = 0.04;
    const LARGEST: f32 = 0.5;
    let ground = color(shape, generator);
    fill(image, shape, |_, _| Some(ground));
    for _ in 0..LEAVES {
        let (x, y) = (generator.unit(), generator.unit());
        // By the inverse of the distribution of a density ~ r⁻³.
        let [small, large] = [SMALLEST, LARGEST].map(|radius: f32| radius.powi(-2));
        let radius = (small + (large - small) * generator.unit()).powf(-0.5);
        let leaf = color(shape, generator);
        fill(image, shape, |px, py| ((px - x).hypot(py - y) < radius).then_some(leaf));
    }
}

/// A gray value for gray images, any color for others.
fn color(shape: ImageShape, generator: &mut Generator) -> [u8; 3] {
    let mut color = [0; 3];
    generator.fill(&mut color);
    if shape.channels == 1 { [color[0]; 3] } else { color }
}

/// Sets the pixels for which there is a color, given their centers (right, down) in a square of side 1.
fn fill(image: &mut [u8], shape: ImageShape, mut color: impl FnMut(f32, f32) -> Option<[u8; 3]>) {
    for (i, pixel) in image.chunks_exact_mut(shape.channels).enumerate() {
        let center = |at: usize, side: usize| (at as f32 + 0.5) / side as f32;
        let (x, y) = (center(i % shape.width, shape.width), center(i / shape.width, shape.height));
        if let Some(color) = color(x, y) {
            pixel.copy_from_slice(&color[..shape.channels]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape::new(28, 28, 1);

    #[test]
    fn the_seed_and_the_position_decide() {
        for kind in Strangers::ALL {
            let few = kind.draw(20, SHAPE, 3).unwrap();
            let many = kind.draw(40, SHAPE, 3).unwrap();
            let other = kind.draw(20, SHAPE, 4).unwrap();
            assert!((0..20).all(|i| few.image(i) == many.image(i)), "{kind}");
            assert!((0..20).any(|i| few.image(i) != other.image(i)), "{kind}");
            assert!((1..20).any(|i| few.image(i) != few.image(0)), "{kind}");
        }
    }

    #[test]
    fn each_kind_is_what_it_says() {
        let values = |kind: Strangers, shape| {
            let images = kind.draw(50, shape, 1).unwrap();
            (0..50).map(|i| images.image(i).to_vec()).collect::<Vec<_>>()
        };
        let mean = |image: &[u8]| image.iter().map(|&v| f64::from(v)).sum::<f64>() / image.len() as f64;
        assert!(values(Strangers::Blank, SHAPE).iter().all(|image| image.iter().all(|v| *v == image[0])));
        for image in values(Strangers::Digits, SHAPE) {
            assert!((10.0..80.0).contains(&mean(&image)), "a few bright strokes: {}", mean(&image));
            let dark = image[..28].iter().chain(&image[27 * 28..]).filter(|&&v| v < 128).count();
            assert!(image.iter().any(|&v| v > 180) && dark > 50, "inside, on black: {dark} of 56");
        }
        let uniform = values(Strangers::UniformNoise, SHAPE).concat();
        assert!((mean(&uniform) - 127.5).abs() < 2.0);
        let gray = values(Strangers::GaussianNoise, SHAPE).concat();
        let deviation =
            (gray.iter().map(|&v| (f64::from(v) - 128.0).powi(2)).sum::<f64>() / gray.len() as f64).sqrt();
        assert!((deviation - 62.0).abs() < 3.0, "64, less what is cut off: {deviation}");
        // Neighbors mostly have the same color, but not all have.
        for image in values(Strangers::Textures, ImageShape::new(32, 32, 3)) {
            let pixels = image.as_chunks::<3>().0;
            let same = pixels.windows(2).filter(|pair| pair[0] == pair[1]).count();
            assert!((300..1000).contains(&same), "{same} of 1023");
        }
    }
}
