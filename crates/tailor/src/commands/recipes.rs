//! `tailor recipes`: what comes with the program.

use std::io::Write;
use std::process::ExitCode;

use tailor_train::recipe::DEFAULT;
use tailor_train::{BaselineRecipe, Recipe};

/// List the built-in recipes, or print one to edit
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tailor recipes
  tailor recipes cnn-32-64 > mine.toml      a file to edit and train: tailor train mine.toml")]
pub struct Args {
    /// The recipe to print as TOML
    name: Option<String>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match args.name {
        Some(name) => match BaselineRecipe::built_in_text(&name) {
            Ok(text) => write!(out, "{text}")?,
            Err(_) => write!(out, "{}", Recipe::built_in_text(&name)?)?,
        },
        None => {
            for (name, text) in Recipe::built_in() {
                let recipe = Recipe::parse(text, name)?;
                let mark = if name == DEFAULT { " (default)" } else { "" };
                writeln!(out, "{name:20} {}{mark}", recipe.description)?;
            }
            writeln!(out, "\nFor `tailor baseline`:")?;
            list_baselines(&mut out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints names and descriptions of the baselines.
pub fn list_baselines(out: &mut impl Write) -> anyhow::Result<()> {
    for (name, text) in BaselineRecipe::built_in() {
        writeln!(out, "{name:20} {}", BaselineRecipe::parse(text, name)?.description)?;
    }
    Ok(())
}
