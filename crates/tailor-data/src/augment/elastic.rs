//! Smooth random displacements (Simard, Steinkraus and Platt 2003, "Best Practices for Convolutional Neural
//! Networks Applied to Visual Document Analysis").

use crate::random::Generator;

/// How far each point of an image is displaced, known on a grid and linear in between.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// Pixels from one grid point to the next.
    spacing: f32,
    columns: usize,
    /// `[rows, columns]` of (right, down), in pixels; the grid's middle is the image's.
    displacements: Vec<[f32; 2]>,
}

impl Field {
    /// For an image of this size: uniform noise in ±1 for each pixel, blurred by a Gaussian with the
    /// deviation `smoothness` in pixels and multiplied by `amplitude`.
    ///
    /// The noise is not drawn for each pixel but on a grid half as fine as the Gaussian is wide, with the
    /// amplitude divided by the grid's spacing: a Gaussian blur of either is the same process but for what
    /// the eye and a network cannot see, at a fraction of the cost.
    pub(super) fn random(
        height: usize,
        width: usize,
        amplitude: f32,
        smoothness: f32,
        generator: &mut Generator,
    ) -> Field {
        let spacing = (smoothness / 2.0).max(1.0);
        let kernel = gaussian(smoothness / spacing);
        let points = |side: usize| (side as f32 / spacing).ceil() as usize + 1;
        let (rows, columns) = (points(height), points(width));
        // The noise reaches beyond the grid, so that displacements do not fade at the edges.
        let (noise_rows, noise_columns) = (rows + kernel.len() - 1, columns + kernel.len() - 1);
        let noise = (0..noise_rows * noise_columns).map(|_| [generator.within(1.0), generator.within(1.0)]);
        let noise: Vec<[f32; 2]> = noise.collect();
        // Rows, then columns: a shifted line at a time, so that the compiler adds many values at once.
        let mut narrowed = vec![[0.0; 2]; noise_rows * columns];
        for (out, row) in narrowed.chunks_exact_mut(columns).zip(noise.chunks_exact(noise_columns)) {
            for (window, &weight) in row.windows(columns).zip(&kernel) {
                add(out, window, weight);
            }
        }
        let mut displacements = vec![[0.0; 2]; rows * columns];
        for (row, out) in displacements.chunks_exact_mut(columns).enumerate() {
            for (line, &weight) in narrowed.chunks_exact(columns).skip(row).zip(&kernel) {
                add(out, line, weight * amplitude / spacing);
            }
        }
        Field { spacing, columns, displacements }
    }

    /// Displaces points, given about the image's center.
    pub(super) fn displace(&self, xs: &mut [f32], ys: &mut [f32]) {
        let rows = self.displacements.len() / self.columns;
        let middle = |points: usize| (points - 1) as f32 / 2.0;
        let per_pixel = 1.0 / self.spacing;
        // Beyond the grid its edge goes on.
        let place = |coordinate: f32, points: usize| {
            let at = (coordinate * per_pixel + middle(points)).max(0.0).min((points - 1) as f32);
            let first = (at as usize).min(points - 2);
            (first, at - first as f32)
        };
        for (x, y) in xs.iter_mut().zip(ys) {
            let (column, right) = place(*x, self.columns);
            let (row, down) = place(*y, rows);
            let upper = &self.displacements[row * self.columns + column..][..2];
            let lower = &self.displacements[(row + 1) * self.columns + column..][..2];
            let between = |axis: usize| {
                let upper = upper[0][axis] + right * (upper[1][axis] - upper[0][axis]);
                let lower = lower[0][axis] + right * (lower[1][axis] - lower[0][axis]);
                upper + down * (lower - upper)
            };
            *x += between(0);
            *y += between(1);
        }
    }
}

/// Adds one line, weighted, to another.
fn add(to: &mut [[f32; 2]], line: &[[f32; 2]], weight: f32) {
    for (sum, value) in to.as_flattened_mut().iter_mut().zip(line.as_flattened()) {
        *sum += weight * value;
    }
}

/// Weights that sum to one, out to three deviations.
pub(super) fn gaussian(deviation: f32) -> Vec<f32> {
    let reach = (3.0 * deviation).ceil() as i32;
    let weight = |i: i32| (-0.5 * (i as f32 / deviation).powi(2)).exp();
    let weights: Vec<f32> = (-reach..=reach).map(weight).collect();
    let sum: f32 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displacements_are_linear_between_the_points_of_the_grid() {
        // Points at −2, 0 and 2 in both directions; only the middle one is displaced.
        let mut displacements = vec![[0.0; 2]; 9];
        displacements[4] = [8.0, -4.0];
        let field = Field { spacing: 2.0, columns: 3, displacements };
        let (mut xs, mut ys) = ([0.0, 1.0, -1.0, 9.0], [0.0, 0.0, 1.0, 0.0]);
        field.displace(&mut xs, &mut ys);
        assert_eq!(xs, [8.0, 5.0, 1.0, 9.0]);
        assert_eq!(ys, [-4.0, -2.0, 0.0, 0.0]);
    }

    /// The displacements of a whole image of 64×64.
    fn displacements(smoothness: f32, seed: u64) -> Vec<[f32; 2]> {
        let field = Field::random(64, 64, 34.0, smoothness, &mut Generator::new(seed));
        let coordinates = |of: fn(usize) -> usize| (0..64 * 64).map(move |i| of(i) as f32 - 31.5);
        let (xs, ys): (Vec<f32>, Vec<f32>) =
            (coordinates(|i| i % 64).collect(), coordinates(|i| i / 64).collect());
        let (mut moved_xs, mut moved_ys) = (xs.clone(), ys.clone());
        field.displace(&mut moved_xs, &mut moved_ys);
        (0..xs.len()).map(|i| [moved_xs[i] - xs[i], moved_ys[i] - ys[i]]).collect()
    }

    #[test]
    fn strength_and_smoothness_are_those_of_blurred_noise() {
        // Noise of deviation 1/√3, blurred by a Gaussian, has the deviation 1/√3 / (2√π σ), and its
        // correlation at a distance d is exp(−d²/4σ²). Times 34 it is 5.54/σ pixels.
        for smoothness in [1.5f32, 4.0, 6.0] {
            let (mut square, mut product, mut count) = (0.0, 0.0, 0.0);
            let distance = smoothness.round() as usize;
            for seed in 0..30 {
                let all = displacements(smoothness, seed);
                for row in all.chunks(64) {
                    for (here, there) in row.iter().zip(&row[distance..]) {
                        for (a, b) in here.iter().zip(there) {
                            square += f64::from(*a).powi(2);
                            product += f64::from(*a) * f64::from(*b);
                            count += 1.0;
                        }
                    }
                }
            }
            let deviation = (square / count).sqrt();
            let expected = 5.54 / f64::from(smoothness);
            assert!((deviation / expected - 1.0).abs() < 0.08, "{smoothness}: {deviation} for {expected}");
            let correlation = product / square;
            let expected = (-(distance as f64 / f64::from(smoothness)).powi(2) / 4.0).exp();
            assert!((correlation - expected).abs() < 0.08, "{smoothness}: {correlation} for {expected}");
        }
    }
}
