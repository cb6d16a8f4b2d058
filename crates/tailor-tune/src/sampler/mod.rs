//! Where the next values come from. Every sampler is a function of the space, the seed, the number of the trial and the trials
//! before it, and so gives the same after a restart.

mod cholesky;
mod gp;
mod grid;
mod parzen;
mod tpe;

pub use grid::grid;

use std::fmt;

use serde::{Deserialize, Serialize};
use tailor_data::random::{Generator, image_seed};

use crate::{Point, Settings, Space, State, Trial};

/// Trials before a model of them is worth anything.
const STARTUP: usize = 10;
/// How often another point is tried where one was had before: training it again would give the same bits.
const ATTEMPTS: u64 = 64;

/// Where the next values come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Every combination, in an order drawn at random; real numbers are cut into a few.
    Grid,
    /// Uniform and independent (Bergstra & Bengio 2012).
    Random,
    /// A Sobol sequence, scrambled after Owen as in Burley 2020: more even than random values.
    Sobol,
    /// The tree-structured Parzen estimator (Bergstra et al. 2011, section 4), over all parameters together (Falkner et al. 2018).
    #[default]
    Tpe,
    /// A Gaussian process and expected improvement (Snoek et al. 2012).
    Gp,
}

/// As in `study.toml` and on the command line.
impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.serialize(f)
    }
}

impl Settings {
    /// The values of the next trial; none if a grid has no more. The first trial is the start, where the space holds it.
    pub fn suggest(&self, space: &Space, trials: &[Trial]) -> Option<Point> {
        let number = trials.len();
        let is_new = |point: &Point| trials.iter().all(|trial| trial.point != *point);
        if self.sampler == Sampler::Grid {
            return grid(space, self.seed).into_iter().nth(number);
        }
        if number == 0
            && let Some(point) = self.start.as_ref().and_then(|labels| space.point_of(labels))
        {
            return Some(point);
        }
        let draw = |attempt: u64| Draw { seed: self.seed, number: number as u64, attempt };
        let ended = trials.iter().filter(|trial| trial.state != State::Running).count();
        let suggest = |attempt: u64| match self.sampler {
            Sampler::Grid | Sampler::Random => draw(attempt).random(space),
            Sampler::Tpe if ended >= STARTUP => tpe::suggest(space, trials, &mut draw(attempt).generator()),
            Sampler::Gp if ended >= STARTUP => gp::suggest(space, trials, &draw(attempt)),
            Sampler::Sobol | Sampler::Tpe | Sampler::Gp => draw(attempt).sobol(space),
        };
        // In a small space that is used up, a point comes again after all.
        (0..ATTEMPTS).map(suggest).find(is_new).or_else(|| Some(suggest(0)))
    }
}

/// One draw of a trial's values.
struct Draw {
    seed: u64,
    number: u64,
    attempt: u64,
}

impl Draw {
    fn generator(&self) -> Generator {
        Generator::new(image_seed(self.seed, self.number, self.attempt as usize))
    }

    fn random(&self, space: &Space) -> Point {
        let mut generator = self.generator();
        // A number for each parameter, whether it exists or not: what one is does not shift the others.
        let units: Vec<f64> = space.parameters.iter().map(|_| f64::from(generator.unit())).collect();
        space.point(|position| units[position])
    }

    /// The point of the sequence with the trial's number, or one far behind it.
    fn sobol(&self, space: &Space) -> Point {
        let index = (self.number + (self.attempt << 12)) as u32;
        space.point(|position| sobol(index, position, self.seed))
    }
}

/// Dimension `dimension` of point `index` of the sequence with a seed, in `[0, 1)`.
fn sobol(index: u32, dimension: usize, seed: u64) -> f64 {
    let sets = sobol_burley::NUM_DIMENSIONS as usize;
    // Beyond the dimensions of one sequence, another one with a seed of its own (Burley 2020, section 4).
    let seed = (image_seed(seed, (dimension / sets) as u64, 0) >> 32) as u32;
    f64::from(sobol_burley::sample(index, (dimension % sets) as u32, seed))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
