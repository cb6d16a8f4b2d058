//! Numbers as a page shows them.

pub(crate) use tailor_eval::thousands as count;

/// A share as percent with one decimal and a narrow space that does not break: `91.4 %`.
///
/// What is nearly all or nearly nothing is never rounded to all or nothing: `> 99.9 %`, `< 0.1 %`.
pub fn percent(share: f64) -> String {
    match 100.0 * share {
        p if p > 0.0 && p < 0.05 => "<\u{202f}0.1\u{202f}%".to_owned(),
        p if (99.95..100.0).contains(&p) => ">\u{202f}99.9\u{202f}%".to_owned(),
        p => format!("{p:.1}\u{202f}%"),
    }
}

/// A difference of shares in points, with its sign and one decimal: `+3.1`, `−0.4`, `0.0`.
pub(crate) fn points(difference: f64) -> String {
    match format!("{:.1}", 100.0 * difference.abs()) {
        zero if zero == "0.0" => zero,
        text if difference < 0.0 => format!("\u{2212}{text}"),
        text => format!("+{text}"),
    }
}

/// `1 image`, `12 images`: a count with its noun, whose plural adds an s.
pub(crate) fn counted(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_is_not_all() {
        for (share, text) in [
            (0.0, "0.0\u{202f}%"),
            (0.0004, "<\u{202f}0.1\u{202f}%"),
            (0.9142, "91.4\u{202f}%"),
            (0.9996, ">\u{202f}99.9\u{202f}%"),
            (1.0, "100.0\u{202f}%"),
        ] {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn points_have_a_sign_unless_they_are_nothing() {
        for (difference, text) in [(0.031, "+3.1"), (-0.0042, "\u{2212}0.4"), (-0.0001, "0.0"), (0.0, "0.0")]
        {
            assert_eq!(points(difference), text);
        }
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(
            (counted(1, "image"), counted(1000, "image")),
            ("1 image".to_owned(), "1,000 images".to_owned())
        );
    }
}
