//! Student's t: tests of a mean, and of the difference of two.

use serde::Serialize;

/// The outcome of a t-test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TTest {
    /// The difference in units of its standard error; not finite if nothing varies.
    #[serde(serialize_with = "finite")]
    pub t: f64,
    /// Degrees of freedom.
    #[serde(serialize_with = "finite")]
    pub degrees: f64,
    /// The probability of a |t| at least as large if there were no difference, two-sided.
    pub p: f64,
}

/// JSON has no infinity: null stands for it.
fn finite<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    value.is_finite().then_some(value).serialize(serializer)
}

impl TTest {
    /// Whether the mean of `differences` is 0: the paired t-test (Student 1908), SciPy's `ttest_rel`. Meant for many of
    /// them, whose mean is nearly normal whatever they are. One alone says nothing: p = 1.
    pub fn paired(differences: &[f64]) -> Self {
        if differences.len() < 2 {
            return Self { t: f64::NAN, degrees: 0.0, p: 1.0 };
        }
        let Sample { mean, variance, n } = Sample::of(differences);
        Self::new(mean, variance / n, n - 1.0)
    }

    /// Whether the means of two samples of unequal variance are equal (Welch 1947, "The generalization of 'Student's'
    /// problem when several different population variances are involved"), SciPy's `ttest_ind(equal_var=False)`.
    ///
    /// # Panics
    /// With fewer than two values in a sample.
    pub fn welch(first: &[f64], second: &[f64]) -> Self {
        let (a, b) = (Sample::of(first), Sample::of(second));
        let (of_a, of_b) = (a.variance / a.n, b.variance / b.n);
        // Welch and Satterthwaite's degrees of freedom.
        let degrees = (of_a + of_b).powi(2) / (of_a * of_a / (a.n - 1.0) + of_b * of_b / (b.n - 1.0));
        Self::new(a.mean - b.mean, of_a + of_b, degrees)
    }

    fn new(difference: f64, squared_error: f64, degrees: f64) -> Self {
        if squared_error == 0.0 {
            // Nothing varies: a difference is certain, and so is its absence.
            let p = if difference == 0.0 { 1.0 } else { 0.0 };
            return Self { t: difference / 0.0, degrees: f64::NAN, p };
        }
        let t = difference / squared_error.sqrt();
        Self { t, degrees, p: two_sided_p(t, degrees) }
    }
}

/// Mean and variance (n - 1 in the denominator).
struct Sample {
    mean: f64,
    variance: f64,
    n: f64,
}

impl Sample {
    fn of(values: &[f64]) -> Self {
        assert!(values.len() > 1, "one value does not vary");
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self { mean, variance, n }
    }
}

/// P(|T| ≥ |t|) with ν degrees of freedom: I_x(ν/2, ½) at x = ν / (ν + t²) (Abramowitz and Stegun 1964, 26.5.27).
fn two_sided_p(t: f64, degrees: f64) -> f64 {
    let (a, b) = (degrees / 2.0, 0.5);
    let odds = t * t / degrees; // (1 - x) / x
    let (x, rest) = (1.0 / (1.0 + odds), odds / (1.0 + odds));
    // x^a (1 - x)^b / B(a, b), in logarithms; ln x = -ln(1 + odds).
    let ln_beta = libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
    let front = (-a * odds.ln_1p() + b * rest.ln() - ln_beta).exp();
    // The fraction converges fast below the mean of the distribution; above it, the other tail is taken.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, rest) / b
    }
}

/// The continued fraction of the incomplete beta function (Abramowitz and Stegun 1964, 26.5.8), by the method of Lentz
/// (1976): 1/(1+ d₁x/(1+ d₂x/(1+ …))).
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const STEPS: u32 = 10_000;
    /// What stands for a denominator of 0.
    const TINY: f64 = 1e-300;
    let away_from_0 = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / away_from_0(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in (1..STEPS).map(f64::from) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for coefficient in [even, odd] {
            d = 1.0 / away_from_0(1.0 + coefficient * d);
            c = away_from_0(1.0 + coefficient / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_one_degree_of_freedom_t_is_cauchy() {
        // P(|T| ≥ t) = 1 - 2/π · arctan t.
        for t in [0.001, 0.5, 1.0, 3.0, 1e6] {
            let exact = 1.0 - std::f64::consts::FRAC_2_PI * f64::atan(t);
            assert!((two_sided_p(t, 1.0) - exact).abs() < 1e-14, "{t}");
        }
        assert_eq!(two_sided_p(0.0, 7.0), 1.0);
    }

    #[test]
    fn where_nothing_varies_a_difference_is_certain() {
        assert_eq!(TTest::welch(&[0.5, 0.5], &[0.25, 0.25, 0.25]).p, 0.0);
        assert_eq!(TTest::welch(&[0.5, 0.5], &[0.5, 0.5, 0.5]).p, 1.0);
        assert_eq!(TTest::paired(&[0.0; 9]).p, 1.0);
    }
}
