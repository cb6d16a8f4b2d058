//! Bringing pixels to mean 0 and deviation 1.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;

/// What is subtracted from and divided out of pixels in `[0, 1]`, per channel.
///
/// ```
/// use tailor_data::Normalization;
/// let mut out = [0.0; 3];
/// Normalization { mean: vec![0.5], deviation: vec![0.25] }.apply(&[0, 255, 51], &mut out);
/// assert_eq!(out, [-2.0, 2.0, -1.2]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// The mean of each channel, of pixels divided by 255.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel, of pixels divided by 255.
    pub deviation: Vec<f32>,
}

/// Images that are worth a task of their own.
const IMAGES_PER_TASK: usize = 64;

/// A channel with less deviation than a 1/255 step in a hundred pixels is constant; it is only centered.
const SMALLEST_DEVIATION: f32 = 1e-4;

impl Normalization {
    /// Only divides by 255.
    pub fn unit(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], deviation: vec![1.0; channels] }
    }

    /// What torchvision's networks were trained with: means and deviations of ImageNet, of their three colors or, for grey
    /// images, the mean over the colors.
    pub fn imagenet(channels: usize) -> Self {
        let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let of_channels = |colors: [f32; 3]| match channels {
            1 => vec![colors.iter().sum::<f32>() / 3.0],
            _ => colors.to_vec(),
        };
        Self { mean: of_channels(mean), deviation: of_channels(deviation) }
    }

    /// The mean and deviation of all pixels of a data set, which should be the training part alone. For an
    /// empty one as [`unit`](Self::unit).
    ///
    /// The sums are of integers and therefore exact, in whatever order they are taken.
    pub fn of(dataset: &Dataset) -> Self {
        let channels = dataset.shape().channels;
        if dataset.is_empty() {
            return Self::unit(channels);
        }
        let empty = || vec![[0u64; 256]; channels];
        let count = |mut histograms: Vec<[u64; 256]>, i| {
            for pixel in dataset.image(i).chunks_exact(channels) {
                for (histogram, &value) in histograms.iter_mut().zip(pixel) {
                    histogram[usize::from(value)] += 1;
                }
            }
            histograms
        };
        let add = |mut a: Vec<[u64; 256]>, b: Vec<[u64; 256]>| {
            a.as_flattened_mut().iter_mut().zip(b.as_flattened()).for_each(|(a, b)| *a += b);
            a
        };
        let images = (0..dataset.len()).into_par_iter().with_min_len(IMAGES_PER_TASK);
        let histograms = images.fold(empty, count).reduce(empty, add);
        let (mean, deviation) = histograms.iter().map(mean_and_deviation).unzip();
        Self { mean, deviation }
    }

    /// Whether there is one mean and one positive deviation for each of `channels` channels.
    pub fn fits(&self, channels: usize) -> bool {
        self.mean.len() == channels
            && self.deviation.len() == channels
            && self.mean.iter().chain(&self.deviation).all(|value| value.is_finite())
            && self.deviation.iter().all(|&deviation| deviation >= 0.0)
    }

    /// Normalizes pixels `[…, C]` into `out` of the same length.
    ///
    /// # Panics
    /// If the lengths differ, or the normalization does not [`fit`](Self::fits) any number of channels.
    pub fn apply(&self, pixels: &[u8], out: &mut [f32]) {
        self.table().apply(pixels, out);
    }

    /// The normalized value of every pixel value, for use on many images.
    pub(crate) fn table(&self) -> Table {
        assert!(self.fits(self.mean.len()), "a normalization needs a mean and a deviation for each channel");
        let of_channel = |(&mean, &deviation): (&f32, &f32)| {
            let divisor = if deviation < SMALLEST_DEVIATION { 1.0 } else { deviation };
            std::array::from_fn(|value| (value as f32 / 255.0 - mean) / divisor)
        };
        Table { channels: self.mean.iter().zip(&self.deviation).map(of_channel).collect() }
    }
}

/// Normalized values by channel and pixel value.
pub(crate) struct Table {
    channels: Vec<[f32; 256]>,
}

impl Table {
    pub(crate) fn apply(&self, pixels: &[u8], out: &mut [f32]) {
        assert_eq!(pixels.len(), out.len(), "as many values as pixels");
        match &self.channels[..] {
            [grey] => look_up([grey], pixels, out),
            [red, green, blue] => look_up([red, green, blue], pixels, out),
            tables => {
                for (out, pixel) in out.chunks_exact_mut(tables.len()).zip(pixels.chunks_exact(tables.len()))
                {
                    for ((out, &value), table) in out.iter_mut().zip(pixel).zip(tables) {
                        *out = table[usize::from(value)];
                    }
                }
            }
        }
    }
}

/// For a number of channels that is known here, so that the inner loop unrolls: beside training this counts.
fn look_up<const CHANNELS: usize>(tables: [&[f32; 256]; CHANNELS], pixels: &[u8], out: &mut [f32]) {
    let (pixels, out) = (pixels.as_chunks::<CHANNELS>().0, out.as_chunks_mut::<CHANNELS>().0);
    for (out, pixel) in out.iter_mut().zip(pixels) {
        for channel in 0..CHANNELS {
            out[channel] = tables[channel][usize::from(pixel[channel])];
        }
    }
}

/// The mean and the standard deviation (of the whole population) of values in `0..=255`, divided by 255.
fn mean_and_deviation(histogram: &[u64; 256]) -> (f32, f32) {
    let moment = |power: u32| -> u64 {
        histogram.iter().zip(0u64..).map(|(count, value)| count * value.pow(power)).sum()
    };
    let (count, sum, squares) = (moment(0) as f64, moment(1) as f64, moment(2) as f64);
    let mean = sum / count;
    let variance = (squares / count - mean * mean).max(0.0);
    ((mean / 255.0) as f32, (variance.sqrt() / 255.0) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::ImageShape;

    #[test]
    fn each_channel_has_its_own_mean_and_deviation() {
        // Red 0 and 255: mean ½, deviation ½. Green 51 twice: 0.2 and 0. Blue 0, 102: 0.2, 0.2.
        let pixels = vec![0, 51, 0, 255, 51, 102];
        let names = vec!["only".to_owned()];
        let data = Dataset::new(ImageShape::new(1, 2, 3), pixels, vec![0], names).unwrap();
        let normalization = Normalization::of(&data);
        assert_eq!(normalization.mean, [0.5, 0.2, 0.2]);
        assert_eq!(normalization.deviation, [0.5, 0.0, 0.2]);
        let mut out = [9.0; 6];
        normalization.apply(&data.image(0), &mut out);
        // The constant channel becomes 0, not infinite.
        assert_eq!(out, [-1.0, 0.0, -1.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn unit_divides_by_255() {
        let mut out = [0.0; 3];
        Normalization::unit(1).apply(&[0, 51, 255], &mut out);
        assert_eq!(out, [0.0, 0.2, 1.0]);
    }

    #[test]
    fn what_fits() {
        assert!(Normalization::unit(3).fits(3));
        assert!(!Normalization::unit(3).fits(1));
        assert!(!Normalization { mean: vec![0.0], deviation: vec![f32::NAN] }.fits(1));
        assert!(!Normalization { mean: vec![0.0], deviation: vec![-1.0] }.fits(1));
    }
}
