//! What a network is made of, as a recipe states it, and the shapes that follow from it.
//!
//! An [`Architecture`] is a list of [`LayerSpec`]s. [`Architecture::plan`] checks it against the shape of
//! the images and completes it: a flatten step before the first dense layer, names as a PyTorch user would
//! choose them (`conv1`, `bn1`, `fc1`, …), and the dense layer that ends in one logit a class.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::init::Initialization;
use crate::{Error, Result, Shape};

/// The layers of a feed-forward network, without its final dense layer, which follows from the classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// In the order in which the image passes through them.
    pub layers: Vec<LayerSpec>,
    /// How the weights of all of them are drawn.
    #[serde(default)]
    pub initialization: Initialization,
}

/// One layer of an [`Architecture`], as in `{ type = "conv", filters = 32 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LayerSpec {
    /// A convolution with bias, then an activation.
    Conv {
        /// Output channels.
        filters: usize,
        /// Height and width of the kernel.
        #[serde(default = "three")]
        kernel: usize,
        /// Step between two outputs, in rows and columns.
        #[serde(default = "one")]
        stride: usize,
        /// What happens at the border.
        #[serde(default)]
        padding: Padding,
        /// Applied to the result.
        #[serde(default)]
        activation: Activation,
    },
    /// Batch normalization of each channel (Ioffe & Szegedy 2015).
    BatchNorm {
        /// Weight of the newest batch in the running statistics, as in PyTorch.
        #[serde(default = "batch_norm_momentum")]
        momentum: f64,
        /// Added to the variance.
        #[serde(default = "batch_norm_epsilon")]
        epsilon: f64,
    },
    /// The largest value of each window; windows that would cross the border are dropped.
    MaxPool {
        /// Height and width of the window, and the step between two windows.
        #[serde(default = "two")]
        size: usize,
    },
    /// The mean of each window; windows that would cross the border are dropped.
    AveragePool {
        /// Height and width of the window, and the step between two windows.
        #[serde(default = "two")]
        size: usize,
    },
    /// A dense layer with bias, then an activation.
    Dense {
        /// Output features.
        units: usize,
        /// Applied to the result.
        #[serde(default)]
        activation: Activation,
    },
    /// Inverted dropout (Srivastava et al. 2014), in training only.
    Dropout {
        /// Probability that a value is set to zero, in `[0, 1)`.
        rate: f64,
    },
}

/// What a convolution does at the border of its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// The kernel stays inside: the output is smaller.
    #[default]
    Valid,
    /// Zeros around it, the odd one at the bottom and right, so that `output = ⌈input / stride⌉` (as in Keras).
    Same,
}

/// An elementwise function after a convolution or dense layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `max(x, 0)`
    #[default]
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `tanh(x)`
    Tanh,
    /// `x`
    None,
}

/// A layer of a checked architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedLayer {
    /// Unique in the network; the prefix of its tensors' names.
    pub name: String,
    /// What it does.
    pub kind: LayerKind,
    /// The shape of one image's values that it gets.
    pub input: Shape,
    /// The shape of one image's values that it gives.
    pub output: Shape,
}

/// What a planned layer does: a layer of the recipe, or the flattening that it implies.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerKind {
    /// As the recipe states it.
    Spec(LayerSpec),
    /// From `[H, W, C]` to `[H·W·C]`.
    Flatten,
}

/// More than enough for an image classifier, and small enough that no sum or product below overflows.
const MAX_EXTENT: usize = 1 << 14;

/// Values that one layer gives for one image: 256 MB of them.
const MAX_ACTIVATIONS: usize = 1 << 26;

/// Of one layer.
const MAX_PARAMETERS: usize = 1 << 31;

impl Architecture {
    /// These layers, with weights drawn as by default.
    pub fn new(layers: Vec<LayerSpec>) -> Self {
        Architecture { layers, initialization: Initialization::default() }
    }

    /// Checks every layer against the shape that reaches it and appends the classifier.
    ///
    /// # Errors
    /// [`Error::Architecture`] names the first layer that cannot be built and why.
    pub fn plan(&self, input: Shape, classes: usize) -> Result<Vec<PlannedLayer>> {
        if classes < 2 {
            return Err(Error::Classes(classes));
        }
        let classifier = LayerSpec::Dense { units: classes, activation: Activation::None };
        let mut planned: Vec<PlannedLayer> = Vec::with_capacity(self.layers.len() + 2);
        let mut shape = input;
        let mut names = Names::default();
        for (position, spec) in self.layers.iter().chain([&classifier]).enumerate() {
            let refuse = |reason: String| Error::Architecture {
                key: match position < self.layers.len() {
                    true => format!("model.layers.{position}"),
                    false => "the last layer".into(),
                },
                layer: spec.to_string(),
                reason,
            };
            if let (Shape::Image { .. }, LayerSpec::Dense { .. }) = (shape, spec) {
                let output = Shape::Features(shape.len());
                planned.push(PlannedLayer {
                    name: "flatten".into(),
                    kind: LayerKind::Flatten,
                    input: shape,
                    output,
                });
                shape = output;
            }
            spec.check().map_err(refuse)?;
            let output = spec.output(shape).map_err(refuse)?;
            if output.len() > MAX_ACTIVATIONS {
                return Err(refuse(format!(
                    "it would give {} values an image; {MAX_ACTIVATIONS} is the most",
                    output.len()
                )));
            }
            let layer = PlannedLayer {
                name: names.next(spec),
                kind: LayerKind::Spec(spec.clone()),
                input: shape,
                output,
            };
            if layer.trainable() > MAX_PARAMETERS {
                return Err(refuse(format!(
                    "it would have {} weights; {MAX_PARAMETERS} is the most",
                    layer.trainable()
                )));
            }
            planned.push(layer);
            shape = output;
        }
        Ok(planned)
    }
}

impl LayerSpec {
    /// Refuses values that no input could make possible.
    fn check(&self) -> std::result::Result<(), String> {
        let extent = |name: &str, value: usize| match value {
            1..=MAX_EXTENT => Ok(()),
            _ => Err(format!("{name} must be between 1 and {MAX_EXTENT}, not {value}")),
        };
        match *self {
            LayerSpec::Conv { filters, kernel, stride, .. } => {
                extent("filters", filters)?;
                extent("kernel", kernel)?;
                extent("stride", stride)
            }
            LayerSpec::MaxPool { size } | LayerSpec::AveragePool { size } => extent("size", size),
            LayerSpec::Dense { units, .. } => extent("units", units),
            LayerSpec::Dropout { rate } if !(0.0..1.0).contains(&rate) => {
                Err(format!("rate must be at least 0 and less than 1, not {rate}"))
            }
            LayerSpec::BatchNorm { momentum, .. } if !(momentum > 0.0 && momentum <= 1.0) => {
                Err(format!("momentum must be above 0 and at most 1, not {momentum}"))
            }
            LayerSpec::BatchNorm { epsilon, .. } if !(epsilon > 0.0 && epsilon.is_finite()) => {
                Err(format!("epsilon must be above 0, not {epsilon}"))
            }
            LayerSpec::BatchNorm { .. } | LayerSpec::Dropout { .. } => Ok(()),
        }
    }

    fn output(&self, input: Shape) -> std::result::Result<Shape, String> {
        match (self, input) {
            (
                &LayerSpec::Conv { filters, kernel, stride, padding, .. },
                Shape::Image { height, width, .. },
            ) => {
                let extent = |input: usize| match padding {
                    Padding::Same => Ok(input.div_ceil(stride)),
                    Padding::Valid if input >= kernel => Ok((input - kernel) / stride + 1),
                    Padding::Valid => Err(format!(
                        "its {kernel}×{kernel} kernel does not fit the {input_shape} that reaches it; \
                         use padding = \"same\", a smaller kernel, or fewer pools before it",
                        input_shape = Shape::Image { height, width, channels: 1 }.extent()
                    )),
                };
                Ok(Shape::Image { height: extent(height)?, width: extent(width)?, channels: filters })
            }
            (
                &LayerSpec::MaxPool { size } | &LayerSpec::AveragePool { size },
                Shape::Image { height, width, channels },
            ) => {
                if height < size || width < size {
                    return Err(format!("its window does not fit the {} that reaches it", input.extent()));
                }
                Ok(Shape::Image { height: height / size, width: width / size, channels })
            }
            (
                LayerSpec::Conv { .. } | LayerSpec::MaxPool { .. } | LayerSpec::AveragePool { .. },
                Shape::Features(n),
            ) => Err(format!(
                "it needs an image, but {n} features reach it; put it before the first dense layer"
            )),
            (&LayerSpec::Dense { units, .. }, _) => Ok(Shape::Features(units)),
            (LayerSpec::BatchNorm { .. } | LayerSpec::Dropout { .. }, shape) => Ok(shape),
        }
    }
}

impl PlannedLayer {
    /// Weights that training changes.
    pub fn trainable(&self) -> usize {
        match self.kind {
            LayerKind::Spec(LayerSpec::Conv { filters, kernel, .. }) => {
                filters * (kernel * kernel * self.input.channels() + 1)
            }
            LayerKind::Spec(LayerSpec::Dense { units, .. }) => units * (self.input.len() + 1),
            LayerKind::Spec(LayerSpec::BatchNorm { .. }) => 2 * self.input.channels(),
            _ => 0,
        }
    }

    /// Multiply-adds of a forward pass over one image, in convolutions and dense layers.
    pub fn multiply_adds(&self) -> usize {
        match self.kind {
            LayerKind::Spec(LayerSpec::Conv { kernel, .. }) => {
                self.output.len() * kernel * kernel * self.input.channels()
            }
            LayerKind::Spec(LayerSpec::Dense { units, .. }) => units * self.input.len(),
            _ => 0,
        }
    }

    /// Running means and variances.
    pub fn statistics(&self) -> usize {
        match self.kind {
            LayerKind::Spec(LayerSpec::BatchNorm { .. }) => 2 * self.input.channels(),
            _ => 0,
        }
    }
}

impl Padding {
    /// Zeros before and after one axis of `input` values.
    pub fn amounts(self, input: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self {
            Padding::Valid => (0, 0),
            Padding::Same => {
                let total = ((input.div_ceil(stride) - 1) * stride + kernel).saturating_sub(input);
                (total / 2, total - total / 2)
            }
        }
    }
}

impl Activation {
    /// The same for our kernels.
    pub(crate) fn kernel(self) -> tailor_kernels::activation::Activation {
        use tailor_kernels::activation::Activation as Kernel;
        match self {
            Activation::Relu => Kernel::Relu,
            Activation::Relu6 => Kernel::Relu6,
            Activation::Tanh => Kernel::Tanh,
            Activation::None => Kernel::Identity,
        }
    }
}

impl fmt::Display for LayerSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let after = |activation: Activation| match activation {
            Activation::None => String::new(),
            other => format!(", {other}"),
        };
        match self {
            LayerSpec::Conv { filters, kernel, stride, padding, activation } => {
                write!(f, "conv {kernel}×{kernel}, {filters} filters")?;
                if *stride > 1 {
                    write!(f, ", stride {stride}")?;
                }
                if *padding == Padding::Same {
                    write!(f, ", same padding")?;
                }
                write!(f, "{}", after(*activation))
            }
            LayerSpec::BatchNorm { .. } => write!(f, "batch norm"),
            LayerSpec::MaxPool { size } => write!(f, "max pool {size}×{size}"),
            LayerSpec::AveragePool { size } => write!(f, "average pool {size}×{size}"),
            LayerSpec::Dense { units, activation } => write!(f, "dense {units}{}", after(*activation)),
            LayerSpec::Dropout { rate } => write!(f, "dropout {rate}"),
        }
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            LayerKind::Spec(spec) => spec.fmt(f),
            LayerKind::Flatten => write!(f, "flatten"),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Activation::Relu => "relu",
            Activation::Relu6 => "relu6",
            Activation::Tanh => "tanh",
            Activation::None => "none",
        })
    }
}

/// Counts layers of each kind, to number their names from 1.
#[derive(Default)]
struct Names {
    conv: usize,
    batch_norm: usize,
    pool: usize,
    dense: usize,
    dropout: usize,
}

impl Names {
    fn next(&mut self, spec: &LayerSpec) -> String {
        let (prefix, count) = match spec {
            LayerSpec::Conv { .. } => ("conv", &mut self.conv),
            LayerSpec::BatchNorm { .. } => ("bn", &mut self.batch_norm),
            LayerSpec::MaxPool { .. } | LayerSpec::AveragePool { .. } => ("pool", &mut self.pool),
            LayerSpec::Dense { .. } => ("fc", &mut self.dense),
            LayerSpec::Dropout { .. } => ("dropout", &mut self.dropout),
        };
        *count += 1;
        format!("{prefix}{count}")
    }
}

fn one() -> usize {
    1
}

fn two() -> usize {
    2
}

fn three() -> usize {
    3
}

fn batch_norm_momentum() -> f64 {
    0.1
}

fn batch_norm_epsilon() -> f64 {
    1e-5
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY_28: Shape = Shape::Image { height: 28, width: 28, channels: 1 };

    fn conv(filters: usize) -> LayerSpec {
        LayerSpec::Conv {
            filters,
            kernel: 3,
            stride: 1,
            padding: Padding::Valid,
            activation: Activation::Relu,
        }
    }

    #[test]
    fn shapes_follow_through_convolutions_and_pools() {
        let layers = vec![conv(32), LayerSpec::MaxPool { size: 2 }, conv(64), LayerSpec::MaxPool { size: 2 }];
        let plan = Architecture::new(layers).plan(GREY_28, 10).unwrap();
        let shapes: Vec<String> =
            plan.iter().map(|layer| format!("{} {}", layer.name, layer.output)).collect();
        assert_eq!(
            shapes,
            ["conv1 26×26×32", "pool1 13×13×32", "conv2 11×11×64", "pool2 5×5×64", "flatten 1600", "fc1 10"]
        );
    }

    #[test]
    fn same_padding_puts_the_odd_zero_at_the_end_as_keras_does() {
        struct Case {
            input: usize,
            kernel: usize,
            stride: usize,
            amounts: (usize, usize),
        }
        for case in [
            Case { input: 28, kernel: 3, stride: 1, amounts: (1, 1) },
            // ⌈28 / 2⌉ = 14 outputs reach (14 − 1)·2 + 3 = 29 values: one zero is missing.
            Case { input: 28, kernel: 3, stride: 2, amounts: (0, 1) },
            Case { input: 7, kernel: 3, stride: 2, amounts: (1, 1) },
            Case { input: 28, kernel: 1, stride: 1, amounts: (0, 0) },
            // A stride beyond the kernel leaves pixels unread: nothing to pad.
            Case { input: 9, kernel: 1, stride: 3, amounts: (0, 0) },
        ] {
            assert_eq!(Padding::Same.amounts(case.input, case.kernel, case.stride), case.amounts);
        }
    }

    #[test]
    fn a_layer_that_does_not_fit_is_named_with_its_position() {
        let layers = vec![LayerSpec::MaxPool { size: 14 }, conv(8)];
        let error = Architecture::new(layers).plan(GREY_28, 10).unwrap_err().to_string();
        assert!(
            error.contains("model.layers.1") && error.contains("conv 3×3") && error.contains("2×2"),
            "{error}"
        );
    }

    #[test]
    fn a_convolution_after_a_dense_layer_is_refused() {
        let layers = vec![LayerSpec::Dense { units: 8, activation: Activation::Relu }, conv(8)];
        let error = Architecture::new(layers).plan(GREY_28, 10).unwrap_err().to_string();
        assert!(error.contains("needs an image"), "{error}");
    }

    #[test]
    fn impossible_values_are_refused() {
        for (layer, wrong) in [
            (conv(0), "filters"),
            (LayerSpec::Dropout { rate: 1.0 }, "rate"),
            (LayerSpec::Dropout { rate: f64::NAN }, "rate"),
            (LayerSpec::MaxPool { size: 0 }, "size"),
            (LayerSpec::BatchNorm { momentum: 0.0, epsilon: 1e-5 }, "momentum"),
            (LayerSpec::BatchNorm { momentum: 0.1, epsilon: f64::INFINITY }, "epsilon"),
            (LayerSpec::Dense { units: usize::MAX, activation: Activation::Relu }, "units"),
        ] {
            let error = Architecture::new(vec![layer]).plan(GREY_28, 10).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
