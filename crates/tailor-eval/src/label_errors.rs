//! Which labels are probably wrong: confident learning (Northcutt, Jiang and Chuang 2021, "Confident learning: estimating
//! uncertainty in dataset labels").

use serde::Serialize;

use crate::Predictions;

/// How many images of each given label are confidently of each class; from predictions of images that the predicting model was not
/// trained on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfidentJoint {
    /// The self-confidence above which an image counts as of a class: the mean probability of the class over the images that are
    /// labeled so (equation 2 of the paper); none for classes without images.
    pub thresholds: Vec<Option<f64>>,
    /// `[given][true]` (equation 1).
    pub counts: Vec<Vec<usize>>,
}

/// An image whose label is probably wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LabelError {
    /// Its position.
    pub image: usize,
    /// Its label.
    pub given: usize,
    /// The class that it is confidently of.
    pub suggested: usize,
    /// p(given) − the highest probability of another class: the lower, the surer is the error.
    pub margin: f64,
}

impl ConfidentJoint {
    /// Counts confident images. Among several classes that an image is confidently of, the most probable one counts.
    pub fn of(predictions: &Predictions) -> Self {
        let thresholds = thresholds(predictions);
        let classes = predictions.classes();
        let mut counts = vec![vec![0; classes]; classes];
        for i in 0..predictions.len() {
            if let Some(class) = confident_class(predictions.row(i), &thresholds) {
                counts[predictions.label(i)][class] += 1;
            }
        }
        Self { thresholds, counts }
    }

    /// How many images of each given label are estimated to be of each class, `[given][true]`: the counts, scaled so that each
    /// given label has as many images as there are (equation 3). A label without confident images is taken to be right.
    pub fn calibrated(&self, predictions: &Predictions) -> Vec<Vec<usize>> {
        let mut images = vec![0_usize; self.counts.len()];
        (0..predictions.len()).for_each(|i| images[predictions.label(i)] += 1);
        let of_label = |(label, row): (usize, &Vec<usize>)| {
            let confident = |class: usize| if class == label { row[class].max(1) } else { row[class] } as f64;
            let scale = images[label] as f64 / (0..row.len()).map(confident).sum::<f64>();
            let shares: Vec<f64> = (0..row.len()).map(|class| scale * confident(class)).collect();
            apportioned(&shares, images[label])
        };
        self.counts.iter().enumerate().map(of_label).collect()
    }

    /// The share of labels that are estimated to be wrong.
    pub fn noise(&self, predictions: &Predictions) -> f64 {
        let rows = self.calibrated(predictions);
        let right: usize = rows.iter().enumerate().map(|(label, row)| row[label]).sum();
        (predictions.len() - right) as f64 / predictions.len().max(1) as f64
    }
}

/// The images whose label is probably wrong, the surest errors first. The joint estimates how many images of each given label are
/// of each other class; as many are taken, those whose probability of that class is furthest above that of the label (the
/// paper's "prune by noise rate", section 3.2), unless their label is the most probable class after all.
///
/// The method is cautious where errors follow a pattern: models learn a part of it, so that fewer of the wrong images are
/// confidently of their true class than others are of theirs. Of a fifth of a class that is labeled as one other, it finds about
/// two thirds, as cleanlab does.
pub fn label_errors(predictions: &Predictions) -> Vec<LabelError> {
    let estimated = ConfidentJoint::of(predictions).calibrated(predictions);
    let mut is_wrong = vec![false; predictions.len()];
    for (given, row) in estimated.iter().enumerate() {
        let of_label: Vec<usize> =
            (0..predictions.len()).filter(|&i| predictions.label(i) == given).collect();
        for (class, &images) in row.iter().enumerate().filter(|&(class, _)| class != given) {
            let excess = |&i: &usize| predictions.row(i)[class] - predictions.row(i)[given];
            let mut ranked = of_label.clone();
            ranked.sort_by(|a, b| excess(b).total_cmp(&excess(a)));
            ranked.iter().take(images).for_each(|&i| is_wrong[i] = !predictions.is_correct(i));
        }
    }
    let error = |image: usize| {
        let (row, given) = (predictions.row(image), predictions.label(image));
        let suggested = predictions.predicted(image);
        LabelError { image, given, suggested, margin: row[given] - row[suggested] }
    };
    let mut errors: Vec<LabelError> = (0..predictions.len()).filter(|&i| is_wrong[i]).map(error).collect();
    errors.sort_by(|a, b| a.margin.total_cmp(&b.margin)); // stable, so equals stay in order
    errors
}

/// Shares of a total as whole numbers of that total: rounded down, then up where most is missing.
fn apportioned(shares: &[f64], total: usize) -> Vec<usize> {
    let mut whole: Vec<usize> = shares.iter().map(|&share| share as usize).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| shares[b].fract().total_cmp(&shares[a].fract()));
    let missing = total.saturating_sub(whole.iter().sum());
    order.iter().take(missing).for_each(|&at| whole[at] += 1);
    whole
}

fn thresholds(predictions: &Predictions) -> Vec<Option<f64>> {
    let classes = predictions.classes();
    let (mut sums, mut images) = (vec![0.0; classes], vec![0_usize; classes]);
    for i in 0..predictions.len() {
        let label = predictions.label(i);
        sums[label] += predictions.row(i)[label];
        images[label] += 1;
    }
    let mean = |(sum, &images): (f64, &usize)| (images > 0).then(|| sum / images as f64);
    sums.into_iter().zip(&images).map(mean).collect()
}

/// The most probable of the classes whose threshold is reached; the lowest index among equals.
fn confident_class(row: &[f64], thresholds: &[Option<f64>]) -> Option<usize> {
    // The sums behind a threshold are rounded.
    const TOLERANCE: f64 = 1e-6;
    let is_confident =
        |&class: &usize| thresholds[class].is_some_and(|least| row[class] >= least - TOLERANCE);
    (0..row.len())
        .filter(is_confident)
        .reduce(|best, class| if row[class] > row[best] { class } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(labels: &[usize], rows: &[[f64; 3]]) -> Predictions {
        let names = ["a", "b", "c"].map(String::from).to_vec();
        Predictions::new(names, labels.to_vec(), rows.concat()).unwrap()
    }

    #[test]
    fn the_joint_and_the_errors_by_hand() {
        // Thresholds: a: (0.8 + 0.9 + 0.1 + 0.2)/4 = 0.5; b: (0.7 + 0.5)/2 = 0.6; c has no image.
        let predictions = predictions(
            &[0, 0, 0, 1, 1, 0],
            &[
                [0.8, 0.1, 0.1],
                [0.9, 0.1, 0.0],
                [0.1, 0.65, 0.25],
                [0.3, 0.7, 0.0],
                [0.4, 0.5, 0.1],
                [0.2, 0.55, 0.25],
            ],
        );
        let joint = ConfidentJoint::of(&predictions);
        assert!((joint.thresholds[0].unwrap() - 0.5).abs() < 1e-12 && joint.thresholds[2].is_none());
        assert_eq!(joint.counts, [[2, 1, 0], [0, 1, 0], [0, 0, 0]]);
        // Of four a's a third is b: 1⅓, so that 2⅔ and 1⅓ are 3 and 1.
        assert_eq!(joint.calibrated(&predictions), [[3, 1, 0], [0, 2, 0], [0, 0, 0]]);
        assert!((joint.noise(&predictions) - 1.0 / 6.0).abs() < 1e-12);
        let errors = label_errors(&predictions);
        assert_eq!(errors.len(), 1);
        assert_eq!((errors[0].image, errors[0].given, errors[0].suggested), (2, 0, 1));
        assert!((errors[0].margin + 0.55).abs() < 1e-12);
    }

    #[test]
    fn a_label_that_is_the_most_probable_class_is_never_wrong() {
        let rows = [[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.3, 0.7, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]];
        let predictions = predictions(&[0, 1, 0, 0, 0], &rows);
        for error in label_errors(&predictions) {
            assert_eq!(predictions.predicted(error.image), error.suggested);
            assert!(error.suggested != error.given && [2, 3].contains(&error.image), "{error:?}");
        }
    }

    #[test]
    fn shares_become_whole_and_keep_their_total() {
        assert_eq!(apportioned(&[1.5, 2.25, 0.25], 4), [2, 2, 0]);
        assert_eq!(apportioned(&[0.3, 0.3, 0.4], 1), [0, 0, 1]);
        assert_eq!(apportioned(&[2.0, 3.0], 5), [2, 3]);
    }
}
