//! Pictures, and how they enter a page.

use std::io::Cursor;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

use crate::{Error, Result};

/// Up to this longest edge a picture is shown pixel by pixel, without loss.
const PIXELATED: usize = 64;
/// The longest edge of the preview that stands for a larger picture.
const PREVIEW: u32 = 112;
/// The longest edge where a picture is looked at by itself.
const LARGE: u32 = 336;
/// JPEG quality of a preview.
const PREVIEW_QUALITY: u8 = 82;

/// The pictures of a data set's part.
pub trait Pictures {
    /// The picture of image `i`, in the order of the predictions.
    fn picture(&self, i: usize) -> Picture;

    /// Where image `i` came from, such as its file name, if that says anything.
    fn origin(&self, _i: usize) -> Option<String> {
        None
    }
}

/// A gray or RGB picture, 8 bits a channel.
#[derive(Clone, Debug)]
pub struct Picture(DynamicImage);

impl Picture {
    /// Takes `pixels` `[height, width, channels]` of 1 channel (gray) or 3 (RGB).
    ///
    /// # Errors
    /// Another number of channels, a side of 0, or pixels that do not fill the shape.
    pub fn new(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Result<Self> {
        let error = Error::PictureShape { width, height, channels, bytes: pixels.len() };
        let size = width.checked_mul(height).and_then(|area| area.checked_mul(channels));
        let (Ok(columns), Ok(rows)) = (u32::try_from(width), u32::try_from(height)) else {
            return Err(error);
        };
        if size != Some(pixels.len()) || pixels.is_empty() {
            return Err(error);
        }
        let image = match channels {
            1 => GrayImage::from_raw(columns, rows, pixels).map(DynamicImage::from),
            3 => RgbImage::from_raw(columns, rows, pixels).map(DynamicImage::from),
            _ => None,
        };
        image.map(Self).ok_or(error)
    }

    /// In pixels.
    pub fn width(&self) -> usize {
        self.0.width() as usize
    }

    /// In pixels.
    pub fn height(&self) -> usize {
        self.0.height() as usize
    }

    /// Whether it is small enough to be enlarged with hard pixel edges.
    pub(crate) fn is_pixelated(&self) -> bool {
        self.width().max(self.height()) <= PIXELATED
    }

    /// Whether it is RGB.
    pub(crate) fn has_color(&self) -> bool {
        self.0.color().has_color()
    }

    /// The picture, made smaller if it does not fit into a square of this side.
    pub(crate) fn fitted(&self, side: u32) -> DynamicImage {
        match self.0.width().max(self.0.height()) > side {
            true => self.0.resize(side, side, FilterType::Triangle),
            false => self.0.clone(),
        }
    }

    /// The picture as a data URI: a small one as it is (PNG), a larger one as a preview (JPEG) that keeps pages small.
    pub(crate) fn data_uri(&self) -> Result<String> {
        self.data_uri_up_to(PREVIEW)
    }

    /// The same, for a picture that is looked at by itself.
    pub(crate) fn large_data_uri(&self) -> Result<String> {
        self.data_uri_up_to(LARGE)
    }

    fn data_uri_up_to(&self, longest: u32) -> Result<String> {
        let mut bytes = Vec::new();
        let kind = if self.is_pixelated() {
            self.0.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
            "png"
        } else {
            let preview = self.fitted(longest);
            JpegEncoder::new_with_quality(&mut bytes, PREVIEW_QUALITY).encode_image(&preview)?;
            "jpeg"
        };
        Ok(format!("data:image/{kind};base64,{}", BASE64_STANDARD.encode(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_checked() {
        assert!(Picture::new(2, 3, 1, vec![0; 6]).is_ok());
        assert!(Picture::new(2, 3, 3, vec![0; 18]).is_ok());
        for (width, height, channels, bytes) in
            [(2, 3, 1, 5), (2, 3, 4, 24), (0, 3, 1, 0), (usize::MAX, 2, 1, 4)]
        {
            let error = Picture::new(width, height, channels, vec![0; bytes]).unwrap_err().to_string();
            assert!(error.contains(&format!("{channels} channels cannot have {bytes} bytes")), "{error}");
        }
    }

    #[test]
    fn small_pictures_are_kept_and_large_ones_are_previewed() {
        let decode = |picture: &Picture| {
            let uri = picture.data_uri().unwrap();
            let (kind, data) = uri.split_once(";base64,").unwrap();
            (kind.to_owned(), image::load_from_memory(&BASE64_STANDARD.decode(data).unwrap()).unwrap())
        };
        let pixels: Vec<u8> = (0..28 * 28).map(|i| (i % 251) as u8).collect();
        let (kind, image) = decode(&Picture::new(28, 28, 1, pixels.clone()).unwrap());
        assert_eq!((kind.as_str(), image.into_luma8().into_raw()), ("data:image/png", pixels));
        let (kind, image) = decode(&Picture::new(300, 150, 3, vec![90; 300 * 150 * 3]).unwrap());
        assert_eq!((kind.as_str(), image.width(), image.height()), ("data:image/jpeg", 112, 56));
    }
}
