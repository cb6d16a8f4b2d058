//! Models beside each other: which is better, by how much, and whether that is luck.
//!
//! All models answered the same images, so they are compared image by image: what both get right or both get wrong cancels
//! out, and far smaller differences can be told from luck than by two accuracies with their intervals.
//!
//! Luck has two sources. **Images**: on other test images of the same kind, the difference would be another one. McNemar's
//! exact test (two single runs) or a paired t-test over the images (correctness averaged over the runs) says whether it
//! could be none, and the bootstrap interval says how large it may be, for the very models that were trained.
//! **Seeds**: trained again with other seeds, the recipes would yield other models. Only several runs can tell; with three or
//! more on both sides, Welch's t-test over the runs' accuracies does. Where both tests were made, a difference counts
//! only if it passes both: its p is the larger one. Holm's method corrects it for the number of pairs.

mod bootstrap;
mod contestant;
mod holm;
mod mcnemar;
mod pareto;
mod students_t;
mod table;
mod words;

pub use bootstrap::percentile_interval;
pub use contestant::{Contestant, Cost, Run};
pub use holm::holm;
pub use mcnemar::McNemar;
pub use pareto::pareto_front;
pub use students_t::TTest;

use bootstrap::Bootstrap;
use serde::Serialize;

use crate::{Evaluation, Interval, Result};

/// Resampled test sets behind each interval.
const DRAWS: usize = 10_000;
/// Which they are: always the same, so that the same runs give the same figures.
const SEED: u64 = 1;
/// Runs that both sides need before their seeds are tested.
const RUNS_FOR_SEEDS: usize = 3;
/// A difference with a smaller corrected p is not called luck.
const SIGNIFICANT: f64 = 0.05;

/// Every figure of several models on the same images. The same runs give the same bits.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Number of test images.
    pub images: usize,
    /// The classes' names, in the order of the labels.
    pub class_names: Vec<String>,
    /// Resampled test sets behind each interval.
    pub bootstrap_draws: usize,
    /// The seed of the resampling.
    pub bootstrap_seed: u64,
    /// The figures of each recipe, highest accuracy first.
    pub standings: Vec<Standing>,
    /// Every two of them, in the order of the standings.
    pub differences: Vec<Difference>,
    /// What was compared, in the order of the standings.
    #[serde(skip)]
    pub contestants: Vec<Contestant>,
}

/// The figures of a recipe over its runs. Shares are fractions of 1.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// What it is called.
    pub name: String,
    /// The folders of its runs.
    pub runs: Vec<String>,
    /// Their seeds.
    pub seeds: Vec<Option<u64>>,
    /// The share of images that were named correctly.
    pub accuracy: Spread,
    /// Its 95 % interval over the images (Wilson). Of the mean of several runs it is a little too wide, as if they all made
    /// the same mistakes.
    pub accuracy_interval: Interval,
    /// The mean of the classes' F1.
    pub macro_f1: Spread,
    /// The mean of -ln p(true class), in nats.
    pub loss: Spread,
    /// The share of each class that was recognized, mean over the runs `[K]`.
    pub recall: Vec<f64>,
    /// The mean of what is known of the runs' cost.
    pub cost: Cost,
}

/// A figure over several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (n - 1 in the denominator); none of one run.
    pub deviation: Option<f64>,
}

/// How two recipes differ.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The one of higher accuracy: its place in the standings.
    pub first: usize,
    /// The other one.
    pub second: usize,
    /// The accuracy of the first less that of the second, of 1.
    pub accuracy: f64,
    /// Its 95 % interval over the images (paired bootstrap), for the models that were trained.
    pub interval: Interval,
    /// Could it be luck of the images?
    pub images: ImagesTest,
    /// Could it be luck of the seeds? Welch's t-test over the runs' accuracies, with three runs or more on both sides.
    pub seeds: Option<TTest>,
    /// The larger of both tests' p.
    pub p: f64,
    /// Corrected for the number of pairs (Holm).
    pub corrected_p: f64,
    /// Who was right on how many images, mean over all pairs of runs.
    pub agreement: Agreement,
    /// Class by class, in the order of the labels `[K]`.
    pub classes: Vec<ClassDifference>,
}

/// Whether a difference could be luck of the images.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "test", rename_all = "kebab-case")]
pub enum ImagesTest {
    /// Of two runs.
    #[serde(rename = "mcnemar")]
    McNemar(McNemar),
    /// Over the images, of correctness averaged over the runs.
    PairedT(TTest),
}

/// Who was right on how many images; whole numbers for two single runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Both.
    pub both: f64,
    /// Only the first.
    pub only_first: f64,
    /// Only the second.
    pub only_second: f64,
    /// Neither.
    pub neither: f64,
}

/// How two recipes differ on the images of a class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassDifference {
    /// The recall of the first less that of the second, of 1.
    pub recall: f64,
    /// What the class adds to the difference of accuracies, of 1.
    pub accuracy: f64,
}

/// What a difference amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first is better, and that is not luck.
    Better,
    /// The first is ahead, which may be luck.
    MayBeLuck,
    /// Both are right equally often.
    Equal,
}

impl Comparison {
    /// Compares every two of `contestants`.
    ///
    /// # Errors
    /// Fewer than two contestants, or runs on other images or classes.
    pub fn of(mut contestants: Vec<Contestant>) -> Result<Self> {
        contestant::check(&contestants)?;
        let mean = |contestant: &Contestant, figure: fn(&Evaluation) -> f64| {
            Spread::of(&contestant.figures(figure)).mean
        };
        contestants.sort_by(|a, b| {
            let higher_accuracy = mean(b, accuracy).total_cmp(&mean(a, accuracy));
            let lower_loss = || mean(a, |e| e.loss).total_cmp(&mean(b, |e| e.loss));
            higher_accuracy.then_with(lower_loss).then_with(|| a.name.cmp(&b.name))
        });
        let correct: Vec<Vec<u32>> = contestants.iter().map(Contestant::correct).collect();
        let runs: Vec<usize> = contestants.iter().map(|contestant| contestant.runs.len()).collect();
        let bootstrap = Bootstrap::over_images(&correct, &runs, DRAWS, SEED);
        let pairs = (0..contestants.len()).flat_map(|a| (a + 1..contestants.len()).map(move |b| (a, b)));
        let mut differences: Vec<Difference> = pairs
            .map(|(a, b)| {
                let interval = bootstrap.difference(a, b);
                let side = |place: usize| (place, &contestants[place], correct[place].as_slice());
                Difference::of(side(a), side(b), interval)
            })
            .collect();
        let corrected = holm(&differences.iter().map(|difference| difference.p).collect::<Vec<_>>());
        differences.iter_mut().zip(corrected).for_each(|(difference, p)| difference.corrected_p = p);
        let answers = &contestants[0].runs[0].answers;
        Ok(Self {
            images: answers.len(),
            class_names: answers.class_names().to_vec(),
            bootstrap_draws: DRAWS,
            bootstrap_seed: SEED,
            standings: contestants.iter().map(Standing::of).collect(),
            differences,
            contestants,
        })
    }

    /// How the contestants at two places of the standings differ, the better one first.
    pub fn difference(&self, a: usize, b: usize) -> Option<&Difference> {
        let pair = (a.min(b), a.max(b));
        self.differences.iter().find(|difference| (difference.first, difference.second) == pair)
    }
}

fn accuracy(evaluation: &Evaluation) -> f64 {
    evaluation.accuracy
}

impl Spread {
    /// # Panics
    /// Without values.
    fn of(values: &[f64]) -> Self {
        assert!(!values.is_empty(), "a contestant has a run");
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        Self { mean, deviation: (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()) }
    }
}

impl Standing {
    fn of(contestant: &Contestant) -> Self {
        let spread = |figure: fn(&Evaluation) -> f64| Spread::of(&contestant.figures(figure));
        let images = contestant.runs[0].evaluation.images;
        let correct = (spread(accuracy).mean * images as f64).round() as usize;
        Self {
            name: contestant.name.clone(),
            runs: contestant.runs.iter().map(|run| run.place.clone()).collect(),
            seeds: contestant.runs.iter().map(|run| run.seed).collect(),
            accuracy: spread(accuracy),
            accuracy_interval: Interval::wilson(correct, images),
            macro_f1: spread(|evaluation| evaluation.macro_average.f1),
            loss: spread(|evaluation| evaluation.loss),
            recall: recall(contestant),
            cost: contestant.cost(),
        }
    }
}

/// The mean recall of each class `[K]`.
fn recall(contestant: &Contestant) -> Vec<f64> {
    let classes = 0..contestant.runs[0].evaluation.per_class.len();
    classes.map(|class| Spread::of(&contestant.figures(|e| e.per_class[class].recall)).mean).collect()
}

/// A place in the standings, who stands there, and how many of its runs got each image right.
type Side<'a> = (usize, &'a Contestant, &'a [u32]);

impl Difference {
    /// Two contestants, the better one first; `corrected_p` is left for all pairs together.
    fn of((place_a, a, correct_a): Side<'_>, (place_b, b, correct_b): Side<'_>, interval: Interval) -> Self {
        let (runs_a, runs_b) = (a.runs.len() as f64, b.runs.len() as f64);
        let shares =
            || correct_a.iter().zip(correct_b).map(|(&a, &b)| (f64::from(a) / runs_a, f64::from(b) / runs_b));
        let agreement = Agreement::of(shares());
        let images = match (a.runs.len(), b.runs.len()) {
            // Of two runs, all counts are whole.
            (1, 1) => ImagesTest::McNemar(McNemar::exact(
                agreement.only_first as usize,
                agreement.only_second as usize,
            )),
            _ => ImagesTest::PairedT(TTest::paired(&shares().map(|(a, b)| a - b).collect::<Vec<_>>())),
        };
        let seeds = (a.runs.len().min(b.runs.len()) >= RUNS_FOR_SEEDS)
            .then(|| TTest::welch(&a.figures(accuracy), &b.figures(accuracy)));
        let p = seeds.map_or(images.p(), |seeds| seeds.p.max(images.p()));
        let first_run = &a.runs[0].evaluation;
        let classes =
            recall(a).into_iter().zip(recall(b)).zip(&first_run.per_class).map(|((a, b), class)| {
                let share = class.support as f64 / first_run.images as f64;
                ClassDifference { recall: a - b, accuracy: (a - b) * share }
            });
        Self {
            first: place_a,
            second: place_b,
            accuracy: Spread::of(&a.figures(accuracy)).mean - Spread::of(&b.figures(accuracy)).mean,
            interval,
            images,
            seeds,
            p,
            corrected_p: p,
            agreement,
            classes: classes.collect(),
        }
    }

    /// What it amounts to.
    pub fn verdict(&self) -> Verdict {
        let ahead = self.agreement.only_first - self.agreement.only_second;
        if ahead.abs() < 1e-6 {
            Verdict::Equal // of several runs, up to rounding
        } else if self.corrected_p < SIGNIFICANT {
            Verdict::Better
        } else {
            Verdict::MayBeLuck
        }
    }
}

impl Agreement {
    /// Sums over the images, from the shares of either side's runs that got an image right.
    fn of(shares: impl Iterator<Item = (f64, f64)>) -> Self {
        let none = Self { both: 0.0, only_first: 0.0, only_second: 0.0, neither: 0.0 };
        shares.fold(none, |sum, (a, b)| Self {
            both: sum.both + a * b,
            only_first: sum.only_first + a * (1.0 - b),
            only_second: sum.only_second + (1.0 - a) * b,
            neither: sum.neither + (1.0 - a) * (1.0 - b),
        })
    }
}

impl ImagesTest {
    /// The probability of a difference at least as large if there were none.
    pub fn p(&self) -> f64 {
        match self {
            Self::McNemar(test) => test.p,
            Self::PairedT(test) => test.p,
        }
    }
}
