//! How mixed the classes of some rows are.

use serde::{Deserialize, Serialize};

/// What a question is to reduce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// 1 − Σ pₖ² (Breiman, Friedman, Olshen and Stone 1984)
    #[default]
    Gini,
    /// −Σ pₖ ln pₖ (Quinlan 1986)
    Entropy,
}

impl Criterion {
    /// What a class with `count` rows adds to the sum of a side: n² or n ln n.
    pub(super) fn term(self, count: u32) -> f64 {
        let n = f64::from(count);
        match self {
            Criterion::Gini => n * n,
            Criterion::Entropy => n * n.max(1.0).ln(),
        }
    }

    /// How pure a side of `rows` rows is, times their number, from the sum of its classes' terms: what two sides add up
    /// to is the higher, the lower their mean impurity is.
    pub(super) fn purity(self, sum: f64, rows: u64) -> f64 {
        let n = rows as f64;
        match self {
            // N Σ p² = Σ n² / N
            Criterion::Gini => sum / n,
            // N Σ p ln p = Σ n ln n − N ln N
            Criterion::Entropy => sum - n * n.ln(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_to_one_is_as_mixed_as_the_textbook_says() {
        let purity = |criterion: Criterion, counts: &[u32]| {
            let sum = counts.iter().map(|&count| criterion.term(count)).sum();
            let rows: u32 = counts.iter().sum();
            criterion.purity(sum, rows.into()) / f64::from(rows)
        };
        // Gini: 1 − 0.75² − 0.25² = 0.375; entropy: −0.75 ln 0.75 − 0.25 ln 0.25 = 0.5623 nats.
        assert!((1.0 - purity(Criterion::Gini, &[3, 0, 1]) - 0.375).abs() < 1e-12);
        assert!((purity(Criterion::Entropy, &[3, 0, 1]) + 0.562_335_144_618_808_4).abs() < 1e-12);
        // All of one class: as pure as can be.
        assert_eq!(purity(Criterion::Gini, &[0, 7]), 1.0);
        assert_eq!(purity(Criterion::Entropy, &[0, 7]), 0.0);
    }
}
