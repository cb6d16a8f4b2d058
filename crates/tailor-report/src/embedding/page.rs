//! The page: what the template fills in.

use askama::Template;
use serde::Serialize;

use super::sprite::{SIDE, Sprite};
use super::{EmbeddingReport, MappedImage, Projection};
use crate::number::{count, counted, percent};
use crate::{Error, Result, page};

/// Places along an axis: more than any screen has.
const PLACES: f32 = 4095.0;
/// Neighbors that are looked at for how well classes keep together.
const NEIGHBORS: usize = 10;

/// `embedding.html`. Text is escaped by the template; style, script and numbers, made here, are not.
#[derive(Template)]
#[template(path = "embedding.html")]
pub(super) struct Page<'a> {
    style: String,
    script: &'static str,
    title: &'a str,
    description: &'a str,
    remark: String,
    projections: Vec<Tab>,
    classes: Vec<Class>,
    data: String,
    sprite: String,
    reproduce: &'a str,
    version: &'static str,
}

struct Tab {
    name: String,
    remark: String,
}

struct Class {
    name: String,
    images: String,
    mistakes: String,
}

impl<'a> Page<'a> {
    pub fn of(report: &'a EmbeddingReport<'_>) -> Result<Self> {
        let images = report.images;
        let of_class = |class: usize| images.iter().filter(move |image| image.label == class);
        let class = |(class, name): (usize, &String)| Class {
            name: name.clone(),
            images: count(of_class(class).count()),
            mistakes: count(of_class(class).filter(|image| image.predicted != class).count()),
        };
        let tab = |projection: &Projection| Tab {
            name: projection.name.clone(),
            remark: format!(
                "{} Of the {NEIGHBORS} nearest to an image here, {} are of its class.",
                projection.meaning,
                percent(purity(images, &projection.points))
            ),
        };
        let mistakes = images.iter().filter(|image| image.predicted != image.label).count();
        let sprite = Sprite::of(images)?;
        Ok(Page {
            style: page::style() + include_str!("../../templates/embedding.css"),
            script: include_str!("../../templates/embedding.js"),
            title: report.title,
            description: report.description,
            remark: format!(
                "Each dot is an image, in the color of its class. The model is wrong about the {} with a ring.",
                counted(mistakes, "image")
            ),
            projections: report.projections.iter().map(tab).collect(),
            classes: report.class_names.iter().enumerate().map(class).collect(),
            data: Data::of(report, &sprite).json()?,
            sprite: sprite.data_uri,
            reproduce: report.reproduce,
            version: env!("CARGO_PKG_VERSION"),
        })
    }

    pub fn render(&self) -> Result<String> {
        Template::render(self).map_err(|error| Error::Draw(error.to_string()))
    }
}

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    classes: &'a [String],
    labels: Vec<usize>,
    predicted: Vec<usize>,
    /// In percent.
    confidence: Vec<u8>,
    origins: Vec<&'a str>,
    /// Of each projection x and y of each image.
    projections: Vec<Vec<u16>>,
    side: u32,
    columns: u32,
}

impl<'a> Data<'a> {
    fn of(report: &'a EmbeddingReport, sprite: &Sprite) -> Self {
        let images = report.images;
        Data {
            classes: report.class_names,
            labels: images.iter().map(|image| image.label).collect(),
            predicted: images.iter().map(|image| image.predicted).collect(),
            confidence: images.iter().map(|image| (100.0 * image.confidence).round() as u8).collect(),
            origins: images.iter().map(|image| image.origin.as_str()).collect(),
            projections: report
                .projections
                .iter()
                .map(|projection| scaled(&projection.points).into_iter().flatten().collect())
                .collect(),
            side: SIDE,
            columns: sprite.columns,
        }
    }

    /// As JSON that ends no script.
    fn json(&self) -> Result<String> {
        let json = serde_json::to_string(self).map_err(|error| Error::Draw(error.to_string()))?;
        Ok(json.replace('<', "\\u003c"))
    }
}

/// Places from 0 to [`PLACES`] in both directions, at the same scale.
fn scaled(points: &[[f32; 2]]) -> Vec<[u16; 2]> {
    let extremes = |axis: usize| {
        let values = points.iter().map(|point| point[axis]);
        values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let ranges = [extremes(0), extremes(1)];
    let extent = ranges.iter().map(|(low, high)| high - low).fold(f32::MIN_POSITIVE, f32::max);
    let place = |point: &[f32; 2]| {
        std::array::from_fn(|axis| {
            let (low, high) = ranges[axis];
            let margin = (extent - (high - low)) / 2.0;
            ((point[axis] - low + margin) / extent * PLACES).round() as u16
        })
    };
    points.iter().map(place).collect()
}

/// The mean share of an image's nearest ones that are of its class.
fn purity(images: &[MappedImage], points: &[[f32; 2]]) -> f64 {
    let neighbors = NEIGHBORS.min(points.len().saturating_sub(1));
    if neighbors == 0 {
        return 1.0;
    }
    let same = |i: usize| {
        let square = |j: usize| {
            let [x, y] = [0, 1].map(|axis| points[i][axis] - points[j][axis]);
            x * x + y * y
        };
        let mut others: Vec<(f32, usize)> =
            (0..points.len()).filter(|&j| j != i).map(|j| (square(j), j)).collect();
        others.select_nth_unstable_by(neighbors - 1, |a, b| a.0.total_cmp(&b.0));
        others[..neighbors].iter().filter(|&&(_, j)| images[j].label == images[i].label).count()
    };
    // A sample is as good, and does not take longer for more images.
    let step = points.len().div_ceil(1000);
    let sample: Vec<usize> = (0..points.len()).step_by(step).collect();
    sample.iter().map(|&i| same(i)).sum::<usize>() as f64 / (neighbors * sample.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Picture;

    #[test]
    fn places_fill_the_square_at_one_scale() {
        let places = scaled(&[[0.0, 5.0], [4.0, 5.0], [2.0, 7.0]]);
        assert_eq!(places, [[0, 1024], [4095, 1024], [2048, 3071]]);
        assert_eq!(scaled(&[[3.0, 3.0]]), [[2048, 2048]]);
    }

    #[test]
    fn purity_counts_neighbors_of_the_same_class() {
        let image = |label| MappedImage {
            picture: Picture::new(1, 1, 1, vec![0]).unwrap(),
            label,
            predicted: 0,
            confidence: 1.0,
            origin: String::new(),
        };
        // Two groups of eleven: all of the ten nearest are of the own group.
        let images: Vec<MappedImage> = (0..22).map(|i| image(i / 11)).collect();
        let apart: Vec<[f32; 2]> = (0..22).map(|i| [i as f32 + 100.0 * (i / 11) as f32, 0.0]).collect();
        assert_eq!(purity(&images, &apart), 1.0);
        let alternating: Vec<MappedImage> = (0..22).map(|i| image(i % 2)).collect();
        assert!(purity(&alternating, &apart) < 0.6);
    }

    #[test]
    fn hostile_names_stay_strings() {
        let image = MappedImage {
            picture: Picture::new(1, 1, 1, vec![0]).unwrap(),
            label: 0,
            predicted: 1,
            confidence: 0.5,
            origin: "\"</script><b>".into(),
        };
        let points = vec![[0.0, 0.0]];
        let report = EmbeddingReport {
            title: "<b>",
            description: "",
            class_names: &["</script>".into(), "b".into()],
            images: &[image],
            projections: &[Projection { name: "PCA".into(), meaning: String::new(), points }],
            reproduce: "",
        };
        let page = crate::embedding_html(&report).unwrap();
        assert_eq!(page.matches("</script>").count(), 2, "those of the page alone");
        assert!(page.contains(r#"\u003c/script>"#) && !page.contains("<b>\""));
        let other = EmbeddingReport { projections: &[], images: &[], ..report };
        assert!(crate::embedding_html(&other).is_err());
    }
}
