//! `tailor`: train, judge and use classifiers of clothing images.
//!
//! ```text
//! main ──→ commands::{train, baseline, tune, evaluate, compare, calibrate, robustness, strangers, predict, explain, embed, data, recipes, summary, study, benchmark}
//!                │         each: its arguments, then what it does with the libraries
//!                ├── progress   (bars on a terminal, lines elsewhere)
//!                ├── finished   (runs read back from their folders)
//!                ├── inputs     (images that are named, as a model sees them)
//!                ├── looking    (what explains a model)
//!                ├── results    (what is written after an evaluation)
//!                └── interrupt  (Ctrl-C)
//! ```

mod commands;
mod finished;
mod inputs;
mod interrupt;
mod layer_timings;
mod looking;
mod progress;
mod results;

use clap::{Parser, Subcommand, ValueEnum};
use std::process::ExitCode;
use std::sync::Once;
use tailor_nn::{Device, DeviceName};

/// Train, judge and use classifiers of clothing images.
#[derive(Parser)]
#[command(version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Threads that compute; by default one a core
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Where networks compute; GPUs need a build with that feature
    #[arg(long, global = true, value_enum, default_value_t = DeviceArg::Cpu)]
    device: DeviceArg,

    /// Print results and errors only
    #[arg(long, short, global = true)]
    quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  tailor train                              train the default recipe on Fashion-MNIST
  tailor train cnn-32-64 --set train.lr=3e-4
  tailor baseline hog-svm                   a classical classifier to compare with
  tailor evaluate runs/starter-001
  tailor compare runs/starter-001 runs/cnn-32-64-001
  tailor predict runs/starter-001 shoe.jpg photos/
  tailor explain runs/starter-001 shoe.jpg  which places of the image decided
  tailor data preview --output preview.png";

#[derive(Subcommand)]
enum Command {
    Train(commands::train::Args),
    Baseline(commands::baseline::Args),
    Tune(commands::tune::Args),
    Evaluate(commands::evaluate::Args),
    Compare(commands::compare::Args),
    Calibrate(commands::calibrate::Args),
    Robustness(commands::robustness::Args),
    Strangers(commands::strangers::Args),
    Predict(commands::predict::Args),
    Explain(commands::explain::Args),
    Embed(commands::embed::Args),
    #[command(subcommand)]
    Data(commands::data::Command),
    Recipes(commands::recipes::Args),
    Summary(commands::summary::Args),
    #[command(subcommand)]
    Study(commands::study::Command),
    Benchmark(commands::benchmark::Args),
}

#[derive(Clone, Copy, ValueEnum)]
enum DeviceArg {
    /// The processor, with our own kernels
    Cpu,
    /// A GPU through Vulkan, Metal or DirectX
    Wgpu,
    /// A GPU of NVIDIA's
    Cuda,
}

/// What every command gets beside its own arguments.
#[derive(Clone)]
struct Context {
    threads: usize,
    device: Device,
    /// As it is written after --device.
    device_name: &'static str,
    quiet: bool,
}

fn main() -> ExitCode {
    report_lost_images();
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            progress::say(format_args!("error: {error:#}"));
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let context = context(&cli)?;
    match cli.command {
        Command::Train(args) => commands::train::run(args, context),
        Command::Baseline(args) => commands::baseline::run(args, context),
        Command::Tune(args) => commands::tune::run(args, context),
        Command::Evaluate(args) => commands::evaluate::run(args, context),
        Command::Compare(args) => commands::compare::run(args, context),
        Command::Calibrate(args) => commands::calibrate::run(args, context),
        Command::Robustness(args) => commands::robustness::run(args, context),
        Command::Strangers(args) => commands::strangers::run(args, context),
        Command::Predict(args) => commands::predict::run(args, context),
        Command::Explain(args) => commands::explain::run(args, context),
        Command::Embed(args) => commands::embed::run(args, context),
        Command::Data(command) => commands::data::run(command, context),
        Command::Recipes(args) => commands::recipes::run(args),
        Command::Summary(args) => commands::summary::run(args, context),
        Command::Study(command) => commands::study::run(command, context),
        Command::Benchmark(args) => commands::benchmark::run(args, context),
    }
}

/// Images that can no longer be read end the program with a sentence, from whichever thread.
fn report_lost_images() {
    static FIRST: Once = Once::new();
    let otherwise = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match panic.payload().downcast_ref() {
        Some(tailor_data::Lost(what)) => FIRST.call_once(|| {
            progress::say(format_args!("error: {what}"));
            std::process::exit(1);
        }),
        None => otherwise(panic),
    }));
}

/// Sets up what computes: threads, instruction set, device.
fn context(cli: &Cli) -> anyhow::Result<Context> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let threads = cli.threads.map_or(cores, usize::from);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    tailor_kernels::team::set_threads(threads);
    tailor_kernels::Isa::from_environment().map_err(|error| commands::Usage(error.to_string()))?;
    let (device, device_name) = match cli.device {
        DeviceArg::Cpu => (DeviceName::Cpu, "cpu"),
        DeviceArg::Wgpu => (DeviceName::Wgpu, "wgpu"),
        DeviceArg::Cuda => (DeviceName::Cuda, "cuda"),
    };
    let device = device.open().map_err(|error| commands::Usage(error.to_string()))?;
    Ok(Context { threads, device, device_name, quiet: cli.quiet })
}

/// Whether the error lies in what was asked, not in what became of it.
fn is_usage(error: &anyhow::Error) -> bool {
    use tailor_baseline::Error::{Settings, Unsuitable};
    use tailor_nn::Error::Architecture;
    use tailor_train::Error;
    let is_asked = |error: &Error| {
        matches!(
            error,
            Error::UnknownRecipe { .. }
                | Error::Recipe { .. }
                | Error::Exists(_)
                | Error::Network(Architecture { .. })
                | Error::Baseline(Settings(_) | Unsuitable(_))
        )
    };
    error.is::<commands::Usage>()
        || error.is::<tailor_explain::Error>()
        || error.downcast_ref().is_some_and(is_asked)
        || matches!(error.downcast_ref(), Some(Architecture { .. }))
        || matches!(error.downcast_ref(), Some(Settings(_) | Unsuitable(_)))
        || matches!(
            error.downcast_ref(),
            Some(
                tailor_tune::Error::Space { .. }
                    | tailor_tune::Error::NoStudy(_)
                    | tailor_tune::Error::OtherStudy { .. }
            )
        )
}

/// Whether the reader of our output has gone, as in `tailor … | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
