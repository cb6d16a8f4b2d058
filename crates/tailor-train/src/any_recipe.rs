//! A network's recipe or a baseline's.

use tailor_data::Views;

use crate::Result;
use crate::baseline::BaselineRecipe;
use crate::recipe::{DataRecipe, Recipe};

/// What a model was made by.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a program has a few of them, never many")]
pub enum AnyRecipe {
    /// `tailor train`
    Network(Recipe),
    /// `tailor baseline`
    Baseline(BaselineRecipe),
}

impl AnyRecipe {
    /// Reads and checks a recipe, of a baseline where there is a table `classifier`; `origin` names its text in errors.
    ///
    /// # Errors
    /// [`Error::Recipe`](crate::Error::Recipe) with the line, the key and the nearest known key.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let table: toml::Table = toml::from_str(text).unwrap_or_default();
        match table.contains_key("classifier") {
            true => Ok(AnyRecipe::Baseline(BaselineRecipe::parse(text, origin)?)),
            false => Ok(AnyRecipe::Network(Recipe::parse(text, origin)?)),
        }
    }

    /// The recipe as a file, every key with its value.
    pub fn to_toml(&self) -> String {
        match self {
            AnyRecipe::Network(recipe) => recipe.to_toml(),
            AnyRecipe::Baseline(recipe) => recipe.to_toml(),
        }
    }

    /// Names the run's folder.
    pub fn name(&self) -> &str {
        match self {
            AnyRecipe::Network(recipe) => &recipe.name,
            AnyRecipe::Baseline(recipe) => &recipe.name,
        }
    }

    /// One line on what it is.
    pub fn description(&self) -> &str {
        match self {
            AnyRecipe::Network(recipe) => &recipe.description,
            AnyRecipe::Baseline(recipe) => &recipe.description,
        }
    }

    /// What its model looks at of each image when it predicts; a baseline's has one view.
    pub fn views(&self) -> Views {
        match self {
            AnyRecipe::Network(recipe) => recipe.model.views,
            AnyRecipe::Baseline(_) => Views::None,
        }
    }

    /// What it learns from.
    pub fn data(&self) -> &DataRecipe {
        match self {
            AnyRecipe::Network(recipe) => &recipe.data,
            AnyRecipe::Baseline(recipe) => &recipe.data,
        }
    }

    /// Of everything random.
    pub fn seed(&self) -> u64 {
        match self {
            AnyRecipe::Network(recipe) => recipe.train.seed,
            AnyRecipe::Baseline(recipe) => recipe.train.seed,
        }
    }
}
