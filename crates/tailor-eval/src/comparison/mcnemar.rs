//! Whether two models that answered the same images differ by more than chance.

use serde::Serialize;

/// McNemar's exact test. Images that both models get right, or both wrong, tell nothing apart; of the others, as many
/// should fall to one model as to the other if neither were better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Images that only the first model got right.
    pub only_first: usize,
    /// Images that only the second model got right.
    pub only_second: usize,
    /// The probability of a split at least as uneven if each image fell to either model by a fair coin, two-sided.
    pub p: f64,
}

impl McNemar {
    /// The exact test, by the binomial distribution (McNemar 1947, "Note on the sampling error of the difference between
    /// correlated proportions or percentages"): p = min(1, 2 · P(X ≤ min(b, c))) for X ~ Binomial(b + c, ½), as statsmodels'
    /// `mcnemar(exact=True)` and SciPy's `binomtest(b, b + c)`. Without any such image, p = 1.
    pub fn exact(only_first: usize, only_second: usize) -> Self {
        let tail = fair_coin_tail(only_first.min(only_second), only_first + only_second);
        Self { only_first, only_second, p: (2.0 * tail).min(1.0) }
    }
}

/// P(X ≤ k) for X ~ Binomial(n, ½) and k ≤ n/2. The largest term, C(n, k) / 2ⁿ, is found through logarithms, the others
/// from it downward: C(n, k - 1) = C(n, k) · k / (n - k + 1).
fn fair_coin_tail(k: usize, n: usize) -> f64 {
    let ln_choose: f64 = (1..=k).map(|j| ((n - k + j) as f64 / j as f64).ln()).sum();
    let largest = (ln_choose - n as f64 * std::f64::consts::LN_2).exp();
    let ratios = (1..=k).rev().scan(1.0, |term, j| {
        *term *= j as f64 / (n - j + 1) as f64;
        Some(*term)
    });
    largest * (1.0 + ratios.sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_follows_by_hand() {
        // Of 5 coins at most 1 on the rarer side: 2 · (1 + 5) / 32.
        assert!((McNemar::exact(4, 1).p - 12.0 / 32.0).abs() < 1e-15);
        assert_eq!(McNemar::exact(4, 1).p, McNemar::exact(1, 4).p);
        // 2 · P(X ≤ 2 of 4) = 22/16 is cut to 1.
        assert_eq!(McNemar::exact(2, 2).p, 1.0);
        assert_eq!(McNemar::exact(0, 0).p, 1.0);
        assert!((McNemar::exact(0, 3).p - 2.0 / 8.0).abs() < 1e-15);
    }
}
