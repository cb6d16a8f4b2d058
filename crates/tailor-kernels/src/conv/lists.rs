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

use super::backward::{OutputGradient, parts};
use super::forward::Convolved;
use super::window::Window;
use super::{ConvBlock, ConvGradient, Convolution, Padding};
use crate::activation::Activation;
use crate::buffer::AlignedBuffer;
use crate::elementwise;
use crate::panels::Panels;
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::{Isa, Kernel, Simd, unrolled};
use crate::team;
use crate::tile::{DEAD, Unit};

/// Bytes of a slice that one band may touch: three quarters of a first-level cache of 32 KiB.
const BAND_BYTES: usize = 24 << 10;

/// Floats in a kernel row of a slice, about: six vectors of 16.
const ROW_FLOATS: usize = 96;

pub(super) fn backward(block: &ConvBlock, gradient: ConvGradient) {
    let isa = Isa::current();
    let outputs = OutputGradient::new(block, isa, &gradient);
    let conv = &block.convolution;
    let plan = Plan::new(conv, isa);
    let dense = (gradient.dx.is_some() && dense_pays(block, gradient.y))
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

/// Whether the input gradient is cheaper as a dense convolution: the sparse one stores as much as it loads,
/// which costs about twice per output, and the dense one computes inputs that more or fewer outputs reach.
fn dense_pays(block: &ConvBlock, y: &[f32]) -> bool {
    let conv = &block.convolution;
    let Padding { top, left, bottom, right } = conv.padding;
    let fits = top.max(bottom) < conv.kernel[0] && left.max(right) < conv.kernel[1];
    if block.pool.is_some() || conv.stride != [1, 1] || !fits || conv.groups != 1 {
        return false;
    }
    let live = match block.activation {
        Activation::Identity | Activation::Tanh => y.len(),
        Activation::Relu | Activation::Relu6 => y.iter().filter(|&&y| y > 0.).count(),
    };
    let [n, rows, columns, _] = conv.output_shape();
    let inputs = n * conv.height * conv.width;
    // live / outputs × 2 > inputs / outputs, both per channel.
    2 * live > inputs * conv.out_channels && rows * columns > 0
}

/// The kernel turned around: the convolution that maps output gradients to input gradients.
struct Turned {
    conv: Convolution,
    panels: [Panels; 1],
}

impl Turned {
    fn new(conv: &Convolution, isa: Isa, weights: &[f32]) -> Self {
        let [_, height, width, in_channels] = conv.output_shape();
        let [rows, columns] = conv.kernel;
        let (co, ci) = (conv.out_channels, conv.in_channels);
        let padding = Padding {
            top: rows - 1 - conv.padding.top,
            left: columns - 1 - conv.padding.left,
            bottom: rows - 1 - conv.padding.bottom,
            right: columns - 1 - conv.padding.right,
        };
        let turned = Convolution { batch: 1, height, width, in_channels, out_channels: ci, padding, ..*conv };
        // Step (row, column, output) of the reduction uses weights[output][last - row][last - column].
        let panels = Panels::from_rows(isa, weights, ci, rows * columns * co, None, |step| {
            let (position, output) = (step / co, step % co);
            (output * rows * columns + rows * columns - 1 - position) * ci
        });
        Self { conv: turned, panels: [panels] }
    }

    fn image(&self, dz: &[f32], dx: &mut [f32]) {
        let convolved = Convolved {
            conv: &self.conv,
            activation: Activation::Identity,
            unit: Unit::Pixel,
            panels: &self.panels,
            x: ConstPointer::new(dz),
            y: MutPointer::new(dx),
            index: None,
        };
        convolved.units(0..convolved.units_of_image());
    }
}

/// How inputs and weights are cut into slices.
struct Plan<'a> {
    conv: &'a Convolution,
    isa: Isa,
    /// Slices of a group, and channels of each (the last one's may not all exist).
    slices: usize,
    window: Window,
    /// Floats of a kernel row in a slice, rounded up to whole vectors.
    row: usize,
    /// Images, and output rows (of windows, if pooled), that are listed at a time.
    images: usize,
    band: usize,
    /// Rows and columns of listed outputs, and how far apart their inputs begin in a slice.
    extent: [usize; 2],
    step: [usize; 2],
}

impl<'a> Plan<'a> {
    fn new(conv: &'a Convolution, isa: Isa) -> Self {
        let channels = conv.group_inputs();
        let widest = (ROW_FLOATS / conv.kernel[1]).next_multiple_of(16).max(16);
        let slices = channels.div_ceil(widest);
        let window = Window::new(conv, channels.div_ceil(slices));
        let row = (conv.kernel[1] * window.channels).next_multiple_of(isa.lanes());
        Self { conv, isa, slices, window, row, images: 1, band: 1, extent: [0; 2], step: [0; 2] }
    }

    /// Decides what is listed at a time.
    fn bands(&self, windowed: bool) -> Self {
        let [_, rows, columns, _] = self.conv.output_shape();
        let size = if windowed { 2 } else { 1 };
        let [down, right] = self.conv.stride.map(|stride| stride * size);
        let (rows, columns) = (rows / size, columns / size);
        let image_bytes = self.window.image * size_of::<f32>();
        let input_rows =
            (BAND_BYTES / (self.window.row * size_of::<f32>())).saturating_sub(self.conv.kernel[0]);
        Self {
            images: (BAND_BYTES / image_bytes.max(1)).clamp(1, 16),
            band: if image_bytes <= BAND_BYTES {
                rows.max(1)
            } else {
                (input_rows / down).clamp(1, rows.max(1))
            },
            extent: [rows, columns],
            step: [down * self.window.row, right * self.window.channels],
            ..*self
        }
    }

    /// Whether the input itself can be read as the only slice.
    fn is_direct(&self) -> bool {
        self.slices == 1
            && self.conv.groups == 1
            && self.conv.padding == Padding::default()
            && self.row == self.conv.kernel[1] * self.window.channels
    }

    /// Channels of a slice that exist.
    fn live(&self, slice: usize) -> usize {
        self.window.channels.min(self.conv.group_inputs() - slice * self.window.channels)
    }

    /// Floats of one output channel's kernel in a slice: `[Kh, row]`.
    fn kernel_len(&self) -> usize {
        self.conv.kernel[0] * self.row
    }

    /// Floats of all kernels: `[groups][slices][outputs of a group][Kh, row]`.
    fn weights_len(&self) -> usize {
        self.conv.out_channels * self.slices * self.kernel_len()
    }

    /// Calls `f(start in OHWI, start in the slices, length)` for each run of weights.
    fn for_each_run(&self, mut f: impl FnMut(usize, usize, usize)) {
        let conv = self.conv;
        let (inputs, outputs) = (conv.group_inputs(), conv.group_outputs());
        for output in 0..conv.out_channels {
            let (group, within) = (output / outputs, output % outputs);
            for slice in 0..self.slices {
                let kernel = ((group * self.slices + slice) * outputs + within) * self.kernel_len();
                for row in 0..conv.kernel[0] {
                    for column in 0..conv.kernel[1] {
                        let from = ((output * conv.kernel[0] + row) * conv.kernel[1] + column) * inputs;
                        let to = kernel + row * self.row + column * self.window.channels;
                        f(from + slice * self.window.channels, to, self.live(slice));
                    }
                }
            }
        }
    }

    /// OHWI to slices; floats that stand for no weight are zero.
    fn pack(&self, weights: &[f32]) -> AlignedBuffer {
        let mut packed = AlignedBuffer::zeroed(self.weights_len());
        self.for_each_run(|from, to, len| packed[to..to + len].copy_from_slice(&weights[from..from + len]));
        packed
    }

    /// Slices to OHWI.
    fn unpack(&self, packed: &[f32], weights: &mut [f32]) {
        self.for_each_run(|to, from, len| weights[to..to + len].copy_from_slice(&packed[from..from + len]));
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
    scratch: [AlignedBuffer; 2],
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
            scratch: Default::default(),
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
                for (first, live, at) in copies(&self.plan, image - images.start) {
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
                for (first, live, at) in copies(&self.plan, image - images.start) {
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
            let (dz, index) = self.outputs.windows(image, &mut self.scratch[0]);
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

/// The slices of one of the images that are copied together: first channel, channels, where the copy begins.
fn copies(plan: &Plan, image: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let (slices, inputs, width) = (plan.slices, plan.conv.group_inputs(), plan.window.channels);
    let (images, image_len) = (plan.images, plan.window.image);
    (0..plan.conv.groups * slices).map(move |copy| {
        let (group, slice) = (copy / slices, copy % slices);
        let first = slice * width;
        (group * inputs + first, width.min(inputs - first), (copy * images + image) * image_len)
    })
}

/// Per output channel the gradients that are not zero, and where their inputs begin.
struct Lists {
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
    fn channel(&self, channel: usize) -> (&[f32], &[u32]) {
        let range = channel * self.capacity..self.ends[channel] as usize;
        (&self.gradients[range.clone()], &self.begins[range])
    }
}

/// Weight, bias and input gradients of what the lists hold.
struct ListGradients<'a> {
    plan: &'a Plan<'a>,
    lists: &'a Lists,
    /// From a slice to the next.
    slice_len: usize,
    inputs: *const f32,
    input_gradients: Option<*mut f32>,
    /// As `Plan::weights_len`.
    weights: &'a [f32],
    dw: &'a mut [f32],
    db: &'a mut [f32],
}

impl Kernel for ListGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, lists, .. } = self;
        for (channel, db) in self.db.iter_mut().enumerate() {
            *db += sum(s, lists.channel(channel).0);
        }
        let (outputs, kernel_len) = (plan.conv.group_outputs(), plan.kernel_len());
        let slices = plan.conv.groups * plan.slices;
        let run = KernelRows { row: plan.row, rows: plan.conv.kernel[0], input_row: plan.window.row };
        for slice in 0..slices {
            let first = slice / plan.slices * outputs;
            let kernels = self.dw[slice * outputs * kernel_len..].chunks_exact_mut(kernel_len);
            for (channel, dw) in (first..first + outputs).zip(kernels) {
                // SAFETY: all inputs of a listed output lie in its slice, up to whole vectors of the last row,
                // for which the slices have room at the end.
                unsafe {
                    run.weight_gradient(
                        s,
                        lists.channel(channel),
                        self.inputs.add(slice * self.slice_len),
                        dw,
                    )
                };
            }
        }
        let Some(input_gradients) = self.input_gradients else { return };
        for slice in 0..slices {
            let first = slice / plan.slices * outputs;
            let kernels = self.weights[slice * outputs * kernel_len..].chunks_exact(kernel_len);
            for (channel, weights) in (first..first + outputs).zip(kernels) {
                // SAFETY: as above; what whole vectors touch beyond a kernel row is added zeros to.
                unsafe {
                    run.input_gradient(
                        s,
                        lists.channel(channel),
                        weights,
                        input_gradients.add(slice * self.slice_len),
                    )
                };
            }
        }
    }
}

#[inline(always)]
fn sum<S: Simd>(s: S, values: &[f32]) -> f32 {
    let mut sum = s.splat(0.);
    for i in (0..values.len()).step_by(S::LANES) {
        // SAFETY: the first `min(rest, LANES)` values from `i` on lie in the slice.
        sum = s.add(sum, unsafe { s.load_n(values.as_ptr().add(i), (values.len() - i).min(S::LANES)) });
    }
    s.sum(sum)
}

/// One kernel in a slice: `rows` rows of `row` floats, whose inputs are `input_row` floats apart.
#[derive(Clone, Copy)]
struct KernelRows {
    row: usize,
    rows: usize,
    input_row: usize,
}

/// Calls `$self.$method::<S, ROWS, VECTORS>` for the parts of a kernel that fit the registers: up to 3 rows × 6
/// vectors of 32, up to 3 × 4 of 16.
macro_rules! for_each_register_block {
    ($self:ident, $S:ident, $method:ident, $($argument:expr),*) => {{
        let vectors = $self.row / $S::LANES;
        let mut row = 0;
        while row < $self.rows {
            let rows = if $self.rows - row >= 3 { 3 } else { 1 };
            let mut vector = 0;
            while vector < vectors {
                let at = (row, vector * $S::LANES);
                vector += match (rows, vectors - vector) {
                    (3, 6..) if $S::REGISTERS >= 32 => { $self.$method::<$S, 3, 6>(at, $($argument),*); 6 }
                    (3, 4..) => { $self.$method::<$S, 3, 4>(at, $($argument),*); 4 }
                    (3, 3) => { $self.$method::<$S, 3, 3>(at, $($argument),*); 3 }
                    (3, 2) => { $self.$method::<$S, 3, 2>(at, $($argument),*); 2 }
                    (3, _) => { $self.$method::<$S, 3, 1>(at, $($argument),*); 1 }
                    (_, 6..) => { $self.$method::<$S, 1, 6>(at, $($argument),*); 6 }
                    (_, 3..) => { $self.$method::<$S, 1, 3>(at, $($argument),*); 3 }
                    (_, 2) => { $self.$method::<$S, 1, 2>(at, $($argument),*); 2 }
                    _ => { $self.$method::<$S, 1, 1>(at, $($argument),*); 1 }
                };
            }
            row += rows;
        }
    }};
}

impl KernelRows {
    /// `dw += Σ gradient × inputs` over the pairs.
    #[inline(always)]
    unsafe fn weight_gradient<S: Simd>(
        self,
        s: S,
        pairs: (&[f32], &[u32]),
        inputs: *const f32,
        dw: &mut [f32],
    ) {
        // SAFETY: the blocks cover the kernel once; else as this function's contract.
        unsafe { for_each_register_block!(self, S, weight_block, s, pairs, inputs, dw) }
    }

    #[inline(always)]
    unsafe fn weight_block<S: Simd, const R: usize, const V: usize>(
        self,
        (row, start): (usize, usize),
        s: S,
        (gradients, begins): (&[f32], &[u32]),
        inputs: *const f32,
        dw: &mut [f32],
    ) {
        // SAFETY: `row + R <= rows` and `start + V × LANES <= row` by construction; inputs by contract.
        unsafe {
            let dw = dw[row * self.row + start..].as_mut_ptr();
            let inputs = inputs.add(row * self.input_row + start);
            let mut sums = [[s.splat(0.); V]; R];
            unrolled!(r < R, {
                for v in 0..V {
                    sums[r][v] = s.load(dw.add(r * self.row + v * S::LANES));
                }
            });
            for (&gradient, &begin) in gradients.iter().zip(begins) {
                let gradient = s.splat(gradient);
                let input = inputs.add(begin as usize);
                for r in 0..R {
                    let input = input.add(r * self.input_row);
                    for v in 0..V {
                        sums[r][v] = s.fma(gradient, s.load(input.add(v * S::LANES)), sums[r][v]);
                    }
                }
            }
            unrolled!(r < R, {
                for v in 0..V {
                    s.store(dw.add(r * self.row + v * S::LANES), sums[r][v]);
                }
            });
        }
    }

    /// `dinputs += gradient × weights` over the pairs.
    #[inline(always)]
    unsafe fn input_gradient<S: Simd>(
        self,
        s: S,
        pairs: (&[f32], &[u32]),
        weights: &[f32],
        dinputs: *mut f32,
    ) {
        // SAFETY: the blocks cover the kernel once; else as this function's contract.
        unsafe { for_each_register_block!(self, S, input_block, s, pairs, weights, dinputs) }
    }

    #[inline(always)]
    unsafe fn input_block<S: Simd, const R: usize, const V: usize>(
        self,
        (row, start): (usize, usize),
        s: S,
        (gradients, begins): (&[f32], &[u32]),
        weights: &[f32],
        dinputs: *mut f32,
    ) {
        // SAFETY: `row + R <= rows` and `start + V × LANES <= row` by construction; inputs by contract.
        unsafe {
            let weights = weights[row * self.row + start..].as_ptr();
            let dinputs = dinputs.add(row * self.input_row + start);
            let mut w = [[s.splat(0.); V]; R];
            unrolled!(r < R, {
                for v in 0..V {
                    w[r][v] = s.load(weights.add(r * self.row + v * S::LANES));
                }
            });
            for (&gradient, &begin) in gradients.iter().zip(begins) {
                let gradient = s.splat(gradient);
                let dinput = dinputs.add(begin as usize);
                for r in 0..R {
                    let dinput = dinput.add(r * self.input_row);
                    for v in 0..V {
                        let to = dinput.add(v * S::LANES);
                        s.store(to, s.fma(gradient, w[r][v], s.load(to)));
                    }
                }
            }
        }
    }
}
