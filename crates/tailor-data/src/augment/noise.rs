//! Gaussian noise.

use std::sync::LazyLock;

use crate::random::Generator;

/// Adds normally distributed noise to every value; `deviation` is a part of the whole range.
pub(crate) fn add(image: &mut [u8], deviation: f32, generator: &mut Generator) {
    let scale = 255.0 * deviation;
    let mut random = [0; 512];
    for values in image.chunks_mut(random.len() / 2) {
        let random = &mut random[..2 * values.len()];
        generator.fill(random);
        for (value, bytes) in values.iter_mut().zip(random.as_chunks().0) {
            let noise = QUANTILES[usize::from(u16::from_le_bytes(*bytes)) % QUANTILES.len()];
            // `as` saturates.
            *value = (f32::from(*value) + scale * noise + 0.5) as u8;
        }
    }
}

/// The normal distribution as equally likely values: finer than pixels are, and a look-up each.
static QUANTILES: LazyLock<[f32; 4096]> = LazyLock::new(|| {
    const STEP: f64 = 1.0 / 4096.0;
    let (mut x, mut below) = (-6.0f64, 0.0);
    std::array::from_fn(|i| {
        // The density's integral, up to the middle of the i-th part of the probability.
        let probability = (i as f64 + 0.5) / 4096.0;
        while below < probability {
            let middle = x + STEP / 2.0;
            below += STEP * (-middle * middle / 2.0).exp() / std::f64::consts::TAU.sqrt();
            x += STEP;
        }
        x as f32
    })
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_its_mean_deviation_and_tails() {
        let mut image = vec![128; 200_000];
        add(&mut image, 0.1, &mut Generator::new(1));
        let n = image.len() as f64;
        let deviations: Vec<f64> = image.iter().map(|&value| f64::from(value) - 128.0).collect();
        let mean = deviations.iter().sum::<f64>() / n;
        let variance = deviations.iter().map(|value| value * value).sum::<f64>() / n;
        assert!(mean.abs() < 0.25, "{mean}");
        // Rounding to whole values adds 1/12.
        assert!((variance.sqrt() - 25.5).abs() < 0.25, "{}", variance.sqrt());
        // Beyond one deviation lie 31.7 %, beyond two 4.55 %: rounded, 25.5 is as good as it is, 51 counts half.
        let beyond = |limit: f64| deviations.iter().filter(|value| value.abs() > limit).count() as f64 / n;
        assert!((beyond(25.5) - 0.317).abs() < 0.005, "{}", beyond(25.5));
        assert!((beyond(50.5) - 0.0477).abs() < 0.003, "{}", beyond(50.5));
    }

    #[test]
    fn values_stay_in_their_range_and_nothing_is_nothing() {
        let mut image = [0, 255, 3, 250];
        add(&mut image, 0.0, &mut Generator::new(1));
        assert_eq!(image, [0, 255, 3, 250]);
        let mut black = vec![0; 1000];
        add(&mut black, 0.2, &mut Generator::new(1));
        // Half of the noise is below zero.
        let zeros = black.iter().filter(|&&value| value == 0).count();
        assert!((430..580).contains(&zeros), "{zeros}");
    }
}
