//! Random numbers that are the same on every machine and with every version.

/// Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators": small, fast, and good enough to pick
/// pictures and to draw samples.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform over all of `u64`.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`, by the upper half of a product (Lemire 2019, without his rejection: the bias is below
    /// `bound` · 2⁻⁶⁴, which no number of draws could show); 0 for the bound 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.draw()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_is_the_published_generator() {
        // The first outputs of seed 1234567 of Vigna's reference implementation, splitmix64.c.
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!([random.draw(), random.draw()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn every_number_below_a_bound_is_equally_likely() {
        let mut random = SplitMix64::new(1);
        let mut counts = [0; 5];
        (0..50_000).for_each(|_| counts[random.below(5)] += 1);
        // 10,000 of each are expected; the standard deviation is √(50000 · 0.2 · 0.8) ≈ 89.
        assert!(counts.iter().all(|count| (9600..10_400).contains(count)), "{counts:?}");
        assert_eq!((random.below(1), random.below(0)), (0, 0));
    }
}
