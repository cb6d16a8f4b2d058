//! How the learning rate moves during a run.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The shape of the learning rate over a run, as a factor of the recipe's `lr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Always 1.
    #[default]
    Constant,
    /// Multiplied by `factor` after every `every` epochs.
    Step {
        /// Epochs between two drops.
        every: f64,
        /// Of the rate before.
        #[serde(default = "tenth")]
        factor: f64,
    },
    /// Half a cosine from 1 down to `end` (Loshchilov & Hutter 2017, equation 5, without restarts).
    Cosine {
        /// Factor at the end of the run.
        #[serde(default)]
        end: f64,
    },
    /// Up from `start` to 1 and down to `end`, both along half a cosine (Smith & Topin 2018, as in PyTorch's
    /// `OneCycleLR`).
    OneCycle {
        /// Factor at the first step.
        #[serde(default = "one_cycle_start")]
        start: f64,
        /// Factor at the last step.
        #[serde(default = "one_cycle_end")]
        end: f64,
        /// Part of the run that rises.
        #[serde(default = "one_cycle_rise")]
        rise: f64,
    },
}

impl Schedule {
    /// The factor at `step` (from 0) of `steps` steps in `epochs` epochs, after a linear rise over the first
    /// `warmup_epochs`.
    pub fn factor(&self, step: u64, steps: u64, epochs: f64, warmup_epochs: f64) -> f64 {
        let epoch = step as f64 * epochs / steps as f64;
        if epoch < warmup_epochs {
            let warmup_steps = warmup_epochs * steps as f64 / epochs;
            return (step + 1) as f64 / warmup_steps.max(1.0);
        }
        let span = (epochs - warmup_epochs) * steps as f64 / epochs;
        let done = step as f64 - (steps as f64 - span);
        // From 0 at the first step after the warm-up to 1 at the last step.
        let progress = if span > 1.0 { (done / (span - 1.0)).clamp(0.0, 1.0) } else { 1.0 };
        match *self {
            Schedule::Constant => 1.0,
            Schedule::Step { every, factor } => factor.powf((epoch / every).floor()),
            Schedule::Cosine { end } => half_cosine(1.0, end, progress),
            Schedule::OneCycle { start, rise, .. } if progress < rise => {
                half_cosine(start, 1.0, progress / rise)
            }
            Schedule::OneCycle { end, rise, .. } => half_cosine(1.0, end, (progress - rise) / (1.0 - rise)),
        }
    }

    /// What is impossible about the settings, if anything.
    pub fn check(&self) -> Result<(), String> {
        let fraction = |name: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(format!("train.schedule.{name} must be between 0 and 1, not {value}")),
        };
        match *self {
            Schedule::Constant => Ok(()),
            Schedule::Step { every, factor } => {
                if !(every > 0.0 && every.is_finite()) {
                    return Err(format!("train.schedule.every must be above 0 epochs, not {every}"));
                }
                fraction("factor", factor)
            }
            Schedule::Cosine { end } => fraction("end", end),
            Schedule::OneCycle { start, end, rise } => {
                fraction("start", start)?;
                fraction("end", end)?;
                if !(rise > 0.0 && rise < 1.0) {
                    return Err(format!("train.schedule.rise must lie between 0 and 1, not {rise}"));
                }
                Ok(())
            }
        }
    }
}

fn half_cosine(from: f64, to: f64, progress: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * progress).cos()) / 2.0
}

fn tenth() -> f64 {
    0.1
}

fn one_cycle_start() -> f64 {
    1.0 / 25.0
}

fn one_cycle_end() -> f64 {
    1e-4 / 25.0
}

fn one_cycle_rise() -> f64 {
    0.3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: Schedule, steps: u64, epochs: f64, warmup: f64) -> Vec<f64> {
        (0..steps).map(|step| (schedule.factor(step, steps, epochs, warmup) * 1e4).round() / 1e4).collect()
    }

    #[test]
    fn steps_drop_after_whole_epochs() {
        // Eight steps in four epochs: two a epoch; a drop after every second epoch.
        let schedule = Schedule::Step { every: 2.0, factor: 0.1 };
        assert_eq!(factors(schedule, 8, 4.0, 0.0), [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1]);
    }

    #[test]
    fn a_cosine_ends_exactly_at_its_end() {
        // (1 + cos(π/4 · k)) / 2 for k = 0..4
        let schedule = Schedule::Cosine { end: 0.0 };
        assert_eq!(factors(schedule, 5, 5.0, 0.0), [1.0, 0.8536, 0.5, 0.1464, 0.0]);
    }

    #[test]
    fn warm_up_rises_linearly_and_then_hands_over_at_one() {
        let schedule = Schedule::Cosine { end: 0.0 };
        assert_eq!(factors(schedule, 7, 7.0, 4.0), [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.0]);
    }

    #[test]
    fn one_cycle_rises_peaks_and_falls() {
        // Eleven steps: the peak lies at .3 of the way from the first to the last, at step 3.
        let schedule = Schedule::OneCycle { start: 0.04, end: 4e-6, rise: 0.3 };
        let ours = factors(schedule, 11, 1.0, 0.0);
        assert_eq!(ours[0], 0.04);
        assert_eq!(ours[3], 1.0);
        assert_eq!(ours[10], 0.0);
        // Half way down: (1 + 4e-6) / 2.
        assert!((schedule.factor(13, 21, 1.0, 0.0) - 0.5).abs() < 1e-5);
    }

    #[test]
    fn every_schedule_survives_a_run_of_one_step() {
        for schedule in [
            Schedule::Constant,
            Schedule::Step { every: 1.0, factor: 0.5 },
            Schedule::Cosine { end: 0.1 },
            Schedule::OneCycle { start: 0.04, end: 0.0, rise: 0.3 },
        ] {
            for warmup in [0.0, 0.5, 1.0] {
                assert!((0.0..=1.0).contains(&schedule.factor(0, 1, 1.0, warmup)));
            }
        }
    }
}
