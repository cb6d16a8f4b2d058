//! `tailor baseline`: every classifier from a recipe to a folder that evaluates and predicts, and what is refused.

mod workbench;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use workbench::{Bench, png};

/// All that come with the program, with what makes them quick on a few images.
const BASELINES: [(&str, &[&str]); 10] = [
    ("logistic-regression", &[]),
    ("linear-svm", &[]),
    ("rbf-svm", &[]),
    ("pca-rbf-svm", &["--set", "features.pca=20"]),
    ("hog-svm", &["--set", "features.from.0.cell=2"]),
    ("histogram-logistic", &["--set", "features.from.0.grid=8"]),
    ("knn", &[]),
    ("decision-tree", &[]),
    ("random-forest", &["--set", "classifier.trees=10"]),
    ("gradient-boosting", &["--set", "classifier.rounds=5", "--set", "classifier.candidates=1"]),
];

#[test]
fn every_baseline_learns_evaluates_to_the_bit_and_predicts() {
    let bench = Bench::new();
    bench.stripes("stripes");
    bench.write("bright.png", png(8, |_, y| if y == 3 { 220 } else { 10 }));
    for (name, settings) in BASELINES {
        let mut arguments = vec!["baseline", name, "--data", "stripes", "--run", name, "--quiet"];
        arguments.extend(["--set", "data.validation=40"].iter().chain(settings));
        bench.succeed(&arguments);

        let evaluation: serde_json::Value =
            serde_json::from_slice(&bench.read(&format!("{name}/evaluation.json"))).unwrap();
        let accuracy = evaluation["accuracy"].as_f64().unwrap();
        assert!(accuracy > 0.95, "stripes are easy, but {name} has {accuracy}");
        let loss = evaluation["loss"].as_f64().unwrap();
        assert!(loss < 0.5, "the probabilities of {name} are fitted, but its loss is {loss}");
        for file in ["recipe.toml", "metrics.csv", "predictions.csv", "report.html", "confusion.svg"] {
            assert!(bench.path(format!("{name}/{file}")).exists(), "{name} has no {file}");
        }

        let again = bench.succeed(&["evaluate", name, "--json"]);
        assert!(again.out.as_bytes() == bench.read(&format!("{name}/evaluation.json")), "{name} repeats");
        let named = bench.succeed(&["predict", name, "bright.png", "--top", "1", "--format", "csv"]);
        assert!(named.out.lines().nth(1).unwrap().starts_with("bright.png,1,"), "{name}: {}", named.out);
        assert!(bench.succeed(&["summary", name]).out.contains("classifier"));
    }
}

#[test]
fn real_fashion_mnist_is_learned_from_a_small_part_of_it() {
    let bench = Bench::new();
    bench.succeed(&["baseline", "hog-svm", "--set", "data.limit=500", "--run", "run"]);
    let evaluation: serde_json::Value = serde_json::from_slice(&bench.read("run/evaluation.json")).unwrap();
    assert_eq!(evaluation["images"], 10_000);
    // Five hundred images reach some 80 %.
    assert!(evaluation["accuracy"].as_f64().unwrap() > 0.75, "{}", evaluation["accuracy"]);
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let bench = Bench::new();
    bench.stripes("stripes");
    let fit = |run: &str, rest: &[&str]| {
        let mut arguments =
            vec!["baseline", "random-forest", "--data", "stripes", "--set", "data.validation=40"];
        arguments.extend(["--set", "classifier.trees=5", "--quiet", "--run", run].iter().chain(rest));
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("tailor"));
        assert!(command.current_dir(bench.path("")).args(arguments).output().unwrap().status.success());
        bench.read(&format!("{run}/model.safetensors"))
    };
    let one = fit("a", &["--threads", "1"]);
    assert!(one == fit("b", &["--threads", "3"]));
    assert!(one != fit("c", &["--threads", "1", "--seed", "2"]));
}

#[test]
fn ctrl_c_leaves_nothing() {
    let bench = Bench::new();
    bench.stripes("stripes");
    let before = bench.listing();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("tailor"))
        .current_dir(bench.path(""))
        .args([
            "baseline",
            "gradient-boosting",
            "--data",
            "stripes",
            "--run",
            "run",
            "--set",
            "classifier.rounds=1000000",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("rounds")), "fitting never began");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(rest.iter().any(|line| line.contains("nothing was kept")), "{rest:?}");
    assert_eq!(bench.listing(), before);
}

#[test]
fn what_is_mistyped_or_impossible_is_refused_before_a_folder_is_made() {
    let bench = Bench::new();
    bench.stripes("stripes");
    let before = bench.listing();
    let refused: [(&[&str], &[&str]); 8] = [
        (&["baseline", "hog-smv"], &["did you mean `hog-svm`?"]),
        (&["baseline", "knn", "--set", "classifier.kk=3"], &["unknown key `kk`", "`k`"]),
        (&["baseline", "knn", "--set", "classifier.k=0"], &["classifier.k must be at least 1"]),
        (&["baseline", "rbf-svm", "--set", "classifier.c=-1"], &["classifier.c must be above 0"]),
        (&["baseline", "knn", "--set", "data.augment=[\"horizontal-flip\"]"], &["data.augment", "networks"]),
        (
            &["baseline", "hog-svm", "--data", "stripes", "--set", "features.from.0.cell=7"],
            &["larger than an image of 8×8×1"],
        ),
        (
            &["baseline", "pca-rbf-svm", "--data", "stripes", "--set", "features.pca=65"],
            &["1 to 64", "not 65"],
        ),
        (&["train", "hog-svm"], &["tailor baseline hog-svm"]),
    ];
    for (arguments, parts) in refused {
        bench.fail(arguments, 2, parts);
    }
    assert_eq!(bench.listing(), before);
}

#[test]
fn a_model_file_that_contradicts_itself_is_refused() {
    let bench = Bench::new();
    bench.stripes("stripes");
    let fit =
        ["baseline", "decision-tree", "--data", "stripes", "--set", "data.validation=40", "--run", "run"];
    bench.succeed(&fit);
    let model = bench.read("run/model.safetensors");

    bench.write("cut.safetensors", &model[..model.len() - 4]);
    bench.fail(&["evaluate", "cut.safetensors"], 1, &["cut.safetensors", "not a model"]);
    // A question for a number that images do not have: 1e9 for the root's feature.
    let header = 8 + u64::from_le_bytes(model[..8].try_into().unwrap()) as usize;
    let text = String::from_utf8_lossy(&model[8..header]).to_string();
    let nodes = text.split("\"classifier.nodes\":").nth(1).unwrap();
    let offset = nodes.split("\"data_offsets\":[").nth(1).unwrap().split(',').next().unwrap();
    let at = header + offset.parse::<usize>().unwrap();
    let mut hostile = model.clone();
    hostile[at..at + 4].copy_from_slice(&1e9f32.to_le_bytes());
    bench.write("hostile.safetensors", hostile);
    bench.fail(&["evaluate", "hostile.safetensors"], 1, &["node 0 of a tree leads nowhere"]);
}
