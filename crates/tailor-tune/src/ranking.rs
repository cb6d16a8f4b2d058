//! All trials in one order, from the best.

use crate::distribution::normal_quantile;
use crate::{State, Trial};

/// Trials that say something about their values, best first: complete ones by their score, then pruned ones (those that
/// were let run longer first, then by score), then those that diverged. As in Optuna's TPE. Trials that run, or failed
/// for reasons of their own, are left out.
pub fn ranked<'a>(trials: impl IntoIterator<Item = &'a Trial>) -> Vec<&'a Trial> {
    let mut trials: Vec<&Trial> = trials.into_iter().filter(|trial| says_something(trial)).collect();
    trials.sort_by(|a, b| {
        let key = |trial: &Trial| match trial.state {
            State::Complete => (0, 0),
            State::Pruned => (1, usize::MAX - trial.epochs.len()),
            _ => (2, 0),
        };
        let score = |trial: &Trial| trial.score().unwrap_or(f64::NEG_INFINITY);
        key(a).cmp(&key(b)).then(score(b).total_cmp(&score(a))).then(a.number.cmp(&b.number))
    });
    trials
}

/// For ranks 0 (best) to n − 1, the normal quantiles `Φ⁻¹(1 − (rank + ½) / n)`: what a model of ranks is fitted to. A pruned trial has no
/// final score, and one that diverged would drown all other differences.
pub(crate) fn normal_scores(n: usize) -> Vec<f64> {
    (0..n).map(|rank| normal_quantile(1.0 - (rank as f64 + 0.5) / n as f64)).collect()
}

fn says_something(trial: &Trial) -> bool {
    match trial.state {
        State::Complete | State::Pruned => !trial.epochs.is_empty(),
        State::Diverged(_) => true,
        State::Running | State::Failed(_) => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Epoch;

    /// A trial at a point with these scores after each epoch.
    pub fn trial(number: usize, point: &[f64], scores: &[f64], state: State) -> Trial {
        let epoch = |(i, score): (usize, &f64)| Epoch { epoch: i + 1, score: *score, seconds: 1.0 };
        Trial {
            number,
            point: point.iter().copied().map(Some).collect(),
            epochs: scores.iter().enumerate().map(epoch).collect(),
            state,
            threads: 1,
            worker: "w".into(),
            taken_over_at: Vec::new(),
        }
    }

    #[test]
    fn quantiles_of_three_ranks() {
        // Φ⁻¹(5/6) = 0.967422
        let scores = normal_scores(3);
        assert!((scores[0] - 0.967422).abs() < 1e-6 && scores[1].abs() < 1e-12, "{scores:?}");
        assert!((scores[0] + scores[2]).abs() < 1e-9);
    }

    #[test]
    fn complete_before_pruned_before_diverged() {
        let trials = [
            trial(0, &[], &[0.95], State::Pruned),
            trial(1, &[], &[0.2, 0.3], State::Complete),
            trial(2, &[], &[], State::Diverged("at once".into())),
            trial(3, &[], &[0.1, 0.4], State::Complete),
            trial(4, &[], &[0.1, 0.1], State::Pruned),
            trial(5, &[], &[0.99], State::Running),
            trial(6, &[], &[0.99], State::Failed("no memory".into())),
            trial(7, &[], &[0.4], State::Complete),
        ];
        let order: Vec<usize> = ranked(&trials).iter().map(|trial| trial.number).collect();
        assert_eq!(order, [3, 7, 1, 4, 0, 2]);
    }
}
