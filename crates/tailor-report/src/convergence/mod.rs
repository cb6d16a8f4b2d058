//! A study's page: the same network trained in several ways, each with several seeds.

mod chart;
mod page;
mod words;

use tailor_eval::{History, Spread};

use crate::Result;

/// What was trained, and what is asked of it. Only the validation part is looked at.
pub struct Convergence<'a> {
    /// The heading.
    pub title: &'a str,
    /// A line beneath it: what was trained, on what, for how long.
    pub description: &'a str,
    /// All ways to train, each with as many runs as there are seeds.
    pub variants: Vec<Variant>,
    /// What the page answers, in this order.
    pub questions: Vec<Question>,
    /// A name and a value each.
    pub facts: Vec<(String, String)>,
    /// The commands that lead to the same figures, a line each.
    pub reproduce: &'a str,
}

/// One way to train.
pub struct Variant {
    /// What distinguishes it: "batch norm, augmentation".
    pub name: String,
    /// The epochs of each seed's run, in the same order of seeds for all variants. One that diverged has fewer.
    pub runs: Vec<History>,
}

/// A question, with the variants that answer it.
pub struct Question {
    /// The heading: "Initialization".
    pub title: String,
    /// Positions in the study, up to six.
    pub variants: Vec<usize>,
    /// Who is compared with whom.
    pub comparisons: Vec<Comparison>,
}

/// Two variants that differ in one thing.
pub struct Comparison {
    /// Positions in the study: the one with it, and the one without.
    pub variants: [usize; 2],
    /// What it is, in words: "Batch norm, without augmentation".
    pub what: String,
}

/// Renders the study as one HTML page that needs nothing else.
///
/// # Errors
/// The page cannot be rendered.
pub fn convergence_html(study: &Convergence) -> Result<String> {
    page::html(study)
}

/// What the page says in words: for each question its heading and a sentence for each comparison.
pub fn convergence_words(study: &Convergence) -> Vec<(String, Vec<String>)> {
    let target = study.target();
    let sentences = |question: &Question| {
        question.comparisons.iter().map(|comparison| words::compared(study, comparison, target)).collect()
    };
    study.questions.iter().map(|question| (question.title.clone(), sentences(question))).collect()
}

impl Convergence<'_> {
    /// The longest run's epochs.
    fn epochs(&self) -> usize {
        self.variants.iter().flat_map(|variant| &variant.runs).map(|run| run.0.len()).max().unwrap_or(0)
    }

    /// An accuracy that every variant reaches on average, in whole per cent of 1: what it takes to get there tells how
    /// fast each one learns.
    fn target(&self) -> f64 {
        let ends = self.variants.iter().filter_map(|variant| Spread::of(&variant.final_accuracies()?));
        let lowest = ends.map(|spread| spread.mean).fold(1.0, f64::min);
        (100.0 * lowest).floor() / 100.0
    }
}

impl Variant {
    /// Validation accuracy of each run after its last epoch; none if one of them diverged.
    fn final_accuracies(&self) -> Option<Vec<f64>> {
        let epochs = self.runs.iter().map(|run| run.0.len()).max()?;
        self.runs
            .iter()
            .map(|run| run.0.last().filter(|_| run.0.len() == epochs)?.validation_accuracy)
            .collect()
    }

    /// The first epoch of each run that reached this validation accuracy; none if one of them never did.
    fn epochs_to(&self, accuracy: f64) -> Option<Vec<f64>> {
        let reached = |run: &History| {
            let first = run.0.iter().find(|record| record.validation_accuracy.is_some_and(|a| a >= accuracy));
            first.map(|record| record.epoch as f64)
        };
        self.runs.iter().map(reached).collect()
    }

    /// Runs that ended before the others of the study.
    fn diverged(&self, epochs: usize) -> usize {
        self.runs.iter().filter(|run| run.0.len() < epochs).count()
    }
}

#[cfg(test)]
mod tests;
