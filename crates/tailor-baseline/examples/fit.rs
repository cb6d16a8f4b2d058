//! Fits one baseline to the first N training images of Fashion-MNIST, judges it on the last 5,000, and prints what that
//! took as JSON; for `benchmarks/baselines.py`, and for choosing settings.
//!
//! ```sh
//! cargo run --release -p tailor-baseline --example fit -- 55000 '[{"type": "hog"}]' 0 '{"type": "rbf-svm", "c": 10}'
//! ```

use std::time::Instant;

use tailor_baseline::{Baseline, ClassifierSpec, FeaturePlan, FeatureSpec, Plan, Unwatched};
use tailor_data::{Normalization, OpenOptions, Source};

const JUDGED: usize = 5000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [images, from, components, classifier] = &arguments[..] else {
        return Err("usage: fit IMAGES FEATURES COMPONENTS CLASSIFIER".into());
    };
    let from: Vec<FeatureSpec> = serde_json::from_str(from)?;
    let classifier: ClassifierSpec = serde_json::from_str(classifier)?;
    let pca = Some(components.parse()?).filter(|&components| components > 0);
    let all = tailor_data::open(&Source::FashionMnist, &OpenOptions::default())?.train;
    let judged = all.subset(&(all.len() - JUDGED..all.len()).collect::<Vec<_>>());
    let train = all.subset(&(0..images.parse::<usize>()?.min(all.len() - JUDGED)).collect::<Vec<_>>());
    let pixels = judged.pixels(0..judged.len());

    let plan = Plan { features: FeaturePlan { from, standardize: false, pca }, classifier };
    let clock = Clock::start();
    let baseline = Baseline::fit(plan, &train, &judged, &Normalization::of(&train), 1, &Unwatched)?;
    let fit = clock.stop();
    let clock = Clock::start();
    let logits = baseline.logits(&pixels);
    let predict = clock.stop();

    let best = |row: &[f32]| (1..row.len()).fold(0, |best, k| if row[k] > row[best] { k } else { best });
    let rows = logits.chunks_exact(judged.classes()).enumerate();
    let right = rows.filter(|(i, row)| best(row) == judged.label(*i)).count();
    let json = serde_json::json!({
        "accuracy": right as f64 / judged.len() as f64,
        "fit": fit,
        "predict": predict,
        "is": baseline.classifier().describe(),
    });
    println!("{json}");
    Ok(())
}

/// Wall-clock time, and processor time of all threads, in seconds.
struct Clock {
    wall: Instant,
    processor: f64,
}

impl Clock {
    fn start() -> Self {
        Clock { wall: Instant::now(), processor: processor_seconds() }
    }

    fn stop(self) -> [f64; 2] {
        [self.wall.elapsed().as_secs_f64(), processor_seconds() - self.processor]
    }
}

/// As Linux counts them, in hundredths; elsewhere nothing.
fn processor_seconds() -> f64 {
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in parentheses, user and system time are the 12th and 13th fields.
    let fields = status.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
