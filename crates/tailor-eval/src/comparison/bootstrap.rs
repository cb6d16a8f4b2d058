//! The bootstrap: how far figures would move on other images of the same kind.

use crate::{Interval, SplitMix64};

/// Accuracies on resampled test sets.
pub(crate) struct Bootstrap {
    /// `[models][draws]`.
    accuracies: Vec<Vec<f64>>,
}

impl Bootstrap {
    /// Draws as many images as there are, with repetition, `draws` times, and counts the models' right answers on them
    /// (Efron 1979, "Bootstrap methods: another look at the jackknife"). Every model sees the same drawn images, so that
    /// differences are paired. `correct` `[models][images]` says how many of the `runs` `[models]` of a model got an image
    /// right. The same seed gives the same bits.
    pub fn over_images(correct: &[Vec<u32>], runs: &[usize], draws: usize, seed: u64) -> Self {
        let images = correct.first().map_or(0, Vec::len);
        let mut random = SplitMix64::new(seed);
        let mut accuracies = vec![Vec::with_capacity(draws); correct.len()];
        for _ in 0..draws {
            let mut times = vec![0_u32; images];
            (0..images).for_each(|_| times[random.below(images)] += 1);
            for ((accuracies, correct), runs) in accuracies.iter_mut().zip(correct).zip(runs) {
                let right: u64 = times.iter().zip(correct).map(|(&t, &c)| u64::from(t * c)).sum();
                accuracies.push(right as f64 / (runs * images) as f64);
            }
        }
        Self { accuracies }
    }

    /// The 95 % interval of the first model's accuracy less the second's.
    pub fn difference(&self, first: usize, second: usize) -> Interval {
        let pairs = self.accuracies[first].iter().zip(&self.accuracies[second]);
        percentile_interval(pairs.map(|(first, second)| first - second).collect())
    }
}

/// From the 2.5th to the 97.5th percentile (Efron and Tibshirani 1993, section 13.3), as SciPy's
/// `bootstrap(method="percentile")`.
pub fn percentile_interval(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    Interval { low: quantile(&values, 0.025), high: quantile(&values, 0.975) }
}

/// The quantile of sorted values, linear between neighbors, as NumPy's default (Hyndman and Fan 1996, type 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + place.fract() * (above - below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_follow_by_hand() {
        // 0, 1, …, 40: the 2.5th percentile stands at place 0.025 · 40 = 1, the 97.5th at place 39.
        let interval = percentile_interval((0..=40).rev().map(f64::from).collect());
        assert!((interval.low - 1.0).abs() < 1e-12 && (interval.high - 39.0).abs() < 1e-12, "{interval:?}");
        assert_eq!(quantile(&[1.0, 2.0], 0.25), 1.25);
    }

    #[test]
    fn models_that_answer_alike_never_differ_and_the_seed_repeats() {
        let alike = vec![vec![1, 0, 1, 1, 0, 1]; 2];
        let bootstrap = |seed| Bootstrap::over_images(&alike, &[1, 1], 50, seed);
        assert_eq!(bootstrap(1).difference(0, 1), Interval { low: 0.0, high: 0.0 });
        assert_eq!(bootstrap(1).accuracies, bootstrap(1).accuracies);
        assert_ne!(bootstrap(1).accuracies, bootstrap(2).accuracies);
    }
}
