//! Where a run stands, to the bit: what a killed run is continued from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tailor_data::Dataset;
use tailor_eval::History;
use tailor_nn::Network;
use tailor_nn::weights::{NamedTensor, from_safetensors, to_safetensors};

use crate::average::Average;
use crate::data::RunData;
use crate::model_file::ValidationMetrics;
use crate::optimizer::Optimizer;
use crate::recipe::Recipe;
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
    /// What the run was begun with.
    pub identity: Identity,
    /// What computed it so far.
    pub computed_by: ComputedBy,
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
    /// Time spent on them.
    pub seconds: f64,
    /// Time spent before the first of them, on the features of frozen layers.
    #[serde(default)]
    pub preparation_seconds: f64,
}

/// What a run was begun with; it can only go on with the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// As TOML.
    recipe: String,
    /// A checksum of all training and validation images and labels.
    data: u32,
}

/// What rounds: with other threads or instructions a run goes on, but not to the same bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComputedBy {
    /// Threads.
    pub threads: usize,
    /// The instruction set of our kernels.
    pub instructions: String,
}

impl Identity {
    /// Of a run that is about to begin, or to go on.
    pub fn of(recipe: &Recipe, data: &RunData) -> Self {
        let checksum = [&data.train, &data.validation].into_iter().fold(0, append_checksum);
        Identity { recipe: recipe.to_toml(), data: checksum }
    }

    /// What differs, if anything.
    fn check(&self, begun_with: &Identity) -> std::result::Result<(), String> {
        if self.recipe != begun_with.recipe {
            return Err(format!(
                "{} was changed since it was begun; undo that, or start another run",
                files::RECIPE
            ));
        }
        if self.data != begun_with.data {
            return Err("the data has changed since it was begun; bring it back, or start another run".into());
        }
        Ok(())
    }
}

/// The CRC-32C of what `sum` is of, then of each image and its label. The images may be on disk, so they are read in parallel.
fn append_checksum(sum: u32, part: &Dataset) -> u32 {
    let of_block = |block: &[usize]| {
        block.iter().fold((0, 0), |(sum, bytes), &i| {
            let (image, label) = (part.image(i), part.label(i).to_le_bytes());
            let sum = crc32c::crc32c_append(crc32c::crc32c_append(sum, &image), &label);
            (sum, bytes + image.len() + label.len())
        })
    };
    let images: Vec<usize> = (0..part.len()).collect();
    let blocks: Vec<(u32, usize)> = images.par_chunks(BLOCK).map(of_block).collect();
    blocks.into_iter().fold(sum, |sum, (block, bytes)| crc32c::crc32c_combine(sum, block, bytes))
}

/// Images of a checksum that one thread takes: combining sums costs as much as a few images do.
const BLOCK: usize = 256;

impl ComputedBy {
    /// This process.
    pub fn here(threads: usize) -> Self {
        ComputedBy { threads, instructions: tailor_kernels::Isa::current().to_string() }
    }
}

/// What early stopping watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Patience {
    /// None before the first epoch.
    pub lowest_loss: Option<f64>,
    /// Epochs since then.
    pub epochs: usize,
}

impl Patience {
    /// After an epoch with this validation loss.
    pub(crate) fn observe(&mut self, loss: f64) {
        match self.lowest_loss {
            Some(lowest) if loss >= lowest => self.epochs += 1,
            _ => *self = Patience { lowest_loss: Some(loss), epochs: 0 },
        }
    }
}

const PROGRESS: &str = "progress";
const OPTIMIZER_STEPS: &str = "optimizer.steps";
const MODEL_PREFIX: &str = "model.";
const AVERAGE_PREFIX: &str = "average.";
const OPTIMIZER_PREFIX: &str = "optimizer.";

/// Writes the checkpoint of a run.
///
/// # Errors
/// [`Error::File`]; the checkpoint before is then still whole.
pub fn save(
    run: &RunFolder,
    progress: &Progress,
    network: &Network,
    average: Option<&Average>,
    optimizer: &Optimizer,
) -> Result<()> {
    let prefixed = |prefix: &'static str, network: &Network| {
        network.export().into_iter().map(move |mut tensor| {
            tensor.name.insert_str(0, prefix);
            tensor
        })
    };
    let model = prefixed(MODEL_PREFIX, network);
    let average = average.into_iter().flat_map(|average| prefixed(AVERAGE_PREFIX, average.network()));
    let state = optimizer.state().into_iter().enumerate().map(|(index, values)| NamedTensor {
        name: format!("{OPTIMIZER_PREFIX}{index:05}"),
        shape: vec![values.len()],
        values,
    });
    let tensors: Vec<NamedTensor> = model.chain(average).chain(state).collect();
    let metadata = BTreeMap::from([
        (PROGRESS.to_string(), serde_json::to_string(progress).expect("progress is JSON")),
        (OPTIMIZER_STEPS.to_string(), optimizer.steps().to_string()),
    ]);
    run.write(files::CHECKPOINT, &to_safetensors(&tensors, &metadata))
}

/// A checkpoint that was read.
pub struct Saved {
    folder: PathBuf,
    /// Where the run stands.
    pub progress: Progress,
    model: Vec<NamedTensor>,
    averaged: Vec<NamedTensor>,
    optimizer_steps: u64,
    optimizer_state: Vec<Vec<f32>>,
}

impl Saved {
    /// Reads the checkpoint of a run.
    ///
    /// # Errors
    /// [`Error::NotResumable`] when there is none, or one that is broken or was begun with something else.
    pub fn read(folder: &Path, identity: &Identity) -> Result<Self> {
        let path = folder.join(files::CHECKPOINT);
        let refuse = |reason: String| refused(folder, reason);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(refuse("it is missing; start the run again in another folder".into()));
            }
            bytes => bytes.map_err(|source| file_error("read", &path, source))?,
        };
        let (tensors, metadata) = from_safetensors(&bytes).map_err(|error| refuse(error.to_string()))?;
        let entry = |key: &str| metadata.get(key).ok_or_else(|| refuse(format!("it has no `{key}`")));
        let progress: Progress =
            serde_json::from_str(entry(PROGRESS)?).map_err(|error| refuse(error.to_string()))?;
        let stopped = |reason: String| Error::NotResumable(folder.into(), reason);
        identity.check(&progress.identity).map_err(stopped)?;
        if progress.best.is_some() && !folder.join(files::MODEL).exists() {
            return Err(stopped(format!(
                "{}, the best weights so far, is missing; start another run",
                files::MODEL
            )));
        }
        let optimizer_steps = entry(OPTIMIZER_STEPS)?
            .parse()
            .map_err(|_| refuse("its optimizer steps are no number".into()))?;

        let [mut model, mut averaged] = [Vec::new(), Vec::new()];
        let mut state = BTreeMap::new();
        for mut tensor in tensors {
            if let Some(name) = tensor.name.strip_prefix(MODEL_PREFIX) {
                tensor.name = name.to_string();
                model.push(tensor);
            } else if let Some(name) = tensor.name.strip_prefix(AVERAGE_PREFIX) {
                tensor.name = name.to_string();
                averaged.push(tensor);
            } else {
                state.insert(tensor.name, tensor.values);
            }
        }
        let optimizer_state = state.into_values().collect();
        Ok(Saved { folder: folder.into(), progress, model, averaged, optimizer_steps, optimizer_state })
    }

    /// Puts network, average and optimizer, as they are in the phase of its epoch, back to where it was taken.
    ///
    /// # Errors
    /// [`Error::NotResumable`] when it is of another network or optimizer.
    pub fn restore(
        self,
        network: &mut Network,
        average: Option<&mut Average>,
        optimizer: &mut Optimizer,
    ) -> Result<Progress> {
        let refuse = |reason: String| refused(&self.folder, reason);
        network.import(self.model).map_err(|error| refuse(error.to_string()))?;
        if let Some(average) = average {
            average.network_mut().import(self.averaged).map_err(|error| refuse(error.to_string()))?;
        }
        optimizer.restore(self.optimizer_steps, self.optimizer_state).map_err(refuse)?;
        Ok(self.progress)
    }
}

fn refused(folder: &Path, reason: String) -> Error {
    Error::NotResumable(folder.into(), format!("{}: {reason}", files::CHECKPOINT))
}
