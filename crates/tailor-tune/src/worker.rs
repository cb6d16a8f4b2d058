//! A process that works on a study: it takes what has to be done next, does it and writes down what came of it.
//!
//! ```text
//! under the journal's lock:  a trial whose worker has ended?  → go on with it
//!                            trials left?                     → ask the sampler, begin one
//!                            others still at work?            → wait
//!                            runs to confirm left?            → train the winner or the start with a fresh seed
//! ```

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use crate::journal::{Event, Journal};
use crate::space::Assignment;
use crate::{Candidate, Confirmed, Ended, Epoch, Outcome, Result, State, Study, Trial};

/// A trial during which so many workers ended without a further epoch is given up: it would end the next one too. One or two
/// may have been killed by somebody else.
const ENDED_WORKERS: usize = 5;
/// Between two looks at what other processes do.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the worker trains.
pub trait Objective {
    /// Runs a trial with these settings in its folder, or goes on with it; reports every epoch, and stops when told to.
    /// `report` is told also of epochs that were done before.
    fn run(
        &mut self,
        trial: &Trial,
        settings: &[Assignment],
        folder: &Path,
        report: &mut dyn FnMut(Epoch) -> Verdict,
    ) -> Outcome;

    /// Trains to the end with these settings and this seed in its folder, or goes on with it, and only then looks at the test part. None
    /// if the user wants to stop.
    fn confirm(
        &mut self,
        settings: &[Assignment],
        seed: u64,
        threads: usize,
        folder: &Path,
    ) -> Option<std::result::Result<Confirmed, String>>;

    /// Whether the user wants to stop.
    fn should_stop(&self) -> bool;
}

/// What is to become of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next epoch.
    GoOn,
    /// No further epoch.
    Stop,
}

enum Task {
    Trial(usize),
    Confirm { candidate: Candidate, seed: u64, threads: usize },
    Wait,
    Nothing,
}

/// Works on a study until nothing is left to do, or the user wants to stop. `threads` are all that may be used on this
/// machine; a trial gets its share of them among the processes that work when it begins, of which there will be `workers`
/// at least.
///
/// # Errors
/// Those of reading and writing the study. What goes wrong within a trial is its result, not an error.
pub fn work(
    study: &mut Study,
    objective: &mut dyn Objective,
    threads: usize,
    workers: usize,
) -> Result<Ended> {
    let folder = study.folder().to_path_buf();
    let (name, lock) = study.journal.locked(|_| Study::sign_in(&folder))?;
    let mut worker = Worker { study, objective, name, threads, workers, _lock: lock };
    loop {
        if worker.objective.should_stop() {
            return Ok(Ended::Interrupted);
        }
        match worker.next_task()? {
            Task::Trial(number) => worker.run(number)?,
            Task::Confirm { candidate, seed, threads } => worker.confirm(candidate, seed, threads)?,
            Task::Wait => std::thread::sleep(PATIENCE),
            Task::Nothing => return Ok(Ended::Finished),
        }
    }
}

struct Worker<'a> {
    study: &'a mut Study,
    objective: &'a mut dyn Objective,
    name: String,
    threads: usize,
    workers: usize,
    /// The operating system releases the lock when the process ends, however it ends.
    _lock: File,
}

impl Worker<'_> {
    fn next_task(&mut self) -> Result<Task> {
        self.study.refresh()?;
        let folder = self.study.folder().to_path_buf();
        let Study { settings, space, journal, .. } = &mut *self.study;
        let (name, workers, total) = (&self.name, self.workers, self.threads);
        let task = journal.locked(|journal| {
            let live = Study::live_workers(&folder)?;
            let threads = (total / live.len().max(workers)).max(1);
            if let Some(number) = abandoned_trial(journal, &live)? {
                journal.append(Event::TookOver { trial: number, worker: name.clone() })?;
                return Ok(Some(Task::Trial(number)));
            }
            let trials = &journal.book().trials;
            let number = trials.len();
            if number < settings.trials
                && let Some(point) = settings.suggest(space, trials)
            {
                let values = space.labels(&point);
                journal.append(Event::Began { trial: number, values, worker: name.clone(), threads })?;
                return Ok(Some(Task::Trial(number)));
            }
            let is_busy = trials.iter().any(|trial| trial.state == State::Running);
            Ok(is_busy.then_some(Task::Wait))
        })?;
        match task {
            Some(task) => Ok(task),
            None => self.next_confirmation(),
        }
    }

    fn next_confirmation(&mut self) -> Result<Task> {
        if self.study.best().is_none() {
            return Ok(Task::Nothing);
        }
        let candidates = self.study.candidates();
        let seeds = self.study.settings.confirm_seeds.clone();
        let folder = self.study.folder().to_path_buf();
        let (name, workers, total) = (&self.name, self.workers, self.threads);
        self.study.journal.locked(|journal| {
            let live = Study::live_workers(&folder)?;
            let mut is_busy = false;
            for seed in seeds {
                for &candidate in &candidates {
                    let mut begun = journal.book().confirmations.iter();
                    let begun = begun.find(|begun| (begun.candidate, begun.seed) == (candidate, seed));
                    let threads = match begun {
                        Some(begun) if begun.result.is_some() => continue,
                        Some(begun) if live.contains(&begun.worker) => {
                            is_busy = true;
                            continue;
                        }
                        Some(begun) => begun.threads,
                        None => (total / live.len().max(workers)).max(1),
                    };
                    journal.append(Event::Confirming { candidate, seed, worker: name.clone(), threads })?;
                    return Ok(Task::Confirm { candidate, seed, threads });
                }
            }
            Ok(if is_busy { Task::Wait } else { Task::Nothing })
        })
    }

    fn run(&mut self, number: usize) -> Result<()> {
        let study = &mut *self.study;
        let trial = study.trials()[number].clone();
        let settings = study.space.settings(&trial.point);
        let folder = study.trial_folder(number);
        let (pruner, epochs) = (study.settings.pruner, study.settings.epochs);
        let (mut is_given_up, mut failure) = (false, None);
        let mut report = |epoch: Epoch| {
            // Decided under the lock, so that it is decided once.
            let decided = study.journal.locked(|journal| {
                if journal.book().trials[number].score_at(epoch.epoch).is_none() {
                    journal.append(Event::Epoch { trial: number, epoch })?;
                }
                let trials = &journal.book().trials;
                let stands = trials[number].epochs.last().is_some_and(|last| last.epoch == epoch.epoch);
                Ok(stands && pruner.gives_up(&trials[number], trials, epochs))
            });
            match decided {
                Ok(gives_up) => is_given_up = gives_up,
                Err(error) => failure = Some(error),
            }
            if is_given_up || failure.is_some() { Verdict::Stop } else { Verdict::GoOn }
        };
        let outcome = self.objective.run(&trial, &settings, &folder, &mut report);
        if let Some(error) = failure {
            return Err(error);
        }
        match outcome {
            Outcome::Ended(state) => self.study.record(Event::Ended { trial: number, state }),
            Outcome::Interrupted if is_given_up => {
                self.study.record(Event::Ended { trial: number, state: State::Pruned })
            }
            Outcome::Interrupted => self.study.record(Event::Released { trial: number }),
        }
    }

    fn confirm(&mut self, candidate: Candidate, seed: u64, threads: usize) -> Result<()> {
        let study = &mut *self.study;
        let settings = match candidate {
            Candidate::Start => Vec::new(),
            Candidate::Trial(number) => study.space.settings(&study.trials()[number].point),
        };
        let folder = study.confirmation_folder(candidate, seed);
        match self.objective.confirm(&settings, seed, threads, &folder) {
            Some(result) => self.study.record(Event::Confirmed { candidate, seed, result }),
            None => Ok(()),
        }
    }
}

/// A trial that is not done and whose worker has ended. Those that ended every worker are marked as failed.
fn abandoned_trial(journal: &mut Journal, live: &[String]) -> Result<Option<usize>> {
    loop {
        let mut trials = journal.book().trials.iter();
        let abandoned = trials.find(|trial| trial.state == State::Running && !live.contains(&trial.worker));
        let Some(trial) = abandoned else { return Ok(None) };
        let number = trial.number;
        let here = trial.taken_over_at.iter().filter(|epochs| **epochs == trial.epochs.len()).count();
        if here + 1 < ENDED_WORKERS {
            return Ok(Some(number));
        }
        let why = format!("{ENDED_WORKERS} workers ended while they ran it");
        journal.append(Event::Ended { trial: number, state: State::Failed(why) })?;
    }
}
