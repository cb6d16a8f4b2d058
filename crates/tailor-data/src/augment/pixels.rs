//! Changes of pixels in their places.

use crate::dataset::ImageShape;
use crate::random::Generator;

/// Multiplies every pixel; what leaves the range stays at its end.
pub(super) fn brighten(image: &mut [u8], factor: f32) {
    for value in image {
        // `as` saturates.
        *value = (f32::from(*value) * factor + 0.5) as u8;
    }
}

/// A part of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rectangle {
    pub(super) top: usize,
    pub(super) left: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Rectangle {
    /// A rectangle within the image whose part of the area lies within `area` and whose ratio of height to
    /// width lies within `[min_aspect, 1/min_aspect]`; `None` if ten tries find none that fits.
    pub(super) fn random(
        shape: ImageShape,
        area: [f32; 2],
        min_aspect: f32,
        generator: &mut Generator,
    ) -> Option<Rectangle> {
        let total = (shape.height * shape.width) as f32;
        for _ in 0..10 {
            let area = total * generator.between(area[0], area[1]);
            let aspect = generator.between(min_aspect, 1.0 / min_aspect);
            let height = (area * aspect).sqrt().round() as usize;
            let width = (area / aspect).sqrt().round() as usize;
            if height <= shape.height && width <= shape.width {
                let top = generator.below((shape.height - height) as u32 + 1) as usize;
                let left = generator.below((shape.width - width) as u32 + 1) as usize;
                return Some(Rectangle { top, left, height, width });
            }
        }
        None
    }

    /// A square about any pixel of the image, without what reaches beyond.
    pub(super) fn square(shape: ImageShape, size: usize, generator: &mut Generator) -> Rectangle {
        let mut extent = |side: usize| {
            let center = generator.below(side as u32) as usize;
            let start = center.saturating_sub(size / 2);
            let end = (center + size - size / 2).min(side);
            (start, end - start)
        };
        let (top, height) = extent(shape.height);
        let (left, width) = extent(shape.width);
        Rectangle { top, left, height, width }
    }

    /// The pixels within the rectangle, a slice for each row.
    pub(super) fn rows<'a>(
        &self,
        image: &'a mut [u8],
        shape: ImageShape,
    ) -> impl Iterator<Item = &'a mut [u8]> {
        let Rectangle { top, left, height, width } = *self;
        let rows = image.chunks_exact_mut(shape.width * shape.channels).skip(top).take(height);
        rows.map(move |row| &mut row[left * shape.channels..][..width * shape.channels])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brightness_multiplies_rounds_and_saturates() {
        let mut image = [0, 1, 100, 200];
        brighten(&mut image, 1.5);
        // 1.5 is rounded up.
        assert_eq!(image, [0, 2, 150, 255]);
        brighten(&mut image, 0.5);
        assert_eq!(image, [0, 1, 75, 128]);
    }

    #[test]
    fn the_rows_of_a_rectangle() {
        let shape = ImageShape::new(3, 3, 1);
        let mut image = [1; 9];
        let rectangle = Rectangle { top: 1, left: 1, height: 2, width: 2 };
        rectangle.rows(&mut image, shape).for_each(|row| row.fill(0));
        assert_eq!(image, [1, 1, 1, 1, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_square_is_clipped_at_the_edges() {
        let shape = ImageShape::new(4, 6, 1);
        let mut generator = Generator::new(1);
        let mut sizes = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let Rectangle { top, left, height, width } = Rectangle::square(shape, 3, &mut generator);
            assert!(top + height <= 4 && left + width <= 6);
            sizes.insert((height, width));
        }
        // A center on the first or last line leaves two of three.
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [(2, 2), (2, 3), (3, 2), (3, 3)]);
    }

    #[test]
    fn a_random_rectangle_has_about_the_area_that_was_asked_for() {
        let shape = ImageShape::new(100, 100, 1);
        let mut generator = Generator::new(1);
        for _ in 0..500 {
            if let Some(found) = Rectangle::random(shape, [0.1, 0.2], 0.5, &mut generator) {
                assert!(found.top + found.height <= 100 && found.left + found.width <= 100);
                // Rounding a side of at least 22 to whole pixels changes the area by at most 5 %.
                assert!((950..2100).contains(&(found.height * found.width)), "{found:?}");
            }
        }
        // Nothing twice as high as wide, and as large as the whole, fits a square.
        assert_eq!(Rectangle::random(shape, [1.5, 1.5], 0.5, &mut generator), None);
    }
}
