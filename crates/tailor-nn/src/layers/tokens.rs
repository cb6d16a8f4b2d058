//! Between images and sequences of tokens (Dosovitskiy et al. 2021, equation 1).

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::replace_values;
use crate::Result;
use crate::init::Initializer;
use crate::weights::{NamedTensor, WeightSource};

/// The pixels of an image as tokens, with learned positions, after a learned class token if there is one.
#[derive(Module, Debug)]
pub struct Tokens {
    /// `[D]`
    class_token: Option<Param<Tensor<1>>>,
    /// `[T, D]`
    positions: Param<Tensor<2>>,
}

/// The deviation of initial positions, as in the reference implementation.
const DEVIATION: f32 = 0.02;

impl Tokens {
    pub(super) fn new(tokens: usize, width: usize, class_token: bool, initializer: &mut Initializer) -> Self {
        Tokens {
            class_token: class_token.then(|| initializer.constant(0.0, width)),
            positions: initializer.spread([tokens, width], DEVIATION),
        }
    }

    /// `[N, H, W, D]` to `[N, T, D]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<3> {
        let [images, height, width, channels] = x.dims();
        let pixels = x.reshape([images, height * width, channels]);
        let tokens = match &self.class_token {
            Some(token) => {
                let token = token.val().reshape([1, 1, channels]).expand([images, 1, channels]);
                Tensor::cat(vec![token, pixels], 1)
            }
            None => pixels,
        };
        tokens + self.positions.val().unsqueeze()
    }

    pub(super) fn export(&self) -> Vec<NamedTensor> {
        let class_token = self.class_token.as_ref().map(|token| NamedTensor::of("class_token", token.val()));
        class_token.into_iter().chain([NamedTensor::of("positions", self.positions.val())]).collect()
    }

    pub(super) fn import(&mut self, source: &mut WeightSource) -> Result<()> {
        if let Some(token) = self.class_token.take() {
            let values = source.take("class_token", &token.dims())?;
            self.class_token = Some(token.map(|old| replace_values(&old, values)));
        }
        let positions = source.take("positions", &self.positions.dims())?;
        self.positions = self.positions.clone().map(|old| replace_values(&old, positions));
        Ok(())
    }
}

/// The first token alone.
#[derive(Module, Debug)]
pub struct ClassToken {}

impl ClassToken {
    pub(super) fn new() -> Self {
        ClassToken {}
    }

    /// `[N, T, D]` to `[N, D]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let [images, _, width] = x.dims();
        x.narrow(1, 0, 1).reshape([images, width])
    }
}
