//! The reference recipes, trained on the real data with our kernels and with Burn's own operations: the same losses
//! step by step, and the same logits in the end.

use burn::tensor::Tensor;
use tailor_data::Sampling;
use tailor_data::batch::{BatchPlan, batches};
use tailor_eval::EpochRecord;
use tailor_nn::layers::Pass;
use tailor_nn::loss::{Targets, cross_entropy};
use tailor_nn::{Device, Network, Summary, with_burn_operations};
use tailor_train::checkpoint::{Partial, Progress};
use tailor_train::optimizer::Optimizer;
use tailor_train::{Observer, Outcome, Override, Recipe, Run, RunData, RunFolder, Start, groups};

const STEPS: usize = 6;

fn recipe(name: &str, overrides: &[(&str, &str)]) -> Recipe {
    let overrides: Vec<Override> = overrides
        .iter()
        .map(|(key, value)| Override { key: (*key).into(), value: (*value).into() })
        .collect();
    let recipe = Recipe::parse(Recipe::built_in_text(name).unwrap(), name).unwrap();
    recipe.with_overrides(&overrides).unwrap()
}

/// The loss of each step, and the logits of a few validation images after the last.
fn train(recipe: &Recipe, data: &RunData) -> (Vec<f32>, Vec<f32>) {
    let settings = &recipe.train;
    let device = Device::flex().autodiff();
    let classes = data.train.classes();
    let mut network =
        Network::new(&recipe.architecture(), data.shape(), classes, settings.seed, &device).unwrap();
    network = groups::freeze(settings, network).unwrap();
    let mut optimizer = Optimizer::new(settings, &network).unwrap();
    let plan = BatchPlan { batch_size: 24, sampling: Sampling::Shuffled, ..BatchPlan::in_order(24) };
    let mut losses = Vec::new();
    for (step, batch) in batches(&data.train, &data.normalization, None, &plan).take(STEPS).enumerate() {
        let pass = Pass::Training { seed: settings.seed, step: step as u64 };
        let logits = network.forward(network.images(batch.images, &device), pass);
        let targets = Targets {
            labels: &batch.labels,
            partners: None,
            classes,
            smoothing: settings.label_smoothing,
            class_weights: None,
        };
        let loss: Tensor<1> = cross_entropy(logits, targets.tensor(&device));
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = loss.backward();
        network = optimizer.step(network, &gradients, settings.lr);
    }
    let images =
        batches(&data.validation, &data.normalization, None, &BatchPlan::in_order(16)).next().unwrap().images;
    (losses, network.predictor().logits(&images))
}

#[test]
fn kernels_and_burns_operations_train_alike() {
    let changes: &[(&str, &[(&str, &str)])] = &[
        ("ann-256-128", &[]),
        ("cnn-32-64", &[("train.clip-norm", "0.5"), ("train.label-smoothing", "0.1")]),
        ("cnn-32-64-64", &[("train.optimizer", "sgd"), ("train.lr", "0.05"), ("train.weight-decay", "1e-3")]),
        ("cnn-bn-32-64-128", &[("train.optimizer", "adamw"), ("train.weight-decay", "1e-2")]),
        ("cnn-64-64-128-128", &[("train.optimizer", "rmsprop"), ("train.lr", "1e-4")]),
        (
            "cnn-bn-32-64-128",
            &[
                ("train.optimizer", "muon"),
                ("train.lr", "0.01"),
                ("train.decay-biases", "false"),
                (
                    "train.groups",
                    "[{ match = \"[cb]?*1.*\", frozen = true }, { match = \"*.bias\", lr-factor = 4 }]",
                ),
            ],
        ),
    ];
    for (name, overrides) in changes {
        let recipe = recipe(name, overrides);
        let data = RunData::open(&recipe).unwrap();
        let (our_losses, our_logits) = train(&recipe, &data);
        let (their_losses, their_logits) = with_burn_operations(|| train(&recipe, &data));
        for (step, (ours, theirs)) in our_losses.iter().zip(&their_losses).enumerate() {
            assert!((ours - theirs).abs() < 1e-3 * theirs.abs(), "{name}, step {step}: {ours} and {theirs}");
        }
        let lowest = our_losses.iter().copied().fold(f32::INFINITY, f32::min);
        assert!(lowest < our_losses[0], "{name} does not learn: {our_losses:?}");
        for (ours, theirs) in our_logits.iter().zip(&their_logits) {
            assert!((ours - theirs).abs() < 2e-2 * theirs.abs().max(1.0), "{name}: {ours} and {theirs}");
        }
    }
}

#[test]
fn products_rounded_to_bf16_change_losses_little() {
    // Convolutions by themselves, with batch norm after the activation, and with batch norm before a shortcut.
    for name in ["cnn-64-64-128-128", "cnn-bn-32-64-128", "resnet-20"] {
        let [exact, rounded] = ["f32", "bf16"]
            .map(|precision| recipe(name, &[("model.precision", precision), ("train.lr", "1e-4")]));
        let data = RunData::open(&exact).unwrap();
        let ((exact, _), (rounded, _)) = (train(&exact, &data), train(&rounded, &data));
        assert_ne!(exact, rounded, "{name} is computed with rounded products");
        for (exact, rounded) in exact.iter().zip(&rounded) {
            assert!((exact - rounded).abs() < 0.05 * exact, "{name}: {exact} exactly, {rounded} rounded");
        }
    }
}

struct Nobody;

impl Observer for Nobody {
    fn started(&mut self, _: &Summary, _: &Progress, _: usize) {}
    fn step(&mut self, _: usize, _: usize, _: &Partial) {}
    fn epoch(&mut self, _: &EpochRecord, _: bool) {}
    fn should_stop(&self) -> bool {
        false
    }
}

/// The validation accuracy of a whole run on all images.
fn accuracy(recipe: &Recipe, data: &RunData) -> f64 {
    let scratch = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&scratch.path().join("run")).unwrap();
    let device = Device::flex().autodiff();
    let run = Run { recipe, data, folder: &folder, device: &device, threads: 2 };
    match tailor_train::train(run, Start::Fresh, &mut Nobody).unwrap() {
        Outcome::Finished(progress) => progress.best.unwrap().accuracy,
        Outcome::Stopped(_) => unreachable!("nobody stops it"),
    }
}

/// Minutes, for Burn's operations are slow: `cargo test --release --workspace --test agreement -- --ignored --nocapture`
#[test]
#[ignore = "trains for minutes"]
fn kernels_and_burns_operations_end_equally_accurate() {
    for (name, epochs) in [("ann-256-128", "5"), ("cnn-32-64-64", "2"), ("cnn-bn-32-64-128", "4")] {
        let recipe = recipe(name, &[("train.epochs", epochs)]);
        let data = RunData::open(&recipe).unwrap();
        let (ours, theirs) = (accuracy(&recipe, &data), with_burn_operations(|| accuracy(&recipe, &data)));
        println!("{name}, {epochs} epochs: {ours} with our kernels, {theirs} with Burn's operations");
        // Four standard deviations of an accuracy of 0.88 over 5,000 images are 0.018; the images are the same.
        assert!((ours - theirs).abs() < 0.015, "{name}: {ours} and {theirs}");
    }
}
