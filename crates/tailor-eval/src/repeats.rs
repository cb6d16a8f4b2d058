//! Figures of runs that were repeated with several seeds: how far they vary, and whether two settings differ.

/// Mean and deviation of a figure over repetitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Of all repetitions.
    pub mean: f64,
    /// Standard deviation with n − 1 in the denominator; none of a single repetition.
    pub deviation: Option<f64>,
}

impl Spread {
    /// None of no repetitions.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / n)?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        Some(Self { mean, deviation })
    }
}

/// By how much one setting's figures exceed another's, seed by seed.
///
/// The same seed means the same images held out, in the same order: what that adds to both drops out of the difference
/// (the paired t-test; Student 1908, "The probable error of a mean").
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedDifference {
    /// The mean difference.
    pub mean: f64,
    /// Half the width of its 95 % interval, of Student's t with n − 1 degrees of freedom; infinite for one pair.
    pub margin: f64,
}

impl PairedDifference {
    /// Of `values` over `reference`, which stand in the same order of seeds; none without any.
    ///
    /// # Panics
    /// If there are not as many of one as of the other.
    pub fn of(values: &[f64], reference: &[f64]) -> Option<Self> {
        assert_eq!(values.len(), reference.len(), "a difference needs both of each pair");
        let differences: Vec<f64> =
            values.iter().zip(reference).map(|(value, other)| value - other).collect();
        let Spread { mean, deviation } = Spread::of(&differences)?;
        let margin = deviation.map_or(f64::INFINITY, |deviation| {
            t_quantile(differences.len() - 1) * deviation / (differences.len() as f64).sqrt()
        });
        Some(Self { mean, margin })
    }

    /// Whether the interval leaves out zero. Otherwise chance alone may have made the difference.
    pub fn is_distinguishable(&self) -> bool {
        self.mean.abs() > self.margin
    }
}

/// The 97.5 % quantile of Student's t distribution.
fn t_quantile(degrees_of_freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
        2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963,
        2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.045230, 2.042272,
    ];
    const Z: f64 = 1.959_963_984_540_054;
    match TABLE.get(degrees_of_freedom - 1) {
        Some(quantile) => *quantile,
        // The first terms of Cornish & Fisher's expansion (1938).
        None => {
            let n = degrees_of_freedom as f64;
            let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * n * n);
            Z + (Z.powi(3) + Z) / (4.0 * n) + second
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_scipys() {
        // scipy.stats.ttest_rel(b, a).confidence_interval(0.95): (0.002547586864749013, 0.017452413135251005).
        let (a, b) = ([0.901, 0.897, 0.905], [0.911, 0.910, 0.912]);
        let difference = PairedDifference::of(&b, &a).unwrap();
        assert!((difference.mean - 0.01).abs() < 1e-12);
        assert!((difference.margin - 0.007452413135251).abs() < 1e-8, "{difference:?}");
        assert!(difference.is_distinguishable());
        // scipy.stats.t.ppf(0.975, [31, 100, 1000])
        for (degrees, expected) in [(31, 2.0395134), (100, 1.9839715), (1000, 1.9623391)] {
            assert!((t_quantile(degrees) - expected).abs() < 2e-4, "{degrees}: {}", t_quantile(degrees));
        }
    }

    #[test]
    fn one_pair_says_nothing_and_noise_is_not_a_difference() {
        let one = PairedDifference::of(&[0.95], &[0.90]).unwrap();
        assert!(one.margin.is_infinite() && !one.is_distinguishable());
        // Differences +1, −1, +1: mean 1/3, deviation 2/√3, margin 4.30 · (2/√3) / √3 = 2.87.
        let noise = PairedDifference::of(&[1.0, 2.0, 3.0], &[0.0, 3.0, 2.0]).unwrap();
        assert!((noise.margin - 4.302653 * 2.0 / 3.0).abs() < 1e-6 && !noise.is_distinguishable());
        assert_eq!(PairedDifference::of(&[], &[]), None);
    }

    #[test]
    fn spreads_are_those_of_samples() {
        // Deviations −2, 0, 2: √(8 / 2) = 2.
        assert_eq!(Spread::of(&[1.0, 3.0, 5.0]), Some(Spread { mean: 3.0, deviation: Some(2.0) }));
        assert_eq!(Spread::of(&[1.0]), Some(Spread { mean: 1.0, deviation: None }));
        assert_eq!(Spread::of(&[]), None);
    }
}
