//! The figures are those of scikit-learn on the same `predictions.csv`, to 1e-9. `vectors/make.py` makes the vectors.

use std::path::Path;

use serde::Deserialize;
use tailor_eval::{Average, Evaluation, Predictions};

/// What scikit-learn says about a set.
#[derive(Deserialize)]
struct Expected {
    accuracy: f64,
    classes: Vec<Row>,
    #[serde(rename = "macro")]
    macro_average: Row,
    #[serde(rename = "weighted")]
    weighted_average: Row,
    confusion: Vec<Vec<usize>>,
    log_loss: f64,
    top_k: Vec<f64>,
}

/// A row of `classification_report`.
#[derive(Deserialize)]
struct Row {
    precision: f64,
    recall: f64,
    #[serde(rename = "f1-score")]
    f1: f64,
    support: f64,
}

#[track_caller]
fn assert_close(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() <= 1e-9, "{what}: {ours}, but scikit-learn says {theirs}");
}

fn assert_average(ours: Average, theirs: &Row, what: &str) {
    assert_close(ours.precision, theirs.precision, what);
    assert_close(ours.recall, theirs.recall, what);
    assert_close(ours.f1, theirs.f1, what);
}

fn check(set: &str) {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let expected = std::fs::read_to_string(vectors.join(format!("{set}.json"))).unwrap();
    let expected: Expected = serde_json::from_str(&expected).unwrap();
    let predictions = Predictions::read_csv(vectors.join(format!("{set}.csv"))).unwrap();
    let ours = Evaluation::of(&predictions).unwrap();

    assert_close(ours.accuracy, expected.accuracy, "accuracy");
    assert_close(ours.loss, expected.log_loss, "log loss");
    assert_eq!(ours.confusion.counts, expected.confusion);
    assert_eq!(ours.per_class.len(), expected.classes.len());
    for (class, theirs) in ours.per_class.iter().zip(&expected.classes) {
        assert_close(class.precision, theirs.precision, &class.name);
        assert_close(class.recall, theirs.recall, &class.name);
        assert_close(class.f1, theirs.f1, &class.name);
        assert_close(class.support as f64, theirs.support, &class.name);
    }
    assert_average(ours.macro_average, &expected.macro_average, "macro average");
    assert_average(ours.weighted_average, &expected.weighted_average, "weighted average");
    assert_eq!(ours.top_k.len(), expected.top_k.len());
    for (top, &theirs) in ours.top_k.iter().zip(&expected.top_k) {
        assert_close(top.accuracy, theirs, &format!("top {}", top.k));
    }
}

#[test]
fn ten_classes() {
    check("ten-classes");
}

#[test]
fn a_class_never_predicted_and_a_class_without_images() {
    check("undefined");
}

#[test]
fn ties() {
    check("ties");
}

#[test]
fn probabilities_of_zero_and_one() {
    check("extremes");
}

#[test]
fn two_classes() {
    check("two-classes");
}
