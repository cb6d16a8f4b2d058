//! The training loop.
//!
//! ```text
//! for each epoch   for each batch (shuffled, augmented, prepared ahead)
//!                      logits → loss → gradients → optimizer
//!                  validate → history → keep the best weights → checkpoint
//! ```

use std::io::Write;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tailor_data::Views;
use tailor_data::batch::{Batch, BatchPlan, batches};
use tailor_eval::{EpochRecord, Evaluation, Predictions};
use tailor_nn::layers::Pass;
use tailor_nn::loss::{Partners, Targets, cross_entropy};
use tailor_nn::{Device, Network, Summary};

use crate::any_recipe::AnyRecipe;
use crate::average::Average;
use crate::checkpoint::{self, ComputedBy, Identity, Partial, Progress};
use crate::data::RunData;
use crate::model_file::{ModelInfo, ValidationMetrics};
use crate::optimizer::Optimizer;
use crate::recipe::{Keep, Recipe, TrainRecipe};
use crate::run::{RunFolder, file_error, files};
use crate::{Error, Result, events, groups, inference};

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

/// What a run is made of.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// What to train, and how.
    pub recipe: &'a Recipe,
    /// Its data, opened and split.
    pub data: &'a RunData,
    /// Where everything is left.
    pub folder: &'a RunFolder,
    /// Where it is computed.
    pub device: &'a Device,
    /// Threads that compute it.
    pub threads: usize,
}

/// Trains a recipe's network on its data, and leaves weights, metrics, events and a checkpoint in the run's folder.
///
/// The same recipe, data, number of threads and instruction set give the same bits, however often the run was
/// killed and resumed.
///
/// # Errors
/// [`Error::Diverged`] when the loss is no longer finite, [`Error::NotResumable`] when there is no usable checkpoint or
/// it belongs to another recipe or other data, [`Error::File`] when the folder cannot be written.
pub fn train(run: Run, start: Start, observer: &mut dyn Observer) -> Result<Outcome> {
    let (mut trainer, mut network) = Trainer::start(run, start)?;
    observer.started(&network.summary(), &trainer.progress, trainer.steps_per_epoch());
    while !trainer.progress.finished {
        let is_whole;
        (network, is_whole) = trainer.train_epoch(network, observer)?;
        if !is_whole {
            trainer.save_checkpoint(&network)?;
            return Ok(Outcome::Stopped(trainer.progress));
        }
        let (record, kept) = trainer.finish_epoch(&network)?;
        observer.epoch(&record, kept);
        if !trainer.progress.finished && observer.should_stop() {
            return Ok(Outcome::Stopped(trainer.progress));
        }
    }
    Ok(Outcome::Finished(trainer.progress))
}

/// Whether a recipe can be trained on this data, before anything is written.
///
/// # Errors
/// Of the architecture, of groups that match no tensor, of class weights for other classes.
pub fn check(recipe: &Recipe, data: &RunData) -> Result<()> {
    recipe.architecture().plan(data.shape(), data.train.classes())?;
    begin(recipe, data, recipe.train.seed, &Device::flex().autodiff()).map(drop)
}

/// The network with its initial weights, its optimizer, and the classes' weights.
pub(crate) fn begin(
    recipe: &Recipe,
    data: &RunData,
    seed: u64,
    device: &Device,
) -> Result<(Network, Optimizer, Option<Vec<f32>>)> {
    let train = &recipe.train;
    let refuse = |reason: String| Error::Recipe { place: recipe.name.clone(), reason };
    let network = Network::new(&recipe.architecture(), data.shape(), data.train.classes(), seed, device)?;
    let network = groups::freeze(train, network).map_err(refuse)?;
    let optimizer = Optimizer::new(train, &network).map_err(refuse)?;
    let class_weights = train.class_weights.as_ref().map(|weights| weights.of(&data.train));
    Ok((network, optimizer, class_weights.transpose().map_err(refuse)?))
}

/// What a step depends on beside the network and the batch.
pub(crate) struct Descent<'a> {
    pub train: &'a TrainRecipe,
    pub classes: usize,
    /// What each class counts, `[K]`.
    pub class_weights: Option<&'a [f32]>,
    /// With automatic differentiation.
    pub device: &'a Device,
}

impl Descent<'_> {
    /// One step down the loss of a batch: the network after it, the mean loss and the logits `[N, K]` before it. `Err` is the
    /// loss where it is not finite.
    pub fn step(
        &self,
        network: Network,
        optimizer: &mut Optimizer,
        batch: &mut Batch,
        learning_rate: f64,
    ) -> std::result::Result<(Network, f64, Vec<f32>), f64> {
        let Descent { train, classes, class_weights, device } = *self;
        let pass = Pass::Training { seed: train.seed, step: optimizer.steps() };
        let images = network.images(std::mem::take(&mut batch.images), device);
        let logits = network.forward(images, pass);
        let targets = Targets {
            labels: &batch.labels,
            partners: batch
                .mix
                .as_ref()
                .map(|mix| Partners { labels: &mix.partner_labels, own: &mix.weight }),
            classes,
            smoothing: train.label_smoothing,
            class_weights,
        };
        let loss = cross_entropy(logits.clone(), targets.tensor(device));
        let mean = f64::from(loss.clone().into_scalar::<f32>());
        if !mean.is_finite() {
            return Err(mean);
        }
        let network = optimizer.step(network, &loss.backward(), learning_rate);
        Ok((network, mean, tailor_nn::host_values(logits.inner())))
    }
}

struct Trainer<'a> {
    run: Run<'a>,
    /// With automatic differentiation.
    device: Device,
    /// Of each class in the loss, `[K]`.
    class_weights: Option<Vec<f32>>,
    optimizer: Optimizer,
    average: Option<Average>,
    progress: Progress,
    /// TensorBoard's file.
    events: PathBuf,
}

impl<'a> Trainer<'a> {
    fn start(run: Run<'a>, start: Start) -> Result<(Self, Network)> {
        let Run { recipe, data, folder, threads, .. } = run;
        let train = &recipe.train;
        let device = run.device.clone().autodiff();
        let (mut network, mut optimizer, class_weights) = begin(recipe, data, train.seed, &device)?;
        let mut average = Average::new(train, &network);
        let identity = Identity::of(recipe, data);
        let progress = match start {
            Start::Fresh => {
                let computed_by = ComputedBy::here(threads);
                Progress { identity, started: unix_seconds(), computed_by, ..Progress::default() }
            }
            Start::Resume => {
                checkpoint::load(folder.path(), &identity, &mut network, average.as_mut(), &mut optimizer)?
            }
        };
        // A name that does not change: a resumed run goes on in the same file, without what was not checkpointed.
        let events = format!("events.out.tfevents.{:010}.tailor", progress.started as u64);
        folder.write(&events, &events::file(&progress.history, progress.started))?;
        let events = folder.file(&events);
        let trainer = Trainer { run, device, class_weights, optimizer, average, progress, events };
        // Resumable from the first moment on.
        trainer.save_checkpoint(&network)?;
        Ok((trainer, network))
    }

    fn steps_per_epoch(&self) -> usize {
        self.run.data.train.len().div_ceil(self.run.recipe.train.batch_size)
    }

    /// Trains the rest of the current epoch. False if the observer stopped it before its end.
    fn train_epoch(&mut self, mut network: Network, observer: &mut dyn Observer) -> Result<(Network, bool)> {
        let Run { recipe, data, .. } = self.run;
        let epoch = self.progress.epochs;
        let plan = BatchPlan {
            batch_size: recipe.train.batch_size,
            seed: recipe.train.seed,
            epoch: epoch as u64,
            sampling: recipe.data.sampling,
            drop_last: false,
            first_batch: self.progress.steps,
        };
        let start = Instant::now();
        let before = self.progress.partial.seconds;
        for batch in batches(&data.train, &data.normalization, data.augmentation.as_ref(), &plan) {
            network = self.train_step(network, batch)?;
            self.progress.partial.seconds = before + start.elapsed().as_secs_f64();
            observer.step(epoch + 1, self.progress.steps, &self.progress.partial);
            let more = self.progress.steps < self.steps_per_epoch();
            if more && observer.should_stop() {
                return Ok((network, false));
            }
        }
        Ok((network, true))
    }

    fn train_step(&mut self, network: Network, mut batch: Batch) -> Result<Network> {
        let Run { recipe, data, .. } = self.run;
        let step = self.optimizer.steps();
        let learning_rate = self.learning_rate(step);
        let descent = Descent {
            train: &recipe.train,
            classes: data.train.classes(),
            class_weights: self.class_weights.as_deref(),
            device: &self.device,
        };
        let stepped = descent.step(network, &mut self.optimizer, &mut batch, learning_rate);
        let (mut network, mean, logits) = stepped.map_err(|loss| self.diverged(loss))?;
        if let Some(average) = self.average.take() {
            let (average, followed) = average.follow(network, step + 1, self.steps());
            (self.average, network) = (Some(average), followed);
        }

        let images = batch.labels.len();
        let partial = &mut self.progress.partial;
        partial.loss += mean * images as f64;
        partial.correct += correct(&logits, &batch.labels);
        partial.images += images;
        self.progress.steps += 1;
        Ok(network)
    }

    /// Steps of the whole run.
    fn steps(&self) -> u64 {
        (self.steps_per_epoch() * self.run.recipe.train.epochs) as u64
    }

    fn learning_rate(&self, step: u64) -> f64 {
        let train = &self.run.recipe.train;
        train.lr * train.schedule.factor(step, self.steps(), train.epochs as f64, train.warmup_epochs)
    }

    /// Validates, keeps the weights if they are the best, and writes everything down.
    fn finish_epoch(&mut self, network: &Network) -> Result<(EpochRecord, bool)> {
        let start = Instant::now();
        let judged = self.average.as_ref().map_or(network, Average::network);
        let (loss, accuracy) = self.validate(judged)?;
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
        let train = &self.run.recipe.train;
        let exhausted = train.patience.is_some_and(|limit| patience.epochs >= limit);
        *finished = exhausted || epoch == train.epochs;

        if kept {
            self.run.folder.write(files::MODEL, &self.model_info(metrics).to_bytes(&judged.export()))?;
        }
        self.write_metrics()?;
        self.append_events(&record)?;
        // Last: what it says is done must be on disk.
        self.save_checkpoint(network)?;
        Ok((record, kept))
    }

    /// Loss and accuracy on the validation part.
    fn validate(&self, network: &Network) -> Result<(f64, f64)> {
        let RunData { validation, normalization, .. } = self.run.data;
        let logits = inference::logits(&network.predictor(), validation, normalization, Views::None);
        if let Some(logit) = logits.iter().find(|logit| !logit.is_finite()) {
            return Err(self.diverged(f64::from(*logit)));
        }
        let labels = (0..validation.len()).map(|i| validation.label(i)).collect();
        let predictions = Predictions::from_logits(validation.class_names().to_vec(), labels, &logits)?;
        let evaluation = Evaluation::of(&predictions)?;
        Ok((evaluation.loss, evaluation.accuracy))
    }

    fn is_kept(&self, metrics: &ValidationMetrics) -> bool {
        let Some(best) = &self.progress.best else { return true };
        match self.run.recipe.train.keep {
            Keep::BestAccuracy => metrics.accuracy > best.accuracy,
            Keep::LowestLoss => metrics.loss < best.loss,
            Keep::Last => true,
        }
    }

    fn diverged(&self, loss: f64) -> Error {
        Error::Diverged {
            loss,
            epoch: self.progress.epochs + 1,
            step: self.progress.steps + 1,
            suggestion: self.run.recipe.train.lr / 10.0,
        }
    }

    fn model_info(&self, validation: ValidationMetrics) -> ModelInfo {
        let Run { recipe, data, .. } = self.run;
        ModelInfo {
            recipe: AnyRecipe::Network(recipe.clone()),
            data_name: data.name.clone(),
            class_names: data.train.class_names().to_vec(),
            shape: data.validation.shape(),
            normalization: data.normalization.clone(),
            preparation: data.preparation,
            validation: Some(validation),
        }
    }

    fn write_metrics(&self) -> Result<()> {
        let mut csv = Vec::new();
        self.progress.history.write_csv(&mut csv)?;
        self.run.folder.write(files::METRICS, &csv)
    }

    /// Appended rather than replaced: TensorBoard follows the open file.
    fn append_events(&self, record: &EpochRecord) -> Result<()> {
        let append = || -> std::io::Result<()> {
            let mut file = std::fs::File::options().append(true).open(&self.events)?;
            file.write_all(&events::epoch(record, unix_seconds()))
        };
        append().map_err(|source| file_error("write", &self.events, source))
    }

    fn save_checkpoint(&self, network: &Network) -> Result<()> {
        checkpoint::save(self.run.folder, &self.progress, network, self.average.as_ref(), &self.optimizer)
    }
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
