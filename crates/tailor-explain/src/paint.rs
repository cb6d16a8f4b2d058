//! Heat as colors: warm for a class, cold against it, over the image or by itself.

use tailor_data::ImageShape;

use crate::Heat;

/// What colder heat is blended into where there is no image.
const GROUND: [f32; 3] = [20.0, 24.0, 31.0];
/// From little to much.
const WARM: [[f32; 3]; 3] = [[178.0, 30.0, 45.0], [246.0, 130.0, 20.0], [255.0, 235.0, 110.0]];
const COLD: [[f32; 3]; 3] = [[30.0, 75.0, 180.0], [60.0, 150.0, 230.0], [170.0, 230.0, 255.0]];
/// How much of the image the hottest place hides.
const OPACITY: f32 = 0.85;

/// Heat by itself, RGB `[H, W, 3]`, at the size of the image.
pub fn heat(heat: &Heat, shape: ImageShape) -> Vec<u8> {
    let heat = heat.scaled().resized(shape.height, shape.width);
    heat.values().iter().flat_map(|&value| blend(GROUND, value, 1.0)).collect()
}

/// Heat over an image `[H, W, C]`, RGB `[H, W, 3]`. The image is grey, so that colors are those of the heat.
///
/// # Panics
/// If the image is not of the shape.
pub fn overlay(heat: &Heat, image: &[u8], shape: ImageShape) -> Vec<u8> {
    assert_eq!(image.len(), shape.len(), "an image of {shape}");
    let heat = heat.scaled().resized(shape.height, shape.width);
    let pixels = image.chunks_exact(shape.channels).zip(heat.values());
    pixels.flat_map(|(pixel, &value)| blend([luminance(pixel); 3], value, OPACITY)).collect()
}

/// A feature map by itself, gray `[H, W]`: its least value black, its largest white.
pub fn feature_map(map: &Heat) -> Vec<u8> {
    stretched(map.values())
}

/// A filter `[H, W, C]` as RGB `[H, W, 3]`: of three channels in its colors, otherwise the mean over channels, warm above zero
/// and cold below.
pub fn filter(weights: &[f32], [height, width, channels]: [usize; 3]) -> Vec<u8> {
    match channels {
        3 => stretched(weights),
        channels => {
            let means = weights.chunks_exact(channels).map(|pixel| pixel.iter().sum()).collect();
            heat(&Heat::new(height, width, means), ImageShape::new(height, width, 1))
        }
    }
}

/// From the least value to the largest, as 0 to 255.
fn stretched(values: &[f32]) -> Vec<u8> {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
    values.iter().map(|value| ((value - low) * scale).round() as u8).collect()
}

/// Rec. 601, as image formats weigh their channels.
fn luminance(pixel: &[u8]) -> f32 {
    match *pixel {
        [red, green, blue] => 0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue),
        _ => f32::from(pixel[0]),
    }
}

/// A color with heat of −1 to 1 over it: little heat lets more of it through.
fn blend(ground: [f32; 3], value: f32, opacity: f32) -> [u8; 3] {
    let ramp = if value < 0.0 { COLD } else { WARM };
    let strength = value.abs().min(1.0);
    let (place, share) = ((2.0 * strength).floor().min(1.0), 2.0 * strength);
    let along = share - place;
    let opacity = opacity * strength.sqrt();
    std::array::from_fn(|channel| {
        let (low, high) = (ramp[place as usize][channel], ramp[place as usize + 1][channel]);
        let color = low + (high - low) * along;
        (ground[channel] * (1.0 - opacity) + color * opacity).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cold_places_show_the_image_and_hot_ones_their_color() {
        let shape = ImageShape::new(1, 3, 1);
        let image = [10, 100, 200];
        let pixels = overlay(&Heat::new(1, 3, vec![0.0, 2.0, -2.0]), &image, shape);
        assert_eq!(pixels[..3], [10; 3]);
        assert!(pixels[3] > pixels[5] + 50, "warm is red before blue: {pixels:?}");
        assert!(pixels[8] > pixels[6] + 20, "cold is blue before red: {pixels:?}");
        assert_eq!(overlay(&Heat::new(1, 1, vec![0.0]), &[9, 9, 9], ImageShape::new(1, 1, 3)), [9; 3]);
        assert_eq!(heat(&Heat::new(1, 1, vec![0.0]), shape), [20, 24, 31].repeat(3));
    }

    #[test]
    fn filters_show_signs_and_colors_and_maps_their_range() {
        let gray = filter(&[1.0, 0.0, -1.0], [1, 3, 1]);
        assert!(gray[0] > gray[2] && gray[8] > gray[6], "{gray:?}");
        assert_eq!(gray[3..6], [20, 24, 31]);
        assert_eq!(filter(&[-1.0, 0.0, 1.0], [1, 1, 3]), [0, 128, 255]);
        assert_eq!(feature_map(&Heat::new(1, 3, vec![2.0, 4.0, 3.0])), [0, 255, 128]);
        assert_eq!(feature_map(&Heat::new(1, 2, vec![2.0, 2.0])), [0, 0]);
    }
}
