//! The colors, in one place: as CSS variables for the page, light and dark, and as fixed values for files of their own.
//!
//! Blue and orange (after Okabe and Ito, "Color universal design", 2008) differ for every kind of color vision: blue is
//! what is right or seen in training, orange what is wrong or seen in validation. Text has a contrast of at least 4.5 : 1.

use std::fmt::Write;

/// A color by its role.
struct Color {
    /// The CSS variable, `--name`.
    name: &'static str,
    light: &'static str,
    dark: &'static str,
}

const COLORS: [Color; 18] = [
    Color { name: "--paper", light: "#ffffff", dark: "#14181f" },
    Color { name: "--panel", light: "#f4f6f9", dark: "#1c222c" },
    Color { name: "--ink", light: "#1b2330", dark: "#e7ebf1" },
    Color { name: "--quiet", light: "#586577", dark: "#9aa6b6" },
    Color { name: "--rule", light: "#dfe4ea", dark: "#303846" },
    Color { name: "--blue", light: "#1668a8", dark: "#6cb4ee" },
    Color { name: "--orange", light: "#b8510c", dark: "#f29a5c" },
    // Fills behind text: strong enough to see, weak enough to read the ink on.
    Color { name: "--blue-fill", light: "#3f93cf", dark: "#276da8" },
    Color { name: "--orange-fill", light: "#ee8b45", dark: "#a65014" },
    Color { name: "--kept", light: "#1f7a5a", dark: "#58c79d" },
    // One for each of several models, as lines and as grounds of a number in the color of paper.
    Color { name: "--series-0", light: "#1668a8", dark: "#6cb4ee" },
    Color { name: "--series-1", light: "#b8510c", dark: "#f29a5c" },
    Color { name: "--series-2", light: "#1f7a5a", dark: "#58c79d" },
    Color { name: "--series-3", light: "#a02c8c", dark: "#e58ad6" },
    Color { name: "--series-4", light: "#7a6500", dark: "#d8c34a" },
    Color { name: "--series-5", light: "#5b4bc4", dark: "#a99cff" },
    Color { name: "--series-6", light: "#c0262f", dark: "#ff8f8f" },
    Color { name: "--series-7", light: "#4f5b6a", dark: "#b4c0ce" },
];

/// The variables of the light page, `--name:#value;…`.
pub(crate) fn light_variables() -> String {
    variables(|color| color.light)
}

/// The variables of the dark page.
pub(crate) fn dark_variables() -> String {
    variables(|color| color.dark)
}

fn variables(value: impl Fn(&Color) -> &'static str) -> String {
    COLORS.iter().fold(String::new(), |mut css, color| {
        _ = write!(css, "{}:{};", color.name, value(color));
        css
    })
}

/// `css` with every `var(--name)` replaced by its light value, for files that must look the same everywhere.
pub(crate) fn with_light_values(css: &str) -> String {
    COLORS.iter().fold(css.to_owned(), |css, color| css.replace(&format!("var({})", color.name), color.light))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of `#rrggbb` (WCAG 2.2).
    fn luminance(hex: &str) -> f64 {
        let channel = |at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
        let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
        0.2126 * linear(channel(1)) + 0.7152 * linear(channel(3)) + 0.0722 * linear(channel(5))
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_can_be_read_on_every_ground() {
        let find = |name: &str| COLORS.iter().find(|color| color.name == name).unwrap();
        let numbers = COLORS.iter().filter(|color| color.name.starts_with("--series"));
        for (text, ground) in numbers.map(|color| ("--paper", color.name)).chain([
            ("--ink", "--paper"),
            ("--ink", "--panel"),
            ("--ink", "--blue-fill"),
            ("--ink", "--orange-fill"),
            ("--quiet", "--paper"),
            ("--quiet", "--panel"),
            ("--blue", "--paper"),
            ("--orange", "--paper"),
            ("--orange", "--panel"),
            ("--kept", "--paper"),
        ]) {
            let (text_color, ground_color) = (find(text), find(ground));
            for (mode, text_value, ground_value) in [
                ("light", text_color.light, ground_color.light),
                ("dark", text_color.dark, ground_color.dark),
            ] {
                let ratio = contrast(text_value, ground_value);
                assert!(ratio >= 4.5, "{text} on {ground}, {mode}: {ratio:.2}");
            }
        }
    }

    #[test]
    fn fixed_values_leave_no_variable() {
        assert_eq!(
            with_light_values(".a{fill:var(--ink);stroke:var(--blue-fill)}"),
            ".a{fill:#1b2330;stroke:#3f93cf}"
        );
    }
}
