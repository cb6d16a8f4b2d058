//! Resampling by maps that keep rows and columns: crops, stretches, mirror images.

use super::projective::Projective;
use crate::dataset::ImageShape;

/// Each pixel of `out` is a weighted mean of the pixels about its source: linear interpolation where the image
/// grows, and where it shrinks weights that fall linearly to zero over the width of the pixels that become
/// one. Without a fill color this is Pillow's `resize(…, BILINEAR, box)`, and torchvision's with `antialias`.
pub(super) fn resample(
    image: &[u8],
    from: ImageShape,
    map: &Projective,
    out: &mut [u8],
    to: ImageShape,
    fill: &[u8],
) {
    match to.channels {
        1 => resample_channels::<1>(image, from, map, out, to, fill),
        _ => resample_channels::<3>(image, from, map, out, to, fill),
    }
}

fn resample_channels<const C: usize>(
    image: &[u8],
    from: ImageShape,
    map: &Projective,
    out: &mut [u8],
    to: ImageShape,
    fill: &[u8],
) {
    let fill: [f32; C] = std::array::from_fn(|channel| f32::from(fill[channel]));
    let columns = taps(from.width, to.width, map.0[0][0], map.0[0][2]);
    let rows = taps(from.height, to.height, map.0[1][1], map.0[1][2]);
    let first = rows.iter().filter(|tap| !tap.weights.is_empty()).map(|tap| tap.first).min().unwrap_or(0);
    let last = rows.iter().map(|tap| tap.first + tap.weights.len()).max().unwrap_or(0);

    let stride = to.width * C;
    let mut narrowed = vec![0.0; last.saturating_sub(first) * stride];
    let source_rows = image.chunks_exact(from.width * C).skip(first);
    for (narrowed, row) in narrowed.chunks_exact_mut(stride).zip(source_rows) {
        let (row, narrowed) = (row.as_chunks::<C>().0, narrowed.as_chunks_mut::<C>().0);
        for (out, tap) in narrowed.iter_mut().zip(&columns) {
            if tap.weights.is_empty() {
                *out = fill;
                continue;
            }
            for (pixel, weight) in row[tap.first..].iter().zip(&tap.weights) {
                for channel in 0..C {
                    out[channel] += weight * f32::from(pixel[channel]);
                }
            }
        }
    }

    let mut sum = vec![0.0; stride];
    for (out, tap) in out.chunks_exact_mut(stride).zip(&rows) {
        if tap.weights.is_empty() {
            sum.as_chunks_mut::<C>().0.fill(fill);
        } else {
            sum.fill(0.0);
        }
        let rows = narrowed.chunks_exact(stride).skip(tap.first.saturating_sub(first));
        for (row, weight) in rows.zip(&tap.weights) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
        // `as` saturates.
        out.iter_mut().zip(&sum).for_each(|(out, sum)| *out = (sum + 0.5) as u8);
    }
}

/// The source positions that one output position is made of, with weights that sum to one; none if it lies
/// outside of the source.
#[derive(Clone, Debug, PartialEq)]
struct Tap {
    first: usize,
    weights: Vec<f32>,
}

/// The taps of positions about the middle of `target`, which come from `scale · position + offset` about the
/// middle of `source`.
fn taps(source: usize, target: usize, scale: f64, offset: f64) -> Vec<Tap> {
    let middle = |length: usize| (length - 1) as f64 / 2.0;
    let support = scale.abs().max(1.0);
    let tap = |i: usize| {
        let center = (i as f64 - middle(target)) * scale + offset + middle(source);
        // Half a pixel beyond the outermost centers is where the image ends; roundings are forgiven.
        const TOLERANCE: f64 = 1e-6;
        if center < -0.5 - TOLERANCE || center > source as f64 - 0.5 + TOLERANCE {
            return Tap { first: 0, weights: Vec::new() };
        }
        let first = (center - support).floor() as isize + 1;
        let last = (center + support).ceil() as isize - 1;
        let (first, last) = (first.max(0), last.min(source as isize - 1));
        let weights = (first..=last).map(|j| 1.0 - (j as f64 - center).abs() / support);
        let sum: f64 = weights.clone().sum();
        Tap { first: first as usize, weights: weights.map(|weight| (weight / sum) as f32).collect() }
    };
    (0..target).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_by_hand() {
        // 4 → 2: centers ½ and 2½, support 2. Distances ½ ½ 1½ weigh ¾ ¾ ¼, of 1¾.
        let halves = taps(4, 2, 2.0, 0.0);
        assert_eq!(halves[0], Tap { first: 0, weights: vec![3.0 / 7.0, 3.0 / 7.0, 1.0 / 7.0] });
        assert_eq!(halves[1], Tap { first: 1, weights: vec![1.0 / 7.0, 3.0 / 7.0, 3.0 / 7.0] });
        // 2 → 4: centers −¼ ¼ ¾ 1¼; what is cut off at the edges is made up for.
        let doubled = taps(2, 4, 0.5, 0.0);
        assert_eq!(doubled[0], Tap { first: 0, weights: vec![1.0] });
        assert_eq!(doubled[1], Tap { first: 0, weights: vec![0.75, 0.25] });
        // Moved by two, half of it lies outside.
        let moved = taps(4, 4, 1.0, 2.0);
        assert_eq!(moved[1], Tap { first: 3, weights: vec![1.0] });
        assert_eq!(moved[2], Tap { first: 0, weights: vec![] });
    }

    #[test]
    fn outside_is_filled() {
        let shape = ImageShape::new(2, 2, 1);
        let mut out = [0; 4];
        resample(&[1, 2, 3, 4], shape, &Projective::translation(1.0, -1.0), &mut out, shape, &[9]);
        assert_eq!(out, [9, 3, 9, 9]);
        resample(&[1, 2, 3, 4], shape, &Projective::translation(5.0, 0.0), &mut out, shape, &[9]);
        assert_eq!(out, [9; 4]);
        resample(&[1, 2, 3, 4], shape, &Projective::translation(0.0, 5.0), &mut out, shape, &[9]);
        assert_eq!(out, [9; 4]);
    }

    /// What Pillow makes of a small image; see `tests/vectors/pillow.py`.
    #[derive(serde::Deserialize)]
    struct Vectors {
        height: usize,
        width: usize,
        gray: Vec<u8>,
        color: Vec<u8>,
        cases: Vec<Crop>,
    }

    #[derive(serde::Deserialize)]
    struct Crop {
        /// Left, top, right, bottom.
        #[serde(rename = "box")]
        edges: [f64; 4],
        height: usize,
        width: usize,
        gray: Vec<u8>,
        color: Vec<u8>,
    }

    #[test]
    fn crops_are_as_in_pillow() {
        let vectors: Vectors = serde_json::from_str(include_str!("../../tests/vectors/crops.json")).unwrap();
        assert_eq!(vectors.cases.len(), 12);
        let (height, width) = (vectors.height, vectors.width);
        for Crop { edges: [left, top, right, bottom], height: rows, width: columns, gray, color } in
            vectors.cases
        {
            let middle = Projective::translation(
                (width as f64 - left - right) / 2.0,
                (height as f64 - top - bottom) / 2.0,
            );
            let map = middle
                .then(&Projective::scaling(columns as f64 / (right - left), rows as f64 / (bottom - top)));
            for (image, expected, channels) in [(&vectors.gray, gray, 1), (&vectors.color, color, 3)] {
                let mut out = vec![0; rows * columns * channels];
                let [from, to] =
                    [(height, width), (rows, columns)].map(|(h, w)| ImageShape::new(h, w, channels));
                resample(image, from, &map, &mut out, to, &[0; 3][..channels]);
                let worst = out.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                assert!(
                    worst <= 1,
                    "{left} {top} {right} {bottom} to {rows}×{columns}: {out:?}\n{expected:?}"
                );
            }
        }
    }
}
