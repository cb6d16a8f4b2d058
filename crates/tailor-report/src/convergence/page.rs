//! The page: what the template fills in.

use askama::Template;
use tailor_eval::Spread;

use super::{Convergence, Question, chart, convergence_words, words};
use crate::{Error, Result, page};

/// `convergence.html`, section by section. Text is escaped by the template; only drawings and styles, made here, are not.
#[derive(Template)]
#[template(path = "convergence.html")]
struct Page<'a> {
    style: String,
    title: &'a str,
    description: &'a str,
    sections: Vec<Section>,
    target: String,
    rows: Vec<Row>,
    facts: &'a [(String, String)],
    reproduce: &'a str,
    version: &'static str,
}

struct Section {
    title: String,
    sentences: Vec<String>,
    /// A line's sample (inline SVG) and its variant's name.
    legend: Vec<(String, String)>,
    accuracy: String,
    loss: String,
}

/// A variant in the table.
struct Row {
    name: String,
    accuracy: String,
    training_accuracy: String,
    loss: String,
    epochs: String,
}

pub(super) fn html(study: &Convergence) -> Result<String> {
    let target = study.target();
    let words = convergence_words(study);
    let page = Page {
        style: page::style(),
        title: study.title,
        description: study.description,
        sections: study
            .questions
            .iter()
            .zip(words)
            .map(|(question, words)| section(study, question, words))
            .collect(),
        target: format!("{:.0}\u{202f}%", 100.0 * target),
        rows: (0..study.variants.len()).map(|position| row(study, position, target)).collect(),
        facts: &study.facts,
        reproduce: study.reproduce,
        version: env!("CARGO_PKG_VERSION"),
    };
    Template::render(&page).map_err(|error| Error::Draw(error.to_string()))
}

fn section(study: &Convergence, question: &Question, (title, sentences): (String, Vec<String>)) -> Section {
    let legend = question.variants.iter().enumerate();
    let drawn = |quantity| chart::chart(study, &question.variants, quantity).inline();
    Section {
        title,
        sentences,
        legend: legend
            .map(|(line, &position)| (chart::sample(line).inline(), study.variants[position].name.clone()))
            .collect(),
        accuracy: drawn(&chart::ACCURACY),
        loss: drawn(&chart::LOSS),
    }
}

fn row(study: &Convergence, position: usize, target: f64) -> Row {
    let variant = &study.variants[position];
    let last = |value: fn(&tailor_eval::EpochRecord) -> Option<f64>| {
        let values: Option<Vec<f64>> = variant.runs.iter().map(|run| run.0.last().and_then(value)).collect();
        values.and_then(|values| Spread::of(&values))
    };
    let none = || "–".to_string();
    let diverged = variant.diverged(study.epochs());
    if diverged > 0 {
        let accuracy = format!("{diverged} diverged");
        let name = variant.name.clone();
        return Row { name, accuracy, training_accuracy: none(), loss: none(), epochs: none() };
    }
    Row {
        name: variant.name.clone(),
        accuracy: last(|record| record.validation_accuracy).map_or_else(none, words::accuracy),
        training_accuracy: last(|record| Some(record.train_accuracy)).map_or_else(none, words::accuracy),
        loss: last(|record| record.validation_loss).map_or_else(none, |loss| format!("{:.3}", loss.mean)),
        epochs: variant
            .epochs_to(target)
            .and_then(|epochs| Spread::of(&epochs))
            .map_or_else(none, words::epochs),
    }
}
