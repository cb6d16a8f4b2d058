//! Gradients on the straight way from a baseline to the image.

use tailor_nn::Probe;

/// Points on the way that are looked at.
pub const STEPS: usize = 64;

/// Each value's part in the difference of the class's logit between image and baseline: `(x − x′) · ∫ ∂f(x′ + t(x − x′)) dt`
/// (Sundararajan, Taly & Yan 2017, arXiv:1703.01365, equation 1), the integral by the midpoint rule over `steps`.
/// The parts sum to that difference, up to the error of the rule.
///
/// # Panics
/// If image and baseline are not one normalized image each, of the network's shape.
pub fn integrated_gradients(
    probe: &Probe,
    image: &[f32],
    baseline: &[f32],
    class: usize,
    steps: usize,
) -> Vec<f32> {
    assert_eq!(image.len(), baseline.len(), "image and baseline are of one shape");
    let points: Vec<f32> = (0..steps)
        .flat_map(|step| {
            let t = (step as f32 + 0.5) / steps as f32;
            image.iter().zip(baseline).map(move |(x, from)| from + t * (x - from))
        })
        .collect();
    let gradients = probe.slopes(&points, 0, &vec![class; steps]).gradients;
    let mut sums = vec![0.0f64; image.len()];
    for gradient in gradients.chunks_exact(image.len()) {
        sums.iter_mut().zip(gradient).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let mean = sums.into_iter().map(|sum| (sum / steps as f64) as f32);
    mean.zip(image.iter().zip(baseline)).map(|(slope, (x, from))| slope * (x - from)).collect()
}
