//! The page of a study, also where there is little to show.

use tailor_report::*;

fn parameters() -> Vec<StudyParameter> {
    let parameter =
        |key: &str, name: &str, scale| StudyParameter { key: key.into(), name: name.into(), scale };
    vec![
        parameter("train.lr", "lr", ParameterScale::Logarithmic(1e-4, 1e-2)),
        parameter(
            "train.optimizer",
            "optimizer",
            ParameterScale::Choices(vec!["adam".into(), "sgd <b>".into()]),
        ),
        parameter("train.optimizer.momentum", "momentum", ParameterScale::Linear(0.5, 0.99)),
    ]
}

fn trial(number: usize, fate: Fate, accuracies: &[f64], seconds: f64) -> StudyTrial {
    let is_sgd = number % 2 == 1;
    let values =
        vec![Some(1e-4 * (1 + number) as f64), Some(f64::from(u8::from(is_sgd))), is_sgd.then_some(0.9)];
    let labels = vec![
        Some(format!("{:e}", 1e-4 * (1 + number) as f64)),
        Some(if is_sgd { "sgd <b>" } else { "adam" }.to_string()),
        is_sgd.then(|| "0.9".to_string()),
    ];
    StudyTrial { number, fate, values, labels, accuracies: accuracies.to_vec(), seconds }
}

fn trials() -> Vec<StudyTrial> {
    vec![
        trial(0, Fate::Complete, &[0.80, 0.85], 4.0),
        trial(1, Fate::Complete, &[0.82, 0.88], 6.0),
        trial(2, Fate::Pruned, &[0.70], 2.0),
        trial(3, Fate::Failed("the loss was no longer finite at epoch 1, step 3".into()), &[], 0.0),
        trial(4, Fate::Complete, &[0.60, 0.84], 5.0),
    ]
}

fn scores(runs: &[(u64, f64, f64)]) -> ConfirmedScores {
    let mean = runs.iter().map(|run| run.2).sum::<f64>() / runs.len() as f64;
    ConfirmedScores {
        runs: runs.to_vec(),
        failures: Vec::new(),
        validation: Some(0.87),
        mean: Some(mean),
        deviation: Some(0.002),
        seconds: Some(6.0),
    }
}

fn confirmation() -> Confirmation {
    Confirmation {
        part: "test",
        start: scores(&[(2, 0.85, 0.84), (3, 0.85, 0.842)]),
        winner: Some(scores(&[(2, 0.88, 0.87), (3, 0.87, 0.868)])),
        gain: Some(GainOverStart { mean: 0.028, interval: Some((0.003, 0.053)) }),
        optimism: Some(0.011),
        candidates_tested: 2,
    }
}

fn page(trials: Vec<StudyTrial>, best: Option<usize>, confirmation: Option<Confirmation>) -> String {
    let report = StudyReport {
        title: "Tuning <cnn>",
        description: "",
        data_name: "fashion-mnist",
        parameters: parameters(),
        importance: (trials.len() > 3).then(|| vec![0.6, 0.3, 0.02]),
        trials,
        best,
        confirmation,
        best_recipe: "name = \"x\"\n",
        facts: vec![("Sampler".into(), "tpe".into())],
        reproduce: "tailor tune",
    };
    study_html(&report).unwrap()
}

fn drawings(page: &str) -> Vec<&str> {
    page.match_indices("<svg").map(|(at, _)| &page[at..at + page[at..].find("</svg>").unwrap() + 6]).collect()
}

#[test]
fn everything_is_said_and_every_drawing_is_xml() {
    let page = page(trials(), Some(1), Some(confirmation()));
    for part in [
        "86.9\u{202f}%",
        "2.80\u{202f}points more than the recipe that the study began with (95 % interval 0.30\u{202f}points to 5.30\u{202f}points): more than chance",
        "The search promised 88.0\u{202f}%, 1.10\u{202f}points more",
        "once, was the test part looked at",
        "lr explains most: 60.0\u{202f}%",
        "8.0\u{202f}% come from parameters acting together",
        "title=\"the loss was no longer finite at epoch 1, step 3\"",
    ] {
        assert!(page.contains(part), "{part:?} is not on the page");
    }
    let drawings = drawings(&page);
    assert_eq!(drawings.len(), 2 + 1 + 1 + 3 + 1, "history, curves, parallel, importance, slices, time");
    for drawing in drawings {
        roxmltree::Document::parse(drawing).unwrap();
        assert!(!drawing.contains("NaN") && !drawing.contains("<b>"), "{drawing}");
    }
    assert!(!page.contains("<cnn>") && !page.contains("http://") && !page.contains("https://"));
}

#[test]
fn the_front_holds_what_nothing_beats_in_both() {
    let page = page(trials(), Some(1), None);
    let front = &page[page.find("<table class=\"front\">").unwrap()..];
    let front = &front[..front.find("</table>").unwrap()];
    // 0: 4 s, 85 %; 1: 6 s, 88 %. Trial 4 is slower than 0 and worse; trial 2 was stopped.
    let numbers: Vec<&str> = front
        .match_indices("<th scope=\"row\">")
        .map(|(at, tag)| &front[at + tag.len()..at + tag.len() + 1])
        .collect();
    assert_eq!(numbers, ["0", "1"]);
}

#[test]
fn a_gain_that_may_be_chance_is_called_so_and_an_unconfirmed_winner_too_good() {
    let chance = Confirmation {
        gain: Some(GainOverStart { mean: 0.001, interval: Some((-0.01, 0.012)) }),
        ..confirmation()
    };
    assert!(page(trials(), Some(1), Some(chance)).contains("may be chance"));
    let alone = Confirmation { gain: None, winner: None, ..confirmation() };
    assert!(page(trials(), Some(0), Some(alone)).contains("No trial was better than the recipe"));
    assert!(page(trials(), Some(1), None).contains("the test part has not been looked at"));
}

#[test]
fn a_study_without_a_finished_trial_has_a_page_too() {
    for trials in [
        vec![],
        vec![trial(0, Fate::Failed("no".into()), &[], 0.0)],
        vec![trial(0, Fate::Running, &[0.5], 1.0)],
    ] {
        let page = page(trials, None, None);
        drawings(&page).into_iter().for_each(|drawing| _ = roxmltree::Document::parse(drawing).unwrap());
        assert!(!page.contains("NaN"));
    }
}
