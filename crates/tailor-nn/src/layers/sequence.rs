//! Layers one after the other.

use std::ops::Range;

use burn::module::Module;

use super::{Activations, BatchNorm, Builder, Conv, Layer, Pass, Pool, Stage, stage};
use crate::Result;
use crate::architecture::{LayerKind, PlannedLayer};
use crate::ops::MOST_STAGES;
use crate::weights::{NamedTensor, WeightSource};

/// A network, or a branch of one.
#[derive(Module, Debug)]
pub struct Sequence {
    pub(crate) layers: Vec<Layer>,
}

/// Layers that are computed together, in training and inference alike.
pub(crate) enum Fused<'a> {
    /// A convolution, and the batch norm and the pool that follow it.
    Conv { conv: &'a Conv, norm: Option<&'a BatchNorm>, pool: Option<&'a Pool> },
    /// Any layer by itself.
    Layer(&'a Layer),
}

/// What is computed in one pass over the activations.
pub(super) enum Step<'a> {
    /// Convolutions and their batch norms in training.
    Stages(Vec<Stage<'a>>),
    Fused(Fused<'a>),
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
    steps(layers, pass).fold(input, |activations, (_, step)| match (step, activations) {
        (Step::Stages(stages), Activations::Image(x)) => Activations::Image(stage::forward(x, &stages, None)),
        (Step::Fused(Fused::Conv { conv, norm: Some(norm), pool }), Activations::Image(x)) => {
            Activations::Image(conv.forward_normalized(x, norm, pool, pass))
        }
        (Step::Fused(Fused::Conv { conv, norm: None, pool: Some(pool) }), Activations::Image(x)) => {
            Activations::Image(conv.forward_pooled(x, pool))
        }
        (Step::Fused(Fused::Conv { conv, norm: None, pool: None }), Activations::Image(x)) => {
            Activations::Image(conv.forward(x))
        }
        (Step::Fused(Fused::Layer(layer)), activations) => layer.forward(activations, pass),
        (_, other) => unreachable!("{} cannot reach a convolution", other.kind()),
    })
}

/// The layers that [`forward`] computes in one pass each.
pub(crate) fn passes(layers: &[Layer], pass: Pass) -> Vec<Range<usize>> {
    steps(layers, pass).map(|(range, _)| range).collect()
}

/// The passes over the activations, each with its layers.
pub(super) fn steps(layers: &[Layer], pass: Pass) -> impl Iterator<Item = (Range<usize>, Step<'_>)> {
    let mut rest = fused(layers).peekable();
    std::iter::from_fn(move || {
        let (start, first) = rest.next()?;
        let mut stages: Vec<Stage> = first.stage(pass).into_iter().collect();
        while !stages.is_empty()
            && stages.len() < MOST_STAGES
            && let Some(stage) = rest.peek().and_then(|(_, next)| next.stage(pass))
        {
            stages.push(stage);
            rest.next();
        }
        let end = rest.peek().map_or(layers.len(), |(next, _)| *next);
        Some((start..end, if stages.is_empty() { Step::Fused(first) } else { Step::Stages(stages) }))
    })
}

impl<'a> Fused<'a> {
    /// A convolution and a norm that can be a stage of a block.
    fn stage(&self, pass: Pass) -> Option<Stage<'a>> {
        match *self {
            Fused::Conv { conv, norm: Some(norm), pool: None } => Stage::new(conv, norm, pass),
            _ => None,
        }
    }
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
