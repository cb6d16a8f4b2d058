//! An architecture on images of a certain shape: names, shapes, parameter counts.

use super::{Activation, Architecture, ConvSpec, LayerSpec, Padding, PoolSpec};
use crate::{Error, Result, Shape};

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

/// What a planned layer does: blocks are resolved into what they consist of.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerKind {
    /// A layer as the recipe states it; no block.
    Layer(LayerSpec),
    /// From `[H, W, C]` to `[H·W·C]`.
    Flatten,
    /// One after the other.
    Sequence(Vec<PlannedLayer>),
    /// `activation(body(x) + shortcut(x))`
    Residual {
        /// The branch with the weights.
        body: Vec<PlannedLayer>,
        /// Nothing is the input itself.
        shortcut: Vec<PlannedLayer>,
        /// Of the sum.
        activation: Activation,
        /// Probability that the body of an image is left out in training.
        drop_rate: f64,
    },
}

/// The name of the first published network in an architecture, such as MobileNetV2: `base1.conv1.weight`.
pub const BASE: &str = "base1";

/// More than enough for an image classifier, and small enough that no sum or product below overflows.
const MAX_EXTENT: usize = 1 << 14;

/// Values that one layer gives for one image: 256 MB of them.
const MAX_ACTIVATIONS: usize = 1 << 26;

/// Of one layer.
const MAX_PARAMETERS: usize = 1 << 31;

/// Blocks inside blocks.
const MAX_DEPTH: usize = 8;

impl Architecture {
    /// Checks every layer against the shape that reaches it and appends the classifier.
    ///
    /// # Errors
    /// [`Error::Architecture`] names the first layer that cannot be built and why.
    pub fn plan(&self, input: Shape, classes: usize) -> Result<Vec<PlannedLayer>> {
        if classes < 2 {
            return Err(Error::Classes(classes));
        }
        let classifier = LayerSpec::Dense { units: classes, activation: Activation::None };
        let mut planner =
            Planner { names: Names::default(), prefix: String::new(), shape: input, planned: Vec::new() };
        for (position, spec) in self.layers.iter().enumerate() {
            planner.add(spec, &format!("model.layers.{position}"), 0)?;
        }
        if let Shape::Tokens { .. } = planner.shape {
            return Err(Error::Architecture {
                key: "the last layer".into(),
                layer: classifier.to_string(),
                reason: "it needs features, but tokens reach it; end with \"class-token\" or \"global-average-pool\""
                    .into(),
            });
        }
        planner.add(&classifier, "the last layer", 0)?;
        Ok(planner.planned)
    }
}

/// Plans the layers of a network, or of one branch of a block.
struct Planner {
    names: Names,
    /// Of the block that this is a branch of.
    prefix: String,
    /// What reaches the next layer.
    shape: Shape,
    planned: Vec<PlannedLayer>,
}

impl Planner {
    fn add(&mut self, spec: &LayerSpec, key: &str, depth: usize) -> Result<()> {
        let refuse =
            |reason: String| Error::Architecture { key: key.into(), layer: spec.to_string(), reason };
        if let (Shape::Image { .. }, LayerSpec::Dense { .. }) = (self.shape, spec) {
            let output = Shape::Features(self.shape.len());
            self.push(format!("{}flatten", self.prefix), LayerKind::Flatten, output);
        }
        spec.check().map_err(refuse)?;
        let name = format!("{}{}", self.prefix, self.names.next(spec));
        match spec.expand(self.shape.channels()).as_ref().unwrap_or(spec) {
            _ if depth > MAX_DEPTH => Err(refuse("blocks are nested too deep".into())),
            LayerSpec::Sequence { layers } => {
                let (layers, output) =
                    self.branch(layers, &format!("{name}."), &format!("{key}.layers"), depth)?;
                self.push(name, LayerKind::Sequence(layers), output);
                Ok(())
            }
            LayerSpec::Residual { body, shortcut, activation, drop_rate } => {
                let prefix = format!("{name}.");
                let (body, output) = self.branch(body, &prefix, &format!("{key}.body"), depth)?;
                let prefix = format!("{name}.shortcut.");
                let (shortcut, beside) = self.branch(shortcut, &prefix, &format!("{key}.shortcut"), depth)?;
                if output != beside {
                    return Err(refuse(format!(
                        "its body gives {output}, but its shortcut {beside}; the shortcut must end in the same shape, \
                         such as by a 1×1 convolution with the body's stride and filters"
                    )));
                }
                let (activation, drop_rate) = (*activation, *drop_rate);
                self.push(name, LayerKind::Residual { body, shortcut, activation, drop_rate }, output);
                Ok(())
            }
            _ => {
                let output =
                    spec.output(self.shape, self.planned.is_empty() && depth == 0).map_err(refuse)?;
                if output.len() > MAX_ACTIVATIONS {
                    return Err(refuse(format!(
                        "it would give {} values an image; {MAX_ACTIVATIONS} is the most",
                        output.len()
                    )));
                }
                self.push(name, LayerKind::Layer(spec.clone()), output);
                let parameters = self.planned.last().map_or(0, PlannedLayer::trainable);
                if parameters > MAX_PARAMETERS {
                    return Err(refuse(format!(
                        "it would have {parameters} weights; {MAX_PARAMETERS} is the most"
                    )));
                }
                Ok(())
            }
        }
    }

    /// The layers of a branch that starts from what reaches the next layer, and the shape that it ends in.
    fn branch(
        &self,
        specs: &[LayerSpec],
        prefix: &str,
        key: &str,
        depth: usize,
    ) -> Result<(Vec<PlannedLayer>, Shape)> {
        let (names, prefix) = (Names::default(), prefix.to_string());
        let mut branch = Planner { names, prefix, shape: self.shape, planned: Vec::new() };
        for (position, spec) in specs.iter().enumerate() {
            branch.add(spec, &format!("{key}.{position}"), depth + 1)?;
        }
        Ok((branch.planned, branch.shape))
    }

    fn push(&mut self, name: String, kind: LayerKind, output: Shape) {
        self.planned.push(PlannedLayer { name, kind, input: self.shape, output });
        self.shape = output;
    }
}

impl LayerSpec {
    /// Refuses values that no input could make possible.
    fn check(&self) -> std::result::Result<(), String> {
        let rate = |name: &str, rate: f64| match (0.0..1.0).contains(&rate) {
            true => Ok(()),
            false => Err(format!("{name} must be at least 0 and less than 1, not {rate}")),
        };
        let epsilon = |epsilon: f64| match epsilon > 0.0 && epsilon.is_finite() {
            true => Ok(()),
            false => Err(format!("epsilon must be above 0, not {epsilon}")),
        };
        match *self {
            LayerSpec::Conv(conv) => conv.check(),
            LayerSpec::DepthwiseConv(conv) => conv.of_channels(1).check(),
            LayerSpec::MaxPool(pool) | LayerSpec::AveragePool(pool) => {
                extent("size", pool.size)?;
                extent("stride", pool.step())?;
                match pool.padding < pool.size {
                    true => Ok(()),
                    false => Err(format!("padding must be less than the size of {}", pool.size)),
                }
            }
            LayerSpec::Dense { units, .. } | LayerSpec::SqueezeExcite { units, .. } => extent("units", units),
            LayerSpec::Dropout { rate: value } => rate("rate", value),
            LayerSpec::BatchNorm(norm) if !(norm.momentum > 0.0 && norm.momentum <= 1.0) => {
                Err(format!("momentum must be above 0 and at most 1, not {}", norm.momentum))
            }
            LayerSpec::BatchNorm(norm) => epsilon(norm.epsilon),
            LayerSpec::LayerNorm { epsilon: value } => epsilon(value),
            LayerSpec::Attention { heads } => extent("heads", heads),
            LayerSpec::Resize { size, .. } => extent("size", size),
            LayerSpec::PadShortcut { filters, stride } => {
                extent("filters", filters)?;
                extent("stride", stride)
            }
            LayerSpec::Residual { drop_rate, .. } => rate("drop-rate", drop_rate),
            LayerSpec::BasicBlock { filters, stride, drop_rate, .. } => {
                extent("filters", filters)?;
                extent("stride", stride)?;
                rate("drop-rate", drop_rate)
            }
            LayerSpec::InvertedResidual { filters, expand, kernel, stride, squeeze, drop_rate, .. } => {
                extent("filters", filters)?;
                extent("expand", expand)?;
                extent("kernel", kernel)?;
                extent("stride", stride)?;
                squeeze.map_or(Ok(()), |squeeze| extent("squeeze", squeeze))?;
                rate("drop-rate", drop_rate)
            }
            LayerSpec::TransformerBlock { heads, units, dropout, drop_rate } => {
                extent("heads", heads)?;
                extent("units", units)?;
                rate("dropout", dropout)?;
                rate("drop-rate", drop_rate)
            }
            LayerSpec::Activation { .. }
            | LayerSpec::GlobalAveragePool {}
            | LayerSpec::Tokens { .. }
            | LayerSpec::ClassToken {}
            | LayerSpec::MobilenetV2 {}
            | LayerSpec::Resnet18 {}
            | LayerSpec::Sequence { .. } => Ok(()),
        }
    }

    /// The shape that a layer gives; `is_first` if it gets the image itself.
    fn output(&self, input: Shape, is_first: bool) -> std::result::Result<Shape, String> {
        use Shape::{Features, Image, Tokens};
        match (self, input) {
            (LayerSpec::Conv(conv), Image { height, width, channels }) => {
                conv.output(height, width, channels)
            }
            (LayerSpec::DepthwiseConv(conv), Image { height, width, channels }) => {
                conv.of_channels(channels).output(height, width, channels)
            }
            (LayerSpec::MaxPool(pool) | LayerSpec::AveragePool(pool), Image { height, width, channels }) => {
                pool.output(height, width, channels)
            }
            (LayerSpec::GlobalAveragePool {}, Image { channels, .. }) => Ok(Features(channels)),
            (LayerSpec::GlobalAveragePool {}, Tokens { width, .. }) => Ok(Features(width)),
            (LayerSpec::Dense { units, .. }, Tokens { tokens, .. }) => Ok(Tokens { tokens, width: *units }),
            (LayerSpec::Dense { units, .. }, _) => Ok(Features(*units)),
            (LayerSpec::SqueezeExcite { .. }, Image { .. }) => Ok(input),
            (LayerSpec::Tokens { class_token }, Image { height, width, channels }) => {
                Ok(Tokens { tokens: height * width + usize::from(*class_token), width: channels })
            }
            (LayerSpec::ClassToken {}, Tokens { width, .. }) => Ok(Features(width)),
            (LayerSpec::Attention { heads }, Tokens { width, .. }) => match width.is_multiple_of(*heads) {
                true => Ok(input),
                false => Err(format!("{heads} heads do not divide a width of {width}")),
            },
            (&LayerSpec::Resize { size, only_smaller }, Image { height, width, channels }) if is_first => {
                match only_smaller && height >= size && width >= size {
                    true => Ok(input),
                    false => Ok(Image { height: size, width: size, channels }),
                }
            }
            (LayerSpec::Resize { .. }, _) => Err("it can only be the first layer".into()),
            (&LayerSpec::PadShortcut { filters, stride }, Image { height, width, channels }) => {
                match filters >= channels {
                    true => Ok(Image {
                        height: height.div_ceil(stride),
                        width: width.div_ceil(stride),
                        channels: filters,
                    }),
                    false => Err(format!("it cannot take away channels: {channels} reach it")),
                }
            }
            (LayerSpec::BatchNorm(_), Image { .. } | Features(_)) => Ok(input),
            (LayerSpec::LayerNorm { .. } | LayerSpec::Activation { .. } | LayerSpec::Dropout { .. }, _) => {
                Ok(input)
            }
            (LayerSpec::ClassToken {} | LayerSpec::Attention { .. }, _) => {
                Err(format!("it needs tokens, but {input} reaches it; put \"tokens\" before it"))
            }
            (_, Features(n)) => Err(format!(
                "it needs an image, but {n} features reach it; put it before the first dense layer"
            )),
            (_, Tokens { .. }) => Err(format!("it does not take tokens, but {input} reaches it")),
            (LayerSpec::Sequence { .. } | LayerSpec::Residual { .. }, _)
            | (LayerSpec::BasicBlock { .. } | LayerSpec::InvertedResidual { .. }, _)
            | (LayerSpec::TransformerBlock { .. } | LayerSpec::MobilenetV2 {} | LayerSpec::Resnet18 {}, _) => {
                unreachable!("blocks are resolved before")
            }
        }
    }
}

fn extent(name: &str, value: usize) -> std::result::Result<(), String> {
    match value {
        1..=MAX_EXTENT => Ok(()),
        _ => Err(format!("{name} must be between 1 and {MAX_EXTENT}, not {value}")),
    }
}

impl ConvSpec {
    fn check(&self) -> std::result::Result<(), String> {
        extent("filters", self.filters)?;
        extent("kernel", self.kernel)?;
        extent("stride", self.stride)?;
        extent("groups", self.groups)?;
        match self.padding {
            Padding::Zeros(zeros) if zeros >= self.kernel => {
                Err(format!("padding must be less than the kernel of {}", self.kernel))
            }
            _ => Ok(()),
        }
    }

    fn output(&self, height: usize, width: usize, channels: usize) -> std::result::Result<Shape, String> {
        let &ConvSpec { filters, kernel, stride, padding, groups, .. } = self;
        if !channels.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
            return Err(format!(
                "{groups} groups do not divide its {channels} channels and {filters} filters"
            ));
        }
        let extent = |input: usize| {
            let (before, after) = padding.amounts(input, kernel, stride);
            match (input + before + after).checked_sub(kernel) {
                Some(room) => Ok(room / stride + 1),
                None => Err(format!(
                    "its {kernel}×{kernel} kernel does not fit the {height}×{width} that reaches it; \
                     use padding = \"same\", a smaller kernel, or fewer pools before it"
                )),
            }
        };
        Ok(Shape::Image { height: extent(height)?, width: extent(width)?, channels: filters })
    }
}

impl PoolSpec {
    fn output(&self, height: usize, width: usize, channels: usize) -> std::result::Result<Shape, String> {
        let extent = |input: usize| match (input + 2 * self.padding).checked_sub(self.size) {
            Some(room) => Ok(room / self.step() + 1),
            None => Err(format!("its window does not fit the {height}×{width} that reaches it")),
        };
        Ok(Shape::Image { height: extent(height)?, width: extent(width)?, channels })
    }
}

impl PlannedLayer {
    /// What it consists of, itself if it is no block; branches in the order in which they are computed.
    pub fn leaves(&self) -> Vec<&PlannedLayer> {
        match &self.kind {
            LayerKind::Layer(_) | LayerKind::Flatten => vec![self],
            LayerKind::Sequence(layers) => layers.iter().flat_map(PlannedLayer::leaves).collect(),
            LayerKind::Residual { body, shortcut, .. } => {
                body.iter().chain(shortcut).flat_map(PlannedLayer::leaves).collect()
            }
        }
    }

    /// Weights that training changes.
    pub fn trainable(&self) -> usize {
        let of_conv = |conv: ConvSpec| {
            let inputs = self.input.channels() / conv.groups;
            conv.filters * (conv.kernel * conv.kernel * inputs + usize::from(conv.bias))
        };
        let width = self.input.channels();
        match &self.kind {
            LayerKind::Layer(LayerSpec::Conv(conv)) => of_conv(*conv),
            LayerKind::Layer(LayerSpec::DepthwiseConv(conv)) => of_conv(conv.of_channels(width)),
            LayerKind::Layer(LayerSpec::Dense { units, .. }) => units * (self.dense_inputs() + 1),
            LayerKind::Layer(LayerSpec::BatchNorm(_) | LayerSpec::LayerNorm { .. }) => 2 * width,
            LayerKind::Layer(LayerSpec::SqueezeExcite { units, .. }) => {
                units * (width + 1) + width * (units + 1)
            }
            LayerKind::Layer(LayerSpec::Tokens { class_token }) => {
                self.output.len() + if *class_token { width } else { 0 }
            }
            LayerKind::Layer(LayerSpec::Attention { .. }) => 4 * width * (width + 1),
            LayerKind::Layer(_) | LayerKind::Flatten => 0,
            LayerKind::Sequence(_) | LayerKind::Residual { .. } => {
                self.leaves().into_iter().map(PlannedLayer::trainable).sum()
            }
        }
    }

    /// Multiply-adds of a forward pass over one image, in convolutions, dense layers and attention.
    pub fn multiply_adds(&self) -> usize {
        let width = self.input.channels();
        match &self.kind {
            LayerKind::Layer(LayerSpec::Conv(conv)) => {
                self.output.len() * conv.kernel * conv.kernel * (width / conv.groups)
            }
            LayerKind::Layer(LayerSpec::DepthwiseConv(conv)) => self.output.len() * conv.kernel * conv.kernel,
            LayerKind::Layer(LayerSpec::Dense { .. }) => self.output.len() * self.dense_inputs(),
            LayerKind::Layer(LayerSpec::SqueezeExcite { units, .. }) => 2 * units * width,
            LayerKind::Layer(LayerSpec::Attention { .. }) => {
                let tokens = self.input.len() / width;
                4 * tokens * width * width + 2 * tokens * tokens * width
            }
            LayerKind::Layer(_) | LayerKind::Flatten => 0,
            LayerKind::Sequence(_) | LayerKind::Residual { .. } => {
                self.leaves().into_iter().map(PlannedLayer::multiply_adds).sum()
            }
        }
    }

    /// Running means and variances.
    pub fn statistics(&self) -> usize {
        let of_leaf = |leaf: &PlannedLayer| match leaf.kind {
            LayerKind::Layer(LayerSpec::BatchNorm(_)) => 2 * leaf.input.channels(),
            _ => 0,
        };
        self.leaves().into_iter().map(of_leaf).sum()
    }

    /// Features that a dense layer gets: of each token, or of the whole image.
    fn dense_inputs(&self) -> usize {
        match self.input {
            Shape::Tokens { width, .. } => width,
            other => other.len(),
        }
    }
}

/// Counts layers of each kind, to number their names from 1.
#[derive(Default)]
struct Names(std::collections::HashMap<&'static str, usize>);

impl Names {
    fn next(&mut self, spec: &LayerSpec) -> String {
        let prefix = match spec {
            LayerSpec::Conv(_) | LayerSpec::DepthwiseConv(_) => "conv",
            LayerSpec::BatchNorm(_) => "bn",
            LayerSpec::LayerNorm { .. } => "ln",
            LayerSpec::Activation { .. } => "activation",
            LayerSpec::MaxPool(_) | LayerSpec::AveragePool(_) | LayerSpec::GlobalAveragePool {} => "pool",
            LayerSpec::Dense { .. } => "fc",
            LayerSpec::Dropout { .. } => "dropout",
            LayerSpec::SqueezeExcite { .. } => "se",
            LayerSpec::Tokens { .. } => "tokens",
            LayerSpec::ClassToken {} => "class_token",
            LayerSpec::Attention { .. } => "attention",
            LayerSpec::Resize { .. } => "resize",
            LayerSpec::PadShortcut { .. } => "pad",
            LayerSpec::Sequence { .. }
            | LayerSpec::Residual { .. }
            | LayerSpec::BasicBlock { .. }
            | LayerSpec::InvertedResidual { .. }
            | LayerSpec::TransformerBlock { .. } => "block",
            LayerSpec::MobilenetV2 {} | LayerSpec::Resnet18 {} => "base",
        };
        let count = self.0.entry(prefix).or_insert(0);
        *count += 1;
        format!("{prefix}{count}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::BatchNormSpec;

    const GREY_28: Shape = Shape::Image { height: 28, width: 28, channels: 1 };

    fn conv(filters: usize) -> LayerSpec {
        LayerSpec::Conv(ConvSpec::new(filters, 3))
    }

    #[test]
    fn shapes_follow_through_convolutions_and_pools() {
        let layers = vec![
            conv(32),
            LayerSpec::MaxPool(PoolSpec::new(2)),
            conv(64),
            LayerSpec::MaxPool(PoolSpec::new(2)),
        ];
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
        let layers = vec![LayerSpec::MaxPool(PoolSpec::new(14)), conv(8)];
        let error = Architecture::new(layers).plan(GREY_28, 10).unwrap_err().to_string();
        assert!(
            error.contains("model.layers.1") && error.contains("conv 3×3") && error.contains("2×2"),
            "{error}"
        );
    }

    #[test]
    fn branches_that_end_in_other_shapes_and_layers_inside_them_are_named() {
        let block = |body: Vec<LayerSpec>| LayerSpec::Residual {
            body,
            shortcut: Vec::new(),
            activation: Activation::Relu,
            drop_rate: 0.0,
        };
        let layers = vec![conv(8), block(vec![conv(8)])];
        let error = Architecture::new(layers).plan(GREY_28, 10).unwrap_err().to_string();
        assert!(
            error.contains("model.layers.1") && error.contains("24×24×8") && error.contains("26×26×8"),
            "{error}"
        );
        let layers = vec![block(vec![block(vec![LayerSpec::ClassToken {}])])];
        let error = Architecture::new(layers).plan(GREY_28, 10).unwrap_err().to_string();
        assert!(error.contains("model.layers.0.body.0.body.0") && error.contains("needs tokens"), "{error}");
    }

    #[test]
    fn endless_nesting_is_refused() {
        let nested = (0..20).fold(conv(1), |inside, _| LayerSpec::Sequence { layers: vec![inside] });
        let error = Architecture::new(vec![nested]).plan(GREY_28, 10).unwrap_err().to_string();
        assert!(error.contains("too deep"), "{error}");
    }

    #[test]
    fn a_block_is_named_once_and_its_layers_within_it() {
        let block =
            LayerSpec::BasicBlock { filters: 4, stride: 2, shortcut: Default::default(), drop_rate: 0.0 };
        let plan = Architecture::new(vec![conv(2), block]).plan(GREY_28, 10).unwrap();
        let names: Vec<&str> =
            plan.iter().flat_map(PlannedLayer::leaves).map(|leaf| leaf.name.as_str()).collect();
        let block = ["conv1", "bn1", "conv2", "bn2", "shortcut.conv1", "shortcut.bn1"]
            .map(|name| format!("block1.{name}"));
        assert_eq!(names[1..7], block);
    }

    #[test]
    fn a_convolution_after_a_dense_layer_is_refused() {
        let layers = vec![LayerSpec::Dense { units: 8, activation: Activation::Relu }, conv(8)];
        let error = Architecture::new(layers).plan(GREY_28, 10).unwrap_err().to_string();
        assert!(error.contains("needs an image"), "{error}");
    }

    #[test]
    fn impossible_values_are_refused() {
        let norm = |momentum, epsilon| {
            LayerSpec::BatchNorm(BatchNormSpec { momentum, epsilon, activation: Activation::None })
        };
        for (layer, wrong) in [
            (conv(0), "filters"),
            (LayerSpec::Dropout { rate: 1.0 }, "rate"),
            (LayerSpec::Dropout { rate: f64::NAN }, "rate"),
            (LayerSpec::MaxPool(PoolSpec::new(0)), "size"),
            (norm(0.0, 1e-5), "momentum"),
            (norm(0.1, f64::INFINITY), "epsilon"),
            (LayerSpec::Dense { units: usize::MAX, activation: Activation::Relu }, "units"),
        ] {
            let error = Architecture::new(vec![layer]).plan(GREY_28, 10).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
