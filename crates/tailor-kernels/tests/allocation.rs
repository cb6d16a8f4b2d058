//! A steady training step allocates nothing: buffers come back from the step before.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tailor_kernels::activation::Activation;
use tailor_kernels::attention::{Attention, AttentionGradient};
use tailor_kernels::bf16::Precision;
use tailor_kernels::conv::{ConvBlock, ConvGradient, Convolution, NormBlock, NormBlockGradient, Padding};
use tailor_kernels::dense::{Dense, DenseGradient};
use tailor_kernels::dropout::Dropout;
use tailor_kernels::loss::{Targets, cross_entropy};
use tailor_kernels::norm::{
    ActivatedNorm, ActivatedNormGradient, BatchNorm, LayerNorm, LayerNormGradient, NormGradient,
};
use tailor_kernels::optimizer::{Optimizer, Slot};
use tailor_kernels::pool::Pool;
use tailor_kernels::team;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Convolution blocks (pooled, unpooled, padded, rounded, first; with and without batch norm), batch norm, dropout, dense, loss and Adam.
fn step(number: u64) {
    const BATCH: usize = 16;
    let block = |size, in_channels, out_channels, pool, padding| ConvBlock {
        convolution: Convolution {
            batch: BATCH,
            height: size,
            width: size,
            in_channels,
            out_channels,
            kernel: [3, 3],
            stride: [1, 1],
            padding: Padding::all(padding),
            groups: 1,
        },
        activation: Activation::Relu,
        pool,
        precision: Precision::F32,
    };
    static ONES: [f32; 1 << 18] = [1.; 1 << 18];
    // One place for all gradients: `static` memory is no allocation.
    static mut TO: [f32; 1 << 19] = [0.; 1 << 19];
    // SAFETY: this test is single-threaded here, and refers to the array through this one reference.
    let to: &mut [f32] = unsafe { &mut *std::ptr::addr_of_mut!(TO) };
    for (block, first) in [
        (block(12, 1, 32, Some(Pool::MAX_2X2), 0), true),
        (block(12, 32, 24, Some(Pool::MAX_2X2), 0), false),
        (block(8, 40, 32, None, 1), false),
        (ConvBlock { precision: Precision::Bf16, ..block(8, 40, 32, None, 1) }, false),
        (block(12, 16, 16, Some(Pool::AVERAGE_2X2), 0), false),
    ] {
        let c = block.convolution;
        let (x, w) = (BATCH * c.height * c.width * c.in_channels, c.out_channels * 9 * c.in_channels);
        let y_len = block.output_shape().iter().product();
        let (y, rest) = to.split_at_mut(y_len);
        let (dx, rest) = rest.split_at_mut(x);
        let (dw, db) = rest.split_at_mut(w);
        let saved = block.forward(&ONES[..x], &ONES[..w], Some(&ONES[..c.out_channels]), y);
        block.backward(ConvGradient {
            x: &ONES[..x],
            weights: &ONES[..w],
            y,
            saved: &saved,
            dy: &ONES[..y_len],
            dx: (!first).then_some(dx),
            dw: Some(dw),
            db: Some(&mut db[..c.out_channels]),
        });
        if !NormBlock::takes(&block) {
            continue;
        }
        let of_channels = &ONES[..c.out_channels];
        let norm = BatchNorm { gamma: of_channels, beta: of_channels, epsilon: 1e-5 };
        let (db, rest) = db.split_at_mut(c.out_channels);
        let (dgamma, rest) = rest.split_at_mut(c.out_channels);
        let saved = NormBlock { block, norm }.forward(&ONES[..x], &ONES[..w], None, y);
        NormBlock { block, norm }.backward(NormBlockGradient {
            x: &ONES[..x],
            weights: &ONES[..w],
            saved: &saved,
            dy: &ONES[..y_len],
            dx: (!first).then_some(dx),
            dw,
            db,
            dgamma,
            dbeta: &mut rest[..c.out_channels],
        });
    }
    let layer = Dense { batch: BATCH, inputs: 600, outputs: 64, activation: Activation::Relu };
    let (y, rest) = to.split_at_mut(BATCH * 64);
    let (dx, rest) = rest.split_at_mut(BATCH * 600);
    let (dw, rest) = rest.split_at_mut(600 * 64);
    let (db, rest) = rest.split_at_mut(64);
    let (x, w) = (&ONES[..BATCH * 600], &ONES[..600 * 64]);
    layer.forward(x, w, None, y);
    layer.backward(DenseGradient {
        x,
        weights: w,
        y,
        dy: &ONES[..BATCH * 64],
        dx: Some(dx),
        dw,
        db: Some(db),
    });
    Dropout::new(0.5, 1, number, 0).forward(x, dx);
    cross_entropy(&ONES[..160], 10, Targets::Classes(&[3; BATCH]), 0.1, Some(&mut rest[..160]));

    let norm = BatchNorm { gamma: &ONES[..64], beta: &ONES[..64], epsilon: 1e-5 };
    let (normal, rest) = rest.split_at_mut(64_000);
    let (dx, rest) = rest.split_at_mut(64_000);
    let (dgamma, rest) = rest.split_at_mut(64);
    let (dbeta, rest) = rest.split_at_mut(64);
    let x = &ONES[..64_000];
    let statistics = norm.forward(x, normal);
    norm.backward(NormGradient { x, statistics: &statistics, dy: x, dx, dgamma, dbeta });

    let (activation, shortcut) = (Activation::Relu, Some(x));
    let activated = ActivatedNorm { norm, activation };
    let statistics = activated.forward(x, shortcut, normal);
    let (dshortcut, rest) = rest.split_at_mut(64_000);
    let (statistics, dshortcut) = (&statistics, Some(dshortcut));
    let (dy, gradient) = (x, &mut *dx);
    activated.backward(ActivatedNormGradient {
        x,
        shortcut,
        statistics,
        dy,
        dx: gradient,
        dshortcut,
        dgamma,
        dbeta,
    });
    let norm = LayerNorm { gamma: &ONES[..64], beta: &ONES[..64], epsilon: 1e-5 };
    norm.forward(x, normal);
    norm.backward(LayerNormGradient { x, dy: x, dx, dgamma, dbeta });

    let (qkv, dy) = (&ONES[..BATCH * 49 * 3 * 64], &ONES[..BATCH * 49 * 64]);
    let layer = Attention { batch: BATCH, tokens: 49, heads: 2, width: 32 };
    let maps = layer.forward(qkv, &mut normal[..dy.len()]);
    layer.backward(AttentionGradient { qkv, maps: &maps, dy, dqkv: &mut rest[..qkv.len()] });

    let (values, rest) = to.split_at_mut(50_000);
    let (first, second) = rest.split_at_mut(50_000);
    Optimizer::ADAM.step(1e-3, number, &[Slot::new(values, &ONES[..50_000], [first, &mut second[..50_000]])]);
}

#[test]
fn a_steady_step_allocates_nothing() {
    let allocations = |steps: std::ops::Range<u64>| {
        let before = ALLOCATIONS.load(Relaxed);
        steps.for_each(step);
        ALLOCATIONS.load(Relaxed) - before
    };
    team::with_threads(1, || {
        allocations(1..3);
        assert_eq!(allocations(3..6), 0, "allocations in three steps");
    });
    team::with_threads(2, || {
        allocations(6..120);
        // How many buffers two threads use at the same moment is chance, so now and then there is a new one.
        let late = allocations(120..150);
        assert!(late <= 6, "{late} allocations in thirty steps");
    });
}
