//! Images resampled by maps that may turn and bend them.

use std::ops::Range;

use super::geometry::Map;
use super::projective::Projective;
use crate::dataset::ImageShape;

/// Coordinates have 16 binary digits after the point, in integers: a row's coordinates are then sums without
/// rounding, and where a row enters and leaves the image is found exactly, not tested at each pixel.
const POINT: u32 = 16;

/// Weights of the interpolation have 11 digits, so that a product with a second weight and a pixel fits 32.
const WEIGHT: u32 = 11;

/// Applies an affine map to an image `[H, W, C]`, with bilinear interpolation. What comes from outside has
/// the color `fill`.
pub(super) fn affine(
    image: &[u8],
    from: ImageShape,
    map: &Projective,
    out: &mut [u8],
    to: ImageShape,
    fill: &[u8],
) {
    let padded = pad(image, from, fill);
    match to.channels {
        1 => affine_channels::<1>(&padded, from, map, out, to, fill),
        _ => affine_channels::<3>(&padded, from, map, out, to, fill),
    }
}

fn affine_channels<const C: usize>(
    padded: &[u8],
    from: ImageShape,
    map: &Projective,
    out: &mut [u8],
    to: ImageShape,
    fill: &[u8],
) {
    let fixed = |value: f64| (value * f64::from(1 << POINT)).round() as i64;
    let ([[dx, bx, _], [dy, by, _], _], [cx, cy]) = (map.0.map(|row| row.map(fixed)), corner(map, from, to));
    // In the padded image, whose first pixel is one above and to the left.
    let (cx, cy) = (fixed(cx + 1.0), fixed(cy + 1.0));
    let (limit_x, limit_y) = ((from.width as i64 + 1) << POINT, (from.height as i64 + 1) << POINT);
    let width = to.width as i64;
    let stride = (from.width + 2) * C;

    for (row, out) in (0i64..).zip(out.chunks_exact_mut(to.width * C)) {
        let (x0, y0) = (bx * row + cx, by * row + cy);
        let inside = intersection(span(x0, dx, limit_x, width), span(y0, dy, limit_y, width));
        let (start, end) = (inside.start as usize * C, inside.end as usize * C);
        fill_pixels(&mut out[..start], fill);
        fill_pixels(&mut out[end..], fill);
        let (mut x, mut y) = (x0 + dx * inside.start, y0 + dy * inside.start);
        for pixel in out[start..end].as_chunks_mut::<C>().0 {
            *pixel = sample(padded, stride, x as u32, y as u32);
            x += dx;
            y += dy;
        }
    }
}

/// Where the result's first pixel comes from, about the source's first pixel.
fn corner(map: &Projective, from: ImageShape, to: ImageShape) -> [f64; 2] {
    let middle = |shape: ImageShape| [(shape.width - 1) as f64 / 2.0, (shape.height - 1) as f64 / 2.0];
    let ([x, y], middle) = (middle(to), middle(from));
    [0, 1].map(|axis| map.0[axis][2] - map.0[axis][0] * x - map.0[axis][1] * y + middle[axis])
}

/// Applies any maps, the last one first, with bilinear interpolation. What comes from outside has the color
/// `fill`.
pub(super) fn general(
    image: &[u8],
    from: ImageShape,
    maps: &[Map],
    out: &mut [u8],
    to: ImageShape,
    fill: &[u8],
) {
    let padded = pad(image, from, fill);
    match to.channels {
        1 => general_channels::<1>(&padded, from, maps, out, to),
        _ => general_channels::<3>(&padded, from, maps, out, to),
    }
}

fn general_channels<const C: usize>(
    padded: &[u8],
    from: ImageShape,
    maps: &[Map],
    out: &mut [u8],
    to: ImageShape,
) {
    let middle = |side: usize| (side - 1) as f32 / 2.0;
    let (mut xs, mut ys) = (vec![0.0; to.width], vec![0.0; to.width]);
    let stride = (from.width + 2) * C;
    for (row, out) in out.chunks_exact_mut(to.width * C).enumerate() {
        xs.iter_mut().enumerate().for_each(|(column, x)| *x = column as f32 - middle(to.width));
        ys.fill(row as f32 - middle(to.height));
        for map in maps.iter().rev() {
            match map {
                Map::Projective(map) => project(map, &mut xs, &mut ys),
                Map::Elastic(field) => field.displace(&mut xs, &mut ys),
            }
        }
        for ((pixel, x), y) in out.as_chunks_mut::<C>().0.iter_mut().zip(&xs).zip(&ys) {
            let x = padded_position(x + middle(from.width), from.width);
            let y = padded_position(y + middle(from.height), from.height);
            *pixel = sample(padded, stride, x, y);
        }
    }
}

fn project(map: &Projective, xs: &mut [f32], ys: &mut [f32]) {
    let [[a, b, c], [d, e, f], [g, h, i]] = map.0.map(|row| row.map(|value| value as f32));
    if map.is_affine() {
        for (x, y) in xs.iter_mut().zip(ys) {
            (*x, *y) = (a * *x + b * *y + c, d * *x + e * *y + f);
        }
    } else {
        for (x, y) in xs.iter_mut().zip(ys) {
            let w = 1.0 / (g * *x + h * *y + i);
            (*x, *y) = ((a * *x + b * *y + c) * w, (d * *x + e * *y + f) * w);
        }
    }
}

/// A position about the first pixel as a fixed-point one in the padded image; far outside is just outside.
fn padded_position(position: f32, side: usize) -> u32 {
    let limit = (side as u32 + 1) << POINT;
    // `as` makes what is below zero, and what is no number, 0.
    (((position + 1.0) * (1 << POINT) as f32 + 0.5) as u32).min(limit - 1)
}

/// The pixel at a fixed-point position, interpolated between its neighbors.
#[inline(always)]
fn sample<const C: usize>(padded: &[u8], stride: usize, x: u32, y: u32) -> [u8; C] {
    let at = (y >> POINT) as usize * stride + (x >> POINT) as usize * C;
    let (right, down) = (weight(x), weight(y));
    let (left, up) = ((1 << WEIGHT) - right, (1 << WEIGHT) - down);
    let (upper, lower) = (&padded[at..at + 2 * C], &padded[at + stride..at + stride + 2 * C]);
    std::array::from_fn(|c| {
        let upper = u32::from(upper[c]) * left + u32::from(upper[c + C]) * right;
        let lower = u32::from(lower[c]) * left + u32::from(lower[c + C]) * right;
        ((upper * up + lower * down + (1 << (2 * WEIGHT - 1))) >> (2 * WEIGHT)) as u8
    })
}

/// The image with one more pixel on each side, so that a pixel's right and lower neighbors always exist.
fn pad(image: &[u8], shape: ImageShape, fill: &[u8]) -> Vec<u8> {
    let row = shape.width * shape.channels;
    let mut padded = Vec::with_capacity((shape.height + 2) * (row + 2 * fill.len()));
    padded.extend(fill.iter().cycle().take(row + 2 * fill.len()));
    for pixels in image.chunks_exact(row) {
        padded.extend_from_slice(fill);
        padded.extend_from_slice(pixels);
        padded.extend_from_slice(fill);
    }
    padded.extend(fill.iter().cycle().take(row + 2 * fill.len()));
    padded
}

fn fill_pixels(pixels: &mut [u8], fill: &[u8]) {
    for pixel in pixels.chunks_exact_mut(fill.len()) {
        pixel.copy_from_slice(fill);
    }
}

/// The fraction of a fixed-point coordinate.
fn weight(coordinate: u32) -> u32 {
    (coordinate >> (POINT - WEIGHT)) & ((1 << WEIGHT) - 1)
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

    fn warped(image: &[u8], height: usize, width: usize, map: Projective) -> Vec<u8> {
        let shape = ImageShape::new(height, width, 1);
        let mut out = vec![0; image.len()];
        affine(image, shape, &map, &mut out, shape, &[0]);
        let mut also = vec![0; image.len()];
        general(image, shape, &[Map::Projective(map)], &mut also, shape, &[0]);
        assert!(out.iter().zip(&also).all(|(a, b)| a.abs_diff(*b) <= 1), "{out:?} {also:?}");
        out
    }

    const NINE: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn a_quarter_turn_clockwise() {
        // The left column, read from below, becomes the first row.
        assert_eq!(warped(&NINE, 3, 3, Projective::rotation(90.0)), [7, 4, 1, 8, 5, 2, 9, 6, 3]);
        assert_eq!(warped(&NINE, 3, 3, Projective::rotation(180.0)), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn a_shift_by_one_and_a_half_pixels() {
        // Between pixels: (0 + 10)/2 = 5, (10 + 20)/2 = 15; before them the fill, 0.
        assert_eq!(warped(&[10, 20, 30, 40], 1, 4, Projective::translation(1.5, 0.0)), [0, 5, 15, 25]);
        assert_eq!(warped(&NINE, 3, 3, Projective::translation(1.0, -1.0)), [0, 4, 5, 0, 7, 8, 0, 0, 0]);
    }

    #[test]
    fn a_zoom_to_twice_the_size() {
        // The center stays; its neighbors come from halfway: (10 + 50)/2 = 30 and (50 + 90)/2 = 70.
        assert_eq!(warped(&[10, 50, 90], 1, 3, Projective::scaling(2.0, 2.0)), [30, 50, 70]);
    }

    #[test]
    fn a_shear_by_45_degrees() {
        // The upper row moves right by one, the lower one left by one.
        assert_eq!(warped(&NINE, 3, 3, Projective::shearing(1.0, 0.0)), [0, 1, 2, 4, 5, 6, 8, 9, 0]);
    }

    #[test]
    fn a_flip_in_color_keeps_the_channels_in_order() {
        let (shape, mut out) = (ImageShape::new(1, 2, 3), [0; 6]);
        affine(&[1, 2, 3, 4, 5, 6], shape, &Projective::FLIP, &mut out, shape, &[0; 3]);
        assert_eq!(out, [4, 5, 6, 1, 2, 3]);
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
            shear in -5.0f64..5.0, factor in 0.1f64..1.9, right in -7.0f64..7.0, down in -5.0f64..5.0,
        ) {
            let map = Projective::rotation(degrees)
                .then(&Projective::shearing(shear, 0.0))
                .then(&Projective::scaling(factor, factor))
                .then(&Projective::translation(right, down));
            let (shape, mut out) = (ImageShape::new(5, 7, 1), vec![0; 35]);
            affine(&image, shape, &map, &mut out, shape, &[40]);
            prop_assert!(out.iter().all(|value| (40..=200).contains(value)));
        }

        #[test]
        fn flipping_twice_changes_nothing(image in prop::collection::vec(any::<u8>(), 24)) {
            let once = warped(&image, 4, 6, Projective::FLIP);
            prop_assert_eq!(warped(&once, 4, 6, Projective::FLIP), image);
        }
    }
}
