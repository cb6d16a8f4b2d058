//! How long each layer of a network takes, forward and backward.

use std::time::Instant;

use burn::tensor::Tensor;
use serde::Serialize;

use crate::Network;
use crate::architecture::{LayerKind, LayerSpec, PlannedLayer};
use crate::layers::{Activations, Layer, Pass, Residual, sequence};
use crate::prefix::is_trained;

/// What one pass over the activations takes in a training step: a layer, or several that are computed together.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// The layers that the pass consists of; a convolution and what follows it are one.
    pub layers: Vec<TimedLayer>,
    /// Median seconds of the forward pass, for the whole batch.
    pub forward_seconds: f64,
    /// Median seconds of the backward pass, for the whole batch: gradients of weights that are not frozen, and of the
    /// input where a pass before has such.
    pub backward_seconds: f64,
    /// Multiply-adds of a step, for one image: of the forward pass, and as many for each of the two gradients of a layer, of its
    /// weights and its input, that is computed.
    pub multiply_adds: usize,
}

/// A layer that is timed, and others that are computed together with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimedLayer {
    /// `conv1 + pool1`
    pub name: String,
    /// What they do.
    pub what: String,
}

impl TimedLayer {
    /// Of the layers of a pass.
    fn all(planned: &[PlannedLayer]) -> Vec<Self> {
        let mut all: Vec<TimedLayer> = Vec::new();
        for layer in planned {
            let (name, what) = (&layer.name, layer.kind.to_string());
            let is_convolution =
                matches!(layer.kind, LayerKind::Layer(LayerSpec::Conv(_) | LayerSpec::DepthwiseConv(_)));
            match all.last_mut() {
                Some(last) if !is_convolution => {
                    last.name += &format!(" + {name}");
                    last.what += &format!(" + {what}");
                }
                _ => all.push(TimedLayer { name: name.clone(), what }),
            }
        }
        all
    }
}

impl Network {
    /// Times every pass of a training step on a batch of normalized images `[N, H, W, C]`, on a device with automatic
    /// differentiation. Each is run by itself `repetitions` times, after one that does not count.
    pub fn timings(&self, images: Tensor<4>, repetitions: usize) -> Vec<Timing> {
        let mut clock = Clock { repetitions, timings: Vec::new(), is_trained_before: false };
        clock.sequence(&self.layers.layers, &self.plan, Activations::Image(images));
        clock.timings
    }
}

/// Counts steps of no run: masks are drawn all the same.
const PASS: Pass = Pass::Training { seed: 0, step: 0 };

struct Clock {
    repetitions: usize,
    timings: Vec<Timing>,
    /// Whether training changes weights of a pass that was timed, so that the next need a gradient of their input.
    is_trained_before: bool,
}

impl Clock {
    /// Times the passes of layers, and gives what comes out.
    fn sequence(&mut self, layers: &[Layer], plan: &[PlannedLayer], input: Activations) -> Activations {
        let mut x = input;
        for pass in sequence::passes(layers, PASS) {
            let start = pass.start;
            x = match (&layers[start], &plan[start].kind) {
                (Layer::Sequence(inner), LayerKind::Sequence(plan)) => self.sequence(&inner.layers, plan, x),
                (Layer::Residual(inner), LayerKind::Residual { .. }) => self.residual(inner, &plan[start], x),
                _ => {
                    let layers = &layers[pass.clone()];
                    self.pass(&plan[pass], layers, x, |x| sequence::forward(layers, x, PASS))
                }
            };
        }
        x
    }

    /// The branches, and then the sum, with the body's last layers where they take the sum in.
    fn residual(&mut self, residual: &Residual, planned: &PlannedLayer, x: Activations) -> Activations {
        let LayerKind::Residual { body, shortcut, activation, drop_rate } = &planned.kind else {
            unreachable!("a residual layer is planned as one")
        };
        let beside = self.sequence(&residual.shortcut.layers, shortcut, x.clone());
        let before = residual.before_sum(PASS);
        let (body, rest) = body.split_at(before.len());
        let branch = self.sequence(before, body, x);
        // Its branches are counted: what is left of it is the sum.
        let (body, shortcut) = (Vec::new(), Vec::new());
        let kind = LayerKind::Residual { body, shortcut, activation: *activation, drop_rate: *drop_rate };
        let sum = PlannedLayer { kind, ..planned.clone() };
        let names = [rest, &[sum]].concat();
        let layers = &residual.body.layers[before.len()..];
        self.pass(&names, layers, branch, |branch| residual.join(branch, beside.clone().detach(), PASS))
    }

    /// Times one pass.
    fn pass(
        &mut self,
        planned: &[PlannedLayer],
        layers: &[Layer],
        x: Activations,
        forward: impl Fn(Activations) -> Activations,
    ) -> Activations {
        let x = x.detach();
        let needs_gradient = self.is_trained_before;
        let is_trained = layers.iter().any(is_trained);
        let (mut forwards, mut backwards) = (Vec::new(), Vec::new());
        for repetition in 0..=self.repetitions {
            let input = if needs_gradient { x.clone().require_grad() } else { x.clone() };
            let start = Instant::now();
            let y = forward(input);
            let forward_seconds = start.elapsed().as_secs_f64();
            let mut backward_seconds = 0.0;
            if is_trained || needs_gradient {
                backward_seconds = y.seconds_of_backward();
            }
            if repetition > 0 {
                forwards.push(forward_seconds);
                backwards.push(backward_seconds);
            }
        }
        self.is_trained_before |= is_trained;
        self.timings.push(Timing {
            layers: TimedLayer::all(planned),
            forward_seconds: median(forwards),
            backward_seconds: median(backwards),
            multiply_adds: multiply_adds(planned, is_trained, needs_gradient),
        });
        forward(x)
    }
}

/// Of a step, for one image. Where a pass is trained, the gradient reaches the input of each of its layers but the first.
fn multiply_adds(planned: &[PlannedLayer], is_trained: bool, needs_gradient: bool) -> usize {
    let products = planned.iter().map(PlannedLayer::multiply_adds).filter(|&products| products > 0);
    let times = |at| 1 + usize::from(is_trained) + usize::from(needs_gradient || (is_trained && at > 0));
    products.enumerate().map(|(at, products)| times(at) * products).sum()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Activation, Architecture, BatchNormSpec, ConvSpec, PoolSpec};
    use crate::{Device, Shape};

    #[test]
    fn each_pass_is_timed_once_and_all_arithmetic_counted() {
        let layers = vec![
            LayerSpec::Conv(ConvSpec::new(4, 3)),
            LayerSpec::MaxPool(PoolSpec::new(2)),
            LayerSpec::BasicBlock { filters: 8, stride: 2, shortcut: Default::default(), drop_rate: 0.0 },
        ];
        let (device, shape) =
            (Device::flex().autodiff(), Shape::Image { height: 12, width: 12, channels: 1 });
        let network = Network::new(&Architecture::new(layers), shape, 3, 1, &device).unwrap();
        let timings = network.timings(Tensor::ones([5, 12, 12, 1], &device), 2);
        let names: Vec<Vec<&str>> = timings
            .iter()
            .map(|timing| timing.layers.iter().map(|layer| layer.name.as_str()).collect())
            .collect();
        assert_eq!(
            names,
            [
                vec!["conv1 + pool1"],
                vec!["block1.shortcut.conv1 + block1.shortcut.bn1"],
                vec!["block1.conv1 + block1.bn1", "block1.conv2 + block1.bn2 + block1"],
                vec!["flatten"],
                vec!["fc1"],
            ]
        );
        assert!(timings.iter().all(|timing| timing.forward_seconds > 0.0 && timing.backward_seconds > 0.0));
        // Of the forward pass 10·10·4·9, 3·3·8·4, 3·3·8·(36 + 72) and 3·72. Nobody asks for the gradient of the images; the
        // flattened values have no weights.
        let counted =
            |timings: &[Timing]| timings.iter().map(|timing| timing.multiply_adds).collect::<Vec<_>>();
        assert_eq!(counted(&timings), [2 * 3600, 3 * 288, 3 * (2592 + 5184), 0, 3 * 216]);
        let frozen = network.clone().freeze(|name| name.starts_with("conv1") || name.starts_with("block1"));
        let frozen = frozen.timings(Tensor::ones([5, 12, 12, 1], &device), 2);
        assert_eq!(counted(&frozen), [3600, 288, 2592, 5184, 0, 2 * 216]);
        // The first convolutions of a network as one pass: only the second one's input has a gradient.
        let bare = |filters| {
            [
                LayerSpec::Conv(ConvSpec::bare(filters, 3, 1)),
                LayerSpec::BatchNorm(BatchNormSpec::new(Activation::Relu)),
            ]
        };
        let layers = [bare(2), bare(4)].concat();
        let network = Network::new(&Architecture::new(layers), shape, 3, 1, &device).unwrap();
        let timings = network.timings(Tensor::ones([5, 12, 12, 1], &device), 1);
        assert_eq!(counted(&timings)[0], 12 * 12 * (2 * 2 * 9 + 3 * 4 * 18));
    }
}
