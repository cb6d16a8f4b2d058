//! Where attention looks, through all layers.

/// Attention roll-out (Abnar & Zuidema 2020, arXiv:2005.00928, section 3): each layer passes on half of what a token is
/// (its shortcut) and half of what the heads take of all tokens on average; the product over layers says how much of each
/// input token is in each output token. `maps` are `[heads, T, T]` of one image, first layer first; the result is `[T, T]`, its
/// rows summing to 1.
///
/// # Panics
/// If a map does not hold whole heads of T×T.
pub fn rollout(maps: &[&[f32]], tokens: usize) -> Vec<f32> {
    let square = tokens * tokens;
    let mut joined: Vec<f64> =
        (0..square).map(|i| if i / tokens == i % tokens { 1.0 } else { 0.0 }).collect();
    for map in maps {
        assert!(map.len().is_multiple_of(square) && !map.is_empty(), "heads of {tokens}×{tokens}");
        let heads = map.len() / square;
        let mut passed = vec![0.0f64; square];
        for (to, row) in passed.chunks_exact_mut(tokens).enumerate() {
            for from in 0..tokens {
                let taken: f64 =
                    (0..heads).map(|head| f64::from(map[head * square + to * tokens + from])).sum();
                let share = 0.5 * taken / heads as f64 + if from == to { 0.5 } else { 0.0 };
                let source = &joined[from * tokens..][..tokens];
                row.iter_mut().zip(source).for_each(|(sum, value)| *sum += share * value);
            }
        }
        joined = passed;
    }
    joined.into_iter().map(|value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_layers_by_hand() {
        // One head, two tokens. First: both take of the second alone; then: the first takes of the second, and back.
        let first = [0.0, 1.0, 0.0, 1.0];
        let second = [0.0, 1.0, 1.0, 0.0];
        // Halved with the identity: [½ ½; 0 1] and [½ ½; ½ ½]; their product, second · first.
        assert_eq!(rollout(&[&first, &second], 2), [0.25, 0.75, 0.25, 0.75]);
        // Two heads are averaged.
        assert_eq!(rollout(&[&[first, second].concat()], 2), [0.5, 0.5, 0.25, 0.75]);
        assert_eq!(rollout(&[], 2), [1.0, 0.0, 0.0, 1.0]);
    }
}
