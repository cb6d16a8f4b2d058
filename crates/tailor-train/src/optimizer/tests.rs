//! Steps against PyTorch's, on our kernels and with Burn's operations.

use std::collections::BTreeMap;

use serde::Deserialize;
use tailor_nn::{Shape, TensorInfo, Trainable};

use super::rule::Method;
use super::*;
use crate::Recipe;

fn vector(values: &[f32]) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::flex())
}

/// Takes ten steps on our kernels and with Burn's operations, and compares the weights after each.
fn assert_steps(name: &str, rule: Rule, lr: f64, start: &[f32], gradients: &[Vec<f32>], steps: &[Vec<f32>]) {
    let (mut fused, mut burn) = (start.to_vec(), vector(start));
    let mut fused_moments = vec![vec![0.0; start.len()]; rule.method.moments()];
    let mut burn_moments = vec![vector(&vec![0.0; start.len()]); rule.method.moments()];
    assert_eq!(steps.len(), 10);
    for (step, (gradient, expected)) in gradients.iter().zip(steps).enumerate() {
        // The rule's rate is a part of the run's.
        let at = Moment { learning_rate: lr / rule.rate, step: step as u64 + 1 };
        let trainable = Trainable { index: 0, values: &mut fused, gradient };
        update_fused(vec![Job::new(rule, trainable, None, &mut fused_moments)], at);
        burn = rule.update_on_burn(at, &mut burn_moments, burn, vector(gradient));
        for ours in [&fused, &host_values(burn.clone())] {
            let near = ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-6);
            assert!(near, "{name}, step {}: {ours:?}, but PyTorch {expected:?}", step + 1);
        }
    }
}

#[test]
fn ten_steps_of_every_optimizer_equal_pytorchs_fused_and_on_burn() {
    #[derive(Deserialize)]
    struct Vectors {
        start: Vec<f32>,
        lr: f64,
        weight_decay: f64,
        gradients: Vec<Vec<f32>>,
        /// By optimizer, the weights after each step.
        steps: BTreeMap<String, Vec<Vec<f32>>>,
    }
    let vectors: Vectors = serde_json::from_str(include_str!("../../tests/vectors/optimizers.json")).unwrap();
    assert_eq!(vectors.steps.len(), 6);
    let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
    for (name, steps) in &vectors.steps {
        let method = match name.as_str() {
            "sgd" => Method::Sgd { momentum: 0.0, nesterov: false },
            "momentum" => Method::Sgd { momentum: 0.9, nesterov: false },
            "nesterov" => Method::Sgd { momentum: 0.9, nesterov: true },
            "rmsprop" => Method::RmsProp { alpha: 0.99, epsilon },
            "adam" => Method::Adam { beta1, beta2, epsilon, decoupled: false },
            "adamw" => Method::Adam { beta1, beta2, epsilon, decoupled: true },
            other => panic!("no vector is called {other}"),
        };
        for rate in [1.0, 0.25] {
            let rule = Rule { method, rate, weight_decay: vectors.weight_decay };
            assert_steps(name, rule, vectors.lr, &vectors.start, &vectors.gradients, steps);
        }
    }
}

#[test]
fn ten_steps_of_muon_equal_its_authors_whichever_way_the_matrix_lies() {
    #[derive(Deserialize)]
    struct Vectors {
        lr: f64,
        weight_decay: f64,
        momentum: f64,
        iterations: usize,
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        rows: usize,
        columns: usize,
        nesterov: bool,
        start: Vec<f32>,
        gradients: Vec<Vec<f32>>,
        steps: Vec<Vec<f32>>,
    }
    let vectors: Vectors = serde_json::from_str(include_str!("../../tests/vectors/muon.json")).unwrap();
    let Vectors { lr, weight_decay, momentum, iterations, cases } = vectors;
    assert_eq!(cases.len(), 4);
    for Case { rows, columns, nesterov, start, gradients, steps } in cases {
        let classifier = false;
        let spec =
            OptimizerSpec::Muon { momentum, nesterov, iterations, classifier, others: OthersSpec::default() };
        for is_turned in [false, true] {
            let memory_shape = if is_turned { vec![columns, rows] } else { vec![rows, columns] };
            let tensor = TensorInfo {
                name: "fc1.weight".into(),
                shape: vec![rows, columns],
                memory_shape,
                trainable: true,
            };
            let turned = |values: &Vec<f32>| match is_turned {
                true => (0..values.len()).map(|i| values[i % rows * columns + i / rows]).collect(),
                false => values.clone(),
            };
            let (method, rate) = spec.method_for(&tensor, false, lr);
            let rule = Rule { method, rate, weight_decay };
            let [gradients, steps] =
                [&gradients, &steps].map(|list| list.iter().map(turned).collect::<Vec<_>>());
            let name = format!("{rows}×{columns}, turned {is_turned}");
            assert_steps(&name, rule, lr, &turned(&start), &gradients, &steps);
        }
    }
}

fn optimizer(train: &str) -> Optimizer {
    let recipe = format!(
        "name = \"x\"\n[model]\nlayers = [{{ type = \"conv\", filters = 2 }}, {{ type = \"dense\", units = 3 }}]\n[train]\n{train}"
    );
    let recipe = Recipe::parse(&recipe, "x").unwrap();
    let shape = Shape::Image { height: 3, width: 3, channels: 2 };
    let device = Device::flex().autodiff();
    let network = Network::new(&recipe.architecture(), shape, 2, 1, &device).unwrap();
    let network = groups::freeze(&recipe.train, network).unwrap();
    Optimizer::new(&recipe.train, &network).unwrap()
}

#[test]
fn muon_takes_matrices_and_leaves_the_rest_to_another_at_its_own_rate() {
    let others = "others = { type = \"sgd\", lr = 0.05, momentum = 0 }";
    let train = format!("lr = 0.1\noptimizer = {{ type = \"muon\", {others} }}\n");
    let is_muon = |optimizer: &Optimizer| -> Vec<bool> {
        optimizer.rules.iter().map(|rule| matches!(rule.method, Method::Muon { .. })).collect()
    };
    // conv1, fc1, fc2: weight and bias each.
    let ours = optimizer(&train);
    assert_eq!(is_muon(&ours), [true, false, true, false, false, false]);
    assert_eq!(ours.rules[1].rate, 0.5);
    assert_eq!(ours.state().len(), 2);
    let with_classifier = train.replace("\"muon\"", "\"muon\", classifier = true");
    assert_eq!(is_muon(&optimizer(&with_classifier)), [true, false, true, false, true, false]);
}

#[test]
fn groups_change_rates_and_decays_and_frozen_tensors_have_no_rule() {
    let ours = optimizer(
        "weight-decay = 0.1\ndecay-biases = false\n\
         [[train.groups]]\nmatch = \"conv1.*\"\nfrozen = true\n\
         [[train.groups]]\nmatch = \"fc2.*\"\nlr-factor = 3\nweight-decay = 0.2\n",
    );
    let found: Vec<(f64, f64)> = ours.rules.iter().map(|rule| (rule.rate, rule.weight_decay)).collect();
    assert_eq!(found, [(1.0, 0.1), (1.0, 0.0), (3.0, 0.2), (3.0, 0.2)]);
}

#[test]
fn state_is_restored_only_into_an_optimizer_that_keeps_as_much() {
    let mut ours = optimizer("[[train.groups]]\nmatch = \"*.weight\"\nfrozen = true\n");
    let lengths = [2, 2, 3, 3, 2, 2];
    let state: Vec<Vec<f32>> = lengths.iter().map(|&length| vec![0.5; length]).collect();
    ours.restore(7, state.clone()).unwrap();
    assert_eq!((ours.steps(), ours.state()), (7, state.clone()));
    assert!(ours.restore(1, state[1..].to_vec()).unwrap_err().contains("[2, 2, 3, 3, 2, 2]"));
    let longer = [&state[..5], &[vec![0.0; 9]]].concat();
    assert!(ours.restore(1, longer).unwrap_err().contains("2, 9]"));
}
