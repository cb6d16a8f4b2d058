//! A network for inference only: weights packed once, batch norm folded in, no automatic differentiation.

use burn::module::Module;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::conv::{ConvBlock, PackedFilter};
use tailor_kernels::dense::{Dense as DenseKernel, PackedDense};
use tailor_kernels::norm::scale_shift;
use tailor_kernels::pool::Pool as PoolKernel;

use crate::architecture::PlannedLayer;
use crate::layers::{Conv, Layer, Pass, host_values};
use crate::ops::on_kernels;
use crate::{Network, Shape};

/// From normalized pixels to logits. It keeps the weights that the network had when it was made.
#[derive(Debug)]
pub struct Predictor {
    engine: Engine,
    /// Values of one image.
    image: usize,
    /// Images that go through together at most, so that memory stays bounded for any network.
    together: usize,
}

/// Values of the largest layer of the images that go through together: 256 MB.
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
    Conv {
        block: ConvBlock,
        filter: PackedFilter,
    },
    Dense {
        layer: DenseKernel,
        weights: PackedDense,
    },
    Affine {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    Pool {
        shape: [usize; 4],
        pool: PoolKernel,
    },
}

impl Predictor {
    pub(crate) fn new(network: &Network) -> Self {
        let image = network.plan[0].input.len();
        let largest = network.plan.iter().map(|layer| layer.input.len().max(layer.output.len())).max();
        let together = (MAX_VALUES / largest.unwrap_or(1)).max(1);
        let network = network.valid();
        let engine = match on_kernels(&network.device()) {
            true => Engine::Kernels(steps(&network)),
            false => Engine::Burn(network),
        };
        Predictor { engine, image, together }
    }

    /// Logits `[N, K]` of normalized pixels `[N, H, W, C]`.
    ///
    /// # Panics
    /// If the pixels are not whole images of the network's shape.
    pub fn logits(&self, pixels: &[f32]) -> Vec<f32> {
        assert!(pixels.len().is_multiple_of(self.image), "pixels are whole images of {} values", self.image);
        pixels.chunks(self.together * self.image).flat_map(|pixels| self.logits_together(pixels)).collect()
    }

    fn logits_together(&self, pixels: &[f32]) -> Vec<f32> {
        let images = pixels.len() / self.image;
        match &self.engine {
            Engine::Burn(network) => {
                let images = network.images(pixels.to_vec(), &network.device());
                host_values(network.forward(images, Pass::Inference))
            }
            Engine::Kernels(steps) => {
                // The first step reads the caller's pixels, each other one what the step before it wrote.
                let mut last: Option<AlignedBuffer> = None;
                for step in steps {
                    let y = step.run(last.as_deref().unwrap_or(pixels), images);
                    last = Some(y);
                }
                last.expect("a network ends in a dense layer").to_vec()
            }
        }
    }
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
            Step::Dense { layer, weights } => {
                let layer = DenseKernel { batch: images, ..*layer };
                let mut y = AlignedBuffer::new(images * layer.outputs);
                layer.infer(weights, x, &mut y);
                y
            }
            Step::Affine { scale, shift } => {
                let mut y = AlignedBuffer::new(x.len());
                scale_shift(x, scale, shift, &mut y);
                y
            }
            Step::Pool { shape: [_, height, width, channels], pool } => {
                let shape = [images, *height, *width, *channels];
                let mut y = AlignedBuffer::new(pool.output_shape(shape).iter().product());
                pool.infer(shape, x, &mut y);
                y
            }
        }
    }
}

/// Groups the layers into as few passes as the kernels can: a convolution takes in the batch norm and the pool that
/// follow it. Dropout and flattening are nothing in inference.
fn steps(network: &Network) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut layers = network.layers.iter().zip(&network.plan).peekable();
    while let Some((layer, planned)) = layers.next() {
        match layer {
            Layer::Conv(conv) => {
                let norm = layers.next_if(|(layer, _)| matches!(layer, Layer::BatchNorm(_)));
                let pool = layers.next_if(|(layer, _)| matches!(layer, Layer::Pool(_)));
                let affine = match norm {
                    Some((Layer::BatchNorm(norm), _)) => Some(norm.affine()),
                    _ => None,
                };
                let pool = match pool {
                    Some((Layer::Pool(pool), _)) => Some(pool.kernel()),
                    _ => None,
                };
                steps.push(conv_step(conv, planned, affine, pool));
            }
            Layer::Dense(dense) => {
                let [inputs, outputs] = dense.weight.dims();
                let layer = DenseKernel { batch: 1, inputs, outputs, activation: dense.activation.kernel() };
                let [weight, bias] = [host_values(dense.weight.val()), host_values(dense.bias.val())];
                steps.push(Step::Dense { layer, weights: layer.pack(&weight, Some(&bias)) });
            }
            Layer::BatchNorm(norm) => {
                let [scale, shift] = norm.affine();
                steps.push(Step::Affine { scale, shift });
            }
            Layer::Pool(pool) => {
                steps.push(Step::Pool { shape: image_shape(planned), pool: pool.kernel() });
            }
            Layer::Flatten(_) | Layer::Dropout(_) => {}
        }
    }
    steps
}

fn conv_step(
    conv: &Conv,
    planned: &PlannedLayer,
    affine: Option<[Vec<f32>; 2]>,
    pool: Option<PoolKernel>,
) -> Step {
    let image = image_shape(planned);
    let [_, height, width, _] = image;
    let block = conv.block_spec(height, width, pool).block(image, conv.weight.dims());
    let [weight, bias] = [host_values(conv.weight.val()), host_values(conv.bias.val())];
    let affine = affine.as_ref().map(|[scale, shift]| [scale.as_slice(), shift.as_slice()]);
    Step::Conv { filter: block.pack(&weight, Some(&bias), affine), block }
}

/// `[1, H, W, C]` of what reaches the layer.
fn image_shape(planned: &PlannedLayer) -> [usize; 4] {
    match planned.input {
        Shape::Image { height, width, channels } => [1, height, width, channels],
        Shape::Features(features) => [1, 1, 1, features],
    }
}
