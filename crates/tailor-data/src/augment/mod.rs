//! Random changes to training images, so that a model learns what does not matter.
//!
//! ```text
//! [[augmentation]]                 Augmentation ──check──▶ Pipeline ──apply(image, seed)──▶ image
//! type = "rotate"
//! degrees = 10
//!
//!   moved, turned, bent, cropped    geometry: steps in a row are resampled once (warp, upright)
//!                                     ◀─ projective, elastic
//!   darker, other colors, noisy …   color, noise, pixels, rand_augment: in place
//!   mixup, cutmix                   mix: on the normalized batch
//!
//!   corruption: known changes of known strengths, to judge models by
//! ```

mod color;
mod corruption;
mod elastic;
mod geometry;
mod mix;
pub(crate) mod noise;
mod pipeline;
mod pixels;
mod projective;
mod rand_augment;
mod upright;
mod warp;

use serde::{Deserialize, Serialize};

pub use self::corruption::{Corruption, STRENGTHS};
pub use self::mix::Mix;
pub use self::pipeline::Pipeline;
use crate::error::{Error, Result};

/// One random change. In a recipe: `{ type = "rotate", degrees = 10 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Augmentation {
    /// Turns about the center by an angle within ±`degrees`.
    Rotate {
        /// 0 to 180.
        degrees: f32,
    },
    /// Moves by up to ±`fraction` of the width and, independently, of the height.
    Shift {
        /// 0 to 1.
        fraction: f32,
    },
    /// Enlarges about the center by a factor within 1 ± `fraction`.
    Zoom {
        /// 0 to 0.9.
        fraction: f32,
    },
    /// Slants rows sideways by an angle within ±`degrees`; the middle row stays.
    Shear {
        /// 0 to 80.
        degrees: f32,
    },
    /// Shows the image from another side: each corner moves towards the center, on its own, by up to
    /// `distortion` of the way to it in each direction (torchvision's `RandomPerspective`).
    Perspective {
        /// 0 to 0.9, by default 0.5.
        #[serde(default = "half")]
        distortion: f32,
        /// How often: 0 to 1, by default 0.5.
        #[serde(default = "half")]
        probability: f32,
    },
    /// Displaces each point on its own, but neighbors alike: noise in ±1 for each pixel and direction, blurred
    /// by a Gaussian (Simard et al. 2003, "Best Practices for Convolutional Neural Networks Applied to Visual
    /// Document Analysis", with the paper's settings by default). Points move by a deviation of
    /// 0.163 × amplitude / smoothness pixels, 1.4 by default.
    Elastic {
        /// What the blurred noise is multiplied by, in pixels: 0 to 1000, by default 34.
        #[serde(default = "elastic_amplitude")]
        amplitude: f32,
        /// The Gaussian's deviation in pixels: 1 to 100, by default 4.
        #[serde(default = "elastic_smoothness")]
        smoothness: f32,
    },
    /// Enlarges a random part of the image to the whole (Szegedy et al. 2015, "Going Deeper with Convolutions",
    /// section 6; torchvision's `RandomResizedCrop`, with its settings by default). Where images are stored
    /// larger than the network takes them it crops from those, without loss, if no other changes come before
    /// it than geometric ones.
    RandomResizedCrop {
        /// The smallest part of the image's area: above 0 to 1, by default 0.08.
        #[serde(default = "smallest_crop")]
        min_area: f32,
        /// The largest part, by default 1.
        #[serde(default = "always")]
        max_area: f32,
        /// The smallest ratio of width to height, by default 3/4; the largest is its inverse.
        #[serde(default = "smallest_crop_aspect")]
        min_aspect: f32,
    },
    /// Exchanges left and right.
    HorizontalFlip {
        /// How often: 0 to 1, by default 0.5.
        #[serde(default = "half")]
        probability: f32,
    },
    /// Exchanges left and right in every second epoch: of one half of the images in the first epoch, of the
    /// other half in the next, and so on. Two epochs therefore show each image both ways once, which chance
    /// does only half the time (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", section 3.6).
    AlternatingFlip,
    /// Moves by up to ± `pixels`, whole ones, to the right and, independently, down: as cropping at random
    /// from the image with so many pixels of padding around it (He et al. 2016, section 4.2).
    PadCrop {
        /// 0 to less than the smaller side of the image.
        pixels: usize,
        /// What comes into view.
        #[serde(default)]
        padding: Padding,
    },
    /// Multiplies all pixels by a factor within 1 ± `fraction`.
    Brightness {
        /// 0 to 1.
        fraction: f32,
    },
    /// Multiplies all pixels' distance from the image's mean by a factor within 1 ± `fraction`.
    Contrast {
        /// 0 to 1.
        fraction: f32,
    },
    /// Multiplies all colors' distance from gray by a factor within 1 ± `fraction`. For color images only.
    Saturation {
        /// 0 to 1.
        fraction: f32,
    },
    /// Turns all hues by up to ± `fraction` of the circle of colors. For color images only.
    Hue {
        /// 0 to 0.5.
        fraction: f32,
    },
    /// Brightness, contrast, saturation and hue, each within its own limit, in random order (torchvision's
    /// `ColorJitter`). Those left out are 0; gray images have no saturation and hue to change.
    ColorJitter {
        /// As `fraction` of `brightness`.
        #[serde(default)]
        brightness: f32,
        /// As `fraction` of `contrast`.
        #[serde(default)]
        contrast: f32,
        /// As `fraction` of `saturation`.
        #[serde(default)]
        saturation: f32,
        /// As `fraction` of `hue`.
        #[serde(default)]
        hue: f32,
    },
    /// Adds normally distributed noise to each value.
    GaussianNoise {
        /// Its standard deviation, where black is 0 and white is 1: 0 to 1.
        deviation: f32,
    },
    /// A few operations of fourteen, drawn anew for each image (Cubuk et al. 2020, "RandAugment: Practical
    /// Automated Data Augmentation with a Reduced Search Space"): none, shear and movement in two directions
    /// each, turn, brightness, contrast, sharpness, saturation (for color images), fewer bits, negated
    /// highlights, stretched contrast, equalized histogram.
    RandAugment {
        /// How many: 1 to 14, by default 2.
        #[serde(default = "operations")]
        operations: usize,
        /// How strong: 0 to 30, where 30 is as strong as torchvision's strongest; by default 9.
        #[serde(default = "magnitude")]
        magnitude: f32,
    },
    /// Fills a random rectangle with noise (Zhong et al. 2020, "Random Erasing Data Augmentation", the variant
    /// with random values and the paper's settings by default).
    RandomErasing {
        /// How often: 0 to 1, by default 0.5.
        #[serde(default = "half")]
        probability: f32,
        /// The smallest part of the image's area, by default 0.02.
        #[serde(default = "smallest_area")]
        min_area: f32,
        /// The largest part of the image's area, by default 0.4.
        #[serde(default = "largest_area")]
        max_area: f32,
        /// The smallest ratio of height to width, by default 0.3; the largest is its inverse.
        #[serde(default = "smallest_aspect")]
        min_aspect: f32,
    },
    /// Blackens a square whose center lies anywhere in the image (DeVries and Taylor 2017, "Improved
    /// Regularization of Convolutional Neural Networks with Cutout"); it may reach beyond the image.
    Cutout {
        /// The side in pixels, 1 to the larger side of the image.
        size: usize,
    },
    /// Makes each image the weighted sum of two, and the target that of their labels (Zhang et al. 2018,
    /// "mixup: Beyond Empirical Risk Minimization"). The weight is drawn from Beta(α, α) for each batch.
    ///
    /// It comes after all others, on normalized batches; where `cutmix` is listed too, each batch gets one of
    /// them by chance.
    Mixup {
        /// 0.01 to 5, by default 0.2: small ones hardly mix most batches, 1 mixes by any share equally often.
        #[serde(default = "mixup_alpha")]
        alpha: f32,
        /// How often a batch is mixed: 0 to 1, by default 1.
        #[serde(default = "always")]
        probability: f32,
    },
    /// Puts a rectangle of another image into each, and divides the target by area (Yun et al. 2019, "CutMix:
    /// Regularization Strategy to Train Strong Classifiers with Localizable Features"). Its share of the area
    /// is drawn from Beta(α, α) for each batch, and its center anywhere, so that it may reach beyond the image.
    Cutmix {
        /// 0.01 to 5, by default 1: any share equally often.
        #[serde(default = "cutmix_alpha")]
        alpha: f32,
        /// How often a batch is mixed: 0 to 1, by default 1.
        #[serde(default = "always")]
        probability: f32,
    },
}

/// What lies outside an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// Black.
    #[default]
    Zero,
    /// The image, reflected about its outermost pixels.
    Reflect,
}

fn always() -> f32 {
    1.0
}

fn elastic_amplitude() -> f32 {
    34.0
}

fn elastic_smoothness() -> f32 {
    4.0
}

fn smallest_crop() -> f32 {
    0.08
}

fn smallest_crop_aspect() -> f32 {
    0.75
}

fn operations() -> usize {
    2
}

fn magnitude() -> f32 {
    9.0
}

fn mixup_alpha() -> f32 {
    0.2
}

fn cutmix_alpha() -> f32 {
    1.0
}

fn half() -> f32 {
    0.5
}

fn smallest_area() -> f32 {
    0.02
}

fn largest_area() -> f32 {
    0.4
}

fn smallest_aspect() -> f32 {
    0.3
}

impl Augmentation {
    /// Its name in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Augmentation::Rotate { .. } => "rotate",
            Augmentation::Shift { .. } => "shift",
            Augmentation::Zoom { .. } => "zoom",
            Augmentation::Shear { .. } => "shear",
            Augmentation::Perspective { .. } => "perspective",
            Augmentation::Elastic { .. } => "elastic",
            Augmentation::RandomResizedCrop { .. } => "random-resized-crop",
            Augmentation::HorizontalFlip { .. } => "horizontal-flip",
            Augmentation::AlternatingFlip => "alternating-flip",
            Augmentation::PadCrop { .. } => "pad-crop",
            Augmentation::Brightness { .. } => "brightness",
            Augmentation::Contrast { .. } => "contrast",
            Augmentation::Saturation { .. } => "saturation",
            Augmentation::Hue { .. } => "hue",
            Augmentation::ColorJitter { .. } => "color-jitter",
            Augmentation::GaussianNoise { .. } => "gaussian-noise",
            Augmentation::RandAugment { .. } => "rand-augment",
            Augmentation::RandomErasing { .. } => "random-erasing",
            Augmentation::Cutout { .. } => "cutout",
            Augmentation::Mixup { .. } => "mixup",
            Augmentation::Cutmix { .. } => "cutmix",
        }
    }

    /// Whether its values are possible for any image.
    ///
    /// # Errors
    /// [`Error::Augmentation`] with the value and what is allowed.
    pub fn check(&self) -> Result<()> {
        match *self {
            Augmentation::Rotate { degrees } => self.within("degrees", degrees, 0.0, 180.0),
            Augmentation::Shift { fraction } => self.within("fraction", fraction, 0.0, 1.0),
            Augmentation::Zoom { fraction } => self.within("fraction", fraction, 0.0, 0.9),
            Augmentation::Shear { degrees } => self.within("degrees", degrees, 0.0, 80.0),
            Augmentation::HorizontalFlip { probability } => self.within("probability", probability, 0.0, 1.0),
            Augmentation::AlternatingFlip | Augmentation::PadCrop { .. } => Ok(()),
            Augmentation::Perspective { distortion, probability } => {
                self.within("distortion", distortion, 0.0, 0.9)?;
                self.within("probability", probability, 0.0, 1.0)
            }
            Augmentation::Elastic { amplitude, smoothness } => {
                self.within("amplitude", amplitude, 0.0, 1000.0)?;
                self.within("smoothness", smoothness, 1.0, 100.0)
            }
            Augmentation::RandomResizedCrop { min_area, max_area, min_aspect } => {
                self.within("max-area", max_area, 0.0, 1.0)?;
                self.within("min-area", min_area, 0.001, max_area)?;
                self.within("min-aspect", min_aspect, 0.01, 1.0)
            }
            Augmentation::Brightness { fraction }
            | Augmentation::Contrast { fraction }
            | Augmentation::Saturation { fraction } => self.within("fraction", fraction, 0.0, 1.0),
            Augmentation::Hue { fraction } => self.within("fraction", fraction, 0.0, 0.5),
            Augmentation::ColorJitter { brightness, contrast, saturation, hue } => {
                self.within("brightness", brightness, 0.0, 1.0)?;
                self.within("contrast", contrast, 0.0, 1.0)?;
                self.within("saturation", saturation, 0.0, 1.0)?;
                self.within("hue", hue, 0.0, 0.5)
            }
            Augmentation::GaussianNoise { deviation } => self.within("deviation", deviation, 0.0, 1.0),
            Augmentation::RandAugment { operations, magnitude } => {
                if !(1..=14).contains(&operations) {
                    return Err(
                        self.impossible(format!("operations is {operations}; it must be from 1 to 14"))
                    );
                }
                self.within("magnitude", magnitude, 0.0, rand_augment::STRONGEST)
            }
            Augmentation::RandomErasing { probability, min_area, max_area, min_aspect } => {
                self.within("probability", probability, 0.0, 1.0)?;
                self.within("max-area", max_area, 0.0, 1.0)?;
                self.within("min-area", min_area, 0.0, max_area)?;
                self.within("min-aspect", min_aspect, 0.01, 1.0)
            }
            Augmentation::Cutout { size } => {
                if size == 0 {
                    return Err(self.impossible("size is 0; it is a number of pixels from 1".into()));
                }
                Ok(())
            }
            Augmentation::Mixup { alpha, probability } | Augmentation::Cutmix { alpha, probability } => {
                self.within("alpha", alpha, 0.01, 5.0)?;
                self.within("probability", probability, 0.0, 1.0)
            }
        }
    }

    fn within(&self, key: &str, value: f32, least: f32, most: f32) -> Result<()> {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(self.impossible(format!("{key} is {value}; it must be from {least} to {most}")))
    }

    fn impossible(&self, problem: String) -> Error {
        Error::Augmentation { name: self.name(), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_s_form_is_read_with_defaults() {
        let read = |text| serde_json::from_str::<Augmentation>(text);
        assert_eq!(
            read(r#"{"type":"rotate","degrees":10}"#).unwrap(),
            Augmentation::Rotate { degrees: 10.0 }
        );
        assert_eq!(
            read(r#"{"type":"horizontal-flip"}"#).unwrap(),
            Augmentation::HorizontalFlip { probability: 0.5 }
        );
        assert_eq!(
            read(r#"{"type":"random-erasing","probability":1}"#).unwrap(),
            Augmentation::RandomErasing { probability: 1.0, min_area: 0.02, max_area: 0.4, min_aspect: 0.3 }
        );
        assert_eq!(read(r#"{"type":"alternating-flip"}"#).unwrap(), Augmentation::AlternatingFlip);
        assert_eq!(
            read(r#"{"type":"pad-crop","pixels":2}"#).unwrap(),
            Augmentation::PadCrop { pixels: 2, padding: Padding::Zero }
        );
        assert_eq!(
            read(r#"{"type":"cutmix"}"#).unwrap(),
            Augmentation::Cutmix { alpha: 1.0, probability: 1.0 }
        );
        assert!(read(r#"{"type":"random-erasing","min-area":0.1}"#).is_ok());
        assert!(read(r#"{"type":"rotate","degree":10}"#).is_err());
        assert!(read(r#"{"type":"rotate","degrees":10,"more":1}"#).unwrap_err().to_string().contains("more"));
        assert!(read(r#"{"type":"spin"}"#).unwrap_err().to_string().contains("spin"));
    }

    #[test]
    fn impossible_values_are_explained() {
        struct Case(Augmentation, &'static str);
        for Case(augmentation, reason) in [
            Case(Augmentation::Rotate { degrees: -1.0 }, "`rotate`: degrees is -1; it must be from 0 to 180"),
            Case(Augmentation::Shift { fraction: f32::NAN }, "fraction is NaN"),
            Case(Augmentation::Zoom { fraction: 1.0 }, "from 0 to 0.9"),
            Case(Augmentation::Shear { degrees: 90.0 }, "from 0 to 80"),
            Case(Augmentation::HorizontalFlip { probability: 1.5 }, "probability is 1.5"),
            Case(Augmentation::Brightness { fraction: 2.0 }, "fraction is 2"),
            Case(
                Augmentation::RandomErasing {
                    probability: 1.0,
                    min_area: 0.5,
                    max_area: 0.4,
                    min_aspect: 0.3,
                },
                "min-area is 0.5; it must be from 0 to 0.4",
            ),
            Case(Augmentation::Cutout { size: 0 }, "`cutout`: size is 0"),
            Case(Augmentation::Perspective { distortion: 1.0, probability: 0.5 }, "distortion is 1"),
            Case(Augmentation::Elastic { amplitude: 34.0, smoothness: 0.5 }, "smoothness is 0.5"),
            Case(
                Augmentation::RandomResizedCrop { min_area: 0.0, max_area: 1.0, min_aspect: 0.75 },
                "`random-resized-crop`: min-area is 0; it must be from 0.001 to 1",
            ),
            Case(Augmentation::Hue { fraction: 0.6 }, "`hue`: fraction is 0.6; it must be from 0 to 0.5"),
            Case(
                Augmentation::ColorJitter { brightness: 0.2, contrast: 0.2, saturation: 3.0, hue: 0.0 },
                "`color-jitter`: saturation is 3",
            ),
            Case(Augmentation::GaussianNoise { deviation: -0.1 }, "`gaussian-noise`: deviation is -0.1"),
            Case(
                Augmentation::RandAugment { operations: 0, magnitude: 9.0 },
                "`rand-augment`: operations is 0; it must be from 1 to 14",
            ),
            Case(Augmentation::RandAugment { operations: 2, magnitude: 31.0 }, "magnitude is 31"),
            Case(
                Augmentation::Mixup { alpha: 0.0, probability: 1.0 },
                "`mixup`: alpha is 0; it must be from 0.01 to 5",
            ),
        ] {
            let error = augmentation.check().unwrap_err().to_string();
            assert!(error.contains(reason), "expected {reason:?} in {error:?}");
        }
    }
}
