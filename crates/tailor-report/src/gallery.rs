//! Which images are worth showing.

use std::collections::HashMap;

use tailor_eval::{ConfusedPair, Predictions, SplitMix64};

/// `n` images drawn at random without repetition; all, in random order, if there are fewer. The same seed draws the same.
pub(crate) fn sample(predictions: &Predictions, n: usize, seed: u64) -> Vec<usize> {
    let images = predictions.len();
    let mut random = SplitMix64::new(seed);
    // Fisher and Yates' shuffle of 0..images, stopped after n: only displaced numbers are kept.
    let mut displaced = HashMap::new();
    (0..n.min(images))
        .map(|i| {
            let j = i + random.below(images - i);
            let drawn = displaced.get(&j).copied().unwrap_or(j);
            let here = displaced.get(&i).copied().unwrap_or(i);
            displaced.insert(j, here);
            drawn
        })
        .collect()
}

/// The `n` mistakes that the model was surest of, surest first.
pub(crate) fn worst_mistakes(predictions: &Predictions, n: usize) -> Vec<usize> {
    surest((0..predictions.len()).filter(|&i| !predictions.is_correct(i)), predictions, n)
}

/// The `n` images of one kind of mistake that the model was surest of, surest first.
pub(crate) fn confused(predictions: &Predictions, pair: ConfusedPair, n: usize) -> Vec<usize> {
    let is_of_pair =
        |&i: &usize| predictions.label(i) == pair.label && predictions.predicted(i) == pair.predicted;
    surest((0..predictions.len()).filter(is_of_pair), predictions, n)
}

/// The `n` images with the lowest confidence, lowest first, right or wrong.
pub(crate) fn least_certain(predictions: &Predictions, n: usize) -> Vec<usize> {
    let mut images: Vec<_> = (0..predictions.len()).collect();
    images.sort_by(|&a, &b| predictions.confidence(a).total_cmp(&predictions.confidence(b)));
    images.truncate(n);
    images
}

/// Of each class with correct predictions the one that the model was surest of, `n` classes at most.
pub(crate) fn good_examples(predictions: &Predictions, n: usize) -> Vec<usize> {
    let of_class = |class: usize| {
        let right = (0..predictions.len())
            .filter(move |&i| predictions.label(i) == class && predictions.is_correct(i));
        surest(right, predictions, 1)
    };
    (0..predictions.classes()).flat_map(of_class).take(n).collect()
}

fn surest(images: impl Iterator<Item = usize>, predictions: &Predictions, n: usize) -> Vec<usize> {
    let mut images: Vec<_> = images.collect();
    images.sort_by(|&a, &b| predictions.confidence(b).total_cmp(&predictions.confidence(a)));
    images.truncate(n);
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of class 0 with these probabilities of class 0.
    fn predictions(of_label: &[f64]) -> Predictions {
        let names = ["a", "b"].map(String::from).to_vec();
        let rows = of_label.iter().flat_map(|&p| [p, 1.0 - p]).collect();
        Predictions::new(names, vec![0; of_label.len()], rows).unwrap()
    }

    #[test]
    fn a_sample_has_no_image_twice_and_depends_on_the_seed_alone() {
        let predictions = predictions(&[1.0; 50]);
        let mut all = sample(&predictions, 99, 7);
        assert_eq!(all, sample(&predictions, 50, 7));
        assert_ne!(all, sample(&predictions, 50, 8));
        assert_eq!(sample(&predictions, 5, 7), all[..5]);
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn mistakes_and_doubts_are_ranked() {
        let predictions = predictions(&[0.9, 0.3, 0.1, 0.55, 0.2]);
        assert_eq!(worst_mistakes(&predictions, 2), [2, 4]);
        assert_eq!(least_certain(&predictions, 2), [3, 1]);
        let pair = ConfusedPair { label: 0, predicted: 1, count: 3 };
        assert_eq!(confused(&predictions, pair, 9), [2, 4, 1]);
        assert_eq!(good_examples(&predictions, 9), [0]);
        let other = ConfusedPair { label: 1, predicted: 0, count: 0 };
        assert!(confused(&predictions, other, 9).is_empty());
    }
}
