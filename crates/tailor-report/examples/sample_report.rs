//! Renders a report, its plots and a picture grid without a model, for whoever works on the templates: real pictures of
//! Fashion-MNIST, made-up predictions and curves.
//!
//! ```sh
//! cargo run --release -p tailor-report --example sample_report -- FOLDER
//! ```

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tailor_eval::{EpochRecord, Evaluation, History, Predictions};
use tailor_report::{Captioned, Grid, LayerRow, Picture, Pictures, RunReport};

const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];
const SIDE: usize = 28;

/// Classes that resemble each other, and how much.
const LIKENESS: [(usize, usize, f32); 8] =
    [(0, 6, 2.4), (2, 4, 2.1), (2, 6, 1.9), (4, 6, 2.0), (3, 0, 0.9), (3, 4, 0.8), (7, 9, 1.5), (5, 7, 1.1)];

struct TestSet(Vec<u8>);

impl Pictures for TestSet {
    fn picture(&self, i: usize) -> Picture {
        let pixels = self.0[i * SIDE * SIDE..][..SIDE * SIDE].to_vec();
        Picture::new(SIDE, SIDE, 1, pixels).expect("28 × 28 pixels are a picture")
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("give the folder to write to")?;
    fs::create_dir_all(&folder)?;

    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist");
    let pictures = TestSet(read_idx(&data.join("t10k-images-idx3-ubyte.gz"), 16)?);
    let labels = read_idx(&data.join("t10k-labels-idx1-ubyte.gz"), 8)?;
    let names = CLASSES.map(String::from).to_vec();
    let predictions = Predictions::from_logits(
        names,
        labels.iter().map(|&label| label.into()).collect(),
        &logits(&labels),
    )?;
    let evaluation = Evaluation::of(&predictions)?;
    let history = History((1..=20).map(epoch).collect());

    let report = RunReport {
        title: "cnn-bn-32-64-128 on Fashion-MNIST",
        description: "A sample with made-up predictions: three convolution blocks with batch normalization",
        data_name: "Fashion-MNIST",
        part: "test",
        evaluation: &evaluation,
        predictions: &predictions,
        history: &history,
        kept_epoch: Some(9),
        pictures: &pictures,
        heats: None,
        layers: layers(),
        settings: "[model]\nname = \"cnn-bn-32-64-128\"\ndropout = 0.25\n\n[train]\nepochs = 20\nlr = 1e-3\noptimizer = \"adam\"\nbatch_size = 128\n",
        facts: [("Seed", "42"), ("Training", "20 epochs in 1 min 52 s, 9,800 images/s"), ("Threads", "2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        reproduce: "tailor train cnn-bn-32-64-128 --seed 42\ntailor evaluate runs/cnn-bn-32-64-128\n",
    };
    fs::write(folder.join("report.html"), tailor_report::html(&report)?)?;
    for (name, bytes) in tailor_report::plots(&evaluation, &history, Some(9))? {
        std::fs::write(folder.join(name), bytes)?;
    }

    let cell = |i| Captioned {
        picture: pictures.picture(i),
        caption: format!("{}\n{:.1} %", CLASSES[predictions.predicted(i)], 100.0 * predictions.confidence(i)),
    };
    let grid = Grid {
        title: "The first images of the test set".to_owned(),
        columns: 6,
        row_labels: ["first", "second", "third"].map(String::from).to_vec(),
        cells: (0..18).map(cell).collect(),
        ..Grid::default()
    };
    fs::write(folder.join("grid.png"), tailor_report::labeled_grid(&grid)?)?;
    println!("{evaluation}");
    Ok(())
}

/// The content of an IDX file after its heading.
fn read_idx(path: &Path, heading: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path)?).read_to_end(&mut bytes)?;
    bytes.drain(..heading);
    Ok(bytes)
}

/// `[N, 10]`: high for the label, raised for its likes, and noise.
fn logits(labels: &[u8]) -> Vec<f32> {
    let mut state = 1_u32;
    let mut noise = || {
        // Sum of four uniform numbers: nearly normal, deviation about 1.2.
        (0..4)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .sum::<f32>()
    };
    let mut logits = Vec::with_capacity(10 * labels.len());
    for &label in labels {
        for class in 0..10 {
            let pair = |&(a, b, _): &(usize, usize, f32)| [(a, b), (b, a)].contains(&(label.into(), class));
            let likeness = LIKENESS.iter().find(|like| pair(like)).map_or(0.0, |like| like.2);
            let own = if class == usize::from(label) { 5.2 } else { 1.2 * likeness };
            logits.push(2.4 * (own + noise()));
        }
    }
    logits
}

fn epoch(epoch: usize) -> EpochRecord {
    let t = epoch as f64;
    let wiggle = 0.012 * (2.1 * t).sin() / t.sqrt();
    let train_loss = 0.09 + 0.62 * (-t / 4.5).exp();
    let validation_loss = 0.21 + 0.36 * (-t / 3.0).exp() + 0.0002 * t * t + wiggle;
    EpochRecord {
        epoch,
        learning_rate: 1e-3,
        train_loss,
        train_accuracy: 1.0 - 0.36 * train_loss,
        validation_loss: Some(validation_loss),
        validation_accuracy: Some(1.0 - 0.355 * validation_loss),
        seconds: 5.6,
        images_per_second: 9800.0,
    }
}

fn layers() -> Vec<LayerRow> {
    [
        ("block1 convolution 3×3", "[N, 28, 28, 32]", 320),
        ("block1 batch normalization", "[N, 28, 28, 32]", 64),
        ("block1 maximum pooling 2×2", "[N, 14, 14, 32]", 0),
        ("block2 convolution 3×3", "[N, 14, 14, 64]", 18_496),
        ("block2 batch normalization", "[N, 14, 14, 64]", 128),
        ("block2 maximum pooling 2×2", "[N, 7, 7, 64]", 0),
        ("block3 convolution 3×3", "[N, 7, 7, 128]", 73_856),
        ("dense", "[N, 128]", 802_944),
        ("output", "[N, 10]", 1_290),
    ]
    .map(|(name, output_shape, parameters)| LayerRow {
        name: name.to_owned(),
        output_shape: output_shape.to_owned(),
        parameters,
    })
    .to_vec()
}
