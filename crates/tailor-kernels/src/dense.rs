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

use crate::activation::{Activation, Gradient};
use crate::buffer::AlignedBuffer;
use crate::elementwise;
use crate::panels::Panels;
use crate::pointer::{ConstPointer, MutPointer};
use crate::simd::Isa;
use crate::team;
use crate::tile::{Layout, Tiles, Unit};

/// Multiply-adds that are not worth another thread.
const WORTH_SPLITTING: usize = 200_000;

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
        let Self { inputs, outputs, .. } = *self;
        assert_eq!(weights.len(), inputs * outputs, "weights are [In, Out]");
        assert!(bias.is_none_or(|bias| bias.len() == outputs), "the bias is [Out]");
        PackedDense(Panels::from_rows(Isa::current(), weights, outputs, inputs, bias, |input| {
            input * outputs
        }))
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
        self.infer(&self.pack(weights, bias), x, y);
    }

    /// The gradients of [`Dense::forward`].
    pub fn backward(&self, gradient: DenseGradient) {
        let Self { batch, inputs, outputs, activation } = *self;
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
            let transposed = Panels::from_channels(isa, weights, inputs, outputs, None);
            product(&transposed, Layout::matrix(batch, outputs, outputs, 1), dz, Activation::Identity, dx);
        }
    }
}

/// `c [rows, channels] = activation(a [rows, reduction] · panels + bias)`, split over the team by rows where
/// there are many, else by blocks of channels.
fn product(panels: &Panels, layout: Layout, a: &[f32], activation: Activation, c: &mut [f32]) {
    let (rows, channels) = (layout.columns, panels.channels());
    assert_eq!(c.len(), rows * channels, "the result is [rows, channels]");
    if rows == 0 || layout.run == 0 {
        return c.fill(0.); // no rows, or a sum over an empty batch
    }
    let last = (rows - 1) * layout.column_step + (layout.run - 1) * layout.run_step;
    assert!(last < a.len(), "the matrix is as large as the layout says");
    let (a, c) = (ConstPointer::new(a), MutPointer::new(c));
    let part = |units: std::ops::Range<usize>, blocks: std::ops::Range<usize>| {
        panels.isa().run(Tiles {
            layout,
            unit: Unit::Pixel,
            input: a.at(0),
            first_unit: units.start,
            units: units.len(),
            panels,
            blocks,
            activation,
            output: c.at(units.start * channels),
            output_step: channels,
            index: std::ptr::null_mut(),
        });
    };
    let blocks = panels.blocks();
    if rows * channels * layout.run < WORTH_SPLITTING {
        part(0..rows, 0..blocks);
    } else if blocks.is_multiple_of(team::threads()) || rows < 12 * team::threads() {
        team::split(blocks, |_, blocks| part(0..rows, blocks));
    } else {
        team::split(rows, |_, units| part(units, 0..blocks));
    }
}
