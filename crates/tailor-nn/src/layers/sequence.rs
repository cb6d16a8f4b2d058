//! Layers one after the other.

use std::ops::Range;

use burn::module::Module;

use super::{Activations, BatchNorm, Builder, Conv, Layer, Pass, Pool, Stage, stage};
use crate::Result;
use crate::architecture::{LayerKind, PlannedLayer};
use crate::weights::{NamedTensor, WeightSource};

/// A network, or a branch of one.
#[derive(Module, Debug)]
pub struct Sequence {
    pub(crate) layers: Vec<Layer>,
}

/// Layers that are computed in one pass.
pub(crate) enum Fused<'a> {
    /// A convolution, and the batch norm and the pool that follow it.
    Conv { conv: &'a Conv, norm: Option<&'a BatchNorm>, pool: Option<&'a Pool> },
    /// Any layer by itself.
    Layer(&'a Layer),
}

impl Sequence {
    pub(super) fn new(plan: &[PlannedLayer], builder: &mut Builder) -> Self {
        let mut layers = Vec::with_capacity(plan.len());
        for (position, planned) in plan.iter().enumerate() {
            let before = position.checked_sub(1).map(|before| &plan[before]);
            let flattened =
                before.filter(|before| before.kind == LayerKind::Flatten).map(|before| before.input);
            layers.push(Layer::new(planned, flattened, builder));
        }
        Sequence { layers }
    }

    /// Applies all layers.
    pub fn forward(&self, input: Activations, pass: Pass) -> Activations {
        forward(&self.layers, input, pass)
    }

    pub(crate) fn export(&self, plan: &[PlannedLayer]) -> Vec<NamedTensor> {
        self.layers.iter().zip(plan).flat_map(|(layer, planned)| layer.export(planned)).collect()
    }

    pub(crate) fn import(&mut self, plan: &[PlannedLayer], source: &mut WeightSource) -> Result<()> {
        self.layers.iter_mut().zip(plan).try_for_each(|(layer, planned)| layer.import(planned, source))
    }
}

/// Applies layers one after the other.
pub(crate) fn forward(layers: &[Layer], input: Activations, pass: Pass) -> Activations {
    let fused: Vec<Fused> = fused(layers).map(|(_, fused)| fused).collect();
    let (mut rest, mut activations) = (&fused[..], input);
    while let [first, after @ ..] = rest {
        let stages = Stage::leading(rest, pass);
        (activations, rest) = match (first, activations) {
            (_, Activations::Image(x)) if !stages.is_empty() => {
                (Activations::Image(stage::forward(x, &stages, None)), &rest[stages.len()..])
            }
            (Fused::Conv { conv, norm: Some(norm), pool }, Activations::Image(x)) => {
                (Activations::Image(conv.forward_normalized(x, norm, *pool, pass)), after)
            }
            (Fused::Conv { conv, norm: None, pool: Some(pool) }, Activations::Image(x)) => {
                (Activations::Image(conv.forward_pooled(x, pool)), after)
            }
            (Fused::Conv { conv, norm: None, pool: None }, Activations::Image(x)) => {
                (Activations::Image(conv.forward(x)), after)
            }
            (Fused::Layer(layer), activations) => (layer.forward(activations, pass), after),
            (Fused::Conv { conv, .. }, other) => unreachable!("{} cannot reach {conv:?}", other.kind()),
        };
    }
    activations
}

/// The layers that [`forward`] computes in one pass each.
pub(crate) fn passes(layers: &[Layer], pass: Pass) -> Vec<Range<usize>> {
    let (starts, fused): (Vec<usize>, Vec<Fused>) = fused(layers).unzip();
    let (mut passes, mut at) = (Vec::new(), 0);
    while at < fused.len() {
        let after = at + Stage::leading(&fused[at..], pass).len().max(1);
        passes.push(starts[at]..starts.get(after).copied().unwrap_or(layers.len()));
        at = after;
    }
    passes
}

/// Groups layers that are computed together in training and inference alike, each with the position of its first layer.
pub(crate) fn fused(layers: &[Layer]) -> impl Iterator<Item = (usize, Fused<'_>)> {
    let mut layers = layers.iter().enumerate().peekable();
    std::iter::from_fn(move || {
        let (position, layer) = layers.next()?;
        let Layer::Conv(conv) = layer else { return Some((position, Fused::Layer(layer))) };
        let norm = match layers.peek() {
            Some((_, Layer::BatchNorm(norm))) => Some(norm),
            _ => None,
        };
        layers.next_if(|_| norm.is_some());
        let pool = match layers.peek() {
            Some((_, Layer::Pool(pool))) => Some(pool),
            _ => None,
        };
        layers.next_if(|_| pool.is_some());
        Some((position, Fused::Conv { conv, norm, pool }))
    })
}
