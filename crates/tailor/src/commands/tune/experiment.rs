//! A trial as a training: its settings become a recipe, and the normal trainer trains it in the trial's folder.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tailor_eval::{EpochRecord, History};
use tailor_nn::Summary;
use tailor_train::checkpoint::{Partial, Progress};
use tailor_train::data::augmentation;
use tailor_train::recipe::{DataRecipe, Keep};
use tailor_train::run::files;
use tailor_train::{Error, Observer, Override, Recipe, RunData, RunFolder, Start, confidence};
use tailor_tune::space::Assignment;
use tailor_tune::{Confirmed, Domain, Epoch, Objective, Outcome, Space, State, Trial, Verdict};

use crate::results::Results;
use crate::{Context, interrupt};

/// Trains trials, and what confirms them.
pub struct Experiment<'a> {
    recipe: Recipe,
    context: &'a Context,
    /// The data of the trial before, with the settings that opened it: opening takes longer than many an epoch.
    opened: Option<(DataRecipe, u64, RunData)>,
}

impl<'a> Experiment<'a> {
    /// Of trials that begin with this recipe.
    pub fn new(recipe: Recipe, context: &'a Context) -> Self {
        Experiment { recipe, context, opened: None }
    }

    fn train_trial(&mut self, run: &TrialRun, reporter: &mut Reporter) -> anyhow::Result<Outcome> {
        let recipe = with_settings(&self.recipe, run.settings)?;
        let context = self.context;
        tailor_kernels::team::set_threads(run.threads);
        let data = self.data_of(&recipe)?;
        recipe.architecture().plan(data.shape(), data.train.classes())?;
        reporter.keep = recipe.train.keep;
        let outcome = train_in(run.folder, &recipe, data, context, run.threads, reporter)?;
        Ok(match outcome {
            tailor_train::Outcome::Finished(_) => Outcome::Ended(State::Complete),
            tailor_train::Outcome::Stopped(_) => Outcome::Interrupted,
        })
    }

    /// The data of a recipe, without its test part: no trial can look at it.
    fn data_of(&mut self, recipe: &Recipe) -> anyhow::Result<&RunData> {
        let source = DataRecipe { augment: Vec::new(), ..recipe.data.clone() };
        let seed = recipe.train.seed;
        let data = match self.opened.take() {
            Some((opened, with, data)) if (&opened, with) == (&source, seed) => data,
            _ => RunData { test: None, ..RunData::open(recipe)? },
        };
        let (_, _, data) = self.opened.insert((source, seed, data));
        data.augmentation = augmentation(&recipe.data, data.train.shape())?;
        Ok(data)
    }

    /// Trains to the end, then tests. None if it was interrupted.
    fn train_and_test(&self, run: &TrialRun, seed: u64) -> anyhow::Result<Option<Confirmed>> {
        let mut recipe = with_settings(&self.recipe, run.settings)?;
        recipe.train.seed = seed;
        tailor_kernels::team::set_threads(run.threads);
        let context = Context { threads: run.threads, ..self.context.clone() };
        let data = RunData::open(&recipe)?;
        let outcome = train_in(run.folder, &recipe, &data, &context, run.threads, &mut Patient)?;
        let tailor_train::Outcome::Finished(progress) = outcome else { return Ok(None) };
        let model = confidence::complete(run.folder, &data, &context.device)?;
        let (part, images) = match &data.test {
            Some(test) => ("test", test),
            None => ("validation", &data.validation),
        };
        let (epochs, seconds) = (progress.epochs, progress.history.0.iter().map(|epoch| epoch.seconds).sum());
        let validation = progress.best.map_or(0.0, |best| best.accuracy);
        let results = Results::new(&model, images, part, &data.name, progress.history, &context)?;
        results.write(run.folder)?;
        let test = data.test.is_some().then(|| results.accuracy());
        let test_images = data.test.as_ref().map_or(0, |test| test.len());
        Ok(Some(Confirmed { validation, test, test_images, epochs, seconds }))
    }
}

/// Where and with what a training takes place.
struct TrialRun<'a> {
    settings: &'a [Assignment],
    folder: &'a Path,
    threads: usize,
}

impl Objective for Experiment<'_> {
    fn run(
        &mut self,
        trial: &Trial,
        settings: &[Assignment],
        folder: &Path,
        report: &mut dyn FnMut(Epoch) -> Verdict,
    ) -> Outcome {
        let run = TrialRun { settings, folder, threads: trial.threads };
        let mut reporter = Reporter { report, keep: Keep::default(), best: None, is_told_to_stop: false };
        let trained = catch_unwind(AssertUnwindSafe(|| self.train_trial(&run, &mut reporter)));
        let outcome = match trained {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Ended(match error.downcast_ref() {
                Some(Error::Diverged { epoch, step, .. }) => {
                    State::Diverged(format!("the loss was no longer finite at epoch {epoch}, step {step}"))
                }
                _ => State::Failed(format!("{error:#}")),
            }),
            Err(panic) => Outcome::Ended(State::Failed(format!("it panicked: {}", message(&*panic)))),
        };
        if matches!(outcome, Outcome::Ended(_)) || reporter.is_told_to_stop {
            remove_weights(folder);
        }
        outcome
    }

    fn confirm(
        &mut self,
        settings: &[Assignment],
        seed: u64,
        threads: usize,
        folder: &Path,
    ) -> Option<Result<Confirmed, String>> {
        let run = TrialRun { settings, folder, threads };
        match catch_unwind(AssertUnwindSafe(|| self.train_and_test(&run, seed))) {
            Ok(Ok(confirmed)) => confirmed.map(Ok),
            Ok(Err(error)) => Some(Err(format!("{error:#}"))),
            Err(panic) => Some(Err(format!("it panicked: {}", message(&*panic)))),
        }
    }

    fn should_stop(&self) -> bool {
        interrupt::requested()
    }
}

/// Trains in a folder, from where it was left if it was.
fn train_in(
    folder: &Path,
    recipe: &Recipe,
    data: &RunData,
    context: &Context,
    threads: usize,
    observer: &mut dyn Observer,
) -> tailor_train::Result<tailor_train::Outcome> {
    let train = |start: Start, observer: &mut dyn Observer| {
        let folder = match start {
            Start::Resume => RunFolder::open(folder)?,
            Start::Fresh => {
                let _ = fs::remove_dir_all(folder);
                RunFolder::create(folder)?
            }
        };
        folder.write(files::RECIPE, recipe.to_toml().as_bytes())?;
        tailor_train::train(
            tailor_train::Run { recipe, data, folder: &folder, device: &context.device, threads },
            start,
            observer,
        )
    };
    if folder.join(files::RECIPE).exists() && folder.join(files::CHECKPOINT).exists() {
        match train(Start::Resume, observer) {
            // A checkpoint that cannot be used is no loss: the same training begins again.
            Err(Error::NotResumable(..)) => {}
            trained => return trained,
        }
    }
    train(Start::Fresh, observer)
}

/// A trial keeps its recipe and its metrics; weights would fill the disk, and training again gives the same.
fn remove_weights(folder: &Path) {
    for name in [files::CHECKPOINT, files::MODEL] {
        let _ = fs::remove_file(folder.join(name));
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}

/// Tells the study about every epoch, and the trainer when to stop.
struct Reporter<'a> {
    report: &'a mut dyn FnMut(Epoch) -> Verdict,
    keep: Keep,
    /// Validation accuracy and loss of the epoch whose weights are kept so far.
    best: Option<(f64, f64)>,
    is_told_to_stop: bool,
}

impl Reporter<'_> {
    fn report(&mut self, record: &EpochRecord) {
        let (Some(accuracy), Some(loss)) = (record.validation_accuracy, record.validation_loss) else {
            return;
        };
        let is_kept = match (self.best, self.keep) {
            (None, _) | (_, Keep::Last) => true,
            (Some((best, _)), Keep::BestAccuracy) => accuracy > best,
            (Some((_, lowest)), Keep::LowestLoss) => loss < lowest,
        };
        if is_kept {
            self.best = Some((accuracy, loss));
        }
        let score = self.best.map_or(accuracy, |(accuracy, _)| accuracy);
        let verdict = (self.report)(Epoch { epoch: record.epoch, score, seconds: record.seconds });
        self.is_told_to_stop = verdict == Verdict::Stop;
    }
}

impl Observer for Reporter<'_> {
    fn started(&mut self, _: &Summary, progress: &Progress, _: usize) {
        let History(epochs) = &progress.history;
        epochs.iter().for_each(|record| self.report(record));
    }

    fn step(&mut self, _: usize, _: usize, _: &Partial) {}

    fn epoch(&mut self, record: &EpochRecord, _: bool) {
        self.report(record);
    }

    fn should_stop(&self) -> bool {
        self.is_told_to_stop || interrupt::requested()
    }
}

/// Watches a training that nobody prunes.
struct Patient;

impl Observer for Patient {
    fn started(&mut self, _: &Summary, _: &Progress, _: usize) {}
    fn step(&mut self, _: usize, _: usize, _: &Partial) {}
    fn epoch(&mut self, _: &EpochRecord, _: bool) {}

    fn should_stop(&self) -> bool {
        interrupt::requested()
    }
}

/// The recipe of a trial.
pub fn with_settings(recipe: &Recipe, settings: &[Assignment]) -> tailor_train::Result<Recipe> {
    let overrides = settings.iter().map(|(key, value)| Override { key: key.clone(), value: value.clone() });
    recipe.with_overrides(&overrides.collect::<Vec<_>>())
}

/// Why settings are impossible, if they are. The network is checked against the data where it is given and its shape does not vary.
pub fn check_settings(
    recipe: &Recipe,
    data: Option<&RunData>,
    settings: &[Assignment],
) -> Result<(), String> {
    let with = with_settings(recipe, settings).map_err(|error| match error {
        Error::Recipe { reason, .. } => reason,
        other => other.to_string(),
    })?;
    let shape_is_fixed = settings
        .iter()
        .all(|(key, _)| !matches!(key.as_str(), "data.size" | "data.channels" | "data.source"));
    if let Some(data) = data.filter(|_| shape_is_fixed) {
        let planned = with.architecture().plan(data.shape(), data.train.classes());
        planned.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The recipe's own values as a point of the space; none if some value is not in it.
pub fn start_of(recipe: &Recipe, space: &Space) -> Option<BTreeMap<String, String>> {
    let table = recipe.to_toml().parse::<toml::Table>().ok()?;
    let mut start = BTreeMap::new();
    let mut point = Vec::new();
    for (position, parameter) in space.parameters.iter().enumerate() {
        let value = match space.is_active(position, &point) {
            false => None,
            true => Some(start_value(recipe, &table, &parameter.key, &parameter.domain)?),
        };
        if let Some(value) = value {
            start.insert(parameter.key.clone(), parameter.domain.label(value));
        }
        point.push(value);
    }
    Some(start)
}

fn start_value(recipe: &Recipe, table: &toml::Table, key: &str, domain: &Domain) -> Option<f64> {
    if let Domain::Choice { values, .. } = domain {
        let is_same = |value: &String| {
            let same = with_settings(recipe, &[(key.to_string(), value.clone())]);
            same.is_ok_and(|same| same == *recipe)
        };
        return values.iter().position(is_same).map(|position| position as f64);
    }
    let mut value = &toml::Value::Table(table.clone());
    for part in key.split('.') {
        value = match value {
            toml::Value::Table(table) => table.get(part)?,
            toml::Value::Array(list) => list.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))?;
    domain.value_of(&domain.label(number))
}
