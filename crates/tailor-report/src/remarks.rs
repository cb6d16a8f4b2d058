//! What the numbers say, in a sentence or two under each heading.

use tailor_eval::{
    AbstentionCheck, AccuracyCoverage, ClassMetrics, ConfusedPair, EpochRecord, Evaluation, History,
    Predictions, SetCoverage,
};

use crate::LayerRow;
use crate::number::{count, counted, percent};

/// Above this confidence a mistake is made without doubt.
const WITHOUT_DOUBT: f64 = 0.95;
/// Up to this calibration error, confidence can be taken at its word.
const CALIBRATED: f64 = 0.02;
/// Validation loss this much above its minimum at the end is called overfitting.
const OVERFITTED: f64 = 1.05;

pub(crate) fn headline(evaluation: &Evaluation, data_name: &str, part: &str) -> String {
    let interval = evaluation.accuracy_interval;
    format!(
        "{} of {} of {data_name} were named correctly. With 95\u{202f}% confidence, the accuracy on images of \
         this kind lies between {} and {}.",
        count(evaluation.confusion.correct()),
        counted(evaluation.images, &format!("{part} image")),
        percent(interval.low),
        percent(interval.high)
    )
}

pub(crate) fn curves(history: &History, kept_epoch: Option<usize>) -> String {
    let (Some(first), Some(last)) = (history.0.first(), history.0.last()) else { return String::new() };
    if let Some(lost) = history.0.iter().find(|record| !record.train_loss.is_finite()) {
        return format!("The loss was no longer a number in epoch {}: training diverged.", lost.epoch);
    }
    let epochs = counted(history.0.len(), "epoch");
    let Some((best, loss)) =
        history.lowest_validation_loss().and_then(|best| Some((best, best.validation_loss?)))
    else {
        return format!(
            "Training loss went from {:.3} to {:.3} in {epochs}; nothing was held back for validation.",
            first.train_loss, last.train_loss
        );
    };
    let accuracy = best.validation_accuracy.map_or(String::new(), |accuracy| {
        format!(", with {} of the validation images right", percent(accuracy))
    });
    let after = if overfitted(best, last, loss) {
        " Afterwards training loss went on falling while validation loss rose: the model began to learn the training \
         images by heart."
    } else if best.epoch == last.epoch && history.0.len() > 1 {
        " It was still falling, so a longer training may do better."
    } else {
        ""
    };
    format!(
        "Validation loss was lowest in epoch {} of {}: {loss:.3}{accuracy}.{after}{}",
        best.epoch,
        last.epoch,
        kept_epoch.map_or(String::new(), |epoch| format!(" The weights of epoch {epoch} were kept."))
    )
}

fn overfitted(best: &EpochRecord, last: &EpochRecord, lowest: f64) -> bool {
    last.train_loss < best.train_loss && last.validation_loss.is_some_and(|loss| loss > OVERFITTED * lowest)
}

pub(crate) fn confusion(evaluation: &Evaluation) -> String {
    let mistakes = evaluation.images - evaluation.confusion.correct();
    if mistakes == 0 {
        return format!(
            "All {} stand on the diagonal: no mistake was made.",
            counted(evaluation.images, "image")
        );
    }
    let seen = || evaluation.per_class.iter().enumerate().filter(|(_, class)| class.support > 0);
    let by_recall =
        |a: &(usize, &ClassMetrics), b: &(usize, &ClassMetrics)| a.1.recall.total_cmp(&b.1.recall);
    let (Some((hardest, class)), Some((_, easiest))) = (seen().min_by(by_recall), seen().max_by(by_recall))
    else {
        return String::new();
    };
    let pairs = evaluation.confusion.most_confused_pairs(usize::MAX);
    let taken_for = pairs.iter().find(|pair| pair.label == hardest).map_or(String::new(), |pair| {
        format!(", most often taken for {}", evaluation.per_class[pair.predicted].name)
    });
    format!(
        "{} is the hardest class: {} recall{taken_for}. {} is the easiest, with {}.",
        class.name,
        percent(class.recall),
        easiest.name,
        percent(easiest.recall)
    )
}

pub(crate) fn classes(evaluation: &Evaluation) -> String {
    let predicted = |class: &usize| evaluation.confusion.predicted_as(*class) > 0;
    let precision = |class: usize| evaluation.per_class[class].precision;
    let Some(lowest) = (0..evaluation.per_class.len())
        .filter(predicted)
        .min_by(|&a, &b| precision(a).total_cmp(&precision(b)))
    else {
        return String::new();
    };
    let never: Vec<_> = (0..evaluation.per_class.len()).filter(|class| !predicted(class)).collect();
    let never = match never.as_slice() {
        [] => String::new(),
        [class] => format!(" {} was never predicted.", evaluation.per_class[*class].name),
        classes => format!(" {} classes were never predicted.", classes.len()),
    };
    format!(
        "Precision: of the images called a class, how many are. Recall: of the images of a class, how many are found. \
         F1 is their harmonic mean. Least to be trusted is the answer {}: right in {} of its cases.{never}",
        evaluation.per_class[lowest].name,
        percent(precision(lowest))
    )
}

pub(crate) fn pairs(evaluation: &Evaluation, shown: &[ConfusedPair]) -> String {
    let mistakes = evaluation.images - evaluation.confusion.correct();
    let covered: usize = shown.iter().map(|pair| pair.count).sum();
    let kinds = match shown.len() {
        1 => "This kind of mistake makes up".to_owned(),
        n => format!("These {n} kinds of mistake make up"),
    };
    format!(
        "{kinds} {} of all {}.",
        percent(covered as f64 / mistakes.max(1) as f64),
        counted(mistakes, "mistake")
    )
}

pub(crate) fn sample(predictions: &Predictions, shown: &[usize]) -> String {
    let right = shown.iter().filter(|&&i| predictions.is_correct(i)).count();
    format!("{} drawn at random; {} right.", counted(shown.len(), "image"), are(right, shown.len()))
}

pub(crate) fn evidence(meaning: &str) -> String {
    format!(
        "Of each class, the image that the model was surest of, and beneath it what spoke for the class. {meaning}"
    )
}

pub(crate) fn worst_mistakes(predictions: &Predictions) -> String {
    let mistakes = || (0..predictions.len()).filter(|&i| !predictions.is_correct(i));
    let sure = mistakes().filter(|&i| predictions.confidence(i) > WITHOUT_DOUBT).count();
    format!(
        "Wrong, and sure of it. Of {}, {} made with a confidence above {:.0}\u{202f}%. Look closely: now and then it is the label \
         that is wrong.",
        counted(mistakes().count(), "mistake"),
        are_past(sure),
        100.0 * WITHOUT_DOUBT
    )
}

pub(crate) fn least_certain(predictions: &Predictions, shown: &[usize]) -> String {
    let right = shown.iter().filter(|&&i| predictions.is_correct(i)).count();
    let highest = shown.last().map_or(0.0, |&i| predictions.confidence(i));
    format!(
        "Here the model hesitates most: its confidence is at most {}. Of these {}, {} right all the same.",
        percent(highest),
        counted(shown.len(), "image"),
        are(right, shown.len())
    )
}

pub(crate) fn calibration(evaluation: &Evaluation) -> String {
    let bins = &evaluation.calibration.bins;
    let confidence =
        bins.iter().map(|bin| bin.images as f64 * bin.confidence).sum::<f64>() / evaluation.images as f64;
    let verdict = if evaluation.expected_calibration_error <= CALIBRATED {
        "its confidence can be taken at its word"
    } else if confidence > evaluation.accuracy {
        "it is surer than it should be"
    } else {
        "it is better than it believes"
    };
    format!(
        "On average the model is {} sure and {} right: {verdict}. Bars that end on the dashed line would be perfectly \
         honest; the mean distance from it is the calibration error, {}.",
        percent(confidence),
        percent(evaluation.accuracy),
        percent(evaluation.expected_calibration_error)
    )
}

/// Shares of images whose accuracy is told.
const HALF: f64 = 0.5;

pub(crate) fn coverage(curve: &AccuracyCoverage, sure: Option<AbstentionCheck>) -> String {
    let half = (HALF * curve.images() as f64).ceil() as usize;
    let surest = curve.points().iter().find(|point| point.answered >= half);
    let surest = surest.map_or(String::new(), |point| {
        format!(" Of the surer half of the images, {} are named correctly.", percent(point.accuracy()))
    });
    let threshold = sure.map_or(String::new(), |sure| {
        format!(
            " Below a confidence of {} this model answers \u{201c}not sure\u{201d}: it answers {} of these images, and {} of the \
             answers are right (95\u{202f}% interval {} to {}); {} were wanted.",
            percent(sure.confidence),
            percent(sure.coverage),
            percent(sure.accuracy),
            percent(sure.interval.low),
            percent(sure.interval.high),
            percent(sure.wanted)
        )
    });
    format!(
        "A model that may say \u{201c}not sure\u{201d} makes fewer mistakes: further to the left, fewer images are \
         answered.{surest}{threshold}"
    )
}

pub(crate) fn sets(sets: &SetCoverage) -> String {
    let single = sets.sizes.first().copied().unwrap_or(0);
    let images: usize = sets.sizes.iter().sum();
    format!(
        "Instead of one class, the model can name a set that holds the true one in {} of the images: here it does in {} \
         (95\u{202f}% interval {} to {}). A set has {:.2} classes on average; {} have one.",
        percent(sets.promised),
        percent(sets.covered),
        percent(sets.interval.low),
        percent(sets.interval.high),
        sets.mean_size,
        percent(single as f64 / images.max(1) as f64)
    )
}

pub(crate) fn model(layers: &[LayerRow]) -> String {
    let total: usize = layers.iter().map(|layer| layer.parameters).sum();
    let largest = layers.iter().max_by_key(|layer| layer.parameters).filter(|layer| layer.parameters > 0);
    let largest = largest.map_or(String::new(), |layer| {
        format!(", {} of them in {}", percent(layer.parameters as f64 / total as f64), layer.name)
    });
    format!("{}{largest}.", counted(total, "parameter"))
}

/// "17 are", "1 is", "all are", "none is".
fn are(n: usize, of: usize) -> String {
    match n {
        0 => "none is".to_owned(),
        1 => "1 is".to_owned(),
        n if n == of => "all are".to_owned(),
        n => format!("{} are", count(n)),
    }
}

/// "17 were", "1 was", "none was".
fn are_past(n: usize) -> String {
    match n {
        0 => "none was".to_owned(),
        1 => "1 was".to_owned(),
        n => format!("{} were", count(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Predictions that give `predicted` a probability of 0.8.
    fn predictions(labels: &[usize], predicted: &[usize]) -> Predictions {
        let names = ["Coat", "Shirt", "Dress"].map(String::from).to_vec();
        let rows =
            predicted.iter().flat_map(|&p| (0..3).map(move |class| if class == p { 0.8 } else { 0.1 }));
        Predictions::new(names, labels.to_vec(), rows.collect()).unwrap()
    }

    /// A narrow space is a space to the reader of a test.
    fn plain(remark: &str) -> String {
        remark.replace('\u{202f}', " ")
    }

    #[test]
    fn the_hardest_class_is_named_with_what_it_is_taken_for() {
        let evaluation = Evaluation::of(&predictions(&[0, 0, 1, 1, 1], &[0, 0, 1, 0, 0])).unwrap();
        assert_eq!(
            plain(&confusion(&evaluation)),
            "Shirt is the hardest class: 33.3 % recall, most often taken for Coat. Coat is the easiest, with 100.0 %."
        );
        let pairs = evaluation.confusion.most_confused_pairs(6);
        assert_eq!(
            plain(&super::pairs(&evaluation, &pairs)),
            "This kind of mistake makes up 100.0 % of all 2 mistakes."
        );
        assert!(
            plain(&classes(&evaluation))
                .ends_with("right in 50.0 % of its cases. Dress was never predicted.")
        );
    }

    #[test]
    fn confidence_is_compared_with_accuracy() {
        let verdict = |labels: &[usize]| {
            let predicted = vec![0; labels.len()];
            plain(&calibration(&Evaluation::of(&predictions(labels, &predicted)).unwrap()))
        };
        assert!(
            verdict(&[0, 0, 0, 0, 1]).contains("80.0 % sure and 80.0 % right: its confidence can be taken")
        );
        assert!(verdict(&[0, 1, 1, 1, 1]).contains("surer than it should be"));
        assert!(verdict(&[0, 0, 0, 0, 0]).contains("better than it believes"));
    }

    fn record(epoch: usize, train_loss: f64, validation_loss: Option<f64>) -> EpochRecord {
        EpochRecord {
            epoch,
            learning_rate: 1e-3,
            train_loss,
            train_accuracy: 0.9,
            validation_loss,
            validation_accuracy: validation_loss.map(|_| 0.915),
            seconds: 1.0,
            images_per_second: 1.0,
        }
    }

    #[test]
    fn curves_are_told_by_how_they_end() {
        let of = |losses: &[(f64, Option<f64>)]| {
            let records =
                losses.iter().zip(1..).map(|(&(train, validation), epoch)| record(epoch, train, validation));
            plain(&curves(&History(records.collect()), None))
        };
        assert_eq!(of(&[]), "");
        assert_eq!(
            of(&[(0.5, Some(0.4)), (0.4, Some(0.3)), (0.3, Some(0.301))]),
            "Validation loss was lowest in epoch 2 of 3: 0.300, with 91.5 % of the validation images right."
        );
        assert!(of(&[(0.5, Some(0.3)), (0.2, Some(0.4))]).ends_with("by heart."));
        assert!(of(&[(0.5, Some(0.4)), (0.4, Some(0.3))]).ends_with("a longer training may do better."));
        assert!(
            of(&[(0.5, None), (0.25, None)])
                .starts_with("Training loss went from 0.500 to 0.250 in 2 epochs;")
        );
        assert!(of(&[(0.5, None), (f64::NAN, None)]).contains("in epoch 2: training diverged"));
    }

    #[test]
    fn numbers_agree_with_their_verbs() {
        assert_eq!([are(0, 3), are(1, 3), are(2, 3), are(3, 3)], ["none is", "1 is", "2 are", "all are"]);
        let right = predictions(&[0, 0], &[0, 0]);
        assert_eq!(sample(&right, &[0, 1]), "2 images drawn at random; all are right.");
        assert!(worst_mistakes(&predictions(&[0, 1], &[0, 0])).contains("Of 1 mistake, none was made"));
    }
}
