//! In which order an epoch goes through a data set.

use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::random::Generator;

/// Which images make up an epoch, and in which order. An epoch has always as many as the data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Each image once, in the order of the data set: for evaluation.
    InOrder,
    /// Each image once, in an order of each epoch's own.
    #[default]
    Shuffled,
    /// Each class equally often, up to one image, however many it has: those of a small class come again and
    /// again (augmented differently each time), a large one shows other images in each epoch.
    Balanced,
}

/// An image in the order of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its position in the data set.
    pub(crate) image: usize,
    /// How often it came before in this epoch.
    pub(crate) repeat: usize,
}

impl Place {
    fn first(image: usize) -> Place {
        Place { image, repeat: 0 }
    }
}

impl Sampling {
    /// All places of an epoch.
    pub(crate) fn epoch(self, dataset: &Dataset, seed: u64, epoch: u64) -> Vec<Place> {
        let mut generator = Generator::for_epoch(seed, epoch);
        let mut places: Vec<Place> = match self {
            Sampling::InOrder => return (0..dataset.len()).map(Place::first).collect(),
            Sampling::Shuffled => (0..dataset.len()).map(Place::first).collect(),
            Sampling::Balanced => balanced(dataset, &mut generator),
        };
        generator.shuffle(&mut places);
        places
    }
}

/// As many places for each class, or one more, which chance gives to some.
fn balanced(dataset: &Dataset, generator: &mut Generator) -> Vec<Place> {
    let mut classes = vec![Vec::new(); dataset.classes()];
    for i in 0..dataset.len() {
        classes[dataset.label(i)].push(i);
    }
    classes.retain(|members| !members.is_empty());
    generator.shuffle(&mut classes);
    let images = dataset.len();
    let present = classes.len();
    let mut places = Vec::with_capacity(images);
    for (position, mut members) in classes.into_iter().enumerate() {
        let mut left = images / present + usize::from(position < images % present);
        for repeat in 0.. {
            if left == 0 {
                break;
            }
            generator.shuffle(&mut members);
            let taken = left.min(members.len());
            places.extend(members[..taken].iter().map(|&image| Place { image, repeat }));
            left -= taken;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::ImageShape;

    /// One 1×1 image for each count of each class, class by class.
    fn with_counts(counts: &[usize]) -> Dataset {
        let labels: Vec<u16> = (0u16..).zip(counts).flat_map(|(class, &n)| vec![class; n]).collect();
        let names = (0..counts.len()).map(|class| class.to_string()).collect();
        Dataset::new(ImageShape::new(1, 1, 1), vec![0; labels.len()], labels, names).unwrap()
    }

    #[test]
    fn balanced_classes_come_equally_often_and_their_images_too() {
        // 20 places for 3 classes: 6 each, and 2 left over. The class without images has none.
        let data = with_counts(&[16, 0, 3, 1]);
        let places = Sampling::Balanced.epoch(&data, 7, 0);
        let count = |class| places.iter().filter(|place| data.label(place.image) == class).count();
        let mut counts = [count(0), count(2), count(3)];
        counts.sort_unstable();
        assert_eq!((places.len(), counts), (20, [6, 7, 7]));
        // No image comes a third time before each of its class came twice.
        for place in places.iter().filter(|place| place.repeat == 2) {
            let class = data.label(place.image);
            let earlier = places.iter().filter(|other| data.label(other.image) == class && other.repeat == 1);
            assert_eq!(earlier.count(), data.class_counts()[class]);
        }
        // An image's repeats are told apart.
        let mut all: Vec<_> = places.iter().map(|place| (place.image, place.repeat)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20);
    }

    #[test]
    fn an_epoch_depends_on_seed_and_epoch_and_the_large_class_changes() {
        let data = with_counts(&[50, 5]);
        let images = |seed, epoch| -> Vec<usize> {
            let mut images: Vec<usize> = Sampling::Balanced
                .epoch(&data, seed, epoch)
                .iter()
                .map(|place| place.image)
                .filter(|&image| image < 50)
                .collect();
            images.sort_unstable();
            images
        };
        assert_eq!(images(1, 1), images(1, 1));
        assert_ne!(images(1, 1), images(1, 2));
        assert_ne!(images(1, 1), images(2, 1));
        // 27 or 28 of 50, none twice.
        let mut once = images(1, 1);
        once.dedup();
        assert!((27..=28).contains(&once.len()));
    }

    #[test]
    fn nothing_at_all_is_an_empty_epoch() {
        for sampling in [Sampling::InOrder, Sampling::Shuffled, Sampling::Balanced] {
            assert_eq!(sampling.epoch(&with_counts(&[0]), 1, 1), []);
        }
    }
}
