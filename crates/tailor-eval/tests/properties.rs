//! What holds for every set of predictions.

use proptest::prelude::*;
use tailor_eval::{Evaluation, Predictions};

/// Labels `[N]` and logits `[N, K]` for 2 to 6 classes and 1 to 40 images.
fn answers() -> impl Strategy<Value = (usize, Vec<usize>, Vec<f32>)> {
    (2_usize..=6, 1_usize..=40).prop_flat_map(|(classes, images)| {
        let labels = prop::collection::vec(0..classes, images);
        // Halves tie now and then, the rest are any numbers.
        let logit = prop_oneof![(-4_i8..=4).prop_map(|n| f32::from(n) / 2.0), -200.0_f32..200.0];
        (Just(classes), labels, prop::collection::vec(logit, images * classes))
    })
}

fn predictions(classes: usize, labels: Vec<usize>, logits: &[f32]) -> Predictions {
    let names = (0..classes).map(|class| format!("class, \"{class}\"")).collect();
    Predictions::from_logits(names, labels, logits).unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0)
}

proptest! {
    #[test]
    fn the_order_of_the_images_does_not_matter((classes, labels, logits) in answers()) {
        let forth = Evaluation::of(&predictions(classes, labels.clone(), &logits)).unwrap();
        let labels = labels.into_iter().rev().collect();
        let logits: Vec<f32> = logits.chunks(classes).rev().flatten().copied().collect();
        let back = Evaluation::of(&predictions(classes, labels, &logits)).unwrap();
        prop_assert_eq!(&forth.confusion, &back.confusion);
        prop_assert_eq!(&forth.per_class, &back.per_class);
        prop_assert_eq!(&forth.top_k, &back.top_k);
        // Sums of floats depend on the order in their last bits.
        prop_assert!(close(forth.loss, back.loss));
        prop_assert!(close(forth.expected_calibration_error, back.expected_calibration_error));
    }

    #[test]
    fn figures_agree_with_each_other((classes, labels, logits) in answers()) {
        let images = labels.len();
        let evaluation = Evaluation::of(&predictions(classes, labels, &logits)).unwrap();
        prop_assert_eq!(evaluation.confusion.images(), images);
        prop_assert_eq!(evaluation.per_class.iter().map(|class| class.support).sum::<usize>(), images);
        prop_assert_eq!(evaluation.calibration.bins.iter().map(|bin| bin.images).sum::<usize>(), images);
        prop_assert_eq!(evaluation.top_k_accuracy(1), Some(evaluation.accuracy));
        prop_assert!(evaluation.top_k.is_sorted_by(|a, b| a.accuracy <= b.accuracy));
        prop_assert!(close(evaluation.weighted_average.recall, evaluation.accuracy));
        let interval = evaluation.accuracy_interval;
        prop_assert!(0.0 <= interval.low && interval.high <= 1.0);
        prop_assert!(interval.low - 1e-12 <= evaluation.accuracy && evaluation.accuracy <= interval.high + 1e-12);
        prop_assert!((0.0..=1.0).contains(&evaluation.expected_calibration_error));
        let mistakes: usize = evaluation.confusion.most_confused_pairs(usize::MAX).iter().map(|p| p.count).sum();
        prop_assert_eq!(mistakes, images - evaluation.confusion.correct());
    }

    #[test]
    fn predictions_csv_reads_back_to_the_same_bits((classes, labels, logits) in answers()) {
        let predictions = predictions(classes, labels, &logits);
        let file = tempfile::NamedTempFile::new().unwrap();
        predictions.write_csv(file.as_file()).unwrap();
        let again = Predictions::read_csv(file.path()).unwrap();
        prop_assert_eq!(&again, &predictions);
        for i in 0..predictions.len() {
            let bits = |p: &Predictions| p.row(i).iter().map(|p| p.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&again), bits(&predictions));
        }
    }
}
