//! In which classes one model is ahead of the other.

use tailor_eval::Comparison;
use tailor_eval::comparison::Difference;

use crate::axis::Axis;
use crate::number::points;
use crate::svg::{Anchor, Drawing, Frame, cut_to_width, text_width};

const WIDTH: f64 = 440.0;
const ROW: f64 = 24.0;
/// The widest class name.
const NAME: f64 = 130.0;
/// Room for a number beside the longest bar.
const NUMBER: f64 = 44.0;

/// The difference of recall of each class in points: to the right in blue where the first is ahead, to the left in orange
/// where the second is.
pub(super) fn class_bars(comparison: &Comparison, difference: &Difference) -> Drawing {
    let names: Vec<_> = comparison.class_names.iter().map(|name| cut_to_width(name, NAME)).collect();
    let name_width = names.iter().map(|name| text_width(name)).fold(0.0, f64::max);
    let left = name_width + 8.0 + NUMBER;
    let plot = Frame { x: left, y: 4.0, width: WIDTH - left - NUMBER, height: ROW * names.len() as f64 };
    let recalls = difference.classes.iter().map(|class| 100.0 * class.recall);
    let axis = Axis::covering(recalls.chain([0.0]), 4);
    let x = |recall: f64| axis.position(100.0 * recall, plot.x, plot.right()).unwrap_or(plot.x);

    let label = "Difference of recall of each class, in points";
    let mut drawing = Drawing::new(WIDTH, plot.bottom() + 40.0, label);
    for tick in axis.ticks() {
        if let Some(x) = axis.position(tick, plot.x, plot.right()) {
            drawing.line("grid", (x, plot.y), (x, plot.bottom()));
            drawing.text("quiet", (x, plot.bottom() + 16.0), Anchor::Middle, &axis.label(tick));
        }
    }
    for (class, name) in names.iter().enumerate() {
        let y = plot.y + ROW * class as f64;
        drawing.text("", (name_width, y + 16.0), Anchor::End, name);
        let recall = difference.classes[class].recall;
        let (from, to) = (x(recall.min(0.0)), x(recall.max(0.0)));
        let bar = Frame { x: from, y: y + 4.0, width: to - from, height: ROW - 8.0 };
        let color = if recall < 0.0 { "second" } else { "first" };
        let text = points(recall);
        drawing.cell(color, bar, 1.0, &format!("{}: {text} points", comparison.class_names[class]));
        let (anchor, beside) =
            if recall < 0.0 { (Anchor::End, from - 5.0) } else { (Anchor::Start, to + 5.0) };
        drawing.text("quiet halo", (beside, y + 16.0), anchor, &text);
    }
    drawing.line("axis", (x(0.0), plot.y), (x(0.0), plot.bottom()));
    drawing.text("quiet", (plot.center().0, plot.bottom() + 34.0), Anchor::Middle, "recall, points");
    drawing
}
