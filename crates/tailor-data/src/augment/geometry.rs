//! Images moved, turned, bent and cropped: any number of maps, and one resampling.

use super::elastic::Field;
use super::pixels;
use super::projective::Projective;
use super::upright;
use super::warp;
use crate::dataset::ImageShape;

/// One map of the plane, about the image's center.
#[derive(Clone, Debug)]
pub(super) enum Map {
    Projective(Projective),
    Elastic(Field),
}

/// Maps one after the other, from a source image to a result that may have another size.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    from: ImageShape,
    to: ImageShape,
    /// The first one always stretches the source to the size of the result.
    maps: Vec<Map>,
    /// Whether pixels are averaged where the image shrinks. Small movements do without.
    is_averaged: bool,
}

/// Bilinear interpolation, which looks at 2×2 pixels, serves up to this shrinkage.
const MOST_SHRINKAGE: f64 = 1.25;

impl Geometry {
    /// The source stretched to the size of the result.
    pub(super) fn new(from: ImageShape, to: ImageShape) -> Geometry {
        let enlargement = |to: usize, from: usize| to as f64 / from as f64;
        let stretch =
            Projective::scaling(enlargement(to.width, from.width), enlargement(to.height, from.height));
        Geometry { from, to, maps: vec![Map::Projective(stretch)], is_averaged: from != to }
    }

    /// The shape of the source.
    pub(super) fn from(&self) -> ImageShape {
        self.from
    }

    /// Adds a map, whose coordinates are those of the result.
    pub(super) fn push(&mut self, map: Map) {
        match (self.maps.last_mut(), map) {
            (Some(Map::Projective(last)), Map::Projective(next)) => *last = last.then(&next),
            (_, map) => self.maps.push(map),
        }
    }

    /// Adds a crop, which is to be enlarged or shrunk as an image of its own.
    pub(super) fn push_crop(&mut self, crop: Projective) {
        self.is_averaged = true;
        self.push(Map::Projective(crop));
    }

    /// Resamples `image` into `out`. What comes from outside has the color `fill`.
    pub(super) fn apply(mut self, image: &[u8], fill: &[u8], out: &mut [u8]) {
        let Geometry { from, to, .. } = self;
        if let [Map::Projective(map)] = self.maps[..] {
            if from == to && (map == Projective::IDENTITY || map == Projective::FLIP) {
                out.copy_from_slice(image);
                if map == Projective::FLIP {
                    pixels::mirror(out, to);
                }
                return;
            }
            if self.is_averaged && map.is_upright() {
                return upright::resample(image, from, &map, out, to, fill);
            }
        }
        let Map::Projective(first) = &mut self.maps[0] else { unreachable!("the first map stretches") };
        let shrinkage = first.shrinkage();
        let reduced;
        let (image, from) = if shrinkage > MOST_SHRINKAGE {
            let smaller = |side: usize| ((side as f64 / shrinkage).round() as usize).max(1);
            let smaller = ImageShape { height: smaller(from.height), width: smaller(from.width), ..from };
            let whole = Geometry::new(from, smaller);
            let mut pixels = vec![0; smaller.len()];
            whole.apply(image, fill, &mut pixels);
            reduced = pixels;
            let factor = |smaller: usize, side: usize| side as f64 / smaller as f64;
            let onto_smaller =
                Projective::scaling(factor(smaller.width, from.width), factor(smaller.height, from.height));
            *first = onto_smaller.then(first);
            (&reduced[..], smaller)
        } else {
            (image, from)
        };
        match &self.maps[..] {
            [Map::Projective(map)] if map.is_affine() => warp::affine(image, from, map, out, to, fill),
            maps => warp::general(image, from, maps, out, to, fill),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape::new(8, 8, 1);

    fn gradient(shape: ImageShape) -> Vec<u8> {
        (0..shape.len()).map(|i| (40 + 10 * (i % shape.width) + 3 * (i / shape.width)) as u8).collect()
    }

    fn applied(geometry: Geometry, image: &[u8]) -> Vec<u8> {
        let mut out = vec![0; geometry.to.len()];
        geometry.apply(image, &[0], &mut out);
        out
    }

    #[test]
    fn a_turn_is_the_same_with_a_needless_elastic_field_and_a_needless_perspective() {
        // The three ways to resample agree but for rounding.
        let turn = Map::Projective(Projective::rotation(25.0));
        let mut plain = Geometry::new(SHAPE, SHAPE);
        plain.push(turn.clone());
        let mut bent = plain.clone();
        let nothing = Field::random(8, 8, 0.0, 4.0, &mut crate::random::Generator::new(1));
        bent.push(Map::Elastic(nothing));
        let mut seen = plain.clone();
        let mut perspective = Projective::IDENTITY;
        perspective.0[2][0] = 1e-9;
        seen.push(Map::Projective(perspective));
        let expected = applied(plain, &gradient(SHAPE));
        for other in [bent, seen] {
            let found = applied(other, &gradient(SHAPE));
            assert!(found.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) <= 1), "{found:?} {expected:?}");
        }
    }

    #[test]
    fn a_larger_image_is_averaged_also_when_it_is_turned() {
        // Stripes of one pixel each, seen at a third of the size, are gray.
        let large = ImageShape::new(24, 24, 1);
        let stripes: Vec<u8> = (0..large.len()).map(|i| if i % 2 == 0 { 0 } else { 200 }).collect();
        let mut turned = Geometry::new(large, SHAPE);
        turned.push(Map::Projective(Projective::rotation(90.0)));
        for (geometry, tolerance) in [(Geometry::new(large, SHAPE), 15), (turned, 15)] {
            let small = applied(geometry, &stripes);
            let inner: Vec<u8> = small.chunks(8).skip(1).take(6).flat_map(|row| row[1..7].to_vec()).collect();
            assert!(inner.iter().all(|value| value.abs_diff(100) <= tolerance), "{small:?}");
        }
    }

    #[test]
    fn a_crop_shows_a_part() {
        // The left upper quarter of a gradient, enlarged: steps of 10 become steps of 5.
        let mut geometry = Geometry::new(SHAPE, SHAPE);
        let quarter = Projective::translation(2.0, 2.0).then(&Projective::scaling(2.0, 2.0));
        geometry.push_crop(quarter);
        let crop = applied(geometry, &gradient(SHAPE));
        // The pixel in column 3 and row 3 comes from 1.25, 1.25: 40 + 12.5 + 3.75 = 56.25.
        assert_eq!(crop[3 * 8 + 3], 56);
        assert_eq!(crop[3 * 8 + 5], 66);
    }
}
