//! Looking into a model: from what a command asks for to pictures with heat.

use tailor_data::{Dataset, ImageShape};
use tailor_eval::Predictions;
use tailor_explain::{Explainer, Heat, Method, Subject, paint};
use tailor_nn::Probe;
use tailor_report::{Heats, Picture};
use tailor_train::Model;

/// A model, opened.
pub struct Opened<'a> {
    model: &'a Model,
    /// None of a classical baseline.
    pub probe: Option<Probe>,
}

impl<'a> Opened<'a> {
    pub fn new(model: &'a Model) -> Self {
        Opened { model, probe: model.network.as_ref().map(Probe::new) }
    }

    /// What explains this model: the method and layer that are asked for, or those that suit it.
    pub fn explainer(&self, method: Option<Method>, layer: Option<&str>) -> anyhow::Result<Explainer<'_>> {
        let subject = Subject {
            probe: self.probe.as_ref(),
            logits: Box::new(|pixels| self.model.logits(pixels)),
            shape: self.model.info.shape,
            normalization: &self.model.info.normalization,
        };
        Ok(Explainer::new(subject, method, layer)?)
    }
}

/// The images of a report with heat over them, for the class that the model names.
pub struct DatasetHeats<'a> {
    pub explainer: Explainer<'a>,
    pub images: &'a Dataset,
    pub predictions: &'a Predictions,
}

impl Heats for DatasetHeats<'_> {
    fn meaning(&self) -> &str {
        self.explainer.method().meaning()
    }

    fn overlays(&self, images: &[usize]) -> Vec<Picture> {
        let pixels = self.images.pixels(images.iter().copied());
        let classes: Vec<usize> = images.iter().map(|&i| self.predictions.predicted(i)).collect();
        let heats = self.explainer.explain(&pixels, &classes);
        let shape = self.images.shape();
        images.iter().zip(heats).map(|(&i, heat)| overlay(&heat, &self.images.image(i), shape)).collect()
    }
}

/// An image with heat over it.
pub fn overlay(heat: &Heat, image: &[u8], shape: ImageShape) -> Picture {
    rgb(paint::overlay(heat, image, shape), shape)
}

/// Heat by itself, at the size of an image.
pub fn heat(heat: &Heat, shape: ImageShape) -> Picture {
    rgb(paint::heat(heat, shape), shape)
}

fn rgb(pixels: Vec<u8>, shape: ImageShape) -> Picture {
    Picture::new(shape.width, shape.height, 3, pixels).expect("heat is painted at the image's size")
}
