//! Finished runs, read back from their folders, networks and baselines alike: only what both leave there is looked at.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;
use tailor_eval::{Answers, Contestant, Cost, Evaluation, History, Run, Timing};
use tailor_train::model_file::stored_values;
use tailor_train::run::files;
use toml::{Table, Value};
use walkdir::WalkDir;

use crate::commands::Usage;

/// What results are kept as instead of the whole predictions.csv: its first four columns, packed.
const PACKED_PREDICTIONS: &str = "predictions.csv.gz";

/// What results keep of a model file: its size, and how many numbers it holds.
const KEPT_SIZE: &str = "size.json";

/// A run that has been trained and judged.
pub struct FinishedRun {
    pub folder: PathBuf,
    /// Its recipe without the seed.
    pub recipe: Table,
    pub run: Run,
}

/// The folders of runs that some paths stand for: each is one, or holds some.
#[derive(Default)]
pub struct Folders {
    pub folders: Vec<PathBuf>,
    /// What was passed over, a sentence each.
    pub notes: Vec<String>,
}

impl Folders {
    /// # Errors
    /// A path holds no run, or names one that another path has named.
    pub fn find(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut found = Folders::default();
        for path in paths {
            if path.join(files::RECIPE).is_file() {
                found.add(path.clone())?;
                continue;
            }
            let below = runs_below(path)?;
            let (finished, unfinished): (Vec<_>, Vec<_>) =
                below.into_iter().partition(|run| run.join(files::EVALUATION).exists());
            finished.into_iter().try_for_each(|run| found.add(run))?;
            let note = |run: PathBuf| format!("{} is not finished, and is left out", run.display());
            found.notes.extend(unfinished.into_iter().map(note));
        }
        Ok(found)
    }

    fn add(&mut self, folder: PathBuf) -> anyhow::Result<()> {
        let same = |other: &PathBuf| matches!((other.canonicalize(), folder.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if let Some(other) = self.folders.iter().find(|other| same(other)) {
            let text = format!("{} and {} are the same run; name it once", other.display(), folder.display());
            return Err(Usage(text).into());
        }
        self.folders.push(folder);
        Ok(())
    }
}

/// The folders with a recipe beneath one that has none, by name.
fn runs_below(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        let what = if path.exists() { "is not a run's folder" } else { "does not exist" };
        return Err(Usage(format!("{} {what}; name folders that `tailor train` left", path.display())).into());
    }
    let mut runs = Vec::new();
    for entry in WalkDir::new(path).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot look into {}", path.display()))?;
        if entry.file_name() == files::RECIPE {
            runs.extend(entry.path().parent().map(Path::to_path_buf));
        }
    }
    if runs.is_empty() {
        return Err(
            Usage(format!("{} holds no run; name folders that `tailor train` left", path.display())).into()
        );
    }
    Ok(runs)
}

impl FinishedRun {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// It is not finished, lacks a file, or one of them is damaged.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let place = folder.display().to_string();
        let file = |name: &str| folder.join(name);
        let mut recipe = read_recipe(&file(files::RECIPE))?;
        let mut seed = None;
        take_seed(&mut recipe, &mut seed);
        if !file(files::EVALUATION).exists() {
            let text = format!(
                "{place} is not finished: it has no {}; go on with it by: tailor train --run {place} --resume",
                files::EVALUATION
            );
            return Err(Usage(text).into());
        }
        let evaluation = Evaluation::read_json(file(files::EVALUATION))?;
        let predictions = [files::PREDICTIONS, PACKED_PREDICTIONS].map(file);
        let Some(predictions) = predictions.iter().find(|path| path.exists()) else {
            let remedy = match file(files::MODEL).exists() {
                true => format!("write it by: tailor evaluate {place} --output {place}"),
                false => "without its model it has to be trained again".to_owned(),
            };
            let text = format!(
                "{place} has no {}, and runs are compared image by image; {remedy}",
                files::PREDICTIONS
            );
            return Err(Usage(text).into());
        };
        let answers = Answers::read_csv(predictions, &evaluation)?;
        let metrics = file(files::METRICS);
        let history = if metrics.exists() { History::read_csv(metrics)? } else { History::default() };
        let cost = cost(folder, &history)?;
        let run = Run { place, seed, evaluation, answers, history, cost };
        Ok(FinishedRun { folder: folder.to_path_buf(), recipe, run })
    }

    fn name(&self) -> &str {
        self.recipe.get("name").and_then(Value::as_str).unwrap_or(&self.run.place)
    }
}

fn read_recipe(path: &Path) -> anyhow::Result<Table> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not TOML", path.display()))
}

/// Removes every key `seed`, wherever a kind of recipe has it.
fn take_seed(table: &mut Table, seed: &mut Option<u64>) {
    if let Some(value) = table.remove("seed") {
        *seed = seed.or(value.as_integer().and_then(|value| u64::try_from(value).ok()));
    }
    for (_, value) in table.iter_mut() {
        if let Value::Table(inner) = value {
            take_seed(inner, seed);
        }
    }
}

fn cost(folder: &Path, history: &History) -> anyhow::Result<Cost> {
    let epochs = &history.0;
    let seconds: f64 = epochs.iter().map(|epoch| epoch.seconds).sum();
    let speed = epochs.iter().map(|epoch| epoch.images_per_second).sum::<f64>() / epochs.len() as f64;
    let trained = !epochs.is_empty();
    let timing = folder.join(files::TIMING);
    let timing = timing.exists().then(|| Timing::read_json(timing)).transpose()?;
    let size = ModelSize::of(folder)?;
    Ok(Cost {
        training_seconds: trained.then_some(seconds),
        training_images_per_second: trained.then_some(speed),
        prediction_images_per_second: timing.map(|timing| timing.images_per_second()),
        parameters: size.as_ref().map(|size| size.values),
        file_bytes: size.map(|size| size.bytes),
    })
}

/// How large a model file is; the content of `size.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelSize {
    /// Numbers in its tensors.
    values: usize,
    bytes: usize,
}

impl ModelSize {
    /// Of the model in a run's folder, or what was kept instead; none if there is neither.
    fn of(folder: &Path) -> anyhow::Result<Option<Self>> {
        let model = folder.join(files::MODEL);
        if let Ok(file) = std::fs::metadata(&model) {
            let bytes = usize::try_from(file.len()).context("a model file that no memory could hold")?;
            return Ok(Some(ModelSize { values: stored_values(&model)?, bytes }));
        }
        let kept = folder.join(KEPT_SIZE);
        if !kept.exists() {
            return Ok(None);
        }
        let text =
            std::fs::read_to_string(&kept).with_context(|| format!("cannot read {}", kept.display()))?;
        let size =
            serde_json::from_str(&text).with_context(|| format!("{} is no model's size", kept.display()))?;
        Ok(Some(size))
    }
}

/// Groups runs of the same recipe, in the order of their first ones; runs of one recipe only stand each for itself.
///
/// # Errors
/// Two runs have the same recipe and the same seed.
pub fn contestants(runs: Vec<FinishedRun>) -> anyhow::Result<Vec<Contestant>> {
    let mut groups: Vec<Vec<FinishedRun>> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| group[0].recipe == run.recipe) {
            Some(group) => {
                if let Some(same) = group.iter().find(|other| other.run.seed == run.run.seed) {
                    let text = format!(
                        "{} and {} are the same run twice: recipe and seed are equal; name one of them, or train with \
                         another --seed",
                        same.run.place, run.run.place
                    );
                    return Err(Usage(text).into());
                }
                group.push(run);
            }
            None => groups.push(vec![run]),
        }
    }
    if let [group] = groups.as_mut_slice() {
        let alone = |run: FinishedRun| {
            let seed = run.run.seed.map_or_else(|| run.run.place.clone(), |seed| seed.to_string());
            Contestant { name: format!("{} (seed {seed})", run.name()), runs: vec![run.run] }
        };
        return Ok(std::mem::take(group).into_iter().map(alone).collect());
    }
    let names: Vec<String> = (0..groups.len()).map(|group| name(&groups, group)).collect();
    let runs = groups.into_iter().map(|group| group.into_iter().map(|run| run.run).collect());
    Ok(names.into_iter().zip(runs).map(|(name, runs)| Contestant { name, runs }).collect())
}

/// So many different keys at most tell recipes of one name apart; beyond, the folder does.
const TELLING_KEYS: usize = 2;

/// The recipe's name, and what tells it from others of that name: `cnn-32-64 (train.epochs=5)`.
fn name(groups: &[Vec<FinishedRun>], group: usize) -> String {
    let own = &groups[group][0];
    let namesakes: Vec<&FinishedRun> =
        groups.iter().map(|group| &group[0]).filter(|run| run.name() == own.name()).collect();
    if namesakes.len() == 1 {
        return own.name().to_owned();
    }
    let keys = |run: &FinishedRun| {
        let mut keys = Vec::new();
        flatten("", &Value::Table(run.recipe.clone()), &mut keys);
        keys
    };
    let (own_keys, others): (_, Vec<_>) = (keys(own), namesakes.iter().map(|run| keys(run)).collect());
    let is_telling = |entry: &&(String, String)| others.iter().any(|keys| !keys.contains(entry));
    let telling: Vec<String> =
        own_keys.iter().filter(is_telling).map(|(key, value)| format!("{key}={value}")).collect();
    match telling.len() {
        1..=TELLING_KEYS => format!("{} ({})", own.name(), telling.join(", ")),
        _ => format!("{} ({})", own.name(), own.folder.display()),
    }
}

/// Every value with its dotted path.
fn flatten(path: &str, value: &Value, keys: &mut Vec<(String, String)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Table(table) => table.iter().for_each(|(key, value)| flatten(&below(key), value, keys)),
        Value::Array(list) if list.iter().any(|value| value.is_table()) => {
            list.iter().enumerate().for_each(|(i, value)| flatten(&below(&i.to_string()), value, keys));
        }
        plain => keys.push((path.to_owned(), plain.to_string())),
    }
}
