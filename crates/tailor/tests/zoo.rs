//! Every model that comes with the program, networks and baselines, and every tool that says why and when to trust one: each works on
//! each, or says in one sentence why it cannot.

mod workbench;

use serde_json::Value;
use tailor_nn::weights::{NamedTensor, to_safetensors};
use workbench::{Bench, idx_images, idx_labels};

/// What a model is made of, as far as explanations care.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Convolutions,
    Dense,
    Transformer,
    Baseline,
}

use Kind::{Baseline, Convolutions, Dense, Transformer};

/// A recipe, its kind, and what makes it quick.
type Member = (&'static str, Kind, &'static [&'static str]);

const SMALL: [Member; 11] = [
    ("ann-256-128", Dense, &ONE_EPOCH),
    ("lenet-5", Convolutions, &ONE_EPOCH),
    ("starter", Convolutions, &ONE_EPOCH),
    ("swift", Convolutions, &ONE_EPOCH),
    ("small", Convolutions, &ONE_EPOCH),
    ("cnn-32-64", Convolutions, &ONE_EPOCH),
    ("cnn-32-64-64", Convolutions, &ONE_EPOCH),
    ("cnn-32-64-128", Convolutions, &ONE_EPOCH),
    ("cnn-bn-32-64-128", Convolutions, &ONE_EPOCH),
    ("cnn-bn-64-128", Convolutions, &ONE_EPOCH),
    ("cnn-bn-4", Convolutions, &ONE_EPOCH),
];

const DEEP: [Member; 7] = [
    ("cnn-64-64-128-128", Convolutions, &ONE_EPOCH),
    ("cnn-bn-skip", Convolutions, &ONE_EPOCH),
    ("vgg-11", Convolutions, &SLOWLY),
    ("resnet-18", Convolutions, &SLOWLY),
    ("resnet-20", Convolutions, &SLOWLY),
    ("efficientnet-b0", Convolutions, &ONE_EPOCH),
    ("vit-tiny", Transformer, &ONE_EPOCH),
];

/// With weights from a file, for smaller images than the recipes' own.
const PUBLISHED: [Member; 4] = [
    ("mobilenet-v2", Convolutions, &["--epochs", "1", "--set", SMALLER, "--set", FILE]),
    ("mobilenet-v2-features", Convolutions, &["--epochs", "1", "--set", SMALLER, "--set", FILE]),
    ("mobilenet-v2-finetune", Convolutions, &["--epochs", "2", "--set", SMALLER, "--set", FILE]),
    (
        "mobilenet-v2-unfrozen",
        Convolutions,
        &[
            "--epochs",
            "3",
            "--set",
            SMALLER,
            "--set",
            FILE,
            "--set",
            "train.phases.0.epochs=1",
            "--set",
            "train.phases.1.epochs=1",
        ],
    ),
];

const BASELINES: [Member; 10] = [
    ("logistic-regression", Baseline, &[]),
    ("linear-svm", Baseline, &[]),
    ("rbf-svm", Baseline, &[]),
    ("pca-rbf-svm", Baseline, &["--set", "features.pca=10"]),
    ("hog-svm", Baseline, &["--set", "features.pca=10", "--set", "features.from.0.cell=7"]),
    ("histogram-logistic", Baseline, &[]),
    ("knn", Baseline, &["--set", "features.pca=10", "--set", "classifier.k=3"]),
    ("decision-tree", Baseline, &["--set", "classifier.min-leaf=1"]),
    ("random-forest", Baseline, &["--set", "classifier.trees=10"]),
    (
        "gradient-boosting",
        Baseline,
        &["--set", "classifier.rounds=5", "--set", "classifier.candidates=1", "--set", "classifier.leaves=3"],
    ),
];

const ONE_EPOCH: [&str; 2] = ["--epochs", "1"];
/// Three steps at the high rate of such a recipe end in a network that says the same of every image.
const SLOWLY: [&str; 4] = ["--epochs", "1", "--set", "train.lr=1e-3"];
const SMALLER: &str = "model.layers.0.size=32";
const FILE: &str = "model.weights=mobilenet-v2.safetensors";

/// Images of each part, of 28×28.
const TRAIN: u32 = 48;
const TEST: usize = 12;
const CLASSES: usize = 3;
const SIDE: usize = 28;

/// A bench with a data set of three classes: a bright band at the top, in the middle or at the bottom, in noise.
fn bench() -> Bench {
    let bench = Bench::single_threaded();
    for (part, images, first) in [("train", TRAIN, 0), ("t10k", TEST as u32, TRAIN)] {
        let pixel = move |i: u32, p: u32| {
            let mut noise = ((first + i) * 784 + p).wrapping_mul(2_654_435_761);
            noise ^= noise >> 15;
            let noise = (noise.wrapping_mul(2_246_822_519) >> 26) as u8;
            if p / 28 / 6 == 2 * (i % 3) { 180 + noise } else { noise }
        };
        let pixels = (0..images).flat_map(move |i| (0..784).map(move |p| pixel(i, p)));
        bench.write(&format!("bands/{part}-images-idx3-ubyte"), idx_images(images, 28, pixels));
        let labels = (0..images).map(|i| (i % 3) as u8);
        bench.write(&format!("bands/{part}-labels-idx1-ubyte"), idx_labels(images, labels));
    }
    bench
}

/// Weights of any values under torchvision's names.
fn write_weights(bench: &Bench) {
    let tensor = |line: &str| {
        let (name, shape) = line.split_once(' ').unwrap();
        let shape: Vec<usize> = shape.split('x').map(|extent| extent.parse().unwrap()).collect();
        let length: usize = shape.iter().product();
        // Convolutions keep the scale of what passes them; norms do nothing.
        let scale = (4.0 * shape[0] as f64 / length as f64).sqrt();
        let value = |i: usize| match shape.len() {
            1 if name.ends_with("weight") || name.ends_with("running_var") => 1.0,
            1 => 0.0,
            _ => (0.37 * ((i % 10_007) as f64).powi(2)).sin() * scale,
        };
        NamedTensor { name: name.into(), values: (0..length).map(|i| value(i) as f32).collect(), shape }
    };
    let names = include_str!("../../tailor-nn/tests/vectors/mobilenet_v2.names");
    let tensors: Vec<NamedTensor> = names.lines().map(tensor).collect();
    bench.write("mobilenet-v2.safetensors", to_safetensors(&tensors, &Default::default()));
}

fn json(bench: &Bench, arguments: &[&str]) -> Value {
    serde_json::from_str(&bench.succeed(arguments).out).unwrap()
}

fn json_lines(bench: &Bench, arguments: &[&str]) -> Vec<Value> {
    bench.succeed(arguments).out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A share of the test images.
fn is_share_of_images(value: &Value) -> bool {
    let images = value.as_f64().unwrap() * TEST as f64;
    (images - images.round()).abs() < 1e-9 && (0.0..=TEST as f64).contains(&images)
}

/// A trained model of the bench, in the folder of its name, with what it says of the test images.
struct Model<'a> {
    bench: &'a Bench,
    name: &'a str,
    kind: Kind,
    settings: &'a [&'a str],
    /// The class of each test image.
    predicted: Vec<usize>,
}

impl<'a> Model<'a> {
    fn make(bench: &'a Bench, (name, kind, settings): Member) -> Self {
        let command = if kind == Baseline { "baseline" } else { "train" };
        let data = ["--data", "bands", "--set", "data.validation=12", "--run", name, "--quiet"];
        let batches = ["--set", "train.batch-size=12"];
        let batches = if kind == Baseline { &[][..] } else { &batches };
        bench.succeed(&[&[command, name], &data[..], batches, settings].concat());
        let said = json_lines(bench, &["predict", name, "bands", "--format", "json"]);
        assert_eq!(said.len(), TEST);
        let class = |line: &Value| line["predictions"][0]["class"].as_str().unwrap().parse().unwrap();
        Model { bench, name, kind, settings, predicted: said.iter().map(class).collect() }
    }

    fn right(&self) -> usize {
        (0..TEST).filter(|&i| self.predicted[i] == i % CLASSES).count()
    }

    /// The figures are those of the predictions; the report has heat for an example of each class and for the mistakes.
    fn evaluate(&self) -> Value {
        let evaluation = json(self.bench, &["evaluate", self.name, "--json"]);
        assert_eq!(evaluation["images"], TEST);
        let accuracy = evaluation["accuracy"].as_f64().unwrap();
        assert!((accuracy - self.right() as f64 / TEST as f64).abs() < 1e-12, "{}: {accuracy}", self.name);
        let report = String::from_utf8(self.bench.read(&format!("{}/report.html", self.name))).unwrap();
        let is_known = |class: &usize| (*class..TEST).step_by(CLASSES).any(|i| self.predicted[i] == *class);
        let heated = (0..CLASSES).filter(is_known).count() + TEST - self.right();
        assert_eq!(report.matches("class=\"overlay").count(), heated, "{}", self.name);
        evaluation
    }

    /// Why a method cannot work on this kind of model.
    fn obstacle(&self, method: &str) -> Option<&'static str> {
        match (method, self.kind) {
            ("occlusion", _) => None,
            (_, Baseline) => Some("this model is a classical baseline; use --method occlusion"),
            ("attention", Convolutions) => Some("this network has none; use grad-cam, integrated-gradients"),
            ("attention", Dense) => Some("this network has none; use integrated-gradients"),
            ("grad-cam" | "grad-cam++", Dense) => Some("needs a convolution, and this network has none"),
            _ => None,
        }
    }

    fn explain(&self) {
        for method in ["grad-cam", "grad-cam++", "integrated-gradients", "occlusion", "attention"] {
            let arguments = ["explain", self.name, "bands", "--method", method, "--limit", "1"];
            match self.obstacle(method) {
                Some(why) => self.bench.fail(&arguments, 2, &[method, why]),
                None => self
                    .check_heat(method, &json_lines(self.bench, &[&arguments[..], &["--json"]].concat())[0]),
            }
        }
    }

    fn check_heat(&self, method: &str, line: &Value) {
        let what = format!("{} of {}: {line}", method, self.name);
        assert_eq!((&line["method"], &line["label"]), (&method.into(), &"0".into()), "{what}");
        assert_eq!(line["class"], self.predicted[0].to_string(), "{what}");
        let rows: Vec<Vec<f64>> = serde_json::from_value(line["heat"].clone()).unwrap();
        let values = rows.concat();
        assert!(values.iter().all(|value| value.is_finite()), "{what}");
        match method {
            "attention" => {
                let sum: f64 = values.iter().sum();
                assert!(values.len() == 49 && sum > 0.1 && sum < 1.0, "shares of 7×7 patches: {what}");
            }
            "occlusion" | "integrated-gradients" => {
                assert_eq!((rows.len(), rows[0].len()), (SIDE, SIDE), "{what}");
                // One patch may leave all votes of neighbors and trees as they are.
                assert!(self.kind == Baseline || values.iter().any(|value| *value != 0.0), "{what}");
            }
            _ => {
                assert!((4..=SIDE).contains(&rows.len()), "{what}");
                assert!(values.iter().all(|value| *value >= 0.0), "{what}");
            }
        }
    }

    fn show_features(&self) {
        let output = format!("{}-features", self.name);
        let said = self
            .bench
            .succeed(&["explain", self.name, "bands", "--features", "--limit", "1", "--output", &output])
            .err;
        let is_picture =
            |file: &str| image::load_from_memory(&self.bench.read(&format!("{output}/{file}"))).is_ok();
        let files = self.bench.listing();
        let maps = files.iter().find(|file| file.starts_with(&output) && file.ends_with("-features.png"));
        match self.kind {
            Baseline => {
                assert!(said.contains("A classical baseline has no filters and no feature maps."), "{said}")
            }
            Dense => {
                assert!(is_picture("filters.png") && said.contains("there are no feature maps"), "{said}")
            }
            _ => assert!(is_picture("filters.png") && image::open(self.bench.path(maps.unwrap())).is_ok()),
        }
    }

    fn embed(&self) {
        let output = format!("{}.html", self.name);
        self.bench.succeed(&["embed", self.name, "--output", &output]);
        let page = String::from_utf8(self.bench.read(&output)).unwrap();
        let data = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["labels"], Value::from((0..TEST).map(|i| i % CLASSES).collect::<Vec<_>>()));
        assert_eq!(data["predicted"], Value::from(self.predicted.clone()), "{}", self.name);
        for projection in [0, 1] {
            let places: Vec<u16> = serde_json::from_value(data["projections"][projection].clone()).unwrap();
            assert!(places.len() == 2 * TEST && places.contains(&4095), "{}: {places:?}", self.name);
        }
    }

    /// Promises that twelve images allow are stored and followed; others are refused.
    fn calibrate(&self) {
        let said =
            self.bench.succeed(&["calibrate", self.name, "--accuracy", "0.0001", "--coverage", "0.8"]).out;
        assert!(said.contains("temperature") && said.contains("not sure below"), "{said}");
        let check = &json(self.bench, &["evaluate", self.name, "--json"])["confidence"];
        assert_eq!(
            (&check["abstention"]["wanted"], &check["sets"]["promised"]),
            (&0.0001.into(), &0.8.into())
        );
        assert!(
            is_share_of_images(&check["abstention"]["coverage"])
                && is_share_of_images(&check["sets"]["covered"])
        );
        let sizes: Vec<usize> = serde_json::from_value(check["sets"]["sizes"].clone()).unwrap();
        assert_eq!(sizes.iter().sum::<usize>(), TEST, "{check}");
        for line in json_lines(self.bench, &["predict", self.name, "bands", "--format", "json"]) {
            assert_eq!(line["set"][0], line["predictions"][0]["class"], "{line}");
            assert!(line["sure"].is_boolean() && line["strange"].is_boolean(), "{line}");
            assert!((0.0..=2.0).contains(&line["distance"].as_f64().unwrap()), "{line}");
        }
        let asked = ["calibrate", self.name, "--accuracy", "0.9999"];
        self.bench.fail(&asked, 1, &["cannot be promised"]);
    }

    fn meet_strangers(&self) {
        let found = json(self.bench, &["strangers", self.name, "--images", "10", "--json"]);
        assert_eq!(found["known_images"], 10);
        let strangers = found["strangers"].as_array().unwrap();
        assert_eq!(strangers.len(), 5);
        for (stranger, score) in
            strangers.iter().flat_map(|s| ["distance", "energy", "doubt"].map(|score| (s, score)))
        {
            assert_eq!(stranger["images"], 10);
            for figure in ["auroc", "false_positives"] {
                let value = stranger[score][figure].as_f64().unwrap();
                assert!((0.0..=1.0).contains(&value), "{}: {stranger}", self.name);
            }
        }
    }

    fn corrupt(&self, clean: &Value) {
        let found = json(self.bench, &["robustness", self.name, "--json"]);
        assert_eq!((&found["images"], &found["clean_accuracy"]), (&TEST.into(), clean), "{}", self.name);
        let corruptions = found["corruptions"].as_array().unwrap();
        assert_eq!(corruptions.len(), 7);
        for accuracies in corruptions.iter().map(|corrupted| corrupted["accuracies"].as_array().unwrap()) {
            assert!(
                accuracies.len() == 5 && accuracies.iter().all(is_share_of_images),
                "{}: {found}",
                self.name
            );
        }
    }

    fn audit(&self) {
        let output = format!("{}-audit", self.name);
        let arguments =
            ["data", "audit", "--data", "bands", "--recipe", self.name, "--folds", "2", "--output", &output];
        let batches = ["--set", "train.batch-size=12"];
        let batches = if self.kind == Baseline { &[][..] } else { &batches };
        self.bench.succeed(&[&arguments[..], batches, self.settings].concat());
        let audit: Value = serde_json::from_slice(&self.bench.read(&format!("{output}/audit.json"))).unwrap();
        assert_eq!((&audit["images"], &audit["folds"]), (&TRAIN.into(), &2.into()));
        let table = String::from_utf8(self.bench.read(&format!("{output}/label-errors.csv"))).unwrap();
        assert!(table.starts_with("rank,index,origin,given,suggested"), "{table}");
        assert_eq!(audit["label_errors"], table.lines().count() - 1);
    }
}

fn every_tool_on(bench: &Bench, members: &[Member]) {
    for &member in members {
        let model = Model::make(bench, member);
        let evaluation = model.evaluate();
        model.explain();
        model.show_features();
        model.embed();
        model.corrupt(&evaluation["accuracy"]);
        model.calibrate();
        model.meet_strangers();
        model.audit();
    }
}

#[test]
fn every_recipe_that_comes_with_the_program_is_tried_here() {
    let listed = Bench::new().succeed(&["recipes"]).out;
    let recipes = listed.lines().filter(|line| !line.is_empty() && !line.starts_with("For "));
    let mut recipes: Vec<&str> = recipes.map(|line| line.split_whitespace().next().unwrap()).collect();
    let members = SMALL.iter().chain(&DEEP).chain(&PUBLISHED).chain(&BASELINES);
    let mut members: Vec<&str> = members.map(|(name, ..)| *name).collect();
    recipes.sort_unstable();
    members.sort_unstable();
    assert_eq!(recipes, members);
}

#[test]
fn small_networks() {
    every_tool_on(&bench(), &SMALL);
}

#[test]
fn deep_networks_and_a_transformer() {
    every_tool_on(&bench(), &DEEP);
}

#[test]
fn networks_that_begin_with_published_weights() {
    let bench = bench();
    write_weights(&bench);
    every_tool_on(&bench, &PUBLISHED);
}

#[test]
fn baselines() {
    every_tool_on(&bench(), &BASELINES);
}
