//! An evaluation for the terminal, in the manner of scikit-learn's `classification_report`.

use std::fmt;

use unicode_width::UnicodeWidthStr;

use crate::{ConfidenceCheck, ConfusedPair, Evaluation, Interval, thousands};

/// The most classes whose confusion matrix fits a terminal.
const WIDEST_CONFUSION: usize = 20;
/// Kinds of mistake that are named.
const PAIRS: usize = 3;
/// Width of a metric's column, its distance to the one before included.
const COLUMN: usize = 11;

/// [`table`] and, up to 20 classes, [`confusion_table`].
impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(self))?;
        if self.per_class.len() <= WIDEST_CONFUSION {
            write!(f, "\n{}", confusion_table(self))?;
        }
        Ok(())
    }
}

/// The headline figures, a line a class, the averages, and the most confused pairs. Ends with a newline.
///
/// ```text
/// Accuracy           91.42 %  (95 % interval 90.85 % to 91.95 %, 10,000 images)
/// Top 2              97.30 %
/// Top 3              99.10 %
/// Loss                0.2412
/// Calibration error   1.32 %
///
///                 precision     recall         F1    support
/// Coat               0.8612     0.8730     0.8671      1,000
/// …
/// ```
pub fn table(evaluation: &Evaluation) -> String {
    [headline(evaluation), classes(evaluation), confused_pairs(evaluation)].concat()
}

fn headline(evaluation: &Evaluation) -> String {
    let Evaluation { images, accuracy, accuracy_interval: interval, loss, .. } = evaluation;
    let accuracy = format!(
        "Accuracy           {}  (95 % interval {} to {}, {} images)\n",
        percent(*accuracy),
        percent(interval.low).trim_start(),
        percent(interval.high).trim_start(),
        thousands(*images)
    );
    let guesses = evaluation.top_k.iter().filter(|top| (2..=3).contains(&top.k));
    let guesses = guesses.map(|top| format!("Top {}              {}\n", top.k, percent(top.accuracy)));
    let error = percent(evaluation.expected_calibration_error);
    let [unscaled_loss, unscaled_error] = match &evaluation.confidence {
        Some(ConfidenceCheck { temperature, unscaled, .. }) => [
            format!("  ({:.4} without the temperature {temperature:.3})", unscaled.loss),
            format!("  ({} without)", percent(unscaled.expected_calibration_error).trim_start()),
        ],
        None => Default::default(),
    };
    let rest =
        format!("Loss               {loss:8.4}{unscaled_loss}\nCalibration error  {error}{unscaled_error}\n");
    let confidence = evaluation.confidence.as_ref().map_or(String::new(), promises);
    [accuracy, guesses.collect(), rest, confidence, "\n".to_owned()].concat()
}

/// What became of the promises that are stored with the model, a line each.
fn promises(check: &ConfidenceCheck) -> String {
    let share = |share: f64| percent(share).trim_start().to_owned();
    let interval = |interval: &Interval| format!("{} to {}", share(interval.low), share(interval.high));
    let sure = check.abstention.as_ref().map_or(String::new(), |sure| {
        format!(
            "Sure of            {}  of the images, and right about {} of these  (95 % interval {}; wanted {})\n",
            percent(sure.coverage),
            share(sure.accuracy),
            interval(&sure.interval),
            share(sure.wanted)
        )
    });
    let sets = check.sets.as_ref().map_or(String::new(), |sets| {
        format!(
            "Sets               {}  hold the true class  (95 % interval {}; promised {}), {:.2} classes each\n",
            percent(sets.covered),
            interval(&sets.interval),
            share(sets.promised),
            sets.mean_size
        )
    });
    sure + &sets
}

fn classes(evaluation: &Evaluation) -> String {
    let averages =
        [("macro average", &evaluation.macro_average), ("weighted average", &evaluation.weighted_average)];
    let names = evaluation.per_class.iter().map(|class| class.name.as_str());
    let width = names.chain(averages.map(|(name, _)| name)).map(UnicodeWidthStr::width).max().unwrap_or(0);

    let line = |name: &str, metrics: [f64; 3], support: usize| {
        let metrics = metrics.map(|metric| format!("{metric:COLUMN$.4}")).concat();
        format!("{}{metrics}{:>COLUMN$}\n", padded(name, width), thousands(support))
    };
    let heading = ["precision", "recall", "F1", "support"].map(|name| format!("{name:>COLUMN$}")).concat();
    let classes = evaluation
        .per_class
        .iter()
        .map(|class| line(&class.name, [class.precision, class.recall, class.f1], class.support));
    let averages = averages.map(|(name, average)| {
        line(name, [average.precision, average.recall, average.f1], evaluation.images)
    });
    format!("{}{heading}\n{}\n{}", padded("", width), classes.collect::<String>(), averages.concat())
}

fn confused_pairs(evaluation: &Evaluation) -> String {
    let pairs = evaluation.confusion.most_confused_pairs(PAIRS);
    if pairs.is_empty() {
        return "\nNo image was given a wrong class.\n".to_owned();
    }
    let line = |pair: &ConfusedPair| {
        let class = &evaluation.per_class[pair.label];
        let predicted = &evaluation.per_class[pair.predicted].name;
        let share = percent(pair.count as f64 / class.support as f64);
        let times = format!("{} of {}", thousands(pair.count), thousands(class.support));
        format!("  {} taken for {predicted}: {times} ({})\n", class.name, share.trim_start())
    };
    format!("\nMost confused\n{}", pairs.iter().map(line).collect::<String>())
}

/// The confusion matrix, true classes down and predicted ones across; zeros are dots. Ends with a newline.
pub fn confusion_table(evaluation: &Evaluation) -> String {
    let counts = &evaluation.confusion.counts;
    let names = || evaluation.per_class.iter().map(|class| class.name.as_str());
    let corner = "true \\ predicted";
    let digits = counts.len().saturating_sub(1).to_string().len();
    let width = names().map(|name| digits + 1 + name.width()).chain([corner.len()]).max().unwrap_or(0);
    let largest = counts.iter().flatten().max().map_or(1, |count| count.to_string().len());
    let cell = largest.max(digits) + 2;

    let heading: String = (0..counts.len()).map(|class| format!("{class:>cell$}")).collect();
    let lines = names().zip(counts).enumerate().map(|(label, (name, row))| {
        let count = |&count: &usize| if count == 0 { "·".to_owned() } else { count.to_string() };
        let row: String = row.iter().map(|n| format!("{:>cell$}", count(n))).collect();
        format!("{}{row}\n", padded(&format!("{label:>digits$} {name}"), width))
    });
    format!("{}{heading}\n{}", padded(corner, width), lines.collect::<String>())
}

/// `text` filled with spaces to `width` columns of a terminal, where wide characters take two.
fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// A share as percent, in eight columns.
fn percent(share: f64) -> String {
    format!("{:6.2} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Predictions;

    fn evaluation(names: [&str; 3], labels: &[usize], predicted: &[usize]) -> Evaluation {
        let rows =
            predicted.iter().flat_map(|&p| (0..3).map(move |class| if class == p { 0.8 } else { 0.1 }));
        let names = names.map(String::from).to_vec();
        Evaluation::of(&Predictions::new(names, labels.to_vec(), rows.collect()).unwrap()).unwrap()
    }

    #[test]
    fn the_whole_report_is_aligned() {
        let evaluation = evaluation(["Coat", "着物", "Shirt"], &[0, 0, 1, 2, 2, 2], &[0, 2, 1, 2, 0, 0]);
        let expected = "\
Accuracy            50.00 %  (95 % interval 18.76 % to 81.24 %, 6 images)
Top 2               66.67 %
Loss                 1.2629
Calibration error   30.00 %

                  precision     recall         F1    support
Coat                 0.3333     0.5000     0.4000          2
着物                 1.0000     1.0000     1.0000          1
Shirt                0.5000     0.3333     0.4000          3

macro average        0.6111     0.6111     0.6000          6
weighted average     0.5278     0.5000     0.5000          6

Most confused
  Shirt taken for Coat: 2 of 3 (66.67 %)
  Coat taken for Shirt: 1 of 2 (50.00 %)

true \\ predicted  0  1  2
0 Coat            1  ·  1
1 着物            ·  1  ·
2 Shirt           2  ·  1
";
        assert_eq!(evaluation.to_string(), expected);
    }

    #[test]
    fn a_model_without_mistakes_is_told_so() {
        let evaluation = evaluation(["a", "b", "c"], &[0, 1], &[0, 1]);
        assert!(table(&evaluation).ends_with("\nNo image was given a wrong class.\n"));
    }
}
