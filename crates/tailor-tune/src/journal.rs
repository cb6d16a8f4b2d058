//! The journal: one line of JSON an event, appended under a lock, by any number of processes.
//!
//! A process that is killed while it writes leaves a line without an end. Nobody reads such a line, and the next writer
//! cuts it off: it holds the lock, so nobody can be about to finish it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Candidate, Confirmation, Confirmed, Epoch, Error, Result, Space, State, Trial};

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A worker began a trial.
    Began { trial: usize, values: BTreeMap<String, String>, worker: String, threads: usize },
    /// A worker went on with a trial whose worker had ended.
    TookOver { trial: usize, worker: String },
    /// A worker left a trial because the user wanted to stop.
    Released { trial: usize },
    /// An epoch of a trial is done.
    Epoch {
        trial: usize,
        #[serde(flatten)]
        epoch: Epoch,
    },
    /// A trial has ended.
    Ended { trial: usize, state: State },
    /// A worker began, or went on with, a confirming run.
    Confirming { candidate: Candidate, seed: u64, worker: String, threads: usize },
    /// A confirming run has ended.
    Confirmed { candidate: Candidate, seed: u64, result: std::result::Result<Confirmed, String> },
}

/// All that the journal says.
#[derive(Debug, Default)]
pub struct Book {
    pub trials: Vec<Trial>,
    pub confirmations: Vec<Confirmation>,
}

/// The journal of a study, read as far as it went when it was last looked at.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    lock: File,
    space: Space,
    /// Bytes and lines read.
    bytes: u64,
    lines: usize,
    book: Book,
}

impl Journal {
    /// Opens the journal of a folder, which need not exist yet.
    pub fn open(folder: &Path, space: Space) -> Result<Self> {
        let path = folder.join("journal.jsonl");
        let name = folder.join(".lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&name);
        let lock = lock.map_err(|source| Error::file("write", &name, source))?;
        let mut journal = Journal { path, lock, space, bytes: 0, lines: 0, book: Book::default() };
        journal.read()?;
        Ok(journal)
    }

    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Reads what was appended since.
    pub fn read(&mut self) -> Result<()> {
        let mut text = String::new();
        let read = |text: &mut String| -> std::io::Result<()> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.bytes))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            // Up to the last end of a line: the rest is being written, or never will be.
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            bytes.truncate(whole);
            *text = String::from_utf8(bytes).map_err(std::io::Error::other)?;
            Ok(())
        };
        match read(&mut text) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Error::file("read", &self.path, source)),
        }
        for line in text.split_inclusive('\n') {
            self.lines += 1;
            self.bytes += line.len() as u64;
            let enter = serde_json::from_str(line).map_err(|error| error.to_string());
            enter.and_then(|event| self.enter(event)).map_err(|reason| Error::Journal {
                path: self.path.clone(),
                line: self.lines,
                reason,
            })?;
        }
        Ok(())
    }

    /// Calls `work` while no other process can write; it sees everything that was written before.
    pub fn locked<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let locked =
            |result: std::io::Result<()>| result.map_err(|source| Error::file("lock", &self.path, source));
        locked(self.lock.lock())?;
        let result = self.read().and_then(|()| work(self));
        let unlocked = self.lock.unlock().map_err(|source| Error::file("unlock", &self.path, source));
        result.and_then(|value| unlocked.map(|()| value))
    }

    /// Appends an event. Only within [`Journal::locked`].
    pub fn append(&mut self, event: Event) -> Result<()> {
        let mut line = serde_json::to_string(&event).expect("an event is JSON");
        line.push('\n');
        let append = || -> std::io::Result<()> {
            let mut file = File::options().create(true).truncate(false).write(true).open(&self.path)?;
            file.set_len(self.bytes)?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        };
        append().map_err(|source| Error::file("write", &self.path, source))?;
        self.bytes += line.len() as u64;
        self.lines += 1;
        self.enter(event).map_err(|reason| Error::Journal {
            path: self.path.clone(),
            line: self.lines,
            reason,
        })
    }

    fn enter(&mut self, event: Event) -> std::result::Result<(), String> {
        let Book { trials, confirmations } = &mut self.book;
        match event {
            Event::Began { trial, values, worker, threads } => {
                let Some(point) = self.space.point_of(&values) else {
                    return Err(format!("the values of trial {trial} are not in the space"));
                };
                if trial != trials.len() {
                    return Err(format!("trial {trial} comes after {} others", trials.len()));
                }
                let (epochs, state, taken_over_at) = (Vec::new(), State::Running, Vec::new());
                trials.push(Trial { number: trial, point, epochs, state, threads, worker, taken_over_at });
            }
            Event::TookOver { trial, worker } => {
                let trial = running(trials, trial)?;
                if !trial.worker.is_empty() {
                    trial.taken_over_at.push(trial.epochs.len());
                }
                trial.worker = worker;
            }
            Event::Released { trial } => running(trials, trial)?.worker.clear(),
            Event::Epoch { trial, epoch } => running(trials, trial)?.epochs.push(epoch),
            Event::Ended { trial, state } => running(trials, trial)?.state = state,
            Event::Confirming { candidate, seed, worker, threads } => {
                match confirmations.iter_mut().find(|c| (c.candidate, c.seed) == (candidate, seed)) {
                    Some(confirmation) => confirmation.worker = worker,
                    None => {
                        confirmations.push(Confirmation { candidate, seed, result: None, worker, threads });
                    }
                }
            }
            Event::Confirmed { candidate, seed, result } => {
                let confirmation =
                    confirmations.iter_mut().find(|c| (c.candidate, c.seed) == (candidate, seed));
                confirmation.ok_or("a confirming run ended that did not begin")?.result = Some(result);
            }
        }
        Ok(())
    }
}

fn running(trials: &mut [Trial], number: usize) -> std::result::Result<&mut Trial, String> {
    let trial = trials.get_mut(number).filter(|trial| trial.state == State::Running);
    trial.ok_or_else(|| format!("trial {number} is not running"))
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
