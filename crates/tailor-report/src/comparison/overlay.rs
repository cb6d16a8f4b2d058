//! The validation curves of all runs in one plot.

use tailor_eval::{Comparison, EpochRecord, History};

use super::remarks::has_curve;
use super::series;
use crate::axis::Axis;
use crate::curves::axes;
use crate::svg::{Anchor, Drawing, Frame, Point};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const PLOT: Frame = Frame { x: 44.0, y: 36.0, width: WIDTH - 60.0, height: HEIGHT - 74.0 };

/// One quantity over the epochs.
struct Quantity {
    title: &'static str,
    value: fn(&EpochRecord) -> Option<f64>,
}

/// Validation loss in nats.
pub(super) fn loss(comparison: &Comparison) -> Drawing {
    draw(comparison, &Quantity { title: "Validation loss", value: |record| record.validation_loss })
}

/// Validation accuracy in percent.
pub(super) fn accuracy(comparison: &Comparison) -> Drawing {
    let value = |record: &EpochRecord| record.validation_accuracy.map(|accuracy| 100.0 * accuracy);
    draw(comparison, &Quantity { title: "Validation accuracy, %", value })
}

fn draw(comparison: &Comparison, quantity: &Quantity) -> Drawing {
    let runs = comparison.contestants.iter().flat_map(|contestant| &contestant.runs);
    let curves: Vec<&History> = runs.filter(|run| has_curve(run)).map(|run| &run.history).collect();
    let records = || curves.iter().flat_map(|history| &history.0);
    let last = records().map(|record| record.epoch).max().unwrap_or(1);
    let epochs = Axis::counting(1, last, 6);
    let values = Axis::covering(records().filter_map(quantity.value), 5);

    let mut drawing = Drawing::new(WIDTH, HEIGHT, format!("{} of every run over the epochs", quantity.title));
    drawing.text("title", (0.0, 18.0), Anchor::Start, quantity.title);
    axes(&mut drawing, PLOT, &epochs, &values);
    let place = |record: &EpochRecord| -> Option<Point> {
        let x = epochs.position(record.epoch as f64, PLOT.x, PLOT.right())?;
        Some((x, values.position((quantity.value)(record)?, PLOT.bottom(), PLOT.y)?))
    };
    // The best on top.
    for (rank, contestant) in comparison.contestants.iter().enumerate().rev() {
        let width = if contestant.runs.len() > 1 { "many" } else { "one" };
        let class = format!("{} {width}", series::line(rank));
        for History(records) in contestant.runs.iter().filter(|run| has_curve(run)).map(|run| &run.history) {
            let points: Vec<_> = records.iter().map(place).collect();
            for run in points.split(Option::is_none).filter(|run| !run.is_empty()) {
                let run: Vec<Point> = run.iter().flatten().copied().collect();
                match run.as_slice() {
                    [point] => drawing.circle(&class, *point, 3.0),
                    points => drawing.polyline(&class, points),
                }
            }
        }
    }
    drawing
}
