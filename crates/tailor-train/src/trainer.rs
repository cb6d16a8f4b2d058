//! The training loop.
//!
//! ```text
//! for each epoch   for each batch (shuffled, augmented, prepared ahead)
//!                      logits → loss → gradients → optimizer
//!                  validate → history → keep the best weights → checkpoint
//! ```

use std::io::Write;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tailor_data::batch::{Batch, BatchPlan, batches};
use tailor_data::{Dataset, Normalization};
use tailor_eval::{EpochRecord, Evaluation, Predictions};
use tailor_nn::layers::Pass;
use tailor_nn::loss::{cross_entropy, smoothed_targets};
use tailor_nn::{Device, Network, Predictor, Summary};

use crate::checkpoint::{self, Partial, Patience, Progress};
use crate::data::RunData;
use crate::model_file::{ModelInfo, ValidationMetrics};
use crate::optimizer::Optimizer;
use crate::recipe::{Keep, Recipe};
use crate::run::{RunFolder, file_error, files};
use crate::{Error, Result, events, inference};

/// Whether a run begins or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From initial weights.
    Fresh,
    /// From the run's checkpoint.
    Resume,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs are done, or early stopping found no more to gain.
    Finished(Progress),
    /// The observer asked to stop; the run can be resumed.
    Stopped(Progress),
}

/// Who watches a run.
pub trait Observer {
    /// Training is about to begin, or to go on at the given progress.
    fn started(&mut self, summary: &Summary, progress: &Progress, steps_per_epoch: usize);
    /// A step was taken; the sums of the epoch so far are `partial`.
    fn step(&mut self, epoch: usize, step: usize, partial: &Partial);
    /// An epoch was trained and validated; `kept` if its weights are the best so far.
    fn epoch(&mut self, record: &EpochRecord, kept: bool);
    /// Asked after every step: whether to stop here and save where we are.
    fn should_stop(&self) -> bool;
}

/// Trains a recipe's network on its data, and leaves weights, metrics, events and a checkpoint in the run's folder.
///
/// The same recipe, data and number of threads give the same bits, however often the run was killed and resumed.
///
/// # Errors
/// [`Error::Diverged`] when the loss is no longer finite, [`Error::NotResumable`] when there is no usable checkpoint,
/// [`Error::File`] when the folder cannot be written.
pub fn train(
    recipe: &Recipe,
    data: &RunData,
    run: &RunFolder,
    start: Start,
    device: &Device,
    threads: usize,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let mut trainer = Trainer::new(recipe, data, run, start, device, threads)?;
    observer.started(&trainer.network().summary(), &trainer.progress, trainer.steps_per_epoch());
    while !trainer.progress.finished {
        if !trainer.train_epoch(observer)? {
            trainer.save_checkpoint()?;
            return Ok(Outcome::Stopped(trainer.progress));
        }
        let (record, kept) = trainer.finish_epoch()?;
        observer.epoch(&record, kept);
    }
    Ok(Outcome::Finished(trainer.progress))
}

struct Trainer<'a> {
    recipe: &'a Recipe,
    data: &'a RunData,
    run: &'a RunFolder,
    device: Device,
    /// Always there, but for the moment in which the optimizer makes a new one of it.
    network: Option<Network>,
    optimizer: Optimizer,
    progress: Progress,
    events: std::path::PathBuf,
}

impl<'a> Trainer<'a> {
    fn new(
        recipe: &'a Recipe,
        data: &'a RunData,
        run: &'a RunFolder,
        start: Start,
        device: &Device,
        threads: usize,
    ) -> Result<Self> {
        let train = &recipe.train;
        let device = device.clone().autodiff();
        let mut network =
            Network::new(&recipe.architecture(), data.shape(), data.train.classes(), train.seed, &device)?;
        let tensors = network.trainable_tensors();
        let plain = device.clone().inner();
        let mut optimizer =
            Optimizer::new(train.optimizer, train.weight_decay, train.clip_norm, &tensors, &plain);
        let progress = match start {
            Start::Fresh => Progress { started: unix_seconds(), threads, ..Progress::default() },
            Start::Resume => checkpoint::load(run.path(), &mut network, &mut optimizer)?,
        };
        // A name that does not change: a resumed run goes on in the same file, without what was not checkpointed.
        let events = format!("events.out.tfevents.{:010}.tailor", progress.started as u64);
        run.write(&events, &events::file(&progress.history, progress.started))?;
        let events = run.file(&events);
        Ok(Trainer { recipe, data, run, device, network: Some(network), optimizer, progress, events })
    }

    fn network(&self) -> &Network {
        self.network.as_ref().expect("the network is only taken within a step")
    }

    fn steps_per_epoch(&self) -> usize {
        self.data.train.len().div_ceil(self.recipe.train.batch_size)
    }

    /// Trains the rest of the current epoch. False if the observer stopped it before its end.
    fn train_epoch(&mut self, observer: &mut dyn Observer) -> Result<bool> {
        let train = &self.recipe.train;
        let epoch = self.progress.epochs;
        let plan = BatchPlan {
            batch_size: train.batch_size,
            seed: train.seed,
            epoch: epoch as u64,
            shuffle: true,
            drop_last: false,
            first_batch: self.progress.steps,
        };
        let data = self.data;
        let start = Instant::now();
        let before = self.progress.partial.seconds;
        for batch in batches(&data.train, &data.normalization, data.augmentation.as_ref(), &plan) {
            self.train_step(batch)?;
            self.progress.partial.seconds = before + start.elapsed().as_secs_f64();
            observer.step(epoch + 1, self.progress.steps, &self.progress.partial);
            let more = self.progress.steps < self.steps_per_epoch();
            if more && observer.should_stop() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn train_step(&mut self, batch: Batch) -> Result<()> {
        let train = &self.recipe.train;
        let network = self.network.take().expect("a step ends with a network");
        let step = self.optimizer.steps();
        let images = batch.labels.len();
        let pass = Pass::Training { seed: train.seed, step };
        let logits = network.forward(network.images(batch.images, &self.device), pass);
        let targets =
            smoothed_targets(&batch.labels, self.data.train.classes(), train.label_smoothing, &self.device);
        let loss = cross_entropy(logits.clone(), targets);
        let mean = f64::from(loss.clone().into_scalar::<f32>());
        if !mean.is_finite() {
            return Err(Error::Diverged {
                loss: mean,
                epoch: self.progress.epochs + 1,
                step: self.progress.steps + 1,
                suggestion: train.lr / 10.0,
            });
        }
        let gradients = loss.backward();
        self.network = Some(self.optimizer.step(network, &gradients, self.learning_rate(step)));

        let partial = &mut self.progress.partial;
        partial.loss += mean * images as f64;
        partial.correct += correct(&tailor_nn::host_values(logits.inner()), &batch.labels);
        partial.images += images;
        self.progress.steps += 1;
        Ok(())
    }

    fn learning_rate(&self, step: u64) -> f64 {
        let train = &self.recipe.train;
        let steps = (self.steps_per_epoch() * train.epochs) as u64;
        train.lr * train.schedule.factor(step, steps, train.epochs as f64, train.warmup_epochs)
    }

    /// Validates, keeps the weights if they are the best, and writes everything down.
    fn finish_epoch(&mut self) -> Result<(EpochRecord, bool)> {
        let start = Instant::now();
        let (loss, accuracy) =
            validate(&self.network().predictor(), &self.data.validation, &self.data.normalization)?;
        let partial = std::mem::take(&mut self.progress.partial);
        let epoch = self.progress.epochs + 1;
        let record = EpochRecord {
            epoch,
            learning_rate: self.learning_rate(self.optimizer.steps() - 1),
            train_loss: partial.loss / partial.images as f64,
            train_accuracy: partial.correct as f64 / partial.images as f64,
            validation_loss: Some(loss),
            validation_accuracy: Some(accuracy),
            seconds: partial.seconds + start.elapsed().as_secs_f64(),
            images_per_second: partial.images as f64 / partial.seconds,
        };
        let metrics = ValidationMetrics { epoch, loss, accuracy };
        let kept = self.is_kept(&metrics);
        let Progress { epochs, steps, history, best, patience, finished, .. } = &mut self.progress;
        *epochs = epoch;
        *steps = 0;
        history.0.push(record);
        if kept {
            *best = Some(metrics);
        }
        patience.observe(loss);
        let exhausted = self.recipe.train.patience.is_some_and(|limit| patience.epochs >= limit);
        *finished = exhausted || epoch == self.recipe.train.epochs;

        if kept {
            self.run.write(files::MODEL, &self.model_info(metrics).to_bytes(&self.network().export()))?;
        }
        self.write_metrics()?;
        self.append_events(&record)?;
        // Last: what it says is done must be on disk.
        self.save_checkpoint()?;
        Ok((record, kept))
    }

    fn is_kept(&self, metrics: &ValidationMetrics) -> bool {
        let Some(best) = &self.progress.best else { return true };
        match self.recipe.train.keep {
            Keep::BestAccuracy => metrics.accuracy > best.accuracy,
            Keep::LowestLoss => metrics.loss < best.loss,
            Keep::Last => true,
        }
    }

    fn model_info(&self, validation: ValidationMetrics) -> ModelInfo {
        ModelInfo {
            recipe: self.recipe.clone(),
            data_name: self.data.name.clone(),
            class_names: self.data.train.class_names().to_vec(),
            shape: self.data.train.shape(),
            normalization: self.data.normalization.clone(),
            preparation: self.data.preparation,
            validation: Some(validation),
        }
    }

    fn write_metrics(&self) -> Result<()> {
        let mut csv = Vec::new();
        self.progress.history.write_csv(&mut csv)?;
        self.run.write(files::METRICS, &csv)
    }

    /// Appended rather than replaced: TensorBoard follows the open file.
    fn append_events(&self, record: &EpochRecord) -> Result<()> {
        let append = || -> std::io::Result<()> {
            let mut file = std::fs::File::options().append(true).open(&self.events)?;
            file.write_all(&events::epoch(record, unix_seconds()))
        };
        append().map_err(|source| file_error("write", &self.events, source))
    }

    fn save_checkpoint(&self) -> Result<()> {
        checkpoint::save(self.run, &self.progress, self.network(), &self.optimizer)
    }
}

impl Patience {
    fn observe(&mut self, loss: f64) {
        match self.lowest_loss {
            Some(lowest) if loss >= lowest => self.epochs += 1,
            _ => *self = Patience { lowest_loss: Some(loss), epochs: 0 },
        }
    }
}

/// Loss and accuracy on a validation part.
fn validate(predictor: &Predictor, dataset: &Dataset, normalization: &Normalization) -> Result<(f64, f64)> {
    let logits = inference::logits(predictor, dataset, normalization);
    let labels = (0..dataset.len()).map(|i| dataset.label(i)).collect();
    let predictions = Predictions::from_logits(dataset.class_names().to_vec(), labels, &logits)?;
    let evaluation = Evaluation::of(&predictions)?;
    Ok((evaluation.loss, evaluation.accuracy))
}

/// Images whose label has the highest of the logits `[N, K]`.
fn correct(logits: &[f32], labels: &[u16]) -> usize {
    let classes = logits.len() / labels.len();
    let hit = |row: &[f32], label: usize| row.iter().enumerate().all(|(k, &z)| k == label || z < row[label]);
    logits.chunks_exact(classes).zip(labels).filter(|(row, label)| hit(row, usize::from(**label))).count()
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}
