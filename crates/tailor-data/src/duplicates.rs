//! Images that occur more than once, byte for byte, within a part or in two.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, Splits};

/// One of several equal images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// "train", "validation" or "test".
    pub part: &'static str,
    /// Its position in the part.
    pub index: usize,
    /// Its label.
    pub label: usize,
}

/// All equal images of one content: at least two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// In the order of parts and positions.
    pub copies: Vec<Copy>,
}

impl Group {
    /// Whether the same pixels have different labels.
    pub fn has_conflict(&self) -> bool {
        self.copies.iter().any(|copy| copy.label != self.copies[0].label)
    }

    fn count_in(&self, part: &str) -> usize {
        self.copies.iter().filter(|copy| copy.part == part).count()
    }
}

/// What [`Duplicates::of`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// In the order of their first copies.
    pub groups: Vec<Group>,
}

impl Duplicates {
    /// Compares all images of all parts, by their SHA-256 sums.
    pub fn of(splits: &Splits) -> Duplicates {
        let parts = named_parts(splits);
        let mut by_content: HashMap<[u8; 32], Vec<Copy>> = HashMap::new();
        for &(part, dataset) in &parts {
            let sum = |index| Sha256::digest(dataset.image(index)).into();
            let sums: Vec<[u8; 32]> = (0..dataset.len()).into_par_iter().map(sum).collect();
            for (index, sum) in sums.into_iter().enumerate() {
                by_content.entry(sum).or_default().push(Copy { part, index, label: dataset.label(index) });
            }
        }
        let mut groups: Vec<Group> = by_content
            .into_values()
            .filter(|copies| copies.len() > 1)
            .map(|copies| Group { copies })
            .collect();
        let position = |part| parts.iter().position(|&(name, _)| name == part);
        groups.sort_by_key(|group| (position(group.copies[0].part), group.copies[0].index));
        Duplicates { groups }
    }

    /// Images of a part that are copies of an earlier one in it.
    pub fn within(&self, part: &str) -> usize {
        self.groups.iter().map(|group| group.count_in(part).saturating_sub(1)).sum()
    }

    /// Images of `part` that also occur in `other`: of the test part, those that training has seen.
    pub fn between(&self, part: &str, other: &str) -> usize {
        self.groups.iter().filter(|group| group.count_in(other) > 0).map(|group| group.count_in(part)).sum()
    }

    /// The groups whose copies have different labels.
    pub fn conflicts(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.has_conflict())
    }
}

/// The parts that there are, with their names.
pub(crate) fn named_parts(splits: &Splits) -> Vec<(&'static str, &Dataset)> {
    let optional = [("validation", &splits.validation), ("test", &splits.test)];
    let others = optional.into_iter().filter_map(|(name, part)| Some((name, part.as_ref()?)));
    [("train", &splits.train)].into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::ImageShape;

    /// 1×1 images with these pixels and labels.
    fn part(images: &[(u8, u16)]) -> Dataset {
        let (pixels, labels) = images.iter().copied().unzip();
        let names = vec!["a".to_owned(), "b".to_owned()];
        Dataset::new(ImageShape::new(1, 1, 1), pixels, labels, names).unwrap()
    }

    #[test]
    fn copies_are_found_within_and_between_parts() {
        let splits = Splits {
            name: "some".into(),
            train: part(&[(1, 0), (2, 0), (1, 1), (3, 0), (1, 0)]),
            validation: None,
            test: Some(part(&[(4, 0), (3, 0), (1, 0), (5, 0)])),
            notes: vec![],
        };
        let duplicates = Duplicates::of(&splits);
        assert_eq!(duplicates.groups.len(), 2);
        // The image 1 is three times in train, once in test; the image 3 once in each.
        assert_eq!(duplicates.within("train"), 2);
        assert_eq!(duplicates.within("test"), 0);
        assert_eq!(duplicates.between("test", "train"), 2);
        assert_eq!(duplicates.between("train", "test"), 4);
        let conflicts: Vec<_> = duplicates.conflicts().collect();
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].copies[1], Copy { part: "train", index: 2, label: 1 });
        assert_eq!(duplicates.groups[1].copies[1], Copy { part: "test", index: 1, label: 0 });
    }
}
