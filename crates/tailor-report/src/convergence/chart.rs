//! Curves of many runs in one plot: each variant's mean, and its single runs faintly behind it.

use tailor_eval::EpochRecord;

use super::{Convergence, Variant};
use crate::axis::Axis;
use crate::curves::{HEIGHT, PLOT, WIDTH, axes, curve};
use crate::svg::{Anchor, Drawing, Point};

/// One quantity of the validation part.
pub(super) struct Quantity {
    title: &'static str,
    value: fn(&EpochRecord) -> Option<f64>,
}

/// In percent.
pub(super) const ACCURACY: Quantity = Quantity {
    title: "Validation accuracy, %",
    value: |record| record.validation_accuracy.map(|accuracy| 100.0 * accuracy),
};

/// In nats.
pub(super) const LOSS: Quantity =
    Quantity { title: "Validation loss", value: |record| record.validation_loss };

/// How the `position`th line of a plot looks.
pub(super) fn series(position: usize) -> String {
    format!("series-{}", position + 1)
}

/// The curves of some variants over the epochs.
pub(super) fn chart(study: &Convergence, variants: &[usize], quantity: &Quantity) -> Drawing {
    let shown: Vec<&Variant> = variants.iter().map(|&position| &study.variants[position]).collect();
    let epochs = Axis::counting(1, study.epochs(), 6);
    let all = shown.iter().flat_map(|variant| &variant.runs).flat_map(|run| &run.0);
    let values = Axis::covering(all.filter_map(|record| (quantity.value)(record)), 5);
    let place = |epoch: usize, value: f64| -> Option<Point> {
        let x = epochs.position(epoch as f64, PLOT.x, PLOT.right())?;
        Some((x, values.position(value, PLOT.bottom(), PLOT.y)?))
    };

    let mut drawing = Drawing::new(WIDTH, HEIGHT, format!("{} over the epochs", quantity.title));
    drawing.text("title", (0.0, 18.0), Anchor::Start, quantity.title);
    axes(&mut drawing, PLOT, &epochs, &values);
    for (position, variant) in shown.iter().enumerate().filter(|(_, variant)| variant.runs.len() > 1) {
        for run in &variant.runs {
            let points: Vec<Point> =
                run.0.iter().filter_map(|record| place(record.epoch, (quantity.value)(record)?)).collect();
            drawing.polyline(&format!("single {}", series(position)), &points);
        }
    }
    for (position, variant) in shown.iter().enumerate() {
        let points: Vec<Option<Point>> =
            (1..=study.epochs()).map(|epoch| place(epoch, mean(variant, epoch, quantity)?)).collect();
        curve(&mut drawing, &format!("mean {}", series(position)), &points);
    }
    drawing
}

/// Over the runs that got so far.
fn mean(variant: &Variant, epoch: usize, quantity: &Quantity) -> Option<f64> {
    let records = variant.runs.iter().filter_map(|run| run.0.get(epoch - 1));
    let values: Vec<f64> = records.filter_map(|record| (quantity.value)(record)).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A short piece of the `position`th line, for a legend.
pub(super) fn sample(position: usize) -> Drawing {
    let mut drawing = Drawing::new(34.0, 12.0, "");
    drawing.line(&format!("mean {}", series(position)), (2.0, 6.0), (32.0, 6.0));
    drawing
}
