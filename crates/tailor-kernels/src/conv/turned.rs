//! The input gradient as a dense convolution of the output gradient with the kernel turned around: cheaper than
//! lists where most outputs carry a gradient.

use super::forward::{CHUNK, Convolved};
use super::winograd::{self, Transformed};
use super::{ConvBlock, Convolution, Padding};
use crate::activation::Activation;
use crate::bf16::{FEW_CHANNELS, Precision};
use crate::panels::Panels;
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::Isa;
use crate::tile::Unit;

/// Images whose outputs are counted to decide.
const SAMPLED_IMAGES: usize = 4;

/// What lists cost per output, in terms of what this costs per input: as a plain sum of `f32`, and with bf16 or
/// Winograd's products.
const LISTS_COST: [f32; 2] = [1.35, 2.5];

/// The reduction runs over output channels here.
fn turned_precision(block: &ConvBlock) -> Precision {
    if block.convolution.out_channels > FEW_CHANNELS { block.precision } else { Precision::F32 }
}

/// The kernel turned around: the convolution that maps output gradients to input gradients.
pub(super) struct Turned {
    conv: Convolution,
    filter: TurnedFilter,
}

enum TurnedFilter {
    Panels([Panels; 1]),
    Winograd(winograd::Filter),
}

/// The geometry of the turned convolution of one image.
fn turned_convolution(conv: &Convolution) -> Convolution {
    let [_, height, width, in_channels] = conv.output_shape();
    let [rows, columns] = conv.kernel;
    let padding = Padding {
        top: rows - 1 - conv.padding.top,
        left: columns - 1 - conv.padding.left,
        bottom: rows - 1 - conv.padding.bottom,
        right: columns - 1 - conv.padding.right,
    };
    Convolution { batch: 1, height, width, in_channels, out_channels: conv.in_channels, padding, ..*conv }
}

impl Turned {
    /// Whether this is cheaper than lists. Those cost more per output, but only for outputs that are alive; this
    /// computes all inputs. A few images tell how many outputs are alive.
    pub fn pays(block: &ConvBlock, y: &[f32]) -> bool {
        let conv = &block.convolution;
        let Padding { top, left, bottom, right } = conv.padding;
        let fits = top.max(bottom) < conv.kernel[0] && left.max(right) < conv.kernel[1];
        if block.pool.is_some() || conv.stride != [1, 1] || !fits || conv.groups != 1 {
            return false;
        }
        let alive = match block.activation {
            Activation::Relu | Activation::Relu6 => {
                let images = conv.batch.min(SAMPLED_IMAGES);
                let image = |i: usize| &y[i * conv.batch / images * conv.output_len()..][..conv.output_len()];
                let alive = |i| image(i).iter().filter(|&&y| y > 0.).count();
                (0..images).map(alive).sum::<usize>() as f32 / (images * conv.output_len()) as f32
            }
            _ => 1.,
        };
        let [_, rows, columns, _] = conv.output_shape();
        let halved = turned_precision(block) == Precision::Bf16 || winograd::pays(&turned_convolution(conv));
        LISTS_COST[usize::from(halved)] * alive * (rows * columns) as f32 > (conv.height * conv.width) as f32
    }

    pub fn new(block: &ConvBlock, isa: Isa, weights: &[f32]) -> Self {
        let conv = &block.convolution;
        let turned = turned_convolution(conv);
        let (co, ci) = (conv.out_channels, conv.in_channels);
        if turned_precision(block) == Precision::F32 && winograd::pays(&turned) {
            let filter = TurnedFilter::Winograd(winograd::Filter::turned(conv, isa, weights));
            return Self { conv: turned, filter };
        }
        // Step (row, column, output) of the reduction uses weights[output][last - row][last - column].
        let taps = conv.kernel[0] * conv.kernel[1];
        let start = |position: usize, output: usize| (output * taps + taps - 1 - position) * ci;
        let panels = match turned_precision(block) {
            Precision::F32 => {
                Panels::from_rows(isa, weights, ci, taps * co, None, |step| start(step / co, step % co))
            }
            Precision::Bf16 => {
                let pairs = co.div_ceil(2);
                Panels::from_rows_as_pairs(isa, weights, ci, taps * pairs, |step| {
                    let (position, output) = (step / pairs, step % pairs * 2);
                    (start(position, output), (output + 1 < co).then(|| start(position, output + 1)))
                })
            }
        };
        Self { conv: turned, filter: TurnedFilter::Panels([panels]) }
    }

    /// Images whose pixels together are worth reading all weights for.
    pub fn images_at_once(&self) -> usize {
        (CHUNK / (self.conv.height * self.conv.width)).max(1)
    }

    /// `dx [N, H, W, Ci]` of some images' `dz [N, Ho, Wo, Co]`.
    pub fn images(&self, dz: &[f32], dx: &mut [f32]) {
        let (activation, unit) = (Activation::Identity, Unit::Pixel);
        let images = dz.len() / self.conv.image_len();
        let (x, y) = (ConstPointer::new(dz), MutPointer::new(dx));
        let conv = &Convolution { batch: images, ..self.conv };
        match &self.filter {
            TurnedFilter::Panels(panels) => {
                let convolved = Convolved { conv, activation, unit, panels, x, y, index: None };
                convolved.units(0..images * convolved.units_of_image());
            }
            TurnedFilter::Winograd(filter) => {
                let transformed = Transformed { conv, filter, activation, unit, x, y, index: None };
                transformed.tiles(0..images * transformed.tiles_of_image());
            }
        }
    }
}
