//! Contact sheets: pages of tables, curves and captioned pictures, for what is tried out on a model or found in a data set.

use askama::Template;

use crate::axis::Axis;
use crate::curves::curve;
use crate::page::style;
use crate::svg::{Anchor, Drawing, Frame, Point, text_width};
use crate::{Error, Picture, Result};

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// The heading.
    pub title: String,
    /// A line beneath it.
    pub description: String,
    /// What the page says, in a sentence or two.
    pub verdict: String,
    /// In this order.
    pub sections: Vec<SheetSection>,
    /// A name and a value each.
    pub facts: Vec<(String, String)>,
    /// The commands that lead to the same page, a line each.
    pub reproduce: String,
}

/// A heading, words, a table, and groups of pictures. What is empty is left out.
#[derive(Clone, Debug, Default)]
pub struct SheetSection {
    /// The heading.
    pub heading: String,
    /// Beneath it, a paragraph each.
    pub remarks: Vec<String>,
    /// A table.
    pub table: SheetTable,
    /// Pictures, group by group.
    pub groups: Vec<SheetGroup>,
}

/// Rows of text; the first column names them.
#[derive(Clone, Debug, Default)]
pub struct SheetTable {
    /// A text for each column.
    pub heading: Vec<String>,
    /// As many texts in each.
    pub rows: Vec<Vec<String>>,
}

/// Pictures that belong together.
#[derive(Clone, Debug, Default)]
pub struct SheetGroup {
    /// The heading; may be empty.
    pub heading: String,
    /// Beneath it, small; may be empty.
    pub note: String,
    /// Accuracies by strength.
    pub curves: Option<StrengthCurves>,
    /// The pictures.
    pub cards: Vec<SheetCard>,
    /// Whether each two belong together.
    pub is_paired: bool,
}

/// A picture and what is said of it.
#[derive(Clone, Debug)]
pub struct SheetCard {
    /// The picture.
    pub picture: Picture,
    /// The first line beneath it, emphasized.
    pub caption: String,
    /// Further lines.
    pub lines: Vec<String>,
    /// Said under the pointer, such as where the picture comes from.
    pub origin: String,
    /// Whether it stands out.
    pub is_marked: bool,
}

/// Accuracies at the strengths 0 (untouched), 1, 2, …
#[derive(Clone, Debug)]
pub struct StrengthCurves {
    /// What stands above it.
    pub title: String,
    /// The model, where there is another.
    pub name: String,
    /// Of the model, of 1.
    pub accuracies: Vec<f64>,
    /// Of another model by its name, if there is one.
    pub other: Option<(String, Vec<f64>)>,
}

/// Renders `sheet` as one HTML page that needs nothing else; the same sheet gives the same bytes.
///
/// # Errors
/// A picture cannot be encoded.
pub fn sheet_html(sheet: &Sheet) -> Result<String> {
    let sections = sheet.sections.iter().map(Section::of).collect::<Result<_>>()?;
    let page = Page { style: style(), sheet, sections, version: env!("CARGO_PKG_VERSION") };
    page.render().map_err(|error| Error::Draw(error.to_string()))
}

#[derive(Template)]
#[template(path = "sheet.html")]
struct Page<'a> {
    style: String,
    sheet: &'a Sheet,
    sections: Vec<Section<'a>>,
    version: &'static str,
}

struct Section<'a> {
    /// Its anchor.
    id: String,
    section: &'a SheetSection,
    groups: Vec<Group<'a>>,
}

struct Group<'a> {
    group: &'a SheetGroup,
    svg: String,
    cards: Vec<Card<'a>>,
}

struct Card<'a> {
    card: &'a SheetCard,
    data_uri: String,
    is_pixelated: bool,
}

impl<'a> Section<'a> {
    fn of(section: &'a SheetSection) -> Result<Self> {
        let word = |c: char| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let groups = section.groups.iter().map(Group::of).collect::<Result<_>>()?;
        Ok(Section { id: section.heading.chars().map(word).collect(), section, groups })
    }

    fn is_single(&self) -> bool {
        self.groups.len() == 1
    }
}

impl<'a> Group<'a> {
    fn of(group: &'a SheetGroup) -> Result<Self> {
        let card = |card: &'a SheetCard| {
            let (data_uri, is_pixelated) = (card.picture.data_uri()?, card.picture.is_pixelated());
            Ok(Card { card, data_uri, is_pixelated })
        };
        let cards = group.cards.iter().map(card).collect::<Result<_>>()?;
        let svg = group.curves.as_ref().map_or(String::new(), |curves| draw(curves).inline());
        Ok(Group { group, svg, cards })
    }
}

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 210.0;
const PLOT: Frame = Frame { x: 40.0, y: 34.0, width: WIDTH - 56.0, height: HEIGHT - 74.0 };

fn draw(curves: &StrengthCurves) -> Drawing {
    let last = curves.accuracies.len().saturating_sub(1);
    let (strengths, percent) = (Axis::counting(0, last, 6), Axis::covering([0.0, 100.0], 4));
    let mut drawing = Drawing::new(WIDTH, HEIGHT, format!("{} by strength", curves.title));
    drawing.text("quiet", (0.0, 14.0), Anchor::Start, &curves.title);
    for tick in percent.ticks() {
        if let Some(y) = percent.position(tick, PLOT.bottom(), PLOT.y) {
            drawing.line("grid", (PLOT.x, y), (PLOT.right(), y));
            drawing.text("quiet", (PLOT.x - 8.0, y + 4.0), Anchor::End, &percent.label(tick));
        }
    }
    drawing.line("axis", (PLOT.x, PLOT.bottom()), (PLOT.right(), PLOT.bottom()));
    for tick in strengths.ticks() {
        if let Some(x) = strengths.position(tick, PLOT.x, PLOT.right()) {
            let label = if tick == 0.0 { "clean".to_owned() } else { strengths.label(tick) };
            drawing.line("axis", (x, PLOT.bottom()), (x, PLOT.bottom() + 4.0));
            drawing.text("quiet", (x, PLOT.bottom() + 18.0), Anchor::Middle, &label);
        }
    }
    let points = |accuracies: &[f64]| -> Vec<Option<Point>> {
        let place = |(strength, accuracy): (usize, &f64)| {
            let x = strengths.position(strength as f64, PLOT.x, PLOT.right())?;
            Some((x, percent.position(100.0 * accuracy, PLOT.bottom(), PLOT.y)?))
        };
        accuracies.iter().enumerate().map(place).collect()
    };
    if let Some((name, accuracies)) = &curves.other {
        curve(&mut drawing, "validation", &points(accuracies));
        let start = PLOT.right() - text_width(name);
        drawing.text("quiet", (start, 14.0), Anchor::Start, name);
        drawing.line("validation", (start - 22.0, 10.0), (start - 8.0, 10.0));
        let start = start - 38.0 - text_width(&curves.name);
        drawing.text("quiet", (start, 14.0), Anchor::Start, &curves.name);
        drawing.line("training", (start - 22.0, 10.0), (start - 8.0, 10.0));
    }
    curve(&mut drawing, "training", &points(&curves.accuracies));
    drawing
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, ParsingOptions};

    use super::*;

    #[test]
    fn a_page_is_well_formed_whatever_goes_in() {
        let picture = |side: usize| Picture::new(side, side, 1, vec![90; side * side]).unwrap();
        let card = |side| SheetCard {
            picture: picture(side),
            caption: "a <b>".into(),
            lines: vec!["\"c\" & d".into()],
            origin: "e < \"f\"".into(),
            is_marked: side > 10,
        };
        let curves = StrengthCurves {
            title: "Accuracy, %".into(),
            name: "<n>".into(),
            accuracies: vec![0.9, 0.5, 0.1],
            other: Some(("<g>".into(), vec![0.8, 0.7, f64::NAN])),
        };
        let group = SheetGroup {
            curves: Some(curves),
            cards: vec![card(5), card(100)],
            is_paired: true,
            ..SheetGroup::default()
        };
        let table =
            SheetTable { heading: vec!["<h>".into(), "i".into()], rows: vec![vec!["j".into(), "k".into()]] };
        let section =
            SheetSection { heading: "l & m".into(), table, groups: vec![group], ..SheetSection::default() };
        let sheet = Sheet {
            title: "n <o>".into(),
            sections: vec![section, SheetSection::default()],
            facts: vec![("p".into(), "q".into())],
            ..Sheet::default()
        };
        let page = sheet_html(&sheet).unwrap();
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        Document::parse_with_options(&page, options).unwrap_or_else(|error| panic!("{error}\n{page}"));
        assert!(!page.contains("NaN") && page.contains("id=\"l---m\""));
        assert_eq!(page.matches("<img").count(), 2);
        assert!(page.contains("class=\"cards paired\""));
        assert!(sheet_html(&Sheet::default()).is_ok());
    }
}
