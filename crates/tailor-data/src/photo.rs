//! Photographs: decoding within limits, upright and opaque, and writing small images back.

use std::fs;
use std::io::{Cursor, Read as _};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::dataset::ImageShape;
use crate::error::{Error, Result};

/// Larger photographs are refused: 100 megapixels are 300 MB of RGB.
pub const MOST_PIXELS: u64 = 100_000_000;

/// A decoder's buffers may take this much besides.
const MOST_BYTES: u64 = 1 << 30;

/// Larger files are refused before they are read.
const LARGEST_FILE: u64 = 256 << 20;

/// So many bytes are read first where only the header is wanted: a JPEG's EXIF data alone may have 64 KiB.
const HEADER: u64 = 256 << 10;

const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Tiff,
];

/// A decoded photograph, `[H, W, 3]` of `u8`, turned upright and composed on white.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    height: usize,
    width: usize,
    rgb: Vec<u8>,
}

/// What a file says of its image before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) has_color: bool,
}

impl Photo {
    /// A photograph from RGB pixels `[H, W, 3]`.
    ///
    /// # Errors
    /// [`Error::Image`] if a side is 0 or the length is not `height × width × 3`.
    pub fn from_rgb(height: usize, width: usize, rgb: Vec<u8>) -> Result<Photo> {
        let bytes = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(3));
        if rgb.is_empty() || bytes != Some(rgb.len()) {
            return Err(Error::Image {
                name: "in memory".into(),
                problem: format!("{} bytes are not {height}×{width}×3", rgb.len()),
            });
        }
        Ok(Photo { height, width, rgb })
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The pixels, `[H, W, 3]`.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// Whether every pixel is gray.
    pub fn is_gray(&self) -> bool {
        self.rgb.as_chunks().0.iter().all(|[r, g, b]| r == g && g == b)
    }
}

/// Decodes a PNG, JPEG, WebP, BMP, GIF (first frame) or TIFF file; its content decides which, not its name.
/// The orientation in its EXIF data is applied, and transparency is composed on white.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Image`] if it is no image, damaged, or larger than
/// [`MOST_PIXELS`].
pub fn decode(path: &Path) -> Result<Photo> {
    decode_bytes(&read(path)?, &path.display().to_string())
}

/// As [`decode`], for bytes that `name` stands for in errors.
///
/// # Errors
/// [`Error::Image`] as with [`decode`].
pub fn decode_bytes(bytes: &[u8], name: &str) -> Result<Photo> {
    let failure = |problem: String| Error::Image { name: name.to_owned(), problem };
    let mut decoder = decoder(bytes, name)?;
    let orientation = decoder.orientation().map_err(|error| failure(error.to_string()))?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| failure(error.to_string()))?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let rgb = if image.color().has_alpha() {
        compose_on_white(&image.into_rgba8())
    } else {
        image.into_rgb8().into_raw()
    };
    Photo::from_rgb(height, width, rgb)
}

/// The size (upright) and color of a file's image, without decoding it.
pub(crate) fn header(path: &Path) -> Result<Header> {
    // Most files say it at their beginning; the rest of a large one need not be read.
    let mut start = Vec::new();
    let read_start = fs::File::open(path).and_then(|file| file.take(HEADER).read_to_end(&mut start));
    if read_start.is_ok()
        && start.len() as u64 == HEADER
        && let Ok(header) = header_of_bytes(&start, path)
    {
        return Ok(header);
    }
    header_of_bytes(&read(path)?, path)
}

fn header_of_bytes(bytes: &[u8], path: &Path) -> Result<Header> {
    let name = path.display().to_string();
    let mut decoder = decoder(bytes, &name)?;
    let orientation =
        decoder.orientation().map_err(|error| Error::Image { name, problem: error.to_string() })?;
    let (width, height) = decoder.dimensions();
    // EXIF's orientations 5 to 8 lie on their side.
    let (width, height) = if orientation.to_exif() >= 5 { (height, width) } else { (width, height) };
    let has_color = decoder.color_type().has_color();
    Ok(Header { height: height as usize, width: width as usize, has_color })
}

/// Whether the bytes at a file's beginning are those of an image that [`decode`] knows.
pub(crate) fn begins_as_image(start: &[u8]) -> bool {
    image::guess_format(start).is_ok_and(|format| FORMATS.contains(&format))
}

/// Whether a file's name ends as an image's does.
pub(crate) fn is_named_as_image(path: &Path) -> bool {
    path.extension().and_then(ImageFormat::from_extension).is_some_and(|format| FORMATS.contains(&format))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let file = fs::metadata(path).map_err(Error::io("read", path))?;
    if !file.is_file() {
        // A pipe or a device may never end.
        return Err(Error::Image { name: path.display().to_string(), problem: "it is not a file".into() });
    }
    let bytes = file.len();
    if bytes > LARGEST_FILE {
        let problem =
            format!("the file has {} MB, more than the {} allowed", bytes >> 20, LARGEST_FILE >> 20);
        return Err(Error::Image { name: path.display().to_string(), problem });
    }
    fs::read(path).map_err(Error::io("read", path))
}

/// A decoder whose image is known to be within the limits; no pixel is decoded yet.
fn decoder<'a>(bytes: &'a [u8], name: &str) -> Result<impl ImageDecoder + 'a> {
    let failure = |problem: String| Error::Image { name: name.to_owned(), problem };
    if !begins_as_image(bytes) {
        return Err(failure("it is not a PNG, JPEG, WebP, BMP, GIF or TIFF file".into()));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| failure(error.to_string()))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| failure(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(failure("it has no pixels".into()));
    }
    if pixels > MOST_PIXELS {
        return Err(failure(format!(
            "it claims {width}×{height} pixels, more than the {} megapixels allowed; make it smaller",
            MOST_PIXELS / 1_000_000
        )));
    }
    Ok(decoder)
}

fn compose_on_white(image: &image::RgbaImage) -> Vec<u8> {
    image
        .as_raw()
        .as_chunks()
        .0
        .iter()
        .flat_map(|&[r, g, b, alpha]| {
            let alpha = u32::from(alpha);
            [r, g, b].map(|value| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
        })
        .collect()
}

/// Pixels `[H, W, C]` as the bytes of a PNG file.
///
/// # Errors
/// [`Error::Dataset`] if there are not as many pixels as the shape says.
pub fn png(pixels: &[u8], shape: ImageShape) -> Result<Vec<u8>> {
    shape.check()?;
    if pixels.len() != shape.len() {
        return Err(Error::Dataset(format!("{} bytes are not an image of {shape}", pixels.len())));
    }
    let color = if shape.channels == 1 { image::ColorType::L8 } else { image::ColorType::Rgb8 };
    let mut encoded = Cursor::new(Vec::new());
    image::write_buffer_with_format(
        &mut encoded,
        pixels,
        shape.width as u32,
        shape.height as u32,
        color,
        ImageFormat::Png,
    )
    .map_err(|error| Error::Image { name: "to be written".into(), problem: error.to_string() })?;
    Ok(encoded.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(pixels: &[u8], width: u32, height: u32, color: image::ColorType) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image::write_buffer_with_format(&mut bytes, pixels, width, height, color, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn transparency_is_composed_on_white() {
        // Opaque, invisible, and half visible black: 255 · (255 − 128) / 255 = 127.
        let pixels = [10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 128];
        let photo = decode_bytes(&png(&pixels, 3, 1, image::ColorType::Rgba8), "test").unwrap();
        assert_eq!(photo.rgb(), [10, 20, 30, 255, 255, 255, 127, 127, 127]);
        assert!(!photo.is_gray());
    }

    #[test]
    fn every_format_is_recognized_by_its_content() {
        for format in FORMATS {
            let mut bytes = Cursor::new(Vec::new());
            let pixels = [200; 8 * 8 * 3];
            image::write_buffer_with_format(&mut bytes, &pixels, 8, 8, image::ColorType::Rgb8, format)
                .unwrap();
            let photo = decode_bytes(bytes.get_ref(), "no extension").unwrap();
            assert_eq!((photo.height(), photo.width()), (8, 8), "{format:?}");
            assert!(photo.rgb().iter().all(|value| value.abs_diff(200) <= 2), "{format:?}");
        }
    }

    #[test]
    fn a_written_png_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        fs::write(&path, super::png(&[1, 2, 3, 4, 5, 6], ImageShape::new(2, 3, 1)).unwrap()).unwrap();
        let photo = decode(&path).unwrap();
        assert_eq!((photo.height(), photo.width(), photo.is_gray()), (2, 3, true));
        assert_eq!(photo.rgb()[15..], [6, 6, 6]);
        assert_eq!(header(&path).unwrap(), Header { height: 2, width: 3, has_color: false });
        assert!(super::png(&[1], ImageShape::new(2, 3, 1)).is_err());
    }

    #[test]
    fn an_image_bomb_is_refused_before_it_is_decoded() {
        let mut bomb = png(&[0], 1, 1, image::ColorType::L8);
        // The header's width and height stand at bytes 16 and 20; its checksum follows at 29.
        bomb[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        bomb[20..24].copy_from_slice(&60_000u32.to_be_bytes());
        let sum = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&sum.to_be_bytes());
        let error = decode_bytes(&bomb, "bomb.png").unwrap_err().to_string();
        assert!(
            error.contains("bomb.png: it claims 60000×60000 pixels, more than the 100 megapixels"),
            "{error}"
        );
    }

    /// The checksum of PNG chunks (PNG specification, annex D).
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, &byte| {
            (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
        })
    }

    #[test]
    fn damaged_and_foreign_bytes_are_errors() {
        let whole = png(&[7; 400], 20, 20, image::ColorType::L8);
        for length in [0, 1, 8, 20, whole.len() / 2] {
            assert!(decode_bytes(&whole[..length], "cut.png").is_err(), "{length} bytes");
        }
        let error = decode_bytes(b"a text", "a.png").unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot decode the image a.png: it is not a PNG, JPEG, WebP, BMP, GIF or TIFF file"
        );
    }

    #[test]
    fn the_exif_orientation_turns_the_photograph() {
        // 2×1: black, white. Orientation 6 asks for a quarter turn clockwise: black comes on top.
        let mut bytes = Cursor::new(Vec::new());
        let pixels = [[0; 3].repeat(16 * 16), [255; 3].repeat(16 * 16)];
        let rows: Vec<u8> =
            (0..16).flat_map(|y| [&pixels[0][y * 48..][..48], &pixels[1][y * 48..][..48]].concat()).collect();
        image::write_buffer_with_format(&mut bytes, &rows, 32, 16, image::ColorType::Rgb8, ImageFormat::Jpeg)
            .unwrap();
        let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let segment = [&[0xff, 0xe1, 0, exif.len() as u8 + 2], &exif[..]].concat();
        let mut turned = bytes.into_inner();
        turned.splice(2..2, segment);
        let photo = decode_bytes(&turned, "turned.jpg").unwrap();
        assert_eq!((photo.height(), photo.width()), (32, 16));
        assert!(photo.rgb()[0] < 20 && photo.rgb()[31 * 16 * 3] > 235);
    }
}
