//! What a comparison says, in sentences. Names stand in backticks.

use super::{Comparison, Difference, ImagesTest, RUNS_FOR_SEEDS, SIGNIFICANT, Verdict};
use crate::thousands;

/// A difference is said to lie mostly in so many classes at most.
const NAMED_CLASSES: usize = 3;
/// Recipes that are named at most, where more are meant.
const NAMED_RECIPES: usize = 3;
/// A class in which the better one loses this share of its lead is named too.
const SETBACK: f64 = 0.2;

impl Comparison {
    /// A difference in a sentence: "`a` is better than `b` by 3.1 ± 0.5 points; most of it in Shirt and Pullover; this is
    /// not luck (p < 0.001)." Or that it may be luck, and which.
    pub fn sentence(&self, difference: &Difference) -> String {
        let name = |place: usize| format!("`{}`", self.standings[place].name);
        let (first, second) = (name(difference.first), name(difference.second));
        let points = points(difference);
        match difference.verdict() {
            Verdict::Better => format!(
                "{first} is better than {second} by {points} points{}; {}.",
                self.classes_of(difference),
                not_luck(difference)
            ),
            Verdict::MayBeLuck => {
                format!("{first} is {points} points ahead of {second}, which may be {}.", luck(difference))
            }
            Verdict::Equal => format!("{first} and {second} are right equally often."),
        }
    }

    /// In which classes the difference lies: "; most of it in Shirt and Pullover".
    fn classes_of(&self, difference: &Difference) -> String {
        let lead = difference.accuracy;
        let share = |class: usize| difference.classes[class].accuracy / lead;
        let mut order: Vec<usize> = (0..difference.classes.len()).collect();
        order.sort_by(|&a, &b| share(b).total_cmp(&share(a)));
        let mut sum = 0.0;
        let most = order.iter().take_while(|&&class| {
            let is_needed = sum < 0.5;
            sum += share(class);
            is_needed
        });
        let most: Vec<&str> = most.map(|&class| self.class_names[class].as_str()).collect();
        let most = match most.len() <= NAMED_CLASSES && 2 * most.len() < order.len() {
            true => format!("; most of it in {}", listed(&most)),
            false => "; spread over the classes".to_owned(),
        };
        let setbacks = order.iter().rev().take(NAMED_CLASSES).filter(|&&class| share(class) < -SETBACK);
        let setbacks: Vec<&str> = setbacks.map(|&class| self.class_names[class].as_str()).collect();
        match setbacks.is_empty() {
            true => most,
            false => format!("{most}, but it is worse in {}", listed(&setbacks)),
        }
    }

    /// What the intervals and tests are, and what they do not cover, a sentence or two each.
    pub fn caveats(&self) -> Vec<String> {
        let pairs = self.differences.len();
        let correction = match pairs {
            1 => String::new(),
            pairs => format!(" p is corrected for {pairs} comparisons by Holm's method."),
        };
        let mut caveats = vec![format!(
            "Intervals are of 95 % and over the test images: Wilson's of an accuracy, the paired bootstrap's of a difference ({} \
             resamplings of the {} images, seed {}). They say what other images of the same kind would change for the models \
             that were trained, and cover neither other seeds nor other data.",
            thousands(self.bootstrap_draws),
            thousands(self.images),
            self.bootstrap_seed
        )];
        caveats.push(format!("{}{correction}", self.tests()));
        let few = |place: &usize| self.standings[*place].runs.len() < RUNS_FOR_SEEDS;
        let few: Vec<String> = (0..self.standings.len())
            .filter(few)
            .filter(|&place| self.standings[place].seeds.iter().any(Option::is_some))
            .map(|place| format!("`{}`", self.standings[place].name))
            .collect();
        if !few.is_empty() {
            let names: Vec<&str> = few.iter().map(String::as_str).collect();
            let few = match few.len() {
                0..=NAMED_RECIPES => listed(&names),
                n => format!("{n} recipes"),
            };
            caveats.push(format!(
                "With fewer than {RUNS_FOR_SEEDS} runs ({}), luck of the seeds is unknown: train with --seed 1, 2 and 3 before \
                 choosing a recipe by a small difference.",
                few
            ));
        }
        caveats
    }

    /// Which tests were made.
    fn tests(&self) -> String {
        let any = |test: fn(&Difference) -> bool| self.differences.iter().any(test);
        let mut tests = Vec::new();
        if any(|difference| matches!(difference.images, ImagesTest::McNemar(_))) {
            tests.push("Two single runs are compared by McNemar's exact test.");
        }
        if any(|difference| matches!(difference.images, ImagesTest::PairedT(_))) {
            tests.push(
                "Runs of one recipe are averaged, ± is their standard deviation over the seeds, and a paired t-test over the \
                 images compares their mean correctness.",
            );
        }
        if any(|difference| difference.seeds.is_some()) {
            tests.push(
                "With three seeds or more on both sides, Welch's t-test over the runs' accuracies has to agree: the larger p \
                 counts.",
            );
        }
        tests.join(" ")
    }
}

/// "3.1 ± 0.5": the lead and half the width of its interval, with as many decimals as tell it from 0.
fn points(difference: &Difference) -> String {
    let (lead, half_width) =
        (100.0 * difference.accuracy, 50.0 * (difference.interval.high - difference.interval.low));
    let decimals = if lead < 0.1 || half_width < 0.1 { 2 } else { 1 };
    format!("{lead:.decimals$} ± {half_width:.decimals$}")
}

fn not_luck(difference: &Difference) -> String {
    let p = probability(difference.corrected_p);
    match difference.seeds {
        Some(_) => format!("this is not luck ({p})"),
        None => format!("this is not luck of the images ({p})"),
    }
}

fn luck(difference: &Difference) -> String {
    let p = probability(difference.corrected_p);
    match difference.seeds {
        Some(seeds) if seeds.p >= difference.images.p() && difference.images.p() < SIGNIFICANT => {
            let images = probability(difference.images.p());
            format!("luck of the seeds ({p}), though hardly of the images ({images} uncorrected)")
        }
        _ => format!("luck ({p})"),
    }
}

/// A p-value in words: "p = 0.031", "p < 0.001".
pub(super) fn probability(p: f64) -> String {
    match p {
        p if p < 0.001 => "p < 0.001".to_owned(),
        p if p > 0.999 => "p > 0.999".to_owned(),
        p => format!("p = {p:.3}"),
    }
}

/// "a", "a and b", "a, b and c".
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}
