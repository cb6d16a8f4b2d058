//! What the figures say, in a sentence or two under each heading. Names stand in backticks.

use tailor_eval::comparison::Difference;
use tailor_eval::{Comparison, Confusion, Contestant, Run};

use crate::heat_map::what_happened;
use crate::number::{percent, points};

/// Whether a run has a curve: a baseline has at most one row of metrics.
pub(super) fn has_curve(run: &Run) -> bool {
    run.history.0.len() > 1
}

/// Who reached the lowest validation loss, and when; empty without curves.
pub(super) fn curves(comparison: &Comparison) -> String {
    let runs = comparison.contestants.iter().flat_map(|contestant| {
        contestant.runs.iter().filter(|run| has_curve(run)).map(move |run| (contestant, run))
    });
    let best = runs.filter_map(|(contestant, run)| {
        let record = run.history.lowest_validation_loss()?;
        Some((contestant, record, record.validation_loss?))
    });
    let Some((contestant, record, loss)) = best.min_by(|a, b| a.2.total_cmp(&b.2)) else {
        return String::new();
    };
    let is_without = |contestant: &&Contestant| !contestant.runs.iter().any(has_curve);
    let without = match comparison.contestants.iter().filter(is_without).count() {
        0 => "",
        1 => " One model was not trained in epochs.",
        _ => " Models without a line were not trained in epochs.",
    };
    format!(
        "The lowest validation loss, {loss:.3}, was that of `{}` in epoch {}. A line is a run.{without}",
        contestant.name, record.epoch
    )
}

/// Which models are worth a cost.
pub(super) fn front(comparison: &Comparison, places: &[usize], is_gain: bool) -> String {
    let names: Vec<String> =
        places.iter().map(|&place| format!("`{}`", comparison.standings[place].name)).collect();
    let others =
        if is_gain { "no other is faster and as accurate" } else { "no other costs less and is as accurate" };
    match names.as_slice() {
        [name] => format!("{name} beats all others: {others}."),
        names => format!("Worth their cost: {}.", names.join(", ")),
    }
}

/// Which class is hardest for all, and which tells the two models apart.
pub(super) fn classes(comparison: &Comparison, difference: &Difference) -> String {
    let standings = &comparison.standings;
    let mean = |class: usize| standings.iter().map(|s| s.recall[class]).sum::<f64>() / standings.len() as f64;
    let classes = 0..comparison.class_names.len();
    let hardest = classes.clone().min_by(|&a, &b| mean(a).total_cmp(&mean(b)));
    let apart = classes
        .max_by(|&a, &b| difference.classes[a].recall.abs().total_cmp(&difference.classes[b].recall.abs()));
    let (Some(hardest), Some(apart)) = (hardest, apart) else { return String::new() };
    let recall = difference.classes[apart].recall;
    let (ahead, behind) = if recall < 0.0 {
        (difference.second, difference.first)
    } else {
        (difference.first, difference.second)
    };
    let hardest = format!(
        "{} is hardest for all: {} recall on average.",
        comparison.class_names[hardest],
        percent(mean(hardest))
    );
    if recall == 0.0 {
        return hardest;
    }
    format!(
        "{hardest} Between `{}` and `{}`, {} differs most: {} points for the former.",
        standings[ahead].name,
        standings[behind].name,
        comparison.class_names[apart],
        points(recall.abs())
    )
}

/// Which kind of mistake tells them apart.
pub(super) fn confusion(
    comparison: &Comparison,
    difference: &Difference,
    first: &Confusion,
    second: &Confusion,
) -> String {
    let classes = comparison.class_names.len();
    let cells = (0..classes).flat_map(|label| (0..classes).map(move |predicted| (label, predicted)));
    let share = |confusion: &Confusion, (label, predicted): (usize, usize)| {
        confusion.counts[label][predicted] as f64 / confusion.support(label).max(1) as f64
    };
    let saved = |cell: &(usize, usize)| share(second, *cell) - share(first, *cell);
    let mistakes = cells.filter(|(label, predicted)| label != predicted);
    let Some(cell) = mistakes.max_by(|a, b| saved(a).total_cmp(&saved(b))).filter(|cell| saved(cell) > 0.0)
    else {
        return String::new();
    };
    format!(
        "The mistake that `{}` avoids most: {}, {} of the class instead of {}.",
        comparison.standings[difference.first].name,
        what_happened(&comparison.class_names, cell.0, cell.1),
        percent(share(first, cell)),
        percent(share(second, cell))
    )
}

/// How often they agree.
pub(super) fn disagreements(comparison: &Comparison, difference: &Difference) -> String {
    let agreement = &difference.agreement;
    let share = |images: f64| percent(images / comparison.images as f64);
    let best = agreement.both + agreement.only_first + agreement.only_second;
    let runs = |place: usize| comparison.contestants[place].runs.len();
    let mean = if runs(difference.first) * runs(difference.second) > 1 {
        " (Means over every two of their runs.)"
    } else {
        ""
    };
    format!(
        "Exactly one of them is right on {} of the images. Whoever always knew which to believe would be right on {}.{mean}",
        share(agreement.only_first + agreement.only_second),
        share(best)
    )
}
