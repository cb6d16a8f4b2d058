//! The page as a whole: whatever goes in, it is one well-formed file that needs nothing else.

use std::collections::BTreeMap;

use roxmltree::{Document, ParsingOptions};
use tailor_eval::{EpochRecord, Evaluation, History, Predictions};
use tailor_report::{LayerRow, Picture, Pictures, RunReport, html, plots};

/// What a page may weigh.
const LARGEST_PAGE: usize = 1_500_000;

/// Pictures of a size, each of its own noise.
struct Noise {
    side: usize,
    channels: usize,
}

impl Pictures for Noise {
    fn picture(&self, i: usize) -> Picture {
        let mut state = i as u32;
        let pixels = (0..self.side * self.side * self.channels).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        Picture::new(self.side, self.side, self.channels, pixels.collect()).unwrap()
    }

    fn origin(&self, i: usize) -> Option<String> {
        (i == 0).then(|| "a \"folder\" & <file>.png".to_owned())
    }
}

/// `images` images, the labels in turn; every `error_every`-th is taken for the next class.
fn predictions(class_names: Vec<String>, images: usize, error_every: Option<usize>) -> Predictions {
    let classes = class_names.len();
    let labels: Vec<_> = (0..images).map(|i| i % classes).collect();
    let logits = (0..images).flat_map(|i| {
        let is_error = error_every.is_some_and(|every| i % every == 0);
        let answer = (labels[i] + usize::from(is_error)) % classes;
        (0..classes).map(move |class| if class == answer { 3.0 + (i % 7) as f32 } else { (class % 3) as f32 })
    });
    let logits: Vec<f32> = logits.collect();
    Predictions::from_logits(class_names, labels, &logits).unwrap()
}

fn names(classes: usize) -> Vec<String> {
    (0..classes).map(|class| format!("class {class}")).collect()
}

fn history() -> History {
    let record = |epoch: usize| EpochRecord {
        epoch,
        learning_rate: 1e-3,
        train_loss: 1.0 / epoch as f64,
        train_accuracy: 0.9,
        validation_loss: Some(1.1 / epoch as f64),
        validation_accuracy: Some(0.88),
        seconds: 2.0,
        images_per_second: 5000.0,
    };
    History((1..=5).map(record).collect())
}

fn page_of(predictions: &Predictions, history: &History, pictures: &dyn Pictures) -> String {
    let evaluation = Evaluation::of(predictions).unwrap();
    let report = RunReport {
        title: "A <b>title</b>",
        description: "",
        data_name: "Noise & more",
        part: "test",
        evaluation: &evaluation,
        predictions,
        history,
        kept_epoch: Some(3),
        pictures,
        heats: None,
        layers: vec![LayerRow { name: "dense".into(), output_shape: "[N, 10]".into(), parameters: 7850 }],
        settings: "[train]\nname = \"</code><script>\"\n",
        facts: vec![("Seed".into(), "42".into())],
        reproduce: "tailor train --seed 42",
    };
    html(&report).unwrap()
}

const SMALL: Noise = Noise { side: 28, channels: 1 };

fn parse(page: &str) -> Document<'_> {
    // The page is written so that it is well-formed XML, too.
    Document::parse_with_options(page, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() })
        .unwrap()
}

/// Whether any text or attribute but the pictures, whose base64 spells all sorts of things, contains `words`.
fn says(page: &str, words: &str) -> bool {
    let document = parse(page);
    let is_said = |text: &str| text.contains(words) && !text.starts_with("data:");
    document.descendants().any(|node| {
        node.text().is_some_and(is_said) || node.attributes().any(|attribute| is_said(attribute.value()))
    })
}

/// The ids of the page's sections.
fn sections<'a>(page: &Document<'a>) -> Vec<String> {
    let sections = page.descendants().filter(|node| node.has_tag_name("section"));
    sections.filter_map(|section| section.attribute("id").map(str::to_owned)).collect()
}

#[test]
fn a_page_needs_nothing_else() {
    let page = page_of(&predictions(names(10), 500, Some(9)), &history(), &SMALL);
    for reference in ["http:", "https:", "<link", "<script", "<iframe", "@import", "url("] {
        assert!(!page.contains(reference), "{reference}");
    }
    let document = parse(&page);
    for node in document.descendants() {
        for attribute in node.attributes() {
            match attribute.name() {
                "src" => assert!(attribute.value().starts_with("data:image/png;base64,")),
                "href" => assert!(attribute.value().starts_with('#')),
                _ => {}
            }
        }
    }
    assert!(page.len() < LARGEST_PAGE, "{} bytes", page.len());
}

#[test]
fn every_section_is_there_and_every_link_leads_to_one() {
    let page = page_of(&predictions(names(10), 500, Some(9)), &history(), &SMALL);
    let document = parse(&page);
    let expected = [
        "training",
        "confusion",
        "classes",
        "pairs",
        "predictions",
        "mistakes",
        "doubts",
        "calibration",
        "coverage",
        "model",
        "settings",
        "facts",
        "reproduce",
    ];
    assert_eq!(sections(&document), expected);
    let links: Vec<_> = document.descendants().filter_map(|node| node.attribute("href")).collect();
    assert_eq!(links, expected.map(|id| format!("#{id}")));
}

#[test]
fn whoever_cannot_see_is_told() {
    let page = page_of(&predictions(names(10), 500, Some(9)), &history(), &SMALL);
    let document = parse(&page);
    let all = |name: &'static str| document.descendants().filter(move |node| node.has_tag_name(name));
    assert!(all("img").all(|image| image.attribute("alt").is_some_and(|alt| !alt.is_empty())));
    assert!(all("svg").all(|plot| plot.attribute("aria-label").is_some_and(|label| !label.is_empty())));
    assert!(all("th").all(|heading| heading.attribute("scope").is_some()));
    assert_eq!(all("h1").count(), 1);
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "<script>alert(\"&\")</script>";
    let class_names = vec![hostile.to_owned(), "'quoted' > & <".to_owned(), "a".repeat(300)];
    let page = page_of(&predictions(class_names, 60, Some(4)), &history(), &SMALL);
    assert!(!page.contains("<script"));
    let document = parse(&page);
    let shown = |node: roxmltree::Node<'_, '_>| node.has_tag_name("th") && node.text() == Some(hostile);
    assert!(document.descendants().any(shown), "the name is shown as it is");
    assert!(document.descendants().any(|node| node.attribute("title") == Some("a \"folder\" & <file>.png")));
}

#[test]
fn a_model_evaluated_alone_has_no_training() {
    let page = page_of(&predictions(names(3), 30, Some(4)), &History::default(), &SMALL);
    assert!(!sections(&parse(&page)).contains(&"training".to_owned()));
}

#[test]
fn without_mistakes_there_is_nothing_to_show_of_them() {
    let page = page_of(&predictions(names(3), 30, None), &history(), &SMALL);
    let sections = sections(&parse(&page));
    assert!(!sections.contains(&"pairs".to_owned()) && !sections.contains(&"mistakes".to_owned()));
    assert!(says(&page, "no mistake was made"));
}

#[test]
fn one_answer_to_everything_and_a_class_without_images() {
    let always_first = Predictions::new(names(3), vec![0, 1, 1], [0.5, 0.3, 0.2].repeat(3)).unwrap();
    let page = page_of(&always_first, &history(), &SMALL);
    assert!(says(&page, "2 classes were never predicted") && !says(&page, "NaN"));
}

#[test]
fn one_image_is_enough() {
    parse(&page_of(&predictions(names(2), 1, None), &history(), &SMALL));
}

#[test]
fn a_loss_that_is_not_finite_is_named() {
    let mut history = history();
    history.0[2].train_loss = f64::NAN;
    let page = page_of(&predictions(names(3), 30, Some(4)), &history, &SMALL);
    assert!(says(&page, "no longer a number in epoch 3") && !says(&page, "NaN"));
}

#[test]
fn many_classes_and_large_photographs_do_not_make_a_heavy_page() {
    let photographs = Noise { side: 300, channels: 3 };
    let page = page_of(&predictions(names(100), 3000, Some(3)), &history(), &photographs);
    parse(&page);
    assert!(page.len() < LARGEST_PAGE, "{} bytes", page.len());
}

#[test]
fn the_same_report_is_the_same_page() {
    let predictions = predictions(names(10), 200, Some(9));
    assert_eq!(page_of(&predictions, &history(), &SMALL), page_of(&predictions, &history(), &SMALL));
}

#[test]
fn figures_of_other_predictions_are_refused() {
    let predictions_of = |images| predictions(names(3), images, None);
    let (evaluated, shown) = (predictions_of(30), predictions_of(29));
    let evaluation = Evaluation::of(&evaluated).unwrap();
    let report = RunReport {
        title: "",
        description: "",
        data_name: "",
        part: "validation",
        evaluation: &evaluation,
        predictions: &shown,
        history: &History::default(),
        kept_epoch: None,
        pictures: &SMALL,
        heats: None,
        layers: Vec::new(),
        settings: "",
        facts: Vec::new(),
        reproduce: "",
    };
    let error = html(&report).unwrap_err().to_string();
    assert!(
        error.contains("30 images and 3 classes") && error.contains("29 images and 3 classes"),
        "{error}"
    );
}

#[test]
fn plots_are_files_of_their_own() {
    let evaluation = Evaluation::of(&predictions(names(10), 200, Some(3))).unwrap();
    let files: BTreeMap<String, Vec<u8>> =
        plots(&evaluation, &history(), Some(1)).unwrap().into_iter().collect();
    assert_eq!(files.len(), 6);
    for name in ["confusion", "curves", "reliability"] {
        let svg = std::str::from_utf8(&files[&format!("{name}.svg")]).unwrap();
        assert!(!svg.contains("var(--"), "colors are fixed");
        let document = Document::parse(svg).unwrap();
        let side = |name| document.root_element().attribute(name).unwrap().parse::<f64>().unwrap();
        let png = image::load_from_memory(&files[&format!("{name}.png")]).unwrap();
        assert!((f64::from(png.width()) - 2.0 * side("width")).abs() <= 2.0, "two pixels for one");
        assert!((f64::from(png.height()) - 2.0 * side("height")).abs() <= 2.0);
    }
}

#[test]
fn plots_without_history_leave_the_curves_out() {
    let evaluation = Evaluation::of(&predictions(names(100), 500, Some(3))).unwrap();
    let files = plots(&evaluation, &History::default(), None).unwrap();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["confusion.svg", "confusion.png", "reliability.svg", "reliability.png"]);
}
