//! The page of a comparison: whatever goes in, it is one well-formed file that needs nothing else and says who is better.

use roxmltree::{Document, ParsingOptions};
use tailor_eval::{
    Answers, Comparison, Contestant, Cost, EpochRecord, Evaluation, History, Predictions, Run,
};
use tailor_report::{ComparisonReport, Picture, Pictures, comparison_html};

/// Gray pictures of 4 × 4 pixels.
struct Gray;

impl Pictures for Gray {
    fn picture(&self, i: usize) -> Picture {
        Picture::new(4, 4, 1, vec![i as u8; 16]).unwrap()
    }
}

/// Predictions of `classes` classes on 60 images, whose labels come in turn; every `error_every`-th is taken for the next.
fn run(place: &str, classes: usize, error_every: usize, epochs: usize) -> Run {
    let names = (0..classes).map(|class| format!("class <{class}> & more")).collect();
    let answer = |i: usize| (i % classes + usize::from(i.is_multiple_of(error_every))) % classes;
    let row =
        |i: usize| (0..classes).map(move |class| if class == answer(i) { 3.0 } else { (class % 3) as f32 });
    let logits: Vec<f32> = (0..60).flat_map(row).collect();
    let labels = (0..60).map(|i| i % classes).collect();
    let predictions = Predictions::from_logits(names, labels, &logits).unwrap();
    let record = |epoch: usize| EpochRecord {
        epoch,
        learning_rate: 1e-3,
        train_loss: 1.0 / epoch as f64,
        train_accuracy: 0.9,
        validation_loss: Some(error_every as f64 / epoch as f64),
        validation_accuracy: Some(0.88),
        seconds: error_every as f64,
        images_per_second: 5000.0,
    };
    Run {
        place: place.to_owned(),
        seed: Some(1),
        evaluation: Evaluation::of(&predictions).unwrap(),
        answers: Answers::from(&predictions),
        history: History((1..=epochs).map(record).collect()),
        cost: Cost { training_seconds: (epochs > 0).then_some(error_every as f64), ..Cost::default() },
    }
}

fn contestant(name: &str, classes: usize, errors: &[usize], epochs: usize) -> Contestant {
    let runs = errors.iter().map(|&every| run(&format!("runs/{name}-{every}"), classes, every, epochs));
    Contestant { name: name.to_owned(), runs: runs.collect() }
}

fn page_of(contestants: Vec<Contestant>, pair: (usize, usize), pictures: Option<&dyn Pictures>) -> String {
    let comparison = Comparison::of(contestants).unwrap();
    let report = ComparisonReport {
        comparison: &comparison,
        pair,
        data_name: "Noise & more",
        pictures,
        notes: &["A note of <b>weight</b>.".to_owned()],
        reproduce: "tailor compare a b",
    };
    let page = comparison_html(&report).unwrap();
    assert_eq!(page, comparison_html(&report).unwrap(), "the same report is the same page");
    page
}

fn parse(page: &str) -> Document<'_> {
    // The page is written so that it is well-formed XML, too.
    Document::parse_with_options(page, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() })
        .unwrap()
}

fn sections(page: &str) -> Vec<String> {
    let document = parse(page);
    let sections = document.descendants().filter(|node| node.has_tag_name("section"));
    sections.filter_map(|section| section.attribute("id").map(str::to_owned)).collect()
}

fn two() -> Vec<Contestant> {
    vec![contestant("good", 3, &[20], 4), contestant("poor", 3, &[2], 3)]
}

#[test]
fn a_page_needs_nothing_else_and_every_link_leads_to_a_section() {
    let page = page_of(two(), (0, 1), Some(&Gray));
    for reference in ["http:", "https:", "<link", "<script", "<iframe", "@import", "url("] {
        assert!(!page.contains(reference), "{reference}");
    }
    let expected =
        ["models", "versus", "cost", "training", "classes", "confusion", "disagreements", "reproduce"];
    assert_eq!(sections(&page), expected);
    let document = parse(&page);
    let links: Vec<_> = document.descendants().filter_map(|node| node.attribute("href")).collect();
    assert_eq!(links, expected.map(|id| format!("#{id}")));
    let all = |name: &'static str| document.descendants().filter(move |node| node.has_tag_name(name));
    assert!(all("img").count() > 0);
    assert!(all("img").all(|image| image.attribute("src").unwrap().starts_with("data:image/png;base64,")));
    assert!(all("img").all(|image| image.attribute("alt").is_some_and(|alt| !alt.is_empty())));
    assert!(all("svg").all(|plot| plot.attribute("aria-label").is_some_and(|label| !label.is_empty())));
}

#[test]
fn the_verdict_and_the_pictures_are_those_of_the_pair() {
    let page = page_of(two(), (1, 0), Some(&Gray));
    assert!(
        page.contains("<code>good</code> is better than <code>poor</code> by 45.0"),
        "the better one stands first"
    );
    // Of 60 images, `good` is wrong on 3 (0, 20, 40) and `poor` on 30 (the even ones), among them all of those.
    let document = parse(&page);
    let counts = document.descendants().find(|node| node.attribute("class") == Some("counts")).unwrap();
    let cells = counts.descendants().filter(|node| node.has_tag_name("td")).filter_map(|cell| cell.text());
    assert_eq!(cells.collect::<Vec<_>>(), ["30", "27", "0", "3"]);
    assert!(page.contains("Only good is right") && !page.contains("Only poor is right"));
    assert_eq!(document.descendants().filter(|node| node.has_tag_name("img")).count(), 20, "of 27");
}

#[test]
fn names_stay_text() {
    let page = page_of(two(), (0, 1), None);
    assert!(!page.contains("<b>weight") && !page.contains("class <0>"));
    let document = parse(&page);
    let says = |text: &str| document.descendants().any(|node| node.text() == Some(text));
    assert!(says("A note of <b>weight</b>.") && says("class <0> & more"));
    parse(&page_of(vec![contestant("</svg><b>`", 2, &[5], 1), contestant("b", 2, &[3], 1)], (0, 1), None));
}

#[test]
fn what_is_not_known_is_left_out() {
    let page = page_of(vec![contestant("a", 2, &[9], 0), contestant("b", 2, &[3], 0)], (0, 1), None);
    assert_eq!(sections(&page), ["models", "versus", "classes", "confusion", "disagreements", "reproduce"]);
    assert!(!page.contains("NaN") && !page.contains("<img"));
}

#[test]
fn many_models_of_several_runs_and_many_classes_are_drawn_too() {
    let names: Vec<String> = (0..19).map(|i| format!("model-{i}")).collect();
    let contestants =
        names.iter().zip(2..).map(|(name, every)| contestant(name, 30, &[every, every + 1, every + 2], 5));
    let page = page_of(contestants.collect(), (3, 17), Some(&Gray));
    assert!(!page.contains("NaN") && page.len() < 1_500_000, "{} bytes", page.len());
    // 19 · 18 / 2 pairs, a row each.
    let document = parse(&page);
    let versus = document.descendants().find(|node| node.attribute("class") == Some("versus")).unwrap();
    assert_eq!(versus.descendants().filter(|node| node.has_tag_name("tr")).count(), 1 + 171);
}

#[test]
fn models_that_answer_alike_are_equal() {
    let page = page_of(vec![contestant("a", 3, &[5], 2), contestant("b", 3, &[5], 2)], (0, 1), Some(&Gray));
    assert!(page.contains("<code>a</code> and <code>b</code> are right equally often."));
    assert!(!page.contains("NaN") && !page.contains("is right</h3>"));
}
