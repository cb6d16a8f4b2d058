//! The batch size by measurement: how many images a second are trained in batches of each size, and what memory that takes.

use std::time::{Duration, Instant};

use tailor_data::{Batch, memory};
use tailor_nn::{Device, Network};

use crate::data::RunData;
use crate::learning_rate::endless_batches;
use crate::optimizer::Optimizer;
use crate::phases::ActivePhase;
use crate::recipe::Recipe;
use crate::trainer::{Descent, build};
use crate::{Error, Result};

/// The smallest and the largest that are tried; above, too few steps are left of an epoch.
const SMALLEST: usize = 8;
const LARGEST: usize = 1024;
/// Steps before time is taken: caches fill, memory is allocated.
const WARM_UP: usize = 2;
/// The time of a step is the shortest of at least so many, over at least so long: others use the machine too.
const FEWEST_STEPS: usize = 5;
const SHORTEST: Duration = Duration::from_millis(400);
/// A smaller batch that is nearly as fast is better: it takes more steps over the same images.
const NEARLY: f64 = 0.95;
/// Of the memory that is free, this share may be used.
const MEMORY_SHARE: f64 = 0.5;

/// How fast one batch size trains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchSpeed {
    /// Images a step.
    pub batch_size: usize,
    /// Trained, without preparing them.
    pub images_per_second: f64,
}

/// The sizes that were measured, ascending, and the one to train with.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchSizes {
    /// What was measured.
    pub speeds: Vec<BatchSpeed>,
    /// The smallest that reaches 95 % of the highest speed.
    pub suggestion: usize,
    /// Whether larger ones were left out because memory would not have sufficed.
    pub is_bounded_by_memory: bool,
}

/// Trains a fresh network of the recipe for a few steps in batches of 8, 16, … up to 1,024 images, or as many as there are.
/// Nothing is kept.
///
/// # Errors
/// Those of building the network.
pub fn measure(recipe: &Recipe, data: &RunData, device: &Device) -> Result<BatchSizes> {
    let mut speeds = Vec::new();
    let mut is_bounded_by_memory = false;
    let mut before = memory();
    let sizes = std::iter::successors(Some(SMALLEST.min(data.train.len())), |size| Some(size * 2));
    for batch_size in sizes.take_while(|size| *size <= LARGEST.min(data.train.len())) {
        speeds.push(BatchSpeed { batch_size, images_per_second: speed(recipe, data, device, batch_size)? });
        let after = memory();
        if let (Some(before), Some(after)) = (before, after) {
            // The next size takes twice what this one took.
            let next = 2 * after.peak.saturating_sub(before.peak);
            if next as f64 > MEMORY_SHARE * after.free as f64 {
                is_bounded_by_memory = true;
                break;
            }
        }
        before = before.or(after);
    }
    Ok(BatchSizes { suggestion: suggestion(&speeds), speeds, is_bounded_by_memory })
}

fn suggestion(speeds: &[BatchSpeed]) -> usize {
    let fastest = speeds.iter().map(|speed| speed.images_per_second).fold(0.0, f64::max);
    let nearly = speeds.iter().find(|speed| speed.images_per_second >= NEARLY * fastest);
    nearly.map_or(1, |speed| speed.batch_size)
}

/// Images a second in batches of this size.
fn speed(recipe: &Recipe, data: &RunData, device: &Device, batch_size: usize) -> Result<f64> {
    let mut recipe = recipe.clone();
    recipe.train.batch_size = batch_size;
    let device = device.clone().autodiff();
    let train = ActivePhase::of_epoch(&recipe.train, 0).train;
    let (mut network, mut optimizer) = build(&recipe, &train, data, &device)?;
    let descent = Descent::of_phase(train, data, &network, &device)?;
    let (mut shortest, mut steps) = (Duration::MAX, 0);
    let beginning = Instant::now();
    for mut batch in endless_batches(&recipe, data) {
        let start = Instant::now();
        network = take_step(&descent, network, &mut optimizer, &mut batch)?;
        steps += 1;
        if steps > WARM_UP {
            shortest = shortest.min(start.elapsed());
        }
        if steps >= WARM_UP + FEWEST_STEPS && beginning.elapsed() >= SHORTEST {
            break;
        }
    }
    Ok(batch_size as f64 / shortest.as_secs_f64())
}

/// A step so small that the loss stays finite: only its time is of interest.
fn take_step(
    descent: &Descent,
    network: Network,
    optimizer: &mut Optimizer,
    batch: &mut Batch,
) -> Result<Network> {
    let stepped = descent.step(network, optimizer, batch, optimizer.steps(), 1e-9);
    let message = |loss| {
        format!("the loss of the untrained network is {loss}, so nothing can be measured; look at the data")
    };
    stepped.map(|(network, ..)| network).map_err(|loss| Error::Unsuitable(message(loss)))
}

#[derive(Clone, Copy)]
struct Memory {
    /// The most that this process has had so far, in bytes.
    peak: u64,
    /// What new allocations could get, in bytes.
    free: u64,
}

/// Where the system tells.
fn memory() -> Option<Memory> {
    Some(Memory { peak: memory::peak()?, free: memory::free()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_is_nearly_as_fast_is_suggested() {
        let speeds = [(8, 50.0), (16, 80.0), (32, 96.0), (64, 100.0), (128, 99.0)];
        let speeds =
            speeds.map(|(batch_size, images_per_second)| BatchSpeed { batch_size, images_per_second });
        assert_eq!(suggestion(&speeds), 32);
        assert_eq!(suggestion(&speeds[..1]), 8);
    }
}
