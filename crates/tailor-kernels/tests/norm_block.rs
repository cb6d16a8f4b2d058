//! Convolution, activation, batch norm and pool as one operation, against the naive references of each, one after the
//! other.

mod reference;

use proptest::prelude::*;
use reference::*;
use tailor_kernels::activation::Activation::{self, *};
use tailor_kernels::bf16::Precision;
use tailor_kernels::conv::{ConvBlock, Convolution, NormBlock, NormBlockGradient, Padding};
use tailor_kernels::norm::BatchNorm;
use tailor_kernels::pool::Pool;

const EPSILON: f32 = 1e-3;

/// The reference's results: y, dx, dw, db, dγ and dβ.
struct Expected {
    results: [Vec<f64>; 6],
    /// As [`Block::margin`].
    margin: f64,
    /// The least standard deviation of a channel, ε included.
    deviation: f64,
    /// The most that the magnitudes of a channel's gradients sum up to, of which much may cancel.
    magnitude: f64,
}

struct Operands {
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    dy: Vec<f32>,
}

impl Operands {
    fn draw(block: &ConvBlock, seed: u64) -> Self {
        let c = &block.convolution;
        let mut random = Random(seed);
        let reduction = c.kernel[0] * c.kernel[1] * c.in_channels / c.groups;
        let scale = 2. / (reduction as f32).sqrt();
        // Values that are bf16 already lose nothing when they are rounded, so that the same results are expected.
        let round = |v: f32| if block.precision == Precision::Bf16 { round_to_bf16(v) } else { v };
        let x = random.values(c.batch * c.height * c.width * c.in_channels);
        let w = random.values(c.out_channels * reduction);
        Self {
            x: x.into_iter().map(round).collect(),
            w: w.into_iter().map(|w| round(w * scale)).collect(),
            b: random.values(c.out_channels),
            gamma: random.values(c.out_channels),
            beta: random.values(c.out_channels),
            dy: random.values(block.output_shape().iter().product()),
        }
    }
}

fn expected(block: &ConvBlock, o: &Operands) -> Expected {
    let co = block.convolution.out_channels;
    let shape = block.convolution.output_shape();
    let unpooled = ConvBlock { pool: None, ..*block };
    let (ones, zeros) = (vec![1.; co], vec![0.; co]);
    // The block's gradients depend linearly on `dy`, but it takes f32: so they are computed here, from dz.
    let forward = conv_block(&unpooled, &o.x, &o.w, &o.b, [&ones, &zeros], &vec![0.; shape.iter().product()]);
    let (gamma, beta, dy) = (widen(&o.gamma), widen(&o.beta), widen(&o.dy));
    let [normal, _, variance] = batch_norm(&forward.y, &gamma, &beta, f64::from(EPSILON));
    let mut margin = forward.margin;
    let (y, dnormal) = match &block.pool {
        None => (normal, dy),
        Some(pool) => {
            windows(pool, shape, |_, inputs| {
                let mut values: Vec<f64> = inputs.iter().map(|&i| normal[i]).collect();
                values.sort_by(f64::total_cmp);
                // Equal values are all dead, and the first of them wins.
                if values[3] != values[2] {
                    margin = margin.min(values[3] - values[2]);
                }
            });
            (pool_forward(pool, shape, &normal), pool_backward(pool, shape, &normal, &dy))
        }
    };
    let [da, dgamma, dbeta] = batch_norm_backward(&forward.y, &gamma, f64::from(EPSILON), &dnormal);
    let slope = |y: f64| match block.activation {
        Tanh => 1. - y * y,
        Sigmoid => y * (1. - y),
        activation => derivative(activation, y),
    };
    let dz: Vec<f64> = da.iter().zip(&forward.y).map(|(da, &y)| da * slope(y)).collect();
    let (mut dx, mut dw, mut db) = (vec![0.; o.x.len()], vec![0.; o.w.len()], vec![0.; co]);
    products(&block.convolution, |output, input, weight| {
        dx[input] += dz[output] * f64::from(o.w[weight]);
        dw[weight] += dz[output] * f64::from(o.x[input]);
    });
    dz.iter().enumerate().for_each(|(i, dz)| db[i % co] += dz);
    let least = variance.iter().fold(f64::INFINITY, |least, &v| least.min(v));
    let deviation = (least + f64::from(EPSILON)).sqrt();
    let magnitude =
        (0..co).map(|c| dz.iter().skip(c).step_by(co).map(|dz| dz.abs()).sum::<f64>()).fold(1., f64::max);
    Expected { results: [y, dx, dw, db, dgamma, dbeta], margin, deviation, magnitude }
}

fn kernel_results(block: &ConvBlock, o: &Operands, with_dx: bool) -> [Vec<f32>; 6] {
    let norm = BatchNorm { gamma: &o.gamma, beta: &o.beta, epsilon: EPSILON };
    let normed = NormBlock { block: *block, norm };
    // Filled with what must be overwritten.
    let mut y = vec![7.; o.dy.len()];
    let saved = normed.forward(&o.x, &o.w, Some(&o.b), &mut y);
    let [mut dx, mut dw] = [&o.x, &o.w].map(|like| vec![7.; like.len()]);
    let [mut db, mut dgamma, mut dbeta] = [(); 3].map(|()| vec![7.; o.b.len()]);
    normed.backward(NormBlockGradient {
        x: &o.x,
        weights: &o.w,
        saved: &saved,
        dy: &o.dy,
        dx: with_dx.then_some(&mut dx[..]),
        dw: &mut dw,
        db: &mut db,
        dgamma: &mut dgamma,
        dbeta: &mut dbeta,
    });
    [y, if with_dx { dx } else { Vec::new() }, dw, db, dgamma, dbeta]
}

fn check(block: &ConvBlock, seed: u64) {
    let operands = Operands::draw(block, seed);
    let expected = expected(block, &operands);
    // What f32 rounds off an activation counts as much more as a channel's values are close to each other.
    // It is that of sums of about 1 and of their mean: some units in the last place.
    let lost = 2e-6 / expected.deviation;
    for with_dx in [true, false] {
        everywhere(
            || kernel_results(block, &operands, with_dx),
            |actual| {
                assert_close("y", &actual[0], &expected.results[0], 3e-6 + lost);
                if expected.margin < 1e-5 {
                    return;
                }
                let tolerance = 2e-5 + 20. * lost;
                for (i, what) in ["y", "dx", "dw", "db", "dgamma", "dbeta"].into_iter().enumerate().skip(1) {
                    if i > 1 || with_dx {
                        let tolerance = if i < 4 { tolerance * expected.magnitude } else { tolerance };
                        // A dense input gradient rounds what comes from the norm.
                        let rounds = i == 1 && block.precision == Precision::Bf16;
                        let tolerance = if rounds { tolerance + 1. / 128. } else { tolerance };
                        assert_close(what, &actual[i], &expected.results[i], tolerance);
                    }
                }
            },
        );
    }
}

fn conv(size: [usize; 3], channels: [usize; 2], kernel: usize) -> Convolution {
    Convolution {
        batch: size[0],
        height: size[1],
        width: size[2],
        in_channels: channels[0],
        out_channels: channels[1],
        kernel: [kernel; 2],
        stride: [1; 2],
        padding: Padding::default(),
        groups: 1,
    }
}

#[test]
fn the_blocks_of_the_reference_network_and_every_path_of_the_gradient() {
    let max = Some(Pool::MAX_2X2);
    let padding = Padding::all(1);
    for (seed, (convolution, activation, pool, reason)) in [
        (conv([4, 28, 28], [1, 32], 3), Relu, max, "its first block: few taps"),
        (conv([3, 13, 13], [32, 64], 3), Relu, max, "its second: an odd number of rows and columns"),
        (conv([20, 5, 5], [64, 128], 3), Relu, None, "its third: no pool, several images at once"),
        (Convolution { padding, ..conv([2, 9, 9], [16, 20], 3) }, Identity, max, "a dense input gradient"),
        (conv([3, 6, 7], [12, 18], 1), Relu6, max, "pointwise"),
        (Convolution { groups: 20, padding, ..conv([3, 7, 6], [20, 20], 3) }, Relu, max, "depthwise"),
        (Convolution { groups: 3, ..conv([3, 7, 6], [12, 9], 3) }, Tanh, None, "groups"),
    ]
    .into_iter()
    .enumerate()
    {
        println!("{reason}: {convolution:?}");
        for precision in [Precision::F32, Precision::Bf16] {
            check(&ConvBlock { convolution, activation, pool, precision }, seed as u64);
        }
    }
}

/// As a γ below zero turns the order of a channel's values around, the pool takes the least activation there.
#[test]
fn a_negative_scale_turns_the_maximum_around() {
    let block = ConvBlock {
        convolution: conv([1, 2, 2], [1, 1], 1),
        activation: Identity,
        pool: Some(Pool::MAX_2X2),
        precision: Precision::F32,
    };
    let norm = BatchNorm { gamma: &[-1.], beta: &[0.], epsilon: 0. };
    let mut y = [7.];
    // Mean 2.5, variance (2.25 + 0.25 + 0.25 + 2.25) / 4 = 1.25: the 1 becomes (2.5 - 1) / √1.25.
    let saved = NormBlock { block, norm }.forward(&[2., 4., 1., 3.], &[1.], None, &mut y);
    assert_eq!((saved.statistics.mean[0], saved.statistics.variance[0]), (2.5, 1.25));
    assert!((y[0] - 1.5 / 1.25f32.sqrt()).abs() < 1e-6, "{}", y[0]);
}

proptest! {
    #[test]
    fn any_shape(
        size in [2..5usize, 1..10, 1..10], channels in [1..40usize, 1..40], kernel in 1..4usize, padding in 0..3usize,
        stride in 1..3usize, a in 0..5usize, pooled: bool, rounded: bool, seed: u64,
    ) {
        let activation: Activation = [Identity, Relu, Relu6, Tanh, Sigmoid][a];
        let kernel = kernel.min(size[1] + 2 * padding).min(size[2] + 2 * padding);
        let convolution =
            Convolution { stride: [stride; 2], padding: Padding::all(padding), ..conv(size, channels, kernel) };
        let pool = pooled.then_some(Pool::MAX_2X2);
        let precision = if rounded { Precision::Bf16 } else { Precision::F32 };
        check(&ConvBlock { convolution, activation, pool, precision }, seed);
    }
}
