//! Many small pictures in one.

use std::io::Cursor;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GrayImage, RgbImage, imageops};

use super::MappedImage;
use crate::{Error, Result};

/// The side of the square that a picture is fitted into, as of Fashion-MNIST.
pub(super) const SIDE: u32 = 28;
/// Browsers show no pictures that are much larger.
const LARGEST: u32 = 8192;
const QUALITY: u8 = 70;

/// A sheet of pictures, row by row.
pub(super) struct Sprite {
    /// Pictures in a row.
    pub columns: u32,
    /// The sheet as JPEG.
    pub data_uri: String,
}

impl Sprite {
    pub fn of(images: &[MappedImage]) -> Result<Self> {
        let columns = (images.len() as f64).sqrt().ceil().max(1.0) as u32;
        let rows = (images.len() as u32).div_ceil(columns);
        let (width, height) = (columns * SIDE, rows * SIDE);
        if width > LARGEST {
            return Err(Error::TooLarge { width: width.into(), height: height.into() });
        }
        let is_gray = images.iter().all(|image| !image.picture.has_color());
        let mut sheet = match is_gray {
            true => DynamicImage::from(GrayImage::new(width, height)),
            false => DynamicImage::from(RgbImage::new(width, height)),
        };
        for (i, image) in images.iter().enumerate() {
            let (column, row) = (i as u32 % columns, i as u32 / columns);
            let small = image.picture.fitted(SIDE);
            let (left, top) = ((SIDE - small.width()) / 2, (SIDE - small.height()) / 2);
            let (x, y) = (i64::from(column * SIDE + left), i64::from(row * SIDE + top));
            match &mut sheet {
                DynamicImage::ImageLuma8(sheet) => imageops::replace(sheet, &small.to_luma8(), x, y),
                DynamicImage::ImageRgb8(sheet) => imageops::replace(sheet, &small.to_rgb8(), x, y),
                _ => unreachable!("it was made as one of these"),
            }
        }
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(Cursor::new(&mut bytes), QUALITY).encode_image(&sheet)?;
        let data_uri = format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(bytes));
        Ok(Sprite { columns, data_uri })
    }
}
