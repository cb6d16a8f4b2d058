//! What a study leaves: the best recipe, all trials as a table, and the page.

use std::io::Write;

use tailor_report::{
    Confirmation, ConfirmedScores, Fate, GainOverStart, ParameterScale, StudyParameter, StudyReport,
    StudyTrial, study_html,
};
use tailor_train::Recipe;
use tailor_tune::gain::Scores;
use tailor_tune::importance::importance;
use tailor_tune::{Candidate, Domain, Parameter, State, Study, Trial};

use super::experiment::with_settings;
use super::watch::{full_names, short_names};
use crate::Context;

/// Names of the files in a study's folder.
mod files {
    pub const BEST: &str = "best.toml";
    pub const TRIALS: &str = "trials.csv";
    pub const REPORT: &str = "report.html";
}

/// Writes everything that can be said about a study as it stands.
pub fn write(study: &Study, recipe: &Recipe, context: &Context) -> anyhow::Result<()> {
    let best = best_recipe(study, recipe)?;
    if let Some(best) = &best {
        study.write(files::BEST, best)?;
    }
    study.write(files::TRIALS, &trials_csv(study)?)?;
    study.write(files::REPORT, &page(study, recipe, best.as_deref().unwrap_or_default(), context)?)?;
    Ok(())
}

/// Prints what was found, and where.
pub fn print(study: &Study, quiet: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let Some(best) = study.best() else {
        writeln!(out, "no trial came to its end; {} says why", study.folder().join(files::REPORT).display())?;
        return Ok(());
    };
    let values: Vec<String> =
        study.space.labels(&best.point).iter().map(|(key, value)| format!("{key}={value}")).collect();
    writeln!(
        out,
        "best: trial {}, validation accuracy {:.2} %",
        best.number,
        100.0 * best.score().unwrap_or(0.0)
    )?;
    writeln!(out, "      {}", values.join(" "))?;
    if let Some(confirmation) = confirmation(study) {
        print_confirmation(&mut out, &confirmation)?;
    }
    if !quiet {
        writeln!(out, "recipe: {}", study.folder().join(files::BEST).display())?;
        writeln!(out, "report: {}", study.folder().join(files::REPORT).display())?;
    }
    Ok(())
}

fn print_confirmation(out: &mut impl Write, confirmation: &Confirmation) -> std::io::Result<()> {
    let part = confirmation.part;
    let line = |name: &str, scores: &ConfirmedScores| {
        let spread =
            scores.deviation.map_or(String::new(), |deviation| format!(" ± {:.2}", 100.0 * deviation));
        let mean = scores.mean.map_or("–".into(), |mean| format!("{:.2}{spread} %", 100.0 * mean));
        format!("{name:<7} {part} accuracy {mean} over {} fresh seeds", scores.runs.len())
    };
    writeln!(out, "{}", line("start", &confirmation.start))?;
    if let Some(winner) = &confirmation.winner {
        writeln!(out, "{}", line("winner", winner))?;
    }
    if let Some(gain) = &confirmation.gain {
        let interval = gain.interval.map_or("from one seed".into(), |(low, high)| {
            format!("95 % interval {:+.2} to {:+.2}", 100.0 * low, 100.0 * high)
        });
        writeln!(out, "gain    {:+.2} points, {interval}", 100.0 * gain.mean)?;
    }
    if let Some(optimism) = confirmation.optimism {
        writeln!(out, "optimism of the search {:+.2} points", 100.0 * optimism)?;
    }
    Ok(())
}

/// The recipe of the best trial, as a file.
fn best_recipe(study: &Study, recipe: &Recipe) -> anyhow::Result<Option<String>> {
    let Some(best) = study.best() else { return Ok(None) };
    let settings = study.space.settings(&best.point);
    let toml = with_settings(recipe, &settings)?.to_toml();
    let (number, accuracy) = (best.number, 100.0 * best.score().unwrap_or(0.0));
    let trials = study.trials().len();
    Ok(Some(format!(
        "# the best of {trials} trials (number {number}): validation accuracy {accuracy:.2} %\n{toml}"
    )))
}

fn trials_csv(study: &Study) -> anyhow::Result<String> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let head = ["trial", "state", "validation_accuracy", "epochs", "seconds", "threads"].map(String::from);
    csv.write_record(head.into_iter().chain(full_names(study)))?;
    for trial in study.trials() {
        let state = match &trial.state {
            State::Running => "running".to_string(),
            State::Complete => "complete".into(),
            State::Pruned => "pruned".into(),
            State::Diverged(reason) => format!("diverged: {reason}"),
            State::Failed(reason) => format!("failed: {reason}"),
        };
        let score = trial.score().map_or(String::new(), |score| score.to_string());
        let figures =
            [trial.epochs.len().to_string(), format!("{:.3}", trial.seconds()), trial.threads.to_string()];
        let values = trial.point.iter().zip(&study.space.parameters);
        let values = values.map(|(value, p)| value.map_or(String::new(), |value| p.domain.label(value)));
        csv.write_record([trial.number.to_string(), state, score].into_iter().chain(figures).chain(values))?;
    }
    Ok(String::from_utf8(csv.into_inner()?)?)
}

fn page(study: &Study, recipe: &Recipe, best_recipe: &str, context: &Context) -> anyhow::Result<String> {
    let names = short_names(study);
    let parameters = study.space.parameters.iter().zip(names).map(|(parameter, name)| StudyParameter {
        key: parameter.key.clone(),
        name,
        scale: scale(parameter),
    });
    let (folder, settings) = (study.folder().display(), &study.settings);
    let report = StudyReport {
        title: &format!("Tuning {}", recipe.name),
        description: &recipe.description,
        data_name: &recipe.data.source,
        parameters: parameters.collect(),
        trials: study.trials().iter().map(|trial| shown(study, trial)).collect(),
        best: study.best().map(|trial| trial.number),
        importance: importance(&study.space, study.trials(), study.settings.seed),
        confirmation: confirmation(study),
        best_recipe,
        facts: facts(study, context),
        reproduce: &format!(
            "tailor tune --study {folder}    # goes on, or says again what was found\ntailor train {folder}/best.toml\n\n\
             # another search like this one; with one worker it draws the same trials\n\
             tailor tune {folder}/recipe.toml --space {folder}/space.toml --trials {} --epochs {} \\\n  \
             --sampler {} --pruner {} --seed {}",
            settings.trials, settings.epochs, settings.sampler, settings.pruner, settings.seed
        ),
    };
    Ok(study_html(&report)?)
}

fn scale(parameter: &Parameter) -> ParameterScale {
    match &parameter.domain {
        Domain::Real { low, high, log: false } => ParameterScale::Linear(*low, *high),
        Domain::Real { low, high, log: true } => ParameterScale::Logarithmic(*low, *high),
        Domain::Integer { low, high, log: false, .. } => ParameterScale::Linear(*low as f64, *high as f64),
        Domain::Integer { low, high, log: true, .. } => {
            ParameterScale::Logarithmic(*low as f64, *high as f64)
        }
        Domain::Choice { labels, .. } => ParameterScale::Choices(labels.clone()),
    }
}

fn shown(study: &Study, trial: &Trial) -> StudyTrial {
    let labels = trial.point.iter().zip(&study.space.parameters);
    StudyTrial {
        number: trial.number,
        fate: match &trial.state {
            State::Complete => Fate::Complete,
            State::Pruned => Fate::Pruned,
            State::Running => Fate::Running,
            State::Diverged(reason) | State::Failed(reason) => Fate::Failed(reason.clone()),
        },
        values: trial.point.clone(),
        labels: labels.map(|(value, parameter)| value.map(|value| parameter.domain.label(value))).collect(),
        accuracies: trial.epochs.iter().map(|epoch| epoch.score).collect(),
        seconds: trial.seconds(),
    }
}

/// What the confirming runs say; none while no candidate has a result.
fn confirmation(study: &Study) -> Option<Confirmation> {
    let candidates = study.candidates();
    let winner = candidates.iter().find(|candidate| **candidate != Candidate::Start);
    let start = Scores::of(Candidate::Start, study.confirmations());
    let winner = winner.map(|winner| Scores::of(*winner, study.confirmations()));
    let judged = winner.as_ref().unwrap_or(&start);
    if judged.runs.is_empty() && judged.failures.is_empty() {
        return None;
    }
    let has_test = judged.test().is_some();
    let mean = if has_test { judged.test() } else { judged.validation() };
    let best = study.best().and_then(Trial::score);
    let gain = winner.as_ref().and_then(|winner| winner.gain_over(&start));
    let mut tested: Vec<Candidate> =
        study.confirmations().iter().map(|confirmation| confirmation.candidate).collect();
    tested.dedup();
    tested.sort_by_key(|candidate| match candidate {
        Candidate::Start => 0,
        Candidate::Trial(number) => number + 1,
    });
    tested.dedup();
    Some(Confirmation {
        part: if has_test { "test" } else { "validation" },
        optimism: best.zip(mean).map(|(best, mean)| best - mean.mean),
        gain: gain.map(|gain| GainOverStart { mean: gain.mean, interval: gain.interval }),
        start: scores(&start, has_test),
        winner: winner.as_ref().map(|winner| scores(winner, has_test)),
        candidates_tested: tested.len(),
    })
}

fn scores(scores: &Scores, has_test: bool) -> ConfirmedScores {
    let mean = if has_test { scores.test() } else { scores.validation() };
    let seconds: f64 = scores.runs.iter().map(|(_, run)| run.seconds).sum();
    let mut runs: Vec<(u64, f64, f64)> = scores
        .runs
        .iter()
        .map(|(seed, run)| (*seed, run.validation, run.test.unwrap_or(run.validation)))
        .collect();
    runs.sort_by_key(|run| run.0);
    ConfirmedScores {
        runs,
        failures: scores.failures.clone(),
        validation: scores.validation().map(|mean| mean.mean),
        mean: mean.map(|mean| mean.mean),
        deviation: mean.and_then(|mean| mean.deviation),
        seconds: (!scores.runs.is_empty()).then(|| seconds / scores.runs.len() as f64),
    }
}

fn facts(study: &Study, context: &Context) -> Vec<(String, String)> {
    let settings = &study.settings;
    let mut facts = vec![("tailor".to_string(), env!("CARGO_PKG_VERSION").to_string())];
    let mut add = |name: &str, value: String| facts.push((name.to_string(), value));
    for (parameter, name) in study.space.parameters.iter().zip(full_names(study)) {
        add(&name, parameter.domain.description());
    }
    add("Sampler", settings.sampler.to_string());
    add("Pruner", settings.pruner.to_string());
    add("Trials", format!("{} of {}", study.trials().len(), settings.trials));
    add("Epochs", format!("up to {}", settings.epochs));
    add("Seed of the search", settings.seed.to_string());
    let seeds: Vec<String> = settings.confirm_seeds.iter().map(u64::to_string).collect();
    add("Seeds of the confirmation", if seeds.is_empty() { "none".into() } else { seeds.join(", ") });
    let threads: Vec<usize> = study.trials().iter().map(|trial| trial.threads).collect();
    let (fewest, most) =
        (threads.iter().min().copied().unwrap_or(0), threads.iter().max().copied().unwrap_or(0));
    add("Threads of a trial", if fewest == most { most.to_string() } else { format!("{fewest} to {most}") });
    add("Threads in all", context.threads.to_string());
    add("Instructions", tailor_kernels::Isa::current().to_string());
    facts
}
