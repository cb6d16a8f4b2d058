//! Changes of brightness and color. All are as in Pillow's `ImageEnhance` and `ImageOps` (on which
//! torchvision's are built) but that they round to the nearest value, where Pillow cuts off.

use crate::dataset::ImageShape;

/// A change of brightness or color, its strength drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ColorChange {
    Brightness(f32),
    Contrast(f32),
    Saturation(f32),
    Hue(f32),
    Sharpness(f32),
    Posterize(u32),
    Solarize(u16),
    AutoContrast,
    Equalize,
}

impl ColorChange {
    pub(super) fn apply(self, image: &mut [u8], shape: ImageShape) {
        match self {
            ColorChange::Brightness(factor) => brighten(image, factor),
            ColorChange::Contrast(factor) => change_contrast(image, shape, factor),
            ColorChange::Saturation(factor) => saturate(image, factor),
            ColorChange::Hue(part) => turn_hue(image, part),
            ColorChange::Sharpness(factor) => sharpen(image, shape, factor),
            ColorChange::Posterize(bits) => posterize(image, bits),
            ColorChange::Solarize(threshold) => solarize(image, threshold),
            ColorChange::AutoContrast => stretch_contrast(image, shape.channels),
            ColorChange::Equalize => equalize(image, shape.channels),
        }
    }
}

/// Multiplies every value.
fn brighten(image: &mut [u8], factor: f32) {
    replace(image, |value| factor * f32::from(value));
}

/// Moves every value away from the mean of the image's luma, or towards it.
fn change_contrast(image: &mut [u8], shape: ImageShape, factor: f32) {
    let sum: u64 = match shape.channels {
        1 => image.iter().map(|&value| u64::from(value)).sum(),
        _ => image.as_chunks().0.iter().map(|&pixel| u64::from(luma(pixel))).sum(),
    };
    let mean = (sum as f32 / (shape.height * shape.width) as f32).round();
    replace(image, |value| mean + factor * (f32::from(value) - mean));
}

/// Moves every pixel of a color image away from its luma, or towards it.
fn saturate(image: &mut [u8], factor: f32) {
    for pixel in image.as_chunks_mut().0 {
        let luma = f32::from(luma(*pixel));
        *pixel = pixel.map(|value| rounded(luma + factor * (f32::from(value) - luma)));
    }
}

/// Turns the hue of a color image (in HSV) by a part of the whole circle.
fn turn_hue(image: &mut [u8], part: f32) {
    for pixel in image.as_chunks_mut().0 {
        let [r, g, b] = pixel.map(f32::from);
        let (most, least) = (r.max(g).max(b), r.min(g).min(b));
        let chroma = most - least;
        // In sixths of the circle, from red. Gray has none, and keeps its value whatever it is.
        let per_chroma = 1.0 / chroma.max(1.0);
        let hue = if most == r {
            (g - b) * per_chroma
        } else if most == g {
            (b - r) * per_chroma + 2.0
        } else {
            (r - g) * per_chroma + 4.0
        };
        // A channel is at its most within one sixth of its own place on the circle, and at its least from two on.
        let turned = hue + 6.0 * part;
        *pixel = [0.0, 2.0, 4.0].map(|place: f32| {
            // From 1 to 17, so that cutting off is rounding down, which is slow on old processors.
            let distance = turned - place + 9.0;
            let distance = (distance - 6.0 * (distance * (1.0 / 6.0)) as i32 as f32 - 3.0).abs();
            rounded(least + chroma * (2.0 - distance).clamp(0.0, 1.0))
        });
    }
}

/// Moves every pixel away from the weighted mean of its neighborhood, or towards it. The outermost pixels stay.
fn sharpen(image: &mut [u8], shape: ImageShape, factor: f32) {
    let (channels, stride) = (shape.channels, shape.width * shape.channels);
    if shape.height < 3 || shape.width < 3 {
        return;
    }
    let before = image.to_vec();
    for y in 1..shape.height - 1 {
        let [above, here, below] = [y - 1, y, y + 1].map(|y| &before[y * stride..][..stride]);
        let out = &mut image[y * stride + channels..][..stride - 2 * channels];
        for (x, out) in out.iter_mut().enumerate() {
            let three = |row: &[u8]| {
                u32::from(row[x]) + u32::from(row[x + channels]) + u32::from(row[x + 2 * channels])
            };
            let value = here[x + channels];
            let smooth = three(above) + three(here) + three(below) + 4 * u32::from(value);
            let smooth = smooth as f32 / 13.0;
            *out = rounded(smooth + factor * (f32::from(value) - smooth));
        }
    }
}

/// Keeps so many bits of every value.
fn posterize(image: &mut [u8], bits: u32) {
    let mask = !(0xff_u32 >> bits.min(8)) as u8;
    image.iter_mut().for_each(|value| *value &= mask);
}

/// Negates all values from a threshold on.
fn solarize(image: &mut [u8], threshold: u16) {
    for value in image {
        *value = if u16::from(*value) >= threshold { 255 - *value } else { *value };
    }
}

/// Stretches each channel to the whole range.
fn stretch_contrast(image: &mut [u8], channels: usize) {
    for channel in 0..channels {
        let values = image.iter().skip(channel).step_by(channels);
        let (least, most) =
            values.fold((255, 0), |(least, most), &value| (value.min(least), value.max(most)));
        if least < most {
            let scale = 255.0 / f32::from(most - least);
            let table = table(|value| (f32::from(value) - f32::from(least)) * scale);
            look_up(image, channel, channels, &table);
        }
    }
}

/// Makes all values of each channel about equally frequent.
fn equalize(image: &mut [u8], channels: usize) {
    for channel in 0..channels {
        let mut histogram = [0usize; 256];
        image.iter().skip(channel).step_by(channels).for_each(|&value| histogram[usize::from(value)] += 1);
        let last = histogram.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
        let step = (image.len() / channels - last) / 255;
        if step == 0 {
            continue;
        }
        let mut below = step / 2;
        let table = histogram.map(|count| {
            let level = (below / step).min(255) as u8;
            below += count;
            level
        });
        look_up(image, channel, channels, &table);
    }
}

/// Rec. 601 luma, in Pillow's integers.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + (1 << 15)) >> 16) as u8
}

fn rounded(value: f32) -> u8 {
    // `as` saturates.
    (value + 0.5) as u8
}

fn table(map: impl Fn(u8) -> f32) -> [u8; 256] {
    std::array::from_fn(|value| rounded(map(value as u8)))
}

/// Replaces every value by what `map` says.
fn replace(image: &mut [u8], map: impl Fn(u8) -> f32) {
    image.iter_mut().for_each(|value| *value = rounded(map(*value)));
}

fn look_up(image: &mut [u8], channel: usize, channels: usize, table: &[u8; 256]) {
    let values = image.iter_mut().skip(channel).step_by(channels);
    values.for_each(|value| *value = table[usize::from(*value)]);
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// What Pillow makes of two small images; see `tests/vectors/pillow.py`.
    #[derive(Deserialize)]
    struct Vectors {
        height: usize,
        width: usize,
        gray: Vec<u8>,
        color: Vec<u8>,
        cases: Vec<Case>,
        /// Before and after.
        equalized: [Vec<u8>; 2],
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        amount: f32,
        tolerance: u8,
        gray: Option<Vec<u8>>,
        color: Vec<u8>,
    }

    fn change(name: &str, amount: f32) -> ColorChange {
        match name {
            "brightness" => ColorChange::Brightness(amount),
            "contrast" => ColorChange::Contrast(amount),
            "saturation" => ColorChange::Saturation(amount),
            "hue" => ColorChange::Hue(amount),
            "sharpness" => ColorChange::Sharpness(amount),
            "posterize" => ColorChange::Posterize(amount as u32),
            "solarize" => ColorChange::Solarize(amount as u16),
            "auto-contrast" => ColorChange::AutoContrast,
            _ => panic!("a case {name}"),
        }
    }

    #[test]
    fn colors_change_as_in_pillow() {
        let vectors: Vectors = serde_json::from_str(include_str!("../../tests/vectors/color.json")).unwrap();
        assert_eq!(vectors.cases.len(), 16);
        let [mut image, expected] = vectors.equalized;
        // Three channels of the same values.
        let mut color: Vec<u8> = image.iter().flat_map(|&value| [value; 3]).collect();
        equalize(&mut image, 1);
        equalize(&mut color, 3);
        assert_eq!(image, expected);
        assert!(color.chunks(3).zip(&expected).all(|(pixel, &value)| pixel == [value; 3]));
        for case in vectors.cases {
            let inputs = [(&vectors.gray, case.gray, 1), (&vectors.color, Some(case.color), 3)];
            for (image, expected, channels) in inputs {
                let Some(expected) = expected else { continue };
                let mut found = image.clone();
                let shape = ImageShape::new(vectors.height, vectors.width, channels);
                change(&case.name, case.amount).apply(&mut found, shape);
                let worst = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                assert!(
                    worst <= case.tolerance,
                    "{} {}: {worst}\n{found:?}\n{expected:?}",
                    case.name,
                    case.amount
                );
            }
        }
    }

    #[test]
    fn a_third_of_the_circle_turns_red_into_green() {
        let mut image = [200, 10, 10, 77, 77, 77, 10, 200, 10];
        turn_hue(&mut image, 1.0 / 3.0);
        assert_eq!(image, [10, 200, 10, 77, 77, 77, 10, 10, 200]);
        turn_hue(&mut image, -1.0 / 3.0);
        assert_eq!(image, [200, 10, 10, 77, 77, 77, 10, 200, 10]);
        turn_hue(&mut image, -0.5);
        assert_eq!(image, [10, 200, 200, 77, 77, 77, 200, 10, 200]);
    }

    #[test]
    fn brightness_multiplies_rounds_and_saturates() {
        let mut image = [0, 1, 100, 200];
        brighten(&mut image, 1.5);
        // 1.5 is rounded up.
        assert_eq!(image, [0, 2, 150, 255]);
        brighten(&mut image, 0.5);
        assert_eq!(image, [0, 1, 75, 128]);
    }
}
