//! Growing one tree that tells classes apart (CART; Breiman, Friedman, Olshen and Stone 1984).

use rayon::prelude::*;
use tailor_data::random::Generator;

use super::Tree;
use super::bins::{Binned, MOST, partition};
use super::criterion::Criterion;
use crate::Result;
use crate::watch::Watcher;

/// What a tree is grown from, and how far.
pub(super) struct Growth<'a> {
    pub binned: &'a Binned,
    /// `[N]`
    pub labels: &'a [u16],
    pub classes: usize,
    pub criterion: Criterion,
    /// Questions on the way to any leaf at most.
    pub max_depth: Option<usize>,
    /// Rows of any leaf at least.
    pub min_leaf: usize,
    /// Features among which each question is chosen; by default all.
    pub candidates: Option<usize>,
    pub watcher: &'a dyn Watcher,
}

/// Counts that are worth another thread.
const WORTH_SPLITTING: usize = 200_000;

/// A question, and what it is worth.
#[derive(Clone, Copy)]
struct Split {
    purity: f64,
    feature: usize,
    /// The levels on both sides of it that occur.
    below: u8,
    above: u8,
}

impl Growth<'_> {
    /// Grows a tree on these rows, of which there is at least one; a row may occur several times.
    pub fn grow(&self, mut rows: Vec<u32>, generator: &mut Generator) -> Result<Tree> {
        let mut tree = Tree::new(self.classes);
        let mut features: Vec<usize> = (0..self.binned.features()).collect();
        let mut scratch = Scratch::new(self.classes);
        // Node, its rows, its depth; the left child is grown first.
        let mut open = vec![(0, 0..rows.len(), 0)];
        while let Some((node, range, depth)) = open.pop() {
            self.watcher.go_on()?;
            let rows = &mut rows[range.clone()];
            let mut counts = vec![0; self.classes];
            rows.iter().for_each(|&row| counts[usize::from(self.labels[row as usize])] += 1);
            let pure = counts.iter().filter(|count| **count > 0).count() < 2;
            let deep = self.max_depth.is_some_and(|limit| depth >= limit);
            let split = match pure || deep || rows.len() < 2 * self.min_leaf {
                true => None,
                false => self.best(rows, &counts, &mut features, generator, &mut scratch),
            };
            let Some(Split { feature, below, above, .. }) = split else {
                let all = rows.len() as f32;
                tree.answer(node, counts.iter().map(|&count| count as f32 / all));
                continue;
            };
            let threshold = self.binned.levels(feature).between(below.into(), above.into());
            let left = partition(rows, self.binned.codes(feature), below);
            let next = tree.ask(node, feature, threshold);
            open.push((next + 1, range.start + left..range.end, depth + 1));
            open.push((next, range.start..range.start + left, depth + 1));
        }
        Ok(tree)
    }

    /// The best question about some rows; none if no feature varies enough.
    fn best(
        &self,
        rows: &[u32],
        counts: &[u32],
        features: &mut [usize],
        generator: &mut Generator,
        scratch: &mut Scratch,
    ) -> Option<Split> {
        let Some(candidates) = self.candidates else {
            let all = 0..features.len();
            let best_of = |scratch: &mut Scratch, feature| self.best_of(feature, rows, counts, scratch);
            return if rows.len() * features.len() < WORTH_SPLITTING {
                all.filter_map(|feature| best_of(scratch, feature)).reduce(better)
            } else {
                let scratch = || Scratch::new(self.classes);
                let splits: Vec<_> = all.into_par_iter().map_init(scratch, best_of).collect();
                splits.into_iter().flatten().reduce(better)
            };
        };
        // Drawn one by one; those that do not vary here do not count.
        let (mut best, mut looked_at) = (None, 0);
        for drawn in 0..features.len() {
            let last = features.len() - drawn;
            features.swap(generator.below(last as u32) as usize, last - 1);
            if let Some(split) = self.best_of(features[last - 1], rows, counts, scratch) {
                best = Some(best.map_or(split, |best| better(best, split)));
                looked_at += 1;
                if looked_at == candidates {
                    break;
                }
            }
        }
        best
    }

    /// The best question about one feature.
    fn best_of(&self, feature: usize, rows: &[u32], counts: &[u32], scratch: &mut Scratch) -> Option<Split> {
        scratch.count(rows, self.binned.codes(feature), self.labels);
        let left = &mut vec![0; self.classes];
        let right = &mut counts.to_vec();
        let mut sides = Sides::new(self.criterion, counts);
        let mut best: Option<Split> = None;
        let mut below = 0;
        for pair in scratch.levels.windows(2) {
            let counts = scratch.of_level(pair[0]);
            sides.move_left(left, right, counts);
            below += scratch.totals[usize::from(pair[0])] as usize;
            if below < self.min_leaf || rows.len() - below < self.min_leaf {
                continue;
            }
            let purity = sides.purity();
            if best.is_none_or(|best| purity > best.purity) {
                best = Some(Split { purity, feature, below: pair[0], above: pair[1] });
            }
        }
        scratch.clear();
        best
    }
}

/// The better question; the one of the lower feature among equals.
fn better(a: Split, b: Split) -> Split {
    if b.purity > a.purity || (b.purity == a.purity && b.feature < a.feature) { b } else { a }
}

/// The purity of both sides of a question, kept up while rows move from the right to the left.
struct Sides {
    criterion: Criterion,
    rows: (u64, u64),
    /// Σ n² or Σ n ln n of both sides.
    sums: (f64, f64),
}

impl Sides {
    /// All rows, with these counts of classes, on the right.
    fn new(criterion: Criterion, counts: &[u32]) -> Self {
        let sum = counts.iter().map(|&count| criterion.term(count)).sum();
        Sides { criterion, rows: (0, counts.iter().map(|&count| u64::from(count)).sum()), sums: (0.0, sum) }
    }

    fn move_left(&mut self, left: &mut [u32], right: &mut [u32], counts: &[u32]) {
        for ((left, right), &count) in left.iter_mut().zip(right).zip(counts) {
            if count > 0 {
                self.sums.0 -= self.criterion.term(*left);
                self.sums.1 -= self.criterion.term(*right);
                *left += count;
                *right -= count;
                self.sums.0 += self.criterion.term(*left);
                self.sums.1 += self.criterion.term(*right);
                self.rows.0 += u64::from(count);
                self.rows.1 -= u64::from(count);
            }
        }
    }

    fn purity(&self) -> f64 {
        self.criterion.purity(self.sums.0, self.rows.0) + self.criterion.purity(self.sums.1, self.rows.1)
    }
}

/// How often each class occurs at each level of a feature.
struct Scratch {
    classes: usize,
    /// `[levels, K]`
    counts: Vec<u32>,
    totals: [u32; MOST],
    /// Those that occur, ascending.
    levels: Vec<u8>,
}

impl Scratch {
    fn new(classes: usize) -> Self {
        Scratch { classes, counts: vec![0; MOST * classes], totals: [0; MOST], levels: Vec::new() }
    }

    fn count(&mut self, rows: &[u32], codes: &[u8], labels: &[u16]) {
        for &row in rows {
            let level = codes[row as usize];
            let total = &mut self.totals[usize::from(level)];
            if *total == 0 {
                self.levels.push(level);
            }
            *total += 1;
            self.counts[usize::from(level) * self.classes + usize::from(labels[row as usize])] += 1;
        }
        self.levels.sort_unstable();
    }

    fn of_level(&self, level: u8) -> &[u32] {
        &self.counts[usize::from(level) * self.classes..][..self.classes]
    }

    /// Forgets what was counted, at the cost of the levels that occur.
    fn clear(&mut self) {
        for &level in &self.levels {
            self.totals[usize::from(level)] = 0;
            self.counts[usize::from(level) * self.classes..][..self.classes].fill(0);
        }
        self.levels.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use crate::watch::Unwatched;

    #[test]
    fn the_question_of_the_textbook_is_asked_first() {
        // Feature 1 parts the classes but for one row; feature 0 is noise.
        let rows = [[0., 0., 0.], [2., 1., 0.], [1., 2., 1.], [4., 3., 0.], [3., 6., 1.], [5., 8., 1.]];
        let features = Matrix::new(6, 2, rows.iter().flat_map(|row| [row[0], row[1]]).collect());
        let labels: Vec<u16> = rows.iter().map(|row| row[2] as u16).collect();
        let binned = Binned::new(&features, 256);
        let growth = Growth {
            binned: &binned,
            labels: &labels,
            classes: 2,
            criterion: Criterion::Gini,
            max_depth: Some(1),
            min_leaf: 1,
            candidates: None,
            watcher: &Unwatched,
        };
        let tree = growth.grow((0..6).collect(), &mut Generator::new(0)).unwrap();
        // Between 3 and 6: left 3 of class 0 and 1 of class 1, Gini 0.375; right pure: mean (4/6) · 0.375 = 0.25. The
        // other good question, between 1 and 2, has left pure and right 1 to 3: the same 0.25; the first wins.
        assert_eq!(tree.nodes[0], super::super::Node::Question { feature: 1, threshold: 1.5, next: 1 });
        assert_eq!(tree.values, [1.0, 0.0, 0.25, 0.75]);
        assert_eq!(tree.find(&[9.0, 1.5]), [1.0, 0.0]);
        assert_eq!(tree.find(&[0.0, 1.6]), [0.25, 0.75]);
    }
}
