//! The lists' inner loop: kernels of one output channel and slice in registers, over its pairs.

use super::pairs::Lists;
use super::slices::Plan;
use crate::simd::{Kernel, Simd, unrolled};

/// Weight and bias gradients of what the lists hold.
pub(super) struct ListGradients<'a> {
    pub plan: &'a Plan<'a>,
    pub lists: &'a Lists,
    /// From a slice to the next.
    pub slice_len: usize,
    pub inputs: *const f32,
    /// As `Plan::weights_len`.
    pub dw: &'a mut [f32],
    pub db: &'a mut [f32],
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
}
