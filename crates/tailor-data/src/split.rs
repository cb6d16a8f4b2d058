//! Splits that keep the proportions of the classes.

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::random::Generator;

/// Splits off exactly `validation` images, chosen by `seed`: the result is (training part, validation part).
///
/// Each class gives its proportional share, rounded by the largest remainder so that the total is exact, and
/// keeps at least one image on each side. Both parts leave the images in their order. Classes without any
/// image do not matter.
///
/// # Errors
/// [`Error::Split`] if a class has a single image, or if there are too few images for one of every class
/// on each side.
pub fn stratified(dataset: &Dataset, validation: usize, seed: u64) -> Result<(Dataset, Dataset)> {
    let total = dataset.len();
    let impossible = |problem: String| Error::Split { asked: validation, total, problem };
    let counts = dataset.class_counts();
    if let Some(class) = counts.iter().position(|&count| count == 1) {
        return Err(impossible(format!(
            "the class {:?} has a single image, and each part needs one; add images or remove the class",
            dataset.class_names()[class]
        )));
    }
    let classes = counts.iter().filter(|&&count| count > 0).count();
    if validation < classes || total.saturating_sub(classes) < validation {
        return Err(impossible(format!(
            "each part needs an image of each of the {classes} classes; ask for {classes} to {}",
            total.saturating_sub(classes)
        )));
    }
    let shares = apportion(&counts, validation, 1);
    let chosen = choose(dataset, &shares, seed);
    let mut rest = vec![true; total];
    chosen.iter().for_each(|&i| rest[i] = false);
    let rest: Vec<usize> = (0..total).filter(|&i| rest[i]).collect();
    Ok((dataset.subset(&rest), dataset.subset(&chosen)))
}

/// The positions of all images in so many parts of about equal size, the classes in the same proportions in each; chosen by `seed`,
/// ascending within a part.
///
/// # Errors
/// [`Error::Split`] if there are fewer than two parts, or a class has too few images for one in two of them.
pub fn folds(dataset: &Dataset, parts: usize, seed: u64) -> Result<Vec<Vec<usize>>> {
    let total = dataset.len();
    let impossible = |problem: String| Error::Split { asked: total / parts.max(1), total, problem };
    if parts < 2 || parts > total {
        return Err(impossible(format!(
            "{parts} parts of {total} images make no sense; ask for 2 to {total}"
        )));
    }
    let mut members = vec![Vec::new(); dataset.classes()];
    (0..total).for_each(|i| members[dataset.label(i)].push(i));
    if let Some(class) = members.iter().position(|members| members.len() == 1) {
        let name = &dataset.class_names()[class];
        return Err(impossible(format!(
            "the class {name:?} has a single image; add images or remove the class"
        )));
    }
    let mut generator = Generator::new(seed);
    let mut folds = vec![Vec::new(); parts];
    // Dealt like cards, without beginning anew for each class, so that all parts are of about equal size.
    let mut next = 0;
    for mut members in members {
        generator.shuffle(&mut members);
        for i in members {
            folds[next % parts].push(i);
            next += 1;
        }
    }
    folds.iter_mut().for_each(|fold| fold.sort_unstable());
    Ok(folds)
}

/// The positions of `n` images in the proportions of the classes, ascending. `n` is at most the length.
pub(crate) fn stratified_choice(dataset: &Dataset, n: usize, seed: u64) -> Vec<usize> {
    choose(dataset, &apportion(&dataset.class_counts(), n, 0), seed)
}

/// Chooses `shares[class]` images of each class; the positions are ascending.
fn choose(dataset: &Dataset, shares: &[usize], seed: u64) -> Vec<usize> {
    let mut members = vec![Vec::new(); shares.len()];
    for i in 0..dataset.len() {
        members[dataset.label(i)].push(i);
    }
    let mut generator = Generator::new(seed);
    let mut chosen = Vec::with_capacity(shares.iter().sum());
    for (members, &share) in members.iter_mut().zip(shares) {
        generator.shuffle(members);
        chosen.extend_from_slice(&members[..share]);
    }
    chosen.sort_unstable();
    chosen
}

/// Distributes `n` over classes in proportion to `counts` by the largest remainder, lower classes first
/// among equals, such that every class with images gives and keeps at least `reserve`.
///
/// The caller makes sure that this is possible.
fn apportion(counts: &[usize], n: usize, reserve: usize) -> Vec<usize> {
    let total: usize = counts.iter().sum();
    let least = |count: usize| reserve.min(count);
    let most = |count: usize| count.saturating_sub(reserve);
    let mut shares: Vec<usize> = counts
        .iter()
        .map(|&count| (n * count / total.max(1)).clamp(least(count), most(count).max(least(count))))
        .collect();
    // What a class lacks to its exact quota n·count/total, times total: an integer, so nothing is rounded.
    let lack = |shares: &[usize], class: usize| (n * counts[class]) as i128 - (shares[class] * total) as i128;
    while shares.iter().sum::<usize>() < n {
        let open = (0..counts.len()).filter(|&class| shares[class] < most(counts[class]));
        match open.max_by_key(|&class| (lack(&shares, class), std::cmp::Reverse(class))) {
            Some(class) => shares[class] += 1,
            None => break,
        }
    }
    while shares.iter().sum::<usize>() > n {
        let open = (0..counts.len()).filter(|&class| shares[class] > least(counts[class]));
        match open.min_by_key(|&class| (lack(&shares, class), class)) {
            Some(class) => shares[class] -= 1,
            None => break,
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::ImageShape;

    /// One 1×1 image per count of each class, classes interleaved as they come; pixel = position.
    fn with_counts(counts: &[usize]) -> Dataset {
        let mut labels: Vec<u16> = Vec::new();
        for round in 0..counts.iter().copied().max().unwrap_or(0) {
            labels.extend((0..counts.len()).filter(|&c| round < counts[c]).map(|c| c as u16));
        }
        let pixels = (0..labels.len()).map(|i| i as u8).collect();
        let names = (0..counts.len()).map(|c| format!("class {c}")).collect();
        Dataset::new(ImageShape::new(1, 1, 1), pixels, labels, names).unwrap()
    }

    #[test]
    fn shares_follow_the_largest_remainder() {
        // 10 of 53+31+16 = 100: quotas 5.3, 3.1, 1.6; the floors leave one, which goes to .6.
        assert_eq!(apportion(&[53, 31, 16], 10, 1), [5, 3, 2]);
        // 3 of 4+4+4: one each. 4 of them: quotas 4/3, equal remainders, the first class takes the rest.
        assert_eq!(apportion(&[4, 4, 4], 3, 1), [1, 1, 1]);
        assert_eq!(apportion(&[4, 4, 4], 4, 1), [2, 1, 1]);
        // A quota of 0.2 is raised to one at the expense of the class that is furthest above its quota.
        assert_eq!(apportion(&[98, 2], 10, 1), [9, 1]);
        assert_eq!(apportion(&[98, 2], 10, 0), [10, 0]);
        // 98 of 100 would empty the small class; it keeps one.
        assert_eq!(apportion(&[97, 3], 98, 1), [96, 2]);
        assert_eq!(apportion(&[0, 5], 2, 1), [0, 2]);
    }

    #[test]
    fn impossible_splits_say_why() {
        struct Case(&'static [usize], usize, &'static str);
        for Case(counts, validation, reason) in [
            Case(&[5, 1], 2, "the class \"class 1\" has a single image"),
            Case(&[5, 5], 1, "each of the 2 classes; ask for 2 to 8"),
            Case(&[5, 5], 9, "cannot split off 9 of 10 images"),
            Case(&[5, 5], usize::MAX - 5, "each of the 2 classes"),
        ] {
            let error = stratified(&with_counts(counts), validation, 0).unwrap_err().to_string();
            assert!(error.contains(reason), "expected {reason:?} in {error:?}");
        }
    }

    #[test]
    fn folds_share_all_images_and_every_class() {
        let data = with_counts(&[20, 7, 2, 0]);
        let folds = folds(&data, 5, 1).unwrap();
        assert!(folds.iter().all(|fold| (5..=6).contains(&fold.len()) && fold.is_sorted()));
        assert!(folds.iter().all(|fold| data.subset(fold).class_counts()[0] == 4));
        assert!(folds.iter().all(|fold| (1..=2).contains(&data.subset(fold).class_counts()[1])));
        let mut all = folds.concat();
        all.sort_unstable();
        assert_eq!(all, (0..29).collect::<Vec<_>>());
        assert_ne!(folds, super::folds(&data, 5, 2).unwrap());
        for (counts, parts) in [(&[5, 1][..], 2), (&[5, 5], 1), (&[2, 2], 5)] {
            assert!(super::folds(&with_counts(counts), parts, 1).is_err());
        }
    }

    #[test]
    fn the_seed_decides() {
        let data = with_counts(&[50, 50]);
        let pixels = |seed| {
            let (_, validation) = stratified(&data, 10, seed).unwrap();
            (0..10).map(|i| validation.image(i)[0]).collect::<Vec<_>>()
        };
        assert_eq!(pixels(1), pixels(1));
        assert_ne!(pixels(1), pixels(2));
    }

    proptest! {
        #[test]
        fn every_image_is_in_exactly_one_part_and_in_order(
            counts in prop::collection::vec(2usize..20, 1..6), part in 0.0f64..1.0, seed: u64,
        ) {
            let data = with_counts(&counts);
            let (least, most) = (counts.len(), data.len() - counts.len());
            let n = least + ((most - least) as f64 * part) as usize;
            let (train, validation) = stratified(&data, n, seed).unwrap();
            prop_assert_eq!(validation.len(), n);
            prop_assert!(train.class_counts().iter().chain(&validation.class_counts()).all(|&c| c >= 1));
            let pixels = |d: &Dataset| (0..d.len()).map(|i| d.image(i)[0]).collect::<Vec<_>>();
            let (a, b) = (pixels(&train), pixels(&validation));
            prop_assert!(a.is_sorted() && b.is_sorted());
            let mut all = [a, b].concat();
            all.sort_unstable();
            prop_assert_eq!(all, pixels(&data));
        }
    }
}
