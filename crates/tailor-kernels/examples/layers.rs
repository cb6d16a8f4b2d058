//! How fast each layer of the reference networks is, forward and backward.
//!
//! `cargo run --release -p tailor-kernels --example layers [THREADS] [BATCH] [LAYER] [bf16]` prints per layer
//! (of those whose name contains LAYER) the fastest of many
//! runs (other work on the machine only ever adds time), the rate in GFLOP/s as if every product were computed (the
//! backward pass skips those that are zero), and that rate's share of what this machine's multiply-adds reach at
//! best.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tailor_kernels::activation::Activation;
use tailor_kernels::bf16::Precision;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::conv::{ConvBlock, ConvGradient, Convolution, NormBlock, NormBlockGradient, Padding};
use tailor_kernels::dense::{Dense, DenseGradient};
use tailor_kernels::dropout::Dropout;
use tailor_kernels::loss::{Targets, cross_entropy};
use tailor_kernels::norm::{BatchNorm, NormGradient};
use tailor_kernels::optimizer::{Optimizer, Slot};
use tailor_kernels::pool::Pool;
use tailor_kernels::{Isa, peak_flops, team};

/// Time spent on each measurement.
const BUDGET: Duration = Duration::from_millis(400);

/// Seconds of the fastest run.
fn fastest(mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 5 || start.elapsed() < BUDGET {
        let run = Instant::now();
        f();
        best = best.min(run.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

/// Roughly normal values.
fn values(n: usize, scale: f32, seed: u64) -> AlignedBuffer {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let values: Vec<f32> = (0..n).map(|_| (0..4).map(|_| uniform()).sum::<f32>() * 1.7 * scale).collect();
    AlignedBuffer::from_slice(&values)
}

struct Report<'a> {
    wanted: &'a str,
    peak: f64,
    precision: Precision,
    total: [f64; 2],
}

impl Report<'_> {
    fn line(&mut self, name: &str, direction: usize, multiply_adds: usize, seconds: f64) {
        let flops = 2. * multiply_adds as f64 / seconds;
        let word = ["forward", "backward"][direction];
        println!(
            "{name:<34} {word:<8} {:>9.1} µs {:>7.1} GFLOP/s {:>4.0} %",
            seconds * 1e6,
            flops / 1e9,
            100. * flops / self.peak
        );
        self.total[direction] += seconds;
    }
}

fn block(
    precision: Precision,
    batch: usize,
    size: usize,
    ci: usize,
    co: usize,
    pool: Option<Pool>,
) -> ConvBlock {
    let convolution = Convolution {
        batch,
        height: size,
        width: size,
        in_channels: ci,
        out_channels: co,
        kernel: [3, 3],
        stride: [1, 1],
        padding: Padding::default(),
        groups: 1,
    };
    ConvBlock { convolution, activation: Activation::Relu, pool, precision }
}

fn convolution(report: &mut Report, batch: usize, size: usize, ci: usize, co: usize, pool: Option<Pool>) {
    let block = block(report.precision, batch, size, ci, co, pool);
    let convolution = block.convolution;
    let name = format!("conv {size}×{size}×{ci} → {co}{}", if pool.is_some() { " pool" } else { "" });
    if !name.contains(report.wanted) {
        return;
    }
    let x = values(batch * size * size * ci, 1., 1);
    let w = values(co * 9 * ci, (2. / (9. * ci as f32)).sqrt(), 2);
    let b = values(co, 0.1, 3);
    let y_len = block.output_shape().iter().product();
    let mut y = AlignedBuffer::new(y_len);
    let filter = block.pack(&w, Some(&b), None);
    let seconds = fastest(|| block.infer(&filter, &x, black_box(&mut y)));
    report.line(&format!("{name} (infer)"), 0, convolution.multiply_adds(), seconds);
    report.total[0] -= seconds;
    let seconds = fastest(|| _ = black_box(block.forward(&x, &w, Some(&b), &mut y)));
    report.line(&name, 0, convolution.multiply_adds(), seconds);
    let saved = block.forward(&x, &w, Some(&b), &mut y);
    let dy = values(y_len, 1e-2, 4);
    let (mut dx, mut dw, mut db) =
        (AlignedBuffer::new(x.len()), AlignedBuffer::new(w.len()), AlignedBuffer::new(co));
    let first = ci == 1;
    let seconds = fastest(|| {
        let dx = (!first).then_some(&mut dx[..]);
        block.backward(ConvGradient {
            x: &x,
            weights: &w,
            y: &y,
            saved: &saved,
            dy: &dy,
            dx,
            dw: Some(&mut dw),
            db: Some(&mut db),
        });
    });
    report.line(&name, 1, convolution.multiply_adds() * if first { 1 } else { 2 }, seconds);
}

/// A convolution with batch norm after it, in training.
fn normalised(report: &mut Report, batch: usize, size: usize, ci: usize, co: usize, pool: Option<Pool>) {
    let block = block(report.precision, batch, size, ci, co, pool);
    let name = format!("conv {size}×{size}×{ci} → {co} norm{}", if pool.is_some() { " pool" } else { "" });
    if !name.contains(report.wanted) {
        return;
    }
    let (x, w) =
        (values(batch * size * size * ci, 1., 1), values(co * 9 * ci, (2. / (9. * ci as f32)).sqrt(), 2));
    let (b, gamma, beta) = (values(co, 0.1, 3), vec![1.; co], vec![0.; co]);
    let normed = NormBlock { block, norm: BatchNorm { gamma: &gamma, beta: &beta, epsilon: 1e-3 } };
    let mut y = AlignedBuffer::new(block.output_shape().iter().product());
    let products = block.convolution.multiply_adds();
    let seconds = fastest(|| _ = black_box(normed.forward(&x, &w, Some(&b), &mut y)));
    report.line(&name, 0, products, seconds);
    let saved = normed.forward(&x, &w, Some(&b), &mut y);
    let dy = values(y.len(), 1e-2, 4);
    let (mut dx, mut dw) = (AlignedBuffer::new(x.len()), AlignedBuffer::new(w.len()));
    let [mut db, mut dgamma, mut dbeta] = [(); 3].map(|()| AlignedBuffer::new(co));
    let first = ci == 1;
    let seconds = fastest(|| {
        normed.backward(NormBlockGradient {
            x: &x,
            weights: &w,
            saved: &saved,
            dy: &dy,
            dx: (!first).then_some(&mut dx[..]),
            dw: &mut dw,
            db: &mut db,
            dgamma: &mut dgamma,
            dbeta: &mut dbeta,
        });
    });
    report.line(&name, 1, products * if first { 1 } else { 2 }, seconds);
}

fn dense(report: &mut Report, batch: usize, inputs: usize, outputs: usize, first: bool) {
    let layer = Dense {
        batch,
        inputs,
        outputs,
        activation: if outputs == 10 { Activation::Identity } else { Activation::Relu },
    };
    let name = format!("dense {inputs} → {outputs}");
    if !name.contains(report.wanted) {
        return;
    }
    let (x, w) = (values(batch * inputs, 1., 1), values(inputs * outputs, (2. / inputs as f32).sqrt(), 2));
    let (b, dy) = (values(outputs, 0.1, 3), values(batch * outputs, 1e-2, 4));
    let mut y = AlignedBuffer::new(batch * outputs);
    let packed = layer.pack(&w, Some(&b));
    let seconds = fastest(|| layer.infer(&packed, &x, black_box(&mut y)));
    report.line(&format!("{name} (infer)"), 0, batch * inputs * outputs, seconds);
    report.total[0] -= seconds;
    let seconds = fastest(|| layer.forward(&x, &w, Some(&b), black_box(&mut y)));
    report.line(&name, 0, batch * inputs * outputs, seconds);
    let (mut dx, mut dw, mut db) =
        (AlignedBuffer::new(x.len()), AlignedBuffer::new(w.len()), AlignedBuffer::new(outputs));
    let seconds = fastest(|| {
        let dx = (!first).then_some(&mut dx[..]);
        layer.backward(DenseGradient {
            x: &x,
            weights: &w,
            y: &y,
            dy: &dy,
            dx,
            dw: &mut dw,
            db: Some(&mut db),
        });
    });
    report.line(&name, 1, batch * inputs * outputs * if first { 1 } else { 2 }, seconds);
}

/// A pass over memory: its time and what it moves.
fn pass(name: &str, bytes: usize, f: impl FnMut()) {
    let seconds = fastest(f);
    println!("{name:<43} {:>9.1} µs {:>7.1} GB/s", seconds * 1e6, bytes as f64 / seconds / 1e9);
}

/// Batch norm, dropout, loss and optimiser, which are bound by memory rather than by multiply-adds.
fn passes(batch: usize) {
    println!("\npasses over memory");
    for (size, c) in [(26, 32), (11, 64), (3, 128)] {
        let len = batch * size * size * c;
        let (x, dy) = (values(len, 1., 1), values(len, 1e-2, 2));
        let (gamma, beta) = (vec![1.; c], vec![0.; c]);
        let norm = BatchNorm { gamma: &gamma, beta: &beta, epsilon: 1e-3 };
        let (mut y, mut dx, mut dgamma, mut dbeta) =
            (AlignedBuffer::new(len), AlignedBuffer::new(len), vec![0.; c], vec![0.; c]);
        let name = format!("batch norm {size}×{size}×{c}");
        pass(&format!("{name} forward"), 12 * len, || _ = norm.forward(&x, &mut y));
        let statistics = norm.forward(&x, &mut y);
        pass(&format!("{name} backward"), 20 * len, || {
            let (dx, dgamma, dbeta) = (&mut dx[..], &mut dgamma[..], &mut dbeta[..]);
            norm.backward(NormGradient { x: &x, statistics: &statistics, dy: &dy, dx, dgamma, dbeta });
        });
        let shape = [batch, size, size, c];
        let mut pooled = AlignedBuffer::new(Pool::MAX_2X2.output_shape(shape).iter().product());
        pass(&format!("max pool {size}×{size}×{c} forward"), 5 * len, || {
            _ = Pool::MAX_2X2.forward(shape, &x, &mut pooled)
        });
        let index = Pool::MAX_2X2.forward(shape, &x, &mut pooled);
        pass(&format!("max pool {size}×{size}×{c} backward"), 5 * len, || {
            Pool::MAX_2X2.backward(shape, &index, &pooled, &mut dx)
        });
    }
    let len = batch * 256;
    let (x, mut y) = (values(len, 1., 1), AlignedBuffer::new(len));
    pass("dropout 256", 8 * len, || Dropout::new(0.3, 1, 2, 3).forward(&x, &mut y));
    let labels = vec![3; batch];
    pass("cross-entropy, 10 classes", 80 * batch, || {
        black_box(cross_entropy(
            &x[..10 * batch],
            10,
            Targets::Classes(&labels),
            0.,
            Some(&mut y[..10 * batch]),
        ));
    });
    let parameters = 93_322;
    let [mut p, mut m, mut v] = [(); 3].map(|()| AlignedBuffer::zeroed(parameters));
    let g = values(parameters, 1e-3, 5);
    pass("Adam, 93,322 parameters", 28 * parameters, || {
        Optimizer::ADAM.step(1e-3, 1, &[Slot::new(&mut p, &g, [&mut m, &mut v])]);
    });
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments.get(i).map(|a| a.parse::<usize>().expect("a number"));
    team::set_threads(number(0).unwrap_or_else(team::threads));
    let batch = number(1).unwrap_or(64);
    let wanted = arguments.get(2).map_or("", String::as_str);
    let precision = match arguments.get(3).map(String::as_str) {
        None => Precision::F32,
        Some("bf16") => Precision::Bf16,
        Some(other) => panic!("a precision is bf16, or left out, not {other}"),
    };
    let isa = Isa::from_environment().unwrap_or_else(|error| panic!("{error}"));
    let peak = peak_flops();
    println!("{isa}, {} threads, batch {batch}; peak {:.0} GFLOP/s", team::threads(), peak / 1e9);
    let max = Some(Pool::MAX_2X2);
    type Layers<'a> = &'a dyn Fn(&mut Report);
    let networks: [(&str, Layers); 5] = [
        ("ann-256-128", &|r| {
            dense(r, batch, 784, 256, true);
            dense(r, batch, 256, 128, false);
            dense(r, batch, 128, 10, false);
        }),
        ("cnn-32-64", &|r| {
            convolution(r, batch, 28, 1, 32, max);
            convolution(r, batch, 13, 32, 64, max);
            dense(r, batch, 1600, 128, false);
            dense(r, batch, 128, 10, false);
        }),
        ("cnn-32-64-64", &|r| {
            convolution(r, batch, 28, 1, 32, max);
            convolution(r, batch, 13, 32, 64, max);
            convolution(r, batch, 5, 64, 64, None);
            dense(r, batch, 576, 64, false);
            dense(r, batch, 64, 10, false);
        }),
        ("cnn-bn-32-64-128", &|r| {
            normalised(r, batch, 28, 1, 32, max);
            normalised(r, batch, 13, 32, 64, max);
            normalised(r, batch, 5, 64, 128, None);
            dense(r, batch, 1152, 128, false);
        }),
        ("cnn-64-64-128-128", &|r| {
            convolution(r, batch, 28, 1, 64, None);
            convolution(r, batch, 26, 64, 64, max);
            convolution(r, batch, 12, 64, 128, None);
            convolution(r, batch, 10, 128, 128, max);
            dense(r, batch, 2048, 256, false);
        }),
    ];
    for (name, layers) in networks {
        println!("\n{name}");
        let mut report = Report { wanted, peak, precision, total: [0.; 2] };
        layers(&mut report);
        let seconds: f64 = report.total.iter().sum();
        println!("{:<34} {:>18.1} µs a step, {:.0} images/s", "all", seconds * 1e6, batch as f64 / seconds);
    }
    if wanted.is_empty() || wanted == "passes" {
        passes(batch);
    }
}
