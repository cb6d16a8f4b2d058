//! What a network consists of, as a table.

use std::fmt;

use crate::Shape;
use crate::architecture::{LayerKind, PlannedLayer};

/// The layers of a network with their shapes and parameter counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Shape of one image.
    pub input: Shape,
    /// One row a layer.
    pub rows: Vec<SummaryRow>,
    /// Weights that training leaves as they are, in a network for training.
    pub frozen: usize,
}

/// One layer of a [`Summary`].
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryRow {
    /// The prefix of its tensors' names.
    pub name: String,
    /// What it does, in words.
    pub layer: String,
    /// Shape of one image's values after it.
    pub output: Shape,
    /// Weights that training changes, unless they are frozen.
    pub trainable: usize,
    /// Running means and variances.
    pub statistics: usize,
}

impl Summary {
    /// Of a planned network: a row for each layer, and one for the sum of each residual block.
    pub(crate) fn of(plan: &[PlannedLayer]) -> Self {
        fn add(planned: &PlannedLayer, rows: &mut Vec<SummaryRow>) {
            let (trainable, statistics) = match &planned.kind {
                LayerKind::Layer(_) | LayerKind::Flatten => (planned.trainable(), planned.statistics()),
                LayerKind::Sequence(layers) => return layers.iter().for_each(|layer| add(layer, rows)),
                LayerKind::Residual { body, shortcut, .. } => {
                    body.iter().chain(shortcut).for_each(|layer| add(layer, rows));
                    (0, 0)
                }
            };
            let (name, layer) = (planned.name.clone(), planned.kind.to_string());
            rows.push(SummaryRow { name, layer, output: planned.output, trainable, statistics });
        }
        let mut rows = Vec::new();
        plan.iter().for_each(|planned| add(planned, &mut rows));
        Summary { input: plan[0].input, rows, frozen: 0 }
    }

    /// Weights that training changes.
    pub fn trainable(&self) -> usize {
        self.rows.iter().map(|row| row.trainable).sum::<usize>() - self.frozen
    }

    /// Running means and variances of batch norm.
    pub fn statistics(&self) -> usize {
        self.rows.iter().map(|row| row.statistics).sum()
    }

    /// All values that a model file holds.
    pub fn parameters(&self) -> usize {
        self.trainable() + self.frozen + self.statistics()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let width = |texts: Vec<String>| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        let names = width(self.rows.iter().map(|row| row.name.clone()).collect()).max("input".len());
        let layers = width(self.rows.iter().map(|row| row.layer.clone()).collect()).max("layer".len());
        let rule = "─".repeat(names + layers + 33);
        writeln!(f, "{:names$}  {:layers$}  {:>14}  {:>12}", "name", "layer", "output", "parameters")?;
        writeln!(f, "{rule}")?;
        writeln!(f, "{:names$}  {:layers$}  {:>14}  {:>12}", "input", "", self.input.to_string(), "")?;
        for row in &self.rows {
            let parameters = match row.trainable + row.statistics {
                0 => String::new(),
                count => thousands(count),
            };
            let output = row.output.to_string();
            writeln!(f, "{:names$}  {:layers$}  {output:>14}  {parameters:>12}", row.name, row.layer)?;
        }
        writeln!(f, "{rule}")?;
        write!(f, "{} trainable parameters", thousands(self.trainable()))?;
        for (count, what) in [(self.frozen, "frozen"), (self.statistics(), "running statistics")] {
            if count > 0 {
                write!(f, " + {} {what}", thousands(count))?;
            }
        }
        match self.parameters() {
            all if all == self.trainable() => Ok(()),
            all => write!(f, " = {}", thousands(all)),
        }
    }
}

/// 1234567 as 1,234,567.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn digits_are_grouped_by_three() {
        let grouped: Vec<String> = [0, 999, 1000, 93_322, 1_234_567].map(thousands).into();
        assert_eq!(grouped, ["0", "999", "1,000", "93,322", "1,234,567"]);
    }
}
