//! `tailor summary`: what a network consists of.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use tailor_nn::Shape;
use tailor_nn::{Device, Network};
use tailor_train::data::{network_shape, open_source};
use tailor_train::{Model, Override};

/// Show a network layer by layer: output shapes and parameters
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor summary cnn-bn-32-64-128
  tailor summary mine.toml --set model.layers.0.filters=16
  tailor summary runs/starter-001")]
pub struct Args {
    /// A recipe, a recipe file, a model file or a run's folder
    #[arg(value_name = "RECIPE|MODEL")]
    subject: String,

    /// Replace a key of the recipe (may be repeated)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let path = Path::new(&args.subject);
    let device = Device::flex();
    let is_recipe = path.extension().is_some_and(|extension| extension == "toml");
    let summary = if path.is_dir() || (path.is_file() && !is_recipe) {
        if !args.overrides.is_empty() {
            return Err(super::Usage("--set is for recipes; a model has its settings".into()).into());
        }
        Model::load(path, &device)?.summary
    } else {
        let recipe = super::recipe(&args.subject, &args.overrides)?;
        let (shape, classes) = match recipe.data.source.as_str() {
            // Known without reading them.
            "fashion-mnist" | "mnist" => (Shape::Image { height: 28, width: 28, channels: 1 }, 10),
            _ => {
                let train = open_source(&recipe.data)?.train;
                (network_shape(&train), train.classes())
            }
        };
        Network::new(&recipe.architecture(), shape, classes, recipe.train.seed, &device)?.summary()
    };
    writeln!(std::io::stdout(), "{summary}")?;
    Ok(ExitCode::SUCCESS)
}
