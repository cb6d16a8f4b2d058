//! What is known of a trial, and of the runs that confirm the winner.

use serde::{Deserialize, Serialize};

use crate::Point;

/// One set of values, and how training with them went.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// From 0, in the order of their beginning.
    pub number: usize,
    /// The values.
    pub point: Point,
    /// All whole epochs.
    pub epochs: Vec<Epoch>,
    /// How it stands.
    pub state: State,
    /// Threads that compute it: the same also when it is taken over.
    pub threads: usize,
    /// Who works on it, or did last; empty when it was left in good order.
    pub worker: String,
    /// At how many epochs it stood each time that it was taken over from a worker that had ended.
    pub taken_over_at: Vec<usize>,
}

/// One epoch of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// The validation score of the weights that would be kept if the trial ended here; higher is better.
    pub score: f64,
    /// Spent on this epoch.
    pub seconds: f64,
}

/// How a trial stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A worker has it, or had it when it ended.
    Running,
    /// All epochs are done.
    Complete,
    /// Stopped because others did better.
    Pruned,
    /// The loss was no longer finite; says where.
    Diverged(String),
    /// The settings are impossible together, or the worker failed; says why.
    Failed(String),
}

/// How an objective left a trial.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// For good.
    Ended(State),
    /// The user wants to stop; the trial goes on later.
    Interrupted,
}

/// How work on a study ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There is nothing left to do.
    Finished,
    /// The user asked to stop.
    Interrupted,
}

impl Trial {
    /// The score of the weights that are kept so far.
    pub fn score(&self) -> Option<f64> {
        self.epochs.last().map(|epoch| epoch.score)
    }

    /// The score it had after `epoch` (from 1), if it came so far.
    pub fn score_at(&self, epoch: usize) -> Option<f64> {
        self.epochs.iter().find(|record| record.epoch == epoch).map(|record| record.score)
    }

    /// Spent on all its epochs.
    pub fn seconds(&self) -> f64 {
        self.epochs.iter().map(|epoch| epoch.seconds).sum()
    }
}

/// What is trained again to see what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Candidate {
    /// The settings that the study began with.
    Start,
    /// Those of a trial.
    Trial(usize),
}

/// A candidate trained with one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    /// What was trained.
    pub candidate: Candidate,
    /// With which seed.
    pub seed: u64,
    /// What came of it; none while a worker is at it.
    pub result: Option<Result<Confirmed, String>>,
    /// Who works on it, or did last.
    pub worker: String,
    /// Threads that compute it.
    pub threads: usize,
}

/// The figures of a confirming run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The score on the validation part.
    pub validation: f64,
    /// The score on the test part; none where the data has none.
    pub test: Option<f64>,
    /// Images of the test part.
    pub test_images: usize,
    /// Epochs trained.
    pub epochs: usize,
    /// Training time.
    pub seconds: f64,
}
