//! Averages of the weights over the steps of a run, which generalize better than the last weights do.

use serde::{Deserialize, Serialize};
use tailor_nn::Network;

use crate::recipe::TrainRecipe;

/// Fast weights that explore, and slow ones that follow some way every few steps and from which the fast ones go on
/// (Zhang et al. 2019, algorithm 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LookAhead {
    /// Steps of the fast weights.
    pub every: usize,
    /// Of the way to the fast weights that the slow ones go: α.
    pub share: f64,
    /// From the whole way at the start of the run to `share` at its end: the rest grows as this power of the run's
    /// progress. 0 is the paper's constant share; cifar10-airbench goes with `share = 0.226` and `ramp = 3`.
    pub ramp: f64,
}

impl Default for LookAhead {
    fn default() -> Self {
        LookAhead { every: 5, share: 0.5, ramp: 0.0 }
    }
}

impl LookAhead {
    /// What is impossible about the settings, if anything.
    pub fn check(&self) -> Result<(), String> {
        if self.every == 0 {
            return Err("train.look-ahead.every must be at least 1".into());
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            let share = self.share;
            return Err(format!("train.look-ahead.share must be above 0 and at most 1, not {share}"));
        }
        if !(self.ramp >= 0.0 && self.ramp.is_finite()) {
            return Err(format!("train.look-ahead.ramp must be 0 or more, not {}", self.ramp));
        }
        Ok(())
    }
}

/// How weights are averaged.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// `average ← d · average + (1 − d) · weights` after each step.
    Exponential {
        decay: f64,
    },
    LookAhead(LookAhead),
}

impl Rule {
    /// How far the average goes towards the weights after the `step`th of `steps`, from 1; not at all if none.
    fn share(&self, step: u64, steps: u64) -> Option<f64> {
        match *self {
            // Early on the initial weights would weigh too much: the warm-up of TensorFlow's ExponentialMovingAverage.
            Rule::Exponential { decay } => Some(1.0 - decay.min((1 + step) as f64 / (10 + step) as f64)),
            Rule::LookAhead(LookAhead { every, share, ramp }) => step
                .is_multiple_of(every as u64)
                .then(|| 1.0 - (1.0 - share) * (step as f64 / steps as f64).powf(ramp)),
        }
    }
}

/// The averaged weights of a run, batch norm's running statistics among them: what is validated and kept.
pub struct Average {
    rule: Rule,
    network: Network,
}

impl Average {
    /// Of a network that is about to be trained, if the recipe asks for it.
    pub fn new(recipe: &TrainRecipe, network: &Network) -> Option<Self> {
        let rule = match (recipe.ema, recipe.look_ahead) {
            (Some(decay), _) => Rule::Exponential { decay },
            (None, Some(look_ahead)) => Rule::LookAhead(look_ahead),
            (None, None) => return None,
        };
        Some(Average { rule, network: network.copy() })
    }

    /// Follows the network's `step`th step of `steps`, and gives it back as it goes on.
    pub fn follow(self, network: Network, step: u64, steps: u64) -> (Self, Network) {
        let Some(share) = self.rule.share(step, steps) else { return (self, network) };
        let average = self.network.blend(&network, share);
        let network = match self.rule {
            Rule::Exponential { .. } => network,
            Rule::LookAhead(_) => network.with_values_of(&average),
        };
        (Average { network: average, ..self }, network)
    }

    /// The network with the averaged weights.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The same, to be put back to where it was.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recipe;
    use tailor_nn::weights::NamedTensor;
    use tailor_nn::{Device, Shape, with_burn_operations};

    /// A network with a batch norm whose tensors all hold `value`.
    fn network(value: f32, device: &Device) -> Network {
        let recipe = "name = \"x\"\n[model]\nlayers = [{ type = \"conv\", filters = 2 }, \"batch-norm\"]";
        let shape = Shape::Image { height: 4, width: 4, channels: 1 };
        let architecture = Recipe::parse(recipe, "x").unwrap().architecture();
        let mut network = Network::new(&architecture, shape, 2, 1, device).unwrap();
        let constant =
            |tensor: NamedTensor| NamedTensor { values: vec![value; tensor.values.len()], ..tensor };
        network.import(network.export().into_iter().map(constant).collect()).unwrap();
        network
    }

    /// The value that all tensors hold.
    fn value(network: &Network) -> f32 {
        let tensors = network.export();
        assert!(tensors.iter().any(|tensor| tensor.name == "bn1.running_var"));
        let value = tensors[0].values[0];
        for tensor in tensors {
            assert!(tensor.values.iter().all(|&other| other == value), "{} differs", tensor.name);
        }
        value
    }

    #[test]
    fn an_exponential_average_follows_the_arithmetic_of_a_hand() {
        let device = Device::flex().autodiff();
        let recipe = TrainRecipe { ema: Some(0.25), ..TrainRecipe::default() };
        let follow = || {
            let mut average = Average::new(&recipe, &network(1.0, &device)).unwrap();
            let mut values = Vec::new();
            for (step, weights) in [(1, 12.0), (2, 0.0), (3, 8.0)] {
                average = average.follow(network(weights, &device), step, 3).0;
                values.push(value(average.network()));
            }
            values
        };
        // Step 1: d = min(¼, 2/11) = 2/11: 2/11 · 1 + 9/11 · 12 = 10. Step 2: d = min(¼, 3/12) = ¼: 2.5 + 0.
        // Step 3: ¼, not 4/13: 0.625 + ¾ · 8 = 6.625.
        let expected = [10.0, 2.5, 6.625];
        for values in [follow(), with_burn_operations(follow)] {
            assert!(values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{values:?}");
        }
    }

    #[test]
    fn slow_weights_follow_every_few_steps_and_the_fast_ones_go_on_from_there() {
        let device = Device::flex().autodiff();
        let look_ahead = Some(LookAhead { every: 2, share: 0.5, ramp: 1.0 });
        let recipe = TrainRecipe { look_ahead, ..TrainRecipe::default() };
        let average = Average::new(&recipe, &network(0.0, &device)).unwrap();
        let (average, fast) = average.follow(network(4.0, &device), 1, 4);
        assert_eq!((value(average.network()), value(&fast)), (0.0, 4.0));
        // Half-way, the share is 1 − ½ · 2/4 = ¾.
        let (average, fast) = average.follow(network(8.0, &device), 2, 4);
        assert_eq!((value(average.network()), value(&fast)), (6.0, 6.0));
        assert_eq!(fast.trainable_tensors().len(), 6);
        // At the end it is ½.
        let (average, _) = average.follow(network(10.0, &device), 3, 4);
        let (average, fast) = average.follow(network(12.0, &device), 4, 4);
        assert_eq!((value(average.network()), value(&fast)), (9.0, 9.0));
    }
}
