//! `tailor benchmark`: how fast recipes train and infer on this machine, through the whole program.

use std::io::Write;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;
use tailor_data::batch::{BatchPlan, batches};
use tailor_eval::EpochRecord;
use tailor_nn::{Network, Predictor, Summary};
use tailor_train::checkpoint::{Partial, Progress};
use tailor_train::pretrained::Weights;
use tailor_train::{Observer, Override, Recipe, Run, RunData, RunFolder, Start};

use crate::Context;
use crate::layer_timings::{self, PassTiming};
use crate::progress::say;

/// Measure training and inference: images a second, latency, arithmetic
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor benchmark                            all built-in recipes
  tailor benchmark cnn-32-64-64 --batch-size 16 --json
  tailor benchmark resnet-20 --layers         and where the time goes, layer by layer

Training runs through the whole program: reading, augmenting and shuffling real images, forward,
backward and optimizer. GFLOP/s counts every product of the dense arithmetic, also those that a sparse
backward pass skips; a training step counts as three forward passes.")]
pub struct Args {
    /// Built-in recipes or files [default: all built-in ones]
    #[arg(value_name = "RECIPE|FILE.toml")]
    recipes: Vec<String>,

    /// Images a training step
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch_size: u32,

    /// Images an inference batch
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=65536))]
    inference_batch: u32,

    /// Seconds for each measurement
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,

    /// Replace a key of the recipes (may be repeated)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,

    /// Time each layer of a training step as well
    #[arg(long)]
    layers: bool,

    /// Print one JSON object a recipe
    #[arg(long)]
    json: bool,
}

/// What was measured of one recipe.
#[derive(Debug, Serialize)]
struct Measurement {
    recipe: String,
    threads: usize,
    batch_size: usize,
    inference_batch: usize,
    parameters: usize,
    /// Multiply-adds of a forward pass over one image.
    multiply_adds: usize,
    train_images_per_second: f64,
    train_gflops: f64,
    inference_images_per_second: f64,
    inference_gflops: f64,
    latency_p50_microseconds: f64,
    latency_p99_microseconds: f64,
    /// The most that this machine's multiply-adds reach.
    peak_gflops: f64,
    /// If they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    passes: Option<Vec<PassTiming>>,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    let names = match args.recipes.as_slice() {
        [] => Recipe::built_in().map(|(name, _)| name.to_string()).collect(),
        names => names.to_vec(),
    };
    let batch = Override { key: "train.batch-size".into(), value: args.batch_size.to_string() };
    let overrides: Vec<Override> = args.overrides.iter().cloned().chain([batch]).collect();
    let mut recipes: Vec<Recipe> =
        names.iter().map(|name| super::recipe(name, &overrides)).collect::<anyhow::Result<_>>()?;
    // As fast with any weights.
    recipes.iter_mut().for_each(|recipe| recipe.model.weights = Weights::None);
    let peak_gflops = tailor_kernels::peak_flops() / 1e9;

    let mut out = std::io::stdout().lock();
    if !args.json {
        writeln!(
            out,
            "{} threads, {} instructions, peak {peak_gflops:.0} GFLOP/s\n\n\
             {:20} {:>26} {:>28} {:>17}\n\
             {:20} {:>10} {:>8} {:>6} {:>12} {:>8} {:>6} {:>8} {:>8}",
            context.threads,
            tailor_kernels::Isa::current(),
            "",
            format!("training, batch {}", args.batch_size),
            format!("inference, batch {}", args.inference_batch),
            "one image",
            "",
            "images/s",
            "GFLOP/s",
            "peak",
            "images/s",
            "GFLOP/s",
            "peak",
            "p50 µs",
            "p99 µs"
        )?;
    }
    for recipe in &recipes {
        if !context.quiet {
            say(format_args!("measuring {} …", recipe.name));
        }
        let measured = measure(recipe, &args, &context, peak_gflops)?;
        match args.json {
            true => writeln!(out, "{}", serde_json::to_string(&measured)?)?,
            false => writeln!(out, "{}", row(&measured))?,
        }
        if let (false, Some(passes)) = (args.json, &measured.passes) {
            writeln!(out, "\n{}\n", layer_timings::table(passes, measured.batch_size, peak_gflops))?;
        }
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(m: &Measurement) -> String {
    let share = |gflops: f64| format!("{:.0} %", 100.0 * gflops / m.peak_gflops);
    format!(
        "{:20} {:>10.0} {:>8.0} {:>6} {:>12.0} {:>8.0} {:>6} {:>8.1} {:>8.1}",
        m.recipe,
        m.train_images_per_second,
        m.train_gflops,
        share(m.train_gflops),
        m.inference_images_per_second,
        m.inference_gflops,
        share(m.inference_gflops),
        m.latency_p50_microseconds,
        m.latency_p99_microseconds
    )
}

fn measure(recipe: &Recipe, args: &Args, context: &Context, peak_gflops: f64) -> anyhow::Result<Measurement> {
    let budget = Duration::from_secs(args.seconds);
    let data = RunData::open(recipe)?;
    let train = train_images_per_second(recipe, &data, budget, context)?;

    let architecture = recipe.architecture();
    let plan = architecture.plan(data.shape(), data.train.classes())?;
    let multiply_adds: usize = plan.iter().map(|layer| layer.multiply_adds()).sum();
    let network =
        Network::new(&architecture, data.shape(), data.train.classes(), recipe.train.seed, &context.device)?;
    let predictor = network.predictor();
    let in_order = BatchPlan::in_order(args.inference_batch as usize);
    let images = batches(&data.validation, &data.normalization, None, &in_order)
        .next()
        .expect("a validation part is never empty")
        .images;
    let inference_batch = images.len() / data.validation.shape().len();
    let batch_seconds = percentiles(&seconds_of_calls(&predictor, &images, budget));
    let latency =
        percentiles(&seconds_of_calls(&predictor, &images[..data.validation.shape().len()], budget));
    let inference = inference_batch as f64 / batch_seconds.p50;
    let gflops = |images_per_second: f64| 2.0 * multiply_adds as f64 * images_per_second / 1e9;
    Ok(Measurement {
        recipe: recipe.name.clone(),
        threads: context.threads,
        batch_size: recipe.train.batch_size,
        inference_batch,
        parameters: network.summary().parameters(),
        multiply_adds,
        train_images_per_second: train,
        train_gflops: 3.0 * gflops(train),
        inference_images_per_second: inference,
        inference_gflops: gflops(inference),
        latency_p50_microseconds: 1e6 * latency.p50,
        latency_p99_microseconds: 1e6 * latency.p99,
        peak_gflops,
        passes: match args.layers {
            true => Some(layer_timings::measure(recipe, &data, &context.device)?),
            false => None,
        },
    })
}

/// Trains through the whole program into a folder that is thrown away.
fn train_images_per_second(
    recipe: &Recipe,
    data: &RunData,
    budget: Duration,
    context: &Context,
) -> anyhow::Result<f64> {
    let mut recipe = recipe.clone();
    recipe.train.epochs = 1000;
    recipe.train.patience = None;
    let scratch = tempfile::tempdir()?;
    let folder = RunFolder::create(&scratch.path().join("run"))?;
    let mut stopwatch = Stopwatch {
        budget: budget.as_secs_f64(),
        steps: 0,
        warm_up: 0.0,
        before: Partial::default(),
        images: 0,
        seconds: 0.0,
    };
    let run =
        Run { recipe: &recipe, data, folder: &folder, device: &context.device, threads: context.threads };
    tailor_train::train(run, Start::Fresh, &mut stopwatch)?;
    Ok(stopwatch.images as f64 / stopwatch.seconds)
}

/// Watches a run after its first steps, and stops it when its time is up. Validation does not count.
struct Stopwatch {
    budget: f64,
    /// Since the start of the run.
    steps: usize,
    /// Seconds of steps that do not count.
    warm_up: f64,
    /// The epoch's sums one step ago.
    before: Partial,
    /// In steps that count.
    images: usize,
    /// Of steps that count.
    seconds: f64,
}

/// Steps in which caches and buffers fill: so many, or fewer if they take longer than what is measured.
const WARM_UP_STEPS: RangeInclusive<usize> = 3..=20;

impl Observer for Stopwatch {
    fn started(&mut self, _: &Summary, _: &Progress, _: usize) {}

    fn step(&mut self, _: usize, step: usize, partial: &Partial) {
        let before = if step == 1 { Partial::default() } else { self.before };
        self.before = *partial;
        self.steps += 1;
        let seconds = partial.seconds - before.seconds;
        let is_cold = self.warm_up < self.budget && WARM_UP_STEPS.contains(&self.steps);
        if self.steps < *WARM_UP_STEPS.start() || is_cold {
            self.warm_up += seconds;
        } else {
            self.images += partial.images - before.images;
            self.seconds += seconds;
        }
    }

    fn epoch(&mut self, _: &EpochRecord, _: bool) {}

    fn should_stop(&self) -> bool {
        self.seconds >= self.budget
    }
}

fn seconds_of_calls(predictor: &Predictor, images: &[f32], budget: Duration) -> Vec<f64> {
    for _ in 0..5 {
        predictor.logits(images);
    }
    let (start, mut seconds) = (Instant::now(), Vec::new());
    while seconds.len() < 5 || start.elapsed() < budget {
        let call = Instant::now();
        predictor.logits(images);
        seconds.push(call.elapsed().as_secs_f64());
    }
    seconds
}

struct Percentiles {
    p50: f64,
    p99: f64,
}

fn percentiles(seconds: &[f64]) -> Percentiles {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    Percentiles { p50: at(0.5), p99: at(0.99) }
}
