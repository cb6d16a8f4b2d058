//! When to give a trial up: its score after an epoch against the scores that others had after as many.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{State, Trial};

/// Of the trials that reach a rung, one in this many goes on.
const REDUCTION: usize = 3;
/// Trials that must have reached an epoch before the median there says anything.
const MEDIAN_TRIALS: usize = 4;

/// How poor trials are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pruner {
    /// Every trial runs to its end.
    None,
    /// A trial below the median of all that reached its epoch is stopped, from the second epoch on (Golovin et al. 2017,
    /// "Google Vizier", section 3.3.2, with the score so far in place of its running average).
    #[default]
    Median,
    /// At epochs 1, 3, 9, … a trial goes on if it is in the best third of those that came so far (Li et al. 2020, "A system for
    /// massively parallel hyperparameter tuning", the stopping variant of algorithm 2, as in Optuna).
    SuccessiveHalving,
    /// Successive halving in several brackets, which begin to stop trials at epoch 1, 3, 9, …: for spaces where the first
    /// epochs mislead (Li et al. 2018, "Hyperband", algorithm 1).
    Hyperband,
}

/// As in `study.toml` and on the command line.
impl fmt::Display for Pruner {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.serialize(f)
    }
}

impl Pruner {
    /// Whether the trial, which has ended an epoch and has more to come up to `epochs`, should be given up.
    /// `trials` are all of the study, itself included or not.
    pub fn gives_up(self, trial: &Trial, trials: &[Trial], epochs: usize) -> bool {
        let Some(last) = trial.epochs.last() else { return false };
        let others = |is_rival: &dyn Fn(&Trial) -> bool| -> Vec<f64> {
            let rivals = trials.iter().filter(|other| other.number != trial.number);
            let rivals = rivals.filter(|other| !matches!(other.state, State::Failed(_)) && is_rival(other));
            rivals.filter_map(|other| other.score_at(last.epoch)).collect()
        };
        match self {
            Pruner::None => false,
            Pruner::Median => {
                let others = others(&|_| true);
                last.epoch >= 2 && others.len() >= MEDIAN_TRIALS && last.score < median(others)
            }
            Pruner::SuccessiveHalving => {
                is_rung(last.epoch, 1) && !is_promoted(last.score, others(&|_| true))
            }
            Pruner::Hyperband => {
                let bracket = |trial: &Trial| bracket(trial.number, epochs);
                let first = REDUCTION.pow(bracket(trial) as u32);
                let rivals = others(&|other| bracket(other) == bracket(trial));
                is_rung(last.epoch, first) && !is_promoted(last.score, rivals)
            }
        }
    }
}

/// Whether `epoch` is `first · REDUCTIONᵏ`.
fn is_rung(epoch: usize, first: usize) -> bool {
    std::iter::successors(Some(first), |rung| rung.checked_mul(REDUCTION))
        .take_while(|rung| *rung <= epoch)
        .any(|rung| rung == epoch)
}

/// Whether a score is in the best third of all at a rung; the first ones always are.
fn is_promoted(score: f64, others: Vec<f64>) -> bool {
    let better = others.iter().filter(|other| **other > score).count();
    let places = ((others.len() + 1) / REDUCTION).max(1);
    better < places
}

/// Bracket `s` begins to stop trials at epoch `3ˢ`. Of every round of trials each bracket gets as many as in Hyperband, where all
/// brackets cost about the same: the number of trials falls with `s`. Depends on nothing but the trial's number, so that every
/// process agrees.
fn bracket(number: usize, epochs: usize) -> usize {
    let last = std::iter::successors(Some(1), |rung: &usize| rung.checked_mul(REDUCTION))
        .take_while(|rung| *rung <= epochs)
        .count()
        - 1;
    // Li et al. 2018: bracket s' = last − s starts ⌈(last + 1) / (s' + 1) · 3^s'⌉ trials.
    let size = |s: usize| ((last + 1) * REDUCTION.pow((last - s) as u32)).div_ceil(last - s + 1);
    let sizes: Vec<usize> = (0..=last).map(size).collect();
    // Spread over the round rather than in blocks: the next trial goes to the bracket that lacks most.
    let round: usize = sizes.iter().sum();
    let mut given = vec![0; sizes.len()];
    let mut chosen = 0;
    for trial in 1..=number % round + 1 {
        let lack = |s: &usize| (sizes[*s] * trial) as f64 / round as f64 - given[*s] as f64;
        chosen = (0..=last).max_by(|a, b| lack(a).total_cmp(&lack(b)).then(b.cmp(a))).unwrap_or(0);
        given[chosen] += 1;
    }
    chosen
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranking::tests::trial;

    fn running(number: usize, scores: &[f64]) -> Trial {
        trial(number, &[], scores, State::Running)
    }

    /// Trials 0, 1, … with these scores, all complete.
    fn done(scores: &[&[f64]]) -> Vec<Trial> {
        scores.iter().enumerate().map(|(i, scores)| trial(i, &[], scores, State::Complete)).collect()
    }

    #[test]
    fn the_median_is_asked_from_the_second_epoch_on_and_of_four_trials() {
        let others = done(&[&[0.5, 0.6], &[0.5, 0.7], &[0.5, 0.8], &[0.5, 0.9]]);
        // At epoch 2 the median is (0.7 + 0.8) / 2 = 0.75.
        assert!(Pruner::Median.gives_up(&running(9, &[0.9, 0.74]), &others, 10));
        assert!(!Pruner::Median.gives_up(&running(9, &[0.1, 0.75]), &others, 10), "as good as the median");
        assert!(!Pruner::Median.gives_up(&running(9, &[0.1]), &others, 10), "the first epoch");
        assert!(!Pruner::Median.gives_up(&running(9, &[0.1, 0.1]), &others[..3], 10), "only three others");
        assert!(!Pruner::Median.gives_up(&running(9, &[0.1; 3]), &others, 10), "nobody came so far");
    }

    #[test]
    fn a_trial_is_not_its_own_rival_and_failures_are_none() {
        let mut others = done(&[&[0.0, 0.6], &[0.0, 0.7], &[0.0, 0.8], &[0.0, 0.9]]);
        others[3].state = State::Failed("crash".into());
        let itself = running(3, &[0.0, 0.1]);
        assert!(!Pruner::Median.gives_up(&itself, &others, 10), "three rivals are left");
    }

    #[test]
    fn halving_keeps_a_third_at_each_rung_and_asks_nowhere_else() {
        let others = done(&[&[0.5; 3], &[0.6; 3], &[0.7; 3], &[0.8; 3], &[0.9; 3]]);
        let pruner = Pruner::SuccessiveHalving;
        // With this one there are six: the best two go on.
        assert!(!pruner.gives_up(&running(9, &[0.85]), &others, 9));
        assert!(pruner.gives_up(&running(9, &[0.75]), &others, 9));
        assert!(!pruner.gives_up(&running(9, &[0.1, 0.1]), &others, 9), "2 is no rung");
        assert!(pruner.gives_up(&running(9, &[0.1, 0.1, 0.1]), &others, 9), "3 is a rung");
        assert!(!pruner.gives_up(&running(9, &[0.1]), &[], 9), "the first of all");
        assert!(pruner.gives_up(&running(9, &[0.1]), &others[..1], 9), "the second, and worse");
    }

    #[test]
    fn brackets_are_as_large_as_in_the_paper() {
        // Li et al. 2018 with R = 9, η = 3: s = 2, 1, 0 start ⌈3/3·9⌉ = 9, ⌈3/2·3⌉ = 5, ⌈3/1·1⌉ = 3 configurations.
        let mut sizes = [0; 3];
        (0..17).for_each(|number| sizes[bracket(number, 9)] += 1);
        assert_eq!(sizes, [9, 5, 3]);
        assert_eq!(bracket(0, 9), bracket(17, 9), "then again");
        let first: Vec<usize> = (0..6).map(|number| bracket(number, 9)).collect();
        assert!(first.contains(&1) && first.contains(&2), "brackets are mixed: {first:?}");
    }

    #[test]
    fn hyperband_compares_within_a_bracket_only() {
        // With 3 epochs: s = 1, 0 start ⌈2/2·3⌉ = 3 and ⌈2/1·1⌉ = 2; numbers of the second bracket are never stopped before its rung 3.
        let number_of = |wanted| (0..).filter(move |n| bracket(*n, 3) == wanted);
        let lenient = number_of(1).next().unwrap();
        let rivals: Vec<Trial> = number_of(0).take(5).map(|n| trial(n, &[], &[0.9], State::Pruned)).collect();
        assert!(!Pruner::Hyperband.gives_up(&running(lenient, &[0.1]), &rivals, 3));
        let strict = number_of(0).nth(5).unwrap();
        assert!(Pruner::Hyperband.gives_up(&running(strict, &[0.1]), &rivals, 3));
    }
}
