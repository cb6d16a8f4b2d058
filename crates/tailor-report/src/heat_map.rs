//! The confusion matrix as a heat map.

use tailor_eval::Evaluation;

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
pub(crate) fn heat_map(evaluation: &Evaluation) -> Drawing {
    let confusion = &evaluation.confusion;
    let classes = confusion.classes();
    let is_counted = classes <= COUNTED;
    let (cell_width, cell_height) = if is_counted { (40.0, 34.0) } else { (15.0, 15.0) };
    let names: Vec<_> = evaluation.per_class.iter().map(|class| cut_to_width(&class.name, NAME)).collect();
    let name_width = names.iter().map(|name| text_width(name)).fold(0.0, f64::max);

    let left = 20.0 + name_width + GAP;
    let matrix =
        Frame { x: left, y: 8.0, width: cell_width * classes as f64, height: cell_height * classes as f64 };
    // The names of the columns hang down, upright where they stand close.
    let turn = if is_counted { -45.0_f64 } else { -90.0 };
    let hanging = name_width * turn.to_radians().sin().abs() + 14.0;
    let height = matrix.bottom() + hanging + 28.0;
    let mut drawing = Drawing::new(
        matrix.right() + 10.0,
        height,
        "Confusion matrix: true classes down, predicted classes across",
    );

    let worst = worst_share(evaluation).max(GRAVE);
    for (label, row) in confusion.counts.iter().enumerate() {
        let y = matrix.y + cell_height * label as f64;
        let support = confusion.support(label).max(1) as f64;
        for (predicted, &images) in row.iter().enumerate().filter(|(_, images)| **images > 0) {
            let x = matrix.x + cell_width * predicted as f64;
            let cell = Frame { x, y, width: cell_width - 1.0, height: cell_height - 1.0 };
            let share = images as f64 / support;
            let (class, opacity) = if label == predicted {
                ("right", 0.12 + 0.88 * share)
            } else {
                // The square root lifts small shares, as area does.
                ("wrong", 0.06 + 0.94 * (share / worst).sqrt())
            };
            drawing.cell(class, cell, opacity, &describe(evaluation, label, predicted));
            if is_counted {
                let middle = (cell.center().0, cell.center().1 + 4.0);
                drawing.text("", middle, Anchor::Middle, &brief(images));
            }
        }
    }
    drawing.rect("frame", Frame { x: matrix.x - 0.5, y: matrix.y - 0.5, ..matrix });

    for (class, name) in names.iter().enumerate() {
        let y = matrix.y + cell_height * (class as f64 + 0.5) + 4.0;
        drawing.text("", (matrix.x - GAP, y), Anchor::End, name);
        let x = matrix.x + cell_width * (class as f64 + 0.5) + 4.0;
        drawing.turned_text("", (x, matrix.bottom() + 14.0), Anchor::End, turn, name);
    }
    drawing.turned_text("quiet", (12.0, matrix.center().1), Anchor::Middle, -90.0, "true class");
    drawing.text("quiet", (matrix.center().0, height - 8.0), Anchor::Middle, "predicted class");
    drawing
}

/// The largest share of a class that is taken for another one.
fn worst_share(evaluation: &Evaluation) -> f64 {
    let confusion = &evaluation.confusion;
    let pairs = confusion.most_confused_pairs(usize::MAX);
    pairs.iter().map(|pair| pair.count as f64 / confusion.support(pair.label) as f64).fold(0.0, f64::max)
}

/// A cell in words: "Shirt taken for Coat: 91 of 1,000 (9.1 %)".
fn describe(evaluation: &Evaluation, label: usize, predicted: usize) -> String {
    let name = |class: usize| &evaluation.per_class[class].name;
    let images = evaluation.confusion.counts[label][predicted];
    let support = evaluation.confusion.support(label);
    let what = if label == predicted {
        format!("{} recognized", name(label))
    } else {
        format!("{} taken for {}", name(label), name(predicted))
    };
    format!("{what}: {} of {} ({})", count(images), count(support), percent(images as f64 / support as f64))
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
    use tailor_eval::Predictions;

    fn evaluation(classes: usize, labels: &[usize], predicted: &[usize]) -> Evaluation {
        let names = (0..classes).map(|class| format!("class {class}")).collect();
        let logits =
            predicted.iter().flat_map(|&p| (0..classes).map(move |class| f32::from(u8::from(class == p))));
        let logits: Vec<f32> = logits.collect();
        Evaluation::of(&Predictions::from_logits(names, labels.to_vec(), &logits).unwrap()).unwrap()
    }

    #[test]
    fn cells_say_what_they_hold_and_empty_ones_are_left_out() {
        let document = heat_map(&evaluation(3, &[0, 0, 0, 0, 1], &[0, 0, 0, 1, 1])).document();
        assert_eq!(document.matches("<rect class=\"right\"").count(), 2);
        assert_eq!(document.matches("<rect class=\"wrong\"").count(), 1);
        assert!(document.contains("<title>class 0 taken for class 1: 1 of 4 (25.0\u{202f}%)</title>"));
        assert!(document.contains("<title>class 0 recognized: 3 of 4 (75.0\u{202f}%)</title>"));
    }

    #[test]
    fn many_classes_stand_closer_without_counts() {
        let side = |classes: usize| heat_map(&evaluation(classes, &[0], &[1])).width;
        assert!(side(100) < 2.0 * side(COUNTED));
        let document = heat_map(&evaluation(100, &[0], &[1])).document();
        assert!(document.contains("rotate(-90)") && !document.contains(">1</text>"));
    }

    #[test]
    fn counts_have_at_most_four_characters() {
        for (images, text) in [(9999, "9999"), (10_000, "10k"), (999_999, "999k"), (5_000_000, "5M")] {
            assert_eq!(brief(images), text);
        }
    }
}
