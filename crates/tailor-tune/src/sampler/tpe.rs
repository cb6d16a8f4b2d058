//! The tree-structured Parzen estimator: of many draws from where good trials lie, the one that is least like the others.

use tailor_data::random::Generator;

use super::parzen::Parzen;
use crate::{Point, Space, State, Trial, ranked};

/// Draws of which the best is taken (24 in Bergstra et al. 2011 and in Optuna).
const DRAWS: usize = 24;
/// Of the trials, those that count as good (0.15 in Bergstra et al. 2011); never more than [`MOST_GOOD`] (as in Optuna).
const GOOD: f64 = 0.15;
const MOST_GOOD: usize = 25;

/// The next point. Trials that still run count as poor, so that workers keep apart.
pub fn suggest(space: &Space, trials: &[Trial], generator: &mut Generator) -> Point {
    let order = ranked(trials);
    let good = ((GOOD * order.len() as f64).ceil() as usize).min(MOST_GOOD);
    let (good, rest) = order.split_at(good);
    let running = trials.iter().filter(|trial| trial.state == State::Running);
    let good = Parzen::of(space, good.iter().map(|trial| &trial.point).collect());
    let rest = Parzen::of(space, rest.iter().copied().chain(running).map(|trial| &trial.point).collect());
    let draws: Vec<Point> = (0..DRAWS).map(|_| good.draw(generator)).collect();
    let ratio = |point: &Point| good.log_density(point) - rest.log_density(point);
    draws.into_iter().max_by(|a, b| ratio(a).total_cmp(&ratio(b))).expect("there are draws")
}
