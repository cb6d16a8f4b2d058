//! Augmentations one after the other: on one image at a time, then on the batch.

use super::Augmentation;
use super::affine::{self, Affine};
use super::mix::{Mix, Mixing, mix};
use super::pixels::{self, Rectangle};
use crate::dataset::ImageShape;
use crate::error::{Error, Result};
use crate::random::{Generator, Turn};

/// Checked augmentations for images of one shape.
///
/// Geometric steps that follow each other become one map, and the image is interpolated (bilinearly) once,
/// however many they are. What comes into view from outside has the color of the image's corners, more
/// exactly the mean of the two middle ones of the four, per channel: black around a garment of Fashion-MNIST,
/// white around a product photograph. (Repeating the edge pixels, as some libraries do, would lengthen every
/// garment that touches the border, and in Fashion-MNIST each one does.)
#[derive(Clone, Debug)]
pub struct Pipeline {
    shape: ImageShape,
    stages: Vec<Stage>,
    /// After all stages, on the batch.
    mixing: Vec<Mixing>,
}

/// What is done in one pass over the pixels.
#[derive(Clone, Debug)]
enum Stage {
    Geometric(Vec<Augmentation>),
    Pixels(Augmentation),
}

impl Pipeline {
    /// A pipeline for images of `shape`.
    ///
    /// # Errors
    /// [`Error::Augmentation`] for the first one with a value that is impossible, or too large for the shape.
    pub fn new(augmentations: &[Augmentation], shape: ImageShape) -> Result<Pipeline> {
        shape.check()?;
        let mut stages = Vec::new();
        let mut mixing = Vec::new();
        for augmentation in augmentations {
            augmentation.check()?;
            check_fit(augmentation, shape)?;
            let step = augmentation.clone();
            match *augmentation {
                Augmentation::Rotate { .. }
                | Augmentation::Shift { .. }
                | Augmentation::Zoom { .. }
                | Augmentation::Shear { .. }
                | Augmentation::HorizontalFlip { .. }
                | Augmentation::AlternatingFlip => match stages.last_mut() {
                    Some(Stage::Geometric(steps)) => steps.push(step),
                    _ => stages.push(Stage::Geometric(vec![step])),
                },
                Augmentation::PadCrop { .. }
                | Augmentation::Brightness { .. }
                | Augmentation::RandomErasing { .. }
                | Augmentation::Cutout { .. } => stages.push(Stage::Pixels(step)),
                Augmentation::Mixup { alpha, probability } => {
                    mixing.push(Mixing::Mixup { alpha, probability });
                }
                Augmentation::Cutmix { alpha, probability } => {
                    mixing.push(Mixing::Cutmix { alpha, probability });
                }
            }
        }
        Ok(Pipeline { shape, stages, mixing })
    }

    /// The shape of the images.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Changes one image `[H, W, C]` in the way that its turn decides. Mixing is left to [`mix`](Self::mix).
    ///
    /// # Panics
    /// If the lengths of `image` and `out` are not that of the shape.
    pub fn apply(&self, image: &[u8], turn: &Turn, out: &mut [u8]) {
        assert_eq!(image.len(), self.shape.len(), "an image of {}", self.shape);
        out.copy_from_slice(image);
        let mut generator = turn.generator();
        let mut memory = Vec::new();
        for stage in &self.stages {
            match stage {
                Stage::Geometric(steps) => {
                    let map = steps.iter().fold(Affine::IDENTITY, |map, step| {
                        map.then(&self.geometric(step, turn, &mut generator))
                    });
                    if map == Affine::FLIP {
                        pixels::mirror(out, self.shape);
                    } else if map != Affine::IDENTITY {
                        let fill = corner_color(out, self.shape);
                        affine::warp(out, self.shape, &map, &fill[..self.shape.channels], &mut memory);
                    }
                }
                Stage::Pixels(step) => self.change_pixels(step, out, &mut generator, &mut memory),
            }
        }
    }

    /// Mixes the images `[N, H, W, C]` of a normalized batch with each other, if the augmentations say so.
    pub(crate) fn mix(&self, images: &mut [f32], labels: &[u16], generator: &mut Generator) -> Option<Mix> {
        mix(&self.mixing, images, labels, self.shape, generator)
    }

    /// Draws a geometric step's random numbers.
    fn geometric(&self, step: &Augmentation, turn: &Turn, generator: &mut Generator) -> Affine {
        let ImageShape { height, width, .. } = self.shape;
        let mut within = |limit: f32| f64::from(generator.within(limit));
        match *step {
            Augmentation::Rotate { degrees } => Affine::rotation(within(degrees)),
            Augmentation::Shift { fraction } => {
                Affine::translation(within(fraction) * width as f64, within(fraction) * height as f64)
            }
            Augmentation::Zoom { fraction } => Affine::scaling(1.0 + within(fraction)),
            Augmentation::Shear { degrees } => Affine::shearing(within(degrees)),
            Augmentation::HorizontalFlip { probability } if generator.chance(probability) => Affine::FLIP,
            Augmentation::AlternatingFlip => {
                let is_first_half = turn.lasting_generator().chance(0.5);
                if turn.epoch.is_multiple_of(2) == is_first_half { Affine::FLIP } else { Affine::IDENTITY }
            }
            _ => Affine::IDENTITY,
        }
    }

    fn change_pixels(
        &self,
        step: &Augmentation,
        image: &mut [u8],
        generator: &mut Generator,
        memory: &mut Vec<u8>,
    ) {
        match *step {
            Augmentation::PadCrop { pixels, padding } => {
                let mut within = || generator.below(2 * pixels as u32 + 1) as isize - pixels as isize;
                let by = [within(), within()];
                pixels::displace(image, self.shape, by, padding, memory);
            }
            Augmentation::Brightness { fraction } => {
                pixels::brighten(image, 1.0 + generator.within(fraction));
            }
            Augmentation::RandomErasing { probability, min_area, max_area, min_aspect }
                if generator.chance(probability) =>
            {
                let area = [min_area, max_area];
                if let Some(rectangle) = Rectangle::random(self.shape, area, min_aspect, generator) {
                    rectangle.rows(image, self.shape).for_each(|row| generator.fill(row));
                }
            }
            Augmentation::Cutout { size } => {
                let square = Rectangle::around_any(self.shape, [size, size], generator);
                square.rows(image, self.shape).for_each(|row| row.fill(0));
            }
            _ => {}
        }
    }
}

/// Whether images of a shape can be changed so.
fn check_fit(augmentation: &Augmentation, shape: ImageShape) -> Result<()> {
    let problem = match *augmentation {
        Augmentation::Cutout { size } if size > shape.height.max(shape.width) => {
            format!("size is {size}, larger than the images of {shape}")
        }
        Augmentation::PadCrop { pixels, .. } if pixels >= shape.height.min(shape.width) => {
            format!("pixels is {pixels}, not less than the sides of images of {shape}")
        }
        _ => return Ok(()),
    };
    Err(Error::Augmentation { name: augmentation.name(), problem })
}

/// The mean of the two middle ones of the corners' values, per channel.
fn corner_color(image: &[u8], shape: ImageShape) -> [u8; 3] {
    let (last_row, last_column) = ((shape.height - 1) * shape.width, shape.width - 1);
    let corners = [0, last_column, last_row, last_row + last_column];
    std::array::from_fn(|channel| {
        let channel = channel.min(shape.channels - 1);
        let mut values = corners.map(|pixel| image[pixel * shape.channels + channel]);
        values.sort_unstable();
        values[1].midpoint(values[2])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Padding;
    use super::*;

    const SHAPE: ImageShape = ImageShape::new(4, 4, 1);

    /// 0 to 15, row by row.
    fn sixteen() -> Vec<u8> {
        (0..16).collect()
    }

    fn apply(augmentations: &[Augmentation], image: &[u8], seed: u64) -> Vec<u8> {
        let mut out = vec![0; image.len()];
        let turn = Turn { seed, epoch: 0, index: 0 };
        Pipeline::new(augmentations, SHAPE).unwrap().apply(image, &turn, &mut out);
        out
    }

    #[test]
    fn a_certain_flip_mirrors_each_row() {
        let flip = Augmentation::HorizontalFlip { probability: 1.0 };
        assert_eq!(apply(&[flip], &sixteen(), 5), [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12]);
    }

    #[test]
    fn alternating_flips_show_each_image_both_ways_in_two_epochs() {
        let pipeline = Pipeline::new(&[Augmentation::AlternatingFlip], SHAPE).unwrap();
        let is_flipped = |epoch, index| {
            let mut out = [0; 16];
            pipeline.apply(&sixteen(), &Turn { seed: 3, epoch, index }, &mut out);
            assert!([0, 3].contains(&out[0]));
            out[0] == 3
        };
        for index in 0..100 {
            assert_ne!(is_flipped(1, index), is_flipped(2, index));
            assert_eq!(is_flipped(1, index), is_flipped(7, index));
        }
        // 100 of 200 are expected; the standard deviation is 7.
        assert!((70..130).contains(&(0..200).filter(|&index| is_flipped(0, index)).count()));
    }

    #[test]
    fn a_padded_crop_moves_by_whole_pixels_as_far_as_it_may() {
        let crop = Augmentation::PadCrop { pixels: 1, padding: Padding::Zero };
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            // Pixel 5, in row 1 and column 1, is shown at one of the nine places about it, or moved away.
            let image = apply(std::slice::from_ref(&crop), &sixteen(), seed);
            seen.insert(image.iter().position(|&value| value == 5));
        }
        assert_eq!(seen, [0, 1, 2, 4, 5, 6, 8, 9, 10].map(Some).into());
    }

    #[test]
    fn a_certain_erasing_of_everything_leaves_noise() {
        let all =
            Augmentation::RandomErasing { probability: 1.0, min_area: 1.0, max_area: 1.0, min_aspect: 1.0 };
        let noise = apply(std::slice::from_ref(&all), &[7; 16], 1);
        assert!(noise.iter().filter(|&&value| value != 7).count() > 12, "{noise:?}");
        assert_ne!(noise, apply(&[all], &[7; 16], 2));
    }

    #[test]
    fn cutout_of_the_whole_size_leaves_what_a_shifted_square_leaves() {
        // A 4×4 square about pixel (cy, cx) covers rows cy−2 ..= cy+1, and columns likewise: in each
        // direction at least two and at most four of four lines are black.
        for seed in 0..50 {
            let image = apply(&[Augmentation::Cutout { size: 4 }], &[9; 16], seed);
            let black = image.iter().filter(|&&value| value == 0).count();
            assert!([4, 6, 8, 9, 12, 16].contains(&black), "{image:?}");
        }
    }

    #[test]
    fn brightness_changes_all_pixels_by_one_factor() {
        let image = apply(&[Augmentation::Brightness { fraction: 0.5 }], &[100; 16], 3);
        assert!(image.iter().all(|&value| value == image[0] && (50..=150).contains(&value)));
        assert_ne!(image[0], 100);
    }

    #[test]
    fn what_comes_into_view_has_the_color_of_the_corners() {
        // White corners, a black center: shifted by nearly its width, the image is white.
        let mut image = [255; 16];
        image[5] = 0;
        let shifted = apply(&[Augmentation::Shift { fraction: 1.0 }], &image, 4);
        assert!(shifted.iter().filter(|&&value| value == 255).count() >= 12, "{shifted:?}");
        assert_eq!(corner_color(&[1, 9, 3, 200], ImageShape::new(2, 2, 1)), [6; 3]);
    }

    #[test]
    fn geometric_steps_are_interpolated_once() {
        // Half a pixel right and half a pixel left are no movement, so nothing is blurred: two flips and
        // turns by zero compose to the very image.
        let steps = [
            Augmentation::HorizontalFlip { probability: 1.0 },
            Augmentation::Rotate { degrees: 0.0 },
            Augmentation::HorizontalFlip { probability: 1.0 },
        ];
        let pipeline = Pipeline::new(&steps, SHAPE).unwrap();
        assert_eq!(pipeline.stages.len(), 1);
        assert_eq!(apply(&steps, &sixteen(), 1), sixteen());
    }

    #[test]
    fn what_does_not_fit_the_image_is_refused() {
        let error = Pipeline::new(&[Augmentation::Cutout { size: 5 }], SHAPE).unwrap_err();
        assert_eq!(error.to_string(), "augmentation `cutout`: size is 5, larger than the images of 4×4×1");
        let crop = Augmentation::PadCrop { pixels: 4, padding: Padding::Reflect };
        let error = Pipeline::new(&[crop], SHAPE).unwrap_err().to_string();
        assert_eq!(error, "augmentation `pad-crop`: pixels is 4, not less than the sides of images of 4×4×1");
    }

    proptest! {
        #[test]
        fn zero_strength_changes_nothing(image in prop::collection::vec(any::<u8>(), 16), seed: u64) {
            let nothing = [
                Augmentation::Rotate { degrees: 0.0 },
                Augmentation::Shift { fraction: 0.0 },
                Augmentation::Zoom { fraction: 0.0 },
                Augmentation::Shear { degrees: 0.0 },
                Augmentation::HorizontalFlip { probability: 0.0 },
                Augmentation::Brightness { fraction: 0.0 },
                Augmentation::RandomErasing { probability: 0.0, min_area: 0.1, max_area: 0.2, min_aspect: 0.5 },
            ];
            prop_assert_eq!(apply(&nothing, &image, seed), image);
        }

        #[test]
        fn the_seed_alone_decides(image in prop::collection::vec(any::<u8>(), 16), seed: u64) {
            let steps = [
                Augmentation::Rotate { degrees: 180.0 },
                Augmentation::Shift { fraction: 1.0 },
                Augmentation::Zoom { fraction: 0.9 },
                Augmentation::Shear { degrees: 80.0 },
                Augmentation::Brightness { fraction: 1.0 },
                Augmentation::Cutout { size: 2 },
            ];
            prop_assert_eq!(apply(&steps, &image, seed), apply(&steps, &image, seed));
        }
    }
}
