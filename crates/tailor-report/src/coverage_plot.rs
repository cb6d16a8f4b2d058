//! The accuracy–coverage curve: what a model is worth that may answer "not sure".

use tailor_eval::{AccuracyCoverage, Answered};

use crate::axis::Axis;
use crate::number::percent;
use crate::svg::{Anchor, Drawing, Frame, Point};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const PLOT: Frame = Frame { x: 52.0, y: 52.0, width: WIDTH - 68.0, height: HEIGHT - 90.0 };
/// So many points at most: more cannot be told apart.
const POINTS: usize = 250;
/// The accuracy of fewer images than this says little.
const FEWEST: usize = 20;

/// The accuracy of the answers (up) by the share of images that are answered (right), the surest first; `confidence` is the
/// threshold of the model, if it has one.
pub(crate) fn accuracy_coverage(curve: &AccuracyCoverage, confidence: Option<f64>) -> Drawing {
    let images = curve.images().max(1) as f64;
    let place =
        |answered: &Answered| (100.0 * answered.answered as f64 / images, 100.0 * answered.accuracy());
    let mut shown: Vec<(f64, f64)> = Vec::new();
    for point in curve.points().iter().filter(|point| point.answered >= FEWEST.min(curve.images())) {
        let (coverage, accuracy) = place(point);
        let is_far = shown.last().is_none_or(|last| coverage - last.0 >= 100.0 / POINTS as f64);
        if is_far || point.answered == curve.images() {
            shown.push((coverage, accuracy));
        }
    }
    let coverages = Axis::covering([0.0, 100.0], 5);
    let accuracies = Axis::covering(shown.iter().map(|point| point.1).chain([100.0]), 5);
    let at = |(coverage, accuracy): (f64, f64)| -> Option<Point> {
        let x = coverages.position(coverage, PLOT.x, PLOT.right())?;
        Some((x, accuracies.position(accuracy, PLOT.bottom(), PLOT.y)?))
    };

    let mut drawing = Drawing::new(WIDTH, HEIGHT, "Accuracy of the answers by the share of images answered");
    drawing.text("title", (0.0, 18.0), Anchor::Start, "Accuracy of the answers, %");
    for tick in accuracies.ticks() {
        if let Some(y) = accuracies.position(tick, PLOT.bottom(), PLOT.y) {
            drawing.line("grid", (PLOT.x, y), (PLOT.right(), y));
            drawing.text("quiet", (PLOT.x - 8.0, y + 4.0), Anchor::End, &accuracies.label(tick));
        }
    }
    drawing.line("axis", (PLOT.x, PLOT.bottom()), (PLOT.right(), PLOT.bottom()));
    for tick in coverages.ticks() {
        if let Some(x) = coverages.position(tick, PLOT.x, PLOT.right()) {
            drawing.line("axis", (x, PLOT.bottom()), (x, PLOT.bottom() + 4.0));
            drawing.text("quiet", (x, PLOT.bottom() + 18.0), Anchor::Middle, &coverages.label(tick));
        }
    }
    let below = (PLOT.center().0, PLOT.bottom() + 35.0);
    drawing.text("quiet", below, Anchor::Middle, "images that are answered, %, the surest first");
    let line: Vec<Point> = shown.into_iter().filter_map(at).collect();
    drawing.polyline("training", &line);
    let threshold =
        confidence.map(|confidence| curve.at(confidence)).filter(|answered| answered.answered > 0);
    if let Some((threshold, point)) = threshold.and_then(|t| Some((t, at(place(&t))?))) {
        drawing.line("kept", (point.0, PLOT.y), (point.0, PLOT.bottom()));
        drawing.circle("kept", point, 4.5);
        let (anchor, x) = if point.0 < PLOT.center().0 {
            (Anchor::Start, point.0 + 7.0)
        } else {
            (Anchor::End, point.0 - 7.0)
        };
        let says = format!("threshold: {} sure", percent(threshold.confidence));
        drawing.text("kept halo", (x, PLOT.bottom() - 10.0), anchor, &says);
    }
    drawing
}

#[cfg(test)]
mod tests {
    use tailor_eval::Predictions;

    use super::*;

    #[test]
    fn few_images_and_many_are_drawn_and_the_threshold_is_marked() {
        for images in [1_u32, 30, 3000] {
            let names = ["a", "b"].map(String::from).to_vec();
            let rows = (0..images).flat_map(|i| {
                let sure = 1.0 - 0.4 * f64::from(i) / f64::from(images);
                [sure, 1.0 - sure]
            });
            let labels = (0..images as usize).map(|i| usize::from(i % 10 == 9)).collect();
            let predictions = Predictions::new(names, labels, rows.collect()).unwrap();
            let document = accuracy_coverage(&AccuracyCoverage::of(&predictions), Some(0.8)).document();
            roxmltree::Document::parse(&document).unwrap();
            assert!(document.contains("threshold: 80.0") && !document.contains("NaN"));
            assert!(document.len() < 12_000, "{} images make {} bytes", images, document.len());
        }
    }
}
