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
    if is_cut_off_jpeg(bytes) {
        return Err(failure("the file ends before its image does".into()));
    }
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

/// Whether these are a JPEG's bytes, without the mark of its end: what is missing would be decoded as gray.
fn is_cut_off_jpeg(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(&[0xff, 0xd8]) else { return false };
    // Segments of metadata, in one of which a small image with an end of its own may be, stand before the first scan.
    loop {
        rest = match rest {
            [0xff, 0xff, ..] => &rest[1..], // a filler
            [0xff, 0xda, ..] => break,
            [0xff, 0x01 | 0xd0..=0xd7, ..] => &rest[2..], // without a length
            [0xff, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest.get(2 + length..).unwrap_or_default()
            }
            _ => break,
        };
    }
    !rest.windows(2).rev().any(|mark| mark == [0xff, 0xd9])
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

    /// A JPEG of four gray rectangles of 16×8, row by row, with an EXIF segment.
    fn jpeg([a, b, c, d]: [u8; 4], exif: &[u8]) -> Vec<u8> {
        let row = |left: u8, right: u8| [[left; 3].repeat(16), [right; 3].repeat(16)].concat();
        let pixels = [row(a, b).repeat(8), row(c, d).repeat(8)].concat();
        let mut bytes = Cursor::new(Vec::new());
        let (color, format) = (image::ColorType::Rgb8, ImageFormat::Jpeg);
        image::write_buffer_with_format(&mut bytes, &pixels, 32, 16, color, format).unwrap();
        let segment = [&[0xff, 0xe1, 0, exif.len() as u8 + 2], exif].concat();
        let mut bytes = bytes.into_inner();
        bytes.splice(2..2, segment);
        bytes
    }

    #[test]
    fn a_jpeg_that_is_cut_off_is_damaged() {
        // A small image in the metadata has an end, which is not the photograph's.
        let whole = jpeg([0, 80, 160, 255], b"Exif\0\0\xff\xd8\xff\xd9");
        assert!(decode_bytes(&whole, "whole.jpg").is_ok());
        let followed = [&whole[..], b"a maker's notes"].concat();
        assert!(decode_bytes(&followed, "followed.jpg").is_ok());
        for length in [whole.len() - 1, whole.len() - 4] {
            let error = decode_bytes(&whole[..length], "cut.jpg").unwrap_err().to_string();
            assert_eq!(error, "cannot decode the image cut.jpg: the file ends before its image does");
        }
        for length in 0..whole.len() {
            assert!(decode_bytes(&whole[..length], "cut.jpg").is_err(), "{length} bytes");
        }
    }

    #[test]
    fn each_exif_orientation_turns_the_photograph_upright() {
        let folder = tempfile::tempdir().unwrap();
        // Corners, row by row, of what is shown, where the file's are 0, 80, 160 and 255 (EXIF 2.3, section 4.6.4).
        for (orientation, corners) in [
            (1, [0, 80, 160, 255]),
            (2, [80, 0, 255, 160]),
            (3, [255, 160, 80, 0]),
            (4, [160, 255, 0, 80]),
            (5, [0, 160, 80, 255]),
            (6, [160, 0, 255, 80]),
            (7, [255, 80, 160, 0]),
            (8, [80, 255, 0, 160]),
        ] {
            let mut exif = *b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
            exif[25] = orientation;
            let path = folder.path().join(format!("{orientation}.jpg"));
            fs::write(&path, jpeg([0, 80, 160, 255], &exif)).unwrap();
            let photo = decode(&path).unwrap();
            let (height, width) = if orientation < 5 { (16, 32) } else { (32, 16) };
            assert_eq!((photo.height(), photo.width()), (height, width), "orientation {orientation}");
            assert_eq!(header(&path).unwrap(), Header { height, width, has_color: true });
            let at = |row: usize, column: usize| photo.rgb()[(row * width + column) * 3];
            let shown = [at(0, 0), at(0, width - 1), at(height - 1, 0), at(height - 1, width - 1)];
            let is_close =
                shown.iter().zip(corners).all(|(shown, corner): (&u8, u8)| shown.abs_diff(corner) < 20);
            assert!(is_close, "orientation {orientation}: {shown:?} instead of {corners:?}");
        }
    }
}
