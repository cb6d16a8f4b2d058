//! Every combination of values.

use tailor_data::random::{Generator, image_seed};

use crate::{Domain, Point, Space};

/// Values of a real number that a grid has, and the most of a range of whole numbers.
const POINTS: usize = 5;
/// A grid of more is of no use to anybody.
const LARGEST: usize = 100_000;

/// All combinations, in an order that depends on the seed: a search that is cut short has still looked everywhere. At most
/// 100,000.
pub fn grid(space: &Space, seed: u64) -> Vec<Point> {
    let mut points: Vec<Point> = vec![Point::new()];
    for (position, parameter) in space.parameters.iter().enumerate() {
        let values = values(&parameter.domain);
        let extended = points.iter().flat_map(|point| {
            let choices = match space.is_active(position, point) {
                true => values.iter().copied().map(Some).collect(),
                false => vec![None],
            };
            choices.into_iter().map(move |value| point.iter().copied().chain([value]).collect::<Point>())
        });
        points = extended.take(LARGEST).collect();
    }
    Generator::new(image_seed(seed, 0, 0)).shuffle(&mut points);
    points
}

/// Choices and short ranges whole; others from end to end in equal steps on their scale.
fn values(domain: &Domain) -> Vec<f64> {
    let ends = |index: usize, count: usize| index as f64 / (count - 1) as f64;
    match domain.size() {
        Some(size) if size <= POINTS || matches!(domain, Domain::Choice { .. }) => {
            (0..size).map(|i| domain.at((i as f64 + 0.5) / size as f64)).collect()
        }
        _ => (0..POINTS).map(|i| domain.at(ends(i, POINTS))).collect(),
    }
}
