//! Densities over a space from a few points, for [`super::tpe`].

use tailor_data::random::Generator;

use crate::distribution::{normal_cdf, normal_density};
use crate::{Domain, Point, Space};

/// The deviation of a Gaussian around the only point there is; it shrinks with more (as in Optuna's multivariate TPE).
const WIDTH: f64 = 0.2;
/// None is narrower.
const NARROWEST: f64 = 0.01;

/// A density over the points of a space: a product of Gaussians, cut off at the ends of their ranges, around each point, and one part
/// that is uniform and stands for what was not looked at yet. Parameters are drawn together, so that what goes together stays together
/// (Falkner et al. 2018, "BOHB", section 4.1).
pub struct Parzen<'a> {
    space: &'a Space,
    points: Vec<&'a Point>,
    deviation: f64,
}

impl<'a> Parzen<'a> {
    pub fn of(space: &'a Space, points: Vec<&'a Point>) -> Self {
        let (count, dimensions) = (points.len().max(1) as f64, space.parameters.len() as f64);
        let deviation = (WIDTH * count.powf(-1.0 / (dimensions + 4.0))).max(NARROWEST);
        Parzen { space, points, deviation }
    }

    /// A point of one part.
    pub fn draw(&self, generator: &mut Generator) -> Point {
        let part = self.points.get(generator.below(self.points.len() as u32 + 1) as usize);
        self.space.point(|position| {
            let domain = &self.space.parameters[position].domain;
            let uniform = f64::from(generator.unit());
            match (part.and_then(|point| point[position]), domain) {
                (None, _) => uniform,
                (Some(value), Domain::Choice { values, .. }) => {
                    // One more of each choice among as many observations as there are points.
                    let stays = self.points.len() as f64 / (self.points.len() as f64 + 1.0);
                    let other = generator.below(values.len() as u32);
                    domain.unit(if uniform < stays { value } else { f64::from(other) })
                }
                (Some(value), _) => {
                    let center = domain.unit(value);
                    // Half of a Gaussian or more lies within, so a few tries suffice.
                    let mut tries = (0..100).map(|_| center + self.deviation * normal(generator));
                    tries.find(|x| (0.0..=1.0).contains(x)).unwrap_or(center)
                }
            }
        })
    }

    /// The logarithm of the density at a point.
    pub fn log_density(&self, point: &Point) -> f64 {
        let uniform: f64 =
            (0..point.len()).map(|position| self.factor(position, point[position], None)).product();
        let parts = self.points.iter().map(|part| -> f64 {
            (0..point.len()).map(|position| self.factor(position, point[position], part[position])).product()
        });
        ((uniform + parts.sum::<f64>()) / (self.points.len() + 1) as f64).ln()
    }

    /// The density of one parameter's value in the part around `center`, or in the uniform part.
    fn factor(&self, position: usize, value: Option<f64>, center: Option<f64>) -> f64 {
        let domain = &self.space.parameters[position].domain;
        let Some(value) = value else { return 1.0 };
        match (center, domain) {
            (None, Domain::Choice { values, .. }) => 1.0 / values.len() as f64,
            (None, _) => 1.0,
            (Some(center), Domain::Choice { values, .. }) => {
                let count = self.points.len() as f64;
                let stays = if value == center { count } else { 0.0 };
                (stays + 1.0 / values.len() as f64) / (count + 1.0)
            }
            (Some(center), _) => {
                let (x, center) = (domain.unit(value), domain.unit(center));
                let below = |edge: f64| normal_cdf((edge - center) / self.deviation);
                normal_density((x - center) / self.deviation) / self.deviation / (below(1.0) - below(0.0))
            }
        }
    }
}

/// Box & Muller 1958.
fn normal(generator: &mut Generator) -> f64 {
    let (u, v) = (1.0 - f64::from(generator.unit()), f64::from(generator.unit()));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        let mut space = Space::default();
        ["x=0..1", "o=adam,sgd,adamw"].iter().for_each(|text| space.vary(text).unwrap());
        space
    }

    #[test]
    fn a_density_is_one_in_all_and_where_its_draws_are() {
        let space = space();
        let points: Vec<Point> =
            [(0.0, 0.0), (0.1, 0.0), (0.9, 2.0)].map(|(x, o)| vec![Some(x), Some(o)]).to_vec();
        let parzen = Parzen::of(&space, points.iter().collect());
        let steps = 2000;
        let density = |x: f64, o: f64| parzen.log_density(&vec![Some(x), Some(o)]).exp() / f64::from(steps);
        let grid = || (0..steps).map(|i| (f64::from(i) + 0.5) / f64::from(steps));
        let total: f64 = grid().flat_map(|x| [0.0, 1.0, 2.0].map(|o| density(x, o))).sum();
        assert!((total - 1.0).abs() < 1e-6, "{total}");

        let expected: f64 = grid().filter(|x| *x < 0.25).map(|x| density(x, 0.0)).sum();
        let mut generator = Generator::new(1);
        let draws = (0..20_000).map(|_| parzen.draw(&mut generator));
        let below = draws.filter(|p| p[0].unwrap() < 0.25 && p[1] == Some(0.0)).count() as f64 / 20_000.0;
        assert!((below - expected).abs() < 0.015, "{below} of the draws, {expected} of the density");
    }

    #[test]
    fn without_points_it_is_uniform() {
        // One third for each choice.
        let density = Parzen::of(&space(), Vec::new()).log_density(&vec![Some(0.7), Some(1.0)]).exp();
        assert!((density - 1.0 / 3.0).abs() < 1e-12);
    }
}
