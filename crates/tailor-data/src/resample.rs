//! Changing the size of an image: area averaging when it shrinks, linear interpolation when it grows.

/// An image of `f32` values, `[H, W, C]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Raster {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) values: Vec<f32>,
}

impl Raster {
    /// An image of this size from a source `[H, W, C]` whose rows are asked for one after the other, so that it
    /// need not be there in `f32` as a whole. Each output pixel is the mean of the area that it covers (so that
    /// nothing aliases); along an axis that grows it is interpolated linearly between pixel centers.
    pub(crate) fn resized_from(
        [source_height, source_width, channels]: [usize; 3],
        mut read_row: impl FnMut(usize, &mut [f32]),
        height: usize,
        width: usize,
    ) -> Raster {
        let columns = taps(source_width, width);
        let rows = taps(source_height, height);
        let mut row = vec![0.0; source_width * channels];
        let mut narrowed = Vec::with_capacity(source_height * width * channels);
        for y in 0..source_height {
            read_row(y, &mut row);
            for tap in &columns {
                for channel in 0..channels {
                    let weighted = |(i, weight)| weight * row[(tap.first + i) * channels + channel];
                    narrowed.push(tap.weights.iter().enumerate().map(weighted).sum());
                }
            }
        }

        let stride = width * channels;
        let mut values = vec![0.0; height * stride];
        for (out, tap) in values.chunks_exact_mut(stride).zip(&rows) {
            for (row, weight) in narrowed[tap.first * stride..].chunks_exact(stride).zip(&tap.weights) {
                for (out, value) in out.iter_mut().zip(row) {
                    *out += weight * value;
                }
            }
        }
        Raster { height, width, channels, values }
    }

    /// The image in the middle of a larger one that is filled with `background`.
    pub(crate) fn centered(&self, height: usize, width: usize, background: &[f32]) -> Raster {
        let channels = self.channels;
        let (top, left) = ((height - self.height) / 2, (width - self.width) / 2);
        let mut values = background.repeat(height * width);
        let rows = values.chunks_exact_mut(width * channels).skip(top);
        for (out, row) in rows.zip(self.values.chunks_exact(self.width * channels)) {
            out[left * channels..][..row.len()].copy_from_slice(row);
        }
        Raster { height, width, channels, values }
    }
}

/// The source positions that one output position is made of, and their weights, which sum to one.
#[derive(Debug, PartialEq)]
struct Tap {
    first: usize,
    weights: Vec<f32>,
}

fn taps(source: usize, target: usize) -> Vec<Tap> {
    let scale = source as f64 / target as f64;
    let tap = |i: usize| {
        if target <= source {
            let (start, end) = (i as f64 * scale, ((i + 1) as f64 * scale).min(source as f64));
            let (first, last) = (start.floor() as usize, (end.ceil() as usize).min(source));
            let overlap =
                |j: usize| ((end.min((j + 1) as f64) - start.max(j as f64)).max(0.0) / scale) as f32;
            Tap { first, weights: (first..last).map(overlap).collect() }
        } else {
            let center = ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, (source - 1) as f64);
            let first = (center.floor() as usize).min(source.saturating_sub(2));
            let weight = (center - first as f64) as f32;
            let weights = if source == 1 { vec![1.0] } else { vec![1.0 - weight, weight] };
            Tap { first, weights }
        }
    };
    (0..target).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Raster {
        fn resized(&self, height: usize, width: usize) -> Raster {
            let stride = self.width * self.channels;
            let row = |y: usize, row: &mut [f32]| row.copy_from_slice(&self.values[y * stride..][..stride]);
            Raster::resized_from([self.height, self.width, self.channels], row, height, width)
        }
    }

    fn row(values: &[f32]) -> Raster {
        Raster { height: 1, width: values.len(), channels: 1, values: values.to_vec() }
    }

    #[test]
    fn shrinking_averages_areas() {
        // 3 → 2: each output pixel covers 1.5: (2 · 1 + 5 · ½) / 1.5 = 3 and (5 · ½ + 11 · 1) / 1.5 = 9.
        assert_eq!(row(&[2.0, 5.0, 11.0]).resized(1, 2).values, [3.0, 9.0]);
        assert_eq!(row(&[2.0, 4.0, 6.0, 8.0]).resized(1, 2).values, [3.0, 7.0]);
    }

    #[test]
    fn growing_interpolates_between_centers() {
        // The output centers lie at −¼ (clamped to 0), ¼, ¾ and 1¼ (clamped to 1).
        assert_eq!(row(&[0.0, 8.0]).resized(1, 4).values, [0.0, 2.0, 6.0, 8.0]);
        assert_eq!(row(&[5.0]).resized(2, 2).values, [5.0; 4]);
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        let image = row(&[1.0, 2.0, 3.0, 5.0, 8.0]);
        assert_eq!(image.resized(1, 5), image);
    }

    #[test]
    fn a_constant_image_stays_constant_at_any_size() {
        for (source, target) in [(100, 28), (29, 28), (27, 28), (3000, 7), (2, 99)] {
            for tap in taps(source, target) {
                assert!((tap.weights.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{source} → {target}");
                assert!(tap.first + tap.weights.len() <= source);
            }
        }
    }

    #[test]
    fn centering_puts_the_image_in_the_middle() {
        let image =
            Raster { height: 2, width: 1, channels: 3, values: (0..6).map(|value| value as f32).collect() };
        let larger = image.centered(4, 4, &[7.0, 8.0, 9.0]);
        assert_eq!(larger.values[..3], [7.0, 8.0, 9.0]);
        // Row 1 and 2, column 1.
        assert_eq!(larger.values[(4 + 1) * 3..][..3], image.values[..3]);
        assert_eq!(larger.values[(8 + 1) * 3..][..3], image.values[3..]);
    }
}
