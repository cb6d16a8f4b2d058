//! Plain, slow references in f64: naive loops, one formula each. What the kernels are compared with.
#![allow(dead_code, reason = "each test binary uses some of these")]

use tailor_kernels::Isa;
use tailor_kernels::activation::Activation;
use tailor_kernels::conv::{ConvBlock, Convolution};
use tailor_kernels::pool::{Pool, PoolKind};
use tailor_kernels::team;

/// A small deterministic generator of test values.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 32) as u32
    }

    /// Uniform in ±1. 23 bits, so that equal values (ties in a pool) are rare.
    pub fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (self.next() >> 8) as f32 / (1 << 23) as f32 - 1.).collect()
    }
}

/// Runs `f` on every instruction set this CPU has, with one, two and three threads; and twice each, to see that
/// the results have the same bits.
pub fn everywhere<R: PartialEq>(mut f: impl FnMut() -> R, mut check: impl FnMut(&R)) {
    for isa in Isa::supported() {
        for threads in 1..=3 {
            let mut run = || isa.with(|| team::with_threads(threads, &mut f));
            let first = run();
            assert!(first == run(), "same bits on every run ({isa}, {threads} threads)");
            check(&first);
        }
    }
}

/// What errors are relative to: the largest value; or 0.1, as what is summed up is about 1 and may cancel.
fn scale(expected: &[f64]) -> f64 {
    expected.iter().fold(0.1, |m: f64, v| m.max(v.abs()))
}

/// Whether values agree within [`assert_close`]'s tolerance.
pub fn is_close(actual: &[f32], expected: &[f64], tolerance: f64) -> bool {
    let allowed = tolerance * scale(expected);
    actual.iter().zip(expected).all(|(&a, &e)| (f64::from(a) - e).abs() <= allowed)
}

/// Asserts that values agree, relative to their [`scale`].
pub fn assert_close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    let scale = scale(expected);
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(a) - e).abs() / scale;
        assert!(error <= tolerance, "{what}[{i}]: {a} instead of {e} (error {error:.1e} of {scale:.2e})");
    }
}

pub fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// The nearest bf16, ties to even: by comparing with both neighbors, not by the kernels' trick.
pub fn round_to_bf16(value: f32) -> f32 {
    let below = f32::from_bits(value.to_bits() & 0xffff_0000);
    let above = f32::from_bits((value.to_bits() & 0xffff_0000) + 0x1_0000);
    let [down, up] = [below, above].map(|bf16| (f64::from(bf16) - f64::from(value)).abs());
    let even = below.to_bits() & 0x1_0000 == 0;
    if down < up || down == up && even { below } else { above }
}

pub fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.),
        Activation::Relu6 => x.clamp(0., 6.),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::Silu => x * sigmoid(x),
        Activation::Gelu => x * normal(x),
    }
}

fn sigmoid(x: f64) -> f64 {
    1. / (1. + (-x).exp())
}

/// The normal distribution, by the series whose terms are all positive: 1/2 + φ(x) · Σ x²ⁿ⁺¹ / (2n + 1)!!
fn normal(x: f64) -> f64 {
    let (mut term, mut sum) = (x.abs(), 0.);
    for n in 1..400 {
        sum += term;
        term *= x * x / f64::from(2 * n + 1);
    }
    let above = (0.5 - bell(x) * sum).max(0.);
    if x > 0. { 1. - above } else { above }
}

/// Its density.
fn bell(x: f64) -> f64 {
    (-x * x / 2.).exp() / std::f64::consts::TAU.sqrt()
}

pub fn derivative(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => 1.,
        Activation::Relu => f64::from(x > 0.),
        Activation::Relu6 => f64::from(x > 0. && x < 6.),
        Activation::Tanh => 1. - x.tanh().powi(2),
        Activation::Sigmoid => sigmoid(x) * (1. - sigmoid(x)),
        Activation::Silu => sigmoid(x) * (1. + x * (1. - sigmoid(x))),
        Activation::Gelu => normal(x) + x * bell(x),
    }
}

/// Calls `f(output, input, weight)` with the indices of every product of a convolution.
pub fn products(c: &Convolution, mut f: impl FnMut(usize, usize, usize)) {
    let [n, rows, columns, co] = c.output_shape();
    let (inputs, outputs) = (c.in_channels / c.groups, co / c.groups);
    for image in 0..n {
        for row in 0..rows {
            for column in 0..columns {
                for o in 0..co {
                    for kr in 0..c.kernel[0] {
                        for kc in 0..c.kernel[1] {
                            let y =
                                (row * c.stride[0] + kr).checked_sub(c.padding.top).filter(|&y| y < c.height);
                            let x = (column * c.stride[1] + kc)
                                .checked_sub(c.padding.left)
                                .filter(|&x| x < c.width);
                            let (Some(y), Some(x)) = (y, x) else { continue };
                            for i in 0..inputs {
                                f(
                                    ((image * rows + row) * columns + column) * co + o,
                                    ((image * c.height + y) * c.width + x) * c.in_channels
                                        + o / outputs * inputs
                                        + i,
                                    ((o * c.kernel[0] + kr) * c.kernel[1] + kc) * inputs + i,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Calls `f(output, inputs of its window)` for every output of a pool.
pub fn windows(pool: &Pool, shape: [usize; 4], mut f: impl FnMut(usize, &[usize])) {
    let [n, rows, columns, c] = pool.output_shape(shape);
    let [_, h, w, _] = shape;
    for image in 0..n {
        for row in 0..rows {
            for column in 0..columns {
                for channel in 0..c {
                    let mut inputs = Vec::new();
                    for r in 0..pool.window[0] {
                        for q in 0..pool.window[1] {
                            let y =
                                (row * pool.stride[0] + r).checked_sub(pool.padding.top).filter(|&y| y < h);
                            let x = (column * pool.stride[1] + q)
                                .checked_sub(pool.padding.left)
                                .filter(|&x| x < w);
                            if let (Some(y), Some(x)) = (y, x) {
                                inputs.push(((image * h + y) * w + x) * c + channel);
                            }
                        }
                    }
                    f(((image * rows + row) * columns + column) * c + channel, &inputs);
                }
            }
        }
    }
}

pub fn pool_forward(pool: &Pool, shape: [usize; 4], x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.; pool.output_shape(shape).iter().product()];
    let size = (pool.window[0] * pool.window[1]) as f64;
    windows(pool, shape, |output, inputs| {
        let values = inputs.iter().map(|&i| x[i]);
        y[output] = match pool.kind {
            PoolKind::Max => values.fold(f64::NEG_INFINITY, f64::max),
            PoolKind::Average => values.sum::<f64>() / size,
        };
    });
    y
}

pub fn pool_backward(pool: &Pool, shape: [usize; 4], x: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.; x.len()];
    let size = (pool.window[0] * pool.window[1]) as f64;
    windows(pool, shape, |output, inputs| match pool.kind {
        PoolKind::Max => {
            let mut winner = inputs[0];
            for &i in inputs {
                if x[i] > x[winner] {
                    winner = i;
                }
            }
            dx[winner] += dy[output];
        }
        PoolKind::Average => inputs.iter().for_each(|&i| dx[i] += dy[output] / size),
    });
    dx
}

/// All of a convolution block's results for one set of operands.
pub struct Block {
    pub y: Vec<f64>,
    /// `y` with an affine transform between activation and pool.
    pub y_affine: Vec<f64>,
    pub dx: Vec<f64>,
    pub dw: Vec<f64>,
    pub db: Vec<f64>,
    /// The gradient with respect to what the convolution puts out.
    pub dz: Vec<f64>,
    /// How close the nearest decision is (a ReLU's sign, a pool's winner): where it is too close, rounding may
    /// decide otherwise and gradients cannot be compared.
    pub margin: f64,
}

pub fn conv_block(
    block: &ConvBlock,
    x: &[f32],
    w: &[f32],
    b: &[f32],
    affine: [&[f32]; 2],
    dy: &[f32],
) -> Block {
    let c = &block.convolution;
    let (x, w, dy) = (widen(x), widen(w), widen(dy));
    let co = c.out_channels;
    let shape = c.output_shape();
    let mut z: Vec<f64> = (0..shape.iter().product()).map(|i| f64::from(b[i % co])).collect();
    products(c, |o, i, k| z[o] += x[i] * w[k]);
    let a: Vec<f64> = z.iter().map(|&z| activate(block.activation, z)).collect();
    let transformed: Vec<f64> = a
        .iter()
        .enumerate()
        .map(|(i, a)| a * f64::from(affine[0][i % co]) + f64::from(affine[1][i % co]))
        .collect();
    let mut margin = f64::INFINITY;
    if matches!(block.activation, Activation::Relu | Activation::Relu6) {
        margin = z.iter().fold(margin, |m, z| m.min(z.abs()).min((z - 6.).abs()));
    }
    let (y, y_affine, da) = match &block.pool {
        None => (a.clone(), transformed, dy.clone()),
        Some(pool) => {
            if pool.kind == PoolKind::Max {
                windows(pool, shape, |_, inputs| {
                    let mut values: Vec<f64> = inputs.iter().map(|&i| a[i]).collect();
                    values.sort_by(f64::total_cmp);
                    if let [.., second, first] = values[..]
                        && first != second
                    {
                        margin = margin.min(first - second);
                    }
                });
            }
            (
                pool_forward(pool, shape, &a),
                pool_forward(pool, shape, &transformed),
                pool_backward(pool, shape, &a, &dy),
            )
        }
    };
    let dz: Vec<f64> = da.iter().zip(&z).map(|(da, &z)| da * derivative(block.activation, z)).collect();
    let mut db = vec![0.; co];
    dz.iter().enumerate().for_each(|(o, dz)| db[o % co] += dz);
    Block { y, y_affine, dx: input_gradient(c, &dz, &w), dw: weight_gradient(c, &dz, &x), db, dz, margin }
}

pub fn input_gradient(c: &Convolution, dz: &[f64], w: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.; c.batch * c.height * c.width * c.in_channels];
    products(c, |o, i, k| dx[i] += dz[o] * w[k]);
    dx
}

pub fn weight_gradient(c: &Convolution, dz: &[f64], x: &[f64]) -> Vec<f64> {
    let mut dw = vec![0.; c.out_channels * c.kernel[0] * c.kernel[1] * c.in_channels / c.groups];
    products(c, |o, i, k| dw[k] += dz[o] * x[i]);
    dw
}

/// `a [m, k] · b [k, n]`, each transposed on request.
pub fn matrix_product(
    [m, n, k]: [usize; 3],
    a: impl Fn(usize, usize) -> f64,
    b: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    (0..m * n).map(|i| (0..k).map(|j| a(i / n, j) * b(j, i % n)).sum()).collect()
}

/// The gradient of `loss` at `x` in some coordinates, by central differences.
pub fn numeric_gradient(x: &[f64], coordinates: &[usize], loss: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-5;
    let at = |i: usize, change: f64| {
        let mut x = x.to_vec();
        x[i] += change;
        loss(&x)
    };
    coordinates.iter().map(|&i| (at(i, step) - at(i, -step)) / (2. * step)).collect()
}

/// Batch normalisation of `[rows, c]`: output, mean and biased variance.
pub fn batch_norm(x: &[f64], gamma: &[f64], beta: &[f64], epsilon: f64) -> [Vec<f64>; 3] {
    let c = gamma.len();
    let rows = (x.len() / c) as f64;
    let column = |channel: usize| x.iter().skip(channel).step_by(c);
    let mean: Vec<f64> = (0..c).map(|j| column(j).sum::<f64>() / rows).collect();
    let variance: Vec<f64> =
        (0..c).map(|j| column(j).map(|x| (x - mean[j]).powi(2)).sum::<f64>() / rows).collect();
    let y = |(i, x): (usize, &f64)| {
        gamma[i % c] * (x - mean[i % c]) / (variance[i % c] + epsilon).sqrt() + beta[i % c]
    };
    [x.iter().enumerate().map(y).collect(), mean, variance]
}

/// The gradients of [`batch_norm`]: dx, dγ and dβ.
pub fn batch_norm_backward(x: &[f64], gamma: &[f64], epsilon: f64, dy: &[f64]) -> [Vec<f64>; 3] {
    let c = gamma.len();
    let rows = (x.len() / c) as f64;
    let [normal, _, variance] = batch_norm(x, &vec![1.; c], &vec![0.; c], epsilon);
    let column = |values: &[f64], j: usize| values.iter().skip(j).step_by(c).copied().collect::<Vec<_>>();
    let dbeta: Vec<f64> = (0..c).map(|j| column(dy, j).iter().sum()).collect();
    let dgamma: Vec<f64> =
        (0..c).map(|j| column(dy, j).iter().zip(column(&normal, j)).map(|(d, n)| d * n).sum()).collect();
    let dx = (0..x.len()).map(|i| {
        let j = i % c;
        gamma[j] / (variance[j] + epsilon).sqrt() * (dy[i] - dbeta[j] / rows - normal[i] * dgamma[j] / rows)
    });
    [dx.collect(), dgamma, dbeta]
}

/// Mean cross-entropy of `[n, classes]` with distributions as targets, and its gradient.
pub fn cross_entropy(logits: &[f64], classes: usize, targets: &[f64], smoothing: f64) -> (f64, Vec<f64>) {
    let n = (logits.len() / classes) as f64;
    let (mut loss, mut gradient) = (0., Vec::new());
    for (z, t) in logits.chunks(classes).zip(targets.chunks(classes)) {
        let t: Vec<f64> = t.iter().map(|t| (1. - smoothing) * t + smoothing / classes as f64).collect();
        let sum: f64 = z.iter().map(|z| z.exp()).sum();
        loss -= z.iter().zip(&t).map(|(z, t)| t * (z - sum.ln())).sum::<f64>() / n;
        gradient.extend(z.iter().zip(&t).map(|(z, p)| (z.exp() / sum * t.iter().sum::<f64>() - p) / n));
    }
    (loss, gradient)
}
