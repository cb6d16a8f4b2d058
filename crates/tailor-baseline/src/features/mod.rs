//! From pixels to the numbers that classifiers learn from.
//!
//! ```text
//! u8 pixels [N, H, W, C] ─┬─ pixels ────┐
//!                         ├─ hog ───────┼─ one row an image ─ scale ─ pca ─→ [N, D]
//!                         └─ histogram ─┘
//! ```

mod eigen;
mod histogram;
mod hog;
mod pca;
mod scaling;

pub use histogram::Histogram;
pub use hog::Hog;
pub use pca::Pca;
pub use scaling::Scaling;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tailor_data::{ImageShape, Normalization};

use crate::matrix::Matrix;
use crate::tensors::{Tensor, TensorSource};
use crate::{Error, Result};

/// One kind of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FeatureSpec {
    /// The normalized pixels themselves.
    Pixels {},
    /// Histograms of oriented gradients.
    Hog(Hog),
    /// Histograms of brightness.
    Histogram(Histogram),
}

/// Which numbers, and what is done to them.
#[derive(Clone, Debug, PartialEq)]
pub struct FeaturePlan {
    /// Set side by side.
    pub from: Vec<FeatureSpec>,
    /// Whether each number is brought to mean 0 and deviation 1 over the training images.
    pub standardize: bool,
    /// Principal components that are kept, if not all numbers are.
    pub pca: Option<usize>,
}

/// Features with what they learned from the training images.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    plan: FeaturePlan,
    shape: ImageShape,
    normalization: Normalization,
    scaling: Option<Scaling>,
    pca: Option<Pca>,
}

/// Numbers for an image at most: those of 512×512 pixels.
const MOST: usize = 1 << 18;

impl FeatureSpec {
    /// Numbers for an image.
    fn len(&self, shape: ImageShape) -> usize {
        match self {
            FeatureSpec::Pixels {} => shape.len(),
            FeatureSpec::Hog(hog) => hog.len(shape),
            FeatureSpec::Histogram(histogram) => histogram.len(shape),
        }
    }

    /// What is impossible about it for images of this shape.
    fn check(&self, shape: ImageShape) -> std::result::Result<(), String> {
        match self {
            FeatureSpec::Pixels {} => Ok(()),
            FeatureSpec::Hog(hog) => hog.check(shape),
            FeatureSpec::Histogram(histogram) => histogram.check(shape),
        }
    }
}

impl FeaturePlan {
    /// Numbers for an image before principal components are taken.
    fn raw_len(&self, shape: ImageShape) -> usize {
        self.from.iter().fold(0, |sum, spec| sum.saturating_add(spec.len(shape)))
    }

    /// Whether features can be made of images of this shape.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] names the key.
    pub fn check(&self, shape: ImageShape) -> Result<()> {
        if self.from.is_empty() {
            return Err(Error::Unsuitable("features.from is empty; name some, such as \"pixels\"".into()));
        }
        for (position, spec) in self.from.iter().enumerate() {
            let place = |problem| Error::Unsuitable(format!("features.from.{position}: {problem}"));
            spec.check(shape).map_err(place)?;
        }
        if self.raw_len(shape) > MOST {
            let numbers = self.raw_len(shape);
            return Err(Error::Unsuitable(format!(
                "features.from makes {numbers} numbers of an image, more than {MOST}; choose smaller images (data.size) \
                 or larger cells"
            )));
        }
        match self.pca {
            Some(components) if !(1..=self.raw_len(shape)).contains(&components) => {
                Err(Error::Unsuitable(format!(
                    "features.pca must be 1 to {}, the numbers of an image, not {components}",
                    self.raw_len(shape)
                )))
            }
            _ => Ok(()),
        }
    }

    /// The raw numbers of images `[N, H, W, C]`, before anything learned.
    fn raw(&self, pixels: &[u8], shape: ImageShape, normalization: &Normalization) -> Matrix {
        let columns = self.raw_len(shape);
        let images = pixels.len() / shape.len();
        let mut features = Matrix::zeros(images, columns);
        features
            .values_mut()
            .par_chunks_exact_mut(columns)
            .zip(pixels.par_chunks_exact(shape.len()))
            .for_each(|(mut row, image)| {
                for spec in &self.from {
                    let part;
                    (part, row) = row.split_at_mut(spec.len(shape));
                    match spec {
                        FeatureSpec::Pixels {} => normalization.apply(image, part),
                        FeatureSpec::Hog(hog) => hog.describe(image, shape, part),
                        FeatureSpec::Histogram(histogram) => histogram.describe(image, shape, part),
                    }
                }
            });
        features
    }
}

impl Features {
    /// Learns scale and principal components from training images `[N, H, W, C]`; returns their features as well.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] where the plan does not go with the images.
    pub fn fit(
        plan: FeaturePlan,
        pixels: &[u8],
        shape: ImageShape,
        normalization: &Normalization,
    ) -> Result<(Self, Matrix)> {
        plan.check(shape)?;
        let mut matrix = plan.raw(pixels, shape, normalization);
        let scaling = plan.standardize.then(|| Scaling::fit(&matrix));
        if let Some(scaling) = &scaling {
            scaling.apply(&mut matrix);
        }
        if let Some(components) = plan.pca
            && components > matrix.rows()
        {
            return Err(Error::Unsuitable(format!(
                "features.pca = {components} needs at least as many training images, not {}",
                matrix.rows()
            )));
        }
        let pca = plan.pca.map(|components| Pca::fit(&matrix, components));
        if let Some(pca) = &pca {
            matrix = pca.transform(&matrix);
        }
        Ok((Features { plan, shape, normalization: normalization.clone(), scaling, pca }, matrix))
    }

    /// The features `[N, D]` of images `[N, H, W, C]`.
    pub fn of(&self, pixels: &[u8]) -> Matrix {
        let mut matrix = self.plan.raw(pixels, self.shape, &self.normalization);
        if let Some(scaling) = &self.scaling {
            scaling.apply(&mut matrix);
        }
        match &self.pca {
            Some(pca) => pca.transform(&matrix),
            None => matrix,
        }
    }

    /// Numbers for an image before principal components are taken.
    pub(crate) fn raw_len(&self) -> usize {
        self.plan.raw_len(self.shape)
    }

    /// Numbers for an image, D.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.plan.pca.unwrap_or(self.plan.raw_len(self.shape))
    }

    /// What they are, in words.
    pub fn describe(&self) -> String {
        let kind = |spec: &FeatureSpec| match spec {
            FeatureSpec::Pixels {} => "pixels".to_string(),
            FeatureSpec::Hog(hog) => format!("hog, cells of {0}×{0} pixels", hog.cell),
            FeatureSpec::Histogram(histogram) => format!("histograms of {} levels", histogram.bins),
        };
        let mut words = self.plan.from.iter().map(kind).collect::<Vec<_>>().join(" + ");
        if let Some(components) = self.plan.pca {
            words += &format!(", {components} principal components");
        }
        words
    }

    /// Numbers that were fitted.
    pub fn parameters(&self) -> usize {
        let mut tensors = Vec::new();
        self.export(&mut tensors);
        tensors.iter().map(Tensor::len).sum()
    }

    /// What was learned, as tensors `features.…`.
    pub(crate) fn export(&self, to: &mut Vec<Tensor>) {
        if let Some(scaling) = &self.scaling {
            scaling.export(to);
        }
        if let Some(pca) = &self.pca {
            pca.export(to);
        }
    }

    /// What [`export`](Self::export) gave.
    pub(crate) fn import(
        plan: FeaturePlan,
        shape: ImageShape,
        normalization: &Normalization,
        source: &mut TensorSource,
    ) -> Result<Self> {
        plan.check(shape)?;
        let raw = plan.raw_len(shape);
        let scaling = plan.standardize.then(|| Scaling::import(raw, source)).transpose()?;
        let pca = plan.pca.map(|components| Pca::import(components, raw, source)).transpose()?;
        Ok(Features { plan, shape, normalization: normalization.clone(), scaling, pca })
    }
}
