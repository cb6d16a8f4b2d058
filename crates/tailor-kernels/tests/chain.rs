//! Convolutions that go through a chain a few rows at a time, against the same ones one after the other.

mod reference;

use proptest::prelude::*;
use reference::*;
use tailor_kernels::activation::Activation::{self, *};
use tailor_kernels::bf16::Precision;
use tailor_kernels::conv::{ConvBlock, ConvChain, Convolution, PackedFilter, Padding};

/// Channels behind it, kernel, stride, padding; depthwise, if there are no channels.
type Link = (usize, [usize; 2], usize, [usize; 4], Activation);

/// Blocks that follow each other, from images `[H, W, C]` on; without those that do not fit.
fn blocks(
    images: usize,
    [mut height, mut width, mut channels]: [usize; 3],
    links: &[Link],
) -> Vec<ConvBlock> {
    let mut blocks = Vec::new();
    for &(out_channels, kernel, stride, [top, left, bottom, right], activation) in links {
        let padding = Padding { top, left, bottom, right };
        let convolution = Convolution {
            batch: images,
            height,
            width,
            in_channels: channels,
            out_channels: if out_channels == 0 { channels } else { out_channels },
            kernel: [kernel[0].min(height + top + bottom), kernel[1].min(width + left + right)],
            stride: [stride; 2],
            padding,
            groups: if out_channels == 0 { channels } else { 1 },
        };
        let block = ConvBlock { convolution, activation, pool: None, precision: Precision::F32 };
        if ConvChain::takes(&block) {
            [_, height, width, channels] = convolution.output_shape();
            blocks.push(block);
        }
    }
    blocks
}

fn check(blocks: &[ConvBlock], seed: u64) {
    let mut random = Random(seed);
    let Some(first) = blocks.first() else { return };
    let Convolution { batch, height, width, in_channels, .. } = first.convolution;
    let x = random.values(batch * height * width * in_channels);
    let weights: Vec<[Vec<f32>; 2]> = blocks
        .iter()
        .map(|block| {
            let c = &block.convolution;
            let reduction = c.kernel[0] * c.kernel[1] * c.in_channels / c.groups;
            let scale = 2. / (reduction as f32).sqrt();
            let weights = random.values(c.out_channels * reduction).iter().map(|w| w * scale).collect();
            [weights, random.values(c.out_channels)]
        })
        .collect();
    let packed = || -> Vec<(ConvBlock, PackedFilter)> {
        let pack = |(block, [weights, bias]): (&ConvBlock, &[Vec<f32>; 2])| {
            (*block, block.pack(weights, Some(bias), None))
        };
        blocks.iter().zip(&weights).map(pack).collect()
    };
    everywhere(
        || {
            let one_after_the_other = packed().iter().fold(x.clone(), |x, (block, filter)| {
                let mut y = vec![7.; block.output_shape().iter().product()];
                block.infer(filter, &x, &mut y);
                y
            });
            let mut y = vec![7.; one_after_the_other.len()];
            ConvChain::new(packed()).infer(&x, &mut y);
            [one_after_the_other, y]
        },
        |[one_after_the_other, y]| assert_close("y", y, &widen(one_after_the_other), 1e-6),
    );
}

const AROUND: [usize; 4] = [1; 4];

/// Widened, convolved depthwise, made narrow again: more between the links than fits at a time.
fn mobile(images: usize, size: usize, stride: usize, kernel: usize) -> Vec<ConvBlock> {
    let padding = [kernel / 2; 4];
    let links: [Link; 3] = [
        (96, [1, 1], 1, [0; 4], Relu6),
        (0, [kernel, kernel], stride, padding, Relu6),
        (24, [1, 1], 1, [0; 4], Identity),
    ];
    blocks(images, [size, size, 16], &links)
}

#[test]
fn blocks_of_mobile_networks() {
    for images in [1, 2, 5] {
        for (stride, kernel) in [(1, 3), (2, 3), (1, 5), (2, 5), (3, 3)] {
            check(&mobile(images, 49, stride, kernel), 5); // in bands of rows
            check(&mobile(images, 7, stride, kernel), 6); // some images at a time
        }
    }
}

#[test]
fn a_first_layer_and_one_with_fewer_products() {
    let links: [Link; 4] = [
        (40, [3, 3], 2, AROUND, Relu),
        (0, [3, 3], 1, AROUND, Relu6),
        (48, [1, 1], 1, [0; 4], Identity),
        (64, [3, 3], 1, AROUND, Relu),
    ];
    check(&blocks(3, [90, 70, 3], &links), 1);
    check(&blocks(1, [90, 71, 3], &links), 2);
}

#[test]
fn one_link_is_a_convolution() {
    check(&blocks(3, [20, 9, 5], &[(7, [3, 3], 1, AROUND, Relu)]), 3);
    check(&blocks(2, [6, 6, 6], &[(0, [3, 3], 1, AROUND, Relu)]), 4);
}

#[test]
#[should_panic(expected = "links fit")]
fn links_that_do_not_fit_are_refused() {
    let [first, second] = [10, 11].map(|size| {
        let block = blocks(1, [size, size, 4], &[(4, [1, 1], 1, [0; 4], Relu)])[0];
        (block, block.pack(&[0.; 16], None, None))
    });
    ConvChain::new(vec![first, second]);
}

#[test]
#[should_panic(expected = "packed for this block")]
fn weights_of_another_block_are_refused() {
    let [narrow, wide] =
        [4, 40].map(|channels| blocks(1, [9, 9, 4], &[(channels, [1, 1], 1, [0; 4], Relu)])[0]);
    ConvChain::new(vec![(wide, narrow.pack(&[0.; 16], None, None))]);
}

proptest! {
    #[test]
    fn any_chain(
        images in 1..5usize,
        size in [1..60usize, 1..30, 1..60],
        links in prop::collection::vec(
            (
                prop_oneof![Just(0), 1..50usize, 100..200usize],
                [1..5usize, 1..5],
                1..4usize,
                [0..3usize, 0..3, 0..3, 0..3],
                prop_oneof![Just(Identity), Just(Relu), Just(Relu6), Just(Silu)],
            ),
            1..5,
        ),
        seed: u64,
    ) {
        check(&blocks(images, size, &links), seed);
    }
}
