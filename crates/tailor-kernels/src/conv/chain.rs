//! Convolutions that follow each other, in inference: a few rows at a time go through all of them.
//!
//! A block of a mobile network makes its image up to six times as deep for a depthwise convolution, and flat again behind
//! it. What lies between is by far the largest that the network computes, and nobody else reads it. So it is made row by
//! row, where the next convolution asks for it, and never leaves the second-level cache (Sandler et al. 2018, section 5.1,
//! whose memory-efficient inference goes channel by channel for the same reason).
//!
//! ```text
//! x ── link 0 ── some rows ── link 1 ── some rows ── link 2 ── y      each thread has images of its own
//! ```
//!
//! With fewer images than threads all threads share each link's work, one link after the other.

use std::ops::Range;

use super::forward::{self, check_filter, convolve};
use super::{ConvBlock, Convolution, PackedFilter};
use crate::buffer::AlignedBuffer;
use crate::pointer::MutPointer;
use crate::team;

/// Bytes of what lies between the links at a time: a share of the second-level cache.
const BYTES_BETWEEN: usize = 512 << 10;

/// Unpooled convolution blocks, each of which gets what the one before it puts out; weights packed.
#[derive(Clone, Debug)]
pub struct ConvChain {
    links: Vec<Link>,
    /// Rows of the last link's output that go through together.
    rows_together: usize,
}

#[derive(Clone, Debug)]
struct Link {
    /// Of one image, as it is computed.
    block: ConvBlock,
    filter: PackedFilter,
}

impl ConvChain {
    /// Whether a block can be a link: each row of its output is computed from some rows of its input.
    pub fn takes(block: &ConvBlock) -> bool {
        let live = block.live().convolution;
        block.pool.is_none() && live.height == block.convolution.height && live.is_row_by_row()
    }

    /// Of blocks, their batches aside, and their weights as [`ConvBlock::pack`] packs them.
    ///
    /// # Panics
    /// If there is none, one cannot be a link, or gets another shape than the one before it puts out.
    pub fn new(blocks: Vec<(ConvBlock, PackedFilter)>) -> Self {
        assert!(!blocks.is_empty(), "a chain has links");
        for (block, _) in &blocks {
            assert!(Self::takes(block), "links are computed row by row: {block:?}");
        }
        for pair in blocks.windows(2) {
            let Convolution { height, width, in_channels, .. } = pair[1].0.convolution;
            assert_eq!(pair[0].0.convolution.output_shape()[1..], [height, width, in_channels], "links fit");
        }
        let links = blocks.into_iter().map(|(block, filter)| {
            let mut block = block.live();
            block.convolution.batch = 1;
            check_filter(&block, &filter);
            Link { block, filter }
        });
        let mut chain = Self { links: links.collect(), rows_together: 1 };
        let most =
            (1..=chain.last().output_rows()).take_while(|&rows| chain.bytes_between(rows) <= BYTES_BETWEEN);
        chain.rows_together = most.last().unwrap_or(1);
        chain
    }

    fn last(&self) -> &Link {
        &self.links[self.links.len() - 1]
    }

    /// Floats of an image that goes in, and of one that comes out.
    pub fn image_lens(&self) -> [usize; 2] {
        [self.links[0].block.convolution.image_len(), self.last().block.convolution.output_len()]
    }

    /// `y = conv(… conv(x))` of any number of images, with bias and activation each.
    ///
    /// # Panics
    /// If `x` and `y` are not as many whole images.
    pub fn infer(&self, x: &[f32], y: &mut [f32]) {
        let [x_len, y_len] = self.image_lens();
        let images = x.len() / x_len;
        assert!(x.len() == images * x_len && y.len() == images * y_len, "x and y are as many whole images");
        if images < team::threads() {
            return self.one_after_the_other(images, x, y);
        }
        let is_whole = self.rows_together == self.last().output_rows();
        let y = MutPointer::new(y);
        team::split(images, |_, images| {
            // SAFETY: each image belongs to one part.
            let y = unsafe { y.slice(images.start * y_len, images.len() * y_len) };
            let x = &x[images.start * x_len..images.end * x_len];
            if is_whole {
                return self.whole_images(x, y);
            }
            for (x, y) in x.chunks_exact(x_len).zip(y.chunks_exact_mut(y_len)) {
                self.row_by_row(x, y);
            }
        });
    }

    /// All threads go through one link, then through the next.
    fn one_after_the_other(&self, images: usize, x: &[f32], y: &mut [f32]) {
        let run = |link: &Link, x: &[f32], y: &mut [f32]| {
            let mut block = link.block;
            block.convolution.batch = images;
            forward::run(&block, &link.filter, x, y, None);
        };
        self.through(images, x, y, run);
    }

    /// As many images at a time as fit between the links.
    fn whole_images(&self, x: &[f32], y: &mut [f32]) {
        let [x_len, y_len] = self.image_lens();
        let together = (BYTES_BETWEEN / self.bytes_between(self.rows_together).max(1)).max(1);
        for (x, y) in x.chunks(together * x_len).zip(y.chunks_mut(together * y_len)) {
            let images = x.len() / x_len;
            self.through(images, x, y, |link, x, y| {
                let conv = Convolution { batch: images, ..link.block.convolution };
                convolve(&conv, link.block.activation, &link.filter, x, y);
            });
        }
    }

    /// Runs one link on all images, then the next.
    fn through(&self, images: usize, x: &[f32], y: &mut [f32], run: impl Fn(&Link, &[f32], &mut [f32])) {
        let mut before = AlignedBuffer::default();
        for (at, link) in self.links.iter().enumerate() {
            let x = if at == 0 { x } else { &before };
            if at + 1 == self.links.len() {
                return run(link, x, y);
            }
            let mut between = AlignedBuffer::new(images * link.block.convolution.output_len());
            run(link, x, &mut between);
            before = between;
        }
    }

    /// One image.
    fn row_by_row(&self, x: &[f32], y: &mut [f32]) {
        let before_last =
            self.links.iter().zip(self.rows_asked(self.rows_together)).take(self.links.len() - 1);
        let window = |(link, rows): (&Link, usize)| RowWindow {
            values: AlignedBuffer::new(rows * link.output_row()),
            rows: 0..0,
        };
        let mut windows: Vec<RowWindow> = before_last.map(window).collect();
        let row = self.last().output_row();
        let mut first = 0;
        for y in y.chunks_mut(self.rows_together * row) {
            let rows = first..first + y.len() / row;
            first = rows.end;
            self.pull(self.links.len() - 1, rows, x, &mut windows, y);
        }
    }

    /// Some rows of what link `at` puts out, from the image that the first link gets, and `windows` on the links before it.
    fn pull(&self, at: usize, rows: Range<usize>, x: &[f32], windows: &mut [RowWindow], y: &mut [f32]) {
        let link = &self.links[at];
        let (needed, conv) = link.block.convolution.of_rows(rows);
        let row = conv.width * conv.in_channels;
        let input = match windows.split_last_mut() {
            None => &x[needed.start * row..needed.end * row],
            Some((window, earlier)) => {
                window.forget_before(needed.start, row);
                let missing = window.rows.end..needed.end;
                if !missing.is_empty() {
                    self.pull(at - 1, missing, x, earlier, window.grown_to(needed.end, row));
                }
                &window.values[(needed.start - window.rows.start) * row..][..needed.len() * row]
            }
        };
        convolve(&conv, link.block.activation, &link.filter, input, y);
    }

    /// For each link the most rows of its output that are there at a time, for so many of the last one's.
    fn rows_asked(&self, rows: usize) -> Vec<usize> {
        let mut asked = vec![rows; self.links.len()];
        for at in (1..self.links.len()).rev() {
            let conv = &self.links[at].block.convolution;
            asked[at - 1] = conv.rows_spanned(asked[at]).min(conv.height);
        }
        asked
    }

    fn bytes_between(&self, rows: usize) -> usize {
        let between = self.rows_asked(rows).into_iter().zip(&self.links).take(self.links.len() - 1);
        between.map(|(rows, link)| rows * link.output_row() * size_of::<f32>()).sum()
    }
}

impl Link {
    fn output_rows(&self) -> usize {
        self.block.convolution.output_shape()[1]
    }

    /// Floats.
    fn output_row(&self) -> usize {
        let [_, _, columns, channels] = self.block.convolution.output_shape();
        columns * channels
    }
}

/// Some rows of what a link puts out.
struct RowWindow {
    values: AlignedBuffer,
    rows: Range<usize>,
}

impl RowWindow {
    /// Moves the rows from `first` on, of `row` floats each, to the front.
    fn forget_before(&mut self, first: usize, row: usize) {
        let kept = self.rows.end.saturating_sub(first);
        let from = self.rows.len() - kept;
        self.values.copy_within(from * row..(from + kept) * row, 0);
        self.rows = first..first + kept;
    }

    /// Room for the rows to `end` that are missing.
    fn grown_to(&mut self, end: usize, row: usize) -> &mut [f32] {
        let missing = self.rows.end..end;
        let at = self.rows.len();
        self.rows.end = end;
        &mut self.values[at * row..][..missing.len() * row]
    }
}
