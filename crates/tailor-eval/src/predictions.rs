//! What a model said about labeled images: the one input of every figure.

use crate::{Error, Result};

/// How far the probabilities of a row may sum from 1, so that single-precision softmax over many classes passes.
const SUM_TOLERANCE: f64 = 1e-4;

/// What a model said about N labeled images of K classes.
///
/// Always consistent: every label names a class, every row holds K probabilities that sum to 1, and class names differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    class_names: Vec<String>,
    labels: Vec<usize>,
    /// `[N, K]`, row-major.
    probabilities: Vec<f64>,
}

impl Predictions {
    /// Takes `labels` `[N]` and `probabilities` `[N, K]`, row-major, whose rows sum to 1.
    ///
    /// # Errors
    /// Fewer than two classes, a class name given twice, a label without class, values that do not fill `[N, K]`, a value
    /// outside of 0 to 1, or a row whose sum is off by more than 1e-4. Each names the row.
    pub fn new(class_names: Vec<String>, labels: Vec<usize>, probabilities: Vec<f64>) -> Result<Self> {
        check_frame(&class_names, &labels, probabilities.len())?;
        for (row, distribution) in probabilities.chunks_exact(class_names.len()).enumerate() {
            check_distribution(row, distribution, &class_names)?;
        }
        Ok(Self { class_names, labels, probabilities })
    }

    /// Takes `labels` `[N]` and a network's raw outputs, `logits` `[N, K]`, row-major. Softmax is computed in double
    /// precision after subtracting each row's maximum, so that no logit overflows.
    ///
    /// # Errors
    /// As [`Predictions::new`], and a logit that is not finite; it names the row.
    pub fn from_logits(class_names: Vec<String>, labels: Vec<usize>, logits: &[f32]) -> Result<Self> {
        Self::from_scaled_logits(class_names, labels, logits, 1.0)
    }

    /// As [`Predictions::from_logits`], of logits that are divided by a temperature before.
    ///
    /// # Errors
    /// The same.
    pub fn from_scaled_logits(
        class_names: Vec<String>,
        labels: Vec<usize>,
        logits: &[f32],
        temperature: f64,
    ) -> Result<Self> {
        check_frame(&class_names, &labels, logits.len())?;
        let classes = class_names.len();
        if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
            let class = class_names[at % classes].clone();
            return Err(Error::LogitNotFinite { row: at / classes, class, value: logits[at] });
        }
        let probabilities = logits.chunks_exact(classes).flat_map(|row| softmax(row, temperature)).collect();
        Ok(Self { class_names, labels, probabilities })
    }

    /// Number of images, N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of classes, K.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// The classes' names, in the order of the labels.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The true class of image `i`.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len), as every accessor here does, like indexing a slice.
    pub fn label(&self, i: usize) -> usize {
        self.labels[i]
    }

    /// The probabilities of image `i`, `[K]`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.probabilities[i * self.classes()..][..self.classes()]
    }

    /// The most probable class of image `i`; the lowest index among equals.
    pub fn predicted(&self, i: usize) -> usize {
        most_probable(self.row(i))
    }

    /// The probability of the predicted class of image `i`.
    pub fn confidence(&self, i: usize) -> f64 {
        self.row(i)[self.predicted(i)]
    }

    /// Whether the predicted class of image `i` is the true one.
    pub fn is_correct(&self, i: usize) -> bool {
        self.predicted(i) == self.label(i)
    }

    /// The `k` most probable classes of image `i` with their probabilities, best first; the lowest index first among
    /// equals. All K classes if `k` is larger.
    pub fn top(&self, i: usize, k: usize) -> Vec<(usize, f64)> {
        let row = self.row(i);
        ranked(row).into_iter().take(k).map(|class| (class, row[class])).collect()
    }
}

fn check_frame(class_names: &[String], labels: &[usize], values: usize) -> Result<()> {
    let classes = class_names.len();
    if classes < 2 {
        return Err(Error::TooFewClasses(classes));
    }
    if let Some((_, name)) = class_names.iter().enumerate().find(|(i, name)| class_names[..*i].contains(name))
    {
        return Err(Error::DuplicateClass(name.clone()));
    }
    if labels.len().checked_mul(classes) != Some(values) {
        return Err(Error::ValueCount { images: labels.len(), classes, values });
    }
    match labels.iter().position(|&label| label >= classes) {
        Some(row) => Err(Error::LabelOutOfRange { row, label: labels[row], classes }),
        None => Ok(()),
    }
}

/// The index of the highest of the probabilities; the lowest index among equals.
pub(crate) fn most_probable(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
}

/// The classes, the most probable first; the lowest index first among equals.
pub(crate) fn ranked(row: &[f64]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..row.len()).collect();
    classes.sort_by(|&a, &b| row[b].total_cmp(&row[a])); // stable, so equals stay in order
    classes
}

/// Whether `probabilities` `[K]` of image `row` are a distribution.
pub(crate) fn check_distribution(row: usize, probabilities: &[f64], class_names: &[String]) -> Result<()> {
    if let Some(class) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        let value = probabilities[class];
        return Err(Error::NotAProbability { row, class: class_names[class].clone(), value });
    }
    let sum: f64 = probabilities.iter().sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE { Err(Error::RowSum { row, sum }) } else { Ok(()) }
}

/// exp((z - max z) / T) / Σ exp((z - max z) / T), `[K]` → `[K]`.
fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let power = |&logit: &f32| ((f64::from(logit) - f64::from(max)) / temperature).exp();
    let powers: Vec<f64> = logits.iter().map(power).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn softmax_is_the_logistic_function_for_two_classes_and_does_not_overflow() {
        let predictions =
            Predictions::from_logits(names(&["a", "b"]), vec![0, 1], &[0.0, 1.0, -3e38, 3e38]).unwrap();
        assert!((predictions.row(0)[1] - 1.0 / (1.0 + (-1.0_f64).exp())).abs() < 1e-15);
        assert_eq!(predictions.row(1), [0.0, 1.0]);
    }

    #[test]
    fn ties_go_to_the_lowest_index() {
        let predictions = Predictions::new(names(&["a", "b", "c"]), vec![2], vec![0.2, 0.4, 0.4]).unwrap();
        assert_eq!(predictions.predicted(0), 1);
        assert_eq!(predictions.confidence(0), 0.4);
        assert_eq!(predictions.top(0, 2), [(1, 0.4), (2, 0.4)]);
        assert_eq!(predictions.top(0, 9).len(), 3);
        assert!(!predictions.is_correct(0));
    }

    #[test]
    fn bad_input_is_an_error_that_says_where() {
        struct Case {
            why: &'static str,
            names: &'static [&'static str],
            labels: Vec<usize>,
            probabilities: Vec<f64>,
            says: &'static str,
        }
        let pair: &[&str] = &["a", "b"];
        for case in [
            Case {
                why: "one class",
                names: &["a"],
                labels: vec![0],
                probabilities: vec![1.0],
                says: "two classes",
            },
            Case {
                why: "same name",
                names: &["a", "a"],
                labels: vec![],
                probabilities: vec![],
                says: "\"a\"",
            },
            Case {
                why: "short",
                names: pair,
                labels: vec![0, 1],
                probabilities: vec![1.0; 3],
                says: "need 4 values",
            },
            Case {
                why: "label",
                names: pair,
                labels: vec![2],
                probabilities: vec![0.5; 2],
                says: "image 0 is 2",
            },
            Case {
                why: "negative",
                names: pair,
                labels: vec![0],
                probabilities: vec![-0.5, 1.5],
                says: "is -0.5",
            },
            Case {
                why: "NaN",
                names: pair,
                labels: vec![0],
                probabilities: vec![0.5, f64::NAN],
                says: "is NaN",
            },
            Case {
                why: "sum",
                names: pair,
                labels: vec![0],
                probabilities: vec![0.5, 0.4],
                says: "sum to 0.9",
            },
        ] {
            let error = Predictions::new(names(case.names), case.labels, case.probabilities).unwrap_err();
            assert!(error.to_string().contains(case.says), "{}: {error}", case.why);
        }
    }

    #[test]
    fn a_logit_that_is_not_finite_names_its_row_and_class() {
        let logits = [0.0, 1.0, 0.0, f32::NAN];
        let error = Predictions::from_logits(names(&["Coat", "Shirt"]), vec![0, 1], &logits).unwrap_err();
        assert!(error.to_string().contains("image 1 for class \"Shirt\" is NaN"), "{error}");
    }
}
