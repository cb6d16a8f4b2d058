//! The confusion matrix as a heat map.

use tailor_eval::Confusion;

use crate::number::{count, percent};
use crate::svg::{Anchor, Drawing, Frame, cut_to_width, text_width};

/// The most classes whose cells have room for their counts.
const COUNTED: usize = 24;
/// The widest class name, in pixels.
const NAME: f64 = 150.0;
/// From a name to the cells, and from the axis' title to the names.
const GAP: f64 = 8.0;
/// Mistakes of this share of a class, and more, have the full color if no other is more frequent.
const GRAVE: f64 = 0.1;

/// True classes down, predicted ones across: what is right in blue, what is wrong in orange, each by its share of the true
/// class. Mistakes are drawn on a scale of their own, so that the frequent ones are seen beside a diagonal that dwarfs them.
pub(crate) fn heat_map(class_names: &[String], confusion: &Confusion) -> Drawing {
    let mut matrix =
        Matrix::new(class_names, "Confusion matrix: true classes down, predicted classes across");
    let worst = worst_share(confusion).max(GRAVE);
    for (label, row) in confusion.counts.iter().enumerate() {
        let support = confusion.support(label).max(1) as f64;
        for (predicted, &images) in row.iter().enumerate().filter(|(_, images)| **images > 0) {
            let share = images as f64 / support;
            let (class, opacity) = if label == predicted {
                ("right", 0.12 + 0.88 * share)
            } else {
                // The square root lifts small shares, as area does.
                ("wrong", 0.06 + 0.94 * (share / worst).sqrt())
            };
            let says = describe(class_names, confusion, label, predicted);
            matrix.cell((label, predicted), class, opacity, &brief(images), &says);
        }
    }
    matrix.finish()
}

/// A square of cells with the classes' names around it.
pub(crate) struct Matrix {
    drawing: Drawing,
    names: Vec<String>,
    frame: Frame,
    /// Width and height of a cell.
    cell: (f64, f64),
    is_counted: bool,
}

impl Matrix {
    /// An empty one that says `label` to those who cannot see it.
    pub fn new(class_names: &[String], label: &str) -> Self {
        let classes = class_names.len();
        let is_counted = classes <= COUNTED;
        let cell = if is_counted { (40.0, 34.0) } else { (15.0, 15.0) };
        let names: Vec<_> = class_names.iter().map(|name| cut_to_width(name, NAME)).collect();
        let name_width = names.iter().map(|name| text_width(name)).fold(0.0, f64::max);
        let frame = Frame {
            x: 20.0 + name_width + GAP,
            y: 8.0,
            width: cell.0 * classes as f64,
            height: cell.1 * classes as f64,
        };
        let hanging = name_width * Self::turn(is_counted).to_radians().sin().abs() + 14.0;
        let drawing = Drawing::new(frame.right() + 10.0, frame.bottom() + hanging + 28.0, label);
        Self { drawing, names, frame, cell, is_counted }
    }

    /// The names of the columns hang down, upright where they stand close.
    fn turn(is_counted: bool) -> f64 {
        if is_counted { -45.0 } else { -90.0 }
    }

    /// Draws the cell of a true and a predicted class, with `text` in it where there is room.
    pub fn cell(
        &mut self,
        (label, predicted): (usize, usize),
        class: &str,
        opacity: f64,
        text: &str,
        says: &str,
    ) {
        let (width, height) = self.cell;
        let (x, y) = (self.frame.x + width * predicted as f64, self.frame.y + height * label as f64);
        let cell = Frame { x, y, width: width - 1.0, height: height - 1.0 };
        self.drawing.cell(class, cell, opacity, says);
        if self.is_counted {
            let middle = (cell.center().0, cell.center().1 + 4.0);
            self.drawing.text("", middle, Anchor::Middle, text);
        }
    }

    /// Adds the frame and the names.
    pub fn finish(self) -> Drawing {
        let Self { mut drawing, names, frame, cell: (width, height), is_counted } = self;
        drawing.rect("frame", Frame { x: frame.x - 0.5, y: frame.y - 0.5, ..frame });
        for (class, name) in names.iter().enumerate() {
            let y = frame.y + height * (class as f64 + 0.5) + 4.0;
            drawing.text("", (frame.x - GAP, y), Anchor::End, name);
            let x = frame.x + width * (class as f64 + 0.5) + 4.0;
            drawing.turned_text("", (x, frame.bottom() + 14.0), Anchor::End, Self::turn(is_counted), name);
        }
        drawing.turned_text("quiet", (12.0, frame.center().1), Anchor::Middle, -90.0, "true class");
        let bottom = drawing.height - 8.0;
        drawing.text("quiet", (frame.center().0, bottom), Anchor::Middle, "predicted class");
        drawing
    }
}

/// The largest share of a class that is taken for another one.
fn worst_share(confusion: &Confusion) -> f64 {
    let pairs = confusion.most_confused_pairs(usize::MAX);
    pairs.iter().map(|pair| pair.count as f64 / confusion.support(pair.label) as f64).fold(0.0, f64::max)
}

/// A cell in words: "Shirt taken for Coat: 91 of 1,000 (9.1 %)".
fn describe(class_names: &[String], confusion: &Confusion, label: usize, predicted: usize) -> String {
    let (images, support) = (confusion.counts[label][predicted], confusion.support(label));
    let what = what_happened(class_names, label, predicted);
    format!("{what}: {} of {} ({})", count(images), count(support), percent(images as f64 / support as f64))
}

/// "Shirt recognized", "Shirt taken for Coat".
pub(crate) fn what_happened(class_names: &[String], label: usize, predicted: usize) -> String {
    match label == predicted {
        true => format!("{} recognized", class_names[label]),
        false => format!("{} taken for {}", class_names[label], class_names[predicted]),
    }
}

/// A count of at most four characters.
fn brief(images: usize) -> String {
    match images {
        0..10_000 => images.to_string(),
        10_000..1_000_000 => format!("{}k", images / 1000),
        _ => format!("{}M", images / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The map of one image after the other.
    fn map(classes: usize, labels: &[usize], predicted: &[usize]) -> Drawing {
        let names: Vec<_> = (0..classes).map(|class| format!("class {class}")).collect();
        let mut confusion = Confusion { counts: vec![vec![0; classes]; classes] };
        labels.iter().zip(predicted).for_each(|(&label, &predicted)| confusion.counts[label][predicted] += 1);
        heat_map(&names, &confusion)
    }

    #[test]
    fn cells_say_what_they_hold_and_empty_ones_are_left_out() {
        let document = map(3, &[0, 0, 0, 0, 1], &[0, 0, 0, 1, 1]).document();
        assert_eq!(document.matches("<rect class=\"right\"").count(), 2);
        assert_eq!(document.matches("<rect class=\"wrong\"").count(), 1);
        assert!(document.contains("<title>class 0 taken for class 1: 1 of 4 (25.0\u{202f}%)</title>"));
        assert!(document.contains("<title>class 0 recognized: 3 of 4 (75.0\u{202f}%)</title>"));
    }

    #[test]
    fn many_classes_stand_closer_without_counts() {
        let side = |classes: usize| map(classes, &[0], &[1]).width;
        assert!(side(100) < 2.0 * side(COUNTED));
        let document = map(100, &[0], &[1]).document();
        assert!(document.contains("rotate(-90)") && !document.contains(">1</text>"));
    }

    #[test]
    fn counts_have_at_most_four_characters() {
        for (images, text) in [(9999, "9999"), (10_000, "10k"), (999_999, "999k"), (5_000_000, "5M")] {
            assert_eq!(brief(images), text);
        }
    }
}
