//! One module a command: its arguments and what it does.

pub mod benchmark;
pub mod data;
pub mod evaluate;
pub mod predict;
pub mod recipes;
pub mod summary;
pub mod train;

use std::path::Path;

use anyhow::Context as _;
use tailor_train::{Override, Recipe};

/// An error in what was asked: exit status 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The recipe of a built-in name or of a file, with some keys replaced.
fn recipe(name_or_file: &str, overrides: &[Override]) -> anyhow::Result<Recipe> {
    let is_file = name_or_file.ends_with(".toml") || name_or_file.contains(std::path::is_separator);
    let recipe = if is_file {
        let text = std::fs::read_to_string(Path::new(name_or_file))
            .with_context(|| format!("cannot read the recipe {name_or_file}"))?;
        Recipe::parse(&text, name_or_file)?
    } else {
        Recipe::parse(Recipe::built_in_text(name_or_file)?, name_or_file)?
    };
    Ok(recipe.with_overrides(overrides)?)
}
