//! The images on which two models disagree.

use tailor_eval::Contestant;

/// What a model's runs say about an image.
pub(super) struct Answer {
    /// The class that most of its runs give; the lowest of equals.
    pub class: usize,
    /// The mean confidence of those.
    pub confidence: f64,
}

/// What `contestant` says about image `i`, by the majority of its runs.
pub(super) fn answer(contestant: &Contestant, i: usize) -> Answer {
    let classes = contestant.runs[0].answers.class_names().len();
    let (mut votes, mut confidence) = (vec![0_usize; classes], vec![0.0; classes]);
    for run in &contestant.runs {
        votes[run.answers.predicted(i)] += 1;
        confidence[run.answers.predicted(i)] += run.answers.confidence(i);
    }
    let class = (1..classes).fold(0, |best, class| if votes[class] > votes[best] { class } else { best });
    Answer { class, confidence: confidence[class] / votes[class] as f64 }
}

/// Up to `n` images that `right` names correctly and `wrong` does not: those first on which most of their runs differ so,
/// and among them those of which both are surest.
pub(super) fn only_right(right: &Contestant, wrong: &Contestant, n: usize) -> Vec<usize> {
    let share = |correct: &[u32], contestant: &Contestant, i: usize| {
        f64::from(correct[i]) / contestant.runs.len() as f64
    };
    let (of_right, of_wrong) = (right.correct(), wrong.correct());
    let labels = right.runs[0].answers.labels();
    let mut images: Vec<(usize, f64, f64)> = (0..labels.len())
        .filter_map(|i| {
            let (says, other) = (answer(right, i), answer(wrong, i));
            let ahead = share(&of_right, right, i) - share(&of_wrong, wrong, i);
            (says.class == labels[i] && other.class != labels[i]).then_some((
                i,
                ahead,
                says.confidence + other.confidence,
            ))
        })
        .collect();
    images.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.2.total_cmp(&a.2)));
    images.into_iter().take(n).map(|(i, ..)| i).collect()
}
