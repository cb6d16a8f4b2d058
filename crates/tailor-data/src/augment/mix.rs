//! Two images of a batch become one, and so do their labels.

use crate::dataset::ImageShape;
use crate::random::Generator;

use super::pixels::Rectangle;

/// What the images of a batch were mixed with.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// The label of each image's partner, `[N]`.
    pub partner_labels: Vec<u16>,
    /// What share of each image is its own, `[N]`, in `[0, 1]`; the rest is its partner's. It is the same for
    /// all images of a batch (as in both papers' programs), but 1 for an image without a partner.
    pub weight: Vec<f32>,
}

/// A way to mix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mixing {
    /// All pixels of both, weighted.
    Mixup { alpha: f32, probability: f32 },
    /// A rectangle of one within the other.
    Cutmix { alpha: f32, probability: f32 },
}

/// Mixes images `[N, H, W, C]` of one batch by one of several ways, which chance chooses.
///
/// Partners are the first image and the last, the second and the one before the last, and so on: a batch is
/// in random order already. The middle one of an odd number stays as it is.
pub(super) fn mix(
    ways: &[Mixing],
    images: &mut [f32],
    labels: &[u16],
    shape: ImageShape,
    generator: &mut Generator,
) -> Option<Mix> {
    let way = *ways.get(generator.below(ways.len() as u32) as usize)?;
    let (Mixing::Mixup { alpha, probability } | Mixing::Cutmix { alpha, probability }) = way;
    if !generator.chance(probability) {
        return None;
    }
    let weight = beta(f64::from(alpha), generator);
    let weight = match way {
        Mixing::Mixup { .. } => {
            pairs(images, shape, |one, other| blend(one, other, weight));
            weight
        }
        Mixing::Cutmix { .. } => {
            // The image's proportions, and the wanted share of its area.
            let sides = [shape.height, shape.width].map(|side| (side as f32 * (1.0 - weight).sqrt()).round());
            let rectangle = Rectangle::around_any(shape, sides.map(|side| side as usize), generator);
            pairs(images, shape, |one, other| {
                rectangle
                    .rows(one, shape)
                    .zip(rectangle.rows(other, shape))
                    .for_each(|(a, b)| a.swap_with_slice(b));
            });
            let all = shape.height * shape.width;
            (all - rectangle.height * rectangle.width) as f32 / all as f32
        }
    };
    let mut weights = vec![weight; labels.len()];
    if labels.len() % 2 == 1 {
        weights[labels.len() / 2] = 1.0;
    }
    Some(Mix { partner_labels: labels.iter().rev().copied().collect(), weight: weights })
}

fn pairs(images: &mut [f32], shape: ImageShape, mut change: impl FnMut(&mut [f32], &mut [f32])) {
    let half = images.len() / shape.len() / 2 * shape.len();
    let (first, rest) = images.split_at_mut(half);
    let ones = first.chunks_exact_mut(shape.len());
    ones.zip(rest.rchunks_exact_mut(shape.len())).for_each(|(one, other)| change(one, other));
}

/// Each becomes `weight` of itself and the rest of the other.
fn blend(one: &mut [f32], other: &mut [f32], weight: f32) {
    for (one, other) in one.iter_mut().zip(other) {
        (*one, *other) = (*other + weight * (*one - *other), *one + weight * (*other - *one));
    }
}

/// Beta(α, α) by Jöhnk's method (1964); it accepts one of C(2α, α) tries, so α is to be small.
fn beta(alpha: f64, generator: &mut Generator) -> f32 {
    loop {
        let mut power = || f64::from(generator.unit()).powf(1.0 / alpha);
        let (x, y) = (power(), power());
        if x + y > 0.0 && x + y <= 1.0 {
            return (x / (x + y)) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape::new(2, 3, 1);

    /// Image i has six pixels of 10ⁱ; its label is i.
    fn batch(images: u16) -> (Vec<f32>, Vec<u16>) {
        ((0..images).flat_map(|i| [10f32.powi(i.into()); 6]).collect(), (0..images).collect())
    }

    #[test]
    fn mixup_weighs_both_images() {
        let (mut images, labels) = batch(3);
        let way = Mixing::Mixup { alpha: 1.0, probability: 1.0 };
        let mix = mix(&[way], &mut images, &labels, SHAPE, &mut Generator::new(3)).unwrap();
        assert_eq!(mix.partner_labels, [2, 1, 0]);
        assert_eq!(mix.weight[1], 1.0);
        let weight = mix.weight[0];
        assert_eq!(mix.weight[2], weight);
        let expected = [weight + (1.0 - weight) * 100.0, 10.0, weight * 100.0 + (1.0 - weight)];
        for (image, expected) in images.chunks(6).zip(expected) {
            assert!(image.iter().all(|value| (value - expected).abs() < 1e-4), "{image:?} {expected}");
        }
    }

    #[test]
    fn cutmix_exchanges_a_rectangle_and_its_weight_is_what_is_left() {
        let mut weights = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let (mut images, labels) = batch(2);
            let way = Mixing::Cutmix { alpha: 1.0, probability: 1.0 };
            let mix = mix(&[way], &mut images, &labels, SHAPE, &mut Generator::new(seed)).unwrap();
            let own = images[..6].iter().filter(|&&value| value == 1.0).count();
            assert_eq!(mix.weight, [own as f32 / 6.0; 2]);
            // What one lost, the other has, at the same places.
            assert!(images[..6].iter().zip(&images[6..]).all(|(a, b)| a + b == 11.0));
            weights.insert(own);
        }
        assert!(weights.len() >= 4, "{weights:?}");
    }

    #[test]
    fn nothing_is_mixed_at_probability_zero_or_without_a_way() {
        let (mut images, labels) = batch(2);
        for ways in [&[][..], &[Mixing::Mixup { alpha: 1.0, probability: 0.0 }]] {
            assert_eq!(mix(ways, &mut images, &labels, SHAPE, &mut Generator::new(1)), None);
        }
        assert_eq!(images, batch(2).0);
    }

    #[test]
    fn of_two_ways_each_has_its_turn() {
        let ways =
            [Mixing::Mixup { alpha: 1.0, probability: 1.0 }, Mixing::Cutmix { alpha: 1.0, probability: 1.0 }];
        let blended = (0..400).filter(|&seed| {
            let (mut images, labels) = batch(2);
            mix(&ways, &mut images, &labels, SHAPE, &mut Generator::new(seed));
            ![1.0, 10.0].contains(&images[0])
        });
        // 200 are expected; the standard deviation is 10.
        assert!((160..240).contains(&blended.count()));
    }

    #[test]
    fn beta_has_its_mean_and_variance() {
        // Beta(α, α): mean ½, variance 1/(4(2α + 1)).
        for alpha in [0.1, 0.2, 1.0, 2.0, 4.0] {
            let mut generator = Generator::new(5);
            let n = 20_000;
            let values: Vec<f64> = (0..n).map(|_| beta(alpha, &mut generator).into()).collect();
            let mean = values.iter().sum::<f64>() / f64::from(n);
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / f64::from(n);
            assert!((mean - 0.5).abs() < 0.015, "{alpha}: {mean}");
            assert!((variance * 4.0 * (2.0 * alpha + 1.0) - 1.0).abs() < 0.05, "{alpha}: {variance}");
        }
    }
}
