//! Random numbers that are the same on every machine, with every thread count and every version.
//!
//! The generator is PCG-XSH-RR 64/32 (O'Neill 2014), which keeps its output for good; what is built upon it
//! (ranges, shuffling) is written here and not taken from a library that may change it.

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Generator(Pcg32);

/// One image's turn in one epoch, which decides what happens to it: nothing else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Of the whole run.
    pub seed: u64,
    /// Counted from 0 or 1, as the caller likes.
    pub epoch: u64,
    /// The image's position in its data set; for a repeat within the epoch, so many data sets further.
    pub index: usize,
}

impl Turn {
    /// The stream of this image in this epoch.
    pub fn generator(&self) -> Generator {
        Generator::new(image_seed(self.seed, self.epoch, self.index))
    }

    /// A stream of the image's own that is the same in every epoch.
    pub fn lasting_generator(&self) -> Generator {
        Generator::new(scatter(image_seed(self.seed, u64::MAX, self.index)))
    }
}

/// The seed of one image in one epoch.
pub fn image_seed(seed: u64, epoch: u64, index: usize) -> u64 {
    scatter(scatter(seed ^ scatter(epoch)) ^ index as u64)
}

/// SplitMix64's output function (Steele, Lea and Flood 2014): neighboring seeds become unrelated ones.
fn scatter(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Generator {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Pcg32::new(scatter(seed), 0))
    }

    /// The stream of a seed in one epoch.
    pub fn for_epoch(seed: u64, epoch: u64) -> Self {
        Self::new(image_seed(seed, epoch, usize::MAX))
    }

    /// The stream of a seed for all images of one batch together.
    pub fn for_batch(seed: u64, epoch: u64, number: usize) -> Self {
        Self::new(scatter(image_seed(seed, epoch, usize::MAX - 1 - number)))
    }

    /// Uniform in `[0, 1)`, in steps of 2⁻²⁴.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }

    /// Uniform in `[low, high)`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `[-limit, limit)`.
    pub fn within(&mut self, limit: f32) -> f32 {
        self.between(-limit, limit)
    }

    /// `true` with the given probability; always at 1, never at 0.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..bound`, without bias (Lemire 2019); 0 for the bound 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        let mut product = u64::from(self.0.next_u32()) * u64::from(bound);
        if (product as u32) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u32) < threshold {
                product = u64::from(self.0.next_u32()) * u64::from(bound);
            }
        }
        (product >> 32) as u32
    }

    /// Fills a slice with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Fisher–Yates: every order is equally likely. For slices of fewer than 2³² items.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_three_is_equally_likely() {
        let mut generator = Generator::new(1);
        let mut orders = std::collections::BTreeMap::new();
        for _ in 0..6000 {
            let mut items = [0, 1, 2];
            generator.shuffle(&mut items);
            *orders.entry(items).or_insert(0) += 1;
        }
        // 1000 of each are expected; the standard deviation is √(6000 · 1/6 · 5/6) ≈ 29.
        assert_eq!(orders.len(), 6);
        assert!(orders.values().all(|count| (850..1150).contains(count)), "{orders:?}");
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut generator = Generator::new(2);
        for _ in 0..10_000 {
            assert!((0.0..1.0).contains(&generator.unit()));
            assert!((-3.0..=3.0).contains(&generator.within(3.0)));
            assert!(generator.below(7) < 7);
            assert!(generator.chance(1.0) && !generator.chance(0.0));
        }
        assert_eq!(generator.below(0), 0);
    }

    #[test]
    fn seed_epoch_and_index_each_matter() {
        let seeds = [image_seed(1, 2, 3), image_seed(2, 1, 3), image_seed(1, 3, 2), image_seed(1, 2, 4)];
        for (i, seed) in seeds.iter().enumerate() {
            assert!(!seeds[..i].contains(seed));
        }
    }

    /// These bits are a promise: a change would change every run that was ever recorded.
    #[test]
    fn the_stream_never_changes() {
        let mut generator = Generator::new(0);
        let first = [generator.below(1000), generator.below(1000), generator.below(1000)];
        assert_eq!(first, [753, 457, 341]);
    }
}
