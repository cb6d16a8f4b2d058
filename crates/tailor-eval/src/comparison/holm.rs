//! Many tests at once.

/// The p-values of a family of tests, adjusted so that the probability of even one false alarm among them stays what it
/// says (Holm 1979, "A simple sequentially rejective multiple test procedure"; statsmodels'
/// `multipletests(method="holm")`): the smallest of m is multiplied by m, the next by m - 1, …, none below one before it or
/// above 1. In the order of `p_values`.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, test) in order.into_iter().enumerate() {
        largest = largest.max((p_values.len() - rank) as f64 * p_values[test]).min(1.0);
        adjusted[test] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_values_follow_by_hand() {
        // Sorted: 0.01 · 4, then 0.02 · 3, then 0.03 · 2 which ties with it, then 0.9 · 1.
        let adjusted = holm(&[0.03, 0.01, 0.9, 0.02]);
        for (adjusted, by_hand) in adjusted.into_iter().zip([0.06, 0.04, 0.9, 0.06]) {
            assert!((adjusted - by_hand).abs() < 1e-15);
        }
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
