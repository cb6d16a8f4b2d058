//! Dense layers: `y = activation(x · w + b)`, `x` being `[N, In]` and `w` `[In, Out]`.
//!
//! All three products run on the tiles; they differ in what is packed and along which stride the reduction
//! runs:
//!
//! ```text
//! forward   y  [N, Out]   rows of x,    reduction In,  panels of w   by rows
//! backward  dx [N, In]    rows of dz,   reduction Out, panels of w   transposed
//!           dw [In, Out]  columns of x, reduction N,   panels of dz  by rows
//! ```
//!
//! In training each thread has some rows of the weights to itself, in all three products and in the optimizer's step: it
//! multiplies its columns of the inputs with them, for a sum that is added to the other threads' in the end, and
//! computes their gradient and that of its inputs. So the weights, by far the most of the data, never cross from core
//! to core, which takes longer than the products where cores do not share a cache. Where there are more examples than
//! that, as of tokens, each thread has some examples instead, and goes through them a strip at a time, which stays in
//! its second-level cache.

use std::ops::Range;

use crate::activation::{Activation, Gradient};
use crate::buffer::AlignedBuffer;
use crate::elementwise::{self, add_rows};
use crate::matrix::{multiply, multiply_add, strip};
use crate::panels::Panels;
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::{Isa, Kernel, Simd};
use crate::team;
use crate::tile::{Layout, Tiles, Unit};

/// Multiply-adds that are not worth another thread: operands have to cross from core to core.
const WORTH_SPLITTING: usize = 1_000_000;

/// A dense layer over a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dense {
    /// Examples, N.
    pub batch: usize,
    /// In
    pub inputs: usize,
    /// Out
    pub outputs: usize,
    /// What is applied to each output.
    pub activation: Activation,
}

/// Weights and bias packed for inference: pack once, infer often, at any batch.
#[derive(Clone, Debug)]
pub struct PackedDense(Panels);

/// Operands of [`Dense::backward`].
#[derive(Debug)]
pub struct DenseGradient<'a> {
    /// The forward pass's input, `[N, In]`.
    pub x: &'a [f32],
    /// Its weights, `[In, Out]`.
    pub weights: &'a [f32],
    /// Its output, `[N, Out]`.
    pub y: &'a [f32],
    /// The loss's gradient with respect to `y`.
    pub dy: &'a [f32],
    /// Where the gradient with respect to `x` goes, if wanted; overwritten, as are all.
    pub dx: Option<&'a mut [f32]>,
    /// Where the gradient with respect to the weights goes.
    pub dw: &'a mut [f32],
    /// Where the gradient with respect to the bias goes, if there is one.
    pub db: Option<&'a mut [f32]>,
}

impl Dense {
    /// Packs weights `[In, Out]` and a bias `[Out]`.
    pub fn pack(&self, weights: &[f32], bias: Option<&[f32]>) -> PackedDense {
        self.check(weights, bias);
        PackedDense(self.panels(Isa::current(), weights, bias))
    }

    /// Packs weights that are given as `[Out, In]`.
    pub fn pack_transposed(&self, weights: &[f32], bias: Option<&[f32]>) -> PackedDense {
        self.check(weights, bias);
        PackedDense(Panels::from_channels(Isa::current(), weights, self.outputs, self.inputs, bias))
    }

    /// The panels of some rows of the weights.
    fn panels(&self, isa: Isa, rows: &[f32], bias: Option<&[f32]>) -> Panels {
        let inputs = rows.len() / self.outputs.max(1);
        Panels::from_rows(isa, rows, self.outputs, inputs, bias, |input| input * self.outputs)
    }

    /// Parts that the rows of the weights are split in.
    fn parts(&self) -> usize {
        if self.batch * self.inputs * self.outputs < WORTH_SPLITTING { 1 } else { team::threads() }
    }

    /// Whether the examples are more of the data than the weights.
    fn has_many_examples(&self) -> bool {
        self.batch > self.inputs.max(self.outputs)
    }

    /// The rows of a part: whole blocks of their transpose's panels.
    fn rows(&self, isa: Isa, part: usize, parts: usize) -> Range<usize> {
        let width = 2 * isa.lanes();
        let blocks = team::part_of(self.inputs.div_ceil(width), part, parts);
        self.inputs.min(blocks.start * width)..self.inputs.min(blocks.end * width)
    }

    fn check(&self, weights: &[f32], bias: Option<&[f32]>) {
        assert_eq!(weights.len(), self.inputs * self.outputs, "weights are [In, Out]");
        assert!(bias.is_none_or(|bias| bias.len() == self.outputs), "the bias is [Out]");
    }

    /// `y = activation(x · w + b)` with packed weights.
    pub fn infer(&self, weights: &PackedDense, x: &[f32], y: &mut [f32]) {
        let Self { batch, inputs, outputs, activation } = *self;
        assert_eq!(x.len(), batch * inputs, "x is [N, In]");
        assert_eq!(y.len(), batch * outputs, "y is [N, Out]");
        product(&weights.0, Layout::matrix(batch, inputs, inputs, 1), x, activation, y);
    }

    /// `y = activation(x · w + b)`
    pub fn forward(&self, x: &[f32], weights: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let Self { batch, inputs, outputs, activation } = *self;
        self.check(weights, bias);
        assert_eq!(x.len(), batch * inputs, "x is [N, In]");
        assert_eq!(y.len(), batch * outputs, "y is [N, Out]");
        let (isa, parts) = (Isa::current(), self.parts());
        if parts == 1 || self.has_many_examples() {
            let panels = self.panels(isa, weights, bias);
            return product(&panels, Layout::matrix(batch, inputs, inputs, 1), x, activation, y);
        }
        let mut sums = AlignedBuffer::new(parts * y.len());
        let all_sums = MutPointer::new(&mut sums);
        team::run(parts, |part| {
            let rows = self.rows(isa, part, parts);
            let weights = &weights[rows.start * outputs..rows.end * outputs];
            let panels = self.panels(isa, weights, bias.filter(|_| part == 0));
            let layout = Layout::matrix(batch, inputs, rows.len(), 1);
            let product = Product::new(&panels, layout, &x[rows.start..], Activation::Identity);
            // SAFETY: each part has its own sums.
            unsafe {
                product.run(0..batch, 0..panels.blocks(), all_sums.at(part * batch * outputs), outputs)
            };
        });
        let y = MutPointer::new(y);
        team::split(batch * outputs, |_, range| {
            // SAFETY: ranges of `y` do not overlap.
            let y = unsafe { y.slice(range.start, range.len()) };
            isa.run(SumUp { sums: &sums, len: batch * outputs, first: range.start, activation, y });
        });
    }

    /// The gradients of [`Dense::forward`].
    pub fn backward(&self, gradient: DenseGradient) {
        let Self { batch, inputs, outputs, activation } = *self;
        activation.check_derives_from_output();
        let DenseGradient { x, weights, y, dy, dx, dw, db } = gradient;
        assert_eq!(x.len(), batch * inputs, "x is [N, In]");
        assert_eq!((y.len(), dy.len()), (batch * outputs, batch * outputs), "y and dy are [N, Out]");
        assert_eq!(
            (weights.len(), dw.len()),
            (inputs * outputs, inputs * outputs),
            "weights and dw are [In, Out]"
        );
        let isa = Isa::current();
        let mut through = AlignedBuffer::default();
        let dz = if activation == Activation::Identity {
            dy
        } else {
            through.resize(dy.len());
            elementwise::zip(Gradient(activation), y, dy, &mut through);
            &through
        };
        assert!(dx.as_ref().is_none_or(|dx| dx.len() == x.len()), "dx is as long as x");
        assert!(db.as_ref().is_none_or(|db| db.len() == outputs), "db is [Out]");
        if self.has_many_examples() {
            return self.backward_by_examples(isa, DenseGradient { x, weights, y, dy: dz, dx, dw, db });
        }
        if let Some(db) = db {
            db.fill(0.);
            add_rows(isa, dz, db);
        }
        let (dw, dx) = (MutPointer::new(dw), dx.map(MutPointer::new));
        let parts = self.parts();
        team::run(parts, |part| {
            let rows = self.rows(isa, part, parts);
            let layout = Layout::matrix(rows.len(), 1, batch, inputs);
            let gradients = Panels::from_rows(isa, dz, outputs, batch, None, |row| row * outputs);
            let product = Product::new(&gradients, layout, &x[rows.start..], Activation::Identity);
            // SAFETY: each part has its own rows of `dw`.
            unsafe {
                product.run(0..rows.len(), 0..gradients.blocks(), dw.at(rows.start * outputs), outputs)
            };
            if let Some(dx) = dx {
                let weights = &weights[rows.start * outputs..rows.end * outputs];
                let transposed = Panels::from_channels(isa, weights, rows.len(), outputs, None);
                let layout = Layout::matrix(batch, outputs, outputs, 1);
                let product = Product::new(&transposed, layout, dz, Activation::Identity);
                // SAFETY: each part has its own columns of `dx`.
                unsafe { product.run(0..batch, 0..transposed.blocks(), dx.at(rows.start), inputs) };
            }
        });
    }

    /// The gradients of a layer without activation, whose examples are split over the team.
    fn backward_by_examples(&self, isa: Isa, gradient: DenseGradient) {
        let Self { batch, inputs, outputs, .. } = *self;
        let DenseGradient { x, weights, dy, dx, dw, db, .. } = gradient;
        let dx = dx.map(|dx| {
            let transposed = Panels::from_channels(isa, weights, inputs, outputs, None);
            (MutPointer::new(dx), transposed)
        });
        // Inputs and their gradients; output gradients and their copies.
        let strip = strip(2 * inputs + 2 * outputs);
        let (parts, sums_len) = (self.parts(), (inputs + 1) * outputs);
        let mut sums = AlignedBuffer::zeroed(parts * sums_len);
        let all_sums = MutPointer::new(&mut sums);
        team::run(parts, |part| {
            // SAFETY: each part has its own sums.
            let (dw, db) =
                unsafe { all_sums.slice(part * sums_len, sums_len) }.split_at_mut(inputs * outputs);
            let examples = team::part_of(batch, part, parts);
            for first in examples.clone().step_by(strip) {
                let count = strip.min(examples.end - first);
                let x = &x[first * inputs..][..count * inputs];
                let dy = &dy[first * outputs..][..count * outputs];
                add_rows(isa, dy, db);
                let gradients = Panels::from_rows(isa, dy, outputs, count, None, |example| example * outputs);
                multiply_add(&gradients, Layout::matrix(inputs, 1, count, inputs), x, dw, outputs);
                if let Some((dx, transposed)) = &dx {
                    let layout = Layout::matrix(count, outputs, outputs, 1);
                    // SAFETY: each example belongs to one part.
                    let dx = unsafe { dx.slice(first * inputs, count * inputs) };
                    multiply(transposed, layout, dy, dx, inputs);
                }
            }
        });
        let (sum_of_dw, sum_of_db) =
            elementwise::sum_rows(isa, &mut sums, sums_len).split_at(inputs * outputs);
        dw.copy_from_slice(sum_of_dw);
        if let Some(db) = db {
            db.copy_from_slice(sum_of_db);
        }
    }

    /// `dw = xᵀ · dz`, `[In, Out]`: of [`Dense::backward`] the gradient with respect to the weights alone, where `dz`
    /// `[N, Out]` is the gradient before the activation.
    pub fn weight_gradient(&self, x: &[f32], dz: &[f32], dw: &mut [f32]) {
        let Self { batch, inputs, outputs, .. } = *self;
        assert_eq!(x.len(), batch * inputs, "x is [N, In]");
        assert_eq!(dz.len(), batch * outputs, "dz is [N, Out]");
        assert_eq!(dw.len(), inputs * outputs, "dw is [In, Out]");
        let gradients = Panels::from_rows(Isa::current(), dz, outputs, batch, None, |row| row * outputs);
        product(&gradients, Layout::matrix(inputs, 1, batch, inputs), x, Activation::Identity, dw);
    }
}

/// `c [rows, channels] = activation(a [rows, reduction] · panels + bias)`, split over the team by rows where
/// there are many, else by blocks of channels.
pub(crate) fn product(panels: &Panels, layout: Layout, a: &[f32], activation: Activation, c: &mut [f32]) {
    let (rows, channels, blocks) = (layout.columns, panels.channels(), panels.blocks());
    assert_eq!(c.len(), rows * channels, "the result is [rows, channels]");
    let product = Product::new(panels, layout, a, activation);
    let c = MutPointer::new(c);
    let part = |rows: Range<usize>, blocks: Range<usize>| {
        let output = c.at(rows.start * channels);
        // SAFETY: parts are rows or columns of `c`, which has room for all of them, and do not overlap.
        unsafe { product.run(rows, blocks, output, channels) }
    };
    if rows * channels * layout.run < WORTH_SPLITTING {
        part(0..rows, 0..blocks)
    } else if rows < 12 * team::threads() {
        team::split(blocks, |_, blocks| part(0..rows, blocks));
    } else {
        team::split(rows, |_, rows| part(rows, 0..blocks));
    }
}

/// `activation(a [rows, reduction] · panels + bias)`
struct Product<'a> {
    panels: &'a Panels,
    layout: Layout,
    a: ConstPointer<'a, f32>,
    activation: Activation,
}

impl<'a> Product<'a> {
    fn new(panels: &'a Panels, layout: Layout, a: &'a [f32], activation: Activation) -> Self {
        if layout.columns > 0 && layout.run > 0 {
            let last = (layout.columns - 1) * layout.column_step + (layout.run - 1) * layout.run_step;
            assert!(last < a.len(), "the matrix is as large as the layout says");
        }
        Self { panels, layout, a: ConstPointer::new(a), activation }
    }

    /// Some rows and blocks of channels, on this thread; `output` is the first row's channel 0, and rows are
    /// `output_step` apart.
    ///
    /// # Safety
    /// All of them can be written there, and nobody else accesses them.
    unsafe fn run(&self, rows: Range<usize>, blocks: Range<usize>, output: *mut f32, output_step: usize) {
        // A strip of rows is still in the cache for the next block. Columns lie across the whole matrix.
        let strip = if self.layout.run_step == 1 { strip(self.layout.run) } else { rows.len().max(1) };
        for first in rows.clone().step_by(strip) {
            self.panels.isa().run(Tiles {
                layout: self.layout,
                unit: Unit::Pixel,
                input: self.a.at(0),
                first_unit: first,
                units: strip.min(rows.end - first),
                panels: self.panels,
                blocks: blocks.clone(),
                activation: self.activation,
                // SAFETY: as this function's contract.
                output: unsafe { output.add((first - rows.start) * output_step) },
                output_step,
                adds: false,
                index: std::ptr::null_mut(),
            });
        }
    }
}

/// `y[i] = activation(Σ sums[part][first + i])`
struct SumUp<'a> {
    /// `[parts, len]`
    sums: &'a [f32],
    len: usize,
    first: usize,
    activation: Activation,
    y: &'a mut [f32],
}

impl Kernel for SumUp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { sums, len, first, activation, y } = self;
        assert!(first + y.len() <= len && sums.len().is_multiple_of(len));
        for i in (0..y.len()).step_by(S::LANES) {
            let live = (y.len() - i).min(S::LANES);
            // SAFETY: `live` values from `first + i` on lie in each part, and from `i` on in `y`.
            unsafe {
                let mut sum = s.load_n(sums.as_ptr().add(first + i), live);
                for part in (len..sums.len()).step_by(len) {
                    sum = s.add(sum, s.load_n(sums.as_ptr().add(part + first + i), live));
                }
                s.store_n(y.as_mut_ptr().add(i), live, activation.apply(s, sum));
            }
        }
    }
}
