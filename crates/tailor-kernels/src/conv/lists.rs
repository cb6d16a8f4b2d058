//! The general backward pass, sparse and exact.
//!
//! A maximum pool passes its gradient to one input of each window and a flat ReLU to none. So for each output
//! channel the outputs that carry a gradient are listed as pairs (gradient, where its inputs begin), and
//!
//! ```text
//! weight gradient  for each pair: sums    += gradient × inputs     sums of a kernel in registers
//! input gradient   for each pair: dinputs += gradient × weights    weights of a kernel in registers
//! ```
//!
//! Both walk over the same pairs. Inputs are cut into slices of up to 32 channels, in which the columns of a
//! kernel row are contiguous: a row of the 3×3 kernel is 96 floats, six AVX-512 vectors, and a band of output
//! rows is listed at a time, so that its slice stays in the first-level cache. Padding, strides, kernel sizes
//! and groups only change where inputs begin.
//!
//! Where most outputs carry a gradient, the input gradient is cheaper as a dense convolution of the output
//! gradient with the kernel turned around.

use super::backward::{OutputGradient, Scratch, parts};
use super::list_gradients::ListGradients;
use super::slices::Plan;
use super::turned::Turned;
use super::{ConvBlock, ConvGradient};
use crate::buffer::AlignedBuffer;
use crate::elementwise;
use crate::pointer::MutPointer;
use crate::simd::Isa;
use crate::team;
use crate::tile::DEAD;

pub(super) fn backward(block: &ConvBlock, gradient: ConvGradient) {
    let isa = Isa::current();
    let outputs = OutputGradient::new(block, isa, &gradient);
    let conv = &block.convolution;
    let plan = Plan::new(conv, isa);
    let dense = (gradient.dx.is_some() && Turned::pays(block, gradient.y))
        .then(|| Turned::new(conv, isa, gradient.weights));
    let weights = match gradient.dx {
        Some(_) if dense.is_none() => plan.pack(gradient.weights),
        _ => AlignedBuffer::new(0),
    };
    let dx = gradient.dx.map(MutPointer::new);

    // Each part of the batch sums on its own: weights as in `Plan::kernel_len`, then one bias a channel.
    let parts = parts(conv);
    let sums_len = plan.weights_len() + conv.out_channels;
    let mut sums = AlignedBuffer::zeroed(parts * sums_len);
    let all_sums = MutPointer::new(&mut sums);
    team::run(parts, |part| {
        // SAFETY: each part has its own sums.
        let (dw, db) = unsafe { all_sums.slice(part * sums_len, sums_len) }.split_at_mut(plan.weights_len());
        let mut worker = Worker::new(&plan, outputs, gradient.x, &weights, dw, db, dx, dense.as_ref());
        worker.images(team::part_of(conv.batch, part, parts));
    });
    let (first, others) = sums.split_at_mut(sums_len);
    for part in others.chunks_exact(sums_len) {
        elementwise::accumulate(isa, part, first);
    }
    plan.unpack(first, gradient.dw);
    if let Some(db) = gradient.db {
        db.copy_from_slice(&first[plan.weights_len()..]);
    }
}

/// One part of the batch at work.
struct Worker<'a> {
    plan: Plan<'a>,
    outputs: OutputGradient<'a>,
    x: &'a [f32],
    weights: &'a [f32],
    dw: &'a mut [f32],
    db: &'a mut [f32],
    dx: Option<MutPointer<'a, f32>>,
    dense: Option<&'a Turned>,
    lists: Lists,
    /// Inputs and their gradients of some images: `[groups][slices][images][window]`, and a vector more, as
    /// the last kernel row is read whole.
    inputs: AlignedBuffer,
    input_gradients: AlignedBuffer,
    scratch: Scratch,
}

impl<'a> Worker<'a> {
    #[allow(clippy::too_many_arguments, reason = "everything a part of the batch works with")]
    fn new(
        plan: &Plan<'a>,
        outputs: OutputGradient<'a>,
        x: &'a [f32],
        weights: &'a [f32],
        dw: &'a mut [f32],
        db: &'a mut [f32],
        dx: Option<MutPointer<'a, f32>>,
        dense: Option<&'a Turned>,
    ) -> Self {
        let plan = plan.bands(outputs.is_windowed());
        let copies = plan.conv.groups * plan.slices * plan.images * plan.window.image + plan.isa.lanes();
        let copied =
            |wanted: bool| AlignedBuffer::zeroed(if wanted && !plan.is_direct() { copies } else { 0 });
        let (inputs, input_gradients) = (copied(true), copied(dx.is_some() && dense.is_none()));
        let lists = Lists::new(plan.conv.out_channels, plan.images * plan.band * plan.extent[1]);
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
            inputs,
            input_gradients,
            scratch: Scratch::default(),
        }
    }

    fn images(&mut self, range: std::ops::Range<usize>) {
        for start in range.clone().step_by(self.plan.images) {
            self.group(start..range.end.min(start + self.plan.images));
        }
    }

    /// The images that are listed together.
    fn group(&mut self, images: std::ops::Range<usize>) {
        let (conv, direct) = (self.plan.conv, self.plan.is_direct());
        let image_len = conv.image_len();
        let sparse_dx = if self.dense.is_none() { self.dx } else { None };
        if !direct {
            for image in images.clone() {
                let from = &self.x[image * image_len..(image + 1) * image_len];
                for (first, live, at) in self.plan.copies(image - images.start) {
                    self.plan.window.copy(from, first, live, &mut self.inputs[at..]);
                }
            }
        }
        let inputs = if direct { self.x[images.start * image_len..].as_ptr() } else { self.inputs.as_ptr() };
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
            for image in images.clone() {
                self.list(image, (image - images.start) * self.plan.window.image, rows.clone());
            }
            let slice_len = self.plan.images * self.plan.window.image;
            self.plan.isa.run(ListGradients {
                plan: &self.plan,
                lists: &self.lists,
                slice_len: if direct { 0 } else { slice_len },
                inputs,
                input_gradients,
                weights: self.weights,
                dw: self.dw,
                db: self.db,
            });
        }

        if let Some(dx) = self.dx
            && !(direct && self.dense.is_none())
        {
            for image in images.clone() {
                // SAFETY: the images of this part are its own.
                let dx = unsafe { dx.slice(image * image_len, image_len) };
                if let Some(turned) = self.dense {
                    turned.image(self.outputs.dense(image, &mut self.scratch), dx);
                    continue;
                }
                for (first, live, at) in self.plan.copies(image - images.start) {
                    self.plan.window.copy_back(&self.input_gradients[at..], first, live, dx);
                }
            }
        }
    }

    /// Lists some rows of one image, whose slice begins `base` floats into each.
    fn list(&mut self, image: usize, base: usize, rows: std::ops::Range<usize>) {
        let (plan, channels) = (&self.plan, self.plan.conv.out_channels);
        let columns = plan.extent[1];
        let outputs = rows.start * columns * channels..rows.end * columns * channels;
        let begin = |output: usize| {
            (base + (rows.start + output / columns) * plan.step[0] + output % columns * plan.step[1]) as u32
        };
        if self.outputs.is_windowed() {
            let (right, down) = (plan.step[1] / 2, plan.step[0] / 2);
            let places = [0, right, down, down + right, 0, 0, 0, 0].map(|place| place as u32);
            let (dz, index) = self.outputs.windows(image, &mut self.scratch);
            let rows = dz[outputs.clone()].chunks_exact(channels).zip(index[outputs].chunks_exact(channels));
            for (output, (dz, index)) in rows.enumerate() {
                self.lists.push_window(begin(output), dz, index, &places);
            }
        } else {
            let dz = self.outputs.dense(image, &mut self.scratch);
            for (output, dz) in dz[outputs].chunks_exact(channels).enumerate() {
                self.lists.push_pixel(begin(output), dz);
            }
        }
    }
}

/// Per output channel the gradients that are not zero, and where their inputs begin.
pub(super) struct Lists {
    /// `[channels][capacity]`; the last place of each list is written, never read.
    gradients: AlignedBuffer,
    begins: AlignedBuffer<u32>,
    capacity: usize,
    /// Per channel the end of its list.
    ends: AlignedBuffer<u32>,
}

impl Lists {
    fn new(channels: usize, outputs: usize) -> Self {
        let capacity = outputs + 1;
        assert!(channels * capacity <= u32::MAX as usize, "lists of {outputs} outputs have 32-bit positions");
        Self {
            gradients: AlignedBuffer::new(channels * capacity),
            begins: AlignedBuffer::new(channels * capacity),
            capacity,
            ends: AlignedBuffer::new(channels),
        }
    }

    fn clear(&mut self) {
        for (channel, end) in self.ends.iter_mut().enumerate() {
            *end = (channel * self.capacity) as u32;
        }
    }

    /// One window: each channel's gradient goes to the place its code names, or nowhere. Without branches: the
    /// pair is always written, and the list grows where it counts.
    fn push_window(&mut self, begin: u32, dz: &[f32], index: &[u8], places: &[u32; 8]) {
        let (gradients, begins) = (self.gradients.as_mut_ptr(), self.begins.as_mut_ptr());
        for ((end, &dz), &code) in self.ends.iter_mut().zip(dz).zip(index) {
            let at = *end as usize;
            // SAFETY: a list takes at most `capacity - 1` pairs between clears, so `at` is one of its places.
            unsafe {
                *gradients.add(at) = dz;
                *begins.add(at) = begin + places[usize::from(code & 7)];
            }
            *end += u32::from(code < DEAD);
        }
    }

    /// One pixel: each channel's gradient, where it is not zero.
    fn push_pixel(&mut self, begin: u32, dz: &[f32]) {
        let (gradients, begins) = (self.gradients.as_mut_ptr(), self.begins.as_mut_ptr());
        for (end, &dz) in self.ends.iter_mut().zip(dz) {
            let at = *end as usize;
            // SAFETY: as in `push_window`.
            unsafe {
                *gradients.add(at) = dz;
                *begins.add(at) = begin;
            }
            *end += u32::from(dz != 0.);
        }
    }

    /// The pairs of one channel.
    #[inline(always)]
    pub fn channel(&self, channel: usize) -> (&[f32], &[u32]) {
        let range = channel * self.capacity..self.ends[channel] as usize;
        (&self.gradients[range.clone()], &self.begins[range])
    }
}
