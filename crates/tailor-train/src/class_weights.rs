//! How much the images of each class count, for sets in which some classes are rare.

use serde::{Deserialize, Serialize};
use tailor_data::Dataset;

/// The weight of each class in the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "class-weights must be \"balanced\", or a list of numbers, one for each class")]
pub enum ClassWeights {
    /// By the training images.
    By(Counts),
    /// In the order of the classes.
    Each(Vec<f64>),
}

/// A rule that makes weights from the numbers of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counts {
    /// All classes count alike: the images, divided by classes and by images of the class (scikit-learn's "balanced").
    Balanced,
}

impl ClassWeights {
    /// For the classes of the training part, `[K]`. A class without images has weight 0.
    ///
    /// # Errors
    /// Says so when there are more or fewer classes than weights, or none of the images has a weight.
    pub fn of(&self, train: &Dataset) -> Result<Vec<f32>, String> {
        self.for_counts(&train.class_counts())
    }

    fn for_counts(&self, images: &[usize]) -> Result<Vec<f32>, String> {
        let classes = images.len();
        let weights: Vec<f32> = match self {
            ClassWeights::By(Counts::Balanced) => {
                let all: usize = images.iter().sum();
                let weight = |&images: &usize| match images {
                    0 => 0.0,
                    images => all as f32 / (classes * images) as f32,
                };
                images.iter().map(weight).collect()
            }
            ClassWeights::Each(weights) if weights.len() == classes => {
                weights.iter().map(|&weight| weight as f32).collect()
            }
            ClassWeights::Each(weights) => {
                let found = weights.len();
                return Err(format!(
                    "train.class-weights has {found} weights, but there are {classes} classes"
                ));
            }
        };
        if images.iter().zip(&weights).any(|(&images, &weight)| images > 0 && weight == 0.0) {
            return Err("train.class-weights must be above 0 for each class that has training images".into());
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_weights_are_scikit_learns() {
        // compute_class_weight("balanced", classes=[0, 1, 2], y=[0] * 6 + [1] * 3 + [2]): 10 / (3 · 6), …
        let weights = ClassWeights::By(Counts::Balanced).for_counts(&[6, 3, 1]).unwrap();
        let expected = [0.5555556, 1.1111112, 3.3333333];
        assert!(weights.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{weights:?}");
        assert_eq!(ClassWeights::By(Counts::Balanced).for_counts(&[4, 0]).unwrap(), [0.5, 0.0]);
    }

    #[test]
    fn a_list_needs_a_positive_weight_for_each_class() {
        let weights = ClassWeights::Each(vec![1.0, 0.0]);
        assert!(weights.for_counts(&[1, 1, 1]).unwrap_err().contains("2 weights, but there are 3 classes"));
        assert!(weights.for_counts(&[1, 1]).unwrap_err().contains("above 0"));
        assert_eq!(weights.for_counts(&[1, 0]).unwrap(), [1.0, 0.0]);
    }
}
