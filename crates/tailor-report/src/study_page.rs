//! The page of a study: what the template fills in.

use askama::Template;

use crate::number::{counted, percent};
use crate::study::{Confirmation, ConfirmedScores, Fate, StudyReport, StudyTrial};
use crate::study_plots::{StudyPlots, front};
use crate::{Error, Result, page};

/// A study's `report.html`. Text is escaped by the template; only drawings and styles, made here, are not.
#[derive(Template)]
#[template(path = "study.html")]
pub(crate) struct StudyPage<'a> {
    style: String,
    title: &'a str,
    description: &'a str,
    headline: Headline,
    confirmation: Option<ConfirmationTable>,
    history: String,
    curves: String,
    search_remark: String,
    parallel: String,
    importance: Option<Importance>,
    slices: Vec<String>,
    pareto: String,
    front: Vec<FrontRow>,
    names: Vec<&'a str>,
    rows: Vec<Row<'a>>,
    best_settings: String,
    best_recipe: &'a str,
    facts: &'a [(String, String)],
    reproduce: &'a str,
    version: &'static str,
}

struct Headline {
    value: String,
    name: String,
    note: String,
    remark: String,
    tiles: Vec<Tile>,
}

struct Tile {
    name: &'static str,
    value: String,
    note: String,
}

struct ConfirmationTable {
    seeds: Vec<u64>,
    rows: Vec<ConfirmationRow>,
    remarks: Vec<String>,
    part: &'static str,
}

struct ConfirmationRow {
    name: &'static str,
    runs: Vec<String>,
    mean: String,
    validation: String,
    seconds: String,
}

struct Importance {
    svg: String,
    remark: String,
}

struct FrontRow {
    number: usize,
    seconds: String,
    accuracy: String,
    settings: String,
}

struct Row<'a> {
    number: usize,
    accuracy: String,
    fate: &'static str,
    why: &'a str,
    epochs: usize,
    seconds: String,
    values: Vec<String>,
    is_best: bool,
}

impl<'a> StudyPage<'a> {
    pub fn of(report: &'a StudyReport<'a>) -> Self {
        let plots = StudyPlots::new(report);
        let front = front(&report.trials).into_iter().map(|trial| front_row(report, trial));
        Self {
            style: page::style() + include_str!("../templates/study.css"),
            title: report.title,
            description: report.description,
            headline: headline(report),
            confirmation: report
                .confirmation
                .as_ref()
                .map(|confirmation| confirmation_table(report, confirmation)),
            history: plots.history().inline(),
            curves: plots.curves().inline(),
            search_remark: search_remark(report, plots.is_cut()),
            parallel: plots.parallel_coordinates().inline(),
            importance: report.importance.as_ref().map(|shares| Importance {
                svg: plots.importance(shares).inline(),
                remark: importance_remark(report, shares),
            }),
            slices: (0..report.parameters.len()).map(|position| plots.slice(position).inline()).collect(),
            pareto: plots.pareto().inline(),
            front: front.collect(),
            names: report.parameters.iter().map(|parameter| parameter.name.as_str()).collect(),
            rows: rows(report),
            best_settings: best(report).map(|trial| settings(report, trial)).unwrap_or_default(),
            best_recipe: report.best_recipe,
            facts: &report.facts,
            reproduce: report.reproduce,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The page as HTML.
    pub fn render(&self) -> Result<String> {
        Template::render(self).map_err(|error| Error::Draw(error.to_string()))
    }
}

fn best<'a>(report: &'a StudyReport) -> Option<&'a StudyTrial> {
    report.trials.iter().find(|trial| Some(trial.number) == report.best)
}

fn headline(report: &StudyReport) -> Headline {
    let counted_fates = |is: fn(&Fate) -> bool| report.trials.iter().filter(|trial| is(&trial.fate)).count();
    let pruned = counted_fates(|fate| *fate == Fate::Pruned);
    let failed = counted_fates(|fate| matches!(fate, Fate::Failed(_)));
    let seconds: f64 = report.trials.iter().map(|trial| trial.seconds).sum();
    let mut tiles = vec![
        Tile {
            name: "Trials",
            value: report.trials.len().to_string(),
            note: format!("{pruned} stopped early, {failed} failed"),
        },
        Tile { name: "Training time", value: duration(seconds), note: "of all trials together".into() },
    ];
    let searched = best(report).and_then(StudyTrial::accuracy);
    if let Some(accuracy) = searched {
        tiles.push(Tile {
            name: "Best in the search",
            value: percent(accuracy),
            note: format!("trial {}, on the validation part", report.best.unwrap_or_default()),
        });
    }
    let confirmation = report.confirmation.as_ref();
    if let Some(optimism) = confirmation.and_then(|confirmation| confirmation.optimism) {
        tiles.push(Tile {
            name: "Optimism",
            value: format!("{:.2}", 100.0 * optimism + 0.0),
            note: "points: best in the search less the mean of the winner".into(),
        });
    }
    let judged = confirmation
        .map(|confirmation| (confirmation, confirmation.winner.as_ref().unwrap_or(&confirmation.start)));
    match judged.and_then(|(confirmation, scores)| Some((confirmation, scores, scores.mean?))) {
        Some((confirmation, scores, mean)) => Headline {
            value: percent(mean),
            name: format!("accuracy of the winner on the {} part", confirmation.part),
            note: format!("mean of {}{}", counted(scores.runs.len(), "seed"), spread(scores.deviation)),
            remark: gain_remark(confirmation),
            tiles,
        },
        None => Headline {
            value: searched.map_or("–".into(), percent),
            name: "validation accuracy, the best of all trials".into(),
            note: "not confirmed".into(),
            remark: "This is the best of many trials on the part that they were chosen by, and so too good: the winner has not \
                     been trained with other seeds, and the test part has not been looked at."
                .into(),
            tiles,
        },
    }
}

/// Whether the winner is better, in words.
fn gain_remark(confirmation: &Confirmation) -> String {
    let part = confirmation.part;
    let Some(gain) = &confirmation.gain else {
        return match confirmation.winner {
            Some(_) => format!(
                "Winner and start have no finished seed in common, so the gain on the {part} part is not known."
            ),
            None => "No trial was better than the recipe that the study began with.".into(),
        };
    };
    let (more, amount) = (if gain.mean >= 0.0 { "more" } else { "less" }, points(gain.mean.abs()));
    let against = format!("The winner reaches {amount} {more} than the recipe that the study began with");
    match gain.interval {
        Some((low, high)) if low > 0.0 || high < 0.0 => {
            format!(
                "{against} (95 % interval {} to {}): more than chance between seeds.",
                points(low),
                points(high)
            )
        }
        Some((low, high)) => format!(
            "{against}, but between seeds that may be chance: the 95 % interval runs from {} to {}.",
            points(low),
            points(high)
        ),
        None => format!("{against}; from one seed alone it cannot be said whether that is chance."),
    }
}

fn confirmation_table(report: &StudyReport, confirmation: &Confirmation) -> ConfirmationTable {
    let all =
        [Some(("Start", &confirmation.start)), confirmation.winner.as_ref().map(|winner| ("Winner", winner))];
    let all: Vec<(&'static str, &ConfirmedScores)> = all.into_iter().flatten().collect();
    let mut seeds: Vec<u64> =
        all.iter().flat_map(|(_, scores)| scores.runs.iter().map(|run| run.0)).collect();
    seeds.sort();
    seeds.dedup();
    let row = |(name, scores): &(&'static str, &ConfirmedScores)| ConfirmationRow {
        name,
        runs: seeds
            .iter()
            .map(|seed| {
                scores.runs.iter().find(|run| run.0 == *seed).map_or("–".into(), |run| hundredths(run.2))
            })
            .collect(),
        mean: scores.mean.map_or("–".into(), |mean| match scores.deviation {
            Some(deviation) => format!("{} ± {:.2}", hundredths(mean), 100.0 * deviation),
            None => hundredths(mean),
        }),
        validation: scores.validation.map_or("–".into(), hundredths),
        seconds: scores.seconds.map_or("–".into(), duration),
    };
    let mut remarks = vec![format!(
        "Both were trained again from the beginning with seeds that the search had not seen; each seed draws other initial weights, \
         another order and other validation images. {} Every trial was chosen by the validation part.",
        match (confirmation.part, confirmation.candidates_tested) {
            ("test", ..=2) => "Only then, and once, was the test part looked at.".to_string(),
            ("test", more) => format!(
                "Only then was the test part looked at; as the study was extended, that happened for {more} candidates, \
                 which makes it a little less strict."
            ),
            _ =>
                "The data has no test part, so these are validation accuracies with other seeds.".to_string(),
        }
    )];
    if let (Some(optimism), Some(accuracy)) =
        (confirmation.optimism, best(report).and_then(StudyTrial::accuracy))
    {
        remarks.push(format!(
            "The search promised {}, {} {} than the winner's mean here: that is its optimism, from choosing the best of many and from \
             validation images that differ from those of the {} part.",
            percent(accuracy),
            points(optimism.abs()),
            if optimism >= 0.0 { "more" } else { "less" },
            confirmation.part
        ));
    }
    for (name, scores) in &all {
        for (seed, reason) in &scores.failures {
            remarks.push(format!("{name} with seed {seed} failed: {reason}."));
        }
    }
    ConfirmationTable {
        seeds: seeds.clone(),
        rows: all.iter().map(row).collect(),
        remarks,
        part: confirmation.part,
    }
}

fn search_remark(report: &StudyReport, is_cut: bool) -> String {
    let complete = report.trials.iter().filter(|trial| trial.fate == Fate::Complete).count();
    let mut remark = format!(
        "{} on {}, {} of them to the end. Filled dots are complete, hollow ones were stopped early, and the large one is the best.",
        counted(report.trials.len(), "trial"),
        report.data_name,
        complete
    );
    if is_cut {
        remark.push_str(" What is far below the rest stands at the lower edge.");
    }
    remark
}

fn importance_remark(report: &StudyReport, shares: &[f64]) -> String {
    let most = (0..shares.len()).max_by(|a, b| shares[*a].total_cmp(&shares[*b]));
    let together = (1.0 - shares.iter().sum::<f64>()).max(0.0);
    let first = most.map_or(String::new(), |most| {
        format!(
            "{} explains most: {} of the differences between trials. ",
            report.parameters[most].name,
            percent(shares[most])
        )
    });
    format!(
        "{first}{} come from parameters acting together. Computed by functional analysis of variance (fANOVA, Hutter et al. 2014) \
         over a random forest fitted to the ranks of all trials; with few trials it is a hint, not a proof.",
        percent(together)
    )
}

/// Each parameter of a trial and its value: `batch-size 64, lr 0.001`.
fn settings(report: &StudyReport, trial: &StudyTrial) -> String {
    let values = report.parameters.iter().zip(&trial.labels);
    let settings: Vec<String> =
        values.filter_map(|(p, label)| Some(format!("{} {}", p.name, label.as_ref()?))).collect();
    settings.join(", ")
}

fn front_row(report: &StudyReport, trial: &StudyTrial) -> FrontRow {
    FrontRow {
        number: trial.number,
        seconds: duration(trial.seconds),
        accuracy: trial.accuracy().map_or("–".into(), hundredths),
        settings: settings(report, trial),
    }
}

/// The table of all trials, the best first.
fn rows<'a>(report: &'a StudyReport<'a>) -> Vec<Row<'a>> {
    let mut trials: Vec<&StudyTrial> = report.trials.iter().collect();
    let order = |trial: &StudyTrial| match trial.fate {
        Fate::Complete => 0,
        Fate::Pruned => 1,
        Fate::Running => 2,
        Fate::Failed(_) => 3,
    };
    let accuracy = |trial: &StudyTrial| trial.accuracy().unwrap_or(0.0);
    trials.sort_by(|a, b| order(a).cmp(&order(b)).then(accuracy(b).total_cmp(&accuracy(a))));
    let row = |trial: &'a StudyTrial| Row {
        number: trial.number,
        accuracy: trial.accuracy().map_or("–".into(), hundredths),
        fate: match trial.fate {
            Fate::Complete => "complete",
            Fate::Pruned => "stopped early",
            Fate::Running => "not done",
            Fate::Failed(_) => "failed",
        },
        why: if let Fate::Failed(why) = &trial.fate { why } else { "" },
        epochs: trial.accuracies.len(),
        seconds: duration(trial.seconds),
        values: trial.labels.iter().map(|label| label.clone().unwrap_or_else(|| "–".into())).collect(),
        is_best: Some(trial.number) == report.best,
    };
    trials.into_iter().map(row).collect()
}

fn spread(deviation: Option<f64>) -> String {
    deviation.map_or(String::new(), |deviation| format!(", standard deviation {}", points(deviation)))
}

/// A difference of accuracies: `0.31 points`.
fn points(difference: f64) -> String {
    format!("{:.2}\u{202f}points", 100.0 * difference + 0.0)
}

fn hundredths(accuracy: f64) -> String {
    format!("{:.2}\u{202f}%", 100.0 * accuracy)
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1}\u{202f}s"),
        s if s < 7200.0 => format!("{:.1}\u{202f}min", s / 60.0),
        s => format!("{:.1}\u{202f}h", s / 3600.0),
    }
}
