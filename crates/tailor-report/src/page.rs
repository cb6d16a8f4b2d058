//! The page: what the template fills in.

use askama::Template;
use tailor_eval::{AccuracyCoverage, ConfusedPair, Evaluation, Predictions};

use crate::number::{count, percent};
use crate::report::{Heats, LayerRow, RunReport};
use crate::{
    Error, Picture, Pictures, Result, coverage_plot, curves, gallery, heat_map, palette, reliability,
    remarks, svg,
};

/// Kinds of mistake with pictures, and pictures of each.
const PAIRS: usize = 6;
const PICTURES_OF_PAIR: usize = 6;
/// Up to so many classes, the confusion matrix has room for words beside it.
const NARROW: usize = 12;
/// Pictures drawn at random.
const SAMPLE: usize = 40;
/// Pictures of the worst mistakes and of the least certain predictions.
const RANKED: usize = 20;
/// Examples with what spoke for them: one of each class, unless there are more than anyone looks through.
const EXAMPLES: usize = 100;
/// Which pictures are drawn at random: always the same, so that the same run gives the same page.
const SAMPLE_SEED: u64 = 1;

/// `report.html`, section by section. Text is escaped by the template; only drawings and styles, made here, are not.
#[derive(Template)]
#[template(path = "report.html")]
pub(crate) struct Page<'a> {
    style: String,
    title: &'a str,
    description: &'a str,
    headline: Headline,
    curves: Option<Curves>,
    confusion: Plot,
    confusion_is_narrow: bool,
    classes: Classes,
    pairs: Option<Pairs>,
    sample: Gallery,
    evidence: Option<Gallery>,
    mistakes: Option<Gallery>,
    doubts: Gallery,
    calibration: CalibrationPlots,
    model: Option<Model>,
    settings: &'a str,
    facts: &'a [(String, String)],
    reproduce: &'a str,
    version: &'static str,
}

struct Headline {
    accuracy: String,
    /// Of the data: "test", …
    part: String,
    interval: String,
    remark: String,
    tiles: Vec<Tile>,
}

/// A figure of the headline.
struct Tile {
    name: &'static str,
    value: String,
    note: &'static str,
}

struct Curves {
    loss: String,
    accuracy: String,
    remark: String,
}

/// A drawing (inline SVG) and what it says.
struct Plot {
    svg: String,
    remark: String,
}

struct CalibrationPlots {
    remark: String,
    /// Without the temperature, if the model has one, and with it.
    diagrams: Vec<Figure>,
    coverage: String,
    coverage_remark: String,
    /// What prediction sets are worth; empty if the model has none.
    sets_remark: String,
}

/// A drawing (inline SVG) and what stands beneath it; may be empty.
struct Figure {
    svg: String,
    caption: String,
}

struct Classes {
    rows: Vec<ClassRow>,
    averages: [AverageRow; 2],
    remark: String,
}

struct ClassRow {
    name: String,
    /// Precision, recall, F1.
    shares: [Share; 3],
    support: String,
}

struct AverageRow {
    name: &'static str,
    precision: String,
    recall: String,
    f1: String,
    support: String,
}

/// A share of 1, as text and as the length of a bar.
struct Share {
    text: String,
    length: String,
}

struct Pairs {
    pairs: Vec<Pair>,
    remark: String,
}

struct Pair {
    label: String,
    predicted: String,
    count: String,
    share: String,
    cards: Vec<Card>,
}

struct Gallery {
    cards: Vec<Card>,
    remark: String,
}

/// A picture, what the model said and what is true.
struct Card {
    data_uri: String,
    /// The same with heat over it.
    overlay_uri: Option<String>,
    is_pixelated: bool,
    is_correct: bool,
    predicted: String,
    label: String,
    confidence: String,
    origin: String,
}

struct Model {
    layers: Vec<LayerLine>,
    total: String,
    remark: String,
}

struct LayerLine {
    name: String,
    output_shape: String,
    parameters: String,
}

impl<'a> Page<'a> {
    /// Computes every section of `report`.
    pub fn of(report: &'a RunReport<'_>) -> Result<Self> {
        check_match(report.evaluation, report.predictions)?;
        let cards = Cards { predictions: report.predictions, pictures: report.pictures };
        let sample = gallery::sample(report.predictions, SAMPLE, SAMPLE_SEED);
        let doubts = gallery::least_certain(report.predictions, RANKED);
        Ok(Self {
            style: style(),
            title: report.title,
            description: report.description,
            headline: headline(report),
            curves: (!report.history.0.is_empty()).then(|| Curves {
                loss: curves::loss(report.history, report.kept_epoch).inline(),
                accuracy: curves::accuracy(report.history, report.kept_epoch).inline(),
                remark: remarks::curves(report.history, report.kept_epoch),
            }),
            confusion: Plot {
                svg: heat_map::heat_map(report.predictions.class_names(), &report.evaluation.confusion)
                    .inline(),
                remark: remarks::confusion(report.evaluation),
            },
            confusion_is_narrow: report.evaluation.per_class.len() <= NARROW,
            classes: classes(report.evaluation),
            pairs: pairs(report.evaluation, &cards)?,
            sample: Gallery {
                cards: cards.of(&sample)?,
                remark: remarks::sample(report.predictions, &sample),
            },
            evidence: evidence(&cards, report.heats)?,
            mistakes: mistakes(&cards, report.heats)?,
            doubts: Gallery {
                cards: cards.of(&doubts)?,
                remark: remarks::least_certain(report.predictions, &doubts),
            },
            calibration: calibration(report),
            model: (!report.layers.is_empty()).then(|| model(&report.layers)),
            settings: report.settings,
            facts: &report.facts,
            reproduce: report.reproduce,
            version: env!("CARGO_PKG_VERSION"),
        })
    }

    /// The page as HTML.
    pub fn render(&self) -> Result<String> {
        Template::render(self).map_err(|error| Error::Draw(error.to_string()))
    }
}

fn check_match(evaluation: &Evaluation, predictions: &Predictions) -> Result<()> {
    let size = |images: usize, classes: usize| format!("{images} images and {classes} classes");
    let evaluated = size(evaluation.images, evaluation.per_class.len());
    let predicted = size(predictions.len(), predictions.classes());
    if evaluated == predicted { Ok(()) } else { Err(Error::Mismatch { evaluated, predicted }) }
}

/// The palette's variables, then the plots' and the page's rules. Print is always light.
pub(crate) fn style() -> String {
    format!(
        ":root{{color-scheme:light dark;{}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\n{}{}",
        palette::light_variables(),
        palette::dark_variables(),
        svg::STYLE,
        include_str!("../templates/report.css")
    )
}

fn headline(report: &RunReport) -> Headline {
    let evaluation = report.evaluation;
    let interval = evaluation.accuracy_interval;
    let mut tiles = vec![
        Tile {
            name: "Loss", value: format!("{:.3}", evaluation.loss), note: "mean −ln p of the true class"
        },
        Tile {
            name: "Macro F1",
            value: percent(evaluation.macro_average.f1),
            note: "every class counts the same",
        },
    ];
    if let Some(accuracy) = evaluation.top_k_accuracy(2) {
        tiles.push(Tile { name: "Top 2", value: percent(accuracy), note: "right within two guesses" });
    }
    tiles.push(Tile {
        name: "Calibration error",
        value: percent(evaluation.expected_calibration_error),
        note: "confidence against accuracy",
    });
    Headline {
        accuracy: percent(evaluation.accuracy),
        interval: format!("{} to {}", percent(interval.low), percent(interval.high)),
        part: report.part.to_owned(),
        remark: remarks::headline(evaluation, report.data_name, report.part),
        tiles,
    }
}

fn classes(evaluation: &Evaluation) -> Classes {
    let share = |share: f64| Share { text: percent(share), length: format!("{share:.4}") };
    let rows = evaluation.per_class.iter().map(|class| ClassRow {
        name: class.name.clone(),
        shares: [class.precision, class.recall, class.f1].map(share),
        support: count(class.support),
    });
    let averages =
        [("Macro average", evaluation.macro_average), ("Weighted average", evaluation.weighted_average)];
    Classes {
        rows: rows.collect(),
        averages: averages.map(|(name, average)| AverageRow {
            name,
            precision: percent(average.precision),
            recall: percent(average.recall),
            f1: percent(average.f1),
            support: count(evaluation.images),
        }),
        remark: remarks::classes(evaluation),
    }
}

fn calibration(report: &RunReport) -> CalibrationPlots {
    let RunReport { evaluation, predictions, .. } = report;
    let curve = AccuracyCoverage::of(predictions);
    let check = evaluation.confidence.as_ref();
    let after = reliability::reliability(&evaluation.calibration).inline();
    let diagrams = match check {
        None => vec![Figure { svg: after, caption: String::new() }],
        Some(check) => vec![
            Figure {
                svg: reliability::reliability(&check.unscaled.calibration).inline(),
                caption: format!(
                    "Before: calibration error {}, loss {:.3}",
                    percent(check.unscaled.expected_calibration_error),
                    check.unscaled.loss
                ),
            },
            Figure {
                svg: after,
                caption: format!(
                    "With the temperature {:.2}: calibration error {}, loss {:.3}",
                    check.temperature,
                    percent(evaluation.expected_calibration_error),
                    evaluation.loss
                ),
            },
        ],
    };
    let sure = check.and_then(|check| check.abstention);
    CalibrationPlots {
        remark: remarks::calibration(evaluation),
        diagrams,
        coverage: coverage_plot::accuracy_coverage(&curve, sure.map(|sure| sure.confidence)).inline(),
        coverage_remark: remarks::coverage(&curve, sure),
        sets_remark: check.and_then(|check| check.sets.as_ref()).map_or(String::new(), remarks::sets),
    }
}

/// The most frequent kinds of mistake; none if no mistake was made.
fn pairs(evaluation: &Evaluation, cards: &Cards<'_>) -> Result<Option<Pairs>> {
    let shown = evaluation.confusion.most_confused_pairs(PAIRS);
    if shown.is_empty() {
        return Ok(None);
    }
    let pair = |&pair: &ConfusedPair| {
        let images = gallery::confused(cards.predictions, pair, PICTURES_OF_PAIR);
        let support = evaluation.per_class[pair.label].support;
        Ok(Pair {
            label: evaluation.per_class[pair.label].name.clone(),
            predicted: evaluation.per_class[pair.predicted].name.clone(),
            count: count(pair.count),
            share: percent(pair.count as f64 / support as f64),
            cards: cards.of(&images)?,
        })
    };
    let pairs = shown.iter().map(pair).collect::<Result<_>>()?;
    Ok(Some(Pairs { pairs, remark: remarks::pairs(evaluation, &shown) }))
}

/// An example of each class that was named correctly, with what spoke for it; none if that is not known.
fn evidence(cards: &Cards<'_>, heats: Option<&dyn Heats>) -> Result<Option<Gallery>> {
    let shown = gallery::good_examples(cards.predictions, EXAMPLES);
    let Some(heats) = heats.filter(|_| !shown.is_empty()) else { return Ok(None) };
    Ok(Some(Gallery { cards: cards.heated(&shown, heats)?, remark: remarks::evidence(heats.meaning()) }))
}

/// The worst mistakes; none if no mistake was made.
fn mistakes(cards: &Cards<'_>, heats: Option<&dyn Heats>) -> Result<Option<Gallery>> {
    let shown = gallery::worst_mistakes(cards.predictions, RANKED);
    if shown.is_empty() {
        return Ok(None);
    }
    let remark = remarks::worst_mistakes(cards.predictions);
    Ok(Some(match heats {
        Some(heats) => {
            let remark = format!("{remark} Beneath each image is what spoke for the wrong class.");
            Gallery { cards: cards.heated(&shown, heats)?, remark }
        }
        None => Gallery { cards: cards.of(&shown)?, remark },
    }))
}

fn model(layers: &[LayerRow]) -> Model {
    let line = |layer: &LayerRow| LayerLine {
        name: layer.name.clone(),
        output_shape: layer.output_shape.clone(),
        parameters: if layer.parameters == 0 { "–".to_owned() } else { count(layer.parameters) },
    };
    Model {
        layers: layers.iter().map(line).collect(),
        total: count(layers.iter().map(|layer| layer.parameters).sum()),
        remark: remarks::model(layers),
    }
}

/// What cards are made of.
struct Cards<'a> {
    predictions: &'a Predictions,
    pictures: &'a dyn Pictures,
}

impl Cards<'_> {
    /// A card for each of `images`.
    fn of(&self, images: &[usize]) -> Result<Vec<Card>> {
        images.iter().map(|&i| self.card(i)).collect()
    }

    /// A card for each of `images`, with heat over the picture as well.
    fn heated(&self, images: &[usize], heats: &dyn Heats) -> Result<Vec<Card>> {
        let heated = |(&i, overlay): (&usize, Picture)| {
            Ok(Card { overlay_uri: Some(overlay.data_uri()?), ..self.card(i)? })
        };
        images.iter().zip(heats.overlays(images)).map(heated).collect()
    }

    fn card(&self, i: usize) -> Result<Card> {
        let picture = self.pictures.picture(i);
        let name = |class: usize| self.predictions.class_names()[class].clone();
        Ok(Card {
            data_uri: picture.data_uri()?,
            overlay_uri: None,
            is_pixelated: picture.is_pixelated(),
            is_correct: self.predictions.is_correct(i),
            predicted: name(self.predictions.predicted(i)),
            label: name(self.predictions.label(i)),
            confidence: percent(self.predictions.confidence(i)),
            origin: self.pictures.origin(i).unwrap_or_else(|| format!("image {i}")),
        })
    }
}
