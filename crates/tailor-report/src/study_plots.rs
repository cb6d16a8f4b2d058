//! The plots of a study's page.

use crate::axis::Axis;
use crate::number::percent;
use crate::scale::Scale;
use crate::study::{Fate, ParameterScale, StudyParameter, StudyReport, StudyTrial};
use crate::svg::{Anchor, Drawing, Frame, Point, cut_to_width, text_width};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const PLOT: Frame = Frame { x: 44.0, y: 40.0, width: WIDTH - 60.0, height: HEIGHT - 82.0 };
/// Pixels from one axis of the parallel coordinates to the next.
const BETWEEN_AXES: f64 = 150.0;
/// Trials within this many times the distance from the best to the middle one are drawn to scale; the rest would leave nothing
/// else to see, and stands at the lower edge.
const SHOWN: f64 = 3.0;

/// What all plots share: the scale of accuracies, in percent, and words for trials.
pub(crate) struct StudyPlots<'a> {
    report: &'a StudyReport<'a>,
    /// The lowest accuracy that is drawn to scale, in percent.
    floor: f64,
    accuracies: Axis,
}

impl<'a> StudyPlots<'a> {
    pub fn new(report: &'a StudyReport<'a>) -> Self {
        let mut all: Vec<f64> =
            report.trials.iter().filter_map(|trial| Some(100.0 * trial.accuracy()?)).collect();
        all.sort_by(f64::total_cmp);
        let best = all.last().copied().unwrap_or(100.0);
        let middle = all.get(all.len() / 2).copied().unwrap_or(best);
        let floor = best - SHOWN * (best - middle).max(0.5);
        let shown = all.into_iter().map(|accuracy| accuracy.max(floor));
        StudyPlots { report, floor, accuracies: Axis::covering(shown, 5) }
    }

    /// Whether some trials stand at the lower edge.
    pub fn is_cut(&self) -> bool {
        self.report
            .trials
            .iter()
            .filter_map(StudyTrial::accuracy)
            .any(|accuracy| 100.0 * accuracy < self.floor)
    }

    /// Accuracy by trial, with the best so far.
    pub fn history(&self) -> Drawing {
        let mut drawing = self.framed("Validation accuracy of each trial, %", "trial");
        let numbers = Axis::counting(0, self.report.trials.len().saturating_sub(1), 6);
        for tick in numbers.ticks() {
            if let Some(x) = numbers.position(tick, PLOT.x, PLOT.right()) {
                drawing.text("quiet", (x, PLOT.bottom() + 18.0), Anchor::Middle, &numbers.label(tick));
            }
        }
        let at = |number: usize| numbers.position(number as f64, PLOT.x, PLOT.right());
        let (mut best, mut steps) = (f64::NEG_INFINITY, Vec::new());
        for trial in self.report.trials.iter().filter(|trial| trial.fate == Fate::Complete) {
            let (Some(accuracy), Some(x)) = (trial.accuracy(), at(trial.number)) else { continue };
            if accuracy > best {
                steps.extend(steps.last().map(|&(_, y): &Point| (x, y)));
                steps.push((x, self.height(accuracy, PLOT)));
                best = accuracy;
            }
        }
        steps.extend(steps.last().map(|&(_, y)| (PLOT.right(), y)));
        drawing.polyline("front", &steps);
        for trial in &self.report.trials {
            if let (Some(accuracy), Some(x)) = (trial.accuracy(), at(trial.number)) {
                self.dot(&mut drawing, trial, (x, self.height(accuracy, PLOT)));
            }
        }
        drawing
    }

    /// Accuracy by epoch, a line a trial.
    pub fn curves(&self) -> Drawing {
        let mut drawing = self.framed("Validation accuracy by epoch, %", "epoch");
        let last = self.report.trials.iter().map(|trial| trial.accuracies.len()).max().unwrap_or(1);
        let epochs = Axis::counting(1, last, 6);
        for tick in epochs.ticks() {
            if let Some(x) = epochs.position(tick, PLOT.x, PLOT.right()) {
                drawing.text("quiet", (x, PLOT.bottom() + 18.0), Anchor::Middle, &epochs.label(tick));
            }
        }
        for trial in self.best_last() {
            let place = |(i, accuracy): (usize, &f64)| {
                let x = epochs.position((i + 1) as f64, PLOT.x, PLOT.right())?;
                Some((x, self.height(*accuracy, PLOT)))
            };
            let points: Vec<Point> = trial.accuracies.iter().enumerate().filter_map(place).collect();
            let class = if self.is_best(trial) { "best" } else { "trial" };
            drawing.thread(class, &points, if self.is_best(trial) { 1.0 } else { 0.45 }, &self.says(trial));
            if let (Some(&end), Fate::Pruned) = (points.last(), &trial.fate) {
                self.dot(&mut drawing, trial, end);
            }
        }
        drawing
    }

    /// Accuracy by training time with the trials that no other beats in both: more accurate and no slower.
    pub fn pareto(&self) -> Drawing {
        let mut drawing = self.framed("Validation accuracy by training time, %", "seconds of training");
        let seconds = Scale::logarithmic(self.report.trials.iter().map(|trial| trial.seconds));
        for (tick, label) in seconds.ticks() {
            if let Some(x) = seconds.position(tick, PLOT.x, PLOT.right()) {
                drawing.text("quiet", (x, PLOT.bottom() + 18.0), Anchor::Middle, &label);
            }
        }
        let place = |trial: &StudyTrial| {
            let x = seconds.position(trial.seconds, PLOT.x, PLOT.right())?;
            Some((x, self.height(trial.accuracy()?, PLOT)))
        };
        let front = front(&self.report.trials);
        let mut steps: Vec<Point> = Vec::new();
        for point in front.iter().filter_map(|trial| place(trial)) {
            steps.extend(steps.last().map(|&(_, y)| (point.0, y)));
            steps.push(point);
        }
        drawing.polyline("front", &steps);
        for trial in self.best_last() {
            if let Some(point) = place(trial) {
                self.dot(&mut drawing, trial, point);
            }
        }
        drawing
    }

    /// An axis for each parameter and one for the accuracy, and a line for each trial.
    pub fn parallel_coordinates(&self) -> Drawing {
        const TOP: f64 = 48.0;
        const BOTTOM: f64 = 286.0;
        let parameters = &self.report.parameters;
        let margin = 70.0;
        let width = 2.0 * margin + BETWEEN_AXES * parameters.len() as f64;
        let mut drawing =
            Drawing::new(width, 304.0, "Parallel coordinates: the values of each trial and its accuracy");
        let x = |position: usize| margin + BETWEEN_AXES * position as f64;
        let last = parameters.len();
        let frame = Frame { x: x(last), y: TOP, width: 0.0, height: BOTTOM - TOP };
        for trial in self.best_last() {
            let Some(accuracy) = trial.accuracy() else { continue };
            let place = |(position, value): (usize, &Option<f64>)| {
                // What does not exist in a trial lies beneath the axis.
                let y = value.and_then(|value| scale(&parameters[position]).position(value, BOTTOM, TOP));
                (x(position), y.unwrap_or(BOTTOM + 12.0))
            };
            let mut points: Vec<Point> = trial.values.iter().enumerate().map(place).collect();
            points.push((x(last), self.height(accuracy, frame)));
            let class = if self.is_best(trial) { "best" } else { "trial" };
            drawing.thread(class, &points, self.opacity(trial), &self.says(trial));
        }
        for (position, parameter) in parameters.iter().enumerate() {
            axis(&mut drawing, x(position), &parameter.name, &scale(parameter), (BOTTOM, TOP));
        }
        axis(&mut drawing, x(last), "accuracy, %", &Scale::Linear(self.accuracies), (BOTTOM, TOP));
        drawing
    }

    /// Accuracy by the value of one parameter.
    pub fn slice(&self, position: usize) -> Drawing {
        let parameter = &self.report.parameters[position];
        let mut drawing = self.framed(&format!("{}: accuracy, %", parameter.name), &parameter.key);
        let scale = scale(parameter);
        for (tick, label) in scale.ticks() {
            if let Some(x) = scale.position(tick, PLOT.x, PLOT.right()) {
                drawing.text("quiet", (x, PLOT.bottom() + 18.0), Anchor::Middle, &cut_to_width(&label, 90.0));
            }
        }
        for trial in self.best_last() {
            let x = trial.values[position].and_then(|value| scale.position(value, PLOT.x, PLOT.right()));
            if let (Some(x), Some(accuracy)) = (x, trial.accuracy()) {
                self.dot(&mut drawing, trial, (x, self.height(accuracy, PLOT)));
            }
        }
        drawing
    }

    /// A bar for each parameter, the longest first.
    pub fn importance(&self, shares: &[f64]) -> Drawing {
        const ROW: f64 = 30.0;
        const BARS: f64 = 130.0;
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
        let label = "Share of the differences that each parameter explains alone";
        let mut drawing = Drawing::new(WIDTH, 16.0 + ROW * shares.len() as f64, label);
        for (row, position) in order.into_iter().enumerate() {
            let y = 8.0 + ROW * row as f64;
            let name = cut_to_width(&self.report.parameters[position].name, BARS - 12.0);
            drawing.text("", (BARS - 10.0, y + 17.0), Anchor::End, &name);
            let width = (WIDTH - BARS - 70.0) * shares[position];
            let says = format!("{}: {}", self.report.parameters[position].key, percent(shares[position]));
            drawing.cell(
                "right",
                Frame { x: BARS, y: y + 3.0, width: width.max(1.0), height: ROW - 10.0 },
                1.0,
                &says,
            );
            drawing.text("quiet", (BARS + width + 8.0, y + 17.0), Anchor::Start, &percent(shares[position]));
        }
        drawing
    }

    /// A plot with the axis of accuracies on the left and the name of the other one below.
    fn framed(&self, title: &str, below: &str) -> Drawing {
        let mut drawing = Drawing::new(WIDTH, HEIGHT, title);
        drawing.text("title", (0.0, 18.0), Anchor::Start, title);
        for tick in self.accuracies.ticks() {
            if let Some(y) = self.accuracies.position(tick, PLOT.bottom(), PLOT.y) {
                drawing.line("grid", (PLOT.x, y), (PLOT.right(), y));
                drawing.text("quiet", (PLOT.x - 8.0, y + 4.0), Anchor::End, &self.accuracies.label(tick));
            }
        }
        drawing.line("axis", (PLOT.x, PLOT.bottom()), (PLOT.right(), PLOT.bottom()));
        drawing.text("quiet", (PLOT.center().0, PLOT.bottom() + 36.0), Anchor::Middle, below);
        drawing
    }

    fn height(&self, accuracy: f64, frame: Frame) -> f64 {
        let shown = (100.0 * accuracy).max(self.floor);
        self.accuracies.position(shown, frame.bottom(), frame.y).unwrap_or(frame.bottom())
    }

    fn dot(&self, drawing: &mut Drawing, trial: &StudyTrial, at: Point) {
        let (class, radius) = match trial.fate {
            _ if self.is_best(trial) => ("best", 6.0),
            Fate::Complete => ("trial", 4.0),
            _ => ("pruned", 3.0),
        };
        drawing.dot(class, at, radius, &self.says(trial));
    }

    fn is_best(&self, trial: &StudyTrial) -> bool {
        self.report.best == Some(trial.number)
    }

    /// Strong for the best, weak for the rest.
    fn opacity(&self, trial: &StudyTrial) -> f64 {
        match trial.fate {
            _ if self.is_best(trial) => 1.0,
            Fate::Complete => 0.8,
            _ => 0.25,
        }
    }

    /// All trials, such that the best is drawn above the others.
    fn best_last(&self) -> impl Iterator<Item = &StudyTrial> {
        let complete =
            |trial: &&StudyTrial| u8::from(trial.fate == Fate::Complete) + u8::from(self.is_best(trial));
        let mut trials: Vec<&StudyTrial> = self.report.trials.iter().collect();
        trials.sort_by_key(complete);
        trials.into_iter()
    }

    /// A trial in words.
    fn says(&self, trial: &StudyTrial) -> String {
        let fate = match &trial.fate {
            Fate::Complete => "complete",
            Fate::Pruned => "stopped early",
            Fate::Failed(_) => "failed",
            Fate::Running => "not done yet",
        };
        let accuracy = trial.accuracy().map_or("–".to_string(), percent);
        let values = self.report.parameters.iter().zip(&trial.labels);
        let values: Vec<String> =
            values.filter_map(|(p, label)| Some(format!("{} {}", p.name, label.as_ref()?))).collect();
        format!("trial {}: {accuracy}, {fate}; {}", trial.number, values.join(", "))
    }
}

/// The trials that no other beats in both, by training time, of those that came to their end: the time of another is when it was
/// stopped, which says nothing of its settings.
pub(crate) fn front(trials: &[StudyTrial]) -> Vec<&StudyTrial> {
    let mut trials: Vec<&StudyTrial> =
        trials.iter().filter(|trial| trial.fate == Fate::Complete && trial.accuracy().is_some()).collect();
    trials.sort_by(|a, b| {
        a.seconds
            .total_cmp(&b.seconds)
            .then(b.accuracy().partial_cmp(&a.accuracy()).unwrap_or(std::cmp::Ordering::Equal))
    });
    let mut best = None;
    trials.retain(|trial| {
        let is_better = best.is_none_or(|best| trial.accuracy() > best);
        if is_better {
            best = Some(trial.accuracy());
        }
        is_better
    });
    trials
}

fn scale(parameter: &StudyParameter) -> Scale {
    match &parameter.scale {
        ParameterScale::Linear(low, high) => Scale::Linear(Axis::covering([*low, *high], 5)),
        ParameterScale::Logarithmic(low, high) => Scale::logarithmic([*low, *high]),
        ParameterScale::Choices(names) => Scale::Choices(names.clone()),
    }
}

/// An upright axis with its name above and its ticks on the left.
fn axis(drawing: &mut Drawing, x: f64, name: &str, scale: &Scale, (bottom, top): (f64, f64)) {
    drawing.line("axis", (x, bottom), (x, top));
    drawing.text("title", (x, top - 16.0), Anchor::Middle, &cut_to_width(name, BETWEEN_AXES - 16.0));
    for (tick, label) in scale.ticks() {
        if let Some(y) = scale.position(tick, bottom, top) {
            drawing.line("axis", (x - 4.0, y), (x, y));
            let label = cut_to_width(&label, 60.0);
            let at = (x - 7.0 - text_width(&label), y + 4.0);
            drawing.text("quiet halo", at, Anchor::Start, &label);
        }
    }
}
