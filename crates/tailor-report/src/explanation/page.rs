//! The page: what the template fills in.

use askama::Template;

use super::{Explanation, ExplanationReport, PictureRow};
use crate::number::{counted, percent};
use crate::{Error, Picture, Result, page};

/// `explanation.html`. Text is escaped by the template; only the style, made here, is not.
#[derive(Template)]
#[template(path = "explanation.html")]
pub(super) struct Page<'a> {
    style: String,
    title: &'a str,
    description: String,
    meaning: &'a str,
    is_signed: bool,
    notes: &'a [String],
    cards: Vec<Card>,
    filters: Option<Row>,
    reproduce: &'a str,
    version: &'static str,
}

struct Card {
    name: String,
    pictures: [Image; 3],
    class: String,
    label: Option<String>,
    top: Vec<Class>,
    focus: String,
    maps: Vec<Row>,
}

struct Class {
    name: String,
    is_wrong: bool,
    text: String,
    length: String,
}

struct Row {
    name: String,
    images: Vec<Image>,
}

struct Image {
    name: &'static str,
    data_uri: String,
    is_pixelated: bool,
}

impl<'a> Page<'a> {
    pub fn of(report: &'a ExplanationReport<'_>) -> Result<Self> {
        Ok(Page {
            style: page::style() + include_str!("../../templates/explanation.css"),
            title: report.title,
            description: format!("{}, {}", counted(report.explanations.len(), "image"), report.method),
            meaning: report.meaning,
            is_signed: report.is_signed,
            notes: report.notes,
            cards: report.explanations.iter().map(card).collect::<Result<_>>()?,
            filters: report.filters.as_ref().map(row).transpose()?,
            reproduce: report.reproduce,
            version: env!("CARGO_PKG_VERSION"),
        })
    }

    pub fn render(&self) -> Result<String> {
        Template::render(self).map_err(|error| Error::Draw(error.to_string()))
    }
}

fn card(explanation: &Explanation) -> Result<Card> {
    let class = |(name, probability): &(String, f64)| Class {
        is_wrong: explanation.label.as_ref().is_some_and(|label| label != name),
        name: name.clone(),
        text: percent(*probability),
        length: format!("{probability:.4}"),
    };
    Ok(Card {
        name: explanation.name.clone(),
        pictures: [
            image("image", &explanation.picture)?,
            image("heat", &explanation.heat)?,
            image("both", &explanation.overlay)?,
        ],
        class: explanation.class.clone(),
        label: explanation.label.clone(),
        top: explanation.top.iter().map(class).collect(),
        focus: match &explanation.focus {
            Some((place, share)) => format!("Most heat: {place}, {} of it.", percent(*share)),
            None => format!("Nothing speaks for {}.", explanation.class),
        },
        maps: explanation.maps.iter().map(row).collect::<Result<_>>()?,
    })
}

fn row(row: &PictureRow) -> Result<Row> {
    let images = row.pictures.iter().map(|picture| image("", picture)).collect::<Result<_>>()?;
    Ok(Row { name: row.name.clone(), images })
}

fn image(name: &'static str, picture: &Picture) -> Result<Image> {
    Ok(Image { name, data_uri: picture.large_data_uri()?, is_pixelated: picture.is_pixelated() })
}
