//! How long each layer of a network takes, forward and backward.

use std::time::Instant;

use burn::tensor::Tensor;

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
    /// Multiply-adds of a forward pass over one image; the gradient of the weights takes as many, and that of the input.
    pub multiply_adds: usize,
    /// How often they are done in a step: once, and once for each of the two gradients that is wanted.
    pub products: usize,
}

/// A layer that is timed, and others that are computed together with it.
#[derive(Clone, Debug, PartialEq)]
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
            multiply_adds: planned.iter().map(PlannedLayer::multiply_adds).sum(),
            products: 1 + usize::from(is_trained) + usize::from(needs_gradient),
        });
        forward(x)
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, ConvSpec, PoolSpec};
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
        // Nobody asks for the gradient of the images; the flattened values have no weights.
        assert_eq!(timings.iter().map(|timing| timing.products).collect::<Vec<_>>(), [2, 3, 3, 2, 3]);
        let frozen = network.clone().freeze(|name| name.starts_with("conv1") || name.starts_with("block1"));
        let frozen = frozen.timings(Tensor::ones([5, 12, 12, 1], &device), 2);
        assert_eq!(frozen.iter().map(|timing| timing.products).collect::<Vec<_>>(), [1, 1, 1, 1, 1, 2]);
        let counted: usize = timings.iter().map(|timing| timing.multiply_adds).sum();
        assert_eq!(counted, network.plan.iter().map(PlannedLayer::multiply_adds).sum::<usize>());
    }
}
