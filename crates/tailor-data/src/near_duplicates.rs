//! Images that are nearly the same: equal but for brightness, contrast and a little noise or movement.

use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::{Dataset, ImageShape, Splits};
use crate::duplicates::{Copy, named_parts};
use crate::error::Result;

/// Two images that are nearly the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearDuplicate {
    /// In the order of parts and positions.
    pub copies: [Copy; 2],
    /// The correlation of their pixels, up to 1.
    pub correlation: f64,
}

/// Sides above which images are made smaller before they are compared: what is the same, stays the same.
const LARGEST_SIDE: usize = 32;
/// Frequencies in each direction that are compared first.
const FREQUENCIES: usize = 8;
/// Numbers of the index that are compared at once.
const BLOCK: usize = 16;

/// All pairs of images of all parts whose pixels correlate at least so much (Pearson), the most similar first. Images of one
/// color are left out: they correlate with nothing.
///
/// Every image is taken as a vector of mean 0 and length 1, of which the lowest frequencies of a cosine transform are an
/// orthogonal projection. Distances only shrink in a projection, so what is too far there need not be looked at, and
/// nothing is missed; sorted by the coefficient that varies most, each image is compared with its neighbors only.
///
/// # Errors
/// Images that cannot be made smaller.
pub fn near_duplicates(splits: &Splits, least_correlation: f64) -> Result<Vec<NearDuplicate>> {
    let parts = named_parts(splits);
    let mut images = Vec::new();
    let mut small = Vec::new();
    for (number, (_, dataset)) in parts.iter().enumerate() {
        small.push(shrunk(dataset)?);
        images.extend((0..dataset.len()).map(|index| (number, index)));
    }
    let pixels = |&(part, index): &(usize, usize)| small[part].image(index);
    let shape = small[0].shape();
    let basis = Basis::new(shape);
    let mut points: Vec<Point> = images
        .par_iter()
        .enumerate()
        .filter_map(|(image, place)| basis.project(&pixels(place)).map(|place| Point { image, place }))
        .collect();
    let widest = widest(&points);
    points.sort_by(|a, b| a.place[widest].total_cmp(&b.place[widest]));

    // ‖a − b‖² = 2 − 2·correlation; a little more, for roundings.
    let squared = (2.0 - 2.0 * least_correlation) as f32 + 1e-5;
    let radius = squared.sqrt();
    let neighbors = |(at, point): (usize, &Point)| {
        let mut found = Vec::new();
        let near = points[at + 1..].iter().take_while(|o| o.place[widest] - point.place[widest] <= radius);
        for other in near.filter(|other| is_within(&point.place, &other.place, squared)) {
            let [first, second] = [point.image.min(other.image), point.image.max(other.image)];
            let correlation = correlation(&pixels(&images[first]), &pixels(&images[second]));
            if correlation >= least_correlation {
                found.push((first, second, correlation));
            }
        }
        found
    };
    let mut found: Vec<(usize, usize, f64)> =
        points.par_iter().enumerate().flat_map_iter(neighbors).collect();
    found.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    let copy = |image: usize| {
        let (part, index) = images[image];
        Copy { part: parts[part].0, index, label: parts[part].1.label(index) }
    };
    let pair = |(a, b, correlation)| NearDuplicate { copies: [copy(a), copy(b)], correlation };
    Ok(found.into_iter().map(pair).collect())
}

/// An image by its number, and where it lies among the others.
struct Point {
    image: usize,
    place: [f32; FREQUENCIES * FREQUENCIES],
}

fn shrunk(dataset: &Dataset) -> Result<Dataset> {
    let ImageShape { height, width, .. } = dataset.shape();
    match height.max(width) > LARGEST_SIDE {
        true => Ok(dataset.resized(height.min(LARGEST_SIDE), width.min(LARGEST_SIDE))?.into_memory()),
        false => Ok(dataset.clone().into_memory()),
    }
}

/// The lowest frequencies of the two-dimensional cosine transform (DCT-II, orthonormal) of all channels' sum.
struct Basis {
    shape: ImageShape,
    /// `[FREQUENCIES, side]`
    rows: Vec<f32>,
    columns: Vec<f32>,
}

impl Basis {
    fn new(shape: ImageShape) -> Self {
        let cosines = |side: usize| {
            (0..FREQUENCIES * side)
                .map(|i| {
                    let (frequency, at) = (i / side, i % side);
                    // A side has as many frequencies as pixels.
                    let scale = match frequency {
                        0 => (1.0 / side as f64).sqrt(),
                        f if f < side => (2.0 / side as f64).sqrt(),
                        _ => 0.0,
                    };
                    let angle = std::f64::consts::PI * frequency as f64 * (at as f64 + 0.5) / side as f64;
                    (scale * angle.cos()) as f32
                })
                .collect()
        };
        Self { shape, rows: cosines(shape.height), columns: cosines(shape.width) }
    }

    /// The coefficients of the image as a vector of mean 0 and length 1; none for an image of one color.
    fn project(&self, image: &[u8]) -> Option<[f32; FREQUENCIES * FREQUENCIES]> {
        let ImageShape { height, width, channels } = self.shape;
        let n = image.len() as f64;
        let (sum, squares) = sums(image, image);
        let mean = sum[0] / n;
        let length = (squares - n * mean * mean).sqrt();
        if length < 1e-3 {
            return None;
        }
        let mut narrowed = vec![0.0; height * FREQUENCIES];
        for (row, out) in image.chunks_exact(width * channels).zip(narrowed.chunks_exact_mut(FREQUENCIES)) {
            let gray: Vec<f32> = row
                .chunks_exact(channels)
                .map(|pixel| pixel.iter().map(|&v| f32::from(v) - mean as f32).sum())
                .collect();
            for (out, cosines) in out.iter_mut().zip(self.columns.chunks_exact(width)) {
                *out = gray.iter().zip(cosines).map(|(value, cosine)| value * cosine).sum();
            }
        }
        let scale = 1.0 / (length as f32 * (channels as f32).sqrt());
        Some(std::array::from_fn(|i| {
            let (down, right) = (i / FREQUENCIES, i % FREQUENCIES);
            let cosines = self.rows[down * height..][..height].iter();
            let column = narrowed.chunks_exact(FREQUENCIES).map(|row| row[right]);
            scale * cosines.zip(column).map(|(cosine, value)| cosine * value).sum::<f32>()
        }))
    }
}

/// The coefficient that varies most.
fn widest(points: &[Point]) -> usize {
    let n = points.len().max(1) as f64;
    let variance = |at: usize| {
        let values = || points.iter().map(|point| f64::from(point.place[at]));
        let mean = values().sum::<f64>() / n;
        values().map(|value| (value - mean).powi(2)).sum::<f64>()
    };
    let variances: Vec<f64> = (0..FREQUENCIES * FREQUENCIES).map(variance).collect();
    (0..variances.len()).fold(0, |best, at| if variances[at] > variances[best] { at } else { best })
}

/// Whether two points are so near; most are found out after a few numbers.
fn is_within(a: &[f32], b: &[f32], squared: f32) -> bool {
    let mut sum = 0.0;
    for (a, b) in a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK)) {
        sum += a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        if sum > squared {
            return false;
        }
    }
    true
}

/// Pearson's correlation of the pixels of two images, from whole numbers.
fn correlation(a: &[u8], b: &[u8]) -> f64 {
    let n = a.len() as f64;
    let ([sum_a, sum_b], product) = sums(a, b);
    let spread = |image: &[u8], sum: f64| sums(image, image).1 - sum * sum / n;
    (product - sum_a * sum_b / n) / (spread(a, sum_a) * spread(b, sum_b)).sqrt()
}

/// The sums of two images, and of their product.
fn sums(a: &[u8], b: &[u8]) -> ([f64; 2], f64) {
    let sum = |image: &[u8]| image.iter().map(|&value| u64::from(value)).sum::<u64>() as f64;
    let product: u64 = a.iter().zip(b).map(|(&a, &b)| u64::from(a) * u64::from(b)).sum();
    ([sum(a), sum(b)], product as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    fn splits(shape: ImageShape, train: Vec<u8>, test: Vec<u8>) -> Splits {
        let part = |pixels: Vec<u8>| {
            let labels = vec![0; pixels.len() / shape.len()];
            Dataset::new(shape, pixels, labels, vec!["a".into(), "b".into()]).unwrap()
        };
        let (train, test) = (part(train), Some(part(test)));
        Splits { name: "some".into(), train, validation: None, test, notes: vec![] }
    }

    /// Blocks of random gray, a different one for each seed.
    fn blocks(shape: ImageShape, seed: u64) -> Vec<u8> {
        let mut generator = Generator::new(seed);
        let grays: Vec<u8> = (0..49 * shape.channels).map(|_| generator.below(200) as u8).collect();
        let at = |i: usize| {
            let (channel, x, y) =
                (i % shape.channels, i / shape.channels % shape.width, i / shape.channels / shape.width);
            grays[(y * 7 / shape.height * 7 + x * 7 / shape.width) * shape.channels + channel]
        };
        (0..shape.len()).map(at).collect()
    }

    #[test]
    fn planted_near_copies_are_found_within_and_between_parts_and_nothing_else() {
        for shape in [ImageShape::new(28, 28, 1), ImageShape::new(40, 60, 3)] {
            let mut train: Vec<Vec<u8>> = (0..300).map(|seed| blocks(shape, seed)).collect();
            let mut test: Vec<Vec<u8>> = (300..400).map(|seed| blocks(shape, seed)).collect();
            let mut noise = Generator::new(9);
            let brighter = |image: &[u8]| image.iter().map(|&v| v + v / 8 + 10).collect::<Vec<u8>>();
            train[200] = brighter(&train[17]);
            train[201] = train[18].iter().map(|&v| v + noise.below(4) as u8).collect();
            test[50] = brighter(&train[99]);
            test[51] = test[3].clone();
            test[52] = vec![7; shape.len()];
            test[53] = vec![8; shape.len()];
            let found = near_duplicates(&splits(shape, train.concat(), test.concat()), 0.99).unwrap();
            let mut pairs: Vec<_> =
                found.iter().map(|pair| pair.copies.each_ref().map(|copy| (copy.part, copy.index))).collect();
            assert!(found.is_sorted_by(|a, b| a.correlation >= b.correlation));
            assert!((found[0].correlation - 1.0).abs() < 1e-12, "the exact copy comes first");
            pairs.sort_unstable();
            let expected = [
                [("test", 3), ("test", 51)],
                [("train", 17), ("train", 200)],
                [("train", 18), ("train", 201)],
                [("train", 99), ("test", 50)],
            ];
            assert_eq!(pairs, expected, "{shape}");
        }
    }

    #[test]
    fn the_index_misses_nothing() {
        // Many images that are all alike: compared with looking at every pair.
        let shape = ImageShape::new(12, 10, 1);
        let mut generator = Generator::new(4);
        let base = blocks(shape, 1);
        let image = |_| base.iter().map(|&v| v + generator.below(40) as u8).collect::<Vec<u8>>();
        let images: Vec<Vec<u8>> = (0..150).map(image).collect();
        for least in [0.93, 0.95, 0.97] {
            let found =
                near_duplicates(&splits(shape, images[..100].concat(), images[100..].concat()), least);
            let expected = (0..150)
                .flat_map(|a| (a + 1..150).map(move |b| (a, b)))
                .filter(|&(a, b)| correlation(&images[a], &images[b]) >= least)
                .count();
            assert_eq!(found.unwrap().len(), expected);
        }
    }
}
