//! Whether a score tells strangers from what a model knows.

use serde::{Deserialize, Serialize};

/// The share of known images that is to be accepted, wherever a threshold is chosen.
pub const ACCEPTED: f64 = 0.95;

/// How well a score that is higher for strangers tells them apart (Hendrycks and Gimpel 2017, "A baseline for detecting
/// misclassified and out-of-distribution examples in neural networks").
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The probability that a stranger scores higher than a known image, ties counted half: the area under the ROC curve. ½ is
    /// chance.
    pub auroc: f64,
    /// The share of strangers that is accepted where 95 % of the known images are; 0 is best.
    pub false_positives: f64,
}

impl Detection {
    /// Compares the scores of known images with those of strangers; NaN where there are none of either.
    pub fn of(known: &[f64], strangers: &[f64]) -> Self {
        let accepted = accepting_threshold(known);
        let passed = strangers.iter().filter(|&&score| score <= accepted).count();
        Self { auroc: auroc(known, strangers), false_positives: passed as f64 / strangers.len() as f64 }
    }
}

/// The lowest score up to which at least 95 % of the known images lie; infinite without images.
pub fn accepting_threshold(known: &[f64]) -> f64 {
    let mut scores = known.to_vec();
    scores.sort_by(f64::total_cmp);
    let rank = (ACCEPTED * scores.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    scores.get(rank - 1).copied().unwrap_or(f64::INFINITY)
}

/// Mann and Whitney's U, as a share of all pairs, by ranks.
fn auroc(known: &[f64], strangers: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = known.iter().map(|&score| (score, false)).collect();
    all.extend(strangers.iter().map(|&score| (score, true)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins) = (0.0, 0.0);
    for tied in all.chunk_by(|a, b| a.0 == b.0) {
        let of_strangers = tied.iter().filter(|(_, is_stranger)| *is_stranger).count() as f64;
        let of_known = tied.len() as f64 - of_strangers;
        wins += of_strangers * (below + of_known / 2.0);
        below += of_known;
    }
    wins / (known.len() as f64 * strangers.len() as f64)
}

/// −ln Σ exp(logit) of each row of `logits` `[N, K]`, in nats: higher for what a model has not been trained on (Liu et al. 2020,
/// "Energy-based out-of-distribution detection", equation 4, at T = 1).
pub fn energies(logits: &[f32], classes: usize) -> Vec<f64> {
    let energy = |row: &[f32]| {
        let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        -(max + row.iter().map(|&logit| (f64::from(logit) - max).exp()).sum::<f64>().ln())
    };
    logits.chunks_exact(classes).map(energy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_and_thresholds_by_hand() {
        // Of the four pairs 3 wins both, 2 wins one and ties one.
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 2.0]), 3.5 / 4.0);
        assert_eq!(auroc(&[5.0], &[1.0]), 0.0);
        let known: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(accepting_threshold(&known), 19.0, "19 of 20 are 95 %");
        assert_eq!(accepting_threshold(&known[..19]), 19.0, "18 of 19 are less");
        let found = Detection::of(&known, &[19.0, 19.5, 30.0, 2.0]);
        assert_eq!(found.false_positives, 0.5);
        // 19 beats 18 and ties one, 19.5 beats 19, 30 beats 20, 2 beats one and ties one.
        assert_eq!(found.auroc, (18.5 + 19.0 + 20.0 + 1.5) / 80.0);
    }

    #[test]
    fn energies_by_hand_and_far_out() {
        let found = energies(&[0.0, 0.0, 1000.0, 0.0, -3e38, 0.0], 2);
        assert!((found[0] + 2f64.ln()).abs() < 1e-15);
        assert_eq!(found[1..], [-1000.0, -0.0]);
    }
}
