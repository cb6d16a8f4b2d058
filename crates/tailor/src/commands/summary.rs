//! `tailor summary`: what a network consists of.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use tailor_nn::Shape;
use tailor_nn::{Device, Network};
use tailor_train::data::{open_source, shape_of};
use tailor_train::phases::ActivePhase;
use tailor_train::{Model, Override, RunData, groups};

use crate::{Context, layer_timings};

/// Show a network layer by layer: output shapes and parameters
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor summary cnn-bn-32-64-128
  tailor summary resnet-20 --timings           where the time of a training step goes
  tailor summary mine.toml --set model.layers.0.filters=16
  tailor summary runs/starter-001")]
pub struct Args {
    /// A recipe, a recipe file, a model file or a run's folder
    #[arg(value_name = "RECIPE|MODEL")]
    subject: String,

    /// Replace a key of the recipe (may be repeated)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,

    /// Time each layer of a training step on this machine
    #[arg(long)]
    timings: bool,
}

pub fn run(args: Args, context: Context) -> anyhow::Result<ExitCode> {
    let path = Path::new(&args.subject);
    let device = Device::flex();
    let is_recipe = path.extension().is_some_and(|extension| extension == "toml");
    let summary = if path.is_dir() || (path.is_file() && !is_recipe) {
        if !args.overrides.is_empty() {
            return Err(super::Usage("--set is for recipes; a model has its settings".into()).into());
        }
        if args.timings {
            return Err(super::Usage(
                "--timings is for recipes; a model file names the recipe that made it".into(),
            )
            .into());
        }
        Model::load(path, &device)?.summary
    } else {
        let recipe = super::recipe(&args.subject, &args.overrides)?;
        if args.timings {
            let rows = layer_timings::measure(&recipe, &RunData::open(&recipe)?, &context.device)?;
            let peak_gflops = tailor_kernels::peak_flops() / 1e9;
            let table = layer_timings::table(&rows, recipe.train.batch_size, peak_gflops);
            writeln!(std::io::stdout(), "{table}")?;
            return Ok(ExitCode::SUCCESS);
        }
        let (shape, classes) = match recipe.data.source.as_str() {
            // Known without reading them.
            "fashion-mnist" | "mnist" => (Shape::Image { height: 28, width: 28, channels: 1 }, 10),
            _ => {
                let train = open_source(&recipe.data)?.train;
                let shape = shape_of(&recipe.data, train.shape());
                let shape =
                    Shape::Image { height: shape.height, width: shape.width, channels: shape.channels };
                (shape, train.classes())
            }
        };
        let network =
            Network::new(&recipe.architecture(), shape, classes, recipe.train.seed, &device.autodiff())?;
        let last = ActivePhase::of_epoch(&recipe.train, recipe.train.epochs - 1);
        groups::freeze(&last.train, network).map_err(super::Usage)?.summary()
    };
    writeln!(std::io::stdout(), "{summary}")?;
    Ok(ExitCode::SUCCESS)
}
