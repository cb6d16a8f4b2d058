//! A few of many changes, chosen at random (Cubuk et al. 2020, "RandAugment: Practical Automated Data
//! Augmentation with a Reduced Search Space").

use super::color::ColorChange;
use super::geometry::Map;
use super::projective::Projective;
use crate::dataset::ImageShape;
use crate::random::Generator;

/// The strongest magnitude.
pub(super) const STRONGEST: f32 = 30.0;

/// What one operation does to an image.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Map(Map),
    Color(ColorChange),
}

/// Draws one operation of the paper's fourteen, of which a gray image has thirteen (no saturation). `None` is
/// the one that changes nothing.
///
/// The strongest magnitude is as in torchvision: a shear by 0.3, a movement by 45 % of a side, a turn by 30°,
/// factors of 1 ± 0.9, 4 of 8 bits kept, all values negated. Directions are drawn.
pub(super) fn draw(shape: ImageShape, magnitude: f32, generator: &mut Generator) -> Option<Operation> {
    let strength = magnitude / STRONGEST;
    let number = generator.below(if shape.channels == 3 { 14 } else { 13 });
    let signed = if generator.chance(0.5) { strength } else { -strength };
    let factor = 1.0 + 0.9 * signed;
    let shear = 0.3 * f64::from(signed);
    let movement = |side: usize| 150.0 / 331.0 * f64::from(signed) * side as f64;
    let map = |map| Operation::Map(Map::Projective(map));
    Some(match number {
        0 => return None,
        1 => map(Projective::shearing(shear, 0.0)),
        2 => map(Projective::shearing(0.0, shear)),
        3 => map(Projective::translation(movement(shape.width), 0.0)),
        4 => map(Projective::translation(0.0, movement(shape.height))),
        5 => map(Projective::rotation(30.0 * f64::from(signed))),
        6 => Operation::Color(ColorChange::Brightness(factor)),
        7 => Operation::Color(ColorChange::Contrast(factor)),
        8 => Operation::Color(ColorChange::Sharpness(factor)),
        9 => Operation::Color(ColorChange::Posterize(8 - (4.0 * strength).round() as u32)),
        10 => Operation::Color(ColorChange::Solarize((256.0 * (1.0 - strength)).round() as u16)),
        11 => Operation::Color(ColorChange::AutoContrast),
        12 => Operation::Color(ColorChange::Equalize),
        _ => Operation::Color(ColorChange::Saturation(factor)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_comes_equally_often_and_gray_has_no_saturation() {
        for (channels, operations) in [(1, 13), (3, 14)] {
            let shape = ImageShape::new(28, 28, channels);
            let mut generator = Generator::new(1);
            let mut counts = std::collections::BTreeMap::new();
            for _ in 0..operations * 500 {
                let operation = draw(shape, 9.0, &mut generator);
                let name = match operation {
                    Some(Operation::Map(Map::Projective(map))) => {
                        let [[_, b, c], [d, _, f], _] = map.0;
                        format!("map {:?}", [b, c, d, f].map(|entry| entry != 0.0))
                    }
                    other => format!("{other:?}").split(['(', '.', '-']).take(3).collect(),
                };
                *counts.entry(name).or_insert(0) += 1;
            }
            assert_eq!(counts.len(), operations, "{counts:?}");
            assert!(counts.values().all(|count| (400..600).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn magnitudes_reach_from_nothing_to_the_strongest() {
        let shape = ImageShape::new(28, 28, 3);
        for (magnitude, bits, threshold, factors) in [(0.0, 8, 256, [1.0, 1.0]), (30.0, 4, 0, [0.1, 1.9])] {
            let mut generator = Generator::new(1);
            for _ in 0..500 {
                match draw(shape, magnitude, &mut generator) {
                    Some(Operation::Color(ColorChange::Posterize(found))) => assert_eq!(found, bits),
                    Some(Operation::Color(ColorChange::Solarize(found))) => assert_eq!(found, threshold),
                    Some(Operation::Color(ColorChange::Contrast(found))) => {
                        assert!(factors.iter().any(|factor| (factor - found).abs() < 1e-6), "{found}");
                    }
                    _ => {}
                }
            }
        }
    }
}
