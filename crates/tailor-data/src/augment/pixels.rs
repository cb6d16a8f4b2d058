//! Changes of pixels in their places.

use super::Padding;
use crate::dataset::ImageShape;
use crate::random::Generator;

/// Moves an image to the right and down by less than its sides.
pub(super) fn displace(image: &mut [u8], shape: ImageShape, [right, down]: [isize; 2], padding: Padding) {
    let ImageShape { height, width, channels } = shape;
    let before = image.to_vec();
    // Columns and rows that stay within the image are copied at once.
    let (first, last) = (right.max(0) as usize, (width as isize + right.min(0)) as usize);
    for (y, row) in image.chunks_exact_mut(width * channels).enumerate() {
        let source = match padding {
            Padding::Zero if !(0..height as isize).contains(&(y as isize - down)) => {
                row.fill(0);
                continue;
            }
            _ => &before[reflected(y as isize - down, height) * width * channels..][..width * channels],
        };
        let start = (first as isize - right) as usize * channels;
        row[first * channels..last * channels].copy_from_slice(&source[start..][..(last - first) * channels]);
        for x in (0..first).chain(last..width) {
            let pixel = &mut row[x * channels..][..channels];
            match padding {
                Padding::Zero => pixel.fill(0),
                Padding::Reflect => {
                    let x = reflected(x as isize - right, width);
                    pixel.copy_from_slice(&source[x * channels..][..channels]);
                }
            }
        }
    }
}

/// The position that a position less than a length outside of a line shows, reflected about the line's ends.
fn reflected(position: isize, length: usize) -> usize {
    let last = length as isize - 1;
    (last - (last - position.abs()).abs()) as usize
}

/// Exchanges left and right.
pub(super) fn mirror(image: &mut [u8], shape: ImageShape) {
    for row in image.chunks_exact_mut(shape.width * shape.channels) {
        match shape.channels {
            1 => row.reverse(),
            _ => row.as_chunks_mut::<3>().0.reverse(),
        }
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

    /// A rectangle about any pixel of the image, without what reaches beyond.
    pub(super) fn around_any(
        shape: ImageShape,
        [height, width]: [usize; 2],
        generator: &mut Generator,
    ) -> Rectangle {
        let mut extent = |size: usize, side: usize| {
            let center = generator.below(side as u32) as usize;
            let start = center.saturating_sub(size / 2);
            let end = (center + size - size / 2).min(side);
            (start, end - start)
        };
        let (top, height) = extent(height, shape.height);
        let (left, width) = extent(width, shape.width);
        Rectangle { top, left, height, width }
    }

    /// The pixels within the rectangle, a slice for each row.
    pub(super) fn rows<'a, T>(
        &self,
        image: &'a mut [T],
        shape: ImageShape,
    ) -> impl Iterator<Item = &'a mut [T]> {
        let Rectangle { top, left, height, width } = *self;
        let rows = image.chunks_exact_mut(shape.width * shape.channels).skip(top).take(height);
        rows.map(move |row| &mut row[left * shape.channels..][..width * shape.channels])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_displaced_image_is_padded_with_black_or_its_reflection() {
        let shape = ImageShape::new(2, 4, 1);
        let moved = |by, padding| {
            let mut image = [1, 2, 3, 4, 5, 6, 7, 8];
            displace(&mut image, shape, by, padding);
            image
        };
        assert_eq!(moved([1, 0], Padding::Zero), [0, 1, 2, 3, 0, 5, 6, 7]);
        assert_eq!(moved([-1, 1], Padding::Zero), [0, 0, 0, 0, 2, 3, 4, 0]);
        assert_eq!(moved([0, 0], Padding::Zero), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(moved([2, 0], Padding::Reflect), [3, 2, 1, 2, 7, 6, 5, 6]);
        assert_eq!(moved([-3, -1], Padding::Reflect), [8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn a_mirrored_color_image_keeps_its_channels() {
        let mut image = [1, 2, 3, 4, 5, 6];
        mirror(&mut image, ImageShape::new(1, 2, 3));
        assert_eq!(image, [4, 5, 6, 1, 2, 3]);
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
            let Rectangle { top, left, height, width } = Rectangle::around_any(shape, [3, 3], &mut generator);
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
