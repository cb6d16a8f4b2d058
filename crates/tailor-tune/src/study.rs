//! A study: a folder that says what is searched and what was found.
//!
//! ```text
//! recipe.toml     what the study begins with          space.toml      what varies
//! study.toml      how it searches                     journal.jsonl   what happened
//! trials/0007/    the run of a trial                  confirm/        runs of the winner and of the start
//! workers/        a locked file for each process that works on it
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tailor_data::replace_file;

use crate::journal::{Event, Journal};
use crate::{Candidate, Confirmation, Error, Pruner, Result, Sampler, Space, State, Trial, ranked};

/// How a study searches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Trials in all.
    pub trials: usize,
    /// Where the next values come from.
    pub sampler: Sampler,
    /// When a trial is given up.
    pub pruner: Pruner,
    /// The most epochs of a trial.
    pub epochs: usize,
    /// Of the sampler.
    pub seed: u64,
    /// With which the winner and the start are trained again.
    pub confirm_seeds: Vec<u64>,
    /// The values that the study begins with, if they lie in the space: those of the first trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<BTreeMap<String, String>>,
}

/// A study, as far as it has been read.
#[derive(Debug)]
pub struct Study {
    folder: PathBuf,
    /// How it searches.
    pub settings: Settings,
    /// What varies.
    pub space: Space,
    /// The recipe that it begins with, as text.
    pub recipe: String,
    pub(crate) journal: Journal,
}

mod files {
    pub const RECIPE: &str = "recipe.toml";
    pub const SPACE: &str = "space.toml";
    pub const STUDY: &str = "study.toml";
    pub const TRIALS: &str = "trials";
    pub const CONFIRM: &str = "confirm";
    pub const WORKERS: &str = "workers";
}

impl Study {
    /// Whether a folder holds a study.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(files::STUDY).exists()
    }

    /// Begins a study, or opens the one in the folder if it is the same but for the number of trials, which then is the new one.
    /// `space` is checked already.
    ///
    /// # Errors
    /// [`Error::OtherStudy`] says what differs.
    pub fn begin(folder: &Path, settings: Settings, space: Space, recipe: &str) -> Result<Self> {
        let make = |path: &Path| {
            fs::create_dir_all(path).map_err(|source| Error::file("make the folder", path, source))
        };
        [files::TRIALS, files::CONFIRM, files::WORKERS]
            .iter()
            .try_for_each(|name| make(&folder.join(name)))?;
        let mut journal = Journal::open(folder, space.clone())?;
        // Two processes may be started with the same command at once.
        journal.locked(|_| {
            if Study::is_in(folder) {
                return same_study(folder, &settings, &space, recipe);
            }
            write(folder, files::RECIPE, recipe)?;
            write(folder, files::SPACE, &space.to_toml())?;
            write(folder, files::STUDY, &settings_text(&settings))
        })?;
        Ok(Study { folder: folder.into(), settings, space, recipe: recipe.into(), journal })
    }

    /// Opens the study in a folder. `check` is what [`Space::check`] asks, given the recipe's text.
    ///
    /// # Errors
    /// [`Error::NoStudy`], and those of reading it.
    pub fn open(
        folder: &Path,
        check: impl Fn(&str, &[crate::space::Assignment]) -> std::result::Result<(), String>,
    ) -> Result<Self> {
        if !Study::is_in(folder) {
            return Err(Error::NoStudy(folder.into()));
        }
        let recipe = read(folder, files::RECIPE)?;
        let origin = folder.join(files::SPACE).display().to_string();
        let mut space = Space::parse(&read(folder, files::SPACE)?, &origin)?;
        space.check(&|assignments| check(&recipe, assignments))?;
        let settings = read_settings(folder)?;
        let journal = Journal::open(folder, space.clone())?;
        Ok(Study { folder: folder.into(), settings, space, recipe, journal })
    }

    /// The same study, to be read on its own.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn reopened(&self) -> Result<Self> {
        let journal = Journal::open(&self.folder, self.space.clone())?;
        let (settings, space, recipe) = (self.settings.clone(), self.space.clone(), self.recipe.clone());
        Ok(Study { folder: self.folder.clone(), settings, space, recipe, journal })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All trials, by number.
    pub fn trials(&self) -> &[Trial] {
        &self.journal.book().trials
    }

    /// All confirming runs, in the order of their beginning.
    pub fn confirmations(&self) -> &[Confirmation] {
        &self.journal.book().confirmations
    }

    /// Reads what happened since, and the number of trials, which another process may have raised.
    ///
    /// # Errors
    /// Those of reading.
    pub fn refresh(&mut self) -> Result<()> {
        self.settings.trials = read_settings(&self.folder)?.trials;
        self.journal.read()
    }

    /// The complete trial with the highest score.
    pub fn best(&self) -> Option<&Trial> {
        ranked(self.trials()).into_iter().next().filter(|trial| trial.state == State::Complete)
    }

    /// What has to be confirmed: the start, and the best trial unless it is the start itself.
    pub fn candidates(&self) -> Vec<Candidate> {
        let start = self.settings.start.as_ref().and_then(|labels| self.space.point_of(labels));
        let best = self.best().filter(|trial| start.as_ref() != Some(&trial.point));
        let best = best.map(|trial| Candidate::Trial(trial.number));
        [Candidate::Start].into_iter().chain(best).collect()
    }

    /// The folder of a trial's run.
    pub fn trial_folder(&self, number: usize) -> PathBuf {
        self.folder.join(files::TRIALS).join(format!("{number:04}"))
    }

    /// The folder of a confirming run.
    pub fn confirmation_folder(&self, candidate: Candidate, seed: u64) -> PathBuf {
        let name = match candidate {
            Candidate::Start => format!("start-seed-{seed}"),
            Candidate::Trial(number) => format!("trial-{number:04}-seed-{seed}"),
        };
        self.folder.join(files::CONFIRM).join(name)
    }

    /// Writes one of the study's results, whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        write(&self.folder, name, text)
    }

    /// The names of the processes that work on the study now. Only while the journal is locked.
    pub(crate) fn live_workers(folder: &Path) -> Result<Vec<String>> {
        let folder = folder.join(files::WORKERS);
        let failed = |source| Error::file("read", &folder, source);
        let mut live = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(file) = File::open(entry.path()) else { continue };
            match file.try_lock_shared() {
                Err(TryLockError::WouldBlock) => live.push(entry.file_name().to_string_lossy().into_owned()),
                // Its process has ended. That it cannot be removed does no harm.
                _ => _ = fs::remove_file(entry.path()),
            }
        }
        Ok(live)
    }

    /// Makes and locks the file that says that this process works on the study. Only while the journal is locked.
    pub(crate) fn sign_in(folder: &Path) -> Result<(String, File)> {
        let unique =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos());
        let name = format!("{}-{:x}", std::process::id(), unique);
        let path = folder.join(files::WORKERS).join(&name);
        let lock = || -> std::io::Result<File> {
            let file = File::create_new(&path)?;
            file.lock()?;
            Ok(file)
        };
        Ok((name, lock().map_err(|source| Error::file("lock", &path, source))?))
    }

    /// Appends an event.
    pub(crate) fn record(&mut self, event: Event) -> Result<()> {
        self.journal.locked(|journal| journal.append(event))
    }
}

fn same_study(folder: &Path, settings: &Settings, space: &Space, recipe: &str) -> Result<()> {
    let theirs = read_settings(folder)?;
    let what = if read(folder, files::RECIPE)? != recipe {
        "another recipe"
    } else if read(folder, files::SPACE)? != space.to_toml() {
        "another space"
    } else if (Settings { trials: settings.trials, ..theirs.clone() }) != *settings {
        "another sampler, pruner, seed or number of epochs"
    } else if theirs.trials != settings.trials {
        return write(folder, files::STUDY, &settings_text(settings));
    } else {
        return Ok(());
    };
    Err(Error::OtherStudy { path: folder.into(), what: what.into() })
}

fn settings_text(settings: &Settings) -> String {
    toml::to_string(settings).expect("settings are TOML")
}

fn read_settings(folder: &Path) -> Result<Settings> {
    let place = folder.join(files::STUDY).display().to_string();
    let refuse = |error: toml::de::Error| Error::Space { place, reason: error.message().replace('\n', " ") };
    toml::from_str(&read(folder, files::STUDY)?).map_err(refuse)
}

fn read(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    fs::read_to_string(&path).map_err(|source| Error::file("read", &path, source))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    replace_file(&path, text.as_bytes()).map_err(|source| Error::file("write", &path, source))
}
