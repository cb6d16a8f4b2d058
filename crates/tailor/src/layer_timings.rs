//! Where the time of a training step goes, layer by layer.

use std::fmt::Write;

use serde::Serialize;
use tailor_data::batch::{BatchPlan, batches};
use tailor_nn::{Device, Network, TimedLayer, Timing};
use tailor_train::phases::ActivePhase;
use tailor_train::{Recipe, RunData, groups};

/// A pass over the activations.
#[derive(Debug, Serialize)]
pub struct PassTiming {
    /// Layers that are computed in one pass.
    layers: Vec<TimedLayer>,
    forward_seconds: f64,
    backward_seconds: f64,
    /// Of the dense arithmetic: the forward pass, and the gradients that are wanted.
    gflops: f64,
}

/// Repetitions of each pass; their median counts.
const REPETITIONS: usize = 15;

/// Times the passes of a recipe's network on a batch of its own training images.
pub fn measure(recipe: &Recipe, data: &RunData, device: &Device) -> anyhow::Result<Vec<PassTiming>> {
    let device = device.clone().autodiff();
    let classes = data.train.classes();
    let network = Network::new(&recipe.architecture(), data.shape(), classes, recipe.train.seed, &device)?;
    // In the last phase, which as a rule trains the most.
    let phase = ActivePhase::of_epoch(&recipe.train, recipe.train.epochs - 1).train;
    let network = groups::freeze(&phase, network).map_err(anyhow::Error::msg)?;
    let plan = BatchPlan::in_order(recipe.train.batch_size);
    let batch = batches(&data.train, &data.normalization, data.augmentation.as_ref(), &plan)
        .next()
        .expect("training parts have images");
    let images = batch.labels.len();
    let row = |timing: Timing| {
        let seconds = timing.forward_seconds + timing.backward_seconds;
        PassTiming {
            gflops: 2e-9 * (timing.multiply_adds * images) as f64 / seconds,
            layers: timing.layers,
            forward_seconds: timing.forward_seconds,
            backward_seconds: timing.backward_seconds,
        }
    };
    Ok(network.timings(network.images(batch.images, &device), REPETITIONS).into_iter().map(row).collect())
}

/// The rows as text, with each one's share of the whole.
pub fn table(rows: &[PassTiming], batch_size: usize, peak_gflops: f64) -> String {
    let all = || rows.iter().flat_map(|row| &row.layers);
    let width =
        |text: fn(&TimedLayer) -> &str| all().map(|layer| text(layer).chars().count()).max().unwrap_or(0);
    let (names, layers) = (width(|layer| &layer.name), width(|layer| &layer.what));
    let total: f64 = rows.iter().map(|row| row.forward_seconds + row.backward_seconds).sum();
    let mut table = format!(
        "{:names$}  {:layers$}  {:>10} {:>11} {:>6} {:>8} {:>6}\n",
        "name", "layer", "forward ms", "backward ms", "share", "GFLOP/s", "peak"
    );
    for row in rows {
        let share = 100.0 * (row.forward_seconds + row.backward_seconds) / total;
        let arithmetic = match row.gflops {
            0.0 => String::new(),
            gflops => format!("{gflops:>8.0} {:>4.0} %", 100.0 * gflops / peak_gflops),
        };
        let times = format!(
            "{:>10.3} {:>11.3} {share:>4.0} % {arithmetic}",
            1e3 * row.forward_seconds,
            1e3 * row.backward_seconds
        );
        for (at, TimedLayer { name, what }) in row.layers.iter().enumerate() {
            let times = if at == 0 { &times } else { "" };
            let line = format!("{name:names$}  {what:layers$}  {times}");
            table.push_str(line.trim_end());
            table.push('\n');
        }
    }
    write!(
        table,
        "{:.3} ms for a batch of {batch_size}, without loading, loss and optimizer; medians of {REPETITIONS} runs of each pass by itself, whose times stand by its first layer",
        1e3 * total
    )
    .expect("writing to a string");
    table
}
