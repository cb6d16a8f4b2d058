//! What residual, mobile and squeeze-and-excitation networks put between their convolutions, against naive references.

mod reference;

use proptest::prelude::*;
use reference::*;
use tailor_kernels::activation::Activation::{self, *};
use tailor_kernels::bf16::Precision;
use tailor_kernels::conv::{ActivatedBlock, ActivatedGradient, Convolution, Padding, Stage, StageGradient};
use tailor_kernels::excitation::{ExciteGradient, excite, excite_backward};
use tailor_kernels::norm::{ActivatedNorm, ActivatedNormGradient, BatchNorm};
use tailor_kernels::pool::{global_average, global_average_backward};
use tailor_kernels::residual::{Residual, ResidualGradient};

use Tolerance::OfWhatCancels;

const ALL: [Activation; 7] = [Identity, Relu, Relu6, Tanh, Sigmoid, Silu, Gelu];

/// Whether no value is so close to a kink of the activation that rounding may decide.
fn is_clear(activation: Activation, values: &[f64], margin: f64) -> bool {
    let kinks = match activation {
        Relu => &[0.][..],
        Relu6 => &[0., 6.],
        _ => &[],
    };
    values.iter().all(|z| kinks.iter().all(|kink| (z - kink).abs() > margin))
}

/// `activation(norm(x) + shortcut)`: the sum, the output, dx, dshortcut, dγ, dβ and the variance.
fn activated_norm(
    activation: Activation,
    [x, shortcut, dy]: [&[f64]; 3],
    [gamma, beta]: [&[f64]; 2],
    epsilon: f64,
) -> [Vec<f64>; 7] {
    let [normal, _, variance] = batch_norm(x, gamma, beta, epsilon);
    let sum: Vec<f64> = normal.iter().zip(shortcut).map(|(a, b)| a + b).collect();
    let y = sum.iter().map(|&z| activate(activation, z)).collect();
    let dz: Vec<f64> = sum.iter().zip(dy).map(|(&z, dy)| dy * derivative(activation, z)).collect();
    let [dx, dgamma, dbeta] = batch_norm_backward(x, gamma, epsilon, &dz);
    [sum, y, dx, dz, dgamma, dbeta, variance]
}

#[test]
fn the_references_own_gradients_are_right() {
    let mut random = Random(5);
    let mut draw = |n: usize| widen(&random.values(n));
    let (x, r, dy, gamma, beta) = (draw(24), draw(24), draw(24), draw(3), draw(3));
    for activation in ALL {
        let loss = |x: &[f64], r: &[f64], gamma: &[f64]| -> f64 {
            let [_, y, ..] = activated_norm(activation, [x, r, &dy], [gamma, &beta], 1e-3);
            y.iter().zip(&dy).map(|(y, dy)| y * dy).sum()
        };
        let [_, _, dx, dr, dgamma, ..] = activated_norm(activation, [&x, &r, &dy], [&gamma, &beta], 1e-3);
        let all = |n: usize| (0..n).collect::<Vec<_>>();
        for (analytic, numeric) in [
            (dx, numeric_gradient(&x, &all(24), |x| loss(x, &r, &gamma))),
            (dr, numeric_gradient(&r, &all(24), |r| loss(&x, r, &gamma))),
            (dgamma, numeric_gradient(&gamma, &all(3), |gamma| loss(&x, &r, gamma))),
        ] {
            for (a, n) in analytic.iter().zip(&numeric) {
                assert!((a - n).abs() < 1e-7, "{activation:?}: {a} and {n}");
            }
        }
    }
}

fn check_activated_norm(rows: usize, c: usize, activation: Activation, with_shortcut: bool, seed: u64) {
    let mut random = Random(seed);
    let (x, dy) = (random.values(rows * c), random.values(rows * c));
    let shortcut = if with_shortcut { random.values(rows * c) } else { vec![0.; rows * c] };
    let gamma: Vec<f32> = random.values(c).iter().map(|g| 3. * g).collect();
    let beta = random.values(c);
    let epsilon = 1e-2;
    let wide = [&x, &shortcut, &dy, &gamma, &beta].map(|values| widen(values));
    let [sum, y_expected, dx_expected, dz_expected, dgamma_expected, dbeta_expected, variance] =
        activated_norm(activation, [&wide[0], &wide[1], &wide[2]], [&wide[3], &wide[4]], f64::from(epsilon));
    // What f32 rounds off counts as much more as a channel's values are close to each other.
    let least = variance.iter().fold(f64::INFINITY, |least, &v| least.min(v));
    let lost = 1e-6 / (least + f64::from(epsilon)).sqrt();
    let clear = is_clear(activation, &sum, 1e-5 + 10. * lost);
    let norm = BatchNorm { gamma: &gamma, beta: &beta, epsilon };
    let fused = ActivatedNorm { norm, activation };
    let shortcut = with_shortcut.then_some(&shortcut[..]);
    for wants_dshortcut in [false, true] {
        everywhere(
            || {
                let [mut y, mut dx, mut dshortcut] = [(); 3].map(|()| vec![7.; x.len()]);
                let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![7.; c]);
                let statistics = fused.forward(&x, shortcut, &mut y);
                fused.backward(ActivatedNormGradient {
                    x: &x,
                    shortcut,
                    statistics: &statistics,
                    dy: &dy,
                    dx: &mut dx,
                    dshortcut: wants_dshortcut.then_some(&mut dshortcut[..]),
                    dgamma: &mut dgamma,
                    dbeta: &mut dbeta,
                });
                [y, dx, dshortcut, dgamma, dbeta]
            },
            |[y, dx, dshortcut, dgamma, dbeta]| {
                assert_close("y", y, &y_expected, 3e-6 + lost);
                if clear {
                    let tolerance = 1e-5 + 20. * lost;
                    assert_close("dx", dx, &dx_expected, tolerance);
                    if wants_dshortcut {
                        assert_close("dshortcut", dshortcut, &dz_expected, tolerance);
                    }
                    assert_close("dgamma", dgamma, &dgamma_expected, tolerance);
                    assert_close("dbeta", dbeta, &dbeta_expected, tolerance);
                }
            },
        );
    }
}

/// Of a stage of a block: what it is, and its values in f64.
struct Reference {
    weights: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    /// What it reads, and what its convolution puts out.
    x: Vec<f64>,
    convolved: Vec<f64>,
    /// dw, dγ, dβ
    gradients: [Vec<f64>; 3],
}

/// How far gradients of a block may be off, relative to the largest of their tensor.
#[derive(Clone, Copy)]
enum Tolerance {
    /// Of a block whose batch has many rows, none of whose channels are nearly constant.
    Fixed(f64),
    /// As much as may be lost where they are, or rows cancel.
    OfWhatCancels,
}

/// A block of these stages, the last of which adds a shortcut; tells whether its gradients could be compared.
fn check_block(
    stages: &[(Convolution, Activation)],
    precision: Precision,
    with_shortcut: bool,
    tolerance: Tolerance,
    seed: u64,
) -> bool {
    let mut random = Random(seed);
    let epsilon = 1e-2;
    let output_len = |convolution: &Convolution| convolution.output_shape().iter().product::<usize>();
    let (first, last) = (&stages[0].0, &stages[stages.len() - 1].0);
    let x = random.values(first.batch * first.height * first.width * first.in_channels);
    let len = output_len(last);
    let dy = random.values(len);
    let shortcut = if with_shortcut { random.values(len) } else { vec![0.; len] };

    // What f32 rounds off counts as much more as a channel's values are close to each other, in each stage again.
    let (mut lost, mut clear) = (0., true);
    let mut references: Vec<Reference> = Vec::new();
    let mut values = widen(&x);
    for (at, (convolution, activation)) in stages.iter().enumerate() {
        let Convolution { in_channels, out_channels: c, kernel, groups, .. } = *convolution;
        let taps = kernel[0] * kernel[1] * in_channels / groups;
        let weights: Vec<f32> =
            random.values(c * taps).iter().map(|w| w * 2. / (taps as f32).sqrt()).collect();
        let (mut gamma, beta) = (random.values(c), random.values(c));
        if let Tolerance::Fixed(_) = tolerance {
            gamma.iter_mut().for_each(|gamma| *gamma += gamma.signum() * 0.5);
        }
        let mut convolved = vec![0.; output_len(convolution)];
        let wide = [&weights, &gamma, &beta].map(|values| widen(values));
        products(convolution, |output, input, weight| convolved[output] += values[input] * wide[0][weight]);
        let added = if at + 1 == stages.len() { widen(&shortcut) } else { vec![0.; convolved.len()] };
        let nothing = vec![0.; convolved.len()];
        let [sum, y, .., variance] =
            activated_norm(*activation, [&convolved, &added, &nothing], [&wide[1], &wide[2]], epsilon);
        let least = variance.iter().fold(f64::INFINITY, |least, &v| least.min(v));
        lost = (2e-6 + 2. * lost) / (least + epsilon).sqrt();
        clear &= is_clear(*activation, &sum, 1e-5 + 10. * lost);
        let x = std::mem::replace(&mut values, y);
        references.push(Reference { weights, gamma, beta, x, convolved, gradients: Default::default() });
    }
    let y_expected = values;
    let (mut gradient, mut magnitude) = (widen(&dy), 1f64);
    let mut dshortcut_expected = Vec::new();
    for (at, ((convolution, activation), stage)) in stages.iter().zip(&mut references).enumerate().rev() {
        let is_last = at + 1 == stages.len();
        let added = if is_last { widen(&shortcut) } else { vec![0.; stage.convolved.len()] };
        let [weights, gamma, beta] = [&stage.weights, &stage.gamma, &stage.beta].map(|values| widen(values));
        let [_, _, dz, dsum, dgamma, dbeta, _] =
            activated_norm(*activation, [&stage.convolved, &added, &gradient], [&gamma, &beta], epsilon);
        // Gradients of a batch with few rows may cancel.
        let c = gamma.len();
        let sums = (0..c).map(|j| dz.iter().skip(j).step_by(c).map(|dz| dz.abs()).sum::<f64>());
        magnitude = sums.fold(magnitude, f64::max);
        let [mut dx, mut dw] = [vec![0.; stage.x.len()], vec![0.; weights.len()]];
        products(convolution, |output, input, weight| {
            dx[input] += dz[output] * weights[weight];
            dw[weight] += dz[output] * stage.x[input];
        });
        if is_last {
            dshortcut_expected = dsum;
        }
        stage.gradients = [dw, dgamma, dbeta];
        gradient = dx;
    }
    let dx_expected = gradient;

    let of_kernels: Vec<Stage> = stages
        .iter()
        .zip(&references)
        .map(|(&(convolution, activation), Reference { weights, gamma, beta, .. })| {
            let norm = BatchNorm { gamma, beta, epsilon: epsilon as f32 };
            let norm = ActivatedNorm { norm, activation };
            Stage { convolution, precision, weights, norm }
        })
        .collect();
    let block = ActivatedBlock { stages: &of_kernels };
    let shortcut = with_shortcut.then_some(&shortcut[..]);
    for wanted in [false, true] {
        everywhere(
            || {
                let [mut y, mut dshortcut] = [(); 2].map(|()| vec![7.; len]);
                let mut dx = vec![7.; x.len()];
                let sevens = |values: &Vec<f64>| vec![7f32; values.len()];
                let mut gradients: Vec<[Vec<f32>; 3]> =
                    references.iter().map(|stage| stage.gradients.each_ref().map(sevens)).collect();
                let saved = block.forward(&x, shortcut, &mut y);
                block.backward(ActivatedGradient {
                    x: &x,
                    shortcut,
                    saved: &saved,
                    dy: &dy,
                    dx: wanted.then_some(&mut dx[..]),
                    dshortcut: wanted.then_some(&mut dshortcut[..]),
                    stages: gradients
                        .iter_mut()
                        .map(|[dw, dgamma, dbeta]| StageGradient { dw, dgamma, dbeta })
                        .collect(),
                });
                ([y, dx, dshortcut], gradients)
            },
            |([y, dx, dshortcut], gradients)| {
                let [of_y, of_dshortcut, of_sums] = match tolerance {
                    Tolerance::Fixed(tolerance) => [tolerance; 3],
                    Tolerance::OfWhatCancels => {
                        let tolerance = 2e-5 + 20. * lost;
                        [3e-6 + lost, tolerance, tolerance * magnitude]
                    }
                };
                assert_close("y", y, &y_expected, of_y);
                if clear {
                    if wanted {
                        assert_close("dx", dx, &dx_expected, of_sums);
                        assert_close("dshortcut", dshortcut, &dshortcut_expected, of_dshortcut);
                    }
                    for (at, (of, stage)) in gradients.iter().zip(&references).enumerate() {
                        // Those of the last norm need no gradient of another convolution, which may cancel.
                        let of_norm = if at + 1 == stages.len() { of_dshortcut } else { of_sums };
                        let tolerances = [("dw", of_sums), ("dγ", of_norm), ("dβ", of_norm)];
                        for (((name, tolerance), values), expected) in
                            tolerances.into_iter().zip(of).zip(&stage.gradients)
                        {
                            assert_close(name, values, expected, tolerance);
                        }
                    }
                }
            },
        );
    }
    clear
}

fn conv(size: [usize; 3], channels: [usize; 2], kernel: usize, stride: usize) -> Convolution {
    Convolution {
        batch: size[0],
        height: size[1],
        width: size[2],
        in_channels: channels[0],
        out_channels: channels[1],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: Padding::all(kernel / 2),
        groups: 1,
    }
}

#[test]
fn the_blocks_of_residual_and_mobile_networks() {
    for (seed, (convolution, activation, with_shortcut, reason)) in [
        (conv([4, 8, 8], [16, 16], 3, 1), Relu, true, "a residual block's second"),
        (conv([4, 9, 8], [16, 32], 3, 2), Relu, false, "a strided one"),
        (conv([4, 9, 8], [16, 32], 1, 2), Identity, false, "its shortcut"),
        (conv([3, 7, 7], [24, 72], 1, 1), Relu6, false, "a mobile block's first"),
        (Convolution { groups: 72, ..conv([3, 7, 7], [72, 72], 3, 1) }, Relu6, false, "its second"),
        (Convolution { groups: 40, ..conv([3, 11, 11], [40, 40], 5, 2) }, Silu, false, "EfficientNet's"),
        (conv([3, 7, 7], [72, 24], 1, 1), Identity, true, "its third, with the shortcut"),
        (conv([3, 12, 12], [3, 32], 3, 2), Relu6, false, "a first layer"),
        (conv([5, 4, 4], [64, 80], 3, 1), Relu, true, "a deep one: small images of many channels"),
        (conv([9, 1, 1], [64, 80], 3, 1), Relu, true, "the deepest: single pixels"),
        (conv([9, 2, 2], [64, 80], 3, 2), Relu, false, "a single output"),
    ]
    .into_iter()
    .enumerate()
    {
        println!("{reason}: {convolution:?}");
        check_block(&[(convolution, activation)], Precision::F32, with_shortcut, OfWhatCancels, seed as u64);
    }
}

#[test]
fn several_convolutions_as_one_operation() {
    let depthwise = |size, channels, kernel, stride| Convolution {
        groups: channels,
        ..conv(size, [channels, channels], kernel, stride)
    };
    // Smooth activations, so that all gradients can be compared.
    for (reason, stages, with_shortcut) in [
        (
            "an inverted residual",
            vec![
                (conv([4, 9, 8], [16, 96], 1, 1), Silu),
                (depthwise([4, 9, 8], 96, 3, 1), Tanh),
                (conv([4, 9, 8], [96, 16], 1, 1), Identity),
            ],
            true,
        ),
        (
            "one in bands of rows, with a stride",
            vec![
                (conv([3, 34, 40], [8, 70], 1, 1), Silu),
                (depthwise([3, 34, 40], 70, 3, 2), Silu),
                (conv([3, 17, 20], [70, 24], 1, 1), Identity),
            ],
            false,
        ),
        (
            "one of EfficientNet's in bands",
            vec![(conv([2, 40, 33], [5, 48], 1, 1), Tanh), (depthwise([2, 40, 33], 48, 5, 1), Silu)],
            true,
        ),
        (
            "one without expansion, of single pixels",
            vec![(depthwise([70, 1, 1], 40, 5, 1), Tanh), (conv([70, 1, 1], [40, 24], 1, 1), Identity)],
            false,
        ),
        (
            "a basic block",
            vec![(conv([4, 8, 8], [16, 32], 3, 2), Tanh), (conv([4, 4, 4], [32, 32], 3, 1), Silu)],
            true,
        ),
        (
            "a deep one",
            vec![(conv([9, 4, 4], [64, 64], 3, 2), Tanh), (conv([9, 2, 2], [64, 64], 3, 1), Silu)],
            true,
        ),
        (
            "few taps of what was normalised, and no padding",
            vec![
                (conv([6, 9, 9], [5, 3], 1, 1), Tanh),
                (conv([6, 9, 9], [3, 20], 3, 1), Tanh),
                (Convolution { padding: Padding::default(), ..conv([6, 9, 9], [20, 12], 3, 1) }, Silu),
            ],
            false,
        ),
    ] {
        println!("{reason}");
        for (precision, tolerance) in [(Precision::F32, 1e-4), (Precision::Bf16, 0.05)] {
            let compared = check_block(&stages, precision, with_shortcut, Tolerance::Fixed(tolerance), 3);
            assert!(compared, "nothing smooth has kinks");
        }
    }
    // As networks have them: where a sum is near a kink, only outputs are compared.
    let compared = (0..12).filter(|&seed| {
        let stages = [
            (conv([2, 4, 4], [4, 12], 1, 1), Relu6),
            (depthwise([2, 4, 4], 12, 3, 1), Relu),
            (conv([2, 4, 4], [12, 4], 1, 1), Identity),
        ];
        check_block(&stages, Precision::F32, true, Tolerance::Fixed(1e-4), seed)
    });
    assert!(compared.count() > 3);
}

#[test]
fn a_norm_with_all_that_may_follow() {
    for (seed, activation) in ALL.into_iter().enumerate() {
        for with_shortcut in [false, true] {
            // Several chunks of rows, and enough for several threads.
            check_activated_norm(600, 70, activation, with_shortcut, seed as u64);
        }
    }
}

proptest! {
    #[test]
    fn activated_norms_of_any_shape(
        rows in 2..300usize, c in 1..70usize, a in 0..7usize, with_shortcut: bool, seed: u64,
    ) {
        check_activated_norm(rows, c, ALL[a], with_shortcut, seed);
    }

    #[test]
    fn activated_blocks_of_any_shape(
        size in [2..4usize, 1..9, 1..9], channels in [1..20usize, 1..20], kernel in 1..4usize, stride in 1..3usize,
        depthwise: bool, a in 0..7usize, with_shortcut: bool, seed: u64,
    ) {
        let mut convolution = conv(size, channels, kernel, stride);
        if depthwise {
            convolution = Convolution { out_channels: channels[0], groups: channels[0], ..convolution };
        }
        check_block(&[(convolution, ALL[a])], Precision::F32, with_shortcut, OfWhatCancels, seed);
    }

    #[test]
    fn blocks_of_two_of_any_shape(
        size in [2..4usize, 1..9, 1..9], channels in [1..20usize, 1..20, 1..20],
        kernel in [1..4usize, 1..4], stride in [1..3usize, 1..3], depthwise: [bool; 2],
        a in [0..7usize, 0..7], with_shortcut: bool, seed: u64,
    ) {
        let mut size = size;
        let mut inputs = channels[0];
        let stages: Vec<_> = (0..2).map(|at| {
            let outputs = if depthwise[at] { inputs } else { channels[at + 1] };
            let mut convolution = conv(size, [inputs, outputs], kernel[at], stride[at]);
            if depthwise[at] {
                convolution.groups = inputs;
            }
            let [batch, rows, columns, _] = convolution.output_shape();
            (size, inputs) = ([batch, rows, columns], outputs);
            (convolution, ALL[a[at]])
        }).collect();
        check_block(&stages, Precision::F32, with_shortcut, OfWhatCancels, seed);
    }

    #[test]
    fn residual_sums_of_any_shape(
        images in 1..9usize, len in 1..9000usize, a in 0..5usize, scaled: bool, seed: u64,
    ) {
        let activation = ALL[a];
        let mut random = Random(seed);
        let [shortcut, branch, dy] = [(); 3].map(|()| random.values(images * len));
        let factors: Vec<f32> = random.values(images).iter().map(|&f| if f < 0. { 0. } else { 1. + f }).collect();
        let factor = |i: usize| if scaled { f64::from(factors[i / len]) } else { 1. };
        let sum: Vec<f64> =
            (0..images * len).map(|i| f64::from(shortcut[i]) + factor(i) * f64::from(branch[i])).collect();
        let y_expected: Vec<f64> = sum.iter().map(|&z| activate(activation, z)).collect();
        let dsum_expected: Vec<f64> =
            sum.iter().zip(&dy).map(|(&z, &dy)| f64::from(dy) * derivative(activation, z)).collect();
        let dbranch_expected: Vec<f64> = dsum_expected.iter().enumerate().map(|(i, d)| d * factor(i)).collect();
        let clear = is_clear(activation, &sum, 1e-6);
        let residual = Residual { activation, factors: scaled.then_some(&factors) };
        everywhere(
            || {
                let [mut y, mut dsum, mut dbranch, mut alone] = [(); 4].map(|()| vec![7.; dy.len()]);
                residual.forward(&shortcut, &branch, &mut y);
                let (both, only) = (Some(&mut dsum[..]), Some(&mut alone[..]));
                residual.backward(ResidualGradient { y: &y, dy: &dy, dsum: both, dbranch: Some(&mut dbranch) });
                residual.backward(ResidualGradient { y: &y, dy: &dy, dsum: None, dbranch: only });
                assert_eq!(dbranch, alone);
                [y, dsum, dbranch]
            },
            |[y, dsum, dbranch]| {
                assert_close("y", y, &y_expected, 1e-6);
                if clear {
                    assert_close("dsum", dsum, &dsum_expected, 1e-6);
                    assert_close("dbranch", dbranch, &dbranch_expected, 1e-6);
                }
            },
        );
    }

    #[test]
    fn excitation_and_global_averages_of_any_shape(
        shape in [1..5usize, 1..12, 1..12, 1..80], large: bool, seed: u64,
    ) {
        let [n, h, w, c] = if large { [shape[0], 3 * shape[1], 3 * shape[2], shape[3]] } else { shape };
        let shape = [n, h, w, c];
        let mut random = Random(seed);
        let (x, factors) = (random.values(n * h * w * c), random.values(n * c));
        let (dy, dmean) = (random.values(n * h * w * c), random.values(n * c));
        let of = |i: usize| i / (h * w * c) * c + i % c;
        let products = |a: &[f32], b: &[f32]| -> Vec<f64> {
            (0..a.len()).map(|i| f64::from(a[i]) * f64::from(b[of(i)])).collect()
        };
        let (mut means, mut ds_expected) = (vec![0.; n * c], vec![0.; n * c]);
        for (i, (&x, &dy)) in x.iter().zip(&dy).enumerate() {
            means[of(i)] += f64::from(x) / (h * w) as f64;
            ds_expected[of(i)] += f64::from(x) * f64::from(dy);
        }
        let spread: Vec<f64> = (0..x.len()).map(|i| f64::from(dmean[of(i)]) / (h * w) as f64).collect();
        let (y_expected, dx_expected) = (products(&x, &factors), products(&dy, &factors));
        everywhere(
            || {
                let [mut y, mut dx, mut dx_mean] = [(); 3].map(|()| vec![7.; x.len()]);
                let [mut ds, mut mean] = [(); 2].map(|()| vec![7.; n * c]);
                excite(shape, &x, &factors, &mut y);
                excite_backward(shape, ExciteGradient { x: &x, s: &factors, dy: &dy, dx: &mut dx, ds: &mut ds });
                global_average(shape, &x, &mut mean);
                global_average_backward(shape, &dmean, &mut dx_mean);
                [y, dx, ds, mean, dx_mean]
            },
            |[y, dx, ds, mean, dx_mean]| {
                assert_close("y", y, &y_expected, 1e-6);
                assert_close("dx", dx, &dx_expected, 1e-6);
                // Errors of a sum are relative to what is summed up, of which much may cancel.
                let products: f64 = x.iter().zip(&dy).map(|(x, dy)| f64::from(x * dy).abs()).sum();
                assert_close("ds", ds, &ds_expected, 1e-5 + 3e-7 * products / (n * c) as f64);
                // Sums of up to 1,089 values of about 1, and means of about 0.1 or less.
                assert_close("mean", mean, &means, 1e-5);
                assert_close("dx of the mean", dx_mean, &spread, 1e-6);
            },
        );
    }
}
