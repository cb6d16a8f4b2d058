//! How far the accuracy on a finite test set can be trusted.

use serde::{Deserialize, Serialize};

/// The 97.5 % quantile of the standard normal distribution: two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// An interval that covers the true value, a proportion or a difference of two, in 95 of 100 repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl Interval {
    /// The 95 % score interval of a proportion, `correct` of `images` (Wilson 1927, "Probable inference, the law of
    /// succession, and statistical inference"; statsmodels' `proportion_confint(method="wilson")`). Unlike the textbook
    /// p ± 1.96 √(p(1-p)/n), it stays within 0 to 1 and is right for a model that is nearly perfect.
    ///
    /// With no images nothing is known: 0 to 1.
    pub fn wilson(correct: usize, images: usize) -> Self {
        if images == 0 {
            return Self { low: 0.0, high: 1.0 };
        }
        let n = images as f64;
        let p = correct as f64 / n;
        let z2 = Z * Z;
        let center = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half_width = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        Self { low: (center - half_width).max(0.0), high: (center + half_width).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_statsmodels() {
        // proportion_confint(correct, images, alpha=0.05, method="wilson") of statsmodels 0.15.
        for (correct, images, low, high) in [
            (0, 10, 0.0, 0.27753279986288926),
            (1, 10, 0.017876213095072924, 0.40415002679523854),
            (10, 10, 0.7224672001371106, 1.0),
            (9142, 10000, 0.9085504560920603, 0.9195314396576713),
            (81, 263, 0.2552885198782742, 0.36620957698280004),
            (15, 148, 0.06238639953073628, 0.16048724172330803),
        ] {
            let interval = Interval::wilson(correct, images);
            assert!((interval.low - low).abs() < 1e-12, "{correct}/{images}: {interval:?}");
            assert!((interval.high - high).abs() < 1e-12, "{correct}/{images}: {interval:?}");
        }
    }

    #[test]
    fn bounds_follow_from_the_formula_by_hand() {
        // All 4 of 4, z² = 3.8415: center = (1 + 0.48018) / 1.96036 = 0.75506; half width = 1.95996 / 1.96036 ·
        // √(3.8415 / 64) = 0.24495. Their difference is 0.51011 = 1 / (1 + z²/4), their sum 1.
        let interval = Interval::wilson(4, 4);
        assert!((interval.low - 1.0 / (1.0 + Z * Z / 4.0)).abs() < 1e-15);
        assert_eq!(interval.high, 1.0);
    }

    #[test]
    fn without_images_nothing_is_known() {
        assert_eq!(Interval::wilson(0, 0), Interval { low: 0.0, high: 1.0 });
    }
}
