//! `predictions.csv`: one line an image, readable by people, spreadsheets and scikit-learn alike.
//!
//! ```text
//! index,label,predicted,confidence,p(Coat),p(Shirt)
//! 0,Coat,Coat,0.875,0.875,0.125
//! ```
//! Numbers are in the shortest decimal form that reads back to the same bits.

use std::io::Write;
use std::path::Path;

use csv::StringRecord;

use crate::predictions::{check_distribution, most_probable};
use crate::{Error, Predictions, Result};

/// The columns before the probabilities.
const HEADING: [&str; 4] = ["index", "label", "predicted", "confidence"];

impl Predictions {
    /// Writes `index,label,predicted,confidence` and a column `p(NAME)` for each class, a line an image.
    ///
    /// # Errors
    /// The stream refuses to take it.
    pub fn write_csv(&self, writer: impl Write) -> Result<()> {
        let mut writer = csv::Writer::from_writer(writer);
        let columns = self.class_names().iter().map(|name| format!("p({name})"));
        let heading = HEADING.map(String::from).into_iter().chain(columns);
        writer.write_record(heading).map_err(Error::writing_csv)?;
        for i in 0..self.len() {
            let name = |class: usize| self.class_names()[class].clone();
            // Debug prints the shortest form that reads back exactly, and small numbers with an exponent.
            let number = |value: f64| format!("{value:?}");
            let front =
                [i.to_string(), name(self.label(i)), name(self.predicted(i)), number(self.confidence(i))];
            let line = front.into_iter().chain(self.row(i).iter().map(|&p| number(p)));
            writer.write_record(line).map_err(Error::writing_csv)?;
        }
        Ok(writer.flush()?)
    }

    /// Reads what [`write_csv`](Self::write_csv) wrote, to the same bits.
    ///
    /// # Errors
    /// The file cannot be read; its heading is another one; a line is missing, short, not numeric, names an unknown class
    /// or contradicts itself. Each names file and line.
    pub fn read_csv(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut reader = csv::Reader::from_path(path).map_err(|error| Error::reading_csv(path, error))?;
        let heading = reader.headers().map_err(|error| Error::reading_csv(path, error))?;
        let class_names = class_names(heading).map_err(|problem| Error::content(path, 1, problem))?;

        let (mut labels, mut probabilities) = (Vec::new(), Vec::new());
        for record in reader.records() {
            let record = record.map_err(|error| Error::reading_csv(path, error))?;
            let line = record.position().map_or(1, csv::Position::line);
            let (label, row) = parse_line(&record, labels.len(), &class_names)
                .map_err(|problem| Error::content(path, line, problem))?;
            labels.push(label);
            probabilities.extend(row);
        }
        Self::new(class_names, labels, probabilities)
    }
}

/// What is wrong with a line, in words; the caller adds where.
type Problem = String;

/// The classes of the columns `p(NAME)`.
pub(crate) fn class_names(heading: &StringRecord) -> std::result::Result<Vec<String>, Problem> {
    if !heading.iter().take(HEADING.len()).eq(HEADING) {
        return Err(format!(
            "this is no predictions file: its heading must begin with {}; write one with `tailor evaluate`",
            HEADING.join(",")
        ));
    }
    let name = |column: &str| Some(column.strip_prefix("p(")?.strip_suffix(')')?.to_owned());
    heading
        .iter()
        .skip(HEADING.len())
        .map(|column| name(column).ok_or_else(|| format!("column {column:?} must be a class as p(NAME)")))
        .collect()
}

/// The label and the probabilities `[K]` of image `index`.
fn parse_line(
    record: &StringRecord,
    index: usize,
    class_names: &[String],
) -> std::result::Result<(usize, Vec<f64>), Problem> {
    if record[0] != *index.to_string() {
        return Err(format!(
            "index {:?} where {index} is due; a line is missing or out of order",
            &record[0]
        ));
    }
    let class = |name: &str| {
        class_names
            .iter()
            .position(|class| class == name)
            .ok_or_else(|| format!("class {name:?} is not in the heading; correct the name"))
    };
    let (label, predicted) = (class(&record[1])?, class(&record[2])?);
    let row = record
        .iter()
        .skip(HEADING.len())
        .map(|field| field.parse().map_err(|_| format!("probability {field:?} is not a number")))
        .collect::<std::result::Result<Vec<f64>, _>>()?;
    check_distribution(index, &row, class_names).map_err(|error| error.to_string())?;
    if predicted != most_probable(&row) {
        let most_probable = &class_names[most_probable(&row)];
        return Err(format!(
            "{:?} is said to be predicted, but {most_probable:?} is more probable",
            &record[2]
        ));
    }
    Ok((label, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING_LINE: &str = "index,label,predicted,confidence,p(Coat),p(Shirt)\n";

    #[test]
    fn the_file_is_the_documented_one() {
        let names = vec!["T-shirt, \"top\"".to_owned(), "Coat".to_owned()];
        let predictions = Predictions::new(names, vec![1, 0], vec![0.25, 0.75, 1.0, 0.0]).unwrap();
        let mut file = Vec::new();
        predictions.write_csv(&mut file).unwrap();
        let expected = "index,label,predicted,confidence,\"p(T-shirt, \"\"top\"\")\",p(Coat)\n\
                        0,Coat,Coat,0.75,0.25,0.75\n\
                        1,\"T-shirt, \"\"top\"\"\",\"T-shirt, \"\"top\"\"\",1.0,1.0,0.0\n";
        assert_eq!(String::from_utf8(file).unwrap(), expected);
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_its_line() {
        let good = "0,Coat,Coat,0.75,0.75,0.25\n";
        for (lines, line, says) in [
            ("1,Coat,Coat,0.75,0.75,0.25\n".to_owned(), 2, "index \"1\" where 0 is due"),
            (format!("{good}1,Sock,Coat,0.75,0.75,0.25\n"), 3, "class \"Sock\""),
            (format!("{good}1,Coat,Coat,0.75,0.75,x\n"), 3, "\"x\" is not a number"),
            (format!("{good}1,Coat,Coat,0.75,0.75,nan\n"), 3, "is NaN"),
            (format!("{good}1,Coat,Coat,0.75,0.75,0.5\n"), 3, "sum to 1.25"),
            (format!("{good}1,Coat,Shirt,0.75,0.75,0.25\n"), 3, "\"Coat\" is more probable"),
            (format!("{good}1,Coat\n"), 3, "2 fields where the heading has 6"),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), format!("{HEADING_LINE}{lines}")).unwrap();
            let error = Predictions::read_csv(file.path()).unwrap_err().to_string();
            let place = format!("{}, line {line}: ", file.path().display());
            assert!(error.starts_with(&place) && error.contains(says), "{error}");
        }
    }

    #[test]
    fn another_file_is_named_as_such() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "label,pixel1\n0,0\n").unwrap();
        assert!(Predictions::read_csv(file.path()).unwrap_err().to_string().contains("no predictions file"));
        let error = Predictions::read_csv("/no/such/file.csv").unwrap_err().to_string();
        assert_eq!(error, "cannot read /no/such/file.csv");
    }
}
