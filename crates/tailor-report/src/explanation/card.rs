//! One explanation as a picture of its own: image, heat, both, and the likeliest classes.

use super::Explanation;
use crate::number::percent;
use crate::svg::{Anchor, Drawing, Frame, cut_to_width};
use crate::{Result, raster};

/// The side of the square that a picture is fitted into: six for one of Fashion-MNIST's 28 pixels.
const SIDE: f64 = 168.0;
const GAP: f64 = 16.0;
/// Above and below the pictures.
const TOP: f64 = 62.0;
const BOTTOM: f64 = 14.0;
/// The column of classes.
const CLASSES: f64 = 220.0;
/// From class to class.
const STEP: f64 = 34.0;

/// Draws an explanation as PNG, two pixels for one.
///
/// # Errors
/// A picture cannot be encoded.
pub fn explanation_png(explanation: &Explanation) -> Result<Vec<u8>> {
    raster::png(&draw(explanation)?)
}

fn draw(explanation: &Explanation) -> Result<Drawing> {
    let width = GAP + 3.0 * (SIDE + GAP) + CLASSES + GAP;
    let classes = explanation.top.len() as f64 * STEP;
    let mut drawing = Drawing::new(width, TOP + SIDE.max(classes) + BOTTOM, &explanation.name);
    drawing.text("title", (GAP, 24.0), Anchor::Start, &cut_to_width(&explanation.name, 0.8 * width));
    let pictures = [
        ("image".to_owned(), &explanation.picture),
        (format!("heat for {}", explanation.class), &explanation.heat),
        ("over the image".to_owned(), &explanation.overlay),
    ];
    for (place, (name, picture)) in pictures.into_iter().enumerate() {
        let x = GAP + place as f64 * (SIDE + GAP);
        drawing.text("quiet", (x, TOP - 10.0), Anchor::Start, &cut_to_width(&name, SIDE));
        drawing.large_picture(Frame { x, y: TOP, width: SIDE, height: SIDE }, picture)?;
    }
    let left = GAP + 3.0 * (SIDE + GAP);
    if let Some(label) = &explanation.label {
        let text = cut_to_width(&format!("is {label}"), CLASSES);
        drawing.text("quiet", (left, TOP - 10.0), Anchor::Start, &text);
    }
    for (place, (class, probability)) in explanation.top.iter().enumerate() {
        let y = TOP + place as f64 * STEP;
        let is_wrong = explanation.label.as_ref().is_some_and(|label| label != class);
        let bar = Frame { x: left, y: y + 18.0, width: CLASSES * probability, height: 8.0 };
        drawing.text("", (left, y + 12.0), Anchor::Start, &cut_to_width(class, CLASSES - 60.0));
        drawing.text("", (left + CLASSES, y + 12.0), Anchor::End, &percent(*probability));
        drawing.line("grid", (left, y + 22.0), (left + CLASSES, y + 22.0));
        drawing.rect(if is_wrong { "wrong" } else { "right" }, bar);
    }
    Ok(drawing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Picture;

    #[test]
    fn pictures_and_bars_stand_where_they_belong() {
        let gray = |value: u8| Picture::new(28, 28, 1, vec![value; 784]).unwrap();
        let explanation = Explanation {
            name: "a <b>".into(),
            picture: gray(40),
            heat: gray(90),
            overlay: Picture::new(90, 90, 3, [200, 30, 10].repeat(8100)).unwrap(),
            class: "Coat".into(),
            label: Some("Shirt".into()),
            top: vec![("Coat".into(), 0.75), ("Shirt".into(), 0.25)],
            focus: None,
            maps: Vec::new(),
        };
        let image = image::load_from_memory(&explanation_png(&explanation).unwrap()).unwrap().into_rgb8();
        let pixel = |x: f64, y: f64| image.get_pixel((2.0 * x) as u32, (2.0 * y) as u32).0;
        let middle = |place: f64| pixel(GAP + place * (SIDE + GAP) + SIDE / 2.0, TOP + SIDE / 2.0);
        assert_eq!([middle(0.0), middle(1.0)], [[40; 3], [90; 3]]);
        // A larger picture is a JPEG, which is nearly the same.
        assert!(middle(2.0).iter().zip([200, 30, 10]).all(|(&a, b): (&u8, u8)| a.abs_diff(b) < 8));
        let bar = |share: f64, place: f64| {
            pixel(GAP + 3.0 * (SIDE + GAP) + share * CLASSES, TOP + place * STEP + 20.0)
        };
        let white = [255; 3];
        assert!(bar(0.7, 0.0) != white && bar(0.8, 0.0) == white, "the first bar is three quarters long");
        assert!(bar(0.2, 1.0) != white && bar(0.3, 1.0) == white, "the second is a quarter");
        assert_ne!(bar(0.1, 0.0), bar(0.1, 1.0), "the wrong class has another color");
    }
}
