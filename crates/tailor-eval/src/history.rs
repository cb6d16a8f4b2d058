//! How training went, epoch by epoch; the content of `metrics.csv`.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What one epoch achieved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The learning rate at its end.
    pub learning_rate: f64,
    /// Mean loss on the training part, in nats. May be NaN if training diverged.
    pub train_loss: f64,
    /// Accuracy on the training part, of 1.
    pub train_accuracy: f64,
    /// Mean loss on the validation part, in nats, if there is one.
    pub validation_loss: Option<f64>,
    /// Accuracy on the validation part, of 1, if there is one.
    pub validation_accuracy: Option<f64>,
    /// Wall-clock time, in seconds: what had to be computed before its first step, its steps, validation.
    pub seconds: f64,
    /// Training throughput, of the steps alone.
    pub images_per_second: f64,
}

/// The epochs of a run, first to last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History(pub Vec<EpochRecord>);

impl History {
    /// The columns of `metrics.csv`, the fields of [`EpochRecord`] in their order.
    const HEADING: [&str; 8] = [
        "epoch",
        "learning_rate",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "seconds",
        "images_per_second",
    ];

    /// The epoch with the lowest validation loss, the earliest among equals; none if nothing was validated.
    pub fn lowest_validation_loss(&self) -> Option<&EpochRecord> {
        let validated = self.0.iter().filter_map(|record| Some((record, record.validation_loss?)));
        validated
            .filter(|(_, loss)| !loss.is_nan())
            .min_by(|a, b| a.1.total_cmp(&b.1)) // the first of equals
            .map(|(record, _)| record)
    }

    /// Writes `metrics.csv`: the heading and a line an epoch; a figure that is missing is empty.
    ///
    /// # Errors
    /// The stream refuses to take it.
    pub fn write_csv(&self, writer: impl Write) -> Result<()> {
        // The heading is written here, because serde would write none for a history without epochs.
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(writer);
        writer.write_record(Self::HEADING).map_err(Error::writing_csv)?;
        for record in &self.0 {
            writer.serialize(record).map_err(Error::writing_csv)?;
        }
        Ok(writer.flush()?)
    }

    /// Reads what [`write_csv`](Self::write_csv) wrote, to the same bits (any NaN reads as the one NaN).
    ///
    /// # Errors
    /// The file cannot be read, or a column is missing or a field is no number; the latter name the line.
    pub fn read_csv(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut reader = csv::Reader::from_path(path).map_err(|error| Error::reading_csv(path, error))?;
        let records: csv::Result<_> = reader.deserialize().collect();
        records.map(Self).map_err(|error| Error::reading_csv(path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize, validation_loss: Option<f64>) -> EpochRecord {
        EpochRecord {
            epoch,
            learning_rate: 1e-3,
            train_loss: 0.1 + 0.2,
            train_accuracy: 0.9,
            validation_loss,
            validation_accuracy: validation_loss.map(|_| 1.0 / 3.0),
            seconds: 12.5,
            images_per_second: 4400.0,
        }
    }

    #[test]
    fn metrics_csv_reads_back_to_the_same_bits() {
        let history = History(vec![epoch(1, Some(0.3)), epoch(2, None)]);
        let file = tempfile::NamedTempFile::new().unwrap();
        history.write_csv(file.as_file()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.starts_with(
            "epoch,learning_rate,train_loss,train_accuracy,validation_loss,validation_accuracy,seconds,images_per_second\n\
             1,0.001,0.30000000000000004,0.9,0.3,0.3333333333333333,12.5,4400.0\n2,"
        ), "{text}");
        assert_eq!(History::read_csv(file.path()).unwrap(), history);
    }

    #[test]
    fn a_diverged_epoch_is_kept_and_a_history_without_epochs_has_its_heading() {
        let mut diverged = epoch(1, Some(f64::NAN));
        diverged.train_loss = f64::INFINITY;
        for history in [History(vec![diverged]), History::default()] {
            let file = tempfile::NamedTempFile::new().unwrap();
            history.write_csv(file.as_file()).unwrap();
            let again = History::read_csv(file.path()).unwrap();
            assert_eq!(format!("{again:?}"), format!("{history:?}"));
        }
    }

    #[test]
    fn a_damaged_line_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        History(vec![epoch(1, None)]).write_csv(file.as_file()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap().replace("0.9", "high");
        std::fs::write(file.path(), text).unwrap();
        let error = History::read_csv(file.path()).unwrap_err().to_string();
        assert!(error.contains("line 2: column 4: invalid float"), "{error}");
    }

    #[test]
    fn the_lowest_validation_loss_is_the_earliest_of_equals() {
        let history =
            History(vec![epoch(1, Some(f64::NAN)), epoch(2, Some(0.3)), epoch(3, Some(0.3)), epoch(4, None)]);
        assert_eq!(history.lowest_validation_loss().map(|record| record.epoch), Some(2));
        assert!(History(vec![epoch(1, None)]).lowest_validation_loss().is_none());
    }
}
