//! What is worth its cost.

/// The points that no other one beats: which of (cost, gain) are such that whatever costs no more gains less. In the
/// order of their cost; of equals in both, the first.
pub fn pareto_front(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| points[a].0.total_cmp(&points[b].0).then(points[b].1.total_cmp(&points[a].1)));
    let mut best = f64::NEG_INFINITY;
    order.retain(|&point| {
        let is_on_front = points[point].1 > best;
        best = best.max(points[point].1);
        is_on_front
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_more_and_gains_no_more_is_not_on_the_front() {
        let points = [(3.0, 0.9), (1.0, 0.7), (2.0, 0.7), (1.0, 0.6), (4.0, 0.95), (5.0, 0.9), (3.0, 0.9)];
        assert_eq!(pareto_front(&points), [1, 0, 4]);
        assert!(pareto_front(&[]).is_empty());
    }
}
