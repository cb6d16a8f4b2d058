//! Runs in phases, and heads that are trained on kept features.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tailor_data::{ImageShape, photo};
use tailor_eval::EpochRecord;
use tailor_nn::weights::{NamedTensor, from_safetensors};
use tailor_nn::{Device, Summary};
use tailor_train::checkpoint::{Partial, Progress};
use tailor_train::{Observer, Outcome, Recipe, Run, RunData, RunFolder, Start, train};

/// Eleven images of each of two classes, bright above or below, with some noise.
fn photographs(folder: &Path) {
    let shape = ImageShape::new(12, 12, 1);
    for (class, name) in ["above", "below"].into_iter().enumerate() {
        fs::create_dir_all(folder.join(name)).unwrap();
        for i in 0..11 {
            let pixel =
                |p: usize| (if (p < 72) == (class == 0) { 150 } else { 60 }) + (p * (7 * i + 3) % 41) as u8;
            let pixels: Vec<u8> = (0..144).map(pixel).collect();
            fs::write(folder.join(name).join(format!("{i}.png")), photo::png(&pixels, shape).unwrap())
                .unwrap();
        }
    }
}

fn recipe(folder: &Path, train: &str) -> Recipe {
    let source = toml::Value::from(folder.display().to_string());
    let text = format!(
        "name = \"phases\"
        [model]
        layers = [
            {{ type = \"sequence\", layers = [
                {{ type = \"conv\", filters = 4, bias = false, activation = \"none\" }},
                {{ type = \"batch-norm\", activation = \"relu6\" }},
                {{ type = \"inverted-residual\", filters = 6, expand = 2, stride = 2 }},
            ] }},
            \"global-average-pool\",
            {{ type = \"dropout\", rate = 0.25 }},
            {{ type = \"dense\", units = 8 }},
        ]
        [data]
        source = {source}
        cache = false
        validation = 4
        [train]
        batch-size = 6
        lr = 0.01
        optimizer = \"adamw\"
        {train}"
    );
    Recipe::parse(&text, "phases.toml").unwrap()
}

const PHASES: &str = "epochs = 4
    schedule = \"one-cycle\"
    [[train.phases]]
    epochs = 2
    frozen = [\"block1.*\"]
    [[train.phases]]
    epochs = 1
    lr = 0.005
    frozen = [\"block1.conv1.*\", \"block1.bn1.*\"]
    [[train.phases]]
    lr = 0.001";

/// Of [`photographs`], without the four that are held out.
const TRAINING_IMAGES: usize = 18;

/// Stops after so many questions whether to.
struct Impatient {
    left: Cell<usize>,
    rates: Vec<f64>,
    /// What a call for features takes at least.
    pause: Duration,
    /// Of each epoch, besides its steps.
    other_seconds: Vec<f64>,
}

impl Impatient {
    fn new(questions: usize) -> Self {
        let (rates, other_seconds) = (Vec::new(), Vec::new());
        Impatient { left: Cell::new(questions), rates, pause: Duration::ZERO, other_seconds }
    }
}

impl Observer for Impatient {
    fn started(&mut self, _: &Summary, _: &Progress, _: usize) {}
    fn step(&mut self, _: usize, _: usize, _: &Partial) {}

    fn epoch(&mut self, record: &EpochRecord, _: bool) {
        self.rates.push(record.learning_rate);
        let steps = TRAINING_IMAGES as f64 / record.images_per_second;
        self.other_seconds.push(record.seconds - steps);
    }

    fn features(&mut self, _: usize, _: usize) {
        std::thread::sleep(self.pause);
    }

    fn should_stop(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left == 0
    }
}

/// Trains to the end, stopped after every so many questions, and gives the tensors of a file of the run.
fn trained(recipe: &Recipe, folder: &Path, patience: usize, file: &str) -> Vec<NamedTensor> {
    let data = RunData::open(recipe).unwrap();
    let folder = RunFolder::create(folder).unwrap();
    let run = Run { recipe, data: &data, folder: &folder, device: &Device::flex(), threads: 1 };
    let mut start = Start::Fresh;
    while let Outcome::Stopped(_) = train(run, start, &mut Impatient::new(patience)).unwrap() {
        start = Start::Resume;
    }
    from_safetensors(&fs::read(folder.file(file)).unwrap()).unwrap().0
}

#[test]
fn a_run_in_phases_that_was_stopped_anywhere_ends_in_the_same_bits() {
    let scratch = tempfile::tempdir().unwrap();
    let photos = scratch.path().join("photos");
    photographs(&photos);
    let recipe = recipe(&photos, PHASES);
    for file in ["last.checkpoint", "model.safetensors"] {
        let whole = trained(&recipe, &scratch.path().join(format!("whole-{file}")), usize::MAX, file);
        // Two steps that are not the epoch's last and its end make three questions.
        for patience in [0, 1, 2, 3, 4] {
            let stopped =
                trained(&recipe, &scratch.path().join(format!("{patience}-{file}")), patience, file);
            assert!(stopped == whole, "{file} differs when stopped after every {patience} questions");
        }
    }
}

#[test]
fn each_phase_has_its_rate_and_leaves_frozen_tensors_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let photos = scratch.path().join("photos");
    photographs(&photos);
    let recipe = recipe(&photos, PHASES);
    let data = RunData::open(&recipe).unwrap();
    let folder = RunFolder::create(&scratch.path().join("run")).unwrap();
    let run = Run { recipe: &recipe, data: &data, folder: &folder, device: &Device::flex(), threads: 1 };
    let weights = || -> Vec<NamedTensor> {
        let (tensors, _) = from_safetensors(&fs::read(folder.file("last.checkpoint")).unwrap()).unwrap();
        tensors.into_iter().filter(|tensor| tensor.name.starts_with("model.")).collect()
    };
    // The epoch's third question is asked after it.
    let mut epochs = Impatient::new(2);
    train(run, Start::Fresh, &mut epochs).unwrap();
    let mut before = weights();
    let mut rates = epochs.rates;
    let stem = ["model.block1.conv1.", "model.block1.bn1."];
    for frozen in [&["model.block1."][..], &stem, &[]] {
        let mut epochs = Impatient::new(2);
        train(run, Start::Resume, &mut epochs).unwrap();
        rates.extend(epochs.rates);
        let after = weights();
        for (before, after) in before.iter().zip(&after) {
            let is_same = before.values == after.values;
            let is_frozen = frozen.iter().any(|frozen| after.name.starts_with(frozen));
            assert_eq!(is_same, is_frozen, "{} after {} epochs", after.name, rates.len());
        }
        before = after;
    }
    // One cycle a phase: at its end 1/25 of 1e-4 of its highest rate.
    assert_eq!(rates.len(), 4);
    for (rate, highest) in [(rates[1], 0.01), (rates[2], 0.005), (rates[3], 0.001)] {
        assert!((rate / (highest * 4e-6) - 1.0).abs() < 1e-9, "{rates:?}");
    }
    assert!(rates[0] > 1e-3);
}

#[test]
fn kept_features_train_the_same_head_and_survive_a_stop() {
    let scratch = tempfile::tempdir().unwrap();
    let photos = scratch.path().join("photos");
    photographs(&photos);
    let frozen = "epochs = 3\ngroups = [{ match = \"block1.*\", frozen = true }]";
    let head = |cache: bool, name: &str, patience: usize| {
        let recipe = recipe(&photos, &format!("{frozen}\ncache-features = {cache}"));
        trained(&recipe, &scratch.path().join(name), patience, "model.safetensors")
    };
    let kept = head(true, "kept", usize::MAX);
    assert!(head(true, "stopped", 4) == kept);
    for (kept, computed) in kept.iter().zip(&head(false, "computed", usize::MAX)) {
        assert_eq!(kept.name, computed.name);
        for (a, b) in kept.values.iter().zip(&computed.values) {
            assert!((a - b).abs() < 1e-4, "{}: {a} and {b}", kept.name);
        }
    }
}

#[test]
fn the_first_epoch_counts_the_time_that_features_took() {
    let scratch = tempfile::tempdir().unwrap();
    let photos = scratch.path().join("photos");
    photographs(&photos);
    let recipe = recipe(
        &photos,
        "epochs = 2\ngroups = [{ match = \"block1.*\", frozen = true }]\ncache-features = true",
    );
    let data = RunData::open(&recipe).unwrap();
    assert_eq!(data.train.len(), TRAINING_IMAGES);
    let folder = RunFolder::create(&scratch.path().join("run")).unwrap();
    let run = Run { recipe: &recipe, data: &data, folder: &folder, device: &Device::flex(), threads: 1 };
    let mut observer = Impatient { pause: Duration::from_millis(500), ..Impatient::new(usize::MAX) };
    train(run, Start::Fresh, &mut observer).unwrap();
    assert!(matches!(observer.other_seconds[..], [first, second] if first >= 0.5 && second < 0.5));
}
