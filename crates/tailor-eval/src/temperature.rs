//! One number that makes a model's confidence honest.

/// The coldest and the hottest temperature that is looked for. A model that makes no mistake on the images that it is fitted
/// to would be made ever colder: it would end here.
const COLDEST: f64 = 0.05;
const HOTTEST: f64 = 20.0;
/// Halvings of the range of ln T, which is 6 wide: to 1e-11.
const HALVINGS: u32 = 39;

/// The temperature T for which softmax(logits / T) has the lowest mean cross-entropy on labeled images (Guo et al. 2017, "On
/// calibration of modern neural networks", equation 9). Above 1 the model was surer than it should be. No class changes its
/// place, so accuracy stays as it is.
///
/// `logits` is `[N, K]`, `labels` `[N]`; without images it is 1.
pub fn temperature(logits: &[f32], labels: &[usize]) -> f64 {
    if labels.is_empty() {
        return 1.0;
    }
    let classes = logits.len() / labels.len();
    // Cross-entropy is convex in β = 1/T: its slope, the mean of E[z] − z of the true class, rises, and is zero once.
    let slope = |inverse: f64| {
        let of_row = |(row, &label): (&[f32], &usize)| expected(row, inverse) - f64::from(row[label]);
        logits.chunks_exact(classes).zip(labels).map(of_row).sum::<f64>()
    };
    let (mut low, mut high) = ((1.0 / HOTTEST).ln(), (1.0 / COLDEST).ln());
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if slope(middle.exp()) < 0.0 { low = middle } else { high = middle }
    }
    (-(low + high) / 2.0).exp()
}

/// The mean of the logits under softmax(inverse · logits).
fn expected(logits: &[f32], inverse: f64) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for &logit in logits {
        let power = (inverse * (f64::from(logit) - f64::from(max))).exp();
        sum += power;
        weighted += power * f64::from(logit);
    }
    weighted / sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_right_three_times_of_four_is_made_three_quarters_sure() {
        // Logits 2 and 0, right for three of four: softmax is ¾ where 2/T = ln 3.
        let logits = [2.0, 0.0].repeat(4);
        let found = temperature(&logits, &[0, 0, 0, 1]);
        assert!((found - 2.0 / 3f64.ln()).abs() < 1e-9, "{found}");
    }

    #[test]
    fn a_model_without_mistakes_and_one_without_sense_end_at_the_limits() {
        let logits = [2.0, 0.0].repeat(4);
        // Below 0.055 the other probability is lost in rounding, and nothing changes any more.
        assert!((COLDEST..0.055).contains(&temperature(&logits, &[0; 4])));
        assert!((temperature(&logits, &[1; 4]) - HOTTEST).abs() < 1e-6);
        assert_eq!(temperature(&[], &[]), 1.0);
    }

    #[test]
    fn logits_that_are_multiplied_are_brought_back() {
        let logits = [1.0, 0.2, -0.3, 0.5, 0.9, 0.1, -1.0, 0.4, 0.6, 2.0, 1.0, 1.5];
        let labels = [0, 0, 2, 1];
        let plain = temperature(&logits, &labels);
        let larger = temperature(&logits.map(|logit| 3.0 * logit), &labels);
        assert!(plain > 2.0 * COLDEST && (larger - 3.0 * plain).abs() < 1e-6, "{plain} {larger}");
    }
}
