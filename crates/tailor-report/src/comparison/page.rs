//! The page: what the template fills in.

use askama::Template;
use tailor_eval::comparison::{Difference, ImagesTest, Spread, Standing, Verdict};
use tailor_eval::{Comparison, Contestant, bytes, duration};

use super::{
    ComparisonReport, class_bars, difference_map, disagreements, overlay, remarks, scatter, series,
    standings_plot,
};
use crate::number::{count, counted, percent, points};
use crate::svg::Escaped;
use crate::{Error, Pictures, Result, heat_map, page};

/// Pictures of each kind of disagreement.
const DISAGREEMENTS: usize = 20;

/// A table of more pairs is folded away.
const SHORT: usize = 10;

/// `comparison.html`, section by section. Text is escaped by the template; only drawings, styles and sentences with marked
/// names, made here, are not.
#[derive(Template)]
#[template(path = "comparison.html")]
pub(super) struct Page<'a> {
    style: String,
    title: String,
    description: String,
    verdict: String,
    notes: &'a [String],
    legend: Vec<Name>,
    models: Vec<Model>,
    standings: String,
    sentences: Vec<String>,
    versus: Vec<Versus>,
    versus_is_short: bool,
    caveats: Vec<String>,
    costs: Vec<Figure>,
    curves: Option<Curves>,
    classes: Classes,
    confusion: Matrices,
    disagreement: Disagreement,
    reproduce: &'a str,
    version: &'static str,
}

/// A model with its number and color.
struct Name {
    place: usize,
    color: String,
    name: String,
}

/// A row of the table of models.
struct Model {
    name: Name,
    /// Runs and seeds.
    runs: String,
    /// Their folders.
    folders: String,
    accuracy: String,
    interval: String,
    macro_f1: String,
    loss: String,
    parameters: String,
    training: String,
    /// Images a second.
    training_speed: Option<String>,
    /// Images a second.
    prediction_speed: Option<String>,
    file: String,
}

/// A row of the table of pairs.
struct Versus {
    first: Name,
    second: Name,
    points: String,
    interval: String,
    /// The p of each test, and what it rests on.
    images: (String, String),
    seeds: Option<(String, String)>,
    corrected: String,
    verdict: &'static str,
}

/// A drawing and what it says.
struct Figure {
    svg: String,
    remark: String,
}

struct Curves {
    loss: String,
    accuracy: String,
    remark: String,
}

struct Classes {
    bars: String,
    rows: Vec<ClassRow>,
    remark: String,
}

struct ClassRow {
    name: String,
    /// Recall of each model, and whether none is higher.
    recalls: Vec<(String, bool)>,
    difference: String,
}

struct Matrices {
    first: Name,
    second: Name,
    /// Of how many runs the counts are the mean, if of several.
    first_runs: String,
    second_runs: String,
    first_svg: String,
    second_svg: String,
    difference_svg: String,
    remark: String,
}

struct Disagreement {
    first: Name,
    second: Name,
    both: String,
    only_first: String,
    only_second: String,
    neither: String,
    first_right: Vec<Card>,
    second_right: Vec<Card>,
    remark: String,
}

/// A picture and what both models said.
struct Card {
    data_uri: String,
    is_pixelated: bool,
    label: String,
    /// Of the first and the second model.
    answers: [Said; 2],
    origin: String,
}

struct Said {
    place: usize,
    color: String,
    class: String,
    confidence: String,
    is_correct: bool,
}

impl<'a> Page<'a> {
    /// Computes every section of `report`.
    pub fn of(report: &'a ComparisonReport<'_>) -> Result<Self> {
        let comparison = report.comparison;
        let (a, b) = report.pair;
        let difference = comparison.difference(a, b).expect("two places of the standings");
        let (told, _) = comparison.told();
        let sentences = told
            .into_iter()
            .filter(|told| (told.first, told.second) != (difference.first, difference.second));
        let names = || 0..comparison.standings.len();
        Ok(Self {
            style: page::style() + include_str!("../../templates/comparison.css"),
            title: title(comparison),
            description: format!("on {} of {}", counted(comparison.images, "test image"), report.data_name),
            verdict: marked(&comparison.sentence(difference)),
            notes: report.notes,
            legend: names().map(|place| name(comparison, place)).collect(),
            models: names().map(|place| model(comparison, place)).collect(),
            standings: standings_plot::standings_plot(comparison).inline(),
            sentences: sentences.map(|difference| marked(&comparison.sentence(difference))).collect(),
            versus: comparison.differences.iter().map(|difference| versus(comparison, difference)).collect(),
            versus_is_short: comparison.differences.len() <= SHORT,
            caveats: comparison.caveats().iter().map(|caveat| marked(caveat)).collect(),
            costs: costs(comparison),
            curves: curves(comparison),
            classes: classes(comparison, difference),
            confusion: matrices(comparison, difference),
            disagreement: disagreement(comparison, difference, report.pictures)?,
            reproduce: report.reproduce,
            version: env!("CARGO_PKG_VERSION"),
        })
    }

    /// The page as HTML.
    pub fn render(&self) -> Result<String> {
        Template::render(self).map_err(|error| Error::Draw(error.to_string()))
    }
}

/// A sentence as HTML, with what stands in backticks as code.
fn marked(sentence: &str) -> String {
    let pieces = sentence.split('`').enumerate().map(|(i, piece)| match i % 2 {
        0 => Escaped(piece).to_string(),
        _ => format!("<code>{}</code>", Escaped(piece)),
    });
    pieces.collect()
}

fn title(comparison: &Comparison) -> String {
    match comparison.standings.as_slice() {
        [first, second] => format!("{} and {}", first.name, second.name),
        [first, ..] => format!("{} and {} others", first.name, comparison.standings.len() - 1),
        [] => String::new(),
    }
}

fn name(comparison: &Comparison, place: usize) -> Name {
    Name { place: place + 1, color: series::color(place), name: comparison.standings[place].name.clone() }
}

fn model(comparison: &Comparison, place: usize) -> Model {
    let Standing { runs, seeds, accuracy, accuracy_interval, macro_f1, loss, cost, .. } =
        &comparison.standings[place];
    let dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let speed = |speed: f64| count(speed.round() as usize);
    let seeds: Vec<String> = seeds.iter().flatten().map(u64::to_string).collect();
    let seeds = match seeds.len() {
        0 => String::new(),
        1 => format!("seed {}", seeds[0]),
        _ => format!("seeds {}", seeds.join(", ")),
    };
    Model {
        name: name(comparison, place),
        runs: if runs.len() == 1 { seeds } else { format!("{} runs, {seeds}", runs.len()) },
        folders: runs.join(", "),
        accuracy: spread(*accuracy, 100.0, 2),
        interval: format!("{} to {}", percent(accuracy_interval.low), percent(accuracy_interval.high)),
        macro_f1: spread(*macro_f1, 1.0, 3),
        loss: spread(*loss, 1.0, 3),
        parameters: dash(cost.parameters.map(count)),
        training: dash(cost.training_seconds.map(duration)),
        training_speed: cost.training_images_per_second.map(speed),
        prediction_speed: cost.prediction_images_per_second.map(speed),
        file: dash(cost.file_bytes.map(bytes)),
    }
}

/// Mean and deviation, times `scale`.
fn spread(spread: Spread, scale: f64, decimals: usize) -> String {
    let mean = format!("{:.decimals$}", scale * spread.mean);
    match spread.deviation {
        Some(deviation) => format!("{mean} ± {:.decimals$}", scale * deviation),
        None => mean,
    }
}

fn versus(comparison: &Comparison, difference: &Difference) -> Versus {
    let p = |p: f64| if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") };
    let test = match difference.images {
        ImagesTest::McNemar(test) => format!("{} : {}", count(test.only_first), count(test.only_second)),
        ImagesTest::PairedT(test) => format!("t = {:.2}", test.t),
    };
    Versus {
        first: name(comparison, difference.first),
        second: name(comparison, difference.second),
        points: points(difference.accuracy),
        interval: format!("{} to {}", points(difference.interval.low), points(difference.interval.high)),
        images: (p(difference.images.p()), test),
        seeds: difference.seeds.map(|seeds| (p(seeds.p), format!("t = {:.2}", seeds.t))),
        corrected: p(difference.corrected_p),
        verdict: match difference.verdict() {
            Verdict::Better => "better",
            Verdict::MayBeLuck => "may be luck",
            Verdict::Equal => "equal",
        },
    }
}

fn costs(comparison: &Comparison) -> Vec<Figure> {
    let figure = |cost: &scatter::CostAxis| {
        let (drawing, front) = scatter::scatter(comparison, cost)?;
        Some(Figure {
            svg: drawing.inline(),
            remark: marked(&remarks::front(comparison, &front, cost.is_gain)),
        })
    };
    scatter::COSTS.iter().filter_map(figure).collect()
}

/// The curves; none if nothing was validated.
fn curves(comparison: &Comparison) -> Option<Curves> {
    let remark = remarks::curves(comparison);
    (!remark.is_empty()).then(|| Curves {
        loss: overlay::loss(comparison).inline(),
        accuracy: overlay::accuracy(comparison).inline(),
        remark: marked(&remark),
    })
}

fn classes(comparison: &Comparison, difference: &Difference) -> Classes {
    let row = |(class, name): (usize, &String)| {
        let recalls = || comparison.standings.iter().map(|standing| standing.recall[class]);
        let best = recalls().fold(0.0, f64::max);
        ClassRow {
            name: name.clone(),
            recalls: recalls().map(|recall| (percent(recall), recall == best)).collect(),
            difference: points(difference.classes[class].recall),
        }
    };
    Classes {
        bars: class_bars::class_bars(comparison, difference).inline(),
        rows: comparison.class_names.iter().enumerate().map(row).collect(),
        remark: marked(&remarks::classes(comparison, difference)),
    }
}

fn matrices(comparison: &Comparison, difference: &Difference) -> Matrices {
    let names = &comparison.class_names;
    let sides = [difference.first, difference.second].map(|place| &comparison.contestants[place]);
    let [first, second] = sides.map(Contestant::confusion);
    // The difference is of all images of all runs; side by side they are read as one run each.
    let [first_count, second_count] = sides.map(|side| side.runs.len());
    let of_runs = |runs: usize| if runs == 1 { String::new() } else { format!(", mean of {runs} runs") };
    Matrices {
        first: name(comparison, difference.first),
        second: name(comparison, difference.second),
        first_runs: of_runs(first_count),
        second_runs: of_runs(second_count),
        first_svg: heat_map::heat_map(names, &first.per_model(first_count)).inline(),
        second_svg: heat_map::heat_map(names, &second.per_model(second_count)).inline(),
        difference_svg: difference_map::difference_map(names, &first, &second).inline(),
        remark: marked(&remarks::confusion(comparison, difference, &first, &second)),
    }
}

fn disagreement(
    comparison: &Comparison,
    difference: &Difference,
    pictures: Option<&dyn Pictures>,
) -> Result<Disagreement> {
    let sides = [difference.first, difference.second].map(|place| (place, &comparison.contestants[place]));
    let [(_, first), (_, second)] = sides;
    let cards = |right: &Contestant, wrong: &Contestant| -> Result<Vec<Card>> {
        let Some(pictures) = pictures else { return Ok(Vec::new()) };
        let images = disagreements::only_right(right, wrong, DISAGREEMENTS);
        images.into_iter().map(|i| card(sides, pictures, i)).collect()
    };
    let agreement = &difference.agreement;
    let images = |mean: f64| count(mean.round() as usize);
    Ok(Disagreement {
        first: name(comparison, difference.first),
        second: name(comparison, difference.second),
        both: images(agreement.both),
        only_first: images(agreement.only_first),
        only_second: images(agreement.only_second),
        neither: images(agreement.neither),
        first_right: cards(first, second)?,
        second_right: cards(second, first)?,
        remark: remarks::disagreements(comparison, difference),
    })
}

fn card(sides: [(usize, &Contestant); 2], pictures: &dyn Pictures, i: usize) -> Result<Card> {
    let picture = pictures.picture(i);
    let answers = &sides[0].1.runs[0].answers;
    let (names, label) = (answers.class_names(), answers.labels()[i]);
    let said = |(place, contestant): (usize, &Contestant)| {
        let answer = disagreements::answer(contestant, i);
        Said {
            place: place + 1,
            color: series::color(place),
            class: names[answer.class].clone(),
            confidence: percent(answer.confidence),
            is_correct: answer.class == label,
        }
    };
    Ok(Card {
        data_uri: picture.data_uri()?,
        is_pixelated: picture.is_pixelated(),
        label: names[label].clone(),
        answers: sides.map(said),
        origin: pictures.origin(i).unwrap_or_else(|| format!("image {i}")),
    })
}
