//! Recipes that differ in one thing, to see what it does.

use tailor_data::Augmentation;
use tailor_nn::architecture::{Activation, BatchNormSpec, LayerSpec};
use tailor_nn::init::Initialization;

use crate::recipe::{Keep, Recipe};

/// One way to train in a study.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// In words, and with dashes as a folder's name.
    pub name: String,
    /// All of it, but for the seed.
    pub recipe: Recipe,
}

/// Positions in the list of [`convergence`].
pub mod positions {
    /// Neither batch norm nor augmentation, weights drawn as by default.
    pub const PLAIN: usize = 0;
    /// Batch norm only.
    pub const BATCH_NORM: usize = 1;
    /// Augmentation only.
    pub const AUGMENTATION: usize = 2;
    /// Both.
    pub const BOTH: usize = 3;
    /// The other initializations, in the order of their list; otherwise plain.
    pub const INITIALIZATIONS: usize = 4;
}

/// The same network without and with batch norm, without and with augmentation, and with each initialization, all for as
/// many epochs.
///
/// With batch norm means: the recipe's own layers if it has any, else one after each convolution, or after each dense layer
/// of a network without convolutions. With augmentation means: the recipe's own, else horizontal flips and shifts.
///
/// # Errors
/// Says so when batch norm is inside of a block and cannot be taken out.
pub fn convergence(recipe: &Recipe) -> Result<Vec<Variant>, String> {
    let mut recipe = recipe.clone();
    // Every run is as long as the others, and judged as it ends.
    recipe.train.patience = None;
    recipe.train.keep = Keep::Last;
    let layers = [without_batch_norm(&recipe.model.layers)?, with_batch_norm(&recipe.model.layers)?];
    let augment = match recipe.data.augment.as_slice() {
        [] => default_augmentation(),
        own => own.to_vec(),
    };
    let variant = |name: &str, norm: bool, augmentation: bool, init: Initialization| {
        let mut recipe = recipe.clone();
        recipe.model.init = init;
        recipe.model.layers = layers[usize::from(norm)].clone();
        recipe.data.augment = if augmentation { augment.clone() } else { Vec::new() };
        Variant { name: name.into(), recipe }
    };
    let default = Initialization::default();
    let mut variants = vec![
        variant("plain", false, false, default),
        variant("batch norm", true, false, default),
        variant("augmentation", false, true, default),
        variant("batch norm and augmentation", true, true, default),
    ];
    let has_convolutions = any(&recipe.model.layers, &|layer| matches!(layer, LayerSpec::Conv(_)));
    // Without convolutions the last one is the default.
    let differs =
        |init: &Initialization| *init != default && (has_convolutions || *init != Initialization::Dirac);
    let others = Initialization::ALL.into_iter().filter(differs);
    variants.extend(others.map(|init| variant(&init.to_string(), false, false, init)));
    Ok(variants)
}

type Layers = Result<Vec<LayerSpec>, String>;

fn default_augmentation() -> Vec<Augmentation> {
    vec![Augmentation::HorizontalFlip { probability: 0.5 }, Augmentation::Shift { fraction: 0.05 }]
}

/// An activation that followed a batch norm stays.
fn without_batch_norm(layers: &[LayerSpec]) -> Layers {
    let mut left = Vec::with_capacity(layers.len());
    for layer in layers {
        match layer {
            LayerSpec::BatchNorm(norm) if norm.activation == Activation::None => {}
            LayerSpec::BatchNorm(norm) => left.push(LayerSpec::Activation { function: norm.activation }),
            LayerSpec::BasicBlock { .. } | LayerSpec::InvertedResidual { .. } => {
                return Err(format!(
                    "batch norm cannot be taken out of a {layer}; choose a recipe without such blocks"
                ));
            }
            layer => left.push(within(layer, &without_batch_norm)?),
        }
    }
    Ok(left)
}

fn with_batch_norm(layers: &[LayerSpec]) -> Layers {
    if any(layers, &|layer| matches!(layer, LayerSpec::BatchNorm(_))) {
        return Ok(layers.to_vec());
    }
    match any(layers, &|layer| matches!(layer, LayerSpec::Conv(_))) {
        true => normalized_after(layers, &|layer| matches!(layer, LayerSpec::Conv(_))),
        false => normalized_after(layers, &|layer| matches!(layer, LayerSpec::Dense { .. })),
    }
}

/// With a batch norm after each of some layers.
fn normalized_after(layers: &[LayerSpec], takes_norm: &dyn Fn(&LayerSpec) -> bool) -> Layers {
    let mut normalized = Vec::with_capacity(2 * layers.len());
    for layer in layers {
        normalized.push(within(layer, &|inner| normalized_after(inner, takes_norm))?);
        if takes_norm(layer) {
            normalized.push(LayerSpec::BatchNorm(BatchNormSpec::new(Activation::None)));
        }
    }
    Ok(normalized)
}

/// The layer with the lists of layers within it changed.
fn within(layer: &LayerSpec, change: &dyn Fn(&[LayerSpec]) -> Layers) -> Result<LayerSpec, String> {
    let mut layer = layer.clone();
    match &mut layer {
        LayerSpec::Sequence { layers } => *layers = change(layers)?,
        LayerSpec::Residual { body, shortcut, .. } => {
            *body = change(body)?;
            *shortcut = change(shortcut)?;
        }
        _ => {}
    }
    Ok(layer)
}

/// Whether this holds of a layer or of one within it.
fn any(layers: &[LayerSpec], holds: &dyn Fn(&LayerSpec) -> bool) -> bool {
    layers.iter().any(|layer| {
        holds(layer)
            || match layer {
                LayerSpec::Sequence { layers } => any(layers, holds),
                LayerSpec::Residual { body, shortcut, .. } => any(body, holds) || any(shortcut, holds),
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in(name: &str) -> Recipe {
        Recipe::parse(Recipe::built_in_text(name).unwrap(), name).unwrap()
    }

    /// Batch norms anywhere in the network.
    fn norms(variant: &Variant) -> usize {
        fn count(layers: &[LayerSpec]) -> usize {
            let norms = |layer: &LayerSpec| match layer {
                LayerSpec::BatchNorm(_) => 1,
                LayerSpec::Residual { body, .. } => count(body),
                _ => 0,
            };
            layers.iter().map(norms).sum()
        }
        count(&variant.recipe.model.layers)
    }

    #[test]
    fn variants_differ_from_plain_in_what_they_are_named_after() {
        // Three convolutions without batch norm, three with it, two dense layers; with and without augmentation of its own.
        for (name, expected) in [
            ("cnn-32-64-64", 3),
            ("cnn-bn-32-64-128", 3),
            ("ann-256-128", 2),
            ("starter", 3),
            ("cnn-bn-skip", 4),
        ] {
            let variants = convergence(&built_in(name)).unwrap();
            let found: Vec<usize> = variants[..4].iter().map(norms).collect();
            assert_eq!(found, [0, expected, 0, expected], "{name}");
            let augmented: Vec<bool> =
                variants[..4].iter().map(|variant| !variant.recipe.data.augment.is_empty()).collect();
            assert_eq!(augmented, [false, false, true, true], "{name}");
            for variant in &variants[positions::INITIALIZATIONS..] {
                assert_eq!(variant.name, variant.recipe.model.init.to_string());
                let mut plain = variant.recipe.clone();
                plain.model.init = Initialization::default();
                assert_eq!(plain, variants[positions::PLAIN].recipe);
            }
            let initializations = if name == "ann-256-128" { 5 } else { 6 };
            assert_eq!(variants.len(), 4 + initializations, "{name}");
        }
    }
    #[test]
    fn a_block_that_hides_its_batch_norms_is_refused_and_an_activation_outlives_its_norm() {
        let error = convergence(&built_in("resnet-20")).unwrap_err();
        assert!(error.contains("cannot be taken out"), "{error}");
        let norm = LayerSpec::BatchNorm(BatchNormSpec::new(Activation::Relu));
        assert_eq!(
            without_batch_norm(&[norm]).unwrap(),
            [LayerSpec::Activation { function: Activation::Relu }]
        );
    }
}
