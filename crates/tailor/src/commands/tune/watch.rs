//! What a person sees of a study: a row for each trial as it ends, and on a terminal a line for each one that runs. It is read from
//! the journal, so that it shows the trials of all processes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tailor_tune::{Candidate, State, Study, Trial};

use crate::Context;
use crate::progress::{bar_style, say};

/// Between two looks at the journal.
const PERIOD: Duration = Duration::from_millis(200);

/// A thread that shows how a study goes on.
pub struct Watch {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Shows what has happened since; nothing where the user wants quiet.
    pub fn start(study: &Study, context: &Context) -> anyhow::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        if context.quiet {
            return Ok(Watch { is_over, thread: None });
        }
        let mut display = Display::new(study.reopened()?);
        let over = is_over.clone();
        let thread = std::thread::spawn(move || {
            loop {
                // Asked first: what ended before it is shown.
                let is_last = over.load(Ordering::SeqCst);
                if display.study.refresh().is_ok() {
                    display.update();
                }
                if is_last {
                    return display.bars.clear().unwrap_or(());
                }
                std::thread::sleep(PERIOD);
            }
        });
        Ok(Watch { is_over, thread: Some(thread) })
    }

    /// Shows the rest.
    pub fn stop(self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

struct Display {
    study: Study,
    table: Table,
    bars: MultiProgress,
    overall: ProgressBar,
    /// Lines of trials that run, by number.
    running: HashMap<usize, ProgressBar>,
    /// Trials whose row was printed.
    ended: Vec<bool>,
    /// Confirming runs whose row was printed.
    confirmed: HashSet<(Candidate, u64)>,
    best: Option<usize>,
}

impl Display {
    fn new(study: Study) -> Self {
        let bars = MultiProgress::new();
        let overall = bars.add(ProgressBar::new(study.settings.trials as u64));
        let template = "{wide_bar:.cyan/dim} {pos}/{len} trials  {msg}";
        overall.set_style(bar_style(template));
        let table = Table::of(&study);
        let display = Display {
            study,
            table,
            bars,
            overall,
            running: HashMap::new(),
            ended: Vec::new(),
            confirmed: HashSet::new(),
            best: None,
        };
        display.line(&display.table.head());
        display
    }

    /// A line above the bars, or on its own.
    fn line(&self, text: &str) {
        match self.overall.is_hidden() {
            true => say(text),
            false => _ = self.bars.println(text),
        }
    }

    fn update(&mut self) {
        self.ended.resize(self.study.trials().len(), false);
        for number in 0..self.study.trials().len() {
            let trial = &self.study.trials()[number];
            if trial.state == State::Running {
                let line = self.running.entry(number).or_insert_with(|| {
                    let line = self.bars.insert_before(&self.overall, ProgressBar::new_spinner());
                    line.set_style(ProgressStyle::with_template("{msg}").expect("a valid template"));
                    line
                });
                line.set_message(self.table.row(&self.study, trial, false));
            } else if !self.ended[number] {
                self.ended[number] = true;
                if let Some(line) = self.running.remove(&number) {
                    line.finish_and_clear();
                }
                let score = |number: Option<usize>| number.and_then(|best| self.study.trials()[best].score());
                let is_best = trial.state == State::Complete && trial.score() > score(self.best);
                if is_best {
                    self.best = Some(number);
                }
                self.line(&self.table.row(&self.study, trial, is_best));
            }
        }
        self.overall.set_length(self.study.settings.trials as u64);
        self.overall.set_position(self.ended.iter().filter(|ended| **ended).count() as u64);
        if let Some(best) = self.best.and_then(|best| self.study.trials()[best].score()) {
            self.overall.set_message(format!("best {:.2} %", 100.0 * best));
        }
        self.update_confirmations();
    }

    fn update_confirmations(&mut self) {
        let mut confirmed = std::mem::take(&mut self.confirmed);
        for confirmation in self.study.confirmations() {
            let Some(result) = &confirmation.result else { continue };
            let what = match confirmation.candidate {
                Candidate::Start => "start".to_string(),
                Candidate::Trial(number) => format!("trial {number}"),
            };
            let outcome = match result {
                Ok(run) => format!("validation {:.2} %, {:.1} s", 100.0 * run.validation, run.seconds),
                Err(reason) => format!("failed: {reason}"),
            };
            if confirmed.insert((confirmation.candidate, confirmation.seed)) {
                self.line(&format!("confirmed {what} with seed {}: {outcome}", confirmation.seed));
            }
        }
        self.confirmed = confirmed;
    }
}

/// Columns as wide as their widest value.
struct Table {
    names: Vec<String>,
    widths: Vec<usize>,
}

impl Table {
    fn of(study: &Study) -> Self {
        let names = short_names(study);
        let widths = study.space.parameters.iter().zip(&names).map(|(parameter, name)| {
            let ends = [0.0, 0.123_456, 0.5, 1.0]
                .map(|unit| parameter.domain.label(parameter.domain.at(unit)).len());
            let choices =
                (0..parameter.domain.size().unwrap_or(0).min(64)).map(|choice| match &parameter.domain {
                    tailor_tune::Domain::Choice { labels, .. } => labels[choice].chars().count(),
                    _ => 0,
                });
            ends.into_iter().chain(choices).max().unwrap_or(0).max(name.chars().count()).min(24)
        });
        let widths = widths.collect();
        Table { names, widths }
    }

    fn head(&self) -> String {
        let names = self.names.iter().zip(&self.widths).map(|(name, width)| format!("  {name:>width$}"));
        format!("trial  validation  epochs  seconds{}", names.collect::<String>())
    }

    fn row(&self, study: &Study, trial: &Trial, is_best: bool) -> String {
        let values =
            trial.point.iter().zip(&study.space.parameters).zip(&self.widths).map(|((value, p), width)| {
                let label = value.map_or("–".into(), |value| p.domain.label(value));
                format!("  {label:>width$}")
            });
        let fate = match &trial.state {
            State::Complete if is_best => "  ✓ best so far".to_string(),
            State::Complete => String::new(),
            State::Pruned => "  stopped early".to_string(),
            State::Running => "  …".to_string(),
            State::Diverged(reason) | State::Failed(reason) => format!("  {reason}"),
        };
        let score = trial.score().map_or("–".to_string(), |score| format!("{:.2} %", 100.0 * score));
        let (number, epochs, seconds) = (trial.number, trial.epochs.len(), trial.seconds());
        format!("{number:>5}  {score:>10}  {epochs:>6}  {seconds:>7.1}{}{fate}", values.collect::<String>())
    }
}

/// For each parameter the shortest end of its key that tells it from the others and does not begin with a position in a list.
pub fn short_names(study: &Study) -> Vec<String> {
    let keys: Vec<&str> = study.space.parameters.iter().map(|parameter| parameter.key.as_str()).collect();
    let ends = |key: &str| -> Vec<String> {
        let parts: Vec<&str> = key.split('.').collect();
        (0..parts.len()).rev().map(|from| parts[from..].join(".")).collect()
    };
    let name = |key: &&str| {
        let is_good = |end: &String| {
            let is_alone = keys.iter().all(|other| other == key || !ends(other).contains(end));
            is_alone && !end.starts_with(|c: char| c.is_ascii_digit())
        };
        ends(key).into_iter().find(is_good).unwrap_or_else(|| key.to_string())
    };
    told_apart(study, keys.iter().map(name).collect())
}

/// For each parameter its key.
pub fn full_names(study: &Study) -> Vec<String> {
    told_apart(study, study.space.parameters.iter().map(|parameter| parameter.key.clone()).collect())
}

/// The names of parameters, with what each range is for where a key has several.
fn told_apart(study: &Study, names: Vec<String>) -> Vec<String> {
    let with_condition = |(position, name): (usize, &String)| {
        let parameter = &study.space.parameters[position];
        let is_alone = study.space.parameters.iter().filter(|other| other.key == parameter.key).count() == 1;
        let choices = parameter.conditions.iter().flat_map(|(parent, choices)| {
            let parent = &study.space.parameters[*parent].domain;
            choices.iter().map(|choice| parent.label(*choice as f64))
        });
        match is_alone {
            true => name.clone(),
            false => format!("{name} {}", choices.collect::<Vec<_>>().join("/")),
        }
    };
    names.iter().enumerate().map(with_condition).collect()
}
