//! A study's page: the same network trained in several ways, each with several seeds.

mod chart;
mod page;
mod words;

use tailor_eval::History;

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

    /// A validation accuracy that every run reaches, unless it diverged, in whole per cent of 1: what it takes to get there
    /// tells how fast each one learns.
    fn target(&self) -> f64 {
        let epochs = self.epochs();
        let whole =
            self.variants.iter().flat_map(|variant| &variant.runs).filter(|run| run.0.len() == epochs);
        let best =
            whole.map(|run| run.0.iter().filter_map(|record| record.validation_accuracy).fold(0.0, f64::max));
        (100.0 * best.fold(1.0, f64::min)).floor() / 100.0
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

    /// When each run reached this validation accuracy, in epochs, on straight lines between them; none if one never did.
    fn epochs_to(&self, accuracy: f64) -> Option<Vec<f64>> {
        self.runs.iter().map(|run| crossing(run, accuracy)).collect()
    }

    /// Runs that ended before the others of the study.
    fn diverged(&self, epochs: usize) -> usize {
        self.runs.iter().filter(|run| run.0.len() < epochs).count()
    }
}

/// When a run reached a validation accuracy. Before the first epoch nothing is known of it.
fn crossing(run: &History, target: f64) -> Option<f64> {
    let points: Vec<(f64, f64)> = (run.0.iter())
        .filter_map(|record| Some((record.epoch as f64, record.validation_accuracy?)))
        .collect();
    let position = points.iter().position(|(_, accuracy)| *accuracy >= target)?;
    let (epoch, accuracy) = points[position];
    Some(match position.checked_sub(1).map(|before| points[before]) {
        Some((before, lower)) => before + (epoch - before) * (target - lower) / (accuracy - lower),
        None => epoch,
    })
}

#[cfg(test)]
mod tests;
