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

use std::ops::Range;

use crate::activation::{Activation, Gradient};
use crate::buffer::AlignedBuffer;
use crate::elementwise;
use crate::panels::Panels;
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::Isa;
use crate::team;
use crate::tile::{Layout, Tiles, Unit};

/// Multiply-adds that are not worth another thread: operands have to cross from core to core.
const WORTH_SPLITTING: usize = 500_000;

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
        PackedDense(self.panels(Isa::current(), weights, bias, 0..self.outputs))
    }

    /// The panels of some outputs.
    fn panels(&self, isa: Isa, weights: &[f32], bias: Option<&[f32]>, outputs: Range<usize>) -> Panels {
        let bias = bias.map(|bias| &bias[outputs.clone()]);
        let row_start = |input| input * self.outputs + outputs.start;
        Panels::from_rows(isa, weights, outputs.len(), self.inputs, bias, row_start)
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
        let isa = Isa::current();
        let layout = Layout::matrix(batch, inputs, inputs, 1);
        pack_and_multiply(isa, layout, x, activation, y, |outputs| self.panels(isa, weights, bias, outputs));
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
        if let Some(db) = db {
            assert_eq!(db.len(), outputs, "db is [Out]");
            db.fill(0.);
            crate::conv::add_rows(isa, dz, db);
        }
        let gradients = Panels::from_rows(isa, dz, outputs, batch, None, |row| row * outputs);
        product(&gradients, Layout::matrix(inputs, 1, batch, inputs), x, Activation::Identity, dw);
        if let Some(dx) = dx {
            assert_eq!(dx.len(), x.len(), "dx is as long as x");
            let layout = Layout::matrix(batch, outputs, outputs, 1);
            pack_and_multiply(isa, layout, dz, Activation::Identity, dx, |rows| {
                let weights = &weights[rows.start * outputs..rows.end * outputs];
                Panels::from_channels(isa, weights, rows.len(), outputs, None)
            });
        }
    }
}

/// `c [rows, channels] = activation(a [rows, reduction] · panels + bias)`, split over the team by rows where
/// there are many, else by blocks of channels.
fn product(panels: &Panels, layout: Layout, a: &[f32], activation: Activation, c: &mut [f32]) {
    let (rows, channels, blocks) = (layout.columns, panels.channels(), panels.blocks());
    assert_eq!(c.len(), rows * channels, "the result is [rows, channels]");
    let product = Product { layout, a: checked(&layout, a), activation, output_step: channels };
    let c = MutPointer::new(c);
    let part = |rows: Range<usize>, blocks: Range<usize>| {
        let output = c.at(rows.start * channels);
        // SAFETY: parts are rows or columns of `c`, which has room for all of them, and do not overlap.
        unsafe { product.run(panels, rows, blocks, output) }
    };
    if rows * channels * layout.run < WORTH_SPLITTING {
        part(0..rows, 0..blocks)
    } else if rows < 12 * team::threads() {
        team::split(blocks, |_, blocks| part(0..rows, blocks));
    } else {
        team::split(rows, |_, rows| part(rows, 0..blocks));
    }
}

/// As [`product`], with panels that are used once: `pack` makes those of some channels. Each thread packs what it
/// multiplies with; what others had packed would have to cross from core to core.
fn pack_and_multiply(
    isa: Isa,
    layout: Layout,
    a: &[f32],
    activation: Activation,
    c: &mut [f32],
    pack: impl Fn(Range<usize>) -> Panels + Sync,
) {
    let rows = layout.columns;
    let channels = c.len().checked_div(rows).unwrap_or(0);
    let blocks = channels.div_ceil(2 * isa.lanes());
    if c.len() * layout.run < WORTH_SPLITTING || blocks < team::threads() {
        if channels > 0 {
            product(&pack(0..channels), layout, a, activation, c);
        }
        return;
    }
    let product = Product { layout, a: checked(&layout, a), activation, output_step: channels };
    let c = MutPointer::new(c);
    team::split(blocks, |_, blocks| {
        let first = blocks.start * 2 * isa.lanes();
        let panels = pack(first..channels.min(blocks.end * 2 * isa.lanes()));
        // SAFETY: parts are columns of `c`, which has room for all of them, and do not overlap.
        unsafe { product.run(&panels, 0..rows, 0..panels.blocks(), c.at(first)) };
    });
}

/// The matrix, if it is as large as the layout says.
fn checked<'a>(layout: &Layout, a: &'a [f32]) -> ConstPointer<'a, f32> {
    if layout.columns > 0 && layout.run > 0 {
        let last = (layout.columns - 1) * layout.column_step + (layout.run - 1) * layout.run_step;
        assert!(last < a.len(), "the matrix is as large as the layout says");
    }
    ConstPointer::new(a)
}

struct Product<'a> {
    layout: Layout,
    a: ConstPointer<'a, f32>,
    activation: Activation,
    output_step: usize,
}

impl Product<'_> {
    /// Some rows and blocks of channels; `output` is the first row's channel 0.
    ///
    /// # Safety
    /// All of them can be written there, and nobody else accesses them.
    unsafe fn run(&self, panels: &Panels, rows: Range<usize>, blocks: Range<usize>, output: *mut f32) {
        panels.isa().run(Tiles {
            layout: self.layout,
            unit: Unit::Pixel,
            input: self.a.at(0),
            first_unit: rows.start,
            units: rows.len(),
            panels,
            blocks,
            activation: self.activation,
            output,
            output_step: self.output_step,
            index: std::ptr::null_mut(),
        });
    }
}
