//! Values of the Gaussian kernel: products of matrices, and an exponential that compilers turn into vectors.

use std::collections::VecDeque;

use crate::Result;
use crate::matrix::{Matrix, Packed, dot};
use crate::watch::Watcher;

/// Images that are packed at a time: their part of a product stays in the cache.
const PACKED: usize = 512;

/// Some images, and the kernel's width.
pub(super) struct Gaussian {
    images: Matrix,
    squared_norms: Vec<f32>,
    gamma: f32,
    packed: Vec<Packed>,
}

impl Gaussian {
    /// Takes features `[S, D]`.
    pub fn new(images: Matrix, gamma: f32) -> Self {
        let squared_norms = images.squared_norms();
        let columns = images.columns();
        let packed =
            images.values().chunks(PACKED * columns).map(|rows| Packed::rows(rows, columns)).collect();
        Gaussian { images, squared_norms, gamma, packed }
    }

    /// Images, S.
    pub fn len(&self) -> usize {
        self.images.rows()
    }

    /// k(x, y) of rows x `[N, D]` with all images y: `[N, S]`.
    pub fn values(&self, x: &[f32], to: &mut [f32]) {
        let columns = self.images.columns();
        let norms: Vec<f32> = x.chunks_exact(columns).map(|x| dot(x, x)).collect();
        let mut products = vec![0.0; norms.len() * PACKED];
        for (part, packed) in self.packed.iter().enumerate() {
            let first = part * PACKED;
            let products = &mut products[..norms.len() * packed.len()];
            packed.product(x, products);
            let y_norms = &self.squared_norms[first..][..packed.len()];
            for (row, products) in products.chunks_exact(packed.len()).enumerate() {
                let to = &mut to[row * self.len() + first..][..packed.len()];
                self.finish(norms[row], y_norms, products, to);
            }
        }
    }

    /// exp(−γ (|x|² + |y|² − 2 x·y)) of one x and some y.
    fn finish(&self, x_norm: f32, y_norms: &[f32], products: &[f32], to: &mut [f32]) {
        for ((to, product), y_norm) in to.iter_mut().zip(products).zip(y_norms) {
            let squared = (x_norm + y_norm - 2.0 * product).max(0.0);
            *to = exp_of_negative(-self.gamma * squared);
        }
    }
}

/// The kernel among the images of a problem, row by row: all at once where they fit into memory, else those used last.
pub(super) struct KernelRows {
    kernel: Gaussian,
    rows: Vec<Option<Box<[f32]>>>,
    /// Oldest first; empty where all rows are kept.
    recent: VecDeque<u32>,
    capacity: usize,
}

impl KernelRows {
    /// Keeps at most `bytes` of rows, and two in any case.
    pub fn new(kernel: Gaussian, bytes: usize, watcher: &dyn Watcher) -> Result<Self> {
        let images = kernel.len();
        let capacity = (bytes / (images * size_of::<f32>()).max(1)).max(2);
        let mut rows = KernelRows { kernel, rows: vec![None; images], recent: VecDeque::new(), capacity };
        if capacity >= images {
            rows.fill(watcher)?;
        }
        Ok(rows)
    }

    /// Images of the problem.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Computes all rows, half of them as the mirror of the others.
    fn fill(&mut self, watcher: &dyn Watcher) -> Result<()> {
        let images = self.len();
        let columns = self.kernel.images.columns();
        let mut rows: Vec<Box<[f32]>> = (0..images).map(|_| vec![0.0; images].into()).collect();
        let mut products = vec![0.0; images * PACKED];
        for (part, packed) in self.kernel.packed.iter().enumerate() {
            watcher.go_on()?;
            let first = part * PACKED;
            let x = &self.kernel.images.values()[first * columns..];
            let products = &mut products[..(images - first) * packed.len()];
            packed.product(x, products);
            let (norms, y_norms) = (&self.kernel.squared_norms, &self.kernel.squared_norms[first..]);
            for (i, products) in products.chunks_exact(packed.len()).enumerate() {
                let to = &mut rows[first + i][first..first + packed.len()];
                self.kernel.finish(norms[first + i], y_norms, products, to);
            }
            // Columns of these rows become rows of these columns, a cache line of rows at a time.
            let (above, below) = rows.split_at_mut(first + packed.len());
            for (block, sixteen) in below.chunks(16).enumerate() {
                let at = first + packed.len() + 16 * block;
                for (column, above) in above[first..].iter_mut().enumerate() {
                    for (i, row) in sixteen.iter().enumerate() {
                        above[at + i] = row[first + column];
                    }
                }
            }
        }
        self.rows = rows.into_iter().map(Some).collect();
        Ok(())
    }

    /// Makes sure that rows `i` and `j` are there.
    pub fn prepare(&mut self, i: usize, j: usize) {
        for wanted in [i, j] {
            if self.rows[wanted].is_some() {
                continue;
            }
            if self.recent.len() >= self.capacity {
                // The oldest, unless it is the other one that is needed.
                let oldest = self.recent.iter().position(|&row| row as usize != i);
                let oldest =
                    oldest.and_then(|at| self.recent.remove(at)).expect("there is room for two rows");
                self.rows[oldest as usize] = None;
            }
            let mut row = vec![0.0; self.len()];
            self.kernel.values(self.kernel.images.row(wanted), &mut row);
            self.rows[wanted] = Some(row.into());
            self.recent.push_back(wanted as u32);
        }
    }

    /// A row that was prepared last.
    pub fn row(&self, i: usize) -> &[f32] {
        self.rows[i].as_deref().expect("the row was prepared")
    }
}

/// eˣ for x ≤ 0, to about 1e-7 of its value; below −87 as at −87.
fn exp_of_negative(x: f32) -> f32 {
    // 2^t = 2^n · 2^r with r in [−½, ½]; adding 1.5 · 2²³ rounds t to the whole number n in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let t = x.max(-87.0) * std::f32::consts::LOG2_E;
    let shifted = t + ROUND;
    let r = (t - (shifted - ROUND)) * std::f32::consts::LN_2;
    let series = 1.0
        + r * (1.0 + r * (1.0 / 2.0 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r / 720.0)))));
    f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Unwatched;

    #[test]
    fn the_exponential_is_that_of_the_library() {
        for step in 0..=87_000 {
            let x = -step as f32 / 1000.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp_of_negative(x)) - exact).abs() / exact;
            // Rounding of t alone gives 87 · 2⁻²⁴ ≈ 5e-6.
            assert!(error < 1e-5 && (x < -2.0 || error < 4e-7), "e^{x}: {error}");
        }
    }

    #[test]
    fn rows_are_the_same_whether_all_are_kept_or_two() {
        let values: Vec<f32> = (0..700 * 3).map(|i| (i * i % 97) as f32 / 97.0).collect();
        let kernel = || Gaussian::new(Matrix::new(700, 3, values.clone()), 0.5);
        let mut all = KernelRows::new(kernel(), usize::MAX, &Unwatched).unwrap();
        let mut two = KernelRows::new(kernel(), 0, &Unwatched).unwrap();
        for (i, j) in [(0, 699), (699, 5), (600, 512), (512, 0), (0, 1)] {
            all.prepare(i, j);
            two.prepare(i, j);
            for row in [i, j] {
                let same = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
                assert!(all.row(row).iter().zip(two.row(row)).all(same), "row {row}");
            }
        }
        assert!((all.row(0)[0] - 1.0).abs() < 1e-6);
        assert!(two.rows.iter().flatten().count() == 2);
    }
}
