//! Accuracy against what it costs.

use tailor_eval::comparison::pareto_front;
use tailor_eval::{Comparison, Cost, duration, thousands};

use super::standings_plot::place_mark;
use crate::axis::{Axis, LogAxis};
use crate::number::percent;
use crate::svg::{Anchor, Drawing, Frame, Point};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const PLOT: Frame = Frame { x: 44.0, y: 36.0, width: WIDTH - 60.0, height: HEIGHT - 82.0 };

/// A cost that is drawn on the horizontal axis.
pub(super) struct CostAxis {
    /// What it is, with its unit.
    pub title: &'static str,
    value: fn(&Cost) -> Option<f64>,
    /// Whether more of it is better, as of speed.
    pub is_gain: bool,
    text: fn(f64) -> String,
}

/// All costs that a plot is made of.
pub(super) const COSTS: [CostAxis; 3] = [
    CostAxis {
        title: "training, seconds",
        value: |cost| cost.training_seconds,
        is_gain: false,
        text: duration,
    },
    CostAxis {
        title: "parameters",
        value: |cost| cost.parameters.map(|n| n as f64),
        is_gain: false,
        text: |n| thousands(n as usize),
    },
    CostAxis {
        title: "prediction, images a second",
        value: |cost| cost.prediction_images_per_second,
        is_gain: true,
        text: |n| thousands(n.round() as usize),
    },
];

/// A model's point: its place in the standings, cost, accuracy of 1.
struct Known {
    place: usize,
    cost: f64,
    accuracy: f64,
}

/// Accuracy against a cost, and the places of the models on its front; none if it is known of fewer than two.
pub(super) fn scatter(comparison: &Comparison, cost: &CostAxis) -> Option<(Drawing, Vec<usize>)> {
    let known = comparison.standings.iter().enumerate().filter_map(|(place, standing)| {
        let value = (cost.value)(&standing.cost).filter(|value| *value > 0.0)?;
        Some(Known { place, cost: value, accuracy: standing.accuracy.mean })
    });
    let known: Vec<Known> = known.collect();
    if known.len() < 2 {
        return None;
    }
    let sign = if cost.is_gain { -1.0 } else { 1.0 };
    let front =
        pareto_front(&known.iter().map(|model| (sign * model.cost, model.accuracy)).collect::<Vec<_>>());
    let front: Vec<&Known> = front.into_iter().map(|model| &known[model]).collect();
    let places = front.iter().map(|model| model.place).collect();
    Some((draw(comparison, cost, &known, &front), places))
}

fn draw(comparison: &Comparison, cost: &CostAxis, known: &[Known], front: &[&Known]) -> Drawing {
    let costs = LogAxis::covering(known.iter().map(|model| model.cost));
    let interval = |model: &Known| comparison.standings[model.place].accuracy_interval;
    let bounds = known.iter().flat_map(|model| [interval(model).low, interval(model).high]);
    let accuracies = Axis::covering(bounds.map(|share| 100.0 * share), 5);
    let x = |cost: f64| costs.position(cost, PLOT.x, PLOT.right()).unwrap_or(PLOT.x);
    let y = |share: f64| accuracies.position(100.0 * share, PLOT.bottom(), PLOT.y).unwrap_or(PLOT.bottom());

    let mut drawing = Drawing::new(WIDTH, HEIGHT, format!("Accuracy against {}", cost.title));
    drawing.text("title", (0.0, 18.0), Anchor::Start, "Accuracy, %");
    for tick in accuracies.ticks() {
        if let Some(y) = accuracies.position(tick, PLOT.bottom(), PLOT.y) {
            drawing.line("grid", (PLOT.x, y), (PLOT.right(), y));
            drawing.text("quiet", (PLOT.x - 8.0, y + 4.0), Anchor::End, &accuracies.label(tick));
        }
    }
    drawing.line("axis", (PLOT.x, PLOT.bottom()), (PLOT.right(), PLOT.bottom()));
    for tick in costs.ticks() {
        let x = x(tick);
        drawing.line("axis", (x, PLOT.bottom()), (x, PLOT.bottom() + 4.0));
        drawing.text("quiet", (x, PLOT.bottom() + 18.0), Anchor::Middle, &costs.label(tick));
    }
    drawing.text("quiet", (PLOT.center().0, HEIGHT - 6.0), Anchor::Middle, cost.title);
    drawing.polyline("front", &steps(front.iter().map(|model| (x(model.cost), y(model.accuracy))).collect()));
    for model in known {
        let (x, interval) = (x(model.cost), interval(model));
        let color = super::series::color(model.place);
        drawing.line(&format!("{color} interval"), (x, y(interval.low)), (x, y(interval.high)));
    }
    // The best on top.
    for model in known.iter().rev() {
        let name = &comparison.standings[model.place].name;
        let says = format!("{name}: {}, {} {}", percent(model.accuracy), cost.title, (cost.text)(model.cost));
        place_mark(&mut drawing, model.place, (x(model.cost), y(model.accuracy)), &says);
    }
    drawing
}

/// The border of what the front beats: level until the next one of it is affordable.
fn steps(points: Vec<Point>) -> Vec<Point> {
    let corners = points.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
    corners.chain(points.last().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_goes_along_and_then_up() {
        assert_eq!(steps(vec![(0.0, 9.0), (4.0, 5.0)]), [(0.0, 9.0), (4.0, 9.0), (4.0, 5.0)]);
        assert_eq!(steps(vec![(1.0, 2.0)]), [(1.0, 2.0)]);
    }
}
