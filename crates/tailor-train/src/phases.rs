//! A run in phases: first only the new layers learn, then more of the network, at lower rates.

use glob::Pattern;
use serde::{Deserialize, Serialize};

use crate::groups::Group;
use crate::recipe::TrainRecipe;
use crate::schedule::Schedule;

/// Some epochs of a run with settings of their own. The schedule and the optimizer's moments begin anew in each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Phase {
    /// How many; the last phase may leave it out and takes the rest of `train.epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Instead of `train.lr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Instead of `train.schedule`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_schedule")]
    pub schedule: Option<Schedule>,
    /// Patterns of the names of tensors that stay as they are, beside those of `train.groups`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<String>,
}

fn optional_schedule<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Schedule>, D::Error> {
    tailor_nn::shorthand::one(deserializer).map(Some)
}

/// A phase as the trainer sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivePhase {
    /// Epochs of the run before it.
    pub first_epoch: usize,
    /// The recipe's settings as they are in it, `epochs` being its own.
    pub train: TrainRecipe,
}

impl ActivePhase {
    /// The phase that an epoch, from 0, of a checked recipe belongs to. Without phases the whole run is one.
    pub fn of_epoch(recipe: &TrainRecipe, epoch: usize) -> Self {
        let mut first_epoch = 0;
        for phase in &recipe.phases {
            let rest = recipe.epochs - first_epoch;
            let epochs = phase.epochs.unwrap_or(rest);
            if epoch < first_epoch + epochs || epochs == rest {
                let frozen = phase.frozen.iter().map(|pattern| Group {
                    pattern: pattern.clone(),
                    lr_factor: None,
                    weight_decay: None,
                    frozen: Some(true),
                });
                let train = TrainRecipe {
                    epochs,
                    lr: phase.lr.unwrap_or(recipe.lr),
                    schedule: phase.schedule.unwrap_or(recipe.schedule),
                    groups: recipe.groups.iter().cloned().chain(frozen).collect(),
                    phases: Vec::new(),
                    ..recipe.clone()
                };
                return ActivePhase { first_epoch, train };
            }
            first_epoch += epochs;
        }
        ActivePhase { first_epoch: 0, train: recipe.clone() }
    }
}

/// What is impossible about a recipe's phases, if anything.
pub(crate) fn check(recipe: &TrainRecipe) -> Result<(), String> {
    let Some((last, before)) = recipe.phases.split_last() else { return Ok(()) };
    let mut epochs = 0;
    for (position, phase) in before.iter().enumerate() {
        match phase.epochs {
            None => {
                return Err(format!(
                    "train.phases.{position}.epochs is missing; only the last phase takes what is left"
                ));
            }
            Some(0) => return Err(format!("train.phases.{position}.epochs must be at least 1")),
            Some(own) => epochs += own,
        }
    }
    let total = recipe.epochs;
    if epochs >= total {
        return Err(format!(
            "train.epochs = {total} leaves none for the last phase, after {epochs} in those before; raise it, or lower \
             train.phases.0.epochs"
        ));
    }
    if let Some(own) = last.epochs.filter(|own| epochs + own != total) {
        let sum = epochs + own;
        return Err(format!(
            "train.phases last for {sum} epochs, but train.epochs = {total}; leave the last phase's epochs out, and it takes \
             what is left"
        ));
    }
    for (position, phase) in recipe.phases.iter().enumerate() {
        if let Some(lr) = phase.lr.filter(|lr| !(*lr > 0.0 && lr.is_finite())) {
            return Err(format!("train.phases.{position}.lr must be above 0, not {lr}"));
        }
        for pattern in &phase.frozen {
            Pattern::new(pattern)
                .map_err(|error| format!("train.phases.{position}.frozen = {pattern:?}: {}", error.msg))?;
        }
        phase.schedule.map_or(Ok(()), |schedule| schedule.check())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(phases: &str) -> Result<TrainRecipe, String> {
        let text = format!(
            "name = \"x\"\n[model]\nlayers = []\n[train]\nepochs = 5\nlr = 0.5\nschedule = \"cosine\"\n\
             [[train.groups]]\nmatch = \"*.bias\"\nlr-factor = 2\n{phases}"
        );
        crate::Recipe::parse(&text, "x").map(|recipe| recipe.train).map_err(|error| error.to_string())
    }

    #[test]
    fn each_epoch_has_its_phase() {
        let recipe = recipe(
            "[[train.phases]]\nepochs = 2\nfrozen = [\"base1.*\"]\n\
             [[train.phases]]\nlr = 0.25\nschedule = \"one-cycle\"\n",
        )
        .unwrap();
        let first = ActivePhase::of_epoch(&recipe, 0);
        assert_eq!((first.first_epoch, first.train.epochs, first.train.lr), (0, 2, 0.5));
        assert_eq!(first.train.schedule, recipe.schedule);
        let patterns: Vec<&str> = first.train.groups.iter().map(|group| group.pattern.as_str()).collect();
        assert_eq!(patterns, ["*.bias", "base1.*"]);
        assert_eq!(ActivePhase::of_epoch(&recipe, 1), first);
        let second = ActivePhase::of_epoch(&recipe, 2);
        assert_eq!((second.first_epoch, second.train.epochs, second.train.lr), (2, 3, 0.25));
        assert_eq!(second.train.groups.len(), 1);
        for epoch in [3, 4, 5] {
            assert_eq!(ActivePhase::of_epoch(&recipe, epoch), second);
        }
    }

    #[test]
    fn without_phases_the_run_is_one() {
        let recipe = recipe("").unwrap();
        assert_eq!(ActivePhase::of_epoch(&recipe, 4), ActivePhase { first_epoch: 0, train: recipe });
    }

    #[test]
    fn phases_that_do_not_fill_the_run_are_refused() {
        for (phases, expected) in [
            ("[[train.phases]]\n[[train.phases]]\n", "train.phases.0.epochs is missing"),
            ("[[train.phases]]\nepochs = 0\n[[train.phases]]\n", "must be at least 1"),
            ("[[train.phases]]\nepochs = 5\n[[train.phases]]\n", "leaves none for the last phase"),
            ("[[train.phases]]\nepochs = 3\n[[train.phases]]\nepochs = 3\n", "last for 6 epochs"),
            ("[[train.phases]]\nlr = -1\n", "train.phases.0.lr"),
            ("[[train.phases]]\nfrozen = [\"[\"]\n", "train.phases.0.frozen"),
        ] {
            let error = recipe(phases).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
