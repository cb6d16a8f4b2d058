//! Test-time augmentation: a few fixed views of an image, whose predictions are averaged.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dataset::ImageShape;

/// Which views of an image are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Views {
    /// The image as it is.
    #[default]
    None,
    /// The image and its mirror image.
    Flip,
    /// Both, and both moved by one pixel up and left, and down and right: six views. Those in the center weigh
    /// as much as the moved ones together (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
    /// section 3.5).
    #[serde(rename = "flip+shift")]
    FlipShift,
}

/// One view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Pixels by which the image moves right and down, −1 to 1. What comes into view is the image reflected
    /// about its outermost pixels.
    pub shift: isize,
    /// Whether left and right are exchanged after that.
    pub mirrored: bool,
    /// What its logits weigh; all views' weights sum to 1.
    pub weight: f32,
}

impl Views {
    /// All there are, by their names.
    pub const NAMED: [(&str, Views); 3] =
        [("none", Views::None), ("flip", Views::Flip), ("flip+shift", Views::FlipShift)];

    /// The views; the first one is always the image as it is.
    pub fn list(self) -> &'static [View] {
        const fn view(mirrored: bool, shift: isize, weight: f32) -> View {
            View { shift, mirrored, weight }
        }
        match self {
            Views::None => const { &[view(false, 0, 1.0)] },
            Views::Flip => const { &[view(false, 0, 0.5), view(true, 0, 0.5)] },
            Views::FlipShift => {
                const {
                    &[
                        view(false, 0, 0.25),
                        view(true, 0, 0.25),
                        view(false, -1, 0.125),
                        view(true, -1, 0.125),
                        view(false, 1, 0.125),
                        view(true, 1, 0.125),
                    ]
                }
            }
        }
    }
}

impl fmt::Display for Views {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let named = Views::NAMED.iter().find(|(_, views)| views == self);
        f.write_str(named.expect("all views are named").0)
    }
}

impl FromStr for Views {
    type Err = String;

    fn from_str(text: &str) -> Result<Views, String> {
        let named = Views::NAMED.iter().find(|(name, _)| *name == text);
        let known = || Views::NAMED.map(|(name, _)| name).join(", ");
        named.map(|&(_, views)| views).ok_or_else(|| format!("{text:?} is none of the views {}", known()))
    }
}

impl View {
    /// This view of images `[N, H, W, C]`.
    ///
    /// # Panics
    /// If the length is not a multiple of the shape's.
    pub fn of(&self, images: &[f32], shape: ImageShape) -> Vec<f32> {
        assert!(images.len().is_multiple_of(shape.len()), "whole images of {shape}");
        let (height, width, channels) = (shape.height, shape.width, shape.channels);
        let columns: Vec<usize> = (0..width)
            .map(|x| reflected(if self.mirrored { width - 1 - x } else { x }, self.shift, width))
            .collect();
        let mut view = Vec::with_capacity(images.len());
        for image in images.chunks_exact(shape.len()) {
            for y in 0..height {
                let row = &image[reflected(y, self.shift, height) * width * channels..][..width * channels];
                columns.iter().for_each(|x| view.extend_from_slice(&row[x * channels..][..channels]));
            }
        }
        view
    }
}

/// Where the pixel at `position` comes from when a line of `length` pixels moves by `shift`.
fn reflected(position: usize, shift: isize, length: usize) -> usize {
    let last = length as isize - 1;
    let source = (position as isize - shift).abs();
    (last - (last - source).abs()).max(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two gray images of 2×3: 1 to 6 and 11 to 16.
    fn images() -> Vec<f32> {
        [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [11.0, 12.0, 13.0, 14.0, 15.0, 16.0]].concat()
    }

    fn of(mirrored: bool, shift: isize) -> Vec<f32> {
        View { mirrored, shift, weight: 1.0 }.of(&images(), ImageShape::new(2, 3, 1))
    }

    #[test]
    fn views_by_hand() {
        assert_eq!(of(false, 0), images());
        assert_eq!(of(true, 0)[..6], [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        // Down and right: the first row is the reflected second one, the first column the second one.
        assert_eq!(of(false, 1)[..6], [5.0, 4.0, 5.0, 2.0, 1.0, 2.0]);
        // Up and left.
        assert_eq!(of(false, -1)[6..], [15.0, 16.0, 15.0, 12.0, 13.0, 12.0]);
        // Moved down and right it is 6 5 6 7 / 2 1 2 3, and then mirrored.
        let wide = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let view = View { mirrored: true, shift: 1, weight: 1.0 };
        assert_eq!(view.of(&wide, ImageShape::new(2, 4, 1)), [7.0, 6.0, 5.0, 6.0, 3.0, 2.0, 1.0, 2.0]);
    }

    #[test]
    fn color_and_the_smallest_image() {
        let view = View { mirrored: true, shift: 0, weight: 1.0 };
        assert_eq!(
            view.of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], ImageShape::new(1, 2, 3)),
            [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]
        );
        let moved = View { shift: 1, ..view };
        assert_eq!(moved.of(&[7.0], ImageShape::new(1, 1, 1)), [7.0]);
    }

    #[test]
    fn weights_sum_to_one_and_names_are_known() {
        for (name, views) in Views::NAMED {
            assert_eq!(views.list().iter().map(|view| view.weight).sum::<f32>(), 1.0);
            assert_eq!(views.list()[0], View { mirrored: false, shift: 0, weight: views.list()[0].weight });
            assert_eq!(name.parse(), Ok(views));
        }
        assert!("all".parse::<Views>().unwrap_err().contains("none, flip, flip+shift"));
    }
}
