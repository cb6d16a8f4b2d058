//! A network for inference only: weights packed once, batch norm folded in, no automatic differentiation.

use burn::module::Module;
use burn::tensor::Device;
use tailor_kernels::activation::Activation as KernelActivation;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::conv::{ConvBlock, ConvChain, PackedFilter};
use tailor_kernels::dense::{Dense as DenseKernel, PackedDense};
use tailor_kernels::norm::{fold, scale_shift};
use tailor_kernels::pool::Pool as PoolKernel;
use tailor_kernels::residual::Residual as ResidualKernel;
use tailor_kernels::team;

use crate::architecture::{Activation, LayerKind, PlannedLayer};
use crate::layers::{Activations, BatchNorm, Conv, Dense, Fused, Layer, Pass, Pool, host_values, sequence};
use crate::ops::on_kernels;
use crate::{Network, Shape};

/// From normalized pixels to logits. It keeps the weights that the network had when it was made.
#[derive(Debug)]
pub struct Predictor {
    engine: Engine,
    /// Values of one image.
    image: usize,
    /// Images that go through together at most.
    together: usize,
}

/// Layers that follow each other in a network.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub layers: &'a [Layer],
    pub plan: &'a [PlannedLayer],
}

impl Part<'_> {
    /// Values of one image that it gets.
    fn image(self) -> usize {
        self.plan[0].input.len()
    }

    /// Images whose largest layer has so many values together: one at least.
    fn together(self, values: usize) -> usize {
        let leaves = self.plan.iter().flat_map(PlannedLayer::leaves);
        let largest = leaves.map(|layer| layer.input.len().max(layer.output.len())).max();
        (values / largest.unwrap_or(1)).max(1)
    }
}

/// Values of the largest layer of the images that go through our kernels together: 16 MB, so that what one layer writes is
/// mostly in the last-level cache when the next one reads it, and weights are read for some images at a time.
const CACHED_VALUES: usize = 1 << 22;

/// The same on other devices: 256 MB, so that memory stays bounded for any network.
const MAX_VALUES: usize = 1 << 26;

#[derive(Debug)]
enum Engine {
    /// Our kernels, step by step.
    Kernels(Vec<Step>),
    /// Burn's operations, on whatever device.
    Burn(Network),
}

/// One pass over the activations.
#[derive(Debug)]
enum Step {
    /// Convolution, activation, batch norm and pool; the block is that of one image.
    Conv { block: ConvBlock, filter: PackedFilter },
    /// A depthwise convolution and those before and behind it.
    Chain(ConvChain),
    /// The layer is that of one image; of tokens, each is a row.
    Dense { layer: DenseKernel, weights: PackedDense },
    /// Scale and shift `[C]`, then the activation.
    Affine { scale: Vec<f32>, shift: Vec<f32>, activation: KernelActivation },
    /// The shape is that of one image.
    Pool { shape: [usize; 4], pool: PoolKernel },
    /// Elementwise.
    Activation(KernelActivation),
    /// `activation(body(x) + shortcut(x))`
    Residual { body: Vec<Step>, shortcut: Vec<Step>, activation: KernelActivation },
    /// Any other layer, on Burn's tensors.
    Layer { layer: Layer, input: Shape },
}

impl Predictor {
    pub(crate) fn new(network: &Network) -> Self {
        let network = network.valid();
        let whole = Part { layers: &network.layers.layers, plan: &network.plan };
        match on_kernels(&network.device()) {
            true => Self::of_parts(&[whole]),
            false => Predictor {
                image: whole.image(),
                together: whole.together(MAX_VALUES),
                engine: Engine::Burn(network),
            },
        }
    }

    /// Of parts of a network that follow each other, without automatic differentiation, on our kernels. Its logits are
    /// what the last part gives.
    pub(crate) fn of_parts(parts: &[Part]) -> Self {
        let parts: Vec<&Part> = parts.iter().filter(|part| !part.plan.is_empty()).collect();
        Predictor {
            engine: Engine::Kernels(parts.iter().flat_map(|part| steps(part.layers, part.plan)).collect()),
            image: parts[0].image(),
            together: parts.iter().map(|part| part.together(CACHED_VALUES)).min().expect("there is a part"),
        }
    }

    /// Logits `[N, K]` of normalized pixels `[N, H, W, C]`.
    ///
    /// # Panics
    /// If the pixels are not whole images of the network's shape.
    pub fn logits(&self, pixels: &[f32]) -> Vec<f32> {
        self.run(pixels)
    }

    /// What the last layer gets, `[N, F]`, of normalized pixels `[N, H, W, C]`: the network's own description of images.
    ///
    /// # Panics
    /// If the pixels are not whole images of the network's shape.
    pub fn features(&self, pixels: &[f32]) -> Vec<f32> {
        match &self.engine {
            Engine::Kernels(steps) => self.through(&steps[..steps.len() - 1], pixels),
            Engine::Burn(network) => self.on_burn(pixels, |images| {
                let images = Activations::Image(network.images(images.to_vec(), &network.device()));
                let before_last = &network.layers.layers[..network.layers.layers.len() - 1];
                sequence::forward(before_last, images, Pass::Inference).into_values()
            }),
        }
    }

    /// What comes out of the last layer, one image after the other.
    pub(crate) fn run(&self, pixels: &[f32]) -> Vec<f32> {
        match &self.engine {
            Engine::Kernels(steps) => self.through(steps, pixels),
            Engine::Burn(network) => self.on_burn(pixels, |images| {
                let images = network.images(images.to_vec(), &network.device());
                host_values(network.forward(images, Pass::Inference))
            }),
        }
    }

    fn on_burn(&self, pixels: &[f32], forward: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
        self.check(pixels);
        pixels.chunks(self.together * self.image).flat_map(forward).collect()
    }

    /// A few images at a time go through all steps: what one step writes is in the cache when the next one reads it.
    fn through(&self, steps: &[Step], pixels: &[f32]) -> Vec<f32> {
        self.check(pixels);
        let forward = |pixels: &[f32]| match run(steps, pixels, pixels.len() / self.image) {
            Some(y) => y.to_vec(),
            None => pixels.to_vec(),
        };
        // As many for each thread.
        let few = self.together.next_multiple_of(team::threads());
        pixels.chunks(few * self.image).flat_map(forward).collect()
    }

    fn check(&self, pixels: &[f32]) {
        assert!(pixels.len().is_multiple_of(self.image), "pixels are whole images of {} values", self.image);
    }
}

/// Applies steps one after the other; nothing if there are none.
fn run(steps: &[Step], x: &[f32], images: usize) -> Option<AlignedBuffer> {
    // The first step reads the caller's values, each other one what the step before it wrote.
    let mut last: Option<AlignedBuffer> = None;
    for step in steps {
        let y = step.run(last.as_deref().unwrap_or(x), images);
        last = Some(y);
    }
    last
}

impl Step {
    fn run(&self, x: &[f32], images: usize) -> AlignedBuffer {
        match self {
            Step::Conv { block, filter } => {
                let mut block = *block;
                block.convolution.batch = images;
                let mut y = AlignedBuffer::new(block.output_shape().iter().product());
                block.infer(filter, x, &mut y);
                y
            }
            Step::Chain(chain) => {
                let [_, output] = chain.image_lens();
                let mut y = AlignedBuffer::new(images * output);
                chain.infer(x, &mut y);
                y
            }
            Step::Dense { layer, weights } => {
                let layer = DenseKernel { batch: images * layer.batch, ..*layer };
                let mut y = AlignedBuffer::new(layer.batch * layer.outputs);
                layer.infer(weights, x, &mut y);
                y
            }
            Step::Affine { scale, shift, activation } => {
                let mut y = AlignedBuffer::new(x.len());
                scale_shift(x, scale, shift, &mut y);
                match activation {
                    KernelActivation::Identity => y,
                    activation => Step::Activation(*activation).run(&y, images),
                }
            }
            Step::Pool { shape: [_, height, width, channels], pool } => {
                let shape = [images, *height, *width, *channels];
                let mut y = AlignedBuffer::new(pool.output_shape(shape).iter().product());
                pool.infer(shape, x, &mut y);
                y
            }
            Step::Activation(activation) => {
                let mut y = AlignedBuffer::new(x.len());
                activation.forward(x, &mut y);
                y
            }
            Step::Residual { body, shortcut, activation } => {
                let (body, shortcut) = (run(body, x, images), run(shortcut, x, images));
                let mut y = AlignedBuffer::new(body.as_deref().unwrap_or(x).len());
                ResidualKernel { activation: *activation, factors: None }.forward(
                    shortcut.as_deref().unwrap_or(x),
                    body.as_deref().unwrap_or(x),
                    &mut y,
                );
                y
            }
            Step::Layer { layer, input } => {
                let input = Activations::of(x, images, *input, &Device::flex());
                AlignedBuffer::from_slice(&layer.forward(input, Pass::Inference).into_values())
            }
        }
    }
}

/// Groups the layers into as few passes as the kernels can: a convolution takes in the batch norm and the pool that
/// follow it. Dropout and flattening are nothing in inference.
fn steps(layers: &[Layer], plan: &[PlannedLayer]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (position, fused) in sequence::fused(layers) {
        let planned = &plan[position];
        match fused {
            Fused::Conv { conv, norm, pool } => steps.extend(conv_steps(conv, norm, pool, planned)),
            Fused::Layer(Layer::Dense(dense)) => steps.push(dense_step(dense, planned)),
            Fused::Layer(Layer::BatchNorm(norm)) => {
                let [scale, shift] = norm.affine();
                steps.push(Step::Affine { scale, shift, activation: norm.activation.kernel() });
            }
            Fused::Layer(Layer::Pool(pool)) => {
                steps.push(Step::Pool { shape: image_shape(planned.input), pool: pool.kernel() });
            }
            Fused::Layer(Layer::Activation(layer)) => steps.push(Step::Activation(layer.function.kernel())),
            Fused::Layer(Layer::Flatten(_) | Layer::Dropout(_)) => {}
            Fused::Layer(layer) => match (layer, &planned.kind) {
                (Layer::Sequence(sequence), LayerKind::Sequence(plan)) => {
                    steps.extend(self::steps(&sequence.layers, plan));
                }
                (Layer::Residual(residual), LayerKind::Residual { body, shortcut, .. }) => {
                    steps.push(Step::Residual {
                        body: self::steps(&residual.body.layers, body),
                        shortcut: self::steps(&residual.shortcut.layers, shortcut),
                        activation: residual.activation.kernel(),
                    });
                }
                _ => steps.push(Step::Layer { layer: layer.clone(), input: planned.input }),
            },
        }
    }
    chained(steps)
}

/// Makes chains of depthwise convolutions with the convolution before and the one behind them: what lies between is large.
fn chained(steps: Vec<Step>) -> Vec<Step> {
    let link = |step: &Step| match step {
        Step::Conv { block, .. } if ConvChain::takes(block) => Some(block.convolution),
        _ => None,
    };
    let mut chained: Vec<Step> = Vec::with_capacity(steps.len());
    let mut rest = steps.into_iter().peekable();
    while let Some(step) = rest.next() {
        if !link(&step).is_some_and(|convolution| convolution.is_depthwise()) {
            chained.push(step);
            continue;
        }
        let before = chained.pop_if(|step| link(step).is_some());
        let behind = rest.next_if(|step| link(step).is_some());
        let links = before.into_iter().chain([step]).chain(behind).map(|step| match step {
            Step::Conv { block, filter } => (block, filter),
            other => unreachable!("links are convolutions: {other:?}"),
        });
        chained.push(Step::Chain(ConvChain::new(links.collect())));
    }
    chained
}

/// A batch norm is folded into the weights where nothing stands between, and into what follows the activation where the
/// norm has none of its own.
fn conv_steps(
    conv: &Conv,
    norm: Option<&BatchNorm>,
    pool: Option<&Pool>,
    planned: &PlannedLayer,
) -> Vec<Step> {
    let image = image_shape(planned.input);
    let [_, height, width, _] = image;
    let pool = pool.map(Pool::kernel);
    let [mut weight, mut bias] = conv.host_weights();
    let block = |activation: Activation, pool: Option<PoolKernel>| {
        let mut block = conv.block_spec(height, width, pool).block(image, conv.weight.dims());
        block.activation = activation.kernel();
        block
    };
    let packed = |block: ConvBlock, weight: &[f32], bias: &[f32], affine: Option<[&[f32]; 2]>| Step::Conv {
        filter: block.pack(weight, Some(bias), affine),
        block,
    };
    let Some(norm) = norm else {
        return vec![packed(block(conv.activation, pool), &weight, &bias, None)];
    };
    let [scale, shift] = norm.affine();
    match (conv.activation, norm.activation) {
        (Activation::None, activation) => {
            fold(&scale, &shift, &mut weight, &mut bias);
            vec![packed(block(activation, pool), &weight, &bias, None)]
        }
        (activation, Activation::None) => {
            vec![packed(block(activation, pool), &weight, &bias, Some([&scale, &shift]))]
        }
        (first, second) => {
            let conv = block(first, None);
            let shape = conv.output_shape();
            let affine = Step::Affine { scale, shift, activation: second.kernel() };
            let pool = pool.map(|pool| Step::Pool { shape, pool });
            [packed(conv, &weight, &bias, None), affine].into_iter().chain(pool).collect()
        }
    }
}

fn dense_step(dense: &Dense, planned: &PlannedLayer) -> Step {
    let [inputs, outputs] = dense.weight.dims();
    let rows = planned.input.len() / inputs;
    let layer = DenseKernel { batch: rows, inputs, outputs, activation: dense.activation.kernel() };
    let [weight, bias] = [host_values(dense.weight.val()), host_values(dense.bias.val())];
    Step::Dense { layer, weights: layer.pack(&weight, Some(&bias)) }
}

/// `[1, H, W, C]`
fn image_shape(shape: Shape) -> [usize; 4] {
    match shape {
        Shape::Image { height, width, channels } => [1, height, width, channels],
        other => [1, 1, 1, other.len()],
    }
}
