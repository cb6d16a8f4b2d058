//! Axes with round numbers.

/// A range of values with ticks at multiples of a round step: 1, 2 or 5 times a power of ten (Heckbert 1990, "Nice
/// numbers for graph labels", in Graphics Gems).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

/// Values beyond this are no measurement: they would leave nothing else to see.
const LARGEST: f64 = 1e100;

impl Axis {
    /// An axis over all of `values`, widened to the next ticks, with about `ticks` of them. Values that are not finite are
    /// passed over; without any the axis runs from 0 to 1.
    pub fn covering(values: impl IntoIterator<Item = f64>, ticks: usize) -> Self {
        let usable = values.into_iter().filter(|value| value.abs() < LARGEST);
        let range = usable.fold(None, |range, value| match range {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        });
        let (low, high) = range.map_or((0.0, 1.0), |(low, high)| widened(low, high));
        let step = round_step((high - low) / ticks as f64);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    /// An axis from `first` to `last` exactly, with about `ticks` ticks at whole numbers.
    pub fn counting(first: usize, last: usize, ticks: usize) -> Self {
        let (first, last) = (first as f64, last.max(first) as f64);
        let step = round_step((last - first) / ticks as f64).max(1.0);
        // A single number stands in the middle.
        let margin = if first == last { 0.5 } else { 0.0 };
        Self { low: first - margin, high: last + margin, step }
    }

    /// The values that have a tick.
    pub fn ticks(&self) -> Vec<f64> {
        // Whole multiples, so that 0.1 + 0.2 is labeled 0.3; the tolerance keeps the last tick despite rounding.
        let first = (self.low / self.step - 1e-6).ceil() as i64;
        let last = (self.high / self.step + 1e-6).floor() as i64;
        (first..=last).map(|n| n as f64 * self.step).collect()
    }

    /// A tick's label, with as many decimals as the step needs.
    pub fn label(&self, tick: f64) -> String {
        if self.step >= 1e5 || self.step < 1e-5 {
            return format!("{tick:.0e}");
        }
        let decimals = (-self.step.log10()).ceil().max(0.0) as usize;
        format!("{tick:.decimals$}")
    }

    /// Where `value` lies when the axis is drawn from `from` to `to`; none if it is not finite or out of range.
    pub fn position(&self, value: f64, from: f64, to: f64) -> Option<f64> {
        let part = (value - self.low) / (self.high - self.low);
        (-1e-9..=1.0 + 1e-9).contains(&part).then_some(from + part * (to - from))
    }
}

/// A range that is not empty.
fn widened(low: f64, high: f64) -> (f64, f64) {
    let magnitude = low.abs().max(high.abs());
    if high - low > 1e-9 * magnitude {
        return (low, high);
    }
    let margin = if magnitude > 0.0 { 0.1 * magnitude } else { 0.5 };
    (low - margin, high + margin)
}

/// The smallest of 1, 2, 5 times a power of ten that is not below `rough`.
fn round_step(rough: f64) -> f64 {
    if rough < f64::MIN_POSITIVE {
        return 1.0;
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= rough * (1.0 - 1e-9)).unwrap_or(10.0);
    step * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|tick| axis.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        struct Case {
            why: &'static str,
            values: &'static [f64],
            labels: &'static [&'static str],
        }
        for case in [
            Case { why: "losses", values: &[0.213, 0.587], labels: &["0.2", "0.3", "0.4", "0.5", "0.6"] },
            Case { why: "percent", values: &[81.0, 93.2], labels: &["80", "85", "90", "95"] },
            Case {
                why: "3 × 0.1 > 0.3",
                values: &[0.1, 0.3],
                labels: &["0.10", "0.15", "0.20", "0.25", "0.30"],
            },
            Case { why: "nothing", values: &[], labels: &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"] },
            Case {
                why: "NaN",
                values: &[f64::NAN, 1.0, f64::INFINITY, 2.0],
                labels: &["1.0", "1.2", "1.4", "1.6", "1.8", "2.0"],
            },
            Case { why: "one value", values: &[2.0], labels: &["1.8", "1.9", "2.0", "2.1", "2.2"] },
            Case {
                why: "zero",
                values: &[0.0],
                labels: &["-0.6", "-0.4", "-0.2", "0.0", "0.2", "0.4", "0.6"],
            },
            Case {
                why: "divergence",
                values: &[0.0, 1e9],
                labels: &["0e0", "2e8", "4e8", "6e8", "8e8", "1e9"],
            },
        ] {
            let axis = Axis::covering(case.values.iter().copied(), 5);
            assert_eq!(labels(axis), case.labels, "{}", case.why);
            for &value in case.values.iter().filter(|value| value.is_finite()) {
                assert!(axis.position(value, 0.0, 1.0).is_some(), "{}: {value}", case.why);
            }
        }
    }

    #[test]
    fn epochs_are_whole() {
        assert_eq!(labels(Axis::counting(1, 4, 6)), ["1", "2", "3", "4"]);
        assert_eq!(labels(Axis::counting(1, 30, 6)), ["5", "10", "15", "20", "25", "30"]);
        assert_eq!(labels(Axis::counting(3, 3, 6)), ["3"]);
    }

    #[test]
    fn what_is_not_finite_has_no_place() {
        let axis = Axis::covering([0.0, 1.0], 5);
        assert_eq!(axis.position(0.5, 100.0, 0.0), Some(50.0));
        assert_eq!(axis.position(f64::NAN, 0.0, 1.0), None);
        assert_eq!(axis.position(f64::INFINITY, 0.0, 1.0), None);
    }
}
