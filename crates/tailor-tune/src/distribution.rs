//! The normal distribution and Student's t.

use std::f64::consts::{FRAC_2_PI, SQRT_2, TAU};

/// The density of the standard normal distribution.
pub fn normal_density(z: f64) -> f64 {
    (-z * z / 2.0).exp() / TAU.sqrt()
}

/// The probability of a value up to `z` under the standard normal distribution.
pub fn normal_cdf(z: f64) -> f64 {
    libm::erfc(-z / SQRT_2) / 2.0
}

/// Where the standard normal distribution reaches a probability.
pub fn normal_quantile(probability: f64) -> f64 {
    bisected(probability, normal_cdf)
}

/// Where Student's t distribution with so many degrees of freedom, at least 1, reaches a probability.
pub fn t_quantile(probability: f64, freedom: usize) -> f64 {
    bisected(probability, |t| t_cdf(t, freedom))
}

/// Abramowitz & Stegun 1964, 26.7.3 and 26.7.4: for whole degrees of freedom, a finite sum over powers of the cosine of
/// `θ = arctan(t / √ν)`.
fn t_cdf(t: f64, freedom: usize) -> f64 {
    let theta = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = theta.sin_cos();
    let is_odd = freedom % 2 == 1;
    let mut term = if is_odd { cosine } else { 1.0 };
    let mut sum = 0.0;
    // Odd: cos θ + ⅔ cos³ θ + …; even: 1 + ½ cos² θ + …; powers stay below ν − 1.
    let mut power = if is_odd { 1 } else { 0 };
    while power + 2 <= freedom {
        sum += term;
        term *= cosine * cosine * (power + 1) as f64 / (power + 2) as f64;
        power += 2;
    }
    let within = if is_odd { FRAC_2_PI * (theta + sine * sum) } else { sine * sum };
    (1.0 + within) / 2.0
}

/// Where a rising function reaches a value, to the last bit but a few.
fn bisected(value: f64, function: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (-1e3, 1e3);
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if function(middle) < value { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_scipy() {
        // scipy.stats.norm.ppf(p), scipy.stats.t.ppf(0.975, ν)
        for (probability, quantile) in NORMAL {
            assert!((normal_quantile(probability) - quantile).abs() < 1e-9, "{probability}");
        }
        for (freedom, quantile) in T {
            assert!(
                (t_quantile(0.975, freedom) - quantile).abs() < 1e-9,
                "{freedom}: {}",
                t_quantile(0.975, freedom)
            );
        }
    }

    const NORMAL: [(f64, f64); 4] =
        [(0.5, 0.0), (0.975, 1.959963984540054), (0.01, -2.3263478740408408), (0.9999, 3.719016485455709)];
    const T: [(usize, f64); 6] = [
        (1, 12.706204736174694),
        (2, 4.302652729749462),
        (3, 3.1824463052837078),
        (4, 2.7764451051977934),
        (9, 2.262157162798205),
        (30, 2.0422724563012378),
    ];
}
