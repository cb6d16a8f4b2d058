//! What is compared: recipes, each with the runs that it was trained in.

use serde::Serialize;

use crate::{Answers, Confusion, Error, Evaluation, History, Result};

/// A recipe with its runs, which differ in their seed alone.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// What it is called; no other one is.
    pub name: String,
    /// At least one.
    pub runs: Vec<Run>,
}

/// A finished run, as its folder tells of it.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder.
    pub place: String,
    /// Of everything random in it, if anything was.
    pub seed: Option<u64>,
    /// Its figures on the test images.
    pub evaluation: Evaluation,
    /// What it said about each of them.
    pub answers: Answers,
    /// How training went; baselines may have no epochs.
    pub history: History,
    /// What it took.
    pub cost: Cost,
}

/// What a model costs; what is not known is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Wall-clock time of training.
    pub training_seconds: Option<f64>,
    /// Training throughput.
    pub training_images_per_second: Option<f64>,
    /// Throughput of prediction.
    pub prediction_images_per_second: Option<f64>,
    /// Numbers that the model file holds.
    pub parameters: Option<usize>,
    /// Size of the model file.
    pub file_bytes: Option<usize>,
}

impl Cost {
    /// The mean of what is known.
    fn mean(costs: &[Self]) -> Self {
        let mean = |figure: fn(&Self) -> Option<f64>| {
            let known: Vec<f64> = costs.iter().filter_map(figure).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        let whole = |mean: Option<f64>| mean.map(|mean| mean.round() as usize);
        Self {
            training_seconds: mean(|cost| cost.training_seconds),
            training_images_per_second: mean(|cost| cost.training_images_per_second),
            prediction_images_per_second: mean(|cost| cost.prediction_images_per_second),
            parameters: whole(mean(|cost| cost.parameters.map(|n| n as f64))),
            file_bytes: whole(mean(|cost| cost.file_bytes.map(|n| n as f64))),
        }
    }
}

impl Contestant {
    /// How many of its runs named image `i` correctly, for each image `[N]`.
    pub fn correct(&self) -> Vec<u32> {
        let right = |i| self.runs.iter().filter(|run| run.answers.is_correct(i)).count() as u32;
        (0..self.runs[0].answers.len()).map(right).collect()
    }

    /// A figure of each run.
    pub(crate) fn figures(&self, figure: impl Fn(&Evaluation) -> f64) -> Vec<f64> {
        self.runs.iter().map(|run| figure(&run.evaluation)).collect()
    }

    /// Which class was taken for which, all runs together.
    pub fn confusion(&self) -> Confusion {
        Confusion::sum(self.runs.iter().map(|run| &run.evaluation.confusion)).expect("a contestant has a run")
    }

    /// The mean of what is known of its runs' cost.
    pub fn cost(&self) -> Cost {
        Cost::mean(&self.runs.iter().map(|run| run.cost).collect::<Vec<_>>())
    }
}

/// Whether there is something to compare, and whether it can be.
pub(super) fn check(contestants: &[Contestant]) -> Result<()> {
    let mut runs = contestants.iter().flat_map(|contestant| &contestant.runs);
    let (Some(first), true) = (runs.next(), contestants.len() > 1) else {
        return Err(Error::NothingToCompare);
    };
    for other in runs {
        let (a, b) = (first.place.clone(), other.place.clone());
        if first.answers.class_names() != other.answers.class_names() {
            return Err(Error::OtherClasses { first: a, second: b });
        }
        if first.answers.labels() != other.answers.labels() {
            let images = |run: &Run| crate::thousands(run.answers.len());
            let sizes = [images(first), images(other)];
            return Err(Error::OtherImages { first: a, second: b, sizes });
        }
    }
    Ok(())
}
