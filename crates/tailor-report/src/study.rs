//! What the page of a study is made of.

use crate::Result;
use crate::study_page::StudyPage;

/// Everything that a study's page shows. Accuracies are shares of 1 on the validation part unless they say otherwise.
pub struct StudyReport<'a> {
    /// The heading.
    pub title: &'a str,
    /// A line beneath it.
    pub description: &'a str,
    /// The data set.
    pub data_name: &'a str,
    /// What varied.
    pub parameters: Vec<StudyParameter>,
    /// All trials, by number.
    pub trials: Vec<StudyTrial>,
    /// The number of the complete trial with the highest accuracy.
    pub best: Option<usize>,
    /// For each parameter, the share of the differences that it explains alone.
    pub importance: Option<Vec<f64>>,
    /// The winner and the start, trained again; none before that is done.
    pub confirmation: Option<Confirmation>,
    /// The winner as a recipe, as TOML; empty without one.
    pub best_recipe: &'a str,
    /// How it was searched: a name and a value each.
    pub facts: Vec<(String, String)>,
    /// The commands that lead here.
    pub reproduce: &'a str,
}

/// Something that varied.
#[derive(Clone, Debug)]
pub struct StudyParameter {
    /// Its key in the recipe.
    pub key: String,
    /// As short as it can be told from the others.
    pub name: String,
    /// Its values.
    pub scale: ParameterScale,
}

/// The values of a parameter.
#[derive(Clone, Debug)]
pub enum ParameterScale {
    /// Numbers from one to another.
    Linear(f64, f64),
    /// Numbers from one to another, by their ratios.
    Logarithmic(f64, f64),
    /// One of these.
    Choices(Vec<String>),
}

/// One trial.
#[derive(Clone, Debug)]
pub struct StudyTrial {
    /// From 0.
    pub number: usize,
    /// How it went.
    pub fate: Fate,
    /// For each parameter its number or the position of its choice; none where it does not exist.
    pub values: Vec<Option<f64>>,
    /// For each parameter its value in words.
    pub labels: Vec<Option<String>>,
    /// After each epoch, that of the weights kept so far.
    pub accuracies: Vec<f64>,
    /// Training time.
    pub seconds: f64,
}

/// How a trial went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All epochs are done.
    Complete,
    /// Stopped early because others did better.
    Pruned,
    /// Stopped by something else; says by what.
    Failed(String),
    /// Not done yet.
    Running,
}

/// What the winner is worth.
#[derive(Clone, Debug)]
pub struct Confirmation {
    /// On which part the accuracies below are: "test", or "validation" where the data has no test part.
    pub part: &'static str,
    /// The recipe that the study began with.
    pub start: ConfirmedScores,
    /// The winner; none if that is the start itself.
    pub winner: Option<ConfirmedScores>,
    /// How much better the winner is, seed by seed.
    pub gain: Option<GainOverStart>,
    /// The best validation accuracy of the search less the winner's mean on `part`.
    pub optimism: Option<f64>,
    /// Candidates whose accuracy on the test part was looked at in this study.
    pub candidates_tested: usize,
}

/// Accuracies of a candidate over seeds.
#[derive(Clone, Debug)]
pub struct ConfirmedScores {
    /// Seed, validation accuracy, accuracy on the part that counts.
    pub runs: Vec<(u64, f64, f64)>,
    /// Runs that failed: seed and reason.
    pub failures: Vec<(u64, String)>,
    /// Mean on the validation part.
    pub validation: Option<f64>,
    /// Mean on the part that counts.
    pub mean: Option<f64>,
    /// Its standard deviation.
    pub deviation: Option<f64>,
    /// Mean training time.
    pub seconds: Option<f64>,
}

/// A mean difference.
#[derive(Clone, Copy, Debug)]
pub struct GainOverStart {
    /// Its mean over the seeds.
    pub mean: f64,
    /// The 95 % interval of that mean, after Student's t over pairs of the same seed.
    pub interval: Option<(f64, f64)>,
}

impl StudyTrial {
    /// That of the weights kept, if an epoch was done.
    pub fn accuracy(&self) -> Option<f64> {
        self.accuracies.last().copied()
    }
}

/// Renders a study as one HTML page that needs nothing else. The same study gives the same page, byte for byte.
///
/// # Errors
/// None but defects of the template.
pub fn study_html(report: &StudyReport<'_>) -> Result<String> {
    StudyPage::of(report).render()
}
