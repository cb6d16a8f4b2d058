//! Which parameters matter.

use crate::forest::Forest;
use crate::ranking::normal_scores;
use crate::{Space, Trial, ranked};

/// With fewer trials nothing can be said.
const FEWEST_TRIALS: usize = 8;

/// For each parameter, the share of the differences between trials that it explains alone: the functional analysis of
/// variance of Hutter et al. 2014, over a random forest that is fitted to the trials' ranks as normal quantiles. None with fewer
/// than eight trials.
pub fn importance(space: &Space, trials: &[Trial], seed: u64) -> Option<Vec<f64>> {
    let order = ranked(trials);
    if order.len() < FEWEST_TRIALS {
        return None;
    }
    let unit = |(position, value): (usize, &Option<f64>)| {
        // What does not exist lies in the middle.
        value.map_or(0.5, |value| space.parameters[position].domain.unit(value))
    };
    let points: Vec<Vec<f64>> =
        order.iter().map(|trial| trial.point.iter().enumerate().map(unit).collect()).collect();
    Some(Forest::fitted(&points, &normal_scores(order.len()), seed).shares())
}
