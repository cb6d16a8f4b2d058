//! Where a run stands, to the bit: what a killed run is continued from.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tailor_eval::History;
use tailor_nn::Network;
use tailor_nn::weights::{NamedTensor, from_safetensors, to_safetensors};

use crate::model_file::ValidationMetrics;
use crate::optimizer::Optimizer;
use crate::run::{RunFolder, file_error, files};
use crate::{Error, Result};

/// The progress of a run. Everything random is a function of the seed and this position.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Whole epochs behind us.
    pub epochs: usize,
    /// Steps behind us in the current epoch.
    pub steps: usize,
    /// Sums over those steps.
    pub partial: Partial,
    /// All whole epochs.
    pub history: History,
    /// The epoch whose weights are kept.
    pub best: Option<ValidationMetrics>,
    /// Lowest validation loss so far, and the epochs since then.
    pub patience: Patience,
    /// When the run was started, in Unix seconds.
    pub started: f64,
    /// Threads that computed it; another number gives other roundings.
    pub threads: usize,
    /// Whether there is nothing left to train.
    pub finished: bool,
}

/// Sums over the steps of an epoch so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// Of the loss, weighted by images.
    pub loss: f64,
    /// Images whose label had the highest logit.
    pub correct: usize,
    /// Images seen.
    pub images: usize,
    /// Time spent.
    pub seconds: f64,
}

/// What early stopping watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    /// None before the first epoch.
    pub lowest_loss: Option<f64>,
    /// Epochs since then.
    pub epochs: usize,
}

const PROGRESS: &str = "progress";
const OPTIMIZER_STEPS: &str = "optimizer.steps";
const MODEL_PREFIX: &str = "model.";
const OPTIMIZER_PREFIX: &str = "optimizer.";

/// Writes the checkpoint of a run.
///
/// # Errors
/// [`Error::File`]; the checkpoint before is then still whole.
pub fn save(run: &RunFolder, progress: &Progress, network: &Network, optimizer: &Optimizer) -> Result<()> {
    let model = network.export().into_iter().map(|mut tensor| {
        tensor.name.insert_str(0, MODEL_PREFIX);
        tensor
    });
    let state = optimizer.state().into_iter().enumerate().map(|(index, values)| NamedTensor {
        name: format!("{OPTIMIZER_PREFIX}{index:05}"),
        shape: vec![values.len()],
        values,
    });
    let tensors: Vec<NamedTensor> = model.chain(state).collect();
    let metadata = BTreeMap::from([
        (PROGRESS.to_string(), serde_json::to_string(progress).expect("progress is JSON")),
        (OPTIMIZER_STEPS.to_string(), optimizer.steps().to_string()),
    ]);
    run.write(files::CHECKPOINT, &to_safetensors(&tensors, &metadata))
}

/// Puts network and optimizer back to where the checkpoint was taken.
///
/// # Errors
/// [`Error::NotResumable`] when there is no checkpoint, or one that is broken or of another model.
pub fn load(folder: &Path, network: &mut Network, optimizer: &mut Optimizer) -> Result<Progress> {
    let path = folder.join(files::CHECKPOINT);
    let refuse =
        |reason: String| Error::NotResumable(folder.into(), format!("{}: {reason}", files::CHECKPOINT));
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(refuse(
                "it was stopped before the first checkpoint; start it again in another folder".into(),
            ));
        }
        bytes => bytes.map_err(|source| file_error("read", &path, source))?,
    };
    let (tensors, metadata) = from_safetensors(&bytes).map_err(|error| refuse(error.to_string()))?;
    let entry = |key: &str| metadata.get(key).ok_or_else(|| refuse(format!("it has no `{key}`")));
    let progress = serde_json::from_str(entry(PROGRESS)?).map_err(|error| refuse(error.to_string()))?;
    let steps =
        entry(OPTIMIZER_STEPS)?.parse().map_err(|_| refuse("its optimizer steps are no number".into()))?;

    let mut model = Vec::new();
    let mut state = BTreeMap::new();
    for mut tensor in tensors {
        if let Some(name) = tensor.name.strip_prefix(MODEL_PREFIX) {
            tensor.name = name.to_string();
            model.push(tensor);
        } else {
            state.insert(tensor.name, tensor.values);
        }
    }
    network.import(model).map_err(|error| refuse(error.to_string()))?;
    optimizer.restore(steps, state.into_values().collect()).map_err(refuse)?;
    Ok(progress)
}
