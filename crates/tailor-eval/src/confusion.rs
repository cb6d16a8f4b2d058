//! Which class is taken for which.

use serde::{Deserialize, Serialize};

use crate::Predictions;

/// How often images of each true class were given each predicted class: `counts[true][predicted]`, `[K, K]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Numbers of images, a row for each true class and a column for each predicted one.
    pub counts: Vec<Vec<usize>>,
}

/// One kind of mistake: images of `label` that were taken for `predicted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfusedPair {
    /// The true class.
    pub label: usize,
    /// The class that the model gave instead.
    pub predicted: usize,
    /// How many images.
    pub count: usize,
}

impl Confusion {
    /// Counts what `predictions` say.
    pub fn of(predictions: &Predictions) -> Self {
        let answer = |i| (predictions.label(i), predictions.predicted(i));
        Self::count(predictions.classes(), (0..predictions.len()).map(answer))
    }

    /// Counts pairs of a true and a predicted class.
    pub(crate) fn count(classes: usize, answers: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut counts = vec![vec![0; classes]; classes];
        answers.for_each(|(label, predicted)| counts[label][predicted] += 1);
        Self { counts }
    }

    /// The counts of several models on the same classes, added up; none without any.
    pub fn sum<'a>(confusions: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        confusions.into_iter().cloned().reduce(|mut sum, other| {
            let cells = sum.counts.iter_mut().flatten().zip(other.counts.iter().flatten());
            cells.for_each(|(total, count)| *total += count);
            sum
        })
    }

    /// The mean of so many models whose counts these are together, rounded to whole images.
    pub fn per_model(&self, models: usize) -> Self {
        let mean = |count: &usize| (*count as f64 / models as f64).round() as usize;
        Self { counts: self.counts.iter().map(|row| row.iter().map(mean).collect()).collect() }
    }

    /// Number of classes, K.
    pub fn classes(&self) -> usize {
        self.counts.len()
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.counts.iter().flatten().sum()
    }

    /// Number of images that were given their true class.
    pub fn correct(&self) -> usize {
        (0..self.classes()).map(|class| self.counts[class][class]).sum()
    }

    /// Number of images of the true class `label`: a row's sum.
    pub fn support(&self, label: usize) -> usize {
        self.counts[label].iter().sum()
    }

    /// Number of images that were given the class `predicted`: a column's sum.
    pub fn predicted_as(&self, predicted: usize) -> usize {
        self.counts.iter().map(|row| row[predicted]).sum()
    }

    /// The `n` most frequent kinds of mistake, most frequent first; pairs that never happened are left out, and equals
    /// stand in the order of the classes.
    pub fn most_confused_pairs(&self, n: usize) -> Vec<ConfusedPair> {
        let mut pairs: Vec<_> = self
            .counts
            .iter()
            .enumerate()
            .flat_map(|(label, row)| {
                row.iter().enumerate().map(move |(predicted, &count)| ConfusedPair {
                    label,
                    predicted,
                    count,
                })
            })
            .filter(|pair| pair.label != pair.predicted && pair.count > 0)
            .collect();
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.count)); // stable
        pairs.truncate(n);
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_directed_and_sorted_and_leave_out_what_never_happened() {
        let confusion = Confusion { counts: vec![vec![5, 2, 0], vec![4, 6, 2], vec![0, 0, 9]] };
        let pair = |label, predicted, count| ConfusedPair { label, predicted, count };
        assert_eq!(confusion.most_confused_pairs(9), [pair(1, 0, 4), pair(0, 1, 2), pair(1, 2, 2)]);
        assert_eq!(confusion.most_confused_pairs(1), [pair(1, 0, 4)]);
        assert_eq!((confusion.images(), confusion.correct()), (28, 20));
        assert_eq!((confusion.support(1), confusion.predicted_as(2)), (12, 11));
    }
}
