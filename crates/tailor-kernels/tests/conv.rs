//! Convolution blocks against the naive reference: forward, inference and every gradient, on each instruction
//! set and number of threads.

mod reference;

use proptest::prelude::*;
use reference::*;
use tailor_kernels::activation::Activation::{self, *};
use tailor_kernels::bf16::{FEW_CHANNELS, Precision};
use tailor_kernels::conv::{ConvBlock, ConvGradient, Convolution, Padding};
use tailor_kernels::pool::{Pool, PoolKind};

/// Forward, inference with an affine transform, and all gradients of a block.
type Results = [Vec<f32>; 6];

struct Operands {
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    affine: [Vec<f32>; 2],
    dy: Vec<f32>,
}

impl Operands {
    fn draw(block: &ConvBlock, seed: u64) -> Self {
        let c = &block.convolution;
        let mut random = Random(seed);
        let reduction = c.kernel[0] * c.kernel[1] * c.in_channels / c.groups;
        let scale = 2. / (reduction as f32).sqrt();
        Self {
            x: random.values(c.batch * c.height * c.width * c.in_channels),
            w: random.values(c.out_channels * reduction).iter().map(|w| w * scale).collect(),
            b: random.values(c.out_channels),
            affine: [random.values(c.out_channels), random.values(c.out_channels)],
            dy: random.values(block.output_shape().iter().product()),
        }
    }
}

fn kernel_results(block: &ConvBlock, o: &Operands, with_dx: bool) -> Results {
    let len = block.output_shape().iter().product();
    let (mut y, mut inferred) = (vec![0.; len], vec![0.; len]);
    let filter = block.pack(&o.w, Some(&o.b), Some([&o.affine[0], &o.affine[1]]));
    block.infer(&filter, &o.x, &mut inferred);
    let saved = block.forward(&o.x, &o.w, Some(&o.b), &mut y);
    // Filled with what must be overwritten.
    let (mut dx, mut dw, mut db) = (vec![7.; o.x.len()], vec![7.; o.w.len()], vec![7.; o.b.len()]);
    block.backward(ConvGradient {
        x: &o.x,
        weights: &o.w,
        y: &y,
        saved: &saved,
        dy: &o.dy,
        dx: with_dx.then_some(&mut dx[..]),
        dw: Some(&mut dw),
        db: Some(&mut db),
    });
    [y, inferred, if with_dx { dx } else { Vec::new() }, dw, db, Vec::new()]
}

/// The reference's results, with operands rounded in the forward pass where the block says so.
fn expected(block: &ConvBlock, operands: &Operands) -> Block {
    let Operands { x, w, b, affine, dy } = operands;
    let c = &block.convolution;
    let affine = [&affine[0][..], &affine[1]];
    if block.precision == Precision::F32 || c.in_channels / c.groups <= FEW_CHANNELS {
        return conv_block(block, x, w, b, affine, dy);
    }
    let [rounded_x, rounded_w] = [x, w].map(|v| v.iter().map(|&v| round_to_bf16(v)).collect::<Vec<_>>());
    let expected = conv_block(block, &rounded_x, &rounded_w, b, affine, dy);
    let (dx, dw) = (input_gradient(c, &expected.dz, &widen(w)), weight_gradient(c, &expected.dz, &widen(x)));
    Block { dx, dw, ..expected }
}

/// The input gradient from rounded operands, if the block may round them.
fn rounded_input_gradient(block: &ConvBlock, operands: &Operands, dz: &[f64]) -> Vec<f64> {
    let round = |v: f32| if block.precision == Precision::Bf16 { round_to_bf16(v) } else { v };
    let dz: Vec<f64> = dz.iter().map(|&dz| f64::from(round(dz as f32))).collect();
    let w: Vec<f64> = operands.w.iter().map(|&w| f64::from(round(w))).collect();
    input_gradient(&block.convolution, &dz, &w)
}

fn check(block: &ConvBlock, seed: u64) {
    let operands = Operands::draw(block, seed);
    let expected = expected(block, &operands);
    for with_dx in [true, false] {
        everywhere(
            || kernel_results(block, &operands, with_dx),
            |[y, inferred, dx, dw, db, _]| {
                assert_close("y", y, &expected.y, 2e-6);
                assert_close("inferred", inferred, &expected.y_affine, 3e-6);
                if expected.margin > 1e-5 {
                    // Which of the two ways an input gradient goes depends on how many outputs are alive.
                    if with_dx && !is_close(dx, &rounded_input_gradient(block, &operands, &expected.dz), 1e-5)
                    {
                        assert_close("dx", dx, &expected.dx, 1e-5);
                    }
                    assert_close("dw", dw, &expected.dw, 1e-5);
                    assert_close("db", db, &expected.db, 1e-5);
                }
            },
        );
    }
}

/// A frozen block's input gradient is the same, whichever way the backward pass goes.
#[test]
fn frozen_weights_take_no_gradient() {
    let strided = |convolution: Convolution| Convolution { stride: [2; 2], padding: PADDED, ..convolution };
    for convolution in [
        conv([3, 7, 7], [20, 36], 1),
        Convolution { groups: 20, padding: PADDED, ..conv([2, 9, 9], [20, 20], 3) },
        strided(Convolution { groups: 20, ..conv([2, 9, 9], [20, 20], 3) }),
        strided(conv([2, 9, 9], [3, 32], 3)),
    ] {
        let block = ConvBlock { convolution, activation: Relu6, pool: None, precision: Precision::F32 };
        let Operands { x, w, b, dy, .. } = Operands::draw(&block, 5);
        let mut y = vec![0.; dy.len()];
        let saved = block.forward(&x, &w, Some(&b), &mut y);
        let input_gradient = |dw: Option<&mut [f32]>, db: Option<&mut [f32]>| {
            let mut dx = vec![7.; x.len()];
            let (weights, dx_there) = (&w[..], Some(&mut dx[..]));
            block.backward(ConvGradient {
                x: &x,
                weights,
                y: &y,
                saved: &saved,
                dy: &dy,
                dx: dx_there,
                dw,
                db,
            });
            dx
        };
        let (mut dw, mut db) = (vec![7.; w.len()], vec![7.; b.len()]);
        let trained = input_gradient(Some(&mut dw), Some(&mut db));
        assert_eq!(input_gradient(None, None), trained, "{convolution:?}");
    }
}

const PADDED: Padding = Padding { top: 1, left: 1, bottom: 1, right: 1 };

/// What does not train with its block is still fused at inference.
#[test]
fn any_activation_is_inferred() {
    for activation in [Silu, Gelu] {
        for (groups, kernel) in [(1, 3), (1, 1), (20, 3)] {
            let convolution = Convolution { groups, ..conv([2, 7, 7], [20, 20], kernel) };
            let block = ConvBlock { convolution, activation, pool: None, precision: Precision::F32 };
            let Operands { x, w, b, affine, dy } = Operands::draw(&block, 3);
            let expected = conv_block(&block, &x, &w, &b, [&affine[0], &affine[1]], &dy);
            everywhere(
                || {
                    let mut y = vec![7.; dy.len()];
                    block.infer(&block.pack(&w, Some(&b), Some([&affine[0], &affine[1]])), &x, &mut y);
                    y
                },
                |y| assert_close("inferred", y, &expected.y_affine, 3e-6),
            );
        }
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
fn the_layers_of_the_reference_systems() {
    struct Case {
        convolution: Convolution,
        activation: Activation,
        pool: Option<Pool>,
        reason: &'static str,
    }
    let max = Some(Pool::MAX_2X2);
    let cases = [
        Case {
            convolution: conv([3, 28, 28], [1, 32], 3),
            activation: Relu,
            pool: max,
            reason: "a first layer",
        },
        Case { convolution: conv([2, 28, 28], [1, 64], 3), activation: Relu, pool: None, reason: "unpooled" },
        Case {
            convolution: conv([3, 13, 13], [32, 64], 3),
            activation: Relu,
            pool: max,
            reason: "an odd size",
        },
        Case {
            convolution: conv([5, 5, 5], [64, 64], 3),
            activation: Relu,
            pool: None,
            reason: "images share tiles",
        },
        Case {
            convolution: conv([2, 8, 9], [16, 100], 3),
            activation: Relu,
            pool: max,
            reason: "two blocks of channels",
        },
        Case {
            convolution: conv([2, 12, 12], [64, 128], 3),
            activation: Relu,
            pool: None,
            reason: "two slices",
        },
        Case {
            convolution: Convolution { padding: Padding::all(2), ..conv([2, 28, 28], [1, 6], 5) },
            activation: Tanh,
            pool: Some(Pool::AVERAGE_2X2),
            reason: "LeNet-5's first",
        },
        Case {
            convolution: conv([2, 14, 14], [6, 16], 5),
            activation: Tanh,
            pool: Some(Pool::AVERAGE_2X2),
            reason: "its second",
        },
        Case {
            convolution: Convolution { padding: Padding::all(1), ..conv([1, 9, 9], [48, 48], 3) },
            activation: Identity,
            pool: None,
            reason: "everything is alive: the dense input gradient, padded",
        },
        Case {
            convolution: Convolution { padding: Padding::all(1), ..conv([2, 13, 11], [35, 41], 3) },
            activation: Relu,
            pool: None,
            reason: "Winograd's tiles beyond the edges",
        },
        Case {
            convolution: conv([1, 28, 28], [40, 33], 3),
            activation: Relu,
            pool: max,
            reason: "more of his tiles than are transformed at a time",
        },
        Case {
            convolution: conv([2, 6, 6], [40, 24], 1),
            activation: Relu6,
            pool: None,
            reason: "pointwise",
        },
        Case {
            convolution: Convolution { stride: [2; 2], ..conv([2, 7, 7], [16, 24], 1) },
            activation: Identity,
            pool: None,
            reason: "a strided shortcut",
        },
        Case {
            convolution: Convolution {
                stride: [2; 2],
                padding: Padding { bottom: 1, right: 1, ..Padding::default() },
                ..conv([2, 8, 8], [3, 20], 3)
            },
            activation: Relu6,
            pool: None,
            reason: "TensorFlow's padding of a strided layer",
        },
        Case {
            convolution: Convolution { groups: 20, padding: Padding::all(1), ..conv([2, 7, 7], [20, 20], 3) },
            activation: Relu6,
            pool: None,
            reason: "depthwise",
        },
        Case {
            convolution: Convolution {
                groups: 70,
                padding: Padding::all(2),
                ..conv([2, 40, 40], [70, 70], 5)
            },
            activation: Tanh,
            pool: None,
            reason: "depthwise, of images that are gone through in bands of rows",
        },
        Case {
            convolution: Convolution {
                stride: [2; 2],
                groups: 70,
                padding: Padding::all(1),
                ..conv([2, 41, 40], [70, 70], 3)
            },
            activation: Relu6,
            pool: None,
            reason: "the same with strides",
        },
        Case {
            convolution: Convolution { padding: Padding::all(1), ..conv([5, 1, 1], [40, 33], 3) },
            activation: Relu,
            pool: None,
            reason: "a single pixel: only the center of the kernel matters",
        },
        Case {
            convolution: Convolution {
                stride: [2; 2],
                padding: Padding::all(1),
                ..conv([3, 2, 2], [40, 33], 3)
            },
            activation: Identity,
            pool: None,
            reason: "a single output, which sees four of nine taps",
        },
        Case {
            convolution: Convolution { groups: 2, padding: Padding::all(2), ..conv([3, 2, 1], [34, 40], 5) },
            activation: Relu,
            pool: None,
            reason: "other taps in rows than in columns, of groups",
        },
        Case {
            convolution: Convolution { padding: Padding::all(1), ..conv([7, 3, 2], [70, 65], 3) },
            activation: Identity,
            pool: None,
            reason: "small images of many channels, which go through together",
        },
        Case {
            convolution: Convolution {
                padding: Padding { top: 2, left: 1, bottom: 0, right: 3 },
                ..conv([2, 5, 6], [64, 100], 5)
            },
            activation: Identity,
            pool: None,
            reason: "the same with taps that few outputs have",
        },
    ];
    for (seed, case) in cases.into_iter().enumerate() {
        println!("{}: {:?}", case.reason, case.convolution);
        for precision in [Precision::F32, Precision::Bf16] {
            let Case { convolution, activation, pool, .. } = case;
            check(&ConvBlock { convolution, activation, pool, precision }, seed as u64);
        }
    }
}

/// That bf16 is what is computed, forward and in a dense input gradient; with an odd number of channels on both sides.
#[test]
fn bf16_rounds_where_it_says() {
    let convolution = Convolution { padding: Padding::all(1), ..conv([2, 6, 7], [5, 19], 3) };
    let block = ConvBlock { convolution, activation: Identity, pool: None, precision: Precision::Bf16 };
    let operands = Operands::draw(&block, 3);
    let expected = self::expected(&block, &operands);
    let dx_expected = rounded_input_gradient(&block, &operands, &expected.dz);
    let exact = self::expected(&ConvBlock { precision: Precision::F32, ..block }, &operands);
    everywhere(
        || kernel_results(&block, &operands, true),
        |[y, _, dx, dw, ..]| {
            assert_close("y", y, &expected.y, 2e-6);
            assert_close("dx", dx, &dx_expected, 2e-6);
            assert_close("dw", dw, &exact.dw, 1e-5);
            assert!(!is_close(y, &exact.y, 1e-4) && !is_close(dx, &exact.dx, 1e-4), "rounding shows");
            // One part in 256 of each operand, one way or the other.
            assert_close("y", y, &exact.y, 1. / 128.);
            assert_close("dx", dx, &exact.dx, 1. / 128.);
        },
    );
}

fn any_block() -> impl Strategy<Value = ConvBlock> {
    let size = (1..4usize, 1..12usize, 1..12usize);
    let channels =
        (1..4usize, prop_oneof![1..8usize, 15..34usize], prop_oneof![1..8usize, 15..50usize], any::<bool>());
    let geometry = (1..6usize, 1..6usize, 1..4usize, 1..4usize, [0..3usize, 0..3, 0..3, 0..3]);
    let activation = prop_oneof![Just(Identity), Just(Relu), Just(Relu6), Just(Tanh), Just(Sigmoid)];
    let kind = prop_oneof![Just(PoolKind::Max), Just(PoolKind::Average)];
    let pool = prop_oneof![
        Just(None),
        Just(Some(Pool::MAX_2X2)),
        (kind, [1..4usize, 1..4], [1..4usize, 1..4]).prop_map(|(kind, window, stride)| {
            let padding =
                Padding { top: window[0] / 2, left: window[1] - 1, bottom: 0, right: window[1] / 2 };
            Some(Pool { kind, window, stride, padding })
        }),
    ];
    let precision = prop_oneof![Just(Precision::F32), Just(Precision::Bf16)];
    let all = (size, channels, geometry, activation, pool, precision);
    all.prop_map(|(size, channels, geometry, activation, pool, precision)| {
        let (batch, height, width) = size;
        let (groups, ci, co, depthwise) = channels;
        let (kh, kw, sh, sw, [top, left, bottom, right]) = geometry;
        let padding = Padding { top, left, bottom, right };
        let kernel = [kh.min(height + top + bottom), kw.min(width + left + right)];
        let (groups, ci, co) = if depthwise {
            (ci, 1, 1)
        } else if groups > 1 {
            (groups, ci.min(8), co.min(8))
        } else {
            (1, ci, co)
        };
        let convolution = Convolution {
            batch,
            height,
            width,
            in_channels: ci * groups,
            out_channels: co * groups,
            kernel,
            stride: [sh, sw],
            padding,
            groups,
        };
        ConvBlock { convolution, activation, pool, precision }
    })
}

proptest! {
    #[test]
    fn any_shape(block in any_block(), seed: u64) {
        check(&block, seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Those that Winograd's algorithm takes, and their input gradients.
    #[test]
    fn any_3x3_of_many_channels(
        size in [1..3usize, 3..9usize, 3..9usize], channels in [32..70usize, 32..70usize],
        padding in [0..3usize, 0..3, 0..3, 0..3], activation in prop_oneof![Just(Identity), Just(Relu), Just(Relu6)],
        pooled: bool, seed: u64,
    ) {
        let [top, left, bottom, right] = padding;
        let padding = Padding { top, left, bottom, right };
        let convolution = Convolution { padding, ..conv(size, channels, 3) };
        let pool = pooled.then_some(Pool::MAX_2X2);
        check(&ConvBlock { convolution, activation, pool, precision: Precision::F32 }, seed);
    }
}
