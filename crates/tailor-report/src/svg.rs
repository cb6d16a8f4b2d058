//! Drawings: a few shapes as SVG, the same for the page and for files of their own.
//!
//! A shape says what it is (`class="validation"`) and `plot.css` says what that looks like, so the page shows a drawing in
//! its own colors, light or dark, and a file of its own carries the style with it. Lengths are in CSS pixels, y downward.

use std::fmt::{self, Display, Write};

use crate::{Picture, Result, palette};

/// How each class of shape looks; colors are the palette's variables.
pub(crate) const STYLE: &str = include_str!("../templates/plot.css");

/// A place, (x, y).
pub(crate) type Point = (f64, f64);

/// A rectangle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Frame {
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }

    pub fn center(&self) -> Point {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }
}

/// Which part of a text stands at its place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        })
    }
}

/// A drawing of a size, with words for those who cannot see it.
#[derive(Clone, Debug)]
pub(crate) struct Drawing {
    pub width: f64,
    pub height: f64,
    label: String,
    body: String,
}

impl Drawing {
    pub fn new(width: f64, height: f64, label: impl Into<String>) -> Self {
        Self { width, height, label: label.into(), body: String::new() }
    }

    /// What it shows, in words.
    pub fn label(&self) -> &str {
        &self.label
    }

    pub fn line(&mut self, class: &str, from: Point, to: Point) {
        let ((x1, y1), (x2, y2)) = (short(from), short(to));
        self.add(format_args!(r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#));
    }

    pub fn polyline(&mut self, class: &str, points: &[Point]) {
        let points: Vec<_> =
            points.iter().map(|&point| short(point)).map(|(x, y)| format!("{x},{y}")).collect();
        self.add(format_args!(r#"<polyline class="{class}" points="{}"/>"#, points.join(" ")));
    }

    pub fn circle(&mut self, class: &str, center: Point, radius: f64) {
        let (x, y) = short(center);
        self.add(format_args!(r#"<circle class="{class}" cx="{x}" cy="{y}" r="{radius}"/>"#));
    }

    /// A circle that says `title` under the pointer.
    pub fn marker(&mut self, class: &str, center: Point, radius: f64, title: &str) {
        let ((x, y), title) = (short(center), Escaped(title));
        self.add(format_args!(
            r#"<circle class="{class}" cx="{x}" cy="{y}" r="{radius}"><title>{title}</title></circle>"#
        ));
    }

    pub fn rect(&mut self, class: &str, frame: Frame) {
        self.add(format_args!(r#"<rect class="{class}" {}/>"#, attributes(frame)));
    }

    /// A rectangle of an opacity of 0 to 1 that says `title` under the pointer.
    pub fn cell(&mut self, class: &str, frame: Frame, opacity: f64, title: &str) {
        self.add(format_args!(
            r#"<rect class="{class}" {} fill-opacity="{}"><title>{}</title></rect>"#,
            attributes(frame),
            Short(opacity),
            Escaped(title)
        ));
    }

    /// A circle that says `title` under the pointer.
    pub fn dot(&mut self, class: &str, center: Point, radius: f64, title: &str) {
        let (x, y) = short(center);
        let title = Escaped(title);
        self.add(format_args!(
            r#"<circle class="{class}" cx="{x}" cy="{y}" r="{radius}"><title>{title}</title></circle>"#
        ));
    }

    /// A line through points, of an opacity of 0 to 1, that says `title` under the pointer.
    pub fn thread(&mut self, class: &str, points: &[Point], opacity: f64, title: &str) {
        let points: Vec<_> =
            points.iter().map(|&point| short(point)).map(|(x, y)| format!("{x},{y}")).collect();
        let (points, opacity, title) = (points.join(" "), Short(opacity), Escaped(title));
        self.add(format_args!(
            r#"<polyline class="{class}" points="{points}" stroke-opacity="{opacity}"><title>{title}</title></polyline>"#
        ));
    }

    /// A text whose anchor stands at `at`, vertically its baseline.
    pub fn text(&mut self, class: &str, at: Point, anchor: Anchor, text: &str) {
        let (x, y) = short(at);
        self.add(format_args!(
            r#"<text class="{class}" x="{x}" y="{y}" text-anchor="{anchor}">{}</text>"#,
            Escaped(text)
        ));
    }

    /// A text turned clockwise around its anchor by `degrees`.
    pub fn turned_text(&mut self, class: &str, at: Point, anchor: Anchor, degrees: f64, text: &str) {
        let (x, y) = short(at);
        let degrees = Short(degrees);
        self.add(format_args!(
            r#"<text class="{class}" transform="translate({x} {y}) rotate({degrees})" text-anchor="{anchor}">{}</text>"#,
            Escaped(text)
        ));
    }

    /// A picture, as large as fits into `frame`; a small one with hard pixel edges.
    ///
    /// # Errors
    /// The picture cannot be encoded.
    pub fn picture(&mut self, frame: Frame, picture: &Picture) -> Result<()> {
        self.image(frame, picture, &picture.data_uri()?);
        Ok(())
    }

    /// As [`Drawing::picture`], with more of a large picture's pixels.
    pub fn large_picture(&mut self, frame: Frame, picture: &Picture) -> Result<()> {
        self.image(frame, picture, &picture.large_data_uri()?);
        Ok(())
    }

    fn image(&mut self, frame: Frame, picture: &Picture, uri: &str) {
        let rendering = if picture.is_pixelated() { "optimizeSpeed" } else { "optimizeQuality" };
        let frame = attributes(frame);
        self.add(format_args!(r#"<image {frame} image-rendering="{rendering}" href="{uri}"/>"#));
    }

    /// Another drawing, its top left corner at `at`.
    pub fn place(&mut self, at: Point, other: &Self) {
        let (x, y) = short(at);
        self.add(format_args!(r#"<g transform="translate({x} {y})">{}</g>"#, other.body));
    }

    /// The drawing as part of a page that has [`STYLE`] and the palette's variables.
    pub fn inline(&self) -> String {
        let (width, height) = short((self.width, self.height));
        let label = Escaped(&self.label);
        let body = &self.body;
        format!(
            r#"<svg class="plot" role="img" aria-label="{label}" width="{width}" height="{height}" viewBox="0 0 {width} {height}">{body}</svg>"#
        )
    }

    /// The drawing as a file of its own: light colors on white, whatever shows it.
    pub fn document(&self) -> String {
        let (width, height) = short((self.width, self.height));
        let label = Escaped(&self.label);
        let style = palette::with_light_values(STYLE);
        let body = &self.body;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}">
<title>{label}</title>
<style>{style}</style>
<rect class="ground" width="100%" height="100%"/>
{body}
</svg>
"#
        )
    }

    fn add(&mut self, shape: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        _ = self.body.write_fmt(shape);
    }
}

fn attributes(frame: Frame) -> String {
    let ((x, y), (width, height)) = (short((frame.x, frame.y)), short((frame.width, frame.height)));
    format!(r#"x="{x}" y="{y}" width="{width}" height="{height}""#)
}

fn short((x, y): Point) -> (Short, Short) {
    (Short(x), Short(y))
}

/// A length with at most two decimals; more cannot be seen.
struct Short(f64);

impl Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", (self.0 * 100.0).round() / 100.0 + 0.0) // + 0.0 turns -0 into 0
    }
}

/// A text as content or attribute of XML and HTML. Control characters, which XML has no way to say, are replaced.
pub(crate) struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\t' | '\n' => f.write_char(' ')?,
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// About how wide `text` is at 12 pixels in a sans-serif face, in pixels: after DejaVu Sans, which is wider than most.
pub(crate) fn text_width(text: &str) -> f64 {
    let width = |character| match character {
        ' ' | '!' | '\'' | '(' | ')' | ',' | '-' | '.' | '/' | ':' | ';' | 'I' | 'f' | 'i' | 'j' | 'l'
        | 'r' | 't' => 4.4,
        '%' | '@' | 'M' | 'W' | 'm' | 'w' | '…' => 11.0,
        'A'..='Z' => 8.3,
        '\u{2e80}'.. => 12.0,
        _ => 7.4,
    };
    text.chars().map(width).sum()
}

/// `text`, cut to about `width` pixels at 12 pixels, with an ellipsis if it was cut.
pub(crate) fn cut_to_width(text: &str, width: f64) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let mut cut = text.to_owned();
    while !cut.is_empty() && text_width(&cut) + text_width("…") > width {
        cut.pop();
    }
    cut.truncate(cut.trim_end().len());
    cut + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let mut drawing = Drawing::new(10.0, 10.0, "\"<label>\"");
        drawing.text("quiet", (1.0, 2.0), Anchor::Middle, "<script>alert('&')</script>\u{0}");
        let document = drawing.document();
        let xml = roxmltree::Document::parse(&document).unwrap();
        let text = xml.descendants().find(|node| node.has_tag_name("text")).unwrap();
        assert_eq!(text.text(), Some("<script>alert('&')</script>\u{fffd}"));
        assert!(!drawing.inline().contains("<script>"));
    }

    #[test]
    fn lengths_are_short() {
        assert_eq!(Short(1.0 / 3.0).to_string(), "0.33");
        assert_eq!(Short(-0.001).to_string(), "0");
        assert_eq!(Short(120.0).to_string(), "120");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(cut_to_width("Coat", 100.0), "Coat");
        assert_eq!(cut_to_width("Double-breasted overcoat", 76.0), "Double-br…");
        assert_eq!(cut_to_width("着物着物着物", 47.0), "着物着…");
    }
}
