//! The picture of a learning-rate range test: the loss against the rising rate.

use crate::axis::Axis;
use crate::plots::with_margin;
use crate::scale::Scale;
use crate::svg::{Anchor, Drawing, Frame, Point};
use crate::{Result, raster};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const PLOT: Frame = Frame { x: 44.0, y: 44.0, width: WIDTH - 60.0, height: HEIGHT - 92.0 };
/// The axis ends this many times the range of what was reached above the lowest loss: what broke down would hide the rest.
const HEADROOM: f64 = 1.3;

/// One step of the test.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// The learning rate.
    pub rate: f64,
    /// The loss of the batch.
    pub loss: f64,
    /// The loss, smoothed.
    pub smoothed: f64,
}

/// The loss by learning rate with the suggestion marked, as `.svg` and `.png`: names and contents.
///
/// # Errors
/// The picture cannot be encoded.
pub fn rate_plot(rates: &[Rate], suggestion: f64) -> Result<Vec<(String, Vec<u8>)>> {
    let drawing = with_margin(&draw(rates, suggestion));
    Ok(vec![
        ("learning-rate.svg".into(), drawing.document().into_bytes()),
        ("learning-rate.png".into(), raster::png(&drawing)?),
    ])
}

fn draw(rates: &[Rate], suggestion: f64) -> Drawing {
    let lowest = rates.iter().map(|rate| rate.smoothed).fold(f64::INFINITY, f64::min);
    let first = rates.first().map_or(1.0, |rate| rate.smoothed);
    let shown = |loss: f64| loss.min(lowest + HEADROOM * (first - lowest));
    let losses = Axis::covering(rates.iter().flat_map(|rate| [shown(rate.smoothed), shown(rate.loss)]), 5);
    let scale = Scale::logarithmic(rates.iter().map(|rate| rate.rate));
    let mut drawing = Drawing::new(WIDTH, HEIGHT, "Loss against a rising learning rate");
    drawing.text("title", (0.0, 18.0), Anchor::Start, "Loss against a rising learning rate");
    for tick in losses.ticks() {
        if let Some(y) = losses.position(tick, PLOT.bottom(), PLOT.y) {
            drawing.line("grid", (PLOT.x, y), (PLOT.right(), y));
            drawing.text("quiet", (PLOT.x - 8.0, y + 4.0), Anchor::End, &losses.label(tick));
        }
    }
    drawing.line("axis", (PLOT.x, PLOT.bottom()), (PLOT.right(), PLOT.bottom()));
    for (tick, label) in scale.ticks() {
        if let Some(x) = scale.position(tick, PLOT.x, PLOT.right()) {
            drawing.line("axis", (x, PLOT.bottom()), (x, PLOT.bottom() + 4.0));
            drawing.text("quiet", (x, PLOT.bottom() + 18.0), Anchor::Middle, &label);
        }
    }
    drawing.text("quiet", (PLOT.center().0, PLOT.bottom() + 37.0), Anchor::Middle, "learning rate");
    let line = |loss: fn(&Rate) -> f64| -> Vec<Point> {
        let place = |rate: &Rate| {
            let x = scale.position(rate.rate, PLOT.x, PLOT.right())?;
            Some((x, losses.position(shown(loss(rate)), PLOT.bottom(), PLOT.y)?))
        };
        rates.iter().filter_map(place).collect()
    };
    drawing.polyline("raw", &line(|rate| rate.loss));
    drawing.polyline("validation", &line(|rate| rate.smoothed));
    if let Some(x) = scale.position(suggestion, PLOT.x, PLOT.right()) {
        drawing.line("suggestion", (x, PLOT.y), (x, PLOT.bottom()));
        drawing.text("kept halo", (x, PLOT.y - 8.0), Anchor::Middle, &format!("suggestion: {suggestion:e}"));
    }
    drawing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_breaks_down_is_cut_off_and_the_rest_is_seen() {
        let losses = [2.3, 2.2, 1.5, 1.0, 50.0];
        let rates: Vec<Rate> = losses
            .iter()
            .zip(0..)
            .map(|(&loss, i)| Rate { rate: 10f64.powi(i - 4), loss, smoothed: loss })
            .collect();
        let document = draw(&rates, 1e-2).document();
        roxmltree::Document::parse(&document).unwrap();
        assert!(document.contains("suggestion: 1e-2") && !document.contains(">50<"), "{document}");
        assert_eq!(rate_plot(&rates, 1e-2).unwrap().len(), 2);
    }
}
