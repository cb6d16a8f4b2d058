//! A comparison for the terminal.

use std::fmt;

use unicode_width::UnicodeWidthStr;

use super::{Comparison, Difference, Spread, Standing};
use crate::number::{bytes, duration, thousands};

/// A line a recipe, best first; a sentence for every pair of few, else for each against the best; what they rest on.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(&self.standings))?;
        writeln!(f)?;
        let (told, rest) = self.told();
        for difference in told {
            writeln!(f, "{}", self.sentence(difference))?;
        }
        if rest > 0 {
            writeln!(
                f,
                "({rest} more pairs: --output for a page with all of them, --json for every figure)"
            )?;
        }
        writeln!(f)?;
        self.caveats().iter().try_for_each(|caveat| writeln!(f, "{caveat}"))
    }
}

/// Up to so many recipes, every pair is told in a sentence.
const FEW: usize = 4;

impl Comparison {
    /// The differences worth a sentence, and how many others there are: all of few recipes, else each one against the best.
    pub fn told(&self) -> (Vec<&Difference>, usize) {
        let is_told = |difference: &&Difference| self.standings.len() <= FEW || difference.first == 0;
        let told: Vec<_> = self.differences.iter().filter(is_told).collect();
        let rest = self.differences.len() - told.len();
        (told, rest)
    }
}

const HEADING: [&str; 11] = [
    "",
    "recipe",
    "runs",
    "accuracy, %",
    "95 % interval",
    "macro F1",
    "loss",
    "parameters",
    "training",
    "predicting",
    "file",
];

fn table(standings: &[Standing]) -> String {
    let mut rows = vec![HEADING.map(String::from).to_vec()];
    rows.extend(standings.iter().enumerate().map(|(place, standing)| row(place, standing)));
    let width = |column: usize| rows.iter().map(|row: &Vec<String>| row[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let space = " ".repeat(width - cell.width());
            // Names stand left, figures right.
            if column < 2 { format!("{cell}{space}") } else { format!("{space}{cell}") }
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(place: usize, standing: &Standing) -> Vec<String> {
    let dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let cost = &standing.cost;
    vec![
        (place + 1).to_string(),
        standing.name.clone(),
        standing.runs.len().to_string(),
        spread(standing.accuracy, 100.0, 2),
        format!(
            "{:.2} to {:.2}",
            100.0 * standing.accuracy_interval.low,
            100.0 * standing.accuracy_interval.high
        ),
        format!("{:.3}", standing.macro_f1.mean),
        spread(standing.loss, 1.0, 3),
        dash(cost.parameters.map(thousands)),
        dash(cost.training_seconds.map(duration)),
        dash(
            cost.prediction_images_per_second.map(|speed| format!("{}/s", thousands(speed.round() as usize))),
        ),
        dash(cost.file_bytes.map(bytes)),
    ]
}

/// "88.75 ± 0.27": mean and deviation, times `scale`.
fn spread(spread: Spread, scale: f64, decimals: usize) -> String {
    let mean = format!("{:.decimals$}", scale * spread.mean);
    let deviation = spread.deviation.map(|deviation| format!(" ± {:.decimals$}", scale * deviation));
    mean + &deviation.unwrap_or_default()
}
