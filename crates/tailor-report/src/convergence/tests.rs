//! Tests of a study's words and page.

use tailor_eval::EpochRecord;

use super::*;

/// A run whose validation accuracies are these.
fn run(accuracies: &[f64]) -> History {
    let record = |(index, &accuracy): (usize, &f64)| EpochRecord {
        epoch: index + 1,
        learning_rate: 1e-3,
        train_loss: 0.3,
        train_accuracy: 0.9,
        validation_loss: Some(1.0 - accuracy),
        validation_accuracy: Some(accuracy),
        seconds: 1.0,
        images_per_second: 1.0,
    };
    History(accuracies.iter().enumerate().map(record).collect())
}

fn variant(name: &str, runs: &[&[f64]]) -> Variant {
    Variant { name: name.into(), runs: runs.iter().map(|accuracies| run(accuracies)).collect() }
}

fn study(variants: Vec<Variant>) -> Convergence<'static> {
    let comparisons = (1..variants.len())
        .map(|position| Comparison { variants: [position, 0], what: variants[position].name.clone() });
    let question = Question {
        title: "Which?".into(),
        variants: (0..variants.len()).collect(),
        comparisons: comparisons.collect(),
    };
    Convergence {
        title: "A study",
        description: "of <nothing>",
        questions: vec![question],
        variants,
        facts: vec![("Seeds".into(), "1, 2".into())],
        reproduce: "tailor study convergence",
    }
}

#[test]
fn words_say_who_wins_by_how_much_and_when_nobody_does() {
    let study = study(vec![
        variant("plain", &[&[0.70, 0.802], &[0.70, 0.810]]),
        // +0.050 and +0.052: mean 5.1 points, deviation 0.1414, margin 12.706 · 0.1414 / √2 = 1.2706.
        variant("better", &[&[0.81, 0.852], &[0.82, 0.862]]),
        // +0.01 and −0.01
        variant("noise", &[&[0.70, 0.812], &[0.70, 0.800]]),
        variant("lost", &[&[0.70, 0.812], &[0.70]]),
    ]);
    // The worst run that did not diverge ends at 80.0 %; plain reaches that at 1 + 100/102 and 1 + 100/110.
    assert_eq!(study.target(), 0.8);
    let words = convergence_words(&study).remove(0).1;
    assert_eq!(
        words,
        [
            "better: it wins by 5.10 points (95\u{202f}% interval +3.83 to +6.37); 85.70 ± 0.71\u{202f}% against \
             80.60 ± 0.57\u{202f}%. It reaches 80\u{202f}% sooner: 1.0 ± 0.0 epochs against 1.9 ± 0.1 epochs.",
            "noise: not distinguishable: +0.00 points (95\u{202f}% interval -12.71 to +12.71); 80.60 ± 0.85\u{202f}% \
             against 80.60 ± 0.57\u{202f}%. It reaches 80\u{202f}% no sooner and no later, as far as can be told: \
             1.9 ± 0.1 epochs against 1.9 ± 0.1 epochs.",
            "lost: 1 of 2 runs diverged.",
        ]
    );
}

#[test]
fn one_seed_decides_nothing() {
    let study = study(vec![variant("plain", &[&[0.8]]), variant("better", &[&[0.9]])]);
    let words = convergence_words(&study).remove(0).1.remove(0);
    assert!(words.contains("+10.00 points, which one seed cannot tell from chance"), "{words}");
    assert!(words.contains("as far as can be told: 1.0 epochs against 1.0 epochs"), "{words}");
}

#[test]
fn the_page_has_a_line_for_each_variant_and_is_whole() {
    let study = study(vec![
        variant("plain", &[&[0.70, 0.802], &[0.70, 0.810]]),
        variant("<b>", &[&[0.81, 0.852], &[0.82, 0.862]]),
    ]);
    let html = convergence_html(&study).unwrap();
    assert!(html.contains("of &#60;nothing&#62;") && !html.contains("<b>"), "text is not escaped");
    // Two plots, a mean each; two single runs each.
    assert_eq!(html.matches("class=\"mean series-2\" points").count(), 2);
    assert_eq!(html.matches("class=\"single series-2\" points").count(), 4);
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("<script"));
}
