//! Temperatures, conformal thresholds, detection figures, reliability diagrams, accuracies by coverage and confident joints are
//! those of SciPy, NumPy, scikit-learn and cleanlab. `vectors/make_confidence.py` makes the vectors.

use serde::Deserialize;
use tailor_eval::{
    AccuracyCoverage, Calibration, ConfidentJoint, Detection, Nonconformity, PredictionSets, Predictions,
    energies, label_errors, log_loss, temperature,
};

#[derive(Deserialize)]
struct Vectors {
    temperature: Vec<Temperature>,
    conformal: Vec<Conformal>,
    detection: Vec<DetectionCase>,
    labels: Vec<Labels>,
    calibration: Vec<CalibrationCase>,
    systematic: Labels,
}

#[derive(Deserialize)]
struct Temperature {
    logits: Vec<f32>,
    labels: Vec<usize>,
    temperature: f64,
    loss: f64,
    energies: Vec<f64>,
}

#[derive(Deserialize)]
struct Conformal {
    logits: Vec<f32>,
    labels: Vec<usize>,
    coverage: f64,
    lac: f64,
    aps: f64,
}

#[derive(Deserialize)]
struct DetectionCase {
    known: Vec<f64>,
    strangers: Vec<f64>,
    auroc: f64,
    false_positives: f64,
}

/// Bins that hold images, and what is answered from some confidences on.
#[derive(Deserialize)]
struct CalibrationCase {
    logits: Vec<f32>,
    labels: Vec<usize>,
    counts: Vec<usize>,
    accuracies: Vec<f64>,
    confidences: Vec<f64>,
    expected_error: f64,
    coverage: Vec<CoveragePoint>,
}

#[derive(Deserialize)]
struct CoveragePoint {
    confidence: f64,
    answered: usize,
    accuracy: f64,
}

#[derive(Deserialize)]
struct Labels {
    probabilities: Vec<f64>,
    labels: Vec<usize>,
    joint: Vec<Vec<usize>>,
    ranked: Vec<usize>,
    flipped: Vec<usize>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/confidence.json")).unwrap()
}

fn names(values: usize, labels: &[usize]) -> Vec<String> {
    (0..values / labels.len()).map(|class| class.to_string()).collect()
}

#[test]
fn temperatures_and_energies_are_those_of_scipy() {
    for case in vectors().temperature {
        let found = temperature(&case.logits, &case.labels);
        assert!((found / case.temperature - 1.0).abs() < 1e-6, "{found}, SciPy {}", case.temperature);
        let names = names(case.logits.len(), &case.labels);
        let classes = names.len();
        let predictions = Predictions::from_scaled_logits(names, case.labels, &case.logits, found).unwrap();
        assert!((log_loss(&predictions) - case.loss).abs() < 1e-9);
        for (ours, theirs) in energies(&case.logits, classes).iter().zip(&case.energies) {
            assert!((ours - theirs).abs() < 1e-12, "{ours}, SciPy {theirs}");
        }
    }
}

#[test]
fn conformal_thresholds_are_those_of_numpy() {
    for case in vectors().conformal {
        let names = names(case.logits.len(), &case.labels);
        let predictions = Predictions::from_logits(names, case.labels, &case.logits).unwrap();
        for (by, expected) in [(Nonconformity::Lac, case.lac), (Nonconformity::Aps, case.aps)] {
            let found = PredictionSets::fit(&predictions, by, case.coverage).threshold;
            assert!((found - expected).abs() < 1e-12, "{by}: {found}, NumPy {expected}");
        }
    }
}

#[test]
fn detection_figures_are_those_of_scikit_learn() {
    for case in vectors().detection {
        let found = Detection::of(&case.known, &case.strangers);
        assert!((found.auroc - case.auroc).abs() < 1e-12, "{found:?}, scikit-learn {}", case.auroc);
        assert!((found.false_positives - case.false_positives).abs() < 1e-12, "{found:?}");
    }
}

#[test]
fn reliability_and_accuracy_by_coverage_are_those_of_scikit_learn() {
    for case in vectors().calibration {
        let names = names(case.logits.len(), &case.labels);
        let predictions = Predictions::from_logits(names, case.labels, &case.logits).unwrap();
        let calibration = Calibration::of(&predictions);
        let filled: Vec<_> = calibration.bins.iter().filter(|bin| bin.images > 0).collect();
        assert_eq!(filled.iter().map(|bin| bin.images).collect::<Vec<_>>(), case.counts);
        for (bin, (accuracy, confidence)) in filled.iter().zip(case.accuracies.iter().zip(&case.confidences))
        {
            assert!((bin.accuracy - accuracy).abs() < 1e-12, "{bin:?}, scikit-learn {accuracy}");
            assert!((bin.confidence - confidence).abs() < 1e-12, "{bin:?}, scikit-learn {confidence}");
        }
        assert!((calibration.expected_error() - case.expected_error).abs() < 1e-12);
        let curve = AccuracyCoverage::of(&predictions);
        for point in case.coverage {
            // Sums of exponentials are rounded.
            let answered = curve.at(point.confidence - 1e-12);
            assert_eq!(answered.answered, point.answered);
            assert!((answered.accuracy() - point.accuracy).abs() < 1e-12, "{answered:?}");
        }
    }
}

/// The planted errors that are found and those that are named, after a comparison with cleanlab.
fn compare_labels(case: Labels) -> [usize; 3] {
    let names = names(case.probabilities.len(), &case.labels);
    let predictions = Predictions::new(names, case.labels, case.probabilities).unwrap();
    assert_eq!(ConfidentJoint::of(&predictions).counts, case.joint);
    let ranked: Vec<usize> = label_errors(&predictions).iter().map(|error| error.image).collect();
    assert_eq!(ranked, case.ranked);
    let found = ranked.iter().filter(|image| case.flipped.contains(image)).count();
    [found, case.flipped.len(), ranked.len()]
}

#[test]
fn confident_joints_and_ranked_errors_are_those_of_cleanlab() {
    for case in vectors().labels {
        let [found, planted, _] = compare_labels(case);
        assert!(2 * found > planted, "{found} of {planted} planted errors");
    }
}

#[test]
fn errors_that_the_model_has_learned_are_found_in_part_as_by_cleanlab() {
    let [found, planted, named] = compare_labels(vectors().systematic);
    assert!(10 * found >= 4 * planted && 10 * found <= 8 * planted, "{found} of {planted} planted errors");
    assert!(10 * found >= 9 * named, "{found} of {named} that are named");
}
