//! What the figures of a study say.

use tailor_eval::{PairedDifference, Spread};

use super::{Comparison, Convergence, Variant};
use crate::number::counted;

/// `91.25 ± 0.14 %`
pub(super) fn accuracy(spread: Spread) -> String {
    match spread.deviation {
        Some(deviation) => format!("{:.2} ± {:.2}\u{202f}%", 100.0 * spread.mean, 100.0 * deviation),
        None => format!("{:.2}\u{202f}%", 100.0 * spread.mean),
    }
}

/// `4.3 ± 0.6`
pub(super) fn epochs(spread: Spread) -> String {
    match spread.deviation {
        Some(deviation) => format!("{:.1} ± {deviation:.1}", spread.mean),
        None => format!("{:.1}", spread.mean),
    }
}

/// Which of two variants ends better, by how much, and which gets to the target sooner.
pub(super) fn compared(study: &Convergence, comparison: &Comparison, target: f64) -> String {
    let [with, without] = comparison.variants.map(|position| &study.variants[position]);
    let what = &comparison.what;
    let diverged = with.diverged(study.epochs());
    if diverged > 0 {
        return format!("{what}: {} of {} diverged.", diverged, counted(with.runs.len(), "run"));
    }
    let (Some(ours), Some(theirs)) = (with.final_accuracies(), without.final_accuracies()) else {
        return format!("{what}: what it is compared with diverged.");
    };
    let (Some(difference), Some(end), Some(other)) =
        (PairedDifference::of(&ours, &theirs), Spread::of(&ours), Spread::of(&theirs))
    else {
        return format!("{what}: it was not trained.");
    };
    let ends = format!("{} against {}", accuracy(end), accuracy(other));
    let points = 100.0 * difference.mean;
    let (low, high) = (points - 100.0 * difference.margin, points + 100.0 * difference.margin);
    let verdict = if difference.margin.is_infinite() {
        format!("{points:+.2} points, which one seed cannot tell from chance")
    } else if difference.is_distinguishable() {
        let verb = if points > 0.0 { "wins" } else { "loses" };
        format!("it {verb} by {:.2} points (95\u{202f}% interval {low:+.2} to {high:+.2})", points.abs())
    } else {
        format!("not distinguishable: {points:+.2} points (95\u{202f}% interval {low:+.2} to {high:+.2})")
    };
    format!("{what}: {verdict}; {ends}. {}", speed(with, without, target))
}

/// Who reaches the target sooner.
fn speed(with: &Variant, without: &Variant, target: f64) -> String {
    let (Some(ours), Some(theirs)) = (with.epochs_to(target), without.epochs_to(target)) else {
        return String::new();
    };
    let (Some(difference), Some(our_epochs), Some(their_epochs)) =
        (PairedDifference::of(&ours, &theirs), Spread::of(&ours), Spread::of(&theirs))
    else {
        return String::new();
    };
    let verdict = match difference.mean {
        _ if !difference.is_distinguishable() => "no sooner and no later, as far as can be told",
        mean if mean < 0.0 => "sooner",
        _ => "later",
    };
    let (percent, ours, theirs) = (100.0 * target, epochs(our_epochs), epochs(their_epochs));
    format!("It reaches {percent:.0}\u{202f}% {verdict}: {ours} epochs against {theirs} epochs.")
}
