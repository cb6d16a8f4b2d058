//! Tensors that are trained otherwise than the rest: at another rate, without decay, or not at all.

use glob::Pattern;
use serde::{Deserialize, Serialize};
use tailor_nn::{Network, TensorInfo};

use crate::recipe::TrainRecipe;
use crate::spelling;

/// What is different for the tensors whose names match a pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Group {
    /// Of names as in model files, with `*`, `?` and `[ab]`: `conv1.*`, `*.bias`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Of the learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_factor: Option<f64>,
    /// Instead of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Whether they stay as they are. A batch norm whose weight is frozen works in training as in inference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<bool>,
}

impl Group {
    /// What is impossible about the settings, if anything.
    pub fn check(&self) -> Result<(), String> {
        Pattern::new(&self.pattern).map_err(|error| format!("match = {:?}: {}", self.pattern, error.msg))?;
        for (key, value) in [("lr-factor", self.lr_factor), ("weight-decay", self.weight_decay)] {
            if let Some(value) = value.filter(|value| !(*value >= 0.0 && value.is_finite())) {
                return Err(format!("{key} must be 0 or more, not {value}"));
            }
        }
        if self.lr_factor.is_none() && self.weight_decay.is_none() && self.frozen.is_none() {
            let keys = "lr-factor, weight-decay or frozen";
            return Err(format!("match = {:?} changes nothing; give it {keys}", self.pattern));
        }
        Ok(())
    }
}

/// How one tensor is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Treatment {
    /// Whether it stays as it is.
    pub frozen: bool,
    /// Of the learning rate.
    pub lr_factor: f64,
    /// Of this tensor.
    pub weight_decay: f64,
}

/// How each of these tensors is trained.
///
/// # Errors
/// Says which group matches none, with the nearest pattern or name that would.
pub fn treatments(recipe: &TrainRecipe, tensors: &[TensorInfo]) -> Result<Vec<Treatment>, String> {
    let mut treatments: Vec<Treatment> = tensors
        .iter()
        .map(|tensor| {
            let is_decayed = recipe.decay_biases || tensor.shape.len() > 1;
            let weight_decay = if is_decayed { recipe.weight_decay } else { 0.0 };
            Treatment { frozen: false, lr_factor: 1.0, weight_decay }
        })
        .collect();
    for (position, group) in recipe.groups.iter().enumerate() {
        let pattern = Pattern::new(&group.pattern).map_err(|error| error.msg)?;
        let mut matched = false;
        for (tensor, treatment) in tensors.iter().zip(&mut treatments) {
            if pattern.matches(&tensor.name) {
                matched = true;
                treatment.frozen = group.frozen.unwrap_or(treatment.frozen);
                treatment.lr_factor = group.lr_factor.unwrap_or(treatment.lr_factor);
                treatment.weight_decay = group.weight_decay.unwrap_or(treatment.weight_decay);
            }
        }
        if !matched {
            let hint = nearest(&group.pattern, tensors);
            let pattern = &group.pattern;
            return Err(format!("train.groups.{position}.match = {pattern:?} matches no tensor{hint}"));
        }
    }
    Ok(treatments)
}

/// The network with the tensors of frozen groups frozen.
///
/// # Errors
/// Those of [`treatments`], and when nothing is left to train.
pub fn freeze(recipe: &TrainRecipe, network: Network) -> Result<Network, String> {
    if recipe.groups.is_empty() {
        return Ok(network);
    }
    let tensors = network.tensors();
    let treatments = treatments(recipe, &tensors)?;
    let frozen: Vec<&str> = tensors
        .iter()
        .zip(&treatments)
        .filter(|(_, treatment)| treatment.frozen)
        .map(|(tensor, _)| tensor.name.as_str())
        .collect();
    let network = network.freeze(|name| frozen.contains(&name));
    match network.trainable_tensors().is_empty() {
        true => Err("train.groups freezes every tensor and leaves nothing to train".into()),
        false => Ok(network),
    }
}

/// A hint at the nearest layer for a pattern, at the nearest tensor for a plain name.
fn nearest(pattern: &str, tensors: &[TensorInfo]) -> String {
    let names = tensors.iter().map(|tensor| tensor.name.as_str());
    if !pattern.contains(['*', '?', '[']) {
        return spelling::hint(pattern, names);
    }
    let mut layers: Vec<String> =
        names.filter_map(|name| name.rsplit_once('.')).map(|(layer, _)| format!("{layer}.*")).collect();
    layers.dedup();
    spelling::hint(pattern, layers.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors() -> Vec<TensorInfo> {
        [("conv1.weight", 4), ("conv1.bias", 1), ("bn1.weight", 1), ("fc1.weight", 2), ("fc1.bias", 1)]
            .map(|(name, axes)| TensorInfo {
                name: name.into(),
                shape: vec![2; axes],
                memory_shape: vec![2; axes],
                trainable: true,
            })
            .into()
    }

    fn recipe(groups: &str) -> TrainRecipe {
        let text = format!("name = \"x\"\n[model]\nlayers = []\n[train]\nweight-decay = 0.1\n{groups}");
        crate::Recipe::parse(&text, "x").unwrap().train
    }

    #[test]
    fn later_groups_overrule_earlier_ones_key_by_key() {
        let recipe = recipe(
            "decay-biases = false\n\
             [[train.groups]]\nmatch = \"conv?.*\"\nlr-factor = 0.1\n\
             [[train.groups]]\nmatch = \"*.bias\"\nlr-factor = 64\nweight-decay = 0.5\n\
             [[train.groups]]\nmatch = \"fc1.weight\"\nfrozen = true\n",
        );
        let treatment = |frozen, lr_factor, weight_decay| Treatment { frozen, lr_factor, weight_decay };
        assert_eq!(
            treatments(&recipe, &tensors()).unwrap(),
            [
                treatment(false, 0.1, 0.1),
                treatment(false, 64.0, 0.5),
                treatment(false, 1.0, 0.0),
                treatment(true, 1.0, 0.1),
                treatment(false, 64.0, 0.5),
            ]
        );
    }

    #[test]
    fn a_group_without_tensors_is_answered_with_the_nearest() {
        for (pattern, expected) in [
            ("conv2.*", "did you mean `conv1.*`?"),
            ("fc1.weigth", "did you mean `fc1.weight`?"),
            ("layer*", "known are `conv1.*`, `bn1.*`, `fc1.*`"),
        ] {
            let recipe = recipe(&format!("[[train.groups]]\nmatch = \"{pattern}\"\nfrozen = true\n"));
            let error = treatments(&recipe, &tensors()).unwrap_err();
            assert!(error.contains("train.groups.0") && error.contains(expected), "{error}");
        }
    }
}
