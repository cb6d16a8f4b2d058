//! Eigenvectors of a symmetric matrix: Householder's reflections make it tridiagonal, implicit QL steps diagonal (Golub
//! and Van Loan, "Matrix computations", sections 8.3.1 and 8.3.3; Bowdler, Martin, Reinsch and Wilkinson 1968).

/// Values and vectors of a symmetric matrix `[n, n]`, largest value first; vectors are rows of `[n, n]`, of length 1.
///
/// # Panics
/// If there are not n² entries, or some are not finite.
pub(super) fn eigen(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(matrix.len(), n * n, "the matrix is square");
    assert!(matrix.iter().all(|value| value.is_finite()), "a covariance is finite");
    // What rounding leaves of a matrix of lower rank, which would be reduced on and on until it underflows.
    let nothing = f64::EPSILON * dot(&matrix, &matrix).sqrt();
    let (mut diagonal, mut beside, mut vectors) = tridiagonal(&mut matrix, n, nothing);
    diagonalize(&mut diagonal, &mut beside, &mut vectors, n, nothing);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| diagonal[b].total_cmp(&diagonal[a]));
    let values = order.iter().map(|&i| diagonal[i]).collect();
    let vectors = order.iter().flat_map(|&i| &vectors[i * n..][..n]).copied().collect();
    (values, vectors)
}

/// Diagonal `[n]`, what is beside it `[n]` (the last is zero), and the orthogonal matrix whose rows' combinations are
/// the eigenvectors. Columns no longer than `nothing` are left out. The matrix is used up.
fn tridiagonal(a: &mut [f64], n: usize, nothing: f64) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut diagonal, mut beside) = (vec![0.0; n], vec![0.0; n]);
    // Reflection k is 1 − β v vᵀ on the last n − k − 1 coordinates.
    let mut reflections = Vec::with_capacity(n);
    for k in 0..n {
        diagonal[k] = a[k * n + k];
        let mut v = a[k * n..][k + 1..n].to_vec();
        let length = dot(&v, &v).sqrt();
        if length <= nothing {
            reflections.push((0.0, v));
            continue;
        }
        beside[k] = -length.copysign(v[0]);
        v[0] -= beside[k];
        let beta = 2.0 / dot(&v, &v);
        // A − v wᵀ − w vᵀ, where w = p − (β/2)(pᵀv) v and p = β A v.
        let row = |i: usize| (k + 1 + i) * n + k + 1;
        let mut w: Vec<f64> = (0..v.len()).map(|i| beta * dot(&a[row(i)..][..v.len()], &v)).collect();
        let along = beta / 2.0 * dot(&w, &v);
        w.iter_mut().zip(&v).for_each(|(w, v)| *w -= along * v);
        for i in 0..v.len() {
            let (vi, wi) = (v[i], w[i]);
            let to = &mut a[row(i)..][..v.len()];
            to.iter_mut().zip(v.iter().zip(&w)).for_each(|(to, (v, w))| *to -= vi * w + wi * v);
        }
        reflections.push((beta, v));
    }
    // The product of all reflections, from the last to the first; symmetric in each, so rows and columns are one.
    let mut q = vec![0.0; n * n];
    (0..n).for_each(|i| q[i * n + i] = 1.0);
    for (k, (beta, v)) in reflections.into_iter().enumerate().rev() {
        for row in q.chunks_exact_mut(n).skip(k + 1) {
            let tail = &mut row[k + 1..];
            let along = beta * dot(tail, &v);
            tail.iter_mut().zip(&v).for_each(|(to, v)| *to -= along * v);
        }
    }
    (diagonal, beside, q)
}

/// Rotates until `nothing` is left beside the diagonal; `vectors` turn with it.
fn diagonalize(d: &mut [f64], e: &mut [f64], vectors: &mut [f64], n: usize, nothing: f64) {
    for l in 0..n {
        while let Some(m) = (l..n).find(|&m| m + 1 == n || e[m].abs() <= nothing)
            && m > l
        {
            let shift = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut g = d[m] - d[l] + e[l] / (shift + shift.hypot(1.0).copysign(shift));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    split = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                let r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                rotate(&mut vectors[i * n..][..2 * n], c, s);
            }
            if !split {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
}

/// Turns two rows into each other.
fn rotate(rows: &mut [f64], c: f64, s: f64) {
    let (first, second) = rows.split_at_mut(rows.len() / 2);
    for (a, b) in first.iter_mut().zip(second) {
        (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
    }
}

/// Σ x·y, summed in eight lanes, which compilers turn into vectors.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (x, x_rest) = x.as_chunks::<8>();
    let (y, y_rest) = y.as_chunks::<8>();
    for (x, y) in x.iter().zip(y) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f64>() + x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_by_two_by_hand() {
        // [2 1; 1 2]: values 3 and 1, vectors (1, 1) and (1, −1) over √2.
        let (values, vectors) = eigen(vec![2., 1., 1., 2.], 2);
        assert!((values[0] - 3.0).abs() < 1e-14 && (values[1] - 1.0).abs() < 1e-14, "{values:?}");
        assert!((vectors[0] - vectors[1]).abs() < 1e-14 && (vectors[2] + vectors[3]).abs() < 1e-14);
    }

    /// Of rank two, with equal columns: what reflections leave is nothing but roundings, and roundings of these.
    #[test]
    fn what_is_only_rounding_counts_as_nothing() {
        let n = 64;
        let vector =
            |step: usize| (0..n).map(move |i| 0.1 + (i % 4 * step % 5) as f64 / 3.0).collect::<Vec<_>>();
        let (x, y) = (vector(1), vector(2));
        let matrix: Vec<f64> = (0..n * n).map(|at| x[at / n] * x[at % n] + y[at / n] * y[at % n]).collect();
        let (values, vectors) = eigen(matrix, n);
        // Those of the matrix of x·x, x·y and y·y.
        let (xx, xy, yy) = (dot(&x, &x), dot(&x, &y), dot(&y, &y));
        let root = ((xx - yy).powi(2) / 4.0 + xy * xy).sqrt();
        assert!(
            (values[0] - (xx + yy) / 2.0 - root).abs() < 1e-12
                && (values[1] - (xx + yy) / 2.0 + root).abs() < 1e-12
        );
        assert!(values[2..].iter().all(|value| value.abs() < 1e-12), "{values:?}");
        assert!(vectors.iter().all(|value| value.is_finite()));
    }

    proptest! {
        #[test]
        fn vectors_are_orthonormal_and_only_get_longer(n in 1usize..12, entries in prop::collection::vec(-9i32..9, 144)) {
            let entry = |i: usize, j: usize| f64::from(entries[i.min(j) * 12 + i.max(j)]);
            let matrix: Vec<f64> = (0..n * n).map(|at| entry(at / n, at % n)).collect();
            let (values, vectors) = eigen(matrix.clone(), n);
            prop_assert!(values.is_sorted_by(|a, b| a >= b));
            for (i, x) in vectors.chunks_exact(n).enumerate() {
                for (j, y) in vectors.chunks_exact(n).enumerate() {
                    let product: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                    prop_assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12);
                }
                for row in 0..n {
                    let image: f64 = matrix[row * n..][..n].iter().zip(x).map(|(a, x)| a * x).sum();
                    prop_assert!((image - values[i] * x[row]).abs() < 1e-10, "{image} {} {}", values[i], x[row]);
                }
            }
        }
    }
}
