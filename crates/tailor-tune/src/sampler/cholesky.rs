//! A symmetric, positive definite matrix as `L Lᵀ`, for [`super::gp`].

/// The lower triangle `L`, row by row.
pub struct Cholesky {
    rows: Vec<Vec<f64>>,
}

impl Cholesky {
    /// The factor of the matrix with `entry(i, j)` for `j ≤ i < n`; none if it is not positive definite.
    pub fn of(n: usize, entry: impl Fn(usize, usize) -> f64) -> Option<Self> {
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n);
        for i in 0..n {
            let mut row: Vec<f64> = Vec::with_capacity(i + 1);
            for j in 0..i {
                let above: &[f64] = &rows[j];
                let known: f64 = row.iter().zip(above).map(|(a, b)| a * b).sum();
                row.push((entry(i, j) - known) / above[j]);
            }
            let left = entry(i, i) - row.iter().map(|a| a * a).sum::<f64>();
            if left <= 0.0 || !left.is_finite() {
                return None;
            }
            row.push(left.sqrt());
            rows.push(row);
        }
        Some(Cholesky { rows })
    }

    /// `L⁻¹ b`
    pub fn solve_lower(&self, b: &[f64]) -> Vec<f64> {
        let mut x: Vec<f64> = Vec::with_capacity(b.len());
        for (row, b) in self.rows.iter().zip(b) {
            let known: f64 = row.iter().zip(&x).map(|(a, x)| a * x).sum();
            x.push((b - known) / row[x.len()]);
        }
        x
    }

    /// `A⁻¹ b`
    pub fn solve(&self, b: &[f64]) -> Vec<f64> {
        let mut x = self.solve_lower(b);
        for i in (0..x.len()).rev() {
            x[i] /= self.rows[i][i];
            let xi = x[i];
            x[..i].iter_mut().zip(&self.rows[i]).for_each(|(x, a)| *x -= a * xi);
        }
        x
    }

    /// `ln det A`
    pub fn log_determinant(&self) -> f64 {
        self.rows.iter().enumerate().map(|(i, row)| 2.0 * row[i].ln()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worked_example() {
        // [4 2; 2 3] = L Lᵀ with L = [2 0; 1 √2], det = 8; its inverse times [8, 7] is [1.25, 1.5].
        let matrix = [[4.0, 2.0], [2.0, 3.0]];
        let cholesky = Cholesky::of(2, |i, j| matrix[i][j]).unwrap();
        let x = cholesky.solve(&[8.0, 7.0]);
        assert!((x[0] - 1.25).abs() < 1e-12 && (x[1] - 1.5).abs() < 1e-12, "{x:?}");
        assert!((cholesky.log_determinant() - 8.0f64.ln()).abs() < 1e-12);
        assert!(Cholesky::of(2, |i, j| if i == j { 1.0 } else { 2.0 }).is_none());
    }
}
