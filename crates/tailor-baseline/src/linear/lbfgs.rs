//! Minimizing a smooth function of many variables (Liu and Nocedal 1989, "On the limited memory BFGS method").

use std::collections::VecDeque;

use crate::Result;

/// Steps that are remembered.
const MEMORY: usize = 10;

/// Share of the decrease promised by the slope that a step must bring (Armijo).
const SUFFICIENT: f64 = 1e-4;

/// A point with the function's value and gradient there.
pub(super) struct Point {
    pub at: Vec<f64>,
    pub value: f64,
    pub gradient: Vec<f64>,
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Steps.
    pub steps: usize,
    /// No number of the gradient is larger at the end, unless steps ran out.
    pub tolerance: f64,
}

/// Where the function is least, starting from a point. `evaluate` gives value and gradient; `watch` is called after
/// every step.
pub(super) fn minimize(
    start: Vec<f64>,
    limits: Limits,
    evaluate: impl Fn(&[f64]) -> (f64, Vec<f64>),
    mut watch: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<f64>> {
    let point = |at: Vec<f64>| {
        let (value, gradient) = evaluate(&at);
        Point { at, value, gradient }
    };
    let mut current = point(start);
    let mut memory: VecDeque<Pair> = VecDeque::new();
    for step in 0..limits.steps {
        watch(step)?;
        if current.gradient.iter().all(|slope| slope.abs() <= limits.tolerance) {
            break;
        }
        let direction = direction(&current.gradient, &memory);
        let slope = dot(&direction, &current.gradient);
        // Without curvature the length of the gradient means nothing.
        let first = if memory.is_empty() { 1.0 / norm(&current.gradient).max(1.0) } else { 1.0 };
        let mut length = first;
        let next = loop {
            let at = current.at.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
            let next = point(at);
            if next.value <= current.value + SUFFICIENT * length * slope {
                break next;
            }
            length /= 2.0;
            if length < 1e-10 * first {
                // Rounding leaves nothing to gain.
                return Ok(current.at);
            }
        };
        if let Some(pair) = Pair::between(&current, &next) {
            memory.truncate(MEMORY - 1);
            memory.push_front(pair);
        }
        current = next;
    }
    Ok(current.at)
}

/// A step taken and how it changed the gradient.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// 1 / (step · change)
    rho: f64,
}

impl Pair {
    /// None where the function is not convex along the step.
    fn between(from: &Point, to: &Point) -> Option<Self> {
        let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
        let step = difference(&to.at, &from.at);
        let change = difference(&to.gradient, &from.gradient);
        let curvature = dot(&step, &change);
        (curvature > 1e-12 * norm(&step) * norm(&change)).then(|| Pair { step, change, rho: 1.0 / curvature })
    }
}

/// −H · gradient by the two-loop recursion, H being the inverse curvature that the remembered steps speak of.
fn direction(gradient: &[f64], memory: &VecDeque<Pair>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut alphas = Vec::with_capacity(memory.len());
    for Pair { step, change, rho } in memory {
        let alpha = rho * dot(step, &q);
        q.iter_mut().zip(change).for_each(|(q, y)| *q -= alpha * y);
        alphas.push(alpha);
    }
    if let Some(Pair { change, rho, .. }) = memory.front() {
        let scale = 1.0 / (rho * dot(change, change));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for (Pair { step, change, rho }, alpha) in memory.iter().zip(alphas).rev() {
        let beta = rho * dot(change, &q);
        q.iter_mut().zip(step).for_each(|(q, s)| *q += (alpha - beta) * s);
    }
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_valley_of_rosenbrock_is_followed_to_its_end() {
        // (1 − x)² + 100 (y − x²)², least at (1, 1).
        let evaluate = |p: &[f64]| {
            let (x, y) = (p[0], p[1]);
            let value = (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2);
            (value, vec![-2.0 * (1.0 - x) - 400.0 * x * (y - x * x), 200.0 * (y - x * x)])
        };
        let limits = Limits { steps: 200, tolerance: 1e-8 };
        let least = minimize(vec![-1.2, 1.0], limits, evaluate, |_| Ok(())).unwrap();
        assert!(least.iter().all(|x| (x - 1.0).abs() < 1e-6), "{least:?}");
    }
}
