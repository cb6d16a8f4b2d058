//! Optimiser steps over all parameters of a model in one pass, with PyTorch's semantics.
//!
//! ```text
//! slot 0 ├────────────┤        values, gradient and state of one tensor each
//! slot 1              ├───┤
//! slot 2                  ├──────────────┤
//! part 0 ├──────┤     ├───┤──────┤              each thread takes an equal share of every large tensor; small ones
//! part 1        ├─────┤           ├──────┤      are the first one's
//! ```
//!
//! The shares are those for which the threads have computed the gradients (see [`crate::dense`]), so that these, and
//! the weights and their state, stay in the caches of one core.

use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::{Isa, Kernel, Simd};
use crate::team;

/// Elements of a tensor that are worth another thread.
const WORTH_SPLITTING: usize = 16 << 10;

/// An update rule and its constants, apart from the learning rate, which schedules change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// `torch.optim.SGD` without dampening. State: the momentum, where there is any.
    #[allow(missing_docs, reason = "PyTorch's names")]
    Sgd { momentum: f32, nesterov: bool, weight_decay: f32 },
    /// `torch.optim.Adam` (Kingma & Ba 2015), or with `decoupled` weight decay `torch.optim.AdamW` (Loshchilov &
    /// Hutter 2019). State: the first and the second moment.
    #[allow(missing_docs, reason = "PyTorch's names")]
    Adam { beta1: f32, beta2: f32, epsilon: f32, weight_decay: f32, decoupled: bool },
    /// `torch.optim.RMSprop`, not centered. State: the mean square, then the momentum, where there is any.
    #[allow(missing_docs, reason = "PyTorch's names")]
    RmsProp { alpha: f32, epsilon: f32, momentum: f32, weight_decay: f32 },
}

impl Optimizer {
    /// PyTorch's defaults for Adam.
    pub const ADAM: Self =
        Self::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0., decoupled: false };

    /// How many slices of state, each as long as the parameters, a slot needs.
    pub fn states(&self) -> usize {
        match *self {
            Self::Sgd { momentum, .. } => usize::from(momentum != 0.),
            Self::Adam { .. } => 2,
            Self::RmsProp { momentum, .. } => 1 + usize::from(momentum != 0.),
        }
    }

    /// One step, the `step`th (from 1) of these parameters. State is zero before the first.
    pub fn step(&self, learning_rate: f32, step: u64, slots: &[Slot]) {
        assert!(step > 0, "steps count from 1");
        let states = self.states();
        assert!(slots.iter().all(|slot| slot.states >= states), "{self:?} needs {states} slices of state");
        match *self {
            Self::Sgd { momentum, nesterov, weight_decay } => {
                let first = step == 1;
                run(slots, Sgd { learning_rate, momentum, nesterov, weight_decay, first }, states);
            }
            Self::Adam { beta1, beta2, epsilon, weight_decay, decoupled } => {
                // In f64: 1 - β₂ᵗ cancels in f32 at first.
                let correction = |beta: f32| 1. - f64::from(beta).powf(step as f64);
                let rule = Adam {
                    beta1,
                    beta2,
                    epsilon,
                    step_size: (f64::from(learning_rate) / correction(beta1)) as f32,
                    root_scale: (1. / correction(beta2).sqrt()) as f32,
                    gradient_decay: if decoupled { 0. } else { weight_decay },
                    keep: if decoupled { 1. - learning_rate * weight_decay } else { 1. },
                };
                run(slots, rule, states);
            }
            Self::RmsProp { alpha, epsilon, momentum, weight_decay } => {
                run(slots, RmsProp { learning_rate, alpha, epsilon, momentum, weight_decay }, states);
            }
        }
    }
}

/// One tensor's parameters, gradient and state, borrowed for a step. No copy of it can be made: threads rely on
/// slots being disjoint.
pub struct Slot<'a> {
    len: usize,
    values: MutPointer<'a, f32>,
    gradient: ConstPointer<'a, f32>,
    state: [MutPointer<'a, f32>; 2],
    states: usize,
}

impl<'a> Slot<'a> {
    /// With as many slices of state (up to two) as [`Optimizer::states`] asks for.
    pub fn new<const STATES: usize>(
        values: &'a mut [f32],
        gradient: &'a [f32],
        state: [&'a mut [f32]; STATES],
    ) -> Self {
        let len = values.len();
        assert_eq!(gradient.len(), len, "as many gradients as parameters");
        assert!(
            STATES <= 2 && state.iter().all(|state| state.len() == len),
            "state is as long as the parameters"
        );
        let mut pointers = [MutPointer::new(&mut []), MutPointer::new(&mut [])];
        for (pointer, state) in pointers.iter_mut().zip(state) {
            *pointer = MutPointer::new(state);
        }
        let (values, gradient) = (MutPointer::new(values), ConstPointer::new(gradient));
        Self { len, values, gradient, state: pointers, states: STATES }
    }
}

/// What one step does to one element: from value, gradient and state to value and state.
trait Rule: Copy + Sync {
    fn update<S: Simd>(self, s: S, value: S::F, gradient: S::F, state: [S::F; 2]) -> (S::F, [S::F; 2]);
}

fn run<R: Rule>(slots: &[Slot], rule: R, states: usize) {
    let isa = Isa::current();
    let is_large = |slot: &Slot| slot.len >= WORTH_SPLITTING;
    let parts = if slots.iter().any(is_large) { team::threads() } else { 1 };
    team::run(parts, |part| {
        for slot in slots {
            let range = match (is_large(slot), part) {
                (true, _) => team::part_of(slot.len, part, parts),
                (false, 0) => 0..slot.len,
                (false, _) => continue,
            };
            isa.run(Update { rule, slot, range, states });
        }
    });
}

struct Update<'a, R> {
    rule: R,
    slot: &'a Slot<'a>,
    range: std::ops::Range<usize>,
    states: usize,
}

impl<R: Rule> Kernel for Update<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rule, slot, range, states } = self;
        for i in range.clone().step_by(S::LANES) {
            let live = (range.end - i).min(S::LANES);
            // SAFETY: the range lies within the slot, whose slices are as long; parts do not overlap.
            unsafe {
                let mut state = [s.splat(0.); 2];
                for k in 0..2 {
                    if k < states {
                        state[k] = s.load_n(slot.state[k].at(i), live);
                    }
                }
                let value = s.load_n(slot.values.at(i), live);
                let gradient = s.load_n(slot.gradient.at(i), live);
                let (value, state) = rule.update(s, value, gradient, state);
                s.store_n(slot.values.at(i), live, value);
                for k in 0..2 {
                    if k < states {
                        s.store_n(slot.state[k].at(i), live, state[k]);
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Sgd {
    learning_rate: f32,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    first: bool,
}

impl Rule for Sgd {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        value: S::F,
        gradient: S::F,
        [buffer, unused]: [S::F; 2],
    ) -> (S::F, [S::F; 2]) {
        let momentum = s.splat(self.momentum);
        let gradient = s.fma(s.splat(self.weight_decay), value, gradient);
        let buffer = if self.first { gradient } else { s.fma(momentum, buffer, gradient) };
        let direction = if self.nesterov { s.fma(momentum, buffer, gradient) } else { buffer };
        let direction = if self.momentum == 0. { gradient } else { direction };
        (s.fma(s.splat(-self.learning_rate), direction, value), [buffer, unused])
    }
}

#[derive(Clone, Copy)]
struct Adam {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    /// The learning rate over 1 - β₁ᵗ.
    step_size: f32,
    /// 1 / √(1 - β₂ᵗ)
    root_scale: f32,
    /// Weight decay that is added to the gradient, and what decoupled decay leaves of a value.
    gradient_decay: f32,
    keep: f32,
}

impl Rule for Adam {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        value: S::F,
        gradient: S::F,
        [mean, square]: [S::F; 2],
    ) -> (S::F, [S::F; 2]) {
        let gradient = s.fma(s.splat(self.gradient_decay), value, gradient);
        let mean = s.fma(s.splat(1. - self.beta1), s.sub(gradient, mean), mean);
        let fresh = s.mul(s.splat(1. - self.beta2), s.mul(gradient, gradient));
        let square = s.fma(s.splat(self.beta2), square, fresh);
        let root = s.fma(s.sqrt(square), s.splat(self.root_scale), s.splat(self.epsilon));
        let change = s.div(s.mul(s.splat(self.step_size), mean), root);
        (s.sub(s.mul(s.splat(self.keep), value), change), [mean, square])
    }
}

#[derive(Clone, Copy)]
struct RmsProp {
    learning_rate: f32,
    alpha: f32,
    epsilon: f32,
    momentum: f32,
    weight_decay: f32,
}

impl Rule for RmsProp {
    #[inline(always)]
    fn update<S: Simd>(
        self,
        s: S,
        value: S::F,
        gradient: S::F,
        [square, buffer]: [S::F; 2],
    ) -> (S::F, [S::F; 2]) {
        let gradient = s.fma(s.splat(self.weight_decay), value, gradient);
        let fresh = s.mul(s.splat(1. - self.alpha), s.mul(gradient, gradient));
        let square = s.fma(s.splat(self.alpha), square, fresh);
        let scaled = s.div(gradient, s.add(s.sqrt(square), s.splat(self.epsilon)));
        let buffer = s.fma(s.splat(self.momentum), buffer, scaled);
        (s.fma(s.splat(-self.learning_rate), buffer, value), [square, buffer])
    }
}
