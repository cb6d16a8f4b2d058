//! Plots as files of their own, to be written by whoever asks for them.

use tailor_eval::{Evaluation, History};

use crate::svg::Drawing;
use crate::{Result, curves, heat_map, raster, reliability};

/// The files `confusion` and `reliability` and, if there is a history, `curves`, each as `.svg` and `.png`, in light colors
/// on white: names and contents. `kept_epoch` is marked in the curves.
///
/// # Errors
/// A plot is too large for an image (thousands of classes).
pub fn plots(
    evaluation: &Evaluation,
    history: &History,
    kept_epoch: Option<usize>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let class_names: Vec<_> = evaluation.per_class.iter().map(|class| class.name.clone()).collect();
    let mut plots = vec![
        ("confusion", heat_map::heat_map(&class_names, &evaluation.confusion)),
        ("reliability", reliability::reliability(&evaluation.calibration)),
    ];
    if !history.0.is_empty() {
        plots.push(("curves", curves::loss_and_accuracy(history, kept_epoch)));
    }
    let mut files = Vec::new();
    for (name, drawing) in plots {
        let drawing = with_margin(&drawing);
        files.push((format!("{name}.svg"), drawing.document().into_bytes()));
        files.push((format!("{name}.png"), raster::png(&drawing)?));
    }
    Ok(files)
}

pub(crate) fn with_margin(drawing: &Drawing) -> Drawing {
    const MARGIN: f64 = 16.0;
    let (width, height) = (drawing.width + 2.0 * MARGIN, drawing.height + 2.0 * MARGIN);
    let mut framed = Drawing::new(width, height, drawing.label());
    framed.place((MARGIN, MARGIN), drawing);
    framed
}
