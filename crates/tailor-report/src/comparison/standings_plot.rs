//! Accuracies with their intervals, a row a model.

use tailor_eval::Comparison;

use super::series;
use crate::axis::Axis;
use crate::number::percent;
use crate::svg::{Anchor, Drawing, Frame, cut_to_width};

const WIDTH: f64 = 440.0;
const ROW: f64 = 44.0;
/// Room for the axis beneath.
const FOOT: f64 = 44.0;

/// Each model's accuracy as a numbered dot on its interval, and each of its runs as a stroke.
pub(super) fn standings_plot(comparison: &Comparison) -> Drawing {
    let standings = &comparison.standings;
    let height = ROW * standings.len() as f64 + FOOT;
    let plot = Frame { x: 12.0, y: 0.0, width: WIDTH - 24.0, height: height - FOOT };
    let runs = comparison.contestants.iter().flat_map(|contestant| &contestant.runs);
    let bounds = standings.iter().flat_map(|standing| {
        let interval = standing.accuracy_interval;
        [interval.low, interval.high]
    });
    let accuracies = runs.map(|run| run.evaluation.accuracy).chain(bounds).map(|share| 100.0 * share);
    let axis = Axis::covering(accuracies, 5);
    let x = |share: f64| axis.position(100.0 * share, plot.x, plot.right()).unwrap_or(plot.x);

    let mut drawing = Drawing::new(WIDTH, height, "Accuracy of each model with its 95 % interval");
    for tick in axis.ticks() {
        if let Some(x) = axis.position(tick, plot.x, plot.right()) {
            drawing.line("grid", (x, plot.y), (x, plot.bottom() + 4.0));
            drawing.text("quiet", (x, plot.bottom() + 20.0), Anchor::Middle, &axis.label(tick));
        }
    }
    drawing.text("quiet", (plot.center().0, height - 4.0), Anchor::Middle, "accuracy, %");
    for (place, (standing, contestant)) in standings.iter().zip(&comparison.contestants).enumerate() {
        let middle = ROW * place as f64 + 30.0;
        let name = cut_to_width(&standing.name, WIDTH - 24.0);
        drawing.text("halo", (plot.x, middle - 14.0), Anchor::Start, &name);
        let color = series::color(place);
        let interval = standing.accuracy_interval;
        drawing.line(&format!("{color} interval"), (x(interval.low), middle), (x(interval.high), middle));
        if contestant.runs.len() > 1 {
            for run in &contestant.runs {
                let x = x(run.evaluation.accuracy);
                drawing.line("seed", (x, middle - 7.0), (x, middle + 7.0));
            }
        }
        let says = format!("{}: {}", standing.name, percent(standing.accuracy.mean));
        place_mark(&mut drawing, place, (x(standing.accuracy.mean), middle), &says);
    }
    drawing
}

/// A dot with the model's number that says `title` under the pointer.
pub(super) fn place_mark(drawing: &mut Drawing, place: usize, (x, y): (f64, f64), title: &str) {
    drawing.marker(&format!("{} place", series::color(place)), (x, y), 9.0, title);
    drawing.text("place", (x, y + 4.0), Anchor::Middle, &(place + 1).to_string());
}
