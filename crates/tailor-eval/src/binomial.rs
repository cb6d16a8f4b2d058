//! Tails of the binomial distribution.

/// P(X ≤ k) for X ~ Binomial(n, p), term by term from the largest: C(n, k) pᵏ (1-p)ⁿ⁻ᵏ, then downward by
/// C(n, j-1) = C(n, j) · j / (n-j+1). Exact to 1e-10 for thousands of trials.
pub(crate) fn lower_tail(k: usize, n: usize, p: f64) -> f64 {
    if k >= n || p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    let (trials, hits) = (n as f64, k as f64);
    let ln_choose = libm::lgamma(trials + 1.0) - libm::lgamma(hits + 1.0) - libm::lgamma(trials - hits + 1.0);
    let last = (ln_choose + hits * p.ln() + (trials - hits) * (-p).ln_1p()).exp();
    let odds = (1.0 - p) / p;
    let ratios = (1..=k).rev().scan(1.0, |term, j| {
        *term *= odds * j as f64 / (n - j + 1) as f64;
        Some(*term)
    });
    // Far above n·p this is nothing times infinity, which `min` makes 1.
    (last * (1.0 + ratios.sum::<f64>())).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_scipy() {
        // scipy.stats.binom.cdf(k, n, p) of SciPy 1.17.
        for (k, n, p, expected) in [
            (0, 299, 0.01, 0.049536256637662465),
            (3, 10, 0.25, 0.7758750915527344),
            (12, 2500, 0.01, 0.003032904011532948),
            (450, 5000, 0.1, 0.009068610973223841),
            (450, 5000, 0.01, 1.0),
            (5, 5, 0.3, 1.0),
        ] {
            let found = lower_tail(k, n, p);
            assert!((found - expected).abs() < 1e-10, "P(X ≤ {k} of {n} at {p}) is {found}");
        }
        assert_eq!([lower_tail(3, 10, 0.0), lower_tail(3, 10, 1.0)], [1.0, 0.0]);
    }
}
