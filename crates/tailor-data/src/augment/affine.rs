//! Affine maps of the plane, and images resampled by them.

use std::ops::Range;

use crate::dataset::ImageShape;

/// Where a pixel of the result comes from: `x' = a·x + b·y + c`, `y' = d·x + e·y + f`, in pixels; `x` counts
/// columns and `y` rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    x: [f64; 3],
    y: [f64; 3],
}

impl Affine {
    pub(super) const IDENTITY: Affine = Affine { x: [1.0, 0.0, 0.0], y: [0.0, 1.0, 0.0] };

    /// A turn by an angle, clockwise as seen.
    pub(super) fn rotation(degrees: f64) -> Affine {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Affine { x: [cos, sin, 0.0], y: [-sin, cos, 0.0] }
    }

    /// A movement to the right and down.
    pub(super) fn translation(right: f64, down: f64) -> Affine {
        Affine { x: [1.0, 0.0, -right], y: [0.0, 1.0, -down] }
    }

    /// An enlargement by a factor.
    pub(super) fn scaling(factor: f64) -> Affine {
        Affine { x: [1.0 / factor, 0.0, 0.0], y: [0.0, 1.0 / factor, 0.0] }
    }

    /// Upper rows lean to the right by an angle.
    pub(super) fn shearing(degrees: f64) -> Affine {
        Affine { x: [1.0, degrees.to_radians().tan(), 0.0], y: [0.0, 1.0, 0.0] }
    }

    /// Left becomes right.
    pub(super) const FLIP: Affine = Affine { x: [-1.0, 0.0, 0.0], y: [0.0, 1.0, 0.0] };

    /// This map first, then `next`.
    pub(super) fn then(&self, next: &Affine) -> Affine {
        let compose = |[a, b, c]: [f64; 3]| {
            let [xa, xb, xc] = next.x;
            let [ya, yb, yc] = next.y;
            [a * xa + b * ya, a * xb + b * yb, a * xc + b * yc + c]
        };
        Affine { x: compose(self.x), y: compose(self.y) }
    }

    /// The map about the center of an image instead of its first pixel.
    fn centered(&self, shape: ImageShape) -> Affine {
        let (x, y) = ((shape.width - 1) as f64 / 2.0, (shape.height - 1) as f64 / 2.0);
        Affine::translation(-x, -y).then(self).then(&Affine::translation(x, y))
    }
}

/// Coordinates have 16 binary digits after the point, in integers: a row's coordinates are then sums without
/// rounding, and where a row enters and leaves the image is found exactly, not tested at each pixel.
const POINT: u32 = 16;

/// Weights of the interpolation have 11 digits, so that a product with a second weight and a pixel fits 32.
const WEIGHT: u32 = 11;

/// Applies a map about the image's center to an image `[H, W, C]`, in place, with bilinear interpolation.
/// What comes from outside has the color `fill`. `padded` is working memory.
pub(super) fn warp(image: &mut [u8], shape: ImageShape, map: &Affine, fill: &[u8], padded: &mut Vec<u8>) {
    match shape.channels {
        1 => warp_channels::<1>(image, shape, map, fill, padded),
        _ => warp_channels::<3>(image, shape, map, fill, padded),
    }
}

fn warp_channels<const C: usize>(
    image: &mut [u8],
    shape: ImageShape,
    map: &Affine,
    fill: &[u8],
    padded: &mut Vec<u8>,
) {
    pad(image, shape, fill, padded);
    let (width, height) = (shape.width as i64, shape.height as i64);
    let stride = (shape.width + 2) * C;
    let map = map.centered(shape);
    let fixed = |value: f64| (value * f64::from(1 << POINT)).round() as i64;
    let one = 1i64 << POINT;
    let ([dx, bx, cx], [dy, by, cy]) = (map.x.map(fixed), map.y.map(fixed));

    for (row, out) in (0i64..).zip(image.chunks_exact_mut(shape.width * C)) {
        // In the padded image, whose first pixel is one above and to the left.
        let (x0, y0) = (bx * row + cx + one, by * row + cy + one);
        let inside = intersection(
            span(x0, dx, (width + 1) << POINT, width),
            span(y0, dy, (height + 1) << POINT, width),
        );
        let (start, end) = (inside.start as usize * C, inside.end as usize * C);
        fill_pixels(&mut out[..start], fill);
        fill_pixels(&mut out[end..], fill);
        let (mut x, mut y) = (x0 + dx * inside.start, y0 + dy * inside.start);
        for pixel in out[start..end].as_chunks_mut::<C>().0 {
            let at = (y >> POINT) as usize * stride + (x >> POINT) as usize * C;
            let (right, down) = (weight(x), weight(y));
            let (left, up) = ((1 << WEIGHT) - right, (1 << WEIGHT) - down);
            let (upper, lower) = (&padded[at..at + 2 * C], &padded[at + stride..at + stride + 2 * C]);
            for c in 0..C {
                let upper = u32::from(upper[c]) * left + u32::from(upper[c + C]) * right;
                let lower = u32::from(lower[c]) * left + u32::from(lower[c + C]) * right;
                pixel[c] = ((upper * up + lower * down + (1 << (2 * WEIGHT - 1))) >> (2 * WEIGHT)) as u8;
            }
            x += dx;
            y += dy;
        }
    }
}

/// The image with one more pixel on each side, so that a pixel's right and lower neighbors always exist.
fn pad(image: &[u8], shape: ImageShape, fill: &[u8], padded: &mut Vec<u8>) {
    let row = shape.width * shape.channels;
    padded.clear();
    padded.extend(fill.iter().cycle().take(row + 2 * fill.len()));
    for pixels in image.chunks_exact(row) {
        padded.extend_from_slice(fill);
        padded.extend_from_slice(pixels);
        padded.extend_from_slice(fill);
    }
    padded.extend(fill.iter().cycle().take(row + 2 * fill.len()));
}

fn fill_pixels(pixels: &mut [u8], fill: &[u8]) {
    for pixel in pixels.chunks_exact_mut(fill.len()) {
        pixel.copy_from_slice(fill);
    }
}

/// The fraction of a fixed-point coordinate.
fn weight(coordinate: i64) -> u32 {
    (coordinate >> (POINT - WEIGHT)) as u32 & ((1 << WEIGHT) - 1)
}

/// The `i` below `length` for which `0 ≤ start + step·i < limit`.
fn span(start: i64, step: i64, limit: i64, length: i64) -> Range<i64> {
    let ceil_div = |a: i64, b: i64| -(-a).div_euclid(b);
    let (first, end) = match step {
        0 if (0..limit).contains(&start) => (0, length),
        0 => (0, 0),
        1.. => (ceil_div(-start, step), ceil_div(limit - start, step)),
        _ => ((start - limit).div_euclid(-step) + 1, start.div_euclid(-step) + 1),
    };
    let first = first.clamp(0, length);
    first..end.clamp(first, length)
}

fn intersection(a: Range<i64>, b: Range<i64>) -> Range<i64> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn warped(image: &[u8], height: usize, width: usize, map: Affine) -> Vec<u8> {
        let mut out = image.to_vec();
        warp(&mut out, ImageShape::new(height, width, 1), &map, &[0], &mut Vec::new());
        out
    }

    const NINE: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn a_quarter_turn_clockwise() {
        // The left column, read from below, becomes the first row.
        assert_eq!(warped(&NINE, 3, 3, Affine::rotation(90.0)), [7, 4, 1, 8, 5, 2, 9, 6, 3]);
        assert_eq!(warped(&NINE, 3, 3, Affine::rotation(180.0)), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn a_shift_by_one_and_a_half_pixels() {
        // Between pixels: (0 + 10)/2 = 5, (10 + 20)/2 = 15; before them the fill, 0.
        assert_eq!(warped(&[10, 20, 30, 40], 1, 4, Affine::translation(1.5, 0.0)), [0, 5, 15, 25]);
        assert_eq!(warped(&NINE, 3, 3, Affine::translation(1.0, -1.0)), [0, 4, 5, 0, 7, 8, 0, 0, 0]);
    }

    #[test]
    fn a_zoom_to_twice_the_size() {
        // The center stays; its neighbors come from halfway: (10 + 50)/2 = 30 and (50 + 90)/2 = 70.
        assert_eq!(warped(&[10, 50, 90], 1, 3, Affine::scaling(2.0)), [30, 50, 70]);
    }

    #[test]
    fn a_shear_by_45_degrees() {
        // The upper row moves right by one, the lower one left by one.
        assert_eq!(warped(&NINE, 3, 3, Affine::shearing(45.0)), [0, 1, 2, 4, 5, 6, 8, 9, 0]);
    }

    #[test]
    fn a_flip_in_color_keeps_the_channels_in_order() {
        let mut image = [1, 2, 3, 4, 5, 6];
        warp(&mut image, ImageShape::new(1, 2, 3), &Affine::FLIP, &[0; 3], &mut Vec::new());
        assert_eq!(image, [4, 5, 6, 1, 2, 3]);
    }

    #[test]
    fn maps_compose_in_the_order_of_their_names() {
        // Right by one and then flipped is flipped and then left by one.
        let one = Affine::translation(1.0, 0.0).then(&Affine::FLIP);
        let other = Affine::FLIP.then(&Affine::translation(-1.0, 0.0));
        assert_eq!(one, other);
        assert_eq!(warped(&[1, 2, 3], 1, 3, one), [2, 1, 0]);
    }

    proptest! {
        #[test]
        fn a_span_is_what_counting_finds(
            start in -50i64..50, step in -9i64..9, limit in 1i64..60, length in 1i64..40,
        ) {
            let counted: Vec<i64> =
                (0..length).filter(|i| (0..limit).contains(&(start + step * i))).collect();
            prop_assert_eq!(span(start, step, limit, length).collect::<Vec<_>>(), counted);
        }

        #[test]
        fn any_map_stays_between_the_darkest_and_the_lightest(
            image in prop::collection::vec(40u8..=200, 35), degrees in -180.0f64..180.0,
            shear in -80.0f64..80.0, factor in 0.1f64..1.9, right in -7.0f64..7.0, down in -5.0f64..5.0,
        ) {
            let map = Affine::rotation(degrees)
                .then(&Affine::shearing(shear))
                .then(&Affine::scaling(factor))
                .then(&Affine::translation(right, down));
            let mut out = image;
            warp(&mut out, ImageShape::new(5, 7, 1), &map, &[40], &mut Vec::new());
            prop_assert!(out.iter().all(|value| (40..=200).contains(value)));
        }

        #[test]
        fn flipping_twice_changes_nothing(image in prop::collection::vec(any::<u8>(), 24)) {
            let once = warped(&image, 4, 6, Affine::FLIP);
            prop_assert_eq!(warped(&once, 4, 6, Affine::FLIP), image);
        }
    }
}
