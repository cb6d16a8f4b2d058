//! The reliability diagram: is the model as often right as it says?

use tailor_eval::{Calibration, CalibrationBin};

use crate::axis::Axis;
use crate::number::{count, percent};
use crate::svg::{Anchor, Drawing, Frame, text_width};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 420.0;
const PLOT: Frame = Frame { x: 44.0, y: 40.0, width: WIDTH - 60.0, height: 260.0 };
const VOLUME: Frame = Frame { x: PLOT.x, y: 312.0, width: PLOT.width, height: 56.0 };

/// Accuracy by confidence (Guo et al. 2017, figure 1): bars that end on the diagonal are honest, and
/// what they lack or exceed is the gap. Beneath, how many images
/// have such a confidence.
pub(crate) fn reliability(calibration: &Calibration) -> Drawing {
    let mut drawing = Drawing::new(WIDTH, HEIGHT, "Reliability diagram: accuracy by confidence");
    let percent_axis = Axis::covering([0.0, 100.0], 5);
    drawing.text("title", (0.0, 18.0), Anchor::Start, "Accuracy, %");
    legend(&mut drawing);
    for tick in percent_axis.ticks() {
        if let Some(y) = percent_axis.position(tick, PLOT.bottom(), PLOT.y) {
            drawing.line("grid", (PLOT.x, y), (PLOT.right(), y));
            drawing.text("quiet", (PLOT.x - 8.0, y + 4.0), Anchor::End, &percent_axis.label(tick));
        }
        if let Some(x) = percent_axis.position(tick, PLOT.x, PLOT.right()) {
            drawing.text("quiet", (x, VOLUME.bottom() + 18.0), Anchor::Middle, &percent_axis.label(tick));
        }
    }

    let most = calibration.bins.iter().map(|bin| bin.images).max().unwrap_or(0).max(1);
    for bin in calibration.bins.iter().filter(|bin| bin.images > 0) {
        draw_bin(&mut drawing, bin, most);
    }
    drawing.line("ideal", (PLOT.x, PLOT.bottom()), (PLOT.right(), PLOT.y));
    drawing.line("axis", (PLOT.x, PLOT.bottom()), (PLOT.right(), PLOT.bottom()));
    drawing.line("axis", (VOLUME.x, VOLUME.bottom()), (VOLUME.right(), VOLUME.bottom()));
    drawing.text("quiet small halo", (VOLUME.x + 4.0, VOLUME.y + 10.0), Anchor::Start, "images");
    drawing.text("quiet", (PLOT.center().0, HEIGHT - 14.0), Anchor::Middle, "confidence, %");
    drawing
}

fn draw_bin(drawing: &mut Drawing, bin: &CalibrationBin, most: usize) {
    let x = PLOT.x + bin.low * PLOT.width;
    let width = (bin.high - bin.low) * PLOT.width - 1.0;
    let says = format!(
        "confidence {} to {}: {} images, {} right",
        percent(bin.low),
        percent(bin.high),
        count(bin.images),
        percent(bin.accuracy)
    );
    let bar = |share: f64, frame: Frame| Frame {
        x,
        y: frame.bottom() - share * frame.height,
        width,
        height: share * frame.height,
    };
    drawing.cell("right", bar(bin.accuracy, PLOT), 1.0, &says);
    let (low, high) = (bin.accuracy.min(bin.confidence), bin.accuracy.max(bin.confidence));
    let gap = Frame { height: (high - low) * PLOT.height, ..bar(high, PLOT) };
    drawing.cell("wrong", gap, 1.0, &says);
    let top = PLOT.bottom() - bin.accuracy * PLOT.height;
    drawing.line("cap", (x, top), (x + width, top));
    drawing.cell("volume", bar(bin.images as f64 / most as f64, VOLUME), 0.6, &says);
}

fn legend(drawing: &mut Drawing) {
    [("gap to confidence", "wrong"), ("accuracy", "right")].into_iter().fold(
        PLOT.right(),
        |right, (name, class)| {
            let start = right - text_width(name);
            drawing.text("quiet", (start, 18.0), Anchor::Start, name);
            drawing.rect(class, Frame { x: start - 18.0, y: 8.0, width: 12.0, height: 12.0 });
            start - 34.0
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailor_eval::Predictions;

    #[test]
    fn bins_say_what_they_hold_and_empty_ones_are_left_out() {
        let names = ["a", "b"].map(String::from).to_vec();
        let predictions = Predictions::new(names, vec![0, 1, 0], [0.97, 0.03].repeat(3)).unwrap();
        let document = reliability(&Calibration::of(&predictions)).document();
        roxmltree::Document::parse(&document).unwrap();
        // Accuracy, gap and volume of the one bin that holds images.
        let says = "confidence 93.3\u{202f}% to 100.0\u{202f}%: 3 images, 66.7\u{202f}% right";
        assert_eq!(document.matches(says).count(), 3);
        assert_eq!(document.matches("<title>").count(), 3 + 1, "and the drawing's own");
    }
}
