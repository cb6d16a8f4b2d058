//! `tailor recipes`: what comes with the program.

use std::io::Write;
use std::process::ExitCode;

use tailor_train::Recipe;
use tailor_train::recipe::DEFAULT;

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
        Some(name) => write!(out, "{}", Recipe::built_in_text(&name)?)?,
        None => {
            for (name, text) in Recipe::built_in() {
                let recipe = Recipe::parse(text, name)?;
                let mark = if name == DEFAULT { " (default)" } else { "" };
                writeln!(out, "{name:20} {}{mark}", recipe.description)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
