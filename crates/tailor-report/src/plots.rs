//! Plots as files of their own.

use std::fs;
use std::path::{Path, PathBuf};

use tailor_eval::{Evaluation, History};

use crate::svg::Drawing;
use crate::{Error, Result, curves, heat_map, raster, reliability};

/// Writes `confusion` and `reliability` and, if there is a history, `curves`, each as `.svg` and `.png` into the folder
/// `dir`, in light colors on white; `kept_epoch` is marked in the curves. A file appears complete or not at all: it is written beside its place and renamed.
/// Returns the paths.
///
/// # Errors
/// A plot is too large for an image (thousands of classes), or a file cannot be written.
pub fn write_plots(
    dir: &Path,
    evaluation: &Evaluation,
    history: &History,
    kept_epoch: Option<usize>,
) -> Result<Vec<PathBuf>> {
    let mut plots = vec![
        ("confusion", heat_map::heat_map(evaluation)),
        ("reliability", reliability::reliability(&evaluation.calibration)),
    ];
    if !history.0.is_empty() {
        plots.push(("curves", curves::loss_and_accuracy(history, kept_epoch)));
    }
    let mut paths = Vec::new();
    for (name, drawing) in plots {
        let drawing = with_margin(&drawing);
        paths.push(write(dir.join(format!("{name}.svg")), drawing.document().as_bytes())?);
        paths.push(write(dir.join(format!("{name}.png")), &raster::png(&drawing)?)?);
    }
    Ok(paths)
}

fn with_margin(drawing: &Drawing) -> Drawing {
    const MARGIN: f64 = 16.0;
    let (width, height) = (drawing.width + 2.0 * MARGIN, drawing.height + 2.0 * MARGIN);
    let mut framed = Drawing::new(width, height, drawing.label());
    framed.place((MARGIN, MARGIN), drawing);
    framed
}

fn write(path: PathBuf, content: &[u8]) -> Result<PathBuf> {
    let partial = path.with_added_extension("partial");
    let written = fs::write(&partial, content).and_then(|()| fs::rename(&partial, &path));
    written.map_err(|source| {
        // Whatever was written of it is of no use; that it cannot be removed adds nothing to the first error.
        _ = fs::remove_file(&partial);
        Error::Write { path: path.clone(), source }
    })?;
    Ok(path)
}
