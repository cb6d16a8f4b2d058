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

/// A range of positive values by their magnitude, with ticks at 1, 2 and 5 times the powers of ten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogAxis {
    low: f64,
    high: f64,
}

impl LogAxis {
    /// The steps within a power of ten.
    const STEPS: [f64; 3] = [1.0, 2.0, 5.0];
    /// More ticks than these would touch; then only the powers of ten have one.
    const MOST_TICKS: usize = 7;

    /// An axis over all of `values` that are positive, widened to the next ticks; without any, as if of 1 and 10.
    pub fn covering(values: impl IntoIterator<Item = f64>) -> Self {
        let usable = values.into_iter().filter(|value| (1.0 / LARGEST..LARGEST).contains(value));
        let range = usable.fold(None, |range: Option<(f64, f64)>, value| {
            let (low, high) = range.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        });
        let (low, high) = range.unwrap_or((1.0, 10.0));
        // A margin on both sides, so that no point stands on the edge.
        let candidates =
            || Self::steps((low / 10.0).log10().floor() as i32, (high * 10.0).log10().ceil() as i32);
        let below = candidates().filter(|&tick| tick <= 0.9 * low).last().unwrap_or(low);
        let above = candidates().find(|&tick| tick >= 1.1 * high).unwrap_or(high);
        Self { low: below, high: above }
    }

    /// 1, 2 and 5 times the powers of ten from the first to the last.
    fn steps(first: i32, last: i32) -> impl Iterator<Item = f64> {
        (first..=last).flat_map(|power| Self::STEPS.map(|step| step * 10_f64.powi(power)))
    }

    /// The values that have a tick.
    pub fn ticks(&self) -> Vec<f64> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let is_within = |tick: &f64| (0.999 * self.low..=1.001 * self.high).contains(tick);
        let ticks: Vec<f64> = Self::steps(first, last).filter(is_within).collect();
        if ticks.len() <= Self::MOST_TICKS {
            return ticks;
        }
        (first..=last).map(|power| 10_f64.powi(power)).filter(is_within).collect()
    }

    /// A tick's label: `0.5`, `20`, `5k`, `1M`.
    pub fn label(&self, tick: f64) -> String {
        match tick {
            t if t < 0.995 => format!("{t:.*}", (-t.log10()).ceil() as usize),
            t if t < 995.0 => format!("{t:.0}"),
            t if t < 995e3 => format!("{:.0}k", t / 1e3),
            t if t < 995e6 => format!("{:.0}M", t / 1e6),
            t => format!("{t:.0e}"),
        }
    }

    /// Where `value` lies when the axis is drawn from `from` to `to`; none if it is out of range.
    pub fn position(&self, value: f64, from: f64, to: f64) -> Option<f64> {
        let part = (value / self.low).ln() / (self.high / self.low).ln();
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
    fn magnitudes_have_round_ticks_around_the_values() {
        struct Case {
            why: &'static str,
            values: &'static [f64],
            labels: &'static [&'static str],
        }
        for case in [
            Case { why: "seconds", values: &[4.2, 31.0], labels: &["2", "5", "10", "20", "50"] },
            Case { why: "one value", values: &[0.07], labels: &["0.05", "0.1"] },
            Case { why: "on a tick", values: &[1000.0, 2000.0], labels: &["500", "1k", "2k", "5k"] },
            Case { why: "many powers", values: &[93_322.0, 4.7e7], labels: &["100k", "1M", "10M", "100M"] },
            Case {
                why: "nothing positive",
                values: &[0.0, -1.0, f64::NAN],
                labels: &["0.5", "1", "2", "5", "10", "20"],
            },
        ] {
            let axis = LogAxis::covering(case.values.iter().copied());
            let labels: Vec<_> = axis.ticks().into_iter().map(|tick| axis.label(tick)).collect();
            assert_eq!(labels, case.labels, "{}", case.why);
            for &value in case.values.iter().filter(|value| **value > 0.0) {
                assert!(axis.position(value, 0.0, 1.0).is_some(), "{}: {value}", case.why);
            }
        }
        assert_eq!(LogAxis::covering([0.0]).position(0.0, 0.0, 1.0), None);
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
