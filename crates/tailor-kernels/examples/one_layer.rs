//! Times one layer at a time, for `benchmarks/layers.py`, which times the same in PyTorch.
//!
//! `one_layer THREADS` reads lines `KIND NUMBER…` (see `main`) and answers each with the fastest forward pass, and the
//! fastest forward and backward pass together, in seconds: `{"forward": …, "training": …}`.

use std::hint::black_box;
use std::io::BufRead;
use std::time::{Duration, Instant};

use tailor_kernels::activation::Activation;
use tailor_kernels::attention::{Attention, AttentionGradient};
use tailor_kernels::bf16::Precision;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::conv::{
    ActivatedBlock, ActivatedGradient, ConvBlock, ConvGradient, Convolution, Padding, Stage, StageGradient,
};
use tailor_kernels::excitation::{ExciteGradient, excite, excite_backward};
use tailor_kernels::norm::{ActivatedNorm, ActivatedNormGradient, BatchNorm, LayerNorm, LayerNormGradient};
use tailor_kernels::pool::{Pool, global_average, global_average_backward};
use tailor_kernels::residual::{Residual, ResidualGradient};
use tailor_kernels::team;

/// Time spent on each measurement.
const BUDGET: Duration = Duration::from_millis(250);

/// Seconds of the fastest run: other work on the machine only ever adds time. One thread's are seconds of the
/// processor, which do not count what others took.
fn fastest(mut f: impl FnMut()) -> f64 {
    let clock = if team::threads() == 1 { libc::CLOCK_PROCESS_CPUTIME_ID } else { libc::CLOCK_MONOTONIC };
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 5 || start.elapsed() < BUDGET {
        let run = seconds(clock);
        f();
        best = best.min(seconds(clock) - run);
        runs += 1;
    }
    best
}

fn seconds(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` can be written.
    assert_eq!(unsafe { libc::clock_gettime(clock, &mut time) }, 0, "the clock runs");
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

/// Uniform in ±1.
fn values(n: usize) -> AlignedBuffer {
    let mut state = n as u64 + 1;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.
    };
    let mut values = AlignedBuffer::new(n);
    values.iter_mut().for_each(|value| *value = uniform());
    values
}

/// Seconds of a forward pass, and of forward and backward.
type Times = (f64, f64);

fn geometry(n: &[usize]) -> Convolution {
    let [batch, size, in_channels, out_channels, kernel, stride, groups] = n[..] else { panic!("{n:?}") };
    Convolution {
        batch,
        height: size,
        width: size,
        in_channels,
        out_channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: Padding::all(kernel / 2),
        groups,
    }
}

/// Inputs and weights.
fn operands(c: &Convolution) -> (AlignedBuffer, AlignedBuffer) {
    let taps = c.kernel[0] * c.kernel[1] * c.in_channels / c.groups;
    (values(c.batch * c.height * c.width * c.in_channels), values(c.out_channels * taps))
}

/// Not a first layer, whose input gradient nobody needs.
fn is_hidden(c: &Convolution) -> bool {
    c.in_channels != 1 && c.in_channels != 3
}

fn convolution(n: &[usize], inference: bool) -> Times {
    let convolution = geometry(n);
    let activation = if inference { Activation::Relu6 } else { Activation::Identity };
    let block = ConvBlock { convolution, activation, pool: None, precision: Precision::F32 };
    let (x, w) = operands(&convolution);
    let dy = values(block.output_shape().iter().product());
    let [mut y, mut dx, mut dw] = [dy.len(), x.len(), w.len()].map(AlignedBuffer::new);
    if inference {
        let bias = values(convolution.out_channels);
        let filter = block.pack(&w, Some(&bias), None);
        let forward = fastest(|| block.infer(&filter, &x, black_box(&mut y)));
        return (forward, f64::NAN);
    }
    let forward = fastest(|| _ = black_box(block.forward(&x, &w, None, &mut y)));
    let training = fastest(|| {
        let saved = block.forward(&x, &w, None, &mut y);
        block.backward(ConvGradient {
            x: &x,
            weights: &w,
            y: &y,
            saved: &saved,
            dy: &dy,
            dx: is_hidden(&convolution).then_some(&mut dx[..]),
            dw: Some(&mut dw),
            db: None,
        });
    });
    (forward, training)
}

/// A convolution, batch norm and ReLU6, in training.
fn block(n: &[usize]) -> Times {
    let convolution = geometry(n);
    let c = convolution.out_channels;
    let (gamma, beta) = (vec![1.; c], vec![0.; c]);
    let norm = BatchNorm { gamma: &gamma, beta: &beta, epsilon: 1e-5 };
    let norm = ActivatedNorm { norm, activation: Activation::Relu6 };
    let (x, w) = operands(&convolution);
    let stages = [Stage { convolution, precision: Precision::F32, weights: &w, norm }];
    let block = ActivatedBlock { stages: &stages };
    let dy = values(convolution.output_shape().iter().product());
    let [mut y, mut dx, mut dw] = [dy.len(), x.len(), w.len()].map(AlignedBuffer::new);
    let [mut dgamma, mut dbeta] = [(); 2].map(|()| AlignedBuffer::new(c));
    let forward = fastest(|| _ = black_box(block.forward(&x, None, &mut y)));
    let training = fastest(|| {
        let saved = block.forward(&x, None, &mut y);
        block.backward(ActivatedGradient {
            x: &x,
            shortcut: None,
            saved: &saved,
            dy: &dy,
            dx: is_hidden(&convolution).then_some(&mut dx[..]),
            dshortcut: None,
            stages: vec![StageGradient { dw: &mut dw, dgamma: &mut dgamma, dbeta: &mut dbeta }],
        });
    });
    (forward, training)
}

fn norm(n: &[usize], activation: Activation) -> Times {
    let [rows, c, with_shortcut] = n[..] else { panic!("{n:?}") };
    let (x, shortcut, dy) = (values(rows * c), values(rows * c), values(rows * c));
    let [mut y, mut dx, mut dshortcut] = [(); 3].map(|()| AlignedBuffer::new(rows * c));
    let [mut dgamma, mut dbeta] = [(); 2].map(|()| AlignedBuffer::new(c));
    let (gamma, beta) = (vec![1.; c], vec![0.; c]);
    let norm = ActivatedNorm { norm: BatchNorm { gamma: &gamma, beta: &beta, epsilon: 1e-5 }, activation };
    let shortcut = (with_shortcut > 0).then_some(&shortcut[..]);
    let forward = fastest(|| _ = black_box(norm.forward(&x, shortcut, &mut y)));
    let training = fastest(|| {
        let statistics = norm.forward(&x, shortcut, &mut y);
        norm.backward(ActivatedNormGradient {
            x: &x,
            shortcut,
            statistics: &statistics,
            dy: &dy,
            dx: &mut dx,
            dshortcut: shortcut.is_some().then_some(&mut dshortcut[..]),
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        });
    });
    (forward, training)
}

fn layer_norm(n: &[usize]) -> Times {
    let [rows, c] = n[..] else { panic!("{n:?}") };
    let (x, dy) = (values(rows * c), values(rows * c));
    let [mut y, mut dx] = [(); 2].map(|()| AlignedBuffer::new(rows * c));
    let [mut dgamma, mut dbeta] = [(); 2].map(|()| AlignedBuffer::new(c));
    let (gamma, beta) = (vec![1.; c], vec![0.; c]);
    let norm = LayerNorm { gamma: &gamma, beta: &beta, epsilon: 1e-5 };
    let forward = fastest(|| norm.forward(&x, black_box(&mut y)));
    let training = fastest(|| {
        norm.forward(&x, black_box(&mut y));
        let (dx, dgamma, dbeta) = (&mut dx[..], &mut dgamma[..], &mut dbeta[..]);
        norm.backward(LayerNormGradient { x: &x, dy: &dy, dx, dgamma, dbeta });
    });
    (forward, training)
}

fn attention(n: &[usize]) -> Times {
    let [batch, tokens, heads, width] = n[..] else { panic!("{n:?}") };
    let layer = Attention { batch, tokens, heads, width };
    let len = batch * tokens * heads * width;
    let (qkv, dy) = (values(3 * len), values(len));
    let [mut y, mut dqkv] = [len, 3 * len].map(AlignedBuffer::new);
    let forward = fastest(|| layer.infer(&qkv, black_box(&mut y)));
    let training = fastest(|| {
        let maps = layer.forward(&qkv, black_box(&mut y));
        layer.backward(AttentionGradient { qkv: &qkv, maps: &maps, dy: &dy, dqkv: &mut dqkv });
    });
    (forward, training)
}

fn activation(n: &[usize], activation: Activation) -> Times {
    let (x, dy) = (values(n[0]), values(n[0]));
    let [mut y, mut dx] = [(); 2].map(|()| AlignedBuffer::new(n[0]));
    let forward = fastest(|| activation.forward(&x, black_box(&mut y)));
    let training = fastest(|| {
        activation.forward(&x, black_box(&mut y));
        activation.backward_at(&x, &dy, black_box(&mut dx));
    });
    (forward, training)
}

fn residual(n: &[usize]) -> Times {
    let (shortcut, branch, dy) = (values(n[0]), values(n[0]), values(n[0]));
    let [mut y, mut dx] = [(); 2].map(|()| AlignedBuffer::new(n[0]));
    let sum = Residual { activation: Activation::Relu, factors: None };
    let forward = fastest(|| sum.forward(&shortcut, &branch, black_box(&mut y)));
    let training = fastest(|| {
        sum.forward(&shortcut, &branch, &mut y);
        sum.backward(ResidualGradient { y: &y, dy: &dy, dsum: Some(&mut dx), dbranch: None });
    });
    (forward, training)
}

fn pool(n: &[usize]) -> Times {
    let [batch, size, c, window, stride] = n[..] else { panic!("{n:?}") };
    let padding = Padding::all((window - 1) / 2);
    let pool = Pool { window: [window; 2], stride: [stride; 2], padding, ..Pool::MAX_2X2 };
    let shape = [batch, size, size, c];
    let (x, dy) = (values(batch * size * size * c), values(pool.output_shape(shape).iter().product()));
    let [mut y, mut dx] = [dy.len(), x.len()].map(AlignedBuffer::new);
    let forward = fastest(|| _ = black_box(pool.forward(shape, &x, &mut y)));
    let training = fastest(|| {
        let index = pool.forward(shape, &x, &mut y);
        pool.backward(shape, &index, &dy, &mut dx);
    });
    (forward, training)
}

fn average(n: &[usize]) -> Times {
    let [batch, size, c] = n[..] else { panic!("{n:?}") };
    let shape = [batch, size, size, c];
    let (x, dy) = (values(batch * size * size * c), values(batch * c));
    let [mut y, mut dx] = [dy.len(), x.len()].map(AlignedBuffer::new);
    let forward = fastest(|| global_average(shape, &x, black_box(&mut y)));
    let training = fastest(|| {
        global_average(shape, &x, black_box(&mut y));
        global_average_backward(shape, &dy, black_box(&mut dx));
    });
    (forward, training)
}

fn excitation(n: &[usize]) -> Times {
    let [batch, size, c] = n[..] else { panic!("{n:?}") };
    let shape = [batch, size, size, c];
    let (x, dy, s) = (values(batch * size * size * c), values(batch * size * size * c), values(batch * c));
    let [mut y, mut dx, mut ds] = [x.len(), x.len(), s.len()].map(AlignedBuffer::new);
    let forward = fastest(|| excite(shape, &x, &s, black_box(&mut y)));
    let training = fastest(|| {
        excite(shape, &x, &s, black_box(&mut y));
        excite_backward(shape, ExciteGradient { x: &x, s: &s, dy: &dy, dx: &mut dx, ds: &mut ds });
    });
    (forward, training)
}

fn main() {
    let threads = std::env::args().nth(1).map_or(1, |threads| threads.parse().expect("a number of threads"));
    team::set_threads(threads);
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("lines of text");
        let (kind, numbers) = line.split_once(' ').expect("KIND NUMBER…");
        let n: Vec<usize> = numbers.split(' ').map(|n| n.parse().expect("a number")).collect();
        let (forward, training) = match kind {
            // Batch, size, channels in and out, kernel, stride, groups.
            "conv" => convolution(&n, false),
            "infer" => convolution(&n, true),
            "block" => block(&n),
            // Rows, channels, whether there is a shortcut.
            "norm-relu" => norm(&n, Activation::Relu),
            "norm-relu6" => norm(&n, Activation::Relu6),
            "norm-silu" => norm(&n, Activation::Silu),
            // Rows, channels.
            "layer-norm" => layer_norm(&n),
            // Batch, tokens, heads, width.
            "attention" => attention(&n),
            // Elements.
            "silu" => activation(&n, Activation::Silu),
            "gelu" => activation(&n, Activation::Gelu),
            "add-relu" => residual(&n),
            // Batch, size, channels; for a maximum also window and stride.
            "max-pool" => pool(&n),
            "average" => average(&n),
            "excite" => excitation(&n),
            _ => panic!("unknown layer {kind}"),
        };
        let training = if training.is_nan() { "null".to_owned() } else { training.to_string() };
        println!("{{\"forward\": {forward}, \"training\": {training}}}");
    }
}
