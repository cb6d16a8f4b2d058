//! Loss and accuracy over the epochs.

use tailor_eval::{EpochRecord, History};

use crate::axis::Axis;
use crate::svg::{Anchor, Drawing, Frame, Point, text_width};

pub(crate) const WIDTH: f64 = 440.0;
pub(crate) const HEIGHT: f64 = 300.0;
pub(crate) const PLOT: Frame = Frame { x: 44.0, y: 52.0, width: WIDTH - 60.0, height: HEIGHT - 90.0 };
/// Up to so many epochs, each is marked with a dot.
const DOTTED: usize = 30;

/// One quantity, on the training part and on the validation part.
struct Quantity {
    title: &'static str,
    training: fn(&EpochRecord) -> f64,
    validation: fn(&EpochRecord) -> Option<f64>,
}

/// Mean loss in nats, `[epochs]`.
pub(crate) fn loss(history: &History, kept_epoch: Option<usize>) -> Drawing {
    let quantity = Quantity {
        title: "Loss",
        training: |record| record.train_loss,
        validation: |record| record.validation_loss,
    };
    curves(history, kept_epoch, &quantity)
}

/// Accuracy in percent, `[epochs]`.
pub(crate) fn accuracy(history: &History, kept_epoch: Option<usize>) -> Drawing {
    let quantity = Quantity {
        title: "Accuracy, %",
        training: |record| 100.0 * record.train_accuracy,
        validation: |record| record.validation_accuracy.map(|accuracy| 100.0 * accuracy),
    };
    curves(history, kept_epoch, &quantity)
}

/// Both, side by side.
pub(crate) fn loss_and_accuracy(history: &History, kept_epoch: Option<usize>) -> Drawing {
    const GAP: f64 = 20.0;
    let (loss, accuracy) = (loss(history, kept_epoch), accuracy(history, kept_epoch));
    let mut both = Drawing::new(2.0 * WIDTH + GAP, HEIGHT, "Loss and accuracy over the epochs");
    both.place((0.0, 0.0), &loss);
    both.place((WIDTH + GAP, 0.0), &accuracy);
    both
}

fn curves(history: &History, kept_epoch: Option<usize>, quantity: &Quantity) -> Drawing {
    let records = &history.0;
    let validated = |record: &EpochRecord| (quantity.validation)(record).unwrap_or(f64::NAN);
    let epochs = Axis::counting(
        records.first().map_or(0, |record| record.epoch),
        records.last().map_or(0, |record| record.epoch),
        6,
    );
    let values = Axis::covering(records.iter().flat_map(|r| [(quantity.training)(r), validated(r)]), 5);
    let place = |record: &EpochRecord, value: f64| {
        let x = epochs.position(record.epoch as f64, PLOT.x, PLOT.right())?;
        Some((x, values.position(value, PLOT.bottom(), PLOT.y)?))
    };

    let mut drawing = Drawing::new(WIDTH, HEIGHT, format!("{} over the epochs", quantity.title));
    drawing.text("title", (0.0, 18.0), Anchor::Start, quantity.title);
    axes(&mut drawing, PLOT, &epochs, &values);
    legend(&mut drawing, records.iter().any(|record| (quantity.validation)(record).is_some()));
    let training: Vec<_> = records.iter().map(|record| place(record, (quantity.training)(record))).collect();
    let validation: Vec<_> = records.iter().map(|record| place(record, validated(record))).collect();
    curve(&mut drawing, "training", &training);
    curve(&mut drawing, "validation", &validation);
    let kept = records.iter().find(|record| Some(record.epoch) == kept_epoch);
    if let Some((kept, point)) = kept.and_then(|kept| Some((kept, place(kept, validated(kept))?))) {
        mark_kept(&mut drawing, kept.epoch, point);
    }
    drawing
}

/// Epochs along the bottom of `plot`, values up its left side.
pub(crate) fn axes(drawing: &mut Drawing, plot: Frame, epochs: &Axis, values: &Axis) {
    for tick in values.ticks() {
        if let Some(y) = values.position(tick, plot.bottom(), plot.y) {
            drawing.line("grid", (plot.x, y), (plot.right(), y));
            drawing.text("quiet", (plot.x - 8.0, y + 4.0), Anchor::End, &values.label(tick));
        }
    }
    drawing.line("axis", (plot.x, plot.bottom()), (plot.right(), plot.bottom()));
    for tick in epochs.ticks() {
        if let Some(x) = epochs.position(tick, plot.x, plot.right()) {
            drawing.line("axis", (x, plot.bottom()), (x, plot.bottom() + 4.0));
            drawing.text("quiet", (x, plot.bottom() + 18.0), Anchor::Middle, &epochs.label(tick));
        }
    }
    drawing.text("quiet", (plot.center().0, plot.bottom() + 35.0), Anchor::Middle, "epoch");
}

/// Names the lines, from the right end of the title's line to the left.
fn legend(drawing: &mut Drawing, validated: bool) {
    let names: &[&str] = if validated { &["validation", "training"] } else { &["training"] };
    names.iter().fold(PLOT.right(), |right, name| {
        let start = right - text_width(name);
        drawing.text("quiet", (start, 18.0), Anchor::Start, name);
        drawing.line(name, (start - 22.0, 14.0), (start - 8.0, 14.0));
        start - 38.0
    });
}

/// A line through `points`, broken where one is missing.
pub(crate) fn curve(drawing: &mut Drawing, class: &str, points: &[Option<Point>]) {
    for run in points.split(Option::is_none) {
        let run: Vec<Point> = run.iter().flatten().copied().collect();
        if run.len() > 1 {
            drawing.polyline(class, &run);
        }
        // A point alone makes no line, so it is always dotted.
        if points.len() <= DOTTED || run.len() == 1 {
            run.iter().for_each(|&point| drawing.circle(class, point, 2.5));
        }
    }
}

fn mark_kept(drawing: &mut Drawing, epoch: usize, (x, y): Point) {
    drawing.line("kept", (x, PLOT.y), (x, PLOT.bottom()));
    drawing.circle("kept", (x, y), 4.5);
    let is_left = x < PLOT.center().0;
    let (anchor, offset) = if is_left { (Anchor::Start, 7.0) } else { (Anchor::End, -7.0) };
    drawing.text("kept halo", (x + offset, PLOT.y - 8.0), anchor, &format!("kept: epoch {epoch}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster;

    fn record(epoch: usize, loss: f64) -> EpochRecord {
        EpochRecord {
            epoch,
            learning_rate: 1e-3,
            train_loss: loss,
            train_accuracy: 0.9,
            validation_loss: Some(loss + 0.1),
            validation_accuracy: Some(0.88),
            seconds: 1.0,
            images_per_second: 1.0,
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_breaks_the_line_and_not_the_axis() {
        let losses = [0.6, 0.5, f64::NAN, 0.45, f64::INFINITY, 0.4, 0.38];
        let history = History(losses.into_iter().zip(1..).map(|(loss, epoch)| record(epoch, loss)).collect());
        let document = loss(&history, Some(7)).document();
        roxmltree::Document::parse(&document).unwrap();
        assert!(!document.contains("NaN") && !document.contains("inf"));
        assert_eq!(document.matches("<polyline class=\"training\"").count(), 2, "epochs 1–2 and 6–7");
        assert_eq!(document.matches("<circle class=\"training\"").count(), 5);
        assert!(document.contains("kept: epoch 7"));
    }

    #[test]
    fn one_epoch_and_none_are_drawn_too() {
        for records in [vec![record(1, 0.5)], vec![]] {
            let drawing = loss_and_accuracy(&History(records), Some(1));
            assert!(raster::png(&drawing).is_ok());
        }
    }
}
