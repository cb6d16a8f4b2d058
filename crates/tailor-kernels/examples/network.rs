//! Trains a whole network, `cnn-32-64-64`, with the kernels alone: how layers fit together, and how fast.
//!
//! `cargo run --release -p tailor-kernels --example network [THREADS]` memorises 512 random images of 28×28 and prints
//! the loss, the images per second, and the fastest time of each part of a step.

use std::time::Instant;

use tailor_kernels::activation::Activation;
use tailor_kernels::bf16::Precision;
use tailor_kernels::buffer::AlignedBuffer;
use tailor_kernels::conv::{ConvBlock, ConvGradient, Convolution, Padding, Saved};
use tailor_kernels::dense::{Dense, DenseGradient};
use tailor_kernels::loss::{Targets, cross_entropy};
use tailor_kernels::optimizer::{Optimizer, Slot};
use tailor_kernels::pool::Pool;
use tailor_kernels::{Isa, team};

const BATCH: usize = 64;
const BATCHES: usize = 8;
const STEPS: u64 = 400;

/// A linear congruential generator, uniform in 0 ≤ x < 1.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// Weights or a bias, with what a step needs.
struct Parameter {
    values: AlignedBuffer,
    gradient: AlignedBuffer,
    moments: [AlignedBuffer; 2],
}

impl Parameter {
    fn new(len: usize, fan_in: usize, random: &mut Uniform) -> Self {
        let mut values = AlignedBuffer::new(len);
        values.iter_mut().for_each(|v| *v = (random.next() * 2. - 1.) / (fan_in as f32).sqrt());
        let zeros = || AlignedBuffer::zeroed(len);
        Self { values, gradient: zeros(), moments: [zeros(), zeros()] }
    }
}

fn conv(size: usize, in_channels: usize, out_channels: usize, pool: Option<Pool>) -> ConvBlock {
    let convolution = Convolution {
        batch: BATCH,
        height: size,
        width: size,
        in_channels,
        out_channels,
        kernel: [3, 3],
        stride: [1, 1],
        padding: Padding::default(),
        groups: 1,
    };
    ConvBlock { convolution, activation: Activation::Relu, pool, precision: Precision::F32 }
}

/// The fastest time of each part of a step, in the order they are first met.
#[derive(Default)]
struct Watch(Vec<(&'static str, f64)>);

impl Watch {
    fn time<R>(&mut self, part: &'static str, f: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = f();
        let seconds = start.elapsed().as_secs_f64();
        match self.0.iter_mut().find(|(name, _)| *name == part) {
            Some((_, fastest)) => *fastest = fastest.min(seconds),
            None => self.0.push((part, seconds)),
        }
        result
    }
}

fn main() {
    if let Some(threads) = std::env::args().nth(1) {
        team::set_threads(threads.parse().expect("a number of threads"));
    }
    let mut random = Uniform(7);
    let images: Vec<f32> = (0..784 * BATCH * BATCHES)
        .map(|_| ((0..6).map(|_| random.next()).sum::<f32>() - 3.) * 1.414)
        .collect();
    let labels: Vec<i64> = (0..BATCH * BATCHES).map(|_| (random.next() * 10.) as i64).collect();

    let blocks =
        [conv(28, 1, 32, Some(Pool::MAX_2X2)), conv(13, 32, 64, Some(Pool::MAX_2X2)), conv(5, 64, 64, None)];
    let dense = [
        Dense { batch: BATCH, inputs: 576, outputs: 64, activation: Activation::Relu },
        Dense { batch: BATCH, inputs: 64, outputs: 10, activation: Activation::Identity },
    ];
    let mut random = Uniform(12345);
    let mut weights = Vec::new();
    for (outputs, fan_in) in [(32, 9), (64, 288), (64, 576), (64, 576), (10, 64)] {
        let weight = Parameter::new(outputs * fan_in, fan_in, &mut random);
        weights.push((weight, Parameter::new(outputs, fan_in, &mut random)));
    }
    // What each layer puts out, and the loss's gradient with respect to that.
    let sizes = [13 * 13 * 32, 5 * 5 * 64, 576, 64, 10];
    let mut outputs = sizes.map(|len| AlignedBuffer::new(BATCH * len));
    let mut gradients = sizes.map(|len| AlignedBuffer::new(BATCH * len));

    let names = ["conv 1", "conv 2", "conv 3", "dense 1", "dense 2"];
    let back = ["conv 1 back", "conv 2 back", "conv 3 back", "dense 1 back", "dense 2 back"];
    let (mut watch, mut loss, start) = (Watch::default(), 0., Instant::now());
    for step in 1..=STEPS {
        let batch = step as usize % BATCHES;
        let x = &images[batch * BATCH * 784..(batch + 1) * BATCH * 784];
        let targets = Targets::Classes(&labels[batch * BATCH..(batch + 1) * BATCH]);

        let mut saved: [Saved; 3] = Default::default();
        for layer in 0..5 {
            let (before, after) = outputs.split_at_mut(layer);
            let x = before.last().map_or(x, |input| input);
            let (w, b) = &weights[layer];
            watch.time(names[layer], || match layer {
                0..3 => saved[layer] = blocks[layer].forward(x, &w.values, Some(&b.values), &mut after[0]),
                _ => dense[layer - 3].forward(x, &w.values, Some(&b.values), &mut after[0]),
            });
        }
        loss = watch.time("loss", || cross_entropy(&outputs[4], 10, targets, 0., Some(&mut gradients[4])));
        for layer in (0..5).rev() {
            let (before, after) = gradients.split_at_mut(layer);
            let (dx, dy, y) = (before.last_mut().map(|dx| &mut dx[..]), &after[0], &outputs[layer]);
            let x = if layer == 0 { x } else { &outputs[layer - 1] };
            let (w, b) = &mut weights[layer];
            let (weights, dw, db) = (&w.values, &mut w.gradient, Some(&mut b.gradient[..]));
            watch.time(back[layer], || match layer {
                0..3 => {
                    let saved = &saved[layer];
                    blocks[layer].backward(ConvGradient { x, weights, y, saved, dy, dx, dw: Some(dw), db });
                }
                _ => dense[layer - 3].backward(DenseGradient { x, weights, y, dy, dx, dw, db }),
            });
        }
        watch.time("Adam", || {
            let slots: Vec<Slot> = (weights.iter_mut().flat_map(|(w, b)| [w, b]))
                .map(|p| {
                    let [mean, square] = &mut p.moments;
                    Slot::new(&mut p.values, &p.gradient, [mean, square])
                })
                .collect();
            Optimizer::ADAM.step(1e-3, step, &slots);
        });
    }
    let seconds = start.elapsed().as_secs_f64();
    let alive = |y: &AlignedBuffer| y.iter().filter(|&&y| y > 0.).count() as f32 / y.len() as f32;
    println!("{}, {} threads: loss {loss:.4}", Isa::current(), team::threads());
    println!("alive outputs: {:.2?}", [0, 1, 2].map(|layer| alive(&outputs[layer])));
    for (part, seconds) in &watch.0 {
        println!("{part:<14} {:>8.1} µs", seconds * 1e6);
    }
    let fastest: f64 = watch.0.iter().map(|(_, seconds)| seconds).sum();
    println!(
        "{:.0} images/s over all steps, {:.0} if each part always took its fastest time",
        (STEPS as usize * BATCH) as f64 / seconds,
        BATCH as f64 / fastest
    );
}
