//! Softmax cross-entropy: the mean over a batch, and its gradient, in one pass.

use crate::buffer::AlignedBuffer;
use crate::pointer::MutPointer;
use crate::team;

/// What the logits of each example should say.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// The class of each example, `[N]`.
    Classes(&'a [i64]),
    /// A distribution over classes for each example, `[N, C]`: mixed or distilled labels.
    Distributions(&'a [f32]),
}

/// Logits below which another thread is not worth waking.
const WORTH_SPLITTING: usize = 16 << 10;

/// The mean over the batch of `-Σ target · ln softmax(logits)`, `logits` being `[N, classes]`.
///
/// Targets are smoothed as PyTorch does: `(1 - smoothing) · target + smoothing / classes`. The gradient with
/// respect to the logits is written where it is wanted.
///
/// # Panics
/// If lengths disagree, or a class is not one.
pub fn cross_entropy(
    logits: &[f32],
    classes: usize,
    targets: Targets,
    smoothing: f32,
    gradient: Option<&mut [f32]>,
) -> f32 {
    assert!(classes > 0 && logits.len().is_multiple_of(classes), "logits are [N, {classes}]");
    let batch = logits.len() / classes;
    match targets {
        Targets::Classes(labels) => {
            assert_eq!(labels.len(), batch, "one class an example");
            let valid = |&label: &i64| usize::try_from(label).is_ok_and(|label| label < classes);
            assert!(labels.iter().all(valid), "classes are numbers below {classes}");
        }
        Targets::Distributions(rows) => assert_eq!(rows.len(), logits.len(), "targets are [N, {classes}]"),
    }
    assert!(gradient.as_ref().is_none_or(|g| g.len() == logits.len()), "the gradient is [N, {classes}]");
    if batch == 0 {
        return 0.;
    }

    let mut losses = AlignedBuffer::new(batch);
    let (wanted, gradient) = (gradient.is_some(), MutPointer::new(gradient.unwrap_or(&mut [])));
    let to = MutPointer::new(&mut losses);
    let share = 1. / batch as f32;
    let examples = |range: std::ops::Range<usize>| {
        let mut probabilities = AlignedBuffer::new(classes);
        let mut target = AlignedBuffer::new(classes);
        for example in range {
            let row = example * classes..(example + 1) * classes;
            match targets {
                Targets::Classes(labels) => {
                    target.fill(0.);
                    target[labels[example] as usize] = 1.;
                }
                Targets::Distributions(rows) => target.copy_from_slice(&rows[row.clone()]),
            }
            target.iter_mut().for_each(|t| *t = (1. - smoothing) * *t + smoothing / classes as f32);
            let loss = example_loss(&logits[row.clone()], &target, &mut probabilities);
            // SAFETY: each example's loss and gradient belong to one part.
            unsafe {
                *to.at(example) = loss;
                if wanted {
                    let total: f32 = target.iter().sum();
                    let gradient = gradient.slice(row.start, classes);
                    for ((g, p), t) in gradient.iter_mut().zip(&*probabilities).zip(&*target) {
                        *g = (p * total - t) * share;
                    }
                }
            }
        }
    };
    if logits.len() < WORTH_SPLITTING {
        examples(0..batch)
    } else {
        team::split(batch, |_, range| examples(range))
    }
    (losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / batch as f64) as f32
}

/// `-Σ target · ln softmax(logits)`, and the softmax itself. The largest logit is subtracted first, so that
/// nothing overflows.
fn example_loss(logits: &[f32], target: &[f32], softmax: &mut [f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.;
    for (p, logit) in softmax.iter_mut().zip(logits) {
        *p = (logit - largest).exp();
        sum += *p;
    }
    softmax.iter_mut().for_each(|p| *p /= sum);
    let normaliser = sum.ln() + largest;
    logits.iter().zip(target).filter(|(_, t)| **t != 0.).map(|(logit, t)| t * (normaliser - logit)).sum()
}
