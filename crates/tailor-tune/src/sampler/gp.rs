//! A Gaussian process over the trials, and the point where it expects most improvement.

use super::cholesky::Cholesky;
use super::{Draw, sobol};
use crate::distribution::{normal_cdf, normal_density};
use crate::ranking::normal_scores;
use crate::{Domain, Point, Space, State, Trial, ranked};

/// Points among which the next is looked for, over the whole space and around the best trials.
const CANDIDATES: usize = 1024;
const NEIGHBORS: usize = 32;
/// Trials that the process is fitted to, the best first; its cost grows with their cube.
const MOST_TRIALS: usize = 200;
/// Settings of the process that are tried before the best are refined.
const STARTS: u32 = 48;
const REFINEMENTS: usize = 4;

/// The next point. The process models ranks rather than scores.
pub fn suggest(space: &Space, trials: &[Trial], draw: &Draw) -> Point {
    let order: Vec<&Trial> = ranked(trials).into_iter().take(MOST_TRIALS).collect();
    let inputs: Vec<Vec<f64>> = order.iter().map(|trial| features(space, &trial.point)).collect();
    let scores = normal_scores(order.len());
    let best_score = scores.first().copied().unwrap_or(0.0);
    let Some(mut process) = Process::fitted(space, inputs, scores, draw.seed) else {
        return draw.sobol(space);
    };
    // What still runs is believed to come out as expected, so that workers keep apart (Ginsbourger et al. 2010).
    for trial in trials.iter().filter(|trial| trial.state == State::Running) {
        let input = features(space, &trial.point);
        let (mean, _) = process.predict(&input);
        process = match process.with(input, mean) {
            Some(process) => process,
            None => return draw.sobol(space),
        };
    }
    let base = (draw.number as u32 + 1).wrapping_mul(CANDIDATES as u32) + draw.attempt as u32 * 7919;
    let everywhere =
        (0..CANDIDATES as u32).map(|i| space.point(|position| sobol(base + i, position, draw.seed)));
    let near = order.iter().take(3).enumerate().flat_map(|(rank, trial)| {
        (0..NEIGHBORS as u32)
            .map(move |i| neighbor(space, &trial.point, base + rank as u32 * 64 + i, draw.seed))
    });
    let improvement = |point: &Point| process.expected_improvement(&features(space, point), best_score);
    let untried = |point: &Point| trials.iter().all(|trial| trial.point != *point);
    let candidates = everywhere.chain(near).filter(untried).map(|point| (improvement(&point), point));
    candidates.max_by(|a, b| a.0.total_cmp(&b.0)).map_or_else(|| draw.sobol(space), |(_, point)| point)
}

/// A point at most a tenth of each range away; a choice changes one time in five.
fn neighbor(space: &Space, point: &Point, index: u32, seed: u64) -> Point {
    space.point(|position| {
        let unit = sobol(index, position, seed.wrapping_add(1));
        match (point[position], &space.parameters[position].domain) {
            (Some(value), domain @ Domain::Choice { .. }) if unit < 0.8 => domain.unit(value),
            (_, Domain::Choice { .. }) => (unit - 0.8).max(0.0) / 0.2,
            (Some(value), domain) => domain.unit(value) + 0.2 * (unit - 0.5),
            (None, _) => unit,
        }
    })
}

/// A point as a vector: a number as its place in its range, a choice as a corner of a simplex with sides of 1, what does not
/// exist as the middle.
fn features(space: &Space, point: &[Option<f64>]) -> Vec<f64> {
    let feature = |(position, value): (usize, &Option<f64>)| match &space.parameters[position].domain {
        Domain::Choice { values, .. } => (0..values.len())
            .map(|choice| if *value == Some(choice as f64) { std::f64::consts::FRAC_1_SQRT_2 } else { 0.0 })
            .collect(),
        domain => vec![value.map_or(0.5, |value| domain.unit(value))],
    };
    point.iter().enumerate().flat_map(feature).collect()
}

/// A process with a Matérn 5/2 kernel, a length scale for each parameter, and noise (Rasmussen & Williams 2006, equations
/// 4.17, 2.25 and 2.26). Signal and noise variance add up to 1.
struct Process {
    inputs: Vec<Vec<f64>>,
    scores: Vec<f64>,
    kernel: Kernel,
    cholesky: Cholesky,
    /// `K⁻¹ y`
    weights: Vec<f64>,
}

#[derive(Clone)]
struct Kernel {
    /// Natural logarithms of the length scales.
    log_lengths: Vec<f64>,
    /// Natural logarithm of the noise's share of the variance.
    log_noise: f64,
    /// For each feature, its parameter.
    parameter_of: Vec<usize>,
}

impl Kernel {
    fn covariance(&self, a: &[f64], b: &[f64]) -> f64 {
        let part = |(i, (a, b)): (usize, (&f64, &f64))| {
            let difference = (a - b) * (-self.log_lengths[self.parameter_of[i]]).exp();
            difference * difference
        };
        let r = (5.0 * a.iter().zip(b).enumerate().map(part).sum::<f64>()).sqrt();
        (1.0 - self.noise()) * (1.0 + r + r * r / 3.0) * (-r).exp()
    }

    fn noise(&self) -> f64 {
        self.log_noise.exp()
    }

    /// How plausible these settings are before anything was seen: lengths around half a range, noise around a tenth.
    fn log_prior(&self) -> f64 {
        let normal = |x: f64, mean: f64, deviation: f64| -((x - mean) / deviation).powi(2) / 2.0;
        let lengths = self.log_lengths.iter().map(|&length| normal(length, 0.5f64.ln(), 1.0)).sum::<f64>();
        lengths + normal(self.log_noise, 0.1f64.ln(), 1.0)
    }
}

impl Process {
    /// The settings of the highest posterior density, from many starts and then one by one.
    fn fitted(space: &Space, inputs: Vec<Vec<f64>>, scores: Vec<f64>, seed: u64) -> Option<Self> {
        let features = |(i, p): (usize, &crate::Parameter)| match &p.domain {
            Domain::Choice { values, .. } => vec![i; values.len()],
            _ => vec![i],
        };
        let parameter_of: Vec<usize> = space.parameters.iter().enumerate().flat_map(features).collect();
        let count = space.parameters.len();
        let start = |index: u32| {
            let unit = |dimension: usize| sobol(index, dimension, seed.wrapping_add(2));
            Kernel {
                log_lengths: (0..count).map(|i| 0.05f64.ln() + unit(i) * (4.0f64 / 0.05).ln()).collect(),
                log_noise: 1e-3f64.ln() + unit(count) * (0.5f64 / 1e-3).ln(),
                parameter_of: parameter_of.clone(),
            }
        };
        let score = |kernel: Kernel| {
            let process = Process::new(inputs.clone(), scores.clone(), kernel)?;
            Some((process.log_likelihood() + process.kernel.log_prior(), process))
        };
        let better = |a: (f64, Process), b: (f64, Process)| if b.0 > a.0 { b } else { a };
        let mut best = (0..STARTS).filter_map(|index| score(start(index))).reduce(better)?;
        for refinement in 0..REFINEMENTS {
            let step = 0.6 * 0.6f64.powi(refinement as i32);
            for (dimension, sign) in (0..=count).flat_map(|dimension| [(dimension, step), (dimension, -step)])
            {
                let mut kernel = best.1.kernel.clone();
                match kernel.log_lengths.get_mut(dimension) {
                    Some(length) => *length += sign,
                    None => kernel.log_noise = (kernel.log_noise + sign).min(0.5f64.ln()),
                }
                if let Some(other) = score(kernel) {
                    best = better(best, other);
                }
            }
        }
        Some(best.1)
    }

    fn new(inputs: Vec<Vec<f64>>, scores: Vec<f64>, kernel: Kernel) -> Option<Self> {
        let entry = |i: usize, j: usize| {
            kernel.covariance(&inputs[i], &inputs[j]) + if i == j { kernel.noise() } else { 0.0 }
        };
        let cholesky = Cholesky::of(inputs.len(), entry)?;
        let weights = cholesky.solve(&scores);
        Some(Process { inputs, scores, kernel, cholesky, weights })
    }

    fn with(mut self, input: Vec<f64>, score: f64) -> Option<Self> {
        self.inputs.push(input);
        self.scores.push(score);
        Process::new(self.inputs, self.scores, self.kernel)
    }

    /// `−½ yᵀ K⁻¹ y − ½ ln det K`, less a constant.
    fn log_likelihood(&self) -> f64 {
        let fit: f64 = self.scores.iter().zip(&self.weights).map(|(y, w)| y * w).sum();
        -0.5 * (fit + self.cholesky.log_determinant())
    }

    /// Mean and deviation, without the noise.
    fn predict(&self, input: &[f64]) -> (f64, f64) {
        let covariances: Vec<f64> =
            self.inputs.iter().map(|other| self.kernel.covariance(other, input)).collect();
        let mean = covariances.iter().zip(&self.weights).map(|(k, w)| k * w).sum();
        let known: f64 = self.cholesky.solve_lower(&covariances).iter().map(|v| v * v).sum();
        (mean, (1.0 - self.kernel.noise() - known).max(0.0).sqrt())
    }

    /// Jones et al. 1998, equation 15.
    fn expected_improvement(&self, input: &[f64], best: f64) -> f64 {
        let (mean, deviation) = self.predict(input);
        if deviation < 1e-12 {
            return (mean - best).max(0.0);
        }
        let z = (mean - best) / deviation;
        (mean - best) * normal_cdf(z) + deviation * normal_density(z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(inputs: &[f64], scores: &[f64], noise: f64) -> Process {
        let kernel = Kernel { log_lengths: vec![0.5f64.ln()], log_noise: noise.ln(), parameter_of: vec![0] };
        Process::new(inputs.iter().map(|x| vec![*x]).collect(), scores.to_vec(), kernel).unwrap()
    }

    #[test]
    fn predictions_are_those_of_scikit_learn() {
        // GaussianProcessRegressor(ConstantKernel(0.9) * Matern(0.5, nu=2.5), alpha=0.1, optimizer=None)
        //   .fit([[0.1], [0.4], [0.9]], [1, -0.5, 0.3]).predict([[0.3], [1.0]], return_std=True)
        let process = process(&[0.1, 0.4, 0.9], &[1.0, -0.5, 0.3], 0.1);
        for (x, mean, deviation) in SCIKIT_LEARN {
            let (ours, spread) = process.predict(&[x]);
            assert!(
                (ours - mean).abs() < 1e-9 && (spread - deviation).abs() < 1e-9,
                "{x}: {ours} ± {spread}"
            );
        }
    }

    const SCIKIT_LEARN: [(f64, f64, f64); 2] =
        [(0.3, 0.06286703557132696, 0.2647467046380775), (1.0, 0.2960394879113338, 0.3732232211484323)];

    #[test]
    fn improvement_is_expected_where_it_is_high_or_unknown() {
        let process = process(&[0.0, 0.1, 0.5], &[-1.0, -0.8, 1.0], 1e-4);
        let at = |x: f64| process.expected_improvement(&[x], 1.0);
        assert!(at(0.6) > at(0.05) && at(0.9) > at(0.05) && at(0.5) < at(0.6));
    }
}
