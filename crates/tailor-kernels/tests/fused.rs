//! What residual, mobile and squeeze-and-excitation networks put between their convolutions, against naive references.

mod reference;

use proptest::prelude::*;
use reference::*;
use tailor_kernels::activation::Activation::{self, *};
use tailor_kernels::bf16::Precision;
use tailor_kernels::conv::{ActivatedBlock, ActivatedGradient, Convolution, Padding};
use tailor_kernels::excitation::{ExciteGradient, excite, excite_backward};
use tailor_kernels::norm::{ActivatedNorm, ActivatedNormGradient, BatchNorm};
use tailor_kernels::pool::{global_average, global_average_backward};
use tailor_kernels::residual::{Residual, ResidualGradient};

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

fn check_block(convolution: Convolution, activation: Activation, with_shortcut: bool, seed: u64) {
    let mut random = Random(seed);
    let Convolution { batch, height, width, in_channels, out_channels: c, kernel, groups, .. } = convolution;
    let taps = kernel[0] * kernel[1] * in_channels / groups;
    let x = random.values(batch * height * width * in_channels);
    let w: Vec<f32> = random.values(c * taps).iter().map(|w| w * 2. / (taps as f32).sqrt()).collect();
    let len: usize = convolution.output_shape().iter().product();
    let dy = random.values(len);
    let shortcut = if with_shortcut { random.values(len) } else { vec![0.; len] };
    let (gamma, beta) = (random.values(c), random.values(c));
    let epsilon = 1e-2;
    let wide = [&x, &w, &shortcut, &dy, &gamma, &beta].map(|values| widen(values));
    let mut convolved = vec![0.; len];
    products(&convolution, |output, input, weight| convolved[output] += wide[0][input] * wide[1][weight]);
    let [sum, y_expected, dz, dshortcut_expected, dgamma_expected, dbeta_expected, variance] = activated_norm(
        activation,
        [&convolved, &wide[2], &wide[3]],
        [&wide[4], &wide[5]],
        f64::from(epsilon),
    );
    let [mut dx_expected, mut dw_expected] = [vec![0.; x.len()], vec![0.; w.len()]];
    products(&convolution, |output, input, weight| {
        dx_expected[input] += dz[output] * wide[1][weight];
        dw_expected[weight] += dz[output] * wide[0][input];
    });
    let least = variance.iter().fold(f64::INFINITY, |least, &v| least.min(v));
    let lost = 2e-6 / (least + f64::from(epsilon)).sqrt();
    let clear = is_clear(activation, &sum, 1e-5 + 10. * lost);
    // Gradients of a batch with few rows may cancel.
    let magnitude =
        (0..c).map(|j| dz.iter().skip(j).step_by(c).map(|dz| dz.abs()).sum::<f64>()).fold(1., f64::max);
    let norm = BatchNorm { gamma: &gamma, beta: &beta, epsilon };
    let block =
        ActivatedBlock { convolution, precision: Precision::F32, norm: ActivatedNorm { norm, activation } };
    let shortcut = with_shortcut.then_some(&shortcut[..]);
    for wanted in [false, true] {
        everywhere(
            || {
                let [mut y, mut dshortcut] = [(); 2].map(|()| vec![7.; len]);
                let [mut dx, mut dw] = [&x, &w].map(|like| vec![7.; like.len()]);
                let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![7.; c]);
                let saved = block.forward(&x, &w, shortcut, &mut y);
                block.backward(ActivatedGradient {
                    x: &x,
                    weights: &w,
                    shortcut,
                    saved: &saved,
                    dy: &dy,
                    dx: wanted.then_some(&mut dx[..]),
                    dshortcut: wanted.then_some(&mut dshortcut[..]),
                    dw: &mut dw,
                    dgamma: &mut dgamma,
                    dbeta: &mut dbeta,
                });
                [y, dx, dshortcut, dw, dgamma, dbeta]
            },
            |[y, dx, dshortcut, dw, dgamma, dbeta]| {
                assert_close("y", y, &y_expected, 3e-6 + lost);
                if clear {
                    let tolerance = 2e-5 + 20. * lost;
                    if wanted {
                        assert_close("dx", dx, &dx_expected, tolerance * magnitude);
                        assert_close("dshortcut", dshortcut, &dshortcut_expected, tolerance);
                    }
                    assert_close("dw", dw, &dw_expected, tolerance * magnitude);
                    assert_close("dgamma", dgamma, &dgamma_expected, tolerance);
                    assert_close("dbeta", dbeta, &dbeta_expected, tolerance);
                }
            },
        );
    }
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
        check_block(convolution, activation, with_shortcut, seed as u64);
    }
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
        check_block(convolution, ALL[a], with_shortcut, seed);
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
                assert_close("ds", ds, &ds_expected, 1e-5);
                // Sums of up to 1,089 values of about 1, and means of about 0.1 or less.
                assert_close("mean", mean, &means, 1e-5);
                assert_close("dx of the mean", dx_mean, &spread, 1e-6);
            },
        );
    }
}
