//! Shuffled, augmented, normalized batches, prepared ahead of training on a thread of their own.
//!
//! An image's place in the epoch depends on (seed, epoch) and what augmentation makes of it on (seed, epoch,
//! index), nothing else: the same bits come out whatever the number of threads, and an epoch that is resumed
//! in its middle continues with the very batches that were left.

use std::ops::Range;
use std::panic;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use rayon::prelude::*;

use crate::augment::{Mix, Pipeline};
use crate::dataset::Dataset;
use crate::normalization::{Normalization, Table};
use crate::random::{Generator, Turn};
use crate::sampling::{Place, Sampling};

/// Batches that wait ready. Two hide an uneven pace; more would only cost memory.
const AHEAD: usize = 2;

/// Fewer pixels than this are not worth another thread.
const PIXELS_PER_TASK: usize = 1 << 16;

/// Which batches make up an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    /// Images a batch; 0 counts as 1. The last batch may be smaller.
    pub batch_size: usize,
    /// Decides, with the epoch, about order and augmentation.
    pub seed: u64,
    /// Counted from 0 or 1, as the caller likes.
    pub epoch: u64,
    /// Which images come, and in which order.
    pub sampling: Sampling,
    /// Leaves out a last batch that is not full.
    pub drop_last: bool,
    /// Batches of this epoch that were already had.
    pub first_batch: usize,
}

impl BatchPlan {
    /// Every image once, in the order of the data set: for evaluation.
    pub fn in_order(batch_size: usize) -> BatchPlan {
        let sampling = Sampling::InOrder;
        BatchPlan { batch_size, seed: 0, epoch: 0, sampling, drop_last: false, first_batch: 0 }
    }

    /// Batches of a whole epoch of `images` images, also those already had.
    pub fn batches_per_epoch(&self, images: usize) -> usize {
        let size = self.batch_size.max(1);
        if self.drop_last { images / size } else { images.div_ceil(size) }
    }
}

/// Images ready for a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalized, `[N, H, W, C]`, of the shape that the augmentation makes.
    pub images: Vec<f32>,
    /// `[N]`
    pub labels: Vec<u16>,
    /// Positions in the data set, `[N]`.
    pub indices: Vec<usize>,
    /// What each image was mixed with, if the augmentation mixes: a share `weight` of the target belongs to
    /// `labels`, the rest to `partner_labels`.
    pub mix: Option<Mix>,
}

impl Batch {
    /// Images in the batch.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none, which does not happen in a batch from [`batches`].
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// The batches of an epoch from `plan.first_batch` on. Preparation goes on in the background while the caller
/// trains; dropping the iterator ends it.
///
/// # Panics
/// If the normalization or the augmentation is for other images than those of the data set.
pub fn batches(
    dataset: &Dataset,
    normalization: &Normalization,
    augment: Option<&Pipeline>,
    plan: &BatchPlan,
) -> Batches {
    let shape = dataset.shape();
    assert!(normalization.fits(shape.channels), "a normalization for {} channels", shape.channels);
    assert!(
        augment.is_none_or(|pipeline| pipeline.stored_shape() == shape),
        "a pipeline for images of {shape}"
    );
    let preparer = Preparer {
        dataset: dataset.clone(),
        table: normalization.table(),
        augment: augment.cloned(),
        order: plan.sampling.epoch(dataset, plan.seed, plan.epoch),
        plan: *plan,
    };
    let numbers = plan.first_batch..plan.batches_per_epoch(dataset.len()).max(plan.first_batch);
    Batches::start(preparer, numbers)
}

/// An iterator over the batches of an epoch; see [`batches`].
#[derive(Debug)]
pub struct Batches {
    /// `None` once the iterator is being dropped.
    receiver: Option<Receiver<Batch>>,
    thread: Option<JoinHandle<()>>,
    left: usize,
}

impl Batches {
    fn start(preparer: Preparer, numbers: Range<usize>) -> Batches {
        let (sender, receiver) = sync_channel(AHEAD);
        let left = numbers.len();
        let thread = thread::spawn(move || {
            for number in numbers {
                // The receiver is gone: nobody wants the rest.
                if sender.send(preparer.batch(number)).is_err() {
                    break;
                }
            }
        });
        Batches { receiver: Some(receiver), thread: Some(thread), left }
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        match self.receiver.as_ref()?.recv() {
            Ok(batch) => {
                self.left -= 1;
                Some(batch)
            }
            Err(_) => {
                // The thread has ended; if it was by a panic, that is the caller's as well.
                if let Some(Err(cause)) = self.thread.take().map(JoinHandle::join) {
                    panic::resume_unwind(cause);
                }
                None
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        // First the receiver, which the thread waits for; then the thread, so that it does not outlive this.
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it concerns only batches that nobody will see.
            let _ = thread.join();
        }
    }
}

/// Makes the batches of one epoch.
struct Preparer {
    dataset: Dataset,
    table: Table,
    augment: Option<Pipeline>,
    order: Vec<Place>,
    plan: BatchPlan,
}

impl Preparer {
    fn batch(&self, number: usize) -> Batch {
        let size = self.plan.batch_size.max(1);
        let start = number * size;
        let places = &self.order[start..(start + size).min(self.order.len())];
        let pixels = self.augment.as_ref().map_or(self.dataset.shape(), Pipeline::shape).len();
        let mut images = vec![0.0; places.len() * pixels];
        images
            .par_chunks_exact_mut(pixels)
            .zip(places)
            .with_min_len((PIXELS_PER_TASK / pixels).max(1))
            .for_each_init(|| vec![0; pixels], |augmented, (out, place)| self.image(*place, augmented, out));
        let indices: Vec<usize> = places.iter().map(|place| place.image).collect();
        let labels: Vec<u16> = indices.iter().map(|&i| self.dataset.label(i) as u16).collect();
        let mix = self.augment.as_ref().and_then(|pipeline| {
            let mut generator = Generator::for_batch(self.plan.seed, self.plan.epoch, number);
            pipeline.mix(&mut images, &labels, &mut generator)
        });
        Batch { images, labels, indices, mix }
    }

    fn image(&self, Place { image, repeat }: Place, augmented: &mut [u8], out: &mut [f32]) {
        let pixels = self.dataset.image(image);
        match &self.augment {
            Some(pipeline) => {
                let BatchPlan { seed, epoch, .. } = self.plan;
                let index = image + repeat * self.dataset.len();
                pipeline.apply(&pixels, &Turn { seed, epoch, index }, augmented);
                self.table.apply(augmented, out);
            }
            None => self.table.apply(&pixels, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::augment::Augmentation;
    use crate::dataset::ImageShape;

    /// 2×2 images; all pixels of image i are i, and so is its label.
    fn numbered(images: usize) -> Dataset {
        let pixels = (0..images).flat_map(|i| [i as u8; 4]).collect();
        let labels = (0..images).map(|i| i as u16).collect();
        let names = (0..images.max(1)).map(|i| i.to_string()).collect();
        Dataset::new(ImageShape::new(2, 2, 1), pixels, labels, names).unwrap()
    }

    fn plan() -> BatchPlan {
        BatchPlan { batch_size: 4, seed: 1, sampling: Sampling::Shuffled, ..BatchPlan::in_order(4) }
    }

    fn all(dataset: &Dataset, plan: &BatchPlan) -> Vec<Batch> {
        let shift = Pipeline::new(&[Augmentation::Shift { fraction: 0.5 }], dataset.shape()).unwrap();
        batches(dataset, &Normalization::unit(1), Some(&shift), plan).collect()
    }

    #[test]
    fn in_order_without_augmentation_images_come_as_they_are() {
        let all: Vec<Batch> =
            batches(&numbered(5), &Normalization::unit(1), None, &BatchPlan::in_order(2)).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[1].indices, [2, 3]);
        assert_eq!(all[1].labels, [2, 3]);
        assert_eq!(all[1].images, [[2.0 / 255.0; 4], [3.0 / 255.0; 4]].concat());
        assert_eq!(all[2].len(), 1);
    }

    #[test]
    fn each_epoch_has_its_own_order_and_every_image_once() {
        let data = numbered(10);
        let indices = |epoch| -> Vec<usize> {
            all(&data, &BatchPlan { epoch, ..plan() }).into_iter().flat_map(|batch| batch.indices).collect()
        };
        let (first, second) = (indices(0), indices(1));
        assert_ne!(first, second);
        assert_eq!(first, indices(0));
        for mut order in [first, second] {
            order.sort_unstable();
            assert_eq!(order, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_length_is_known_and_counts_down() {
        let unit = Normalization::unit(1);
        for (drop_last, length) in [(false, 3), (true, 2)] {
            let plan = BatchPlan { drop_last, ..plan() };
            let mut batches = batches(&numbered(10), &unit, None, &plan);
            assert_eq!(batches.len(), length);
            batches.next();
            assert_eq!(batches.len(), length - 1);
            assert_eq!(batches.by_ref().count(), length - 1);
            assert!(batches.next().is_none());
        }
        assert_eq!(batches(&numbered(0), &unit, None, &plan()).count(), 0);
        assert_eq!(batches(&numbered(3), &unit, None, &BatchPlan { batch_size: 0, ..plan() }).count(), 3);
        assert_eq!(batches(&numbered(3), &unit, None, &BatchPlan { first_batch: 9, ..plan() }).count(), 0);
    }

    #[test]
    fn dropping_early_ends_the_thread() {
        let mut batches = batches(&numbered(200), &Normalization::unit(1), None, &plan());
        batches.next();
        // It waits with a full channel now; were it not told, this would never return.
        thread::sleep(Duration::from_millis(20));
        drop(batches);
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let data = numbered(100);
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let plan = BatchPlan { batch_size: 50, ..plan() };
            let shift = Pipeline::new(&[Augmentation::Shift { fraction: 0.5 }], data.shape()).unwrap();
            let preparer = Preparer {
                dataset: data.clone(),
                table: Normalization::unit(1).table(),
                augment: Some(shift),
                order: plan.sampling.epoch(&data, plan.seed, plan.epoch),
                plan,
            };
            pool.install(|| preparer.batch(1))
        };
        assert_eq!(with_threads(1), with_threads(3));
    }

    #[test]
    fn a_mixed_batch_says_what_with() {
        let data = numbered(6);
        let mixup = Augmentation::Mixup { alpha: 1.0, probability: 1.0 };
        let mixup = Pipeline::new(&[mixup], data.shape()).unwrap();
        let batches: Vec<Batch> = batches(&data, &Normalization::unit(1), Some(&mixup), &plan()).collect();
        for batch in &batches {
            let Mix { partner_labels, weight } = batch.mix.as_ref().unwrap();
            for (i, image) in batch.images.chunks(4).enumerate() {
                let (own, partner) = (f32::from(batch.labels[i]), f32::from(partner_labels[i]));
                let expected = (weight[i] * own + (1.0 - weight[i]) * partner) / 255.0;
                assert!(image.iter().all(|value| (value - expected).abs() < 1e-6));
            }
        }
        assert_ne!(batches[0].mix.as_ref().unwrap().weight, batches[1].mix.as_ref().unwrap().weight);
    }

    #[test]
    fn a_repeated_image_is_augmented_differently() {
        let labels = vec![0, 0, 0, 0, 0, 0, 0, 1];
        let pixels = (0..8).flat_map(|_| [0, 90, 180, 255]).collect();
        let names = vec!["many".into(), "one".into()];
        let data = Dataset::new(ImageShape::new(1, 4, 1), pixels, labels, names).unwrap();
        let plan = BatchPlan { batch_size: 8, sampling: Sampling::Balanced, ..plan() };
        let batch = all(&data, &plan).remove(0);
        let mut images: Vec<Vec<u32>> = batch
            .images
            .chunks(4)
            .zip(&batch.indices)
            .filter(|(_, index)| **index == 7)
            .map(|(image, _)| image.iter().map(|value| value.to_bits()).collect())
            .collect();
        assert_eq!(images.len(), 4);
        images.sort();
        images.dedup();
        assert_eq!(images.len(), 4);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn an_epoch_resumes_with_the_batches_that_were_left(
            images in 1usize..40, batch_size in 1usize..7, epoch: u64, seed: u64, drop_last: bool,
        ) {
            let data = numbered(images);
            let plan = BatchPlan { batch_size, seed, epoch, drop_last, ..plan() };
            let whole = all(&data, &plan);
            for first_batch in 0..=whole.len() {
                let rest = all(&data, &BatchPlan { first_batch, ..plan });
                prop_assert_eq!(&rest[..], &whole[first_batch..]);
            }
        }
    }
}
