//! Ten steps of each optimiser against PyTorch's documented formulas, in f64.

mod reference;

use proptest::prelude::*;
use reference::*;
use tailor_kernels::optimizer::{Optimizer, Slot};

/// One parameter's history: value and state, as PyTorch's documentation of each class writes it.
fn reference_step(optimizer: &Optimizer, lr: f64, t: u64, p: f64, g: f64, state: &mut [f64; 2]) -> f64 {
    let wide = f64::from;
    match *optimizer {
        Optimizer::Sgd { momentum, nesterov, weight_decay } => {
            let g = g + wide(weight_decay) * p;
            if momentum == 0. {
                return p - lr * g;
            }
            state[0] = if t == 1 { g } else { wide(momentum) * state[0] + g };
            p - lr * if nesterov { g + wide(momentum) * state[0] } else { state[0] }
        }
        Optimizer::Adam { beta1, beta2, epsilon, weight_decay, decoupled } => {
            let (beta1, beta2) = (wide(beta1), wide(beta2));
            let (g, p) = if decoupled {
                (g, p * (1. - lr * wide(weight_decay)))
            } else {
                (g + wide(weight_decay) * p, p)
            };
            state[0] = beta1 * state[0] + (1. - beta1) * g;
            state[1] = beta2 * state[1] + (1. - beta2) * g * g;
            let mean = state[0] / (1. - beta1.powi(t as i32));
            let square = state[1] / (1. - beta2.powi(t as i32));
            p - lr * mean / (square.sqrt() + wide(epsilon))
        }
        Optimizer::RmsProp { alpha, epsilon, momentum, weight_decay } => {
            let g = g + wide(weight_decay) * p;
            state[0] = wide(alpha) * state[0] + (1. - wide(alpha)) * g * g;
            state[1] = wide(momentum) * state[1] + g / (state[0].sqrt() + wide(epsilon));
            p - lr * state[1]
        }
    }
}

fn check(optimizer: Optimizer, lengths: &[usize], seed: u64) {
    let lr = 1e-2f32;
    let mut random = Random(seed);
    let starts: Vec<Vec<f32>> = lengths.iter().map(|&n| random.values(n)).collect();
    let gradients: Vec<Vec<Vec<f32>>> =
        (0..10).map(|_| lengths.iter().map(|&n| random.values(n)).collect()).collect();
    let expected: Vec<f64> = (starts.iter().enumerate())
        .flat_map(|(k, start)| start.iter().enumerate().map(move |(i, &p)| (k, i, p)))
        .map(|(k, i, p)| {
            let mut state = [0.; 2];
            let step = |p, t: usize| {
                reference_step(
                    &optimizer,
                    f64::from(lr),
                    t as u64 + 1,
                    p,
                    f64::from(gradients[t][k][i]),
                    &mut state,
                )
            };
            (0..10).fold(f64::from(p), step)
        })
        .collect();
    everywhere(
        || {
            let mut values = starts.clone();
            let mut states: Vec<[Vec<f32>; 2]> =
                lengths.iter().map(|&n| [vec![0.; n], vec![0.; n]]).collect();
            for (t, gradients) in gradients.iter().enumerate() {
                let slots: Vec<Slot> = (values.iter_mut().zip(gradients).zip(&mut states))
                    .map(|((values, gradient), [a, b])| Slot::new(values, gradient, [a, b]))
                    .collect();
                optimizer.step(lr, t as u64 + 1, &slots);
            }
            values.concat()
        },
        |values| assert_close("parameters", values, &expected, 2e-6),
    );
}

const KINDS: [Optimizer; 9] = [
    Optimizer::Sgd { momentum: 0., nesterov: false, weight_decay: 0. },
    Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4 },
    Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 },
    Optimizer::ADAM,
    Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay: 1e-2, decoupled: false },
    Optimizer::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 1e-2, decoupled: true },
    Optimizer::RmsProp { alpha: 0.99, epsilon: 1e-8, momentum: 0., weight_decay: 0. },
    Optimizer::RmsProp { alpha: 0.9, epsilon: 1e-7, momentum: 0.9, weight_decay: 1e-3 },
    Optimizer::Adam { beta1: 0., beta2: 0.5, epsilon: 1e-3, weight_decay: 0., decoupled: true },
];

#[test]
fn ten_steps_of_each() {
    for optimizer in KINDS {
        check(optimizer, &[5, 300, 20_000, 1], 11);
    }
}

/// The first step of Adam moves every parameter by the learning rate, against its gradient: m̂ = g and v̂ = g².
#[test]
fn adams_first_step_is_the_learning_rate() {
    let (mut p, g, mut m, mut v) = ([1., 2., 3.], [0.5, -0.001, 40.], [0.; 3], [0.; 3]);
    Optimizer::ADAM.step(0.1, 1, &[Slot::new(&mut p, &g, [&mut m, &mut v])]);
    assert_close("p", &p, &[0.9, 2.1, 2.9], 1e-5);
}

proptest! {
    #[test]
    fn any_tensors(kind in 0..KINDS.len(), lengths in prop::collection::vec(0..200usize, 1..6), seed: u64) {
        check(KINDS[kind], &lengths, seed);
    }
}
