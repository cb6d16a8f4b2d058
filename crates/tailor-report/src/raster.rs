//! Drawings as PNG, with the font that comes along: the same pixels on a machine that has no fonts at all.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use crate::svg::Drawing;
use crate::{Error, Result};

/// Pixels of the image for one of the drawing: sharp on dense screens and in print.
const SCALE: f32 = 2.0;

/// The family name of the embedded faces.
const FAMILY: &str = "DejaVu Sans";

static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(include_bytes!("../fonts/DejaVuSans-Latin.ttf").to_vec());
    fonts.load_font_data(include_bytes!("../fonts/DejaVuSans-Bold-Latin.ttf").to_vec());
    fonts.set_sans_serif_family(FAMILY);
    Arc::new(fonts)
});

/// Draws `drawing` at two pixels for one, on white, and encodes it as PNG.
///
/// # Errors
/// The image would be too large.
pub(crate) fn png(drawing: &Drawing) -> Result<Vec<u8>> {
    let options = Options { fontdb: FONTS.clone(), font_family: FAMILY.to_owned(), ..Options::default() };
    let tree =
        Tree::from_str(&drawing.document(), &options).map_err(|error| Error::Draw(error.to_string()))?;
    let size = tree.size().to_int_size().scale_by(SCALE);
    let pixmap = size.and_then(|size| Pixmap::new(size.width(), size.height()));
    let mut pixmap = pixmap.ok_or(Error::TooLarge { width: drawing.width, height: drawing.height })?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|error| Error::Draw(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::Anchor;

    #[test]
    fn text_is_drawn_with_the_embedded_font_at_twice_the_size() {
        let dark_pixels = |text: &str| {
            let mut drawing = Drawing::new(100.0, 20.0, "text");
            drawing.text("title", (4.0, 15.0), Anchor::Start, text);
            let image = image::load_from_memory(&png(&drawing).unwrap()).unwrap().into_luma8();
            assert_eq!(image.dimensions(), (200, 40));
            image.pixels().filter(|pixel| pixel.0[0] < 128).count()
        };
        assert_eq!(dark_pixels(""), 0);
        assert!(dark_pixels("Ankle boot ≥ 91 %") > 500);
        assert!(
            dark_pixels("MMMM") > 2 * dark_pixels("llll"),
            "letters are their own, not the box of a missing one"
        );
    }

    #[test]
    fn an_absurd_size_is_an_error() {
        assert!(matches!(png(&Drawing::new(1e9, 1e9, "huge")), Err(Error::TooLarge { .. })));
    }
}
