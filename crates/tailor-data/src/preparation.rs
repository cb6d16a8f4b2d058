//! From a photograph of any size to the pixels that a network sees.

use serde::{Deserialize, Serialize};

use crate::dataset::ImageShape;
use crate::photo::Photo;
use crate::resample::Raster;

/// How a photograph becomes an image of a network's shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preparation {
    /// As the images of Fashion-MNIST were made from Zalando's product photographs (Xiao et al. 2017,
    /// section 2), on a canvas of any shape:
    ///
    /// 1. Edges are trimmed whose color is within 5 % (of the largest distance in RGB) of the color in their
    ///    corners. Up to 0.5 % of an edge may differ: a JPEG's noise, a speck of dust.
    /// 2. The longest side is made to fit, the proportions are kept. The paper skips rows and columns of a
    ///    thumbnail of 51×73 pixels; of a large photograph that would keep one pixel in a thousand, and what
    ///    it keeps is specks. So here each pixel is the mean of its area, which in a comparison side by side
    ///    came nearest to the look of the real images.
    /// 3. Sharpened with a Gaussian operator of radius and deviation 1 (ImageMagick's `-sharpen 1x1`), which
    ///    brings back the crispness that averaging took.
    /// 4. Centered on a canvas of the background's color.
    /// 5. Negated, so that a white background becomes 0, and made gray if the shape is. A background that is
    ///    light but not white is first made white, as in a studio.
    #[default]
    FashionMnist,
    /// Resized by area averaging with its proportions kept, centered on a canvas of the color that is the
    /// median of its border. Nothing is trimmed, sharpened or negated.
    Resize,
}

/// Whether a photograph already has the form of the network's input: the size, and gray if the input is.
///
/// An image taken from a data set should not be trimmed, sharpened and negated once more.
pub fn is_prepared(photo: &Photo, shape: ImageShape) -> bool {
    (photo.height(), photo.width()) == (shape.height, shape.width) && (shape.channels == 3 || photo.is_gray())
}

/// The pixels `[H, W, C]` of `shape` that a network gets for a photograph.
///
/// # Panics
/// If the shape is impossible (see [`ImageShape::check`]).
pub fn prepare(photo: &Photo, shape: ImageShape, preparation: Preparation) -> Vec<u8> {
    shape.check().expect("the shape of a network's input was checked when the network was built");
    let raster = match preparation {
        Preparation::FashionMnist => fashion_mnist(photo, shape),
        Preparation::Resize => resize(photo, shape),
    };
    // `as` saturates: sharpening overshoots.
    raster.values.iter().map(|value| value.round() as u8).collect()
}

/// The photograph itself in the shape's channels, for an image that [`is_prepared`].
pub fn take_as_is(photo: &Photo, channels: usize) -> Vec<u8> {
    match channels {
        1 => photo.rgb().as_chunks().0.iter().map(|&pixel| luma(pixel).round() as u8).collect(),
        _ => photo.rgb().to_vec(),
    }
}

type Rgb = [u8; 3];

/// Rec. 709 luma, as ImageMagick and browsers make gray.
fn luma([r, g, b]: Rgb) -> f32 {
    0.2126 * f32::from(r) + 0.7152 * f32::from(g) + 0.0722 * f32::from(b)
}

fn in_channels(color: Rgb, channels: usize) -> Vec<f32> {
    if channels == 1 { vec![luma(color)] } else { color.map(f32::from).to_vec() }
}

/// A part of the photograph, made as large as fits the shape with its proportions kept.
fn fitted(photo: &Photo, frame: &Frame, shape: ImageShape) -> Raster {
    let (height, width) = (frame.height(), frame.width());
    let scale = (shape.height as f64 / height as f64).min(shape.width as f64 / width as f64);
    let side = |length: usize, limit: usize| ((length as f64 * scale).round() as usize).clamp(1, limit);
    let pixels: &[Rgb] = photo.rgb().as_chunks().0;
    let read_row = |y: usize, row: &mut [f32]| {
        let pixels = &pixels[(frame.top + y) * photo.width() + frame.left..][..width];
        if shape.channels == 1 {
            row.iter_mut().zip(pixels).for_each(|(value, &pixel)| *value = luma(pixel));
        } else {
            let values = row.iter_mut().zip(pixels.as_flattened());
            values.for_each(|(out, &value)| *out = f32::from(value));
        }
    };
    let (rows, columns) = (side(height, shape.height), side(width, shape.width));
    Raster::resized_from([height, width, shape.channels], read_row, rows, columns)
}

fn resize(photo: &Photo, shape: ImageShape) -> Raster {
    let background = in_channels(border_color(photo), shape.channels);
    fitted(photo, &Frame::whole(photo), shape).centered(shape.height, shape.width, &background)
}

fn fashion_mnist(photo: &Photo, shape: ImageShape) -> Raster {
    let frame = Frame::around(photo);
    let background = median(&mut corner_colors(photo));
    let canvas = in_channels(background, shape.channels);
    let sharp = sharpened(&fitted(photo, &frame, shape));
    let mut image = sharp.centered(shape.height, shape.width, &canvas);
    let gains: Vec<f32> = canvas.iter().map(|&value| white_gain(value, luma(background))).collect();
    for pixel in image.values.chunks_exact_mut(shape.channels) {
        for (value, gain) in pixel.iter_mut().zip(&gains) {
            *value = 255.0 - (*value * gain).min(255.0);
        }
    }
    image
}

/// What a channel is multiplied by so that a light background becomes white; a dark one stays as it is.
fn white_gain(background: f32, luma: f32) -> f32 {
    const LIGHT: f32 = 128.0;
    if luma >= LIGHT { 255.0 / background.max(LIGHT) } else { 1.0 }
}

/// The median of the pixels on the four edges, per channel.
fn border_color(photo: &Photo) -> Rgb {
    let (height, width) = (photo.height(), photo.width());
    let horizontal = (0..width).flat_map(|x| [(0, x), (height - 1, x)]);
    let vertical = (0..height).flat_map(|y| [(y, 0), (y, width - 1)]);
    let mut border: Vec<Rgb> = horizontal.chain(vertical).map(|(y, x)| pixel(photo, y, x)).collect();
    median(&mut border)
}

/// The (upper) median of each channel.
fn median(colors: &mut [Rgb]) -> Rgb {
    let middle = colors.len() / 2;
    std::array::from_fn(|channel| {
        colors.select_nth_unstable_by_key(middle, |color| color[channel]).1[channel]
    })
}

fn pixel(photo: &Photo, y: usize, x: usize) -> Rgb {
    photo.rgb().as_chunks().0[y * photo.width() + x]
}

/// The colors in the corners: top left, top right, bottom left, bottom right. Each is the median of a patch
/// of up to 3×3 pixels, so that noise in a single one does not matter.
fn corner_colors(photo: &Photo) -> [Rgb; 4] {
    let (height, width) = (photo.height(), photo.width());
    let (bottom, right) = (height - 3.min(height), width - 3.min(width));
    [(0, 0), (0, right), (bottom, 0), (bottom, right)].map(|(top, left)| {
        let rows = top..(top + 3).min(height);
        let mut patch: Vec<Rgb> =
            rows.flat_map(|y| (left..(left + 3).min(width)).map(move |x| pixel(photo, y, x))).collect();
        median(&mut patch)
    })
}

/// What is left of a photograph after trimming: rows `top..bottom`, columns `left..right`.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

impl Frame {
    fn whole(photo: &Photo) -> Frame {
        Frame { top: 0, bottom: photo.height(), left: 0, right: photo.width() }
    }

    /// Trims the edges that have the color of their corners; a photograph of nothing else is kept whole.
    fn around(photo: &Photo) -> Frame {
        let (height, width) = (photo.height(), photo.width());
        let [top_left, top_right, bottom_left, bottom_right] = corner_colors(photo);
        let empty_row =
            |y: usize, corners: [Rgb; 2]| is_empty((0..width).map(|x| pixel(photo, y, x)), corners);
        let whole = Frame::whole(photo);
        let Some(top) = (0..height).find(|&y| !empty_row(y, [top_left, top_right])) else { return whole };
        let bottom = (top + 1..height)
            .rev()
            .find(|&y| !empty_row(y, [bottom_left, bottom_right]))
            .map_or(top + 1, |y| y + 1);
        // Columns are judged by the rows that are left: a speck counts for more in a shorter edge.
        let empty_column =
            |x: usize, corners: [Rgb; 2]| is_empty((top..bottom).map(|y| pixel(photo, y, x)), corners);
        let Some(left) = (0..width).find(|&x| !empty_column(x, [top_left, bottom_left])) else {
            return whole;
        };
        let right = (left + 1..width)
            .rev()
            .find(|&x| !empty_column(x, [top_right, bottom_right]))
            .map_or(left + 1, |x| x + 1);
        Frame { top, bottom, left, right }
    }

    fn height(&self) -> usize {
        self.bottom - self.top
    }

    fn width(&self) -> usize {
        self.right - self.left
    }
}

/// Whether all but 0.5 % of an edge's pixels are close to the color of one of its corners.
fn is_empty(edge: impl ExactSizeIterator<Item = Rgb>, corners: [Rgb; 2]) -> bool {
    let tolerated = edge.len() / 200;
    edge.filter(|&color| corners.iter().all(|&corner| !is_close(color, corner))).nth(tolerated).is_none()
}

/// Within 5 % of the distance from black to white, √3 · 255.
fn is_close(a: Rgb, b: Rgb) -> bool {
    const LARGEST_SQUARE: i32 = 3 * 255 * 255;
    let square: i32 = std::array::from_fn::<i32, 3, _>(|channel| {
        let difference = i32::from(a[channel]) - i32::from(b[channel]);
        difference * difference
    })
    .iter()
    .sum();
    square * 400 <= LARGEST_SQUARE
}

/// ImageMagick's `-sharpen 1x1`: a 3×3 kernel of negative Gaussian weights whose center is twice their sum,
/// scaled to sum to one. Pixels beyond the edge repeat it.
fn sharpened(image: &Raster) -> Raster {
    let gauss = |squared_distance: f32| (-squared_distance / 2.0).exp();
    let (side, corner) = (gauss(1.0), gauss(2.0));
    let sum = 1.0 + 4.0 * side + 4.0 * corner;
    let scale = 1.0 / (2.0 * sum - (sum - 1.0));
    let (center, side, corner) = (2.0 * sum * scale, -side * scale, -corner * scale);

    let (height, width, channels) = (image.height, image.width, image.channels);
    let mut values = Vec::with_capacity(image.values.len());
    for y in 0..height {
        for x in 0..width {
            let [up, down] = [y.saturating_sub(1), (y + 1).min(height - 1)];
            let [left, right] = [x.saturating_sub(1), (x + 1).min(width - 1)];
            for channel in 0..channels {
                let at = |y: usize, x: usize| image.values[(y * width + x) * channels + channel];
                let sides = at(up, x) + at(down, x) + at(y, left) + at(y, right);
                let corners = at(up, left) + at(up, right) + at(down, left) + at(down, right);
                values.push(center * at(y, x) + side * sides + corner * corners);
            }
        }
    }
    Raster { height, width, channels, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gray photograph, black where `object` says so and `background` elsewhere.
    fn photo(height: usize, width: usize, background: u8, object: impl Fn(usize, usize) -> bool) -> Photo {
        let rgb = (0..height * width)
            .flat_map(|i| [if object(i / width, i % width) { 0 } else { background }; 3])
            .collect();
        Photo::from_rgb(height, width, rgb).unwrap()
    }

    const SHAPE: ImageShape = ImageShape::new(28, 28, 1);

    #[test]
    fn a_black_bar_on_white_becomes_a_white_bar_that_fills_the_height() {
        // 100 rows by 50 columns of black: 28 by 14 in the result, centered in columns 7..21.
        let photo = photo(200, 300, 255, |y, x| (40..140).contains(&y) && (100..150).contains(&x));
        let image = prepare(&photo, SHAPE, Preparation::FashionMnist);
        for (i, &value) in image.iter().enumerate() {
            assert_eq!(value, if (7..21).contains(&(i % 28)) { 255 } else { 0 }, "pixel {i}");
        }
    }

    #[test]
    fn noise_and_specks_in_the_background_are_trimmed_all_the_same() {
        let object = |y: usize, x: usize| (40..140).contains(&y) && (100..150).contains(&x);
        let mut noisy = photo(200, 400, 250, object).rgb().to_vec();
        let mut generator = crate::random::Generator::new(1);
        for value in noisy.iter_mut().filter(|value| **value == 250) {
            *value = 244 + generator.below(12) as u8;
        }
        // One black pixel in the first row: 1 of 400 is within the half percent.
        noisy[300..303].fill(0);
        let noisy = Photo::from_rgb(200, 400, noisy).unwrap();
        assert_eq!(Frame::around(&noisy), Frame { top: 40, bottom: 140, left: 100, right: 150 });
    }

    #[test]
    fn a_light_background_becomes_zero_and_a_dark_one_stays() {
        let bar = |y: usize, x: usize| (40..140).contains(&y) && (100..150).contains(&x);
        let light = prepare(&photo(200, 300, 200, bar), SHAPE, Preparation::FashionMnist);
        assert_eq!((light[0], light[14]), (0, 255));
        let dark = prepare(&photo(200, 300, 100, bar), SHAPE, Preparation::FashionMnist);
        assert_eq!(dark[0], 155);
    }

    #[test]
    fn an_empty_photograph_is_kept_whole() {
        let empty = photo(50, 30, 255, |_, _| false);
        assert_eq!(Frame::around(&empty), Frame { top: 0, bottom: 50, left: 0, right: 30 });
        assert_eq!(prepare(&empty, SHAPE, Preparation::FashionMnist), [0; 784]);
    }

    #[test]
    fn sharpening_keeps_a_plain_area_and_overshoots_at_an_edge() {
        let image = Raster { height: 1, width: 4, channels: 1, values: vec![100.0, 100.0, 200.0, 200.0] };
        // The rows above and below repeat, so the kernel acts as its column sums: the sides of the center
        // weigh −(e^−½ + 2e^−1)/5.897 = −0.2276 each. At the edge: 100 − 0.2276 · 100 = 77.2.
        let sharp = sharpened(&image).values;
        for (value, expected) in sharp.iter().zip([100.0, 77.24, 222.76, 200.0]) {
            assert!((value - expected).abs() < 0.05, "{sharp:?}");
        }
    }

    #[test]
    fn resizing_keeps_proportions_and_pads_with_the_border() {
        let wide = photo(10, 20, 90, |y, x| (4..6).contains(&y) && (8..12).contains(&x));
        let image = prepare(&wide, ImageShape::new(4, 4, 3), Preparation::Resize);
        // 10×20 becomes 2×4, in rows 1 and 2. The padding is 90, and the object darkens the middle.
        assert!(image[..12].iter().chain(&image[36..]).all(|&value| value == 90));
        assert_eq!(image[12], 90);
        assert!(image[15] < 90);
    }

    #[test]
    fn the_smallest_photograph_and_odd_shapes_work() {
        let dot = Photo::from_rgb(1, 1, vec![10, 20, 30]).unwrap();
        for shape in [SHAPE, ImageShape::new(1, 1, 3), ImageShape::new(5, 9, 3)] {
            for preparation in [Preparation::FashionMnist, Preparation::Resize] {
                assert_eq!(prepare(&dot, shape, preparation).len(), shape.len());
            }
        }
        let line = photo(1, 500, 255, |_, x| x == 250);
        assert_eq!(prepare(&line, SHAPE, Preparation::FashionMnist).len(), 784);
    }

    #[test]
    fn an_image_of_the_network_s_form_is_recognized() {
        assert!(is_prepared(&photo(28, 28, 0, |_, _| false), SHAPE));
        assert!(!is_prepared(&photo(28, 29, 0, |_, _| false), SHAPE));
        let colored = Photo::from_rgb(28, 28, [1, 2, 3].repeat(784)).unwrap();
        assert!(!is_prepared(&colored, SHAPE));
        assert!(is_prepared(&colored, ImageShape::new(28, 28, 3)));
        assert_eq!(take_as_is(&colored, 3), colored.rgb());
    }

    #[test]
    fn five_percent_of_the_largest_distance_is_close() {
        // 5 % of √3 · 255 is 22.08: a difference of 22 in one channel is close, 23 is not.
        assert!(is_close([255; 3], [233, 255, 255]));
        assert!(!is_close([255; 3], [232, 255, 255]));
    }
}
