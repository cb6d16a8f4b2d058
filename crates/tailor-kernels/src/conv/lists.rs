//! The general backward pass, sparse and exact.
//!
//! A maximum pool passes its gradient to one input of each window and a flat ReLU to none. So for each output
//! channel the outputs that carry a gradient are listed as pairs (gradient, where its inputs begin), and for each output
//! pixel the channels that do, and
//!
//! ```text
//! weight gradient  for each pair of a channel: sums    += gradient × inputs     sums of a kernel in registers
//! input gradient   for each pair of a pixel:   dinputs += gradient × weights    dinputs of a kernel row in registers
//! ```
//!
//! Inputs are cut into slices of up to 32 channels, in which the columns of a
//! kernel row are contiguous: a row of the 3×3 kernel is 96 floats, six AVX-512 vectors, and a band of output
//! rows is listed at a time, so that its slice stays in the first-level cache. Padding, strides, kernel sizes
//! and groups only change where inputs begin.
//!
//! Where most outputs carry a gradient, the input gradient is cheaper as a dense convolution of the output
//! gradient with the kernel turned around.

use std::ops::Range;

use super::backward::{Operands, OutputGradient, Scratch, parts};
use super::inputs::{GradientSink, Inputs};
use super::list_gradients::ListGradients;
use super::pairs::{Lists, Pushed};
use super::pixels::{InputGradients, PixelLists};
use super::slices::Plan;
use super::turned::Turned;
use crate::buffer::AlignedBuffer;
use crate::elementwise;
use crate::pointer::MutPointer;
use crate::team;

pub(super) fn backward(outputs: OutputGradient, operands: Operands) {
    let OutputGradient { block, isa, .. } = outputs;
    let conv = &block.convolution;
    let plan = Plan::new(conv, isa);
    let Operands { inputs, dx, .. } = operands;
    let dense =
        (dx.is_some() && Turned::pays(block, outputs.y)).then(|| Turned::new(block, isa, operands.weights));
    let mut room = AlignedBuffer::default();
    let weights = match dx {
        Some(_) if dense.is_none() => plan.pack(operands.weights, &mut room),
        _ => &[],
    };

    // Each part of the batch sums on its own: weights as in `Plan::kernel_len`, then one bias a channel.
    let parts = parts(conv);
    let sums_len = plan.weights_len() + conv.out_channels;
    let mut sums = AlignedBuffer::zeroed(parts * sums_len);
    let all_sums = MutPointer::new(&mut sums);
    team::run(parts, |part| {
        // SAFETY: each part has its own sums.
        let (dw, db) = unsafe { all_sums.slice(part * sums_len, sums_len) }.split_at_mut(plan.weights_len());
        let mut worker = Worker::new(&plan, outputs, inputs, weights, dw, db, dx, dense.as_ref());
        worker.images(part, team::part_of(conv.batch, part, parts));
    });
    if let Some(dw) = operands.dw {
        plan.unpack(&sums, sums_len, dw);
    }
    if let Some(db) = operands.db {
        db.fill(0.);
        for part in sums.chunks_exact(sums_len) {
            elementwise::accumulate(isa, &part[plan.weights_len()..], db);
        }
    }
}

/// One part of the batch at work.
struct Worker<'a> {
    plan: Plan<'a>,
    outputs: OutputGradient<'a>,
    x: &'a Inputs<'a>,
    weights: &'a [f32],
    dw: &'a mut [f32],
    db: &'a mut [f32],
    dx: Option<GradientSink<'a>>,
    dense: Option<&'a Turned>,
    lists: Lists,
    /// The same by pixel, where the input gradient is sparse.
    pixels: Option<PixelLists>,
    /// Where the inputs of each listed output begin in its image's slice.
    begins: AlignedBuffer<u32>,
    /// Inputs and their gradients of some images: `[groups][slices][images][window]`, and a vector more, as
    /// the last kernel row is read whole.
    inputs: AlignedBuffer,
    input_gradients: AlignedBuffer,
    scratch: Scratch,
    /// For inputs that are not stored.
    room: AlignedBuffer,
}

impl<'a> Worker<'a> {
    #[allow(clippy::too_many_arguments, reason = "everything a part of the batch works with")]
    fn new(
        plan: &Plan<'a>,
        outputs: OutputGradient<'a>,
        x: &'a Inputs<'a>,
        weights: &'a [f32],
        dw: &'a mut [f32],
        db: &'a mut [f32],
        dx: Option<GradientSink<'a>>,
        dense: Option<&'a Turned>,
    ) -> Self {
        let plan = plan.bands(outputs.is_windowed());
        let copies = plan.conv.groups * plan.slices * plan.images * plan.window.image + plan.isa.lanes();
        let copied =
            |wanted: bool| AlignedBuffer::zeroed(if wanted && !plan.is_direct() { copies } else { 0 });
        let (inputs, input_gradients) = (copied(true), copied(dx.is_some() && dense.is_none()));
        let listed = plan.images * plan.band * plan.extent[1];
        let lists = Lists::new(plan.conv.out_channels, listed, plan.isa);
        let pixels =
            (dx.is_some() && dense.is_none()).then(|| PixelLists::new(&plan, listed, outputs.is_windowed()));
        let begins = plan.begins();
        Self {
            plan,
            outputs,
            x,
            weights,
            dw,
            db,
            dx,
            dense,
            lists,
            pixels,
            begins,
            inputs,
            input_gradients,
            scratch: Scratch::default(),
            room: AlignedBuffer::default(),
        }
    }

    fn images(&mut self, part: usize, range: Range<usize>) {
        let image_len = self.plan.conv.image_len();
        for start in range.clone().step_by(self.plan.images) {
            let images = start..range.end.min(start + self.plan.images);
            self.group(images.clone());
            if let Some(dx) = self.dx {
                // SAFETY: the images of this part are its own, and their gradient has been written.
                unsafe {
                    dx.is_written(self.plan.isa, part, images.start * image_len..images.end * image_len)
                };
            }
        }
    }

    /// The images that are listed together.
    fn group(&mut self, images: Range<usize>) {
        let (conv, direct) = (self.plan.conv, self.plan.is_direct());
        let image_len = conv.image_len();
        let sparse_dx = if self.dense.is_none() { self.dx } else { None };
        if !direct {
            for image in images.clone() {
                let range = image * image_len..(image + 1) * image_len;
                let from = self.x.read(self.plan.isa, range, &mut self.room);
                for (first, live, at) in self.plan.copies(image - images.start) {
                    self.plan.window.copy(from, first, live, &mut self.inputs[at..]);
                }
            }
        }
        let inputs = if direct {
            let range = images.start * image_len..images.end * image_len;
            self.x.read(self.plan.isa, range, &mut self.room).as_ptr()
        } else {
            self.inputs.as_ptr()
        };
        let input_gradients = sparse_dx.map(|dx| {
            if direct {
                // SAFETY: the images of this part are its own.
                let dx = unsafe { dx.slice(images.start * image_len, images.len() * image_len) };
                dx.fill(0.);
                dx.as_mut_ptr()
            } else {
                self.input_gradients.fill(0.);
                self.input_gradients.as_mut_ptr()
            }
        });

        for first_row in (0..self.plan.extent[0]).step_by(self.plan.band) {
            let rows = first_row..self.plan.extent[0].min(first_row + self.plan.band);
            self.lists.clear();
            if let Some(pixels) = &mut self.pixels {
                pixels.clear();
            }
            for image in images.clone() {
                self.list(image, (image - images.start) * self.plan.window.image, rows.clone());
            }
            let slice_len = self.plan.images * self.plan.window.image;
            let slice_len = if direct { 0 } else { slice_len };
            self.plan.isa.run(ListGradients {
                plan: &self.plan,
                lists: &self.lists,
                slice_len,
                inputs,
                dw: self.dw,
                db: self.db,
            });
            if let (Some(lists), Some(input_gradients)) = (&self.pixels, input_gradients) {
                let (plan, weights) = (&self.plan, self.weights);
                plan.isa.run(InputGradients { plan, lists, slice_len, input_gradients, weights });
            }
        }

        if let Some(dx) = self.dx
            && !(direct && self.dense.is_none())
        {
            for image in images.clone() {
                // SAFETY: the images of this part are its own.
                let dx = unsafe { dx.slice(image * image_len, image_len) };
                if let Some(turned) = self.dense {
                    turned.images(self.outputs.dense(image, &mut self.scratch), dx);
                    continue;
                }
                for (first, live, at) in self.plan.copies(image - images.start) {
                    self.plan.window.copy_back(&self.input_gradients[at..], first, live, dx);
                }
            }
        }
    }

    /// Lists some rows of one image, whose slice begins `base` floats into each.
    fn list(&mut self, image: usize, base: usize, rows: Range<usize>) {
        let (plan, channels) = (&self.plan, self.plan.conv.out_channels);
        let begins = &self.begins[rows.start * plan.extent[1]..rows.end * plan.extent[1]];
        let outputs = rows.start * plan.extent[1] * channels..rows.end * plan.extent[1] * channels;
        let (dz, places) = if self.outputs.is_windowed() {
            let (dz, index) = self.outputs.windows(image, &mut self.scratch);
            (dz, Some((&index[outputs.clone()], [plan.step[1] / 2, plan.step[0] / 2])))
        } else {
            (self.outputs.dense(image, &mut self.scratch), None)
        };
        let pushed = Pushed { base, begins, dz: &dz[outputs], places };
        self.lists.push(plan.isa, pushed);
        if let Some(pixels) = &mut self.pixels {
            pixels.push(plan.isa, pushed);
        }
    }
}
