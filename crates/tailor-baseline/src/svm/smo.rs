//! Sequential minimal optimization (Platt 1998) of one machine's dual problem:
//!
//! minimize `½ Σ Σ yᵢyⱼαᵢαⱼ k(xᵢ, xⱼ) − Σ αᵢ` over `0 ≤ α ≤ c` with `Σ yᵢαᵢ = 0`,
//!
//! two variables at a time, chosen by second-order information (Fan, Chen and Lin 2005, "Working set selection using
//! second order information for training SVM", WSS 2).

use super::kernel::KernelRows;
use crate::Result;
use crate::watch::Watcher;

/// `f(x) = Σ coefficient · k(xᵢ, x) + bias`, positive for the first class.
pub(super) struct Machine {
    /// yᵢαᵢ, for each image of the problem.
    pub coefficients: Vec<f32>,
    pub bias: f32,
}

/// Curvature along which two variables move, at least: two images may be the same.
const FLATTEST: f64 = 1e-12;

/// Steps between questions whether to go on.
const BREATH: usize = 1000;

/// Fits the machine that tells the first `positive` images from the others.
pub(super) fn solve(
    kernel: &mut KernelRows,
    positive: usize,
    c: f32,
    tolerance: f32,
    watcher: &dyn Watcher,
) -> Result<Machine> {
    let images = kernel.len();
    let mut problem = Problem::new(images, positive, f64::from(c));
    if positive > 0 && positive < images {
        let mut steps = 0;
        while let Some((i, violation)) = problem.most_violating(f64::from(tolerance)) {
            steps += 1;
            if steps % BREATH == 0 {
                watcher.go_on()?;
            }
            kernel.prepare(i, i);
            let j = problem.partner(kernel.row(i), violation);
            kernel.prepare(i, j);
            problem.optimize(i, j, kernel.row(i), kernel.row(j));
        }
    }
    Ok(Machine { bias: problem.bias() as f32, coefficients: problem.coefficients() })
}

struct Problem {
    c: f64,
    /// +1 or −1.
    y: Vec<f64>,
    alpha: Vec<f64>,
    /// `−y · gradient` of each image; at the optimum, no image that may move up has a larger one than any that may move
    /// down. Infinite in the copies where an image may not.
    value: Vec<f64>,
    up: Vec<f64>,
    down: Vec<f64>,
}

impl Problem {
    fn new(images: usize, positive: usize, c: f64) -> Self {
        let y: Vec<f64> = (0..images).map(|i| if i < positive { 1.0 } else { -1.0 }).collect();
        // At α = 0 the gradient is −1, so the value is y.
        let mut problem =
            Problem { c, alpha: vec![0.0; images], value: y.clone(), up: y.clone(), down: y.clone(), y };
        (0..images).for_each(|i| problem.bound(i));
        problem
    }

    /// Brings the copies of image `i` up to date.
    fn bound(&mut self, i: usize) {
        let (may_grow, may_shrink) = (self.alpha[i] < self.c, self.alpha[i] > 0.0);
        let (up, down) = if self.y[i] > 0.0 { (may_grow, may_shrink) } else { (may_shrink, may_grow) };
        self.up[i] = if up { self.value[i] } else { f64::NEG_INFINITY };
        self.down[i] = if down { self.value[i] } else { f64::INFINITY };
    }

    /// The image that most wants to move up, with its value; none if all conditions hold.
    fn most_violating(&self, tolerance: f64) -> Option<(usize, f64)> {
        let highest = highest(&self.up);
        let lowest = lowest(&self.down);
        let i = self.up.iter().position(|&value| value == highest)?;
        (highest - lowest > tolerance).then_some((i, highest))
    }

    /// The image whose move down together with image `i`'s move up decreases the function most; `row` is k(xᵢ, ·).
    fn partner(&self, row: &[f32], value: f64) -> usize {
        // A violation v and a curvature a promise a decrease of v²/2a.
        let gains: Vec<f64> = self
            .down
            .iter()
            .zip(row)
            .map(|(&down, &k)| {
                let violation = (value - down).max(0.0);
                violation * violation / (2.0 - 2.0 * f64::from(k)).max(FLATTEST)
            })
            .collect();
        let best = highest(&gains);
        gains.iter().position(|&gain| gain == best).unwrap_or(0)
    }

    /// Moves images `i` up and `j` down as far as it helps and the bounds allow.
    fn optimize(&mut self, i: usize, j: usize, row_i: &[f32], row_j: &[f32]) {
        let curvature = (2.0 - 2.0 * f64::from(row_i[j])).max(FLATTEST);
        let wanted = (self.value[i] - self.value[j]) / curvature;
        let room_up = if self.y[i] > 0.0 { self.c - self.alpha[i] } else { self.alpha[i] };
        let room_down = if self.y[j] > 0.0 { self.alpha[j] } else { self.c - self.alpha[j] };
        let step = wanted.min(room_up).min(room_down);
        for (image, direction, room) in [(i, 1.0, room_up), (j, -1.0, room_down)] {
            let change = direction * self.y[image] * step;
            // Exactly at the bound, whatever rounding says.
            self.alpha[image] = match step == room {
                true if change > 0.0 => self.c,
                true => 0.0,
                false => self.alpha[image] + change,
            };
        }
        for k in 0..self.value.len() {
            let change = step * f64::from(row_i[k] - row_j[k]);
            self.value[k] -= change;
            // Infinite ones stay so.
            self.up[k] -= change;
            self.down[k] -= change;
        }
        self.bound(i);
        self.bound(j);
    }

    /// The mean value of images between the bounds, or the middle of what the bounds allow.
    fn bias(&self) -> f64 {
        let free: Vec<f64> = (0..self.value.len())
            .filter(|&i| self.alpha[i] > 0.0 && self.alpha[i] < self.c)
            .map(|i| self.value[i])
            .collect();
        if !free.is_empty() {
            return free.iter().sum::<f64>() / free.len() as f64;
        }
        let (up, down) = (highest(&self.up), lowest(&self.down));
        match (up.is_finite(), down.is_finite()) {
            (true, true) => (up + down) / 2.0,
            (true, false) => up,
            (false, true) => down,
            (false, false) => 0.0,
        }
    }

    fn coefficients(&self) -> Vec<f32> {
        self.alpha.iter().zip(&self.y).map(|(alpha, y)| (alpha * y) as f32).collect()
    }
}

fn highest(values: &[f64]) -> f64 {
    extreme(values, f64::NEG_INFINITY, |a, b| if a > b { a } else { b })
}

fn lowest(values: &[f64]) -> f64 {
    extreme(values, f64::INFINITY, |a, b| if a < b { a } else { b })
}

/// The most extreme of all, in eight lanes, which compilers turn into vectors.
fn extreme(values: &[f64], start: f64, choose: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [start; 8];
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        for lane in 0..8 {
            lanes[lane] = choose(eight[lane], lanes[lane]);
        }
    }
    lanes.iter().chain(rest).copied().fold(start, choose)
}
