//! What the winner is worth: its scores on the test part over fresh seeds, against those of the start.

use crate::distribution::t_quantile;
use crate::{Candidate, Confirmation, Confirmed};

/// Scores of one candidate over seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Seed and figures of each finished run.
    pub runs: Vec<(u64, Confirmed)>,
    /// Runs that failed: seed and reason.
    pub failures: Vec<(u64, String)>,
}

/// A mean with its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// The standard deviation with n − 1; none of a single value.
    pub deviation: Option<f64>,
    /// How many values.
    pub count: usize,
}

/// How much better one candidate is than another, from pairs with the same seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    /// The mean of the differences.
    pub mean: f64,
    /// The 95 % interval of the mean after Student's t; none from a single pair.
    pub interval: Option<(f64, f64)>,
    /// How many pairs.
    pub pairs: usize,
}

impl Mean {
    /// Of some values; none without any.
    pub fn of(values: &[f64]) -> Option<Mean> {
        let count = values.len();
        let mean = (count > 0).then(|| values.iter().sum::<f64>() / count as f64)?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (count > 1).then(|| (squares / (count - 1) as f64).sqrt());
        Some(Mean { mean, deviation, count })
    }
}

impl Scores {
    /// The runs of a candidate among all.
    pub fn of(candidate: Candidate, confirmations: &[Confirmation]) -> Scores {
        let mut scores = Scores { runs: Vec::new(), failures: Vec::new() };
        for confirmation in confirmations.iter().filter(|confirmation| confirmation.candidate == candidate) {
            match &confirmation.result {
                Some(Ok(confirmed)) => scores.runs.push((confirmation.seed, *confirmed)),
                Some(Err(reason)) => scores.failures.push((confirmation.seed, reason.clone())),
                None => {}
            }
        }
        scores
    }

    /// On the test part; none where the data has none.
    pub fn test(&self) -> Option<Mean> {
        Mean::of(&self.runs.iter().filter_map(|(_, run)| run.test).collect::<Vec<_>>())
    }

    /// On the validation part.
    pub fn validation(&self) -> Option<Mean> {
        Mean::of(&self.runs.iter().map(|(_, run)| run.validation).collect::<Vec<_>>())
    }

    /// How much better these are than others on the test part, seed by seed; on the validation part where the data has no test
    /// part. None without a seed in common.
    pub fn gain_over(&self, others: &Scores) -> Option<Gain> {
        let score = |run: &Confirmed| run.test.unwrap_or(run.validation);
        let pair = |(seed, run): &(u64, Confirmed)| {
            let other = others.runs.iter().find(|(other, _)| other == seed);
            other.map(|(_, other)| score(run) - score(other))
        };
        let differences: Vec<f64> = self.runs.iter().filter_map(pair).collect();
        let Mean { mean, deviation, count } = Mean::of(&differences)?;
        let interval = deviation.map(|deviation| {
            let half = t_quantile(0.975, count - 1) * deviation / (count as f64).sqrt();
            (mean - half, mean + half)
        });
        Some(Gain { mean, interval, pairs: count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmation(candidate: Candidate, seed: u64, test: f64) -> Confirmation {
        let confirmed =
            Confirmed { validation: 0.9, test: Some(test), test_images: 100, epochs: 1, seconds: 1.0 };
        Confirmation { candidate, seed, result: Some(Ok(confirmed)), worker: String::new(), threads: 1 }
    }

    #[test]
    fn the_gain_is_paired_by_seed() {
        // Differences 0.01, 0.02, 0.03 whatever the order: mean 0.02, deviation 0.01, t(0.975, 2) = 4.302653,
        // half width 4.302653 · 0.01 / √3 = 0.024841.
        let all = [
            confirmation(Candidate::Start, 2, 0.80),
            confirmation(Candidate::Start, 3, 0.90),
            confirmation(Candidate::Start, 4, 0.70),
            confirmation(Candidate::Trial(7), 4, 0.73),
            confirmation(Candidate::Trial(7), 2, 0.81),
            confirmation(Candidate::Trial(7), 3, 0.92),
            confirmation(Candidate::Trial(8), 2, 0.99),
        ];
        let gain =
            Scores::of(Candidate::Trial(7), &all).gain_over(&Scores::of(Candidate::Start, &all)).unwrap();
        let (low, high) = gain.interval.unwrap();
        assert!((gain.mean - 0.02).abs() < 1e-12 && gain.pairs == 3);
        assert!(
            (low - (0.02 - 0.024841)).abs() < 1e-6 && (high - (0.02 + 0.024841)).abs() < 1e-6,
            "{low} {high}"
        );
    }

    #[test]
    fn one_seed_has_no_interval_and_none_no_gain() {
        let start = [confirmation(Candidate::Start, 2, 0.8)];
        let scores = Scores::of(Candidate::Start, &start);
        assert_eq!(scores.gain_over(&scores).unwrap().interval, None);
        assert_eq!(scores.gain_over(&Scores::of(Candidate::Trial(1), &start)), None);
    }
}
