//! Augmentations one after the other: on one image at a time, then on the batch.

use super::Augmentation;
use super::color::ColorChange;
use super::elastic::Field;
use super::geometry::{Geometry, Map};
use super::mix::{Mix, Mixing, mix};
use super::noise;
use super::pixels::{self, Rectangle};
use super::projective::Projective;
use super::rand_augment::{self, Operation};
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
    stored: ImageShape,
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
    /// [`Error::Augmentation`] for the first one with a value that is impossible, or does not go with the shape.
    pub fn new(augmentations: &[Augmentation], shape: ImageShape) -> Result<Pipeline> {
        Self::resizing(augmentations, shape, shape)
    }

    /// A pipeline from images as they are stored to images of `shape`, so that crops have more pixels to choose
    /// from. Without a crop the whole image is made smaller.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::Dataset`] if the channels differ.
    pub fn resizing(
        augmentations: &[Augmentation],
        stored: ImageShape,
        shape: ImageShape,
    ) -> Result<Pipeline> {
        stored.check()?;
        shape.check()?;
        if stored.channels != shape.channels {
            return Err(Error::Dataset(format!("images of {stored} cannot become images of {shape}")));
        }
        // The size changes before anything else.
        let mut stages = if stored == shape { Vec::new() } else { vec![Stage::Geometric(Vec::new())] };
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
                | Augmentation::Perspective { .. }
                | Augmentation::Elastic { .. }
                | Augmentation::RandomResizedCrop { .. }
                | Augmentation::HorizontalFlip { .. }
                | Augmentation::AlternatingFlip => match stages.last_mut() {
                    Some(Stage::Geometric(steps)) => steps.push(step),
                    _ => stages.push(Stage::Geometric(vec![step])),
                },
                Augmentation::PadCrop { .. }
                | Augmentation::Brightness { .. }
                | Augmentation::Contrast { .. }
                | Augmentation::Saturation { .. }
                | Augmentation::Hue { .. }
                | Augmentation::ColorJitter { .. }
                | Augmentation::GaussianNoise { .. }
                | Augmentation::RandAugment { .. }
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
        Ok(Pipeline { stored, shape, stages, mixing })
    }

    /// The shape of the images that it takes.
    pub fn stored_shape(&self) -> ImageShape {
        self.stored
    }

    /// The shape of the images that it makes.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Changes one image `[H, W, C]` in the way that its turn decides. Mixing is left to the batch.
    ///
    /// # Panics
    /// If the lengths of `image` and `out` are not those of the shapes.
    pub fn apply(&self, image: &[u8], turn: &Turn, out: &mut [u8]) {
        assert_eq!(image.len(), self.stored.len(), "an image of {}", self.stored);
        assert_eq!(out.len(), self.shape.len(), "room for an image of {}", self.shape);
        let mut generator = turn.generator();
        let mut stages = self.stages.iter();
        if let Some(Stage::Geometric(steps)) = self.stages.first() {
            let mut geometry = Geometry::new(self.stored, self.shape);
            self.draw(steps, turn, &mut generator, &mut geometry);
            resample(geometry, image, out);
            stages.next();
        } else {
            out.copy_from_slice(image);
        }
        for stage in stages {
            match stage {
                Stage::Geometric(steps) => {
                    let mut geometry = Geometry::new(self.shape, self.shape);
                    self.draw(steps, turn, &mut generator, &mut geometry);
                    let source = out.to_vec();
                    resample(geometry, &source, out);
                }
                Stage::Pixels(step) => self.change_pixels(step, out, &mut generator),
            }
        }
    }

    /// Mixes the images `[N, H, W, C]` of a normalized batch with each other, if the augmentations say so.
    pub(crate) fn mix(&self, images: &mut [f32], labels: &[u16], generator: &mut Generator) -> Option<Mix> {
        mix(&self.mixing, images, labels, self.shape, generator)
    }

    /// Draws the random numbers of geometric steps.
    fn draw(&self, steps: &[Augmentation], turn: &Turn, generator: &mut Generator, geometry: &mut Geometry) {
        let ImageShape { height, width, .. } = self.shape;
        let (rows, columns) = (height as f64, width as f64);
        let within = |generator: &mut Generator, limit: f32| f64::from(generator.within(limit));
        for step in steps {
            let map = match *step {
                Augmentation::Rotate { degrees } => Projective::rotation(within(generator, degrees)),
                Augmentation::Shift { fraction } => {
                    let right = within(generator, fraction) * columns;
                    Projective::translation(right, within(generator, fraction) * rows)
                }
                Augmentation::Zoom { fraction } => {
                    let factor = 1.0 + within(generator, fraction);
                    Projective::scaling(factor, factor)
                }
                Augmentation::Shear { degrees } => {
                    Projective::shearing(within(generator, degrees).to_radians().tan(), 0.0)
                }
                Augmentation::Perspective { distortion, probability } if generator.chance(probability) => {
                    let corners = [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]];
                    let corners = corners.map(|corner: [f64; 2]| {
                        let moved =
                            corner.map(|place| place * (1.0 - f64::from(generator.between(0.0, distortion))));
                        [moved[0] * columns, moved[1] * rows]
                    });
                    Projective::onto(corners, columns, rows)
                }
                Augmentation::Elastic { amplitude, smoothness } => {
                    geometry
                        .push(Map::Elastic(Field::random(height, width, amplitude, smoothness, generator)));
                    continue;
                }
                Augmentation::RandomResizedCrop { min_area, max_area, min_aspect } => {
                    geometry.push_crop(random_crop(
                        self.stored,
                        [min_area, max_area],
                        min_aspect,
                        generator,
                        self.shape,
                    ));
                    continue;
                }
                Augmentation::HorizontalFlip { probability } if generator.chance(probability) => {
                    Projective::FLIP
                }
                Augmentation::AlternatingFlip => {
                    let is_first_half = turn.lasting_generator().chance(0.5);
                    if turn.epoch.is_multiple_of(2) == is_first_half { Projective::FLIP } else { continue }
                }
                _ => continue,
            };
            geometry.push(Map::Projective(map));
        }
    }

    fn change_pixels(&self, step: &Augmentation, image: &mut [u8], generator: &mut Generator) {
        let factor = |generator: &mut Generator, fraction: f32| 1.0 + generator.within(fraction);
        let shape = self.shape;
        match *step {
            Augmentation::PadCrop { pixels, padding } => {
                let mut within = || generator.below(2 * pixels as u32 + 1) as isize - pixels as isize;
                pixels::displace(image, shape, [within(), within()], padding);
            }
            Augmentation::Brightness { fraction } => {
                ColorChange::Brightness(factor(generator, fraction)).apply(image, shape);
            }
            Augmentation::Contrast { fraction } => {
                ColorChange::Contrast(factor(generator, fraction)).apply(image, shape);
            }
            Augmentation::Saturation { fraction } => {
                ColorChange::Saturation(factor(generator, fraction)).apply(image, shape);
            }
            Augmentation::Hue { fraction } => {
                ColorChange::Hue(generator.within(fraction)).apply(image, shape);
            }
            Augmentation::ColorJitter { brightness, contrast, saturation, hue } => {
                let has_color = shape.channels > 1;
                let mut changes = [
                    (brightness > 0.0).then_some(ColorChange::Brightness(factor(generator, brightness))),
                    (contrast > 0.0).then_some(ColorChange::Contrast(factor(generator, contrast))),
                    (has_color && saturation > 0.0)
                        .then_some(ColorChange::Saturation(factor(generator, saturation))),
                    (has_color && hue > 0.0).then_some(ColorChange::Hue(generator.within(hue))),
                ];
                generator.shuffle(&mut changes);
                changes.into_iter().flatten().for_each(|change| change.apply(image, shape));
            }
            Augmentation::GaussianNoise { deviation } => noise::add(image, deviation, generator),
            Augmentation::RandAugment { operations, magnitude } => {
                for _ in 0..operations {
                    match rand_augment::draw(shape, magnitude, generator) {
                        Some(Operation::Color(change)) => change.apply(image, shape),
                        Some(Operation::Map(map)) => {
                            let mut geometry = Geometry::new(shape, shape);
                            geometry.push(map);
                            let source = image.to_vec();
                            resample(geometry, &source, image);
                        }
                        None => {}
                    }
                }
            }
            Augmentation::RandomErasing { probability, min_area, max_area, min_aspect }
                if generator.chance(probability) =>
            {
                let area = [min_area, max_area];
                if let Some(rectangle) = Rectangle::random(shape, area, min_aspect, generator) {
                    rectangle.rows(image, shape).for_each(|row| generator.fill(row));
                }
            }
            Augmentation::Cutout { size } => {
                let square = Rectangle::around_any(shape, [size, size], generator);
                square.rows(image, shape).for_each(|row| row.fill(0));
            }
            _ => {}
        }
    }
}

/// What comes into view has the color of the image's corners.
pub(super) fn resample(geometry: Geometry, image: &[u8], out: &mut [u8]) {
    let from = geometry.from();
    let fill = corner_color(image, from);
    geometry.apply(image, &fill[..from.channels], out);
}

/// A part of an image within limits of its area and of its ratio of width to height, enlarged to the whole. If
/// ten tries find none that fits, the largest one in the middle.
fn random_crop(
    stored: ImageShape,
    area: [f32; 2],
    min_aspect: f32,
    generator: &mut Generator,
    shape: ImageShape,
) -> Projective {
    // Width and height as parts of the image's.
    let proportions = stored.width as f32 / stored.height as f32;
    let limit = min_aspect.recip().ln();
    let tried = (0..10).find_map(|_| {
        let area = generator.between(area[0], area[1]);
        let aspect = generator.within(limit).exp() / proportions;
        let [width, height] = [(area * aspect).sqrt(), (area / aspect).sqrt()];
        (width <= 1.0 && height <= 1.0).then(|| {
            let mut left_over = |part: f32| generator.within((1.0 - part) / 2.0);
            [width, height, left_over(width), left_over(height)]
        })
    });
    let [width, height, right, down] = tried
        .unwrap_or_else(|| {
            let aspect = 1f32.clamp(min_aspect / proportions, min_aspect.recip() / proportions);
            [aspect.min(1.0), aspect.recip().min(1.0), 0.0, 0.0]
        })
        .map(f64::from);
    Projective::translation(-right * shape.width as f64, -down * shape.height as f64)
        .then(&Projective::scaling(1.0 / width, 1.0 / height))
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
        Augmentation::Saturation { fraction } | Augmentation::Hue { fraction }
            if shape.channels == 1 && fraction > 0.0 =>
        {
            "the images are gray; leave it out, or set data.channels to 3".into()
        }
        _ => return Ok(()),
    };
    Err(Error::Augmentation { name: augmentation.name(), problem })
}

/// The mean of the two middle ones of the corners' values, per channel.
pub(super) fn corner_color(image: &[u8], shape: ImageShape) -> [u8; 3] {
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
    fn crops_have_the_areas_and_proportions_that_were_asked_for() {
        let (stored, shape) = (ImageShape::new(60, 90, 1), ImageShape::new(20, 20, 1));
        let mut generator = Generator::new(1);
        let mut least = f64::MAX;
        for _ in 0..500 {
            let map = random_crop(stored, [0.1, 0.5], 0.75, &mut generator, shape);
            // As parts of the whole: 2·|offset| + size is at most 1.
            let [[width, _, right], [_, height, down], _] = map.0;
            let (area, aspect) = (width * height, width * 90.0 / (height * 60.0));
            assert!(
                (0.0999..0.5001).contains(&area) && (0.7499..1.3335).contains(&aspect),
                "{area} {aspect}"
            );
            assert!(2.0 * right.abs() / 20.0 + width < 1.0001 && 2.0 * down.abs() / 20.0 + height < 1.0001);
            least = area.min(least);
        }
        assert!(least < 0.11);
        // The whole cannot be had at another ratio: its largest part in the middle is.
        let map = random_crop(stored, [1.0, 1.0], 0.9, &mut generator, shape);
        let [[width, _, right], [_, height, down], _] = map.0;
        assert!(
            (width * 90.0 / 60.0 - 1.0 / 0.9).abs() < 1e-5 && (height - 1.0).abs() < 1e-6,
            "{width} {height}"
        );
        assert_eq!((right, down), (0.0, 0.0));
    }

    #[test]
    fn stored_larger_an_image_is_made_smaller_or_cropped_as_it_is() {
        // Four quarters of one color each, stored at twice the size.
        let (stored, shape) = (ImageShape::new(8, 8, 1), SHAPE);
        let image: Vec<u8> = (0..64).map(|i| 100 * (i / 32) as u8 + 50 * ((i % 8) / 4) as u8).collect();
        let turn = Turn { seed: 1, epoch: 0, index: 0 };
        let mut out = [0; 16];
        Pipeline::resizing(&[], stored, shape).unwrap().apply(&image, &turn, &mut out);
        assert_eq!([out[0], out[3], out[12], out[15]], [0, 50, 100, 150]);
        // Noise comes after: at the smaller size.
        let steps = [
            Augmentation::GaussianNoise { deviation: 0.0 },
            Augmentation::HorizontalFlip { probability: 1.0 },
        ];
        Pipeline::resizing(&steps, stored, shape).unwrap().apply(&image, &turn, &mut out);
        assert_eq!([out[0], out[3], out[12], out[15]], [50, 0, 150, 100]);
        assert!(Pipeline::resizing(&[], ImageShape::new(8, 8, 3), shape).is_err());
    }

    #[test]
    fn a_perspective_makes_the_image_smaller_about_its_center() {
        // White, but for the corners, which therefore are the color of what comes into view.
        let shape = ImageShape::new(21, 21, 1);
        let mut image = vec![200; shape.len()];
        [0, 20, 420, 440].into_iter().for_each(|corner: usize| image[corner] = 0);
        let step = Augmentation::Perspective { distortion: 0.5, probability: 1.0 };
        let pipeline = Pipeline::new(&[step], shape).unwrap();
        let mut areas = std::collections::BTreeSet::new();
        for index in 0..100 {
            let mut out = vec![0; shape.len()];
            pipeline.apply(&image, &Turn { seed: 1, epoch: 0, index }, &mut out);
            assert_eq!(out[10 * 21 + 10], 200);
            areas.insert(out.iter().filter(|&&value| value >= 100).count());
        }
        // Each side keeps half of its length at least.
        let (least, most) = (*areas.first().unwrap(), *areas.last().unwrap());
        assert!((105..200).contains(&least) && (300..441).contains(&most), "{areas:?}");
        assert!(areas.len() > 20);
    }

    #[test]
    fn gray_images_have_no_hue() {
        for step in [Augmentation::Hue { fraction: 0.1 }, Augmentation::Saturation { fraction: 0.1 }] {
            let error = Pipeline::new(std::slice::from_ref(&step), SHAPE).unwrap_err().to_string();
            assert!(error.contains("the images are gray"), "{error}");
            assert!(Pipeline::new(&[step], ImageShape::new(4, 4, 3)).is_ok());
        }
        // As torchvision's: a jitter of colors leaves them out.
        let jitter = Augmentation::ColorJitter { brightness: 0.0, contrast: 0.0, saturation: 0.5, hue: 0.1 };
        let pipeline = Pipeline::new(&[jitter], SHAPE).unwrap();
        let image: Vec<u8> = (0..SHAPE.len()).map(|i| i as u8).collect();
        let mut out = vec![0; SHAPE.len()];
        pipeline.apply(&image, &Turn { seed: 1, epoch: 0, index: 0 }, &mut out);
        assert_eq!(out, image);
    }

    #[test]
    fn a_jitter_does_all_four_in_any_order() {
        let shape = ImageShape::new(1, 2, 3);
        let jitter = Augmentation::ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
        let pipeline = Pipeline::new(&[jitter], shape).unwrap();
        let results: std::collections::BTreeSet<[u8; 6]> = (0..100)
            .map(|index| {
                let mut out = [0; 6];
                pipeline.apply(&[150, 90, 60, 40, 80, 120], &Turn { seed: 1, epoch: 0, index }, &mut out);
                out
            })
            .collect();
        assert!(results.len() > 95);
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
                Augmentation::Perspective { distortion: 0.5, probability: 0.0 },
                Augmentation::Elastic { amplitude: 0.0, smoothness: 4.0 },
                Augmentation::PadCrop { pixels: 0, padding: Padding::Zero },
                Augmentation::Brightness { fraction: 0.0 },
                Augmentation::Contrast { fraction: 0.0 },
                Augmentation::ColorJitter { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0 },
                Augmentation::GaussianNoise { deviation: 0.0 },
                Augmentation::RandomResizedCrop { min_area: 1.0, max_area: 1.0, min_aspect: 1.0 },
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
                Augmentation::Elastic { amplitude: 34.0, smoothness: 4.0 },
                Augmentation::Perspective { distortion: 0.9, probability: 0.5 },
                Augmentation::RandomResizedCrop { min_area: 0.08, max_area: 1.0, min_aspect: 0.75 },
                Augmentation::Brightness { fraction: 1.0 },
                Augmentation::GaussianNoise { deviation: 0.5 },
                Augmentation::RandAugment { operations: 14, magnitude: 30.0 },
                Augmentation::Cutout { size: 2 },
            ];
            prop_assert_eq!(apply(&steps, &image, seed), apply(&steps, &image, seed));
        }
    }
}
