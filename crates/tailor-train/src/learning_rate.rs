//! The learning-rate range test (Smith 2017, "Cyclical learning rates for training neural networks", section 3.3): the rate
//! rises from step to step, and the loss shows where learning begins and where it breaks down.

use tailor_data::batch::{Batch, BatchPlan, batches};
use tailor_nn::Device;

use crate::data::RunData;
use crate::phases::ActivePhase;
use crate::recipe::Recipe;
use crate::trainer::{Descent, begin};
use crate::{Error, Result};

/// From where to where the rate rises.
const LOWEST: f64 = 1e-6;
const HIGHEST: f64 = 10.0;
/// Steps from one to the other: 30 for each factor of ten.
const STEPS: usize = 211;
/// Steps on each side that a smoothed loss is the mean of.
const SMOOTHING: usize = 10;
/// The loss has broken down when it is this many times the lowest.
const BREAKDOWN: f64 = 4.0;
/// Steps over which the slope is taken.
const SLOPE: usize = 10;

/// What the rising rate did to the loss.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeTest {
    /// Step by step, up to where the loss broke down.
    pub points: Vec<RatePoint>,
    /// Where the smoothed loss falls fastest: what to train with.
    pub suggestion: f64,
    /// Where it is lowest: too much already, ten times a safe rate.
    pub lowest: f64,
}

/// One step of the test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePoint {
    /// Of this step.
    pub learning_rate: f64,
    /// Of its batch.
    pub loss: f64,
    /// Smoothed over the steps around.
    pub smoothed: f64,
}

/// Trains a fresh network of the recipe for a few steps with a rising rate, as in its first phase. Nothing is kept.
///
/// # Errors
/// Those of building the network, and [`Error::Unsuitable`] when the loss shows nothing.
pub fn range_test(recipe: &Recipe, data: &RunData, device: &Device) -> Result<RangeTest> {
    let device = device.clone().autodiff();
    let train = ActivePhase::of_epoch(&recipe.train, 0).train;
    let (mut network, mut optimizer) = begin(recipe, data, &device)?;
    let descent = Descent::of_phase(train, data, &network, &device)?;
    let (mut rates, mut losses) = (Vec::new(), Vec::new());
    for (step, mut batch) in endless_batches(recipe, data).take(STEPS).enumerate() {
        let rate = LOWEST * (HIGHEST / LOWEST).powf(step as f64 / (STEPS - 1) as f64);
        let Ok((next, loss, _)) = descent.step(network, &mut optimizer, &mut batch, step as u64, rate) else {
            break;
        };
        network = next;
        rates.push(rate);
        losses.push(loss);
        let recent = losses.iter().rev().take(3).sum::<f64>() / losses.len().min(3) as f64;
        if recent > BREAKDOWN * losses.iter().copied().fold(f64::INFINITY, f64::min) {
            break;
        }
    }
    judged(rates, losses)
}

/// Batches of one epoch after another.
pub(crate) fn endless_batches<'a>(recipe: &'a Recipe, data: &'a RunData) -> impl Iterator<Item = Batch> + 'a {
    (0..).flat_map(|epoch| {
        let plan = BatchPlan {
            batch_size: recipe.train.batch_size,
            seed: recipe.train.seed,
            epoch,
            sampling: recipe.data.sampling,
            drop_last: data.train.len() >= recipe.train.batch_size,
            first_batch: 0,
        };
        batches(&data.train, &data.normalization, data.augmentation.as_ref(), &plan)
    })
}

fn judged(rates: Vec<f64>, losses: Vec<f64>) -> Result<RangeTest> {
    let smoothed = smoothed(&losses);
    let lowest = (0..smoothed.len()).min_by(|a, b| smoothed[*a].total_cmp(&smoothed[*b])).unwrap_or(0);
    // Rates are equally far apart on their scale, so differences are slopes.
    let slope = |i: &usize| smoothed[(i + SLOPE / 2).min(lowest)] - smoothed[i.saturating_sub(SLOPE / 2)];
    let steepest = (0..lowest).min_by(|a, b| slope(a).total_cmp(&slope(b))).filter(|i| slope(i) < 0.0);
    let Some(steepest) = steepest else {
        let message = "the loss falls at no learning rate, so there is none to suggest; look at the data and the network";
        return Err(Error::Unsuitable(message.into()));
    };
    let points = rates.iter().zip(losses).zip(smoothed);
    let points = points.map(|((&learning_rate, loss), smoothed)| RatePoint { learning_rate, loss, smoothed });
    Ok(RangeTest { points: points.collect(), suggestion: two_digits(rates[steepest]), lowest: rates[lowest] })
}

/// The mean over the steps around each, equally many on both sides: what comes after the breakdown reaches no further back.
fn smoothed(losses: &[f64]) -> Vec<f64> {
    let mean = |i: usize| {
        let reach = SMOOTHING.min(i).min(losses.len() - 1 - i);
        let around = &losses[i - reach..=i + reach];
        around.iter().sum::<f64>() / around.len() as f64
    };
    (0..losses.len()).map(mean).collect()
}

fn two_digits(value: f64) -> f64 {
    format!("{value:.1e}").parse().expect("a number that was just written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steepest_descent_is_suggested() {
        // A loss that falls from 2 to 1 as a logistic curve in log₁₀ of the rate, steepest at 10⁻³, and breaks down above 0.1.
        let rates: Vec<f64> =
            (0..STEPS).map(|i| 10f64.powf(-6.0 + 7.0 * i as f64 / (STEPS - 1) as f64)).collect();
        let loss = |rate: &f64| 1.0 + 1.0 / (1.0 + (3.0 * (rate.log10() + 3.0)).exp()) + (rate / 0.3).powi(2);
        let losses: Vec<f64> = rates.iter().map(loss).collect();
        let test = judged(rates, losses).unwrap();
        assert!((5e-4..2e-3).contains(&test.suggestion), "{}", test.suggestion);
        assert!((1e-2..1e-1).contains(&test.lowest), "{}", test.lowest);
    }

    #[test]
    fn a_constant_stays_itself_and_a_jump_is_not_shifted() {
        assert!(smoothed(&[3.0; 7]).iter().all(|value| (value - 3.0).abs() < 1e-12));
        let jump: Vec<f64> = (0..200).map(|i| if i < 100 { 0.0 } else { 1.0 }).collect();
        let crossing = smoothed(&jump).iter().position(|value| *value > 0.5).unwrap();
        assert!((98..=102).contains(&crossing), "{crossing}");
    }

    #[test]
    fn a_loss_that_only_rises_is_refused() {
        let rates: Vec<f64> = (1..=50).map(f64::from).collect();
        let error = judged(rates.clone(), rates).unwrap_err().to_string();
        assert!(error.contains("falls at no learning rate"), "{error}");
    }
}
