//! `tailor data audit`: planted errors and planted duplicates are found, and an audit that was stopped goes on.

mod workbench;

use serde_json::Value;
use workbench::{Bench, idx_images, idx_labels};

/// Every so many images of the training part have the label of the next class.
const WRONG_EVERY: u32 = 21;

/// Stripes of which some are labeled wrongly, the training images 7 and 107 and the test image 3 are nearly the same, and the
/// training images 11 and 211 exactly.
fn planted() -> Bench {
    let bench = Bench::new();
    let pixel = |i: u32, p: u32| {
        let mut state = (i * 64 + p).wrapping_mul(2_654_435_761);
        state ^= state >> 15;
        let noise = (state.wrapping_mul(2_246_822_519) >> 24) as u8 / 3;
        if p / 8 == 2 * (i % 4) + 1 { 140 + noise } else { noise }
    };
    let train = move |i: u32| match i {
        107 => 7,
        211 => 11,
        i => i,
    };
    let brighter = |i: u32, value: u8| if i == 107 { value / 10 * 11 + 5 } else { value };
    let pixels = (0..400).flat_map(|i| (0..64).map(move |p| brighter(i, pixel(train(i), p))));
    bench.write("d/train-images-idx3-ubyte", idx_images(400, 8, pixels));
    let label = |i: u32| (train(i) % 4 + u32::from(i.is_multiple_of(WRONG_EVERY))) % 4;
    bench.write("d/train-labels-idx1-ubyte", idx_labels(400, (0..400).map(|i| label(i) as u8)));
    let test = |i: u32| if i == 3 { 7 } else { 1000 + i };
    let pixels = (0..80).flat_map(|i| (0..64).map(move |p| pixel(test(i), p)));
    bench.write("d/t10k-images-idx3-ubyte", idx_images(80, 8, pixels));
    bench.write("d/t10k-labels-idx1-ubyte", idx_labels(80, (0..80).map(|i| (test(i) % 4) as u8)));
    let recipe = "name = \"quick\"\n\
        [model]\nlayers = [{ type = \"dense\", units = 16 }]\n\
        [train]\nepochs = 6\nbatch-size = 20\nlr = 5e-3\n";
    bench.write("quick.toml", recipe);
    bench
}

const AUDIT: [&str; 8] = ["data", "audit", "--data", "d", "--folds", "4", "--output", "audit"];

fn rows(bench: &Bench, name: &str) -> Vec<Vec<String>> {
    let bytes = bench.read(name);
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    reader.records().map(|record| record.unwrap().iter().map(String::from).collect()).collect()
}

fn check(bench: &Bench) {
    let errors = rows(bench, "audit/label-errors.csv");
    let found: Vec<u32> = errors.iter().map(|row| row[1].parse().unwrap()).collect();
    let right = found.iter().filter(|&&i| i.is_multiple_of(WRONG_EVERY)).count();
    let (precision, recall) = (right as f64 / found.len() as f64, right as f64 / 20.0);
    assert!(precision >= 0.9 && recall >= 0.75, "precision {precision}, recall {recall}: {found:?}");
    assert!(found[..12].iter().all(|i| i.is_multiple_of(WRONG_EVERY)), "the surest are right: {found:?}");
    for row in &errors[..12] {
        let (given, suggested): (u32, u32) = (row[3].parse().unwrap(), row[4].parse().unwrap());
        assert_eq!(given, (suggested + 1) % 4, "{row:?}");
    }
    let pairs = rows(bench, "audit/near-duplicates.csv");
    let mut pairs: Vec<String> =
        pairs.iter().map(|row| format!("{} {} {} {}", row[0], row[1], row[4], row[5])).collect();
    pairs.sort();
    assert_eq!(pairs, ["train 107 test 3", "train 11 train 211", "train 7 test 3", "train 7 train 107"]);
    let audit: Value = serde_json::from_slice(&bench.read("audit/audit.json")).unwrap();
    let noise = audit["estimated_noise"].as_f64().unwrap();
    assert!((noise - 0.05).abs() < 0.02, "{noise}");
    assert!(String::from_utf8(bench.read("audit/audit.html")).unwrap().contains("probably wrong"));
}

#[test]
fn planted_errors_and_duplicates_are_found_and_finished_folds_are_kept() {
    let bench = planted();
    let said = bench.succeed(&[&AUDIT[..], &["--recipe", "quick.toml"]].concat());
    assert!(
        said.out.contains("labels are probably wrong") && said.out.contains("between train and test"),
        "{}",
        said.out
    );
    assert_eq!(said.err.matches("fold ").count(), 4, "{}", said.err);
    check(&bench);

    // As if it had been stopped in the third fold: the others are not trained again, and the findings are the same.
    let first = bench.read("audit/fold-1/model.safetensors");
    let (errors, page) = (bench.read("audit/label-errors.csv"), bench.read("audit/audit.html"));
    std::fs::remove_dir_all(bench.path("audit/fold-3")).unwrap();
    std::fs::remove_file(bench.path("audit/label-errors.csv")).unwrap();
    bench.succeed(&[&AUDIT[..], &["--recipe", "quick.toml", "--quiet"]].concat());
    assert!(bench.read("audit/fold-1/model.safetensors") == first);
    assert!(bench.read("audit/label-errors.csv") == errors);
    assert!(bench.read("audit/audit.html").len().abs_diff(page.len()) < 20, "but for the command in it");
    // Another recipe needs another folder.
    bench.fail(&[&AUDIT[..], &["--recipe", "quick.toml", "--epochs", "2"]].concat(), 1, &["--output"]);
}

#[test]
fn a_baseline_audits_too() {
    let bench = planted();
    bench.succeed(&[&AUDIT[..], &["--recipe", "logistic-regression"]].concat());
    check(&bench);
    bench.succeed(&[&AUDIT[..], &["--recipe", "logistic-regression", "--quiet"]].concat());
    bench.fail(&[&AUDIT[..], &["--recipe", "decision-tree"]].concat(), 2, &["other recipe", "--output"]);
    bench.fail(&[&AUDIT[..], &["--recipe", "knn", "--epochs", "2"]].concat(), 2, &["--epochs"]);
}

#[test]
fn what_is_impossible_is_refused_before_anything_is_trained() {
    let bench = planted();
    let before = bench.listing();
    bench.fail(&["data", "audit", "--data", "missing"], 1, &["missing"]);
    bench.fail(&["data", "audit", "--data", "d", "--correlation", "99"], 2, &["--correlation is 99"]);
    bench.fail(&["data", "audit", "--data", "d", "--recipe", "cnn-32-65"], 2, &["did you mean"]);
    assert_eq!(bench.listing(), before);
}
