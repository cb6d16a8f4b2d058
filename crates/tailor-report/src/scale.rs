//! Scales of any kind, for what varies in a study: linear, logarithmic, or one place for each choice.

use crate::axis::Axis;

/// Where values lie along a line.
#[derive(Clone, Debug)]
pub(crate) enum Scale {
    /// Equal differences are equally far.
    Linear(Axis),
    /// Equal ratios are equally far.
    Logarithmic { low: f64, high: f64 },
    /// The positions 0, 1, … of these names.
    Choices(Vec<String>),
}

impl Scale {
    /// A logarithmic scale over all positive values, a little wider than they are.
    pub fn logarithmic(values: impl IntoIterator<Item = f64>) -> Self {
        let positive = values.into_iter().filter(|value| *value > 0.0 && value.is_finite());
        let range = positive.fold(None, |range: Option<(f64, f64)>, value| match range {
            None => Some((value, value)),
            Some((low, high)) => Some((low.min(value), high.max(value))),
        });
        let (low, high) = range.unwrap_or((1.0, 10.0));
        Scale::Logarithmic { low: low / 1.15, high: high * 1.15 }
    }

    /// Where a value lies when the scale is drawn from `from` to `to`; none if it is out of range.
    pub fn position(&self, value: f64, from: f64, to: f64) -> Option<f64> {
        let part = match self {
            Scale::Linear(axis) => return axis.position(value, from, to),
            Scale::Logarithmic { low, high } => (value / low).ln() / (high / low).ln(),
            Scale::Choices(names) => (value + 0.5) / names.len() as f64,
        };
        (-1e-9..=1.0 + 1e-9).contains(&part).then_some(from + part * (to - from))
    }

    /// Values with their labels.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        match self {
            Scale::Linear(axis) => axis.ticks().into_iter().map(|tick| (tick, axis.label(tick))).collect(),
            Scale::Logarithmic { low, high } => logarithmic_ticks(*low, *high),
            Scale::Choices(names) => {
                names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect()
            }
        }
    }
}

/// Powers of ten; with 2 and 5 times them where those are fewer than three.
fn logarithmic_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = |factors: &[i32]| -> Vec<(f64, String)> {
        let ticks = powers.clone().flat_map(|power| factors.iter().map(move |factor| (*factor, power)));
        let ticks =
            ticks.map(|(factor, power)| (f64::from(factor) * 10f64.powi(power), label(factor, power)));
        ticks.filter(|(tick, _)| (low..=high).contains(tick)).collect()
    };
    let tens = all(&[1]);
    if tens.len() >= 3 { tens } else { all(&[1, 2, 5]) }
}

fn label(factor: i32, power: i32) -> String {
    match power {
        -2..=3 => format!("{}", f64::from(factor) * 10f64.powi(power)),
        _ => format!("{factor}e{power}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn logarithmic_ticks_are_powers_of_ten_or_a_few_between() {
        assert_eq!(labels(Scale::Logarithmic { low: 1e-4, high: 1e-1 }), ["1e-4", "1e-3", "0.01", "0.1"]);
        assert_eq!(labels(Scale::Logarithmic { low: 3.0, high: 60.0 }), ["5", "10", "20", "50"]);
        let scale = Scale::Logarithmic { low: 1e-4, high: 1e-2 };
        assert!((scale.position(1e-3, 0.0, 100.0).unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(scale.position(0.0, 0.0, 100.0), None);
    }

    #[test]
    fn choices_stand_in_the_middle_of_their_parts() {
        let scale = Scale::Choices(vec!["adam".into(), "sgd".into()]);
        assert_eq!(scale.position(1.0, 0.0, 100.0), Some(75.0));
        assert_eq!(labels(scale), ["adam", "sgd"]);
    }
}
