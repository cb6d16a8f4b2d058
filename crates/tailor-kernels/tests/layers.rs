//! All other layers against the naive references, and those against finite differences.

mod reference;

use proptest::prelude::*;
use reference::*;
use tailor_kernels::activation::Activation;
use tailor_kernels::bf16::Precision;
use tailor_kernels::conv::{ConvBlock, Convolution, Padding};
use tailor_kernels::dense::{Dense, DenseGradient};
use tailor_kernels::dropout::Dropout;
use tailor_kernels::loss::{Targets, cross_entropy};
use tailor_kernels::norm::{BatchNorm, NormGradient, fold, scale_shift};
use tailor_kernels::pool::{Pool, PoolKind};
use tailor_kernels::{Isa, team};

/// Those that layers fuse in training.
const ACTIVATIONS: [Activation; 5] =
    [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::Tanh, Activation::Sigmoid];

fn check_dense(layer: Dense, seed: u64) {
    let Dense { batch, inputs, outputs, activation } = layer;
    let mut random = Random(seed);
    let (x, b) = (random.values(batch * inputs), random.values(outputs));
    let w: Vec<f32> =
        random.values(inputs * outputs).iter().map(|w| w * 2. / (inputs as f32).sqrt()).collect();
    let dy = random.values(batch * outputs);
    let (xs, ws, dys) = (widen(&x), widen(&w), widen(&dy));
    let mut z =
        matrix_product([batch, outputs, inputs], |i, k| xs[i * inputs + k], |k, j| ws[k * outputs + j]);
    z.iter_mut().enumerate().for_each(|(i, z)| *z += f64::from(b[i % outputs]));
    let y_expected: Vec<f64> = z.iter().map(|&z| activate(activation, z)).collect();
    let dz: Vec<f64> = z.iter().zip(&dys).map(|(&z, dy)| dy * derivative(activation, z)).collect();
    let dx_expected =
        matrix_product([batch, inputs, outputs], |i, k| dz[i * outputs + k], |k, j| ws[j * outputs + k]);
    let dw_expected =
        matrix_product([inputs, outputs, batch], |i, k| xs[k * inputs + i], |k, j| dz[k * outputs + j]);
    let db_expected: Vec<f64> = (0..outputs).map(|j| dz.iter().skip(j).step_by(outputs).sum()).collect();
    let clear = activation == Activation::Identity || z.iter().all(|z| z.abs() > 1e-5);
    everywhere(
        || {
            let mut y = vec![7.; batch * outputs];
            layer.forward(&x, &w, Some(&b), &mut y);
            let (mut dx, mut dw, mut db) = (vec![7.; x.len()], vec![7.; w.len()], vec![7.; outputs]);
            let (dx_wanted, db_wanted) = (Some(&mut dx[..]), Some(&mut db[..]));
            layer.backward(DenseGradient {
                x: &x,
                weights: &w,
                y: &y,
                dy: &dy,
                dx: dx_wanted,
                dw: &mut dw,
                db: db_wanted,
            });
            [y, dx, dw, db]
        },
        |[y, dx, dw, db]| {
            assert_close("y", y, &y_expected, 2e-6);
            if clear {
                assert_close("dx", dx, &dx_expected, 1e-5);
                assert_close("dw", dw, &dw_expected, 1e-5);
                assert_close("db", db, &db_expected, 1e-5);
            }
        },
    );
}

#[test]
fn dense_layers_of_the_reference_systems() {
    for (batch, inputs, outputs) in
        [(64, 784, 256), (17, 256, 128), (5, 128, 10), (1, 784, 256), (33, 576, 64), (100, 96, 40)]
    {
        check_dense(Dense { batch, inputs, outputs, activation: Activation::Relu }, 1);
    }
}

/// As of tokens: several strips for each thread, and one that is cut off.
#[test]
fn dense_layers_of_many_examples() {
    for (batch, inputs, outputs) in [(500, 300, 80), (400, 80, 330), (650, 40, 600)] {
        check_dense(Dense { batch, inputs, outputs, activation: Activation::Identity }, 1);
    }
}

proptest! {

    #[test]
    fn dense_of_any_shape(batch in 1..70usize, inputs in 1..90usize, outputs in 1..90usize, a in 0..5usize, seed: u64) {
        check_dense(Dense { batch, inputs, outputs, activation: ACTIVATIONS[a] }, seed);
    }

    #[test]
    fn batch_norm_of_any_shape(rows in 2..700usize, c in 1..70usize, offset in -30f32..30., seed: u64) {
        let mut random = Random(seed);
        let x: Vec<f32> = random.values(rows * c).iter().map(|x| x + offset).collect();
        let (gamma, beta, dy) = (random.values(c), random.values(c), random.values(rows * c));
        let epsilon = 1e-3;
        let wide = [widen(&x), widen(&gamma), widen(&beta), widen(&dy)];
        let [y_expected, mean, variance] = batch_norm(&wide[0], &wide[1], &wide[2], f64::from(epsilon));
        let [dx_expected, dgamma_expected, dbeta_expected] =
            batch_norm_backward(&wide[0], &wide[1], f64::from(epsilon), &wide[3]);
        // What f32 rounds off a mean, in standard deviations: few rows may be close to each other by chance.
        let smallest = variance.iter().fold(f64::INFINITY, |m, &v| m.min(v));
        let lost = 1e-7 * f64::from(1. + offset.abs()) / (smallest + f64::from(epsilon)).sqrt();
        let norm = BatchNorm { gamma: &gamma, beta: &beta, epsilon };
        everywhere(
            || {
                let (mut y, mut dx) = (vec![7.; x.len()], vec![7.; x.len()]);
                let statistics = norm.forward(&x, &mut y);
                let (mut dgamma, mut dbeta) = (vec![7.; c], vec![7.; c]);
                norm.backward(NormGradient {
                    x: &x, statistics: &statistics, dy: &dy, dx: &mut dx, dgamma: &mut dgamma, dbeta: &mut dbeta,
                });
                [y, statistics.mean.to_vec(), statistics.variance.to_vec(), dx, dgamma, dbeta]
            },
            |[y, m, v, dx, dgamma, dbeta]| {
                assert_close("y", y, &y_expected, 2e-6 + 3. * lost);
                // Errors of a mean are relative to what it is the mean of.
                let largest = wide[0].iter().fold(0., |m: f64, x| m.max(x.abs()));
                m.iter().zip(&mean).for_each(|(a, e)| assert!((f64::from(*a) - e).abs() < 1e-6 * largest));
                assert_close("variance", v, &variance, 1e-5);
                assert_close("dx", dx, &dx_expected, 1e-5 + 10. * lost);
                // Errors of a sum are relative to what is summed up, of which much may cancel.
                let summed = 1e-5 + 1e-6 * dy.iter().map(|dy| dy.abs()).sum::<f32>() as f64 / c as f64;
                assert_close("dgamma", dgamma, &dgamma_expected, summed + 10. * lost);
                assert_close("dbeta", dbeta, &dbeta_expected, summed);
            },
        );
    }

    #[test]
    fn cross_entropy_of_any_shape(n in 1..70usize, classes in 1..30usize, smoothing in 0f32..0.3, seed: u64) {
        let mut random = Random(seed);
        let logits: Vec<f32> = random.values(n * classes).iter().map(|z| z * 8.).collect();
        let labels: Vec<i64> = (0..n).map(|_| i64::from(random.next()) % classes as i64).collect();
        let mixed: Vec<f32> = random.values(n * classes).iter().map(|t| (t + 1.) / classes as f32).collect();
        let mut one_hot = vec![0.; n * classes];
        labels.iter().enumerate().for_each(|(i, &label)| one_hot[i * classes + label as usize] = 1.);
        for (targets, distributions) in [(Targets::Classes(&labels), &one_hot), (Targets::Distributions(&mixed), &mixed)] {
            let wide = [widen(&logits), widen(distributions)];
            let (loss, gradient) = reference::cross_entropy(&wide[0], classes, &wide[1], f64::from(smoothing));
            everywhere(
                || {
                    let mut d = vec![7.; logits.len()];
                    (cross_entropy(&logits, classes, targets, smoothing, Some(&mut d)), d)
                },
                |(l, d)| {
                    assert_close("loss", &[*l], &[loss], 1e-5);
                    assert_close("gradient", d, &gradient, 2e-5);
                },
            );
        }
    }

    #[test]
    fn pools_of_any_shape(
        shape in [1..4usize, 1..12, 1..12, 1..40], window in [1..4usize, 1..4], stride in [1..4usize, 1..4],
        padded: bool, max: bool, seed: u64,
    ) {
        let half = if padded { [window[0] / 2, window[1] / 2] } else { [0, 0] };
        let pool = Pool {
            kind: if max { PoolKind::Max } else { PoolKind::Average },
            window,
            stride,
            padding: Padding { top: half[0], left: half[1], bottom: half[0], right: half[1] },
        };
        let mut random = Random(seed);
        let x = random.values(shape.iter().product());
        let dy = random.values(pool.output_shape(shape).iter().product());
        let (y_expected, dx_expected) = (pool_forward(&pool, shape, &widen(&x)), pool_backward(&pool, shape, &widen(&x), &widen(&dy)));
        everywhere(
            || {
                let (mut y, mut inferred, mut dx) = (vec![7.; dy.len()], vec![7.; dy.len()], vec![7.; x.len()]);
                let index = pool.forward(shape, &x, &mut y);
                pool.infer(shape, &x, &mut inferred);
                assert_eq!(y, inferred);
                pool.backward(shape, &index, &dy, &mut dx);
                [y, dx]
            },
            |[y, dx]| {
                assert_close("y", y, &y_expected, 1e-6);
                assert_close("dx", dx, &dx_expected, 1e-6);
            },
        );
    }
}

#[test]
fn the_references_own_gradients_are_right() {
    let mut random = Random(5);
    let mut draw = |n: usize| widen(&random.values(n));
    let all = |n: usize| (0..n).collect::<Vec<_>>();
    let close = |a: &[f64], b: &[f64]| {
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-7, "{a} and {b}");
        }
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();

    let (x, gamma, beta, dy) = (draw(24), draw(3), draw(3), draw(24));
    let [dx, dgamma, dbeta] = batch_norm_backward(&x, &gamma, 1e-3, &dy);
    close(&dx, &numeric_gradient(&x, &all(24), |x| dot(&batch_norm(x, &gamma, &beta, 1e-3)[0], &dy)));
    close(&dgamma, &numeric_gradient(&gamma, &all(3), |g| dot(&batch_norm(&x, g, &beta, 1e-3)[0], &dy)));
    close(&dbeta, &numeric_gradient(&beta, &all(3), |b| dot(&batch_norm(&x, &gamma, b, 1e-3)[0], &dy)));

    let (logits, targets) = (draw(20), draw(20).iter().map(|t| t.abs()).collect::<Vec<_>>());
    let loss = |z: &[f64]| reference::cross_entropy(z, 5, &targets, 0.1).0;
    close(&reference::cross_entropy(&logits, 5, &targets, 0.1).1, &numeric_gradient(&logits, &all(20), loss));

    for pool in [Pool::MAX_2X2, Pool::AVERAGE_2X2] {
        let (x, dy) = (draw(2 * 5 * 4), draw(2 * 2 * 2));
        let shape = [2, 5, 4, 1];
        close(
            &pool_backward(&pool, shape, &x, &dy),
            &numeric_gradient(&x, &all(40), |x| dot(&pool_forward(&pool, shape, x), &dy)),
        );
    }

    // A whole block: the loss is linear in dy, so its gradient is what the reference says.
    let convolution = Convolution {
        batch: 2,
        height: 5,
        width: 4,
        in_channels: 4,
        out_channels: 6,
        kernel: [3, 2],
        stride: [1, 2],
        padding: Padding { top: 1, left: 0, bottom: 1, right: 1 },
        groups: 2,
    };
    let block = ConvBlock {
        convolution,
        activation: Activation::Tanh,
        pool: Some(Pool::AVERAGE_2X2),
        precision: Precision::F32,
    };
    let mut random = Random(6);
    let (x, w, b) = (random.values(160), random.values(72), random.values(6));
    let dy = random.values(block.output_shape().iter().product());
    let (ones, zeros) = ([1.; 6], [0.; 6]);
    let loss = |x: &[f32], w: &[f32], b: &[f32]| {
        dot(&conv_block(&block, x, w, b, [&ones, &zeros], &dy).y, &widen(&dy))
    };
    let expected = conv_block(&block, &x, &w, &b, [&ones, &zeros], &dy);
    // Steps that f32 represents, as the reference takes f32.
    let step = 1. / 1024.;
    let numeric = |values: &[f32], loss: &dyn Fn(&[f32]) -> f64| {
        let at = |i: usize, change: f32| {
            let mut values = values.to_vec();
            let before = values[i];
            values[i] += change;
            (loss(&values), f64::from(values[i]) - f64::from(before))
        };
        let slope = |i| {
            let ((high, up), (low, down)) = (at(i, step), at(i, -step));
            (high - low) / (up - down)
        };
        (0..values.len()).map(slope).collect::<Vec<f64>>()
    };
    for (analytic, numeric) in [
        (&expected.dx, numeric(&x, &|x| loss(x, &w, &b))),
        (&expected.dw, numeric(&w, &|w| loss(&x, w, &b))),
        (&expected.db, numeric(&b, &|b| loss(&x, &w, b))),
    ] {
        for (a, n) in analytic.iter().zip(&numeric) {
            assert!((a - n).abs() < 2e-5, "{a} and {n}");
        }
    }
}

#[test]
fn activations_and_their_derivatives() {
    let x: Vec<f32> = (-2000..2000).map(|i| i as f32 / 200. + 1e-3).collect();
    for activation in ACTIVATIONS.into_iter().chain([Activation::Silu, Activation::Gelu]) {
        let expected: Vec<f64> = x.iter().map(|&x| activate(activation, f64::from(x))).collect();
        let slopes: Vec<f64> = x.iter().map(|&x| derivative(activation, f64::from(x))).collect();
        everywhere(
            || {
                let [mut y, mut dx, mut dx_at] = [(); 3].map(|()| vec![7.; x.len()]);
                activation.forward(&x, &mut y);
                activation.backward_at(&x, &vec![1.; x.len()], &mut dx_at);
                if activation.derives_from_output() {
                    activation.backward(&y, &vec![1.; x.len()], &mut dx);
                } else {
                    dx.copy_from_slice(&dx_at);
                }
                [y, dx, dx_at]
            },
            |[y, dx, dx_at]| {
                for ((&y, &e), &x) in y.iter().zip(&expected).zip(&x) {
                    let error = (f64::from(y) - e).abs();
                    assert!(error < 3e-7 * f64::from(x.abs().max(1.)), "{activation:?}({x}): {y}, not {e}");
                }
                assert_close("dx", dx, &slopes, 1e-6);
                assert_close("dx from x", dx_at, &slopes, 1e-6);
            },
        );
    }
}

/// Values that PyTorch 2 gives.
#[test]
fn silu_and_gelu_are_the_usual_ones() {
    let x = [-3., -0.5, 0., 1., 2.5];
    for (activation, expected) in [
        (Activation::Silu, [-0.142_277_6, -0.188_770_3, 0., 0.731_058_6, 2.310_354_7]),
        (Activation::Gelu, [-0.004_049_7, -0.154_268_8, 0., 0.841_344_7, 2.484_475_9]),
    ] {
        let mut y = [7.; 5];
        activation.forward(&x, &mut y);
        assert_close("y", &y, &expected, 2e-7);
    }
    // No overflow where the exponential has one.
    let (far, mut y) = ([-1e4, 1e4, f32::MAX, f32::NAN], [7.; 4]);
    for activation in [Activation::Sigmoid, Activation::Silu, Activation::Gelu] {
        activation.forward(&far, &mut y);
        let top = if activation == Activation::Sigmoid { [1., 1.] } else { [1e4, f32::MAX] };
        assert!(y[0].abs() < 1e-30 && y[1..3] == top && y[3].is_nan(), "{activation:?}: {y:?}");
    }
}

#[test]
#[should_panic(expected = "the derivative of Silu needs the input")]
fn a_layer_does_not_train_with_a_derivative_it_cannot_know() {
    Activation::Silu.backward(&[1.], &[1.], &mut [0.]);
}

#[test]
fn a_dropout_mask_depends_on_the_seed_alone() {
    let x = vec![1.; 100_003];
    let dropout = Dropout::new(0.3, 42, 7, 1);
    let mut mask = Vec::new();
    everywhere(
        || {
            let (mut y, mut dx) = (vec![7.; x.len()], vec![7.; x.len()]);
            dropout.forward(&x, &mut y);
            dropout.backward(&x, &mut dx);
            assert_eq!(y, dx, "the backward pass draws the same mask");
            y
        },
        |y| {
            if mask.is_empty() {
                mask = y.clone();
            }
            assert_eq!(*y, mask, "whatever the instruction set and the number of threads");
        },
    );
    let dropped = mask.iter().filter(|&&y| y == 0.).count() as f64 / x.len() as f64;
    // 100,003 draws have a standard deviation of 0.00145: three of them.
    assert!((dropped - 0.3).abs() < 0.0044, "{dropped} are zero");
    assert!(mask.iter().all(|&y| y == 0. || (y - 1. / 0.7).abs() < 1e-6));
    let kept_twice =
        mask.windows(2).filter(|pair| pair[0] != 0. && pair[1] != 0.).count() as f64 / x.len() as f64;
    assert!((kept_twice - 0.49).abs() < 0.006, "neighbours are independent: {kept_twice}");
    for other in [Dropout::new(0.3, 42, 7, 2), Dropout::new(0.3, 42, 8, 1), Dropout::new(0.3, 43, 7, 1)] {
        let mut y = vec![0.; x.len()];
        other.forward(&x, &mut y);
        let same = y.iter().zip(&mask).filter(|(a, b)| a == b).count() as f64 / x.len() as f64;
        assert!((same - (0.09 + 0.49)).abs() < 0.006, "another mask is independent: {same} agree");
    }
}

#[test]
fn a_fold_is_the_same_as_an_affine_transform() {
    let mut random = Random(9);
    let (x, mut w, mut b) = (random.values(2 * 6 * 6 * 3), random.values(20 * 27), random.values(20));
    let (scale, shift) = (random.values(20), random.values(20));
    let convolution = Convolution {
        batch: 2,
        height: 6,
        width: 6,
        in_channels: 3,
        out_channels: 20,
        kernel: [3, 3],
        stride: [1, 1],
        padding: Padding::all(1),
        groups: 1,
    };
    let block =
        ConvBlock { convolution, activation: Activation::Identity, pool: None, precision: Precision::F32 };
    let len = block.output_shape().iter().product();
    let (mut plain, mut after, mut folded) = (vec![0.; len], vec![0.; len], vec![0.; len]);
    block.infer(&block.pack(&w, Some(&b), None), &x, &mut plain);
    scale_shift(&plain, &scale, &shift, &mut after);
    fold(&scale, &shift, &mut w, &mut b);
    block.infer(&block.pack(&w, Some(&b), None), &x, &mut folded);
    assert_close("folded", &folded, &widen(&after), 1e-6);
}

#[test]
fn an_empty_batch_is_no_error() {
    let layer = Dense { batch: 0, inputs: 3, outputs: 2, activation: Activation::Relu };
    let (w, mut dw, mut db) = ([1.; 6], [7.; 6], [7.; 2]);
    layer.forward(&[], &w, None, &mut []);
    layer.backward(DenseGradient {
        x: &[],
        weights: &w,
        y: &[],
        dy: &[],
        dx: Some(&mut []),
        dw: &mut dw,
        db: Some(&mut db),
    });
    assert_eq!((dw, db), ([0.; 6], [0.; 2]));
    assert_eq!(cross_entropy(&[], 10, Targets::Classes(&[]), 0., None), 0.);
}

#[test]
fn an_instruction_set_is_chosen_for_a_scope() {
    for isa in Isa::supported() {
        assert_eq!(isa.with(Isa::current), isa);
        assert_eq!(isa.to_string().parse(), Ok(isa));
    }
    let error = "avx1024".parse::<Isa>().expect_err("there is none");
    assert!(
        error.to_string().starts_with("unknown instruction set 'avx1024' (TAILOR_SIMD takes one of:"),
        "{error}"
    );
    assert_eq!(team::with_threads(5, team::threads), 5);
}
