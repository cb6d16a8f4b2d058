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
use crate::checkpoint::{self, ComputedBy, Identity, Partial, Patience, Progress, Saved};
use crate::data::RunData;
use crate::frozen::Frozen;
use crate::model_file::{ModelInfo, ValidationMetrics};
use crate::optimizer::Optimizer;
use crate::phases::ActivePhase;
use crate::recipe::{Keep, Recipe, TrainRecipe};
use crate::run::{RunFolder, file_error, files};
use crate::{Error, Result, events, groups, inference, pretrained};

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
    /// The frozen layers have seen this many of so many images, before an epoch.
    fn features(&mut self, _images: usize, _of: usize) {}
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
        if !trainer.prepare(&network, observer)? {
            return Ok(Outcome::Stopped(trainer.progress));
        }
        let is_whole;
        (network, is_whole) = trainer.train_epoch(network, observer)?;
        if !is_whole {
            trainer.save_checkpoint(&network)?;
            return Ok(Outcome::Stopped(trainer.progress));
        }
        let (record, kept);
        (network, record, kept) = trainer.finish_epoch(network)?;
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
/// Of the architecture, of groups and phases that match no tensor, of class weights for other classes, of weights to begin with
/// that are missing or of another network.
pub fn check(recipe: &Recipe, data: &RunData) -> Result<()> {
    recipe.architecture().plan(data.shape(), data.train.classes())?;
    let device = Device::flex().autodiff();
    let (network, _) = begin(recipe, data, &device)?;
    let first = ActivePhase::of_epoch(&recipe.train, 0);
    let frozen = Descent::of_phase(first.train.clone(), data, &network, &device)?.frozen;
    if recipe.train.cache_features && frozen.is_none() {
        let reason = "train.cache-features needs frozen layers before the first that is trained; freeze them by \
                      train.groups, such as { match = \"base1.*\", frozen = true }";
        return Err(Error::Recipe { place: recipe.name.clone(), reason: reason.into() });
    }
    let last = recipe.train.epochs - 1;
    std::iter::successors(Some(first), |phase| {
        let next = phase.first_epoch + phase.train.epochs;
        (next <= last).then(|| ActivePhase::of_epoch(&recipe.train, next))
    })
    .skip(1)
    .try_for_each(|phase| build(recipe, &phase.train, data, &device).map(drop))
}

/// The network with the weights that it begins with, and its optimizer, in the recipe's first phase.
pub(crate) fn begin(recipe: &Recipe, data: &RunData, device: &Device) -> Result<(Network, Optimizer)> {
    let phase = ActivePhase::of_epoch(&recipe.train, 0);
    let (mut network, optimizer) = build(recipe, &phase.train, data, device)?;
    pretrained::load(recipe, &mut network)?;
    Ok((network, optimizer))
}

/// The network with weights that were drawn, and its optimizer, in a phase with the settings `train`.
pub(crate) fn build(
    recipe: &Recipe,
    train: &TrainRecipe,
    data: &RunData,
    device: &Device,
) -> Result<(Network, Optimizer)> {
    let refuse = |reason: String| Error::Recipe { place: recipe.name.clone(), reason };
    let (architecture, classes) = (recipe.architecture(), data.train.classes());
    let network = Network::new(&architecture, data.shape(), classes, train.seed, device)?;
    let network = groups::freeze(train, network).map_err(refuse)?;
    let optimizer = Optimizer::new(train, &network).map_err(refuse)?;
    Ok((network, optimizer))
}

/// What a step depends on beside the network and the batch.
pub(crate) struct Descent {
    /// Of the phase.
    train: TrainRecipe,
    classes: usize,
    /// What each class counts, `[K]`.
    class_weights: Option<Vec<f32>>,
    /// With automatic differentiation.
    device: Device,
    /// The frozen layers that the network begins with.
    frozen: Option<Frozen>,
}

impl Descent {
    /// Of a network in a phase with the settings `train`.
    ///
    /// # Errors
    /// [`Error::Recipe`] when class weights are for other classes.
    pub fn of_phase(train: TrainRecipe, data: &RunData, network: &Network, device: &Device) -> Result<Self> {
        let class_weights = train.class_weights.as_ref().map(|weights| weights.of(&data.train)).transpose();
        let class_weights =
            class_weights.map_err(|reason| Error::Recipe { place: "train.class-weights".into(), reason })?;
        let (classes, frozen) = (data.train.classes(), Frozen::of(network));
        Ok(Descent { train, classes, class_weights, device: device.clone(), frozen })
    }

    /// The `step`th step of a run, from 0, down the loss of a batch: the network after it, the mean loss and the logits
    /// `[N, K]` before it. `Err` is the loss where it is not finite.
    pub fn step(
        &self,
        network: Network,
        optimizer: &mut Optimizer,
        batch: &mut Batch,
        step: u64,
        learning_rate: f64,
    ) -> std::result::Result<(Network, f64, Vec<f32>), f64> {
        let Descent { train, classes, class_weights, device, frozen } = self;
        let pass = Pass::Training { seed: train.seed, step };
        let logits = match frozen {
            Some(frozen) => network.forward_after(frozen.prefix(), &frozen.of_batch(batch), pass),
            None => network.forward(network.images(std::mem::take(&mut batch.images), device), pass),
        };
        let targets = Targets {
            labels: &batch.labels,
            partners: batch
                .mix
                .as_ref()
                .map(|mix| Partners { labels: &mix.partner_labels, own: &mix.weight }),
            classes: *classes,
            smoothing: train.label_smoothing,
            class_weights: class_weights.as_deref(),
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
    /// In the current phase.
    descent: Descent,
    /// Epochs before it.
    first_epoch: usize,
    /// Whether what the phase computes before its first step is there.
    is_prepared: bool,
    optimizer: Optimizer,
    average: Option<Average>,
    progress: Progress,
    /// TensorBoard's file.
    events: PathBuf,
}

impl<'a> Trainer<'a> {
    fn start(run: Run<'a>, start: Start) -> Result<(Self, Network)> {
        let Run { recipe, data, folder, threads, .. } = run;
        let device = run.device.clone().autodiff();
        let identity = Identity::of(recipe, data);
        let saved = match start {
            Start::Fresh => None,
            Start::Resume => Some(Saved::read(folder.path(), &identity)?),
        };
        let epoch = saved.as_ref().map_or(0, |saved| saved.progress.epochs);
        let ActivePhase { first_epoch, train } = ActivePhase::of_epoch(&recipe.train, epoch);
        let (mut network, mut optimizer) = match saved {
            None => begin(recipe, data, &device)?,
            Some(_) => build(recipe, &train, data, &device)?,
        };
        let mut average = Average::new(&train, &network);
        let progress = match saved {
            None => {
                let computed_by = ComputedBy::here(threads);
                Progress { identity, started: unix_seconds(), computed_by, ..Progress::default() }
            }
            Some(saved) => saved.restore(&mut network, average.as_mut(), &mut optimizer)?,
        };
        let descent = Descent::of_phase(train, data, &network, &device)?;
        // A name that does not change: a resumed run goes on in the same file, without what was not checkpointed.
        let events = format!("events.out.tfevents.{:010}.tailor", progress.started as u64);
        folder.write(&events, &events::file(&progress.history, progress.started))?;
        let events = folder.file(&events);
        let is_prepared = false;
        let trainer =
            Trainer { run, device, descent, first_epoch, is_prepared, optimizer, average, progress, events };
        // Resumable from the first moment on.
        trainer.save_checkpoint(&network)?;
        Ok((trainer, network))
    }

    /// Computes what the current phase needs before its first step. False if the observer stopped it.
    fn prepare(&mut self, network: &Network, observer: &mut dyn Observer) -> Result<bool> {
        if self.is_prepared || !self.run.recipe.train.cache_features {
            return Ok(true);
        }
        let Some(frozen) = Frozen::of(network) else { return Ok(true) };
        let start = Instant::now();
        self.descent.frozen = frozen.keep(self.run.data, &mut |images, of| {
            observer.features(images, of);
            !observer.should_stop()
        })?;
        self.progress.partial.preparation_seconds += start.elapsed().as_secs_f64();
        self.is_prepared = self.descent.frozen.is_some();
        Ok(self.is_prepared)
    }

    /// The network as it goes on in the phase of the epoch that comes next, if another phase begins.
    fn enter_phase(&mut self, network: Network) -> Result<Network> {
        let Run { recipe, data, .. } = self.run;
        let ActivePhase { first_epoch, train } = ActivePhase::of_epoch(&recipe.train, self.progress.epochs);
        if first_epoch == self.first_epoch {
            return Ok(network);
        }
        let (mut next, optimizer) = build(recipe, &train, data, &self.device)?;
        next.import(network.export())?;
        self.descent = Descent::of_phase(train, data, &next, &self.device)?;
        (self.first_epoch, self.optimizer, self.is_prepared) = (first_epoch, optimizer, false);
        // The losses of two phases cannot be compared: early stopping begins anew.
        self.progress.patience = Patience::default();
        Ok(next)
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
        let step = self.step();
        let learning_rate = self.learning_rate(step);
        let stepped = self.descent.step(network, &mut self.optimizer, &mut batch, step, learning_rate);
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

    /// Steps behind us.
    fn step(&self) -> u64 {
        (self.steps_per_epoch() * self.progress.epochs + self.progress.steps) as u64
    }

    /// Of a step of the run that lies in the current phase.
    fn learning_rate(&self, step: u64) -> f64 {
        let (train, per_epoch) = (&self.descent.train, self.steps_per_epoch());
        let step = step - (per_epoch * self.first_epoch) as u64;
        let steps = (per_epoch * train.epochs) as u64;
        train.lr * train.schedule.factor(step, steps, train.epochs as f64, train.warmup_epochs)
    }

    /// Validates, keeps the weights if they are the best, and writes everything down. Gives the network as it goes on.
    fn finish_epoch(&mut self, network: Network) -> Result<(Network, EpochRecord, bool)> {
        let start = Instant::now();
        let judged = self.average.as_ref().map_or(&network, Average::network);
        let (loss, accuracy) = self.validate(judged)?;
        let partial = std::mem::take(&mut self.progress.partial);
        let epoch = self.progress.epochs + 1;
        let record = EpochRecord {
            epoch,
            learning_rate: self.learning_rate(self.step() - 1),
            train_loss: partial.loss / partial.images as f64,
            train_accuracy: partial.correct as f64 / partial.images as f64,
            validation_loss: Some(loss),
            validation_accuracy: Some(accuracy),
            seconds: partial.preparation_seconds + partial.seconds + start.elapsed().as_secs_f64(),
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
        let network = if self.progress.finished { network } else { self.enter_phase(network)? };
        // Last: what it says is done must be on disk.
        self.save_checkpoint(&network)?;
        Ok((network, record, kept))
    }

    /// Loss and accuracy on the validation part.
    fn validate(&self, network: &Network) -> Result<(f64, f64)> {
        let RunData { validation, normalization, .. } = self.run.data;
        let kept = self.descent.frozen.as_ref().and_then(|frozen| frozen.validation_logits(network));
        let logits = kept.unwrap_or_else(|| {
            inference::logits(&network.predictor(), validation, normalization, Views::None)
        });
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
            suggestion: self.descent.train.lr / 10.0,
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
