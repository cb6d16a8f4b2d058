//! No kernel reads or writes beyond its slices: every input and output stands right before an unmapped page, and
//! then right after one. A stray access kills the test with a segmentation fault.
#![cfg(unix)]

mod page;

use page::{Edge, Guarded};
use tailor_kernels::activation::Activation::{self, *};
use tailor_kernels::attention::{Attention, AttentionGradient};
use tailor_kernels::bf16::Precision;
use tailor_kernels::buffer::set_recycling;
use tailor_kernels::conv::{
    ActivatedBlock, ActivatedGradient, ConvBlock, ConvChain, ConvGradient, Convolution, NormBlock,
    NormBlockGradient, Padding, Stage, StageGradient,
};
use tailor_kernels::dense::{Dense, DenseGradient};
use tailor_kernels::dropout::Dropout;
use tailor_kernels::excitation::{ExciteGradient, excite, excite_backward};
use tailor_kernels::loss::{Targets, cross_entropy};
use tailor_kernels::norm::{
    ActivatedNorm, ActivatedNormGradient, BatchNorm, LayerNorm, LayerNormGradient, NormGradient, scale_shift,
};
use tailor_kernels::optimizer::{Optimizer, Slot};
use tailor_kernels::pool::{Pool, PoolKind, global_average, global_average_backward};
use tailor_kernels::residual::{Residual, ResidualGradient};
use tailor_kernels::{Isa, team};

/// On every instruction set, with one and two threads, at both edges of a mapping.
fn everywhere(f: impl Fn(Edge)) {
    // Buffers of the kernels' own are as long as asked for, so that a memory checker sees reads beyond them.
    set_recycling(false);
    for isa in Isa::supported() {
        for threads in [1, 2] {
            for edge in [Edge::Before, Edge::After] {
                isa.with(|| team::with_threads(threads, || f(edge)));
            }
        }
    }
}

/// Size, channels, kernel, stride, padding, groups, activation, pool.
type Case = (usize, [usize; 2], [usize; 2], usize, Padding, usize, Activation, Option<Pool>);

/// Convolutions of every path, with channels and sizes that leave tails behind.
fn blocks() -> Vec<ConvBlock> {
    let max = Some(Pool::MAX_2X2);
    let overlapping =
        Some(Pool { window: [3, 3], stride: [2, 2], padding: Padding::all(1), ..Pool::MAX_2X2 });
    let one = Padding::default();
    #[rustfmt::skip]
    let cases: [Case; 21] = [
        (28, [1, 32],  [3, 3], 1, one,             1,  Relu,     max),
        (28, [1, 33],  [3, 3], 1, one,             1,  Relu,     None),
        (13, [32, 64], [3, 3], 1, one,             1,  Relu,     max),
        (5,  [64, 64], [3, 3], 1, one,             1,  Relu,     None),
        (9,  [3, 7],   [3, 3], 1, Padding::all(1), 1,  Relu6,    max),
        (9,  [37, 50], [3, 3], 1, one,             1,  Tanh,     max),
        (9,  [16, 16], [3, 3], 1, one,             1,  Identity, None),
        (8,  [16, 15], [3, 3], 2, one,             1,  Relu,     None),
        (12, [6, 16],  [5, 5], 1, one,             1,  Tanh,     Some(Pool::AVERAGE_2X2)),
        (7,  [12, 10], [2, 4], 1, one,             1,  Relu,     overlapping),
        (6,  [40, 24], [1, 1], 1, one,             1,  Relu,     None),
        (7,  [20, 9],  [1, 1], 2, one,             1,  Identity, None),
        (7,  [20, 20], [3, 3], 1, Padding::all(1), 20, Relu6,    None),
        (9,  [20, 20], [3, 3], 2, Padding::all(1), 20, Relu,     None),
        (9,  [35, 35], [5, 5], 2, Padding::all(2), 35, Identity, None),
        (7,  [75, 75], [4, 4], 3, Padding::all(1), 75, Identity, None),
        (7,  [12, 18], [3, 3], 1, one,             3,  Relu,     max),
        (8,  [96, 33], [3, 3], 1, one,             1,  Relu,     None),
        (10, [33, 40], [3, 3], 1, Padding::all(1), 1,  Relu,     max),
        (10, [32, 37], [3, 3], 1, Padding::all(1), 1,  Identity, None),
        (7,  [5, 75],  [3, 3], 1, one,             1,  Relu,     max),
    ];
    let block = |(size, channels, kernel, stride, padding, groups, activation, pool): Case| {
        let convolution = Convolution {
            batch: 3,
            height: size,
            width: size,
            in_channels: channels[0],
            out_channels: channels[1],
            kernel,
            stride: [stride; 2],
            padding,
            groups,
        };
        [Precision::F32, Precision::Bf16].map(|precision| ConvBlock {
            convolution,
            activation,
            pool,
            precision,
        })
    };
    cases.into_iter().flat_map(block).collect()
}

#[test]
fn convolution_blocks() {
    for block in blocks() {
        let c = &block.convolution;
        let x_len = c.batch * c.height * c.width * c.in_channels;
        let w_len = c.out_channels * c.kernel[0] * c.kernel[1] * c.in_channels / c.groups;
        let y_len = block.output_shape().iter().product();
        everywhere(|edge| {
            let (x, w, b) = (
                Guarded::random(edge, x_len),
                Guarded::random(edge, w_len),
                Guarded::random(edge, c.out_channels),
            );
            let (scale, shift) =
                (Guarded::random(edge, c.out_channels), Guarded::random(edge, c.out_channels));
            let (mut y, dy) = (Guarded::random(edge, y_len), Guarded::random(edge, y_len));
            block.infer(&block.pack(&w, Some(&b), Some([&scale, &shift])), &x, &mut y);
            let saved = block.forward(&x, &w, Some(&b), &mut y);
            for with_dx in [true, false] {
                let (mut dx, mut dw, mut db) = (
                    Guarded::random(edge, x_len),
                    Guarded::random(edge, w_len),
                    Guarded::random(edge, c.out_channels),
                );
                block.backward(ConvGradient {
                    x: &x,
                    weights: &w,
                    y: &y,
                    saved: &saved,
                    dy: &dy,
                    dx: with_dx.then_some(&mut dx),
                    dw: Some(&mut dw),
                    db: Some(&mut db),
                });
            }
        });
    }
}

/// Each depthwise block between two of one pixel each, of as many images as threads and of one.
#[test]
fn chains() {
    for middle in blocks().into_iter().filter(|block| block.convolution.is_depthwise()) {
        let channels = middle.convolution.in_channels;
        let pointwise = |height, width, in_channels, out_channels| {
            let convolution = Convolution {
                height,
                width,
                in_channels,
                out_channels,
                kernel: [1, 1],
                stride: [1, 1],
                padding: Padding::default(),
                groups: 1,
                ..middle.convolution
            };
            ConvBlock { convolution, ..middle }
        };
        let Convolution { height, width, .. } = middle.convolution;
        let [_, rows, columns, _] = middle.output_shape();
        let links = [pointwise(height, width, 5, channels), middle, pointwise(rows, columns, channels, 7)];
        everywhere(|edge| {
            let packed = links.map(|block| {
                let c = &block.convolution;
                let reduction = c.kernel[0] * c.kernel[1] * c.in_channels / c.groups;
                let weights = Guarded::random(edge, c.out_channels * reduction);
                (block, block.pack(&weights, Some(&Guarded::random(edge, c.out_channels)), None))
            });
            let chain = ConvChain::new(packed.to_vec());
            let [x_len, y_len] = chain.image_lens();
            for images in [1, 3] {
                let (x, mut y) =
                    (Guarded::random(edge, images * x_len), Guarded::random(edge, images * y_len));
                chain.infer(&x, &mut y);
            }
        });
    }
}

#[test]
fn normalised_blocks() {
    for block in blocks().into_iter().filter(NormBlock::takes) {
        let c = &block.convolution;
        let x_len = c.batch * c.height * c.width * c.in_channels;
        let w_len = c.out_channels * c.kernel[0] * c.kernel[1] * c.in_channels / c.groups;
        let y_len = block.output_shape().iter().product();
        everywhere(|edge| {
            let random = |len| Guarded::random(edge, len);
            let per_channel = || random(c.out_channels);
            let (x, w, b, gamma, beta) =
                (random(x_len), random(w_len), per_channel(), per_channel(), per_channel());
            let (mut y, dy) = (random(y_len), random(y_len));
            let normed = NormBlock { block, norm: BatchNorm { gamma: &gamma, beta: &beta, epsilon: 1e-3 } };
            let saved = normed.forward(&x, &w, Some(&b), &mut y);
            for with_dx in [true, false] {
                let (mut dx, mut dw) = (random(x_len), random(w_len));
                normed.backward(NormBlockGradient {
                    x: &x,
                    weights: &w,
                    saved: &saved,
                    dy: &dy,
                    dx: with_dx.then_some(&mut dx),
                    dw: &mut dw,
                    db: &mut per_channel(),
                    dgamma: &mut per_channel(),
                    dbeta: &mut per_channel(),
                });
            }
        });
    }
}

#[test]
fn activated_blocks() {
    let unpooled = |block: &ConvBlock| block.pool.is_none() && block.activation.derives_from_output();
    for block in blocks().into_iter().filter(unpooled) {
        let c = &block.convolution;
        let x_len = c.batch * c.height * c.width * c.in_channels;
        let w_len = c.out_channels * c.kernel[0] * c.kernel[1] * c.in_channels / c.groups;
        let y_len = block.output_shape().iter().product();
        for (kernel, groups) in [(1, 1), (3, 1), (3, c.out_channels)] {
            let second = second(c, kernel, groups);
            let second_len = c.out_channels * kernel * kernel * c.out_channels / groups;
            everywhere(|edge| {
                let random = |len| Guarded::random(edge, len);
                let per_channel = || random(c.out_channels);
                let (x, w, gamma, beta) = (random(x_len), random(w_len), per_channel(), per_channel());
                let (shortcut, dy, mut y) = (random(y_len), random(y_len), random(y_len));
                let norm = BatchNorm { gamma: &gamma, beta: &beta, epsilon: 1e-3 };
                let norm = ActivatedNorm { norm, activation: Relu };
                let first = Stage { convolution: *c, precision: block.precision, weights: &w, norm };
                let second_w = random(second_len);
                let stages = [first, Stage { convolution: second, weights: &second_w, ..first }];
                let activated = ActivatedBlock { stages: &stages };
                let saved = activated.forward(&x, Some(&shortcut), &mut y);
                for wanted in [true, false] {
                    let (mut dx, mut dshortcut, mut dw) = (random(x_len), random(y_len), random(w_len));
                    let mut of_second = random(second_len);
                    let [mut dgamma, mut dbeta] = [(); 2].map(|()| [per_channel(), per_channel()]);
                    let parameters = [&mut dw, &mut of_second].into_iter().zip(&mut dgamma).zip(&mut dbeta);
                    activated.backward(ActivatedGradient {
                        x: &x,
                        shortcut: Some(&shortcut),
                        saved: &saved,
                        dy: &dy,
                        dx: wanted.then_some(&mut dx),
                        dshortcut: wanted.then_some(&mut dshortcut),
                        stages: parameters
                            .map(|((dw, dgamma), dbeta)| StageGradient { dw, dgamma, dbeta })
                            .collect(),
                    });
                }
            });
        }
    }
}

/// What reads the outputs of a convolution, and puts out as many.
fn second(before: &Convolution, kernel: usize, groups: usize) -> Convolution {
    let [_, height, width, channels] = before.output_shape();
    Convolution {
        height,
        width,
        in_channels: channels,
        kernel: [kernel; 2],
        stride: [1, 1],
        padding: Padding::all(kernel / 2),
        groups,
        ..*before
    }
}

#[test]
fn dense_layers() {
    for (batch, inputs, outputs) in [(64, 784, 256), (5, 31, 10), (1, 100, 33), (17, 16, 48), (500, 300, 60)]
    {
        let layer = Dense { batch, inputs, outputs, activation: Relu };
        everywhere(|edge| {
            let random = |len| Guarded::random(edge, len);
            let (x, w, b) = (random(batch * inputs), random(inputs * outputs), random(outputs));
            let (mut y, dy) = (random(batch * outputs), random(batch * outputs));
            layer.forward(&x, &w, Some(&b), &mut y);
            let (mut dx, mut dw, mut db) =
                (random(batch * inputs), random(inputs * outputs), random(outputs));
            let (dx, db) = (Some(&mut dx[..]), Some(&mut db[..]));
            layer.backward(DenseGradient { x: &x, weights: &w, y: &y, dy: &dy, dx, dw: &mut dw, db });
        });
    }
}

#[test]
fn norms_pools_and_the_rest() {
    everywhere(|edge| {
        let random = |len| Guarded::random(edge, len);
        for (rows, c) in [(300, 32), (7, 37), (1000, 70)] {
            let (gamma, beta, x, dy) = (random(c), random(c), random(rows * c), random(rows * c));
            let (mut y, mut dx, mut dgamma, mut dbeta) =
                (random(rows * c), random(rows * c), random(c), random(c));
            let norm = BatchNorm { gamma: &gamma, beta: &beta, epsilon: 1e-5 };
            let statistics = norm.forward(&x, &mut y);
            let (dx_to, dgamma_to, dbeta_to) = (&mut dx, &mut dgamma, &mut dbeta);
            norm.backward(NormGradient {
                x: &x,
                statistics: &statistics,
                dy: &dy,
                dx: dx_to,
                dgamma: dgamma_to,
                dbeta: dbeta_to,
            });
            scale_shift(&x, &gamma, &beta, &mut y);
            let (shortcut, mut dshortcut) = (random(rows * c), random(rows * c));
            for activation in [Relu, Silu] {
                let activated = ActivatedNorm { norm, activation };
                let statistics = activated.forward(&x, Some(&shortcut), &mut y);
                for wants_dshortcut in [false, true] {
                    activated.backward(ActivatedNormGradient {
                        x: &x,
                        shortcut: Some(&shortcut),
                        statistics: &statistics,
                        dy: &dy,
                        dx: &mut dx,
                        dshortcut: wants_dshortcut.then_some(&mut dshortcut),
                        dgamma: &mut dgamma,
                        dbeta: &mut dbeta,
                    });
                }
            }
        }
        for kind in [PoolKind::Max, PoolKind::Average] {
            for (window, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 3, 0)] {
                let pool =
                    Pool { kind, window: [window; 2], stride: [stride; 2], padding: Padding::all(padding) };
                let shape = [3, 9, 8, 21];
                let len = pool.output_shape(shape).iter().product();
                let (x, mut y, dy, mut dx) =
                    (random(3 * 9 * 8 * 21), random(len), random(len), random(3 * 9 * 8 * 21));
                let index = pool.forward(shape, &x, &mut y);
                pool.backward(shape, &index, &dy, &mut dx);
            }
        }
        for (rows, c) in [(300, 192), (7, 37), (1, 1)] {
            let (gamma, beta, x, dy) = (random(c), random(c), random(rows * c), random(rows * c));
            let (mut y, mut dgamma, mut dbeta) = (random(rows * c), random(c), random(c));
            let norm = LayerNorm { gamma: &gamma, beta: &beta, epsilon: 1e-5 };
            norm.forward(&x, &mut y);
            let (dx, dgamma, dbeta) = (&mut y, &mut dgamma, &mut dbeta);
            norm.backward(LayerNormGradient { x: &x, dy: &dy, dx, dgamma, dbeta });
        }
        for (tokens, heads, width) in [(50, 3, 32), (7, 2, 5), (17, 1, 16)] {
            let layer = Attention { batch: 2, tokens, heads, width };
            let len = 2 * tokens * heads * width;
            let (qkv, dy, mut y, mut dqkv) = (random(3 * len), random(len), random(len), random(3 * len));
            let maps = layer.forward(&qkv, &mut y);
            layer.infer(&qkv, &mut y);
            layer.backward(AttentionGradient { qkv: &qkv, maps: &maps, dy: &dy, dqkv: &mut dqkv });
        }
        for shape in [[3, 9, 8, 21], [2, 20, 20, 60]] {
            let [images, factors] = [shape.iter().product(), shape[0] * shape[3]];
            let (x, dy, s) = (random(images), random(images), random(factors));
            let (mut y, mut ds) = (random(images), random(factors));
            excite(shape, &x, &s, &mut y);
            excite_backward(shape, ExciteGradient { x: &x, s: &s, dy: &dy, dx: &mut y, ds: &mut ds });
            global_average(shape, &x, &mut ds);
            global_average_backward(shape, &s, &mut y);
        }
        for len in [1, 15, 16, 17, 40_001] {
            let (a, b, mut y) = (random(len), random(len), random(len));
            Tanh.forward(&a, &mut y);
            Relu6.backward(&a, &b, &mut y);
            Gelu.backward_at(&a, &b, &mut y);
            let residual = Residual { activation: Relu, factors: (len == 15).then_some(&[0.5, 0., 2.]) };
            residual.forward(&a, &b, &mut y);
            let (mut dsum, mut dbranch) = (random(len), random(len));
            let (dsum, dbranch) = (Some(&mut dsum[..]), Some(&mut dbranch[..]));
            residual.backward(ResidualGradient { y: &a, dy: &b, dsum, dbranch });
            Dropout::new(0.5, 1, 2, 3).forward(&a, &mut y);
            let (mut p, g, mut m, mut v) = (random(len), random(len), random(len), random(len));
            Optimizer::ADAM.step(1e-3, 1, &[Slot::new(&mut p, &g, [&mut m, &mut v])]);
        }
        let (logits, targets, mut gradient) = (random(70), random(70), random(70));
        cross_entropy(&logits, 10, Targets::Distributions(&targets), 0.1, Some(&mut gradient));
    });
}
