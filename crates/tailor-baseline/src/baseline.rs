//! Features and a classifier, fitted together.

use serde::{Deserialize, Serialize};
use tailor_data::{Dataset, ImageShape, Normalization};

use crate::calibration::Calibration;
use crate::classifier::{Classifier, ClassifierSpec, Fitted};
use crate::features::{FeaturePlan, Features};
use crate::matrix::Matrix;
use crate::tensors::{Tensor, TensorSource};
use crate::watch::Watcher;
use crate::{Error, Result};

/// What a baseline is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// From pixels to numbers.
    pub features: FeaturePlan,
    /// From numbers to classes.
    pub classifier: ClassifierSpec,
}

/// A fitted baseline: from pixels to logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    plan: Plan,
    frame: Frame,
    features: Features,
    classifier: Classifier,
    calibration: Calibration,
    /// Training images `[S, H, W, C]` that the classifier compares with.
    exemplars: Vec<u8>,
}

/// What images go in, and how many classes come out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Of one image.
    pub shape: ImageShape,
    /// What pixels are turned into.
    pub normalization: Normalization,
    /// Number of classes, K.
    pub classes: usize,
}

/// Numbers that are in memory at the same time in prediction.
const CHUNK: usize = 1 << 23;

/// Numbers of all images that a classifier compares with, at most.
const MOST_COMPARED: usize = 1 << 32;

impl Baseline {
    /// Fits features and classifier to a training part, and its probabilities to a validation part.
    ///
    /// # Errors
    /// [`Error::Settings`] and [`Error::Unsuitable`] where the plan is impossible, [`Error::Stopped`].
    pub fn fit(
        plan: Plan,
        train: &Dataset,
        validation: &Dataset,
        normalization: &Normalization,
        seed: u64,
        watcher: &dyn Watcher,
    ) -> Result<Self> {
        plan.check(train.shape(), train.classes())?;
        if train.is_empty() {
            return Err(Error::Unsuitable("there is no image to learn from".into()));
        }
        let frame =
            Frame { shape: train.shape(), normalization: normalization.clone(), classes: train.classes() };
        watcher.step("features", 0, 1)?;
        let pixels = train.pixels(0..train.len());
        let (features, matrix) =
            Features::fit(plan.features.clone(), &pixels, frame.shape, &frame.normalization)?;
        watcher.step("features", 1, 1)?;
        let labels = labels_of(train);
        let Fitted { classifier, exemplars } =
            plan.classifier.fit(&matrix, &labels, frame.classes, seed, watcher)?;
        drop(matrix);
        watcher.step("probabilities", 0, 1)?;
        let size = frame.shape.len();
        let exemplars =
            exemplars.into_iter().flat_map(|image| &pixels[image * size..][..size]).copied().collect();
        let scores = classifier.scores(&features.of(&validation.pixels(0..validation.len())));
        let calibration =
            Calibration::fit(plan.classifier.scores(), &scores, &labels_of(validation), frame.classes);
        watcher.step("probabilities", 1, 1)?;
        Ok(Baseline { plan, frame, features, classifier, calibration, exemplars })
    }

    /// Logits `[N, K]` of images `[N, H, W, C]`.
    pub fn logits(&self, pixels: &[u8]) -> Vec<f32> {
        let images = (CHUNK / self.features.raw_len()).max(1);
        let chunks = pixels.chunks(images * self.frame.shape.len());
        chunks.flat_map(|pixels| self.calibration.logits(&self.scores(pixels), self.frame.classes)).collect()
    }

    /// What the classifier itself says of images `[N, H, W, C]`, before it is made into probabilities.
    pub fn scores(&self, pixels: &[u8]) -> Matrix {
        self.classifier.scores(&self.features.of(pixels))
    }

    /// From pixels to numbers.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The classifier alone.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Its tensors: features, classifier, calibration, and the training images that it compares with.
    pub fn export(&self) -> Vec<Tensor> {
        let mut tensors = Vec::new();
        self.features.export(&mut tensors);
        self.classifier.export(&mut tensors);
        self.calibration.export(&mut tensors);
        if !self.exemplars.is_empty() {
            let ImageShape { height, width, channels } = self.frame.shape;
            let images = self.exemplars.len() / self.frame.shape.len();
            let shape = vec![images, height, width, channels];
            tensors.push(Tensor::u8("exemplars", shape, self.exemplars.clone()));
        }
        tensors
    }

    /// A baseline from its plan and tensors, which are not trusted.
    ///
    /// # Errors
    /// [`Error::Settings`] and [`Error::Unsuitable`] where the plan is impossible, [`Error::Mismatch`] where tensors are
    /// missing, left over, of another shape or contradict each other.
    pub fn import(plan: Plan, frame: Frame, mut source: TensorSource) -> Result<Self> {
        plan.check(frame.shape, frame.classes)?;
        let features =
            Features::import(plan.features.clone(), frame.shape, &frame.normalization, &mut source)?;
        let ImageShape { height, width, channels } = frame.shape;
        let exemplars = match source.rows("exemplars") {
            Ok(images) => source.take_u8("exemplars", &[images, height, width, channels])?,
            Err(_) => Vec::new(),
        };
        if (exemplars.len() / frame.shape.len()).saturating_mul(features.raw_len()) > MOST_COMPARED {
            return Err(Error::Mismatch("`exemplars` would need more memory than there is".into()));
        }
        let compared = (!exemplars.is_empty()).then(|| features.of(&exemplars));
        let classifier = plan.classifier.import(frame.classes, features.len(), compared, &mut source)?;
        let calibration = Calibration::import(plan.classifier.scores(), &mut source)?;
        source.finish()?;
        Ok(Baseline { plan, frame, features, classifier, calibration, exemplars })
    }
}

impl Plan {
    /// Whether it goes with images of this shape.
    ///
    /// # Errors
    /// [`Error::Settings`] and [`Error::Unsuitable`] name the key.
    pub fn check(&self, shape: ImageShape, classes: usize) -> Result<()> {
        if classes < 2 {
            return Err(Error::Unsuitable(format!("there must be two classes to tell apart, not {classes}")));
        }
        self.classifier.check()?;
        self.features.check(shape)
    }
}

fn labels_of(dataset: &Dataset) -> Vec<u16> {
    (0..dataset.len()).map(|i| dataset.label(i) as u16).collect()
}
