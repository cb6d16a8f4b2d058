//! Where one confusion matrix differs from another.

use tailor_eval::Confusion;

use crate::heat_map::{Matrix, what_happened};
use crate::number::points;
use crate::svg::Drawing;

/// A difference of this share of a class, and more, has the full color if no other is larger.
const LARGE: f64 = 0.05;
/// Smaller ones would be written as 0.0, and are left out.
const SMALLEST: f64 = 0.0005;

/// The share of each true class that the first gives each predicted class, less what the second does, in points: blue where
/// that speaks for the first (more of what is right, less of what is wrong), orange where it speaks for the second.
pub(super) fn difference_map(class_names: &[String], first: &Confusion, second: &Confusion) -> Drawing {
    let share = |confusion: &Confusion, label: usize, predicted: usize| {
        confusion.counts[label][predicted] as f64 / confusion.support(label).max(1) as f64
    };
    let cells = (0..class_names.len())
        .flat_map(|label| (0..class_names.len()).map(move |predicted| (label, predicted)));
    let differences = cells.map(|(label, predicted)| {
        ((label, predicted), share(first, label, predicted) - share(second, label, predicted))
    });
    let differences: Vec<_> = differences.filter(|(_, difference)| difference.abs() >= SMALLEST).collect();
    let largest = differences.iter().map(|(_, difference)| difference.abs()).fold(LARGE, f64::max);

    let mut matrix =
        Matrix::new(class_names, "Difference of both confusion matrices, in points of the true class");
    for ((label, predicted), difference) in differences {
        let speaks_for_first = (difference > 0.0) == (label == predicted);
        let class = if speaks_for_first { "first" } else { "second" };
        let opacity = 0.08 + 0.92 * (difference.abs() / largest).sqrt();
        let text = points(difference);
        let says = format!("{}: {text} points of the class", what_happened(class_names, label, predicted));
        matrix.cell((label, predicted), class, opacity, &text, &says);
    }
    matrix.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_for_the_first_is_of_its_color() {
        // Of 10 Coats the first finds 9 and the second 7; of 1000 Bags both find the same, one in a thousand more or less.
        let names = ["Coat", "Shirt", "Bag"].map(String::from);
        let first = Confusion { counts: vec![vec![9, 1, 0], vec![0, 4, 0], vec![0, 0, 10_000]] };
        let second = Confusion { counts: vec![vec![7, 1, 2], vec![1, 3, 0], vec![0, 2, 9_998]] };
        let document = difference_map(&names, &first, &second).document();
        for (class, says) in [
            ("first", "Coat recognized: +20.0 points"),
            ("first", "Coat taken for Bag: \u{2212}20.0 points"),
            ("first", "Shirt recognized: +25.0 points"),
            ("first", "Shirt taken for Coat: \u{2212}25.0 points"),
        ] {
            let cell = document.split("<rect ").find(|cell| cell.contains(says)).unwrap();
            assert!(cell.starts_with(&format!("class=\"{class}\"")), "{says}: {cell}");
        }
        assert!(!document.contains("Bag recognized") && !document.contains("Coat taken for Shirt"));
        let turned = difference_map(&names, &second, &first).document();
        assert!(turned.contains("Coat recognized: \u{2212}20.0") && !turned.contains("class=\"first\""));
    }
}
