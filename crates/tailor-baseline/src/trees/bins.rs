//! Features as a few levels, so that the best question is found by counting rather than by sorting.

use rayon::prelude::*;

use crate::matrix::Matrix;

/// Levels of a feature at most: what a `u8` tells apart.
pub(super) const MOST: usize = 256;

/// A feature's levels, ascending, each with the least and the greatest number in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Levels(Vec<(f32, f32)>);

/// The level of every feature of every row, feature by feature.
pub(super) struct Binned {
    rows: usize,
    levels: Vec<Levels>,
    /// `[D, N]`
    codes: Vec<u8>,
}

impl Levels {
    /// A level for each different number where there are at most `most`, else levels of about equally many rows.
    fn of(mut values: Vec<f32>, most: usize) -> Self {
        values.sort_unstable_by(f32::total_cmp);
        let different = 1 + values.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let share = values.len().div_ceil(most).max(1);
        let mut levels: Vec<(f32, f32)> = Vec::new();
        let mut rows = 0;
        for value in values {
            match levels.last_mut() {
                Some((_, greatest)) if *greatest == value => rows += 1,
                // Equal numbers share a level, so that one may hold more than its share, and fewer levels come out.
                Some((_, greatest)) if different > most && rows < share => {
                    *greatest = value;
                    rows += 1;
                }
                _ => {
                    levels.push((value, value));
                    rows = 1;
                }
            }
        }
        Levels(levels)
    }

    /// Number of levels.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn code(&self, value: f32) -> u8 {
        self.0.partition_point(|&(_, greatest)| greatest < value).min(self.len() - 1) as u8
    }

    /// The number halfway between two levels.
    pub fn between(&self, below: usize, above: usize) -> f32 {
        let (low, high) = (self.0[below].1, self.0[above].0);
        let middle = low + (high - low) / 2.0;
        // Of neighboring floating-point numbers the middle may round up to the higher.
        if middle < high { middle } else { low }
    }
}

impl Binned {
    /// Brings features `[N, D]`, of at least one row, to at most `most` levels each.
    pub fn new(features: &Matrix, most: usize) -> Self {
        let (rows, columns) = (features.rows(), features.columns());
        let mut codes = vec![0; rows * columns];
        let levels = codes
            .par_chunks_exact_mut(rows)
            .enumerate()
            .map(|(column, codes)| {
                let values: Vec<f32> = (0..rows).map(|row| features.row(row)[column]).collect();
                let levels = Levels::of(values.clone(), most);
                codes.iter_mut().zip(values).for_each(|(code, value)| *code = levels.code(value));
                levels
            })
            .collect();
        Binned { rows, levels, codes }
    }

    /// Number of features, D.
    pub fn features(&self) -> usize {
        self.levels.len()
    }

    /// Number of rows, N.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The levels of a feature.
    pub fn levels(&self, feature: usize) -> &Levels {
        &self.levels[feature]
    }

    /// The level of a feature in each row, `[N]`.
    pub fn codes(&self, feature: usize) -> &[u8] {
        &self.codes[feature * self.rows..][..self.rows]
    }
}

/// Moves rows whose code is at most `last` to the front, all in their order; returns how many there are.
pub(super) fn partition(rows: &mut [u32], codes: &[u8], last: u8) -> usize {
    let mut above = Vec::new();
    let mut below = 0;
    for i in 0..rows.len() {
        let row = rows[i];
        if codes[row as usize] <= last {
            rows[below] = row;
            below += 1;
        } else {
            above.push(row);
        }
    }
    rows[below..].copy_from_slice(&above);
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_numbers_keep_a_level_each_and_many_share() {
        let levels = Levels::of(vec![3.0, 1.0, 3.0, 2.0], 256);
        assert_eq!(levels, Levels(vec![(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]));
        assert_eq!(levels.between(0, 1), 1.5);
        assert_eq!([0.5, 1.0, 2.5, 9.0].map(|value| levels.code(value)), [0, 0, 2, 2]);
        // Nine numbers in three levels of three.
        let levels = Levels::of((1..10).map(|value| value as f32).collect(), 3);
        assert_eq!(levels, Levels(vec![(1.0, 3.0), (4.0, 6.0), (7.0, 9.0)]));
        // A number that occurs more often than a level's share has the level for itself.
        let levels = Levels::of(vec![0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0], 4);
        assert_eq!(levels, Levels(vec![(0.0, 0.0), (1.0, 2.0), (3.0, 4.0)]));
    }

    #[test]
    fn rows_are_parted_in_their_order() {
        let mut rows = [4, 0, 3, 1];
        assert_eq!(partition(&mut rows, &[5, 1, 9, 2, 7], 4), 2);
        assert_eq!(rows, [3, 1, 4, 0]);
    }
}
