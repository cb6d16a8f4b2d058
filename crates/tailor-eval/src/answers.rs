//! What a model answered: the part of its predictions by which it is compared with others.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use csv::StringRecord;
use flate2::read::GzDecoder;

use crate::predictions_csv::class_names;
use crate::{Confusion, Error, Evaluation, Predictions, Result};

/// The true class, the predicted class and its probability for each of N images of K classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    class_names: Vec<String>,
    labels: Vec<usize>,
    predicted: Vec<usize>,
    confidence: Vec<f64>,
}

impl Answers {
    /// Reads the first four columns of `predictions.csv`, which the file may end with:
    ///
    /// ```text
    /// index,label,predicted,confidence
    /// 0,Coat,Coat,0.8750
    /// ```
    /// A file whose name ends with `.gz` is unpacked. `evaluation` is what was computed from the same predictions; it
    /// names the classes.
    ///
    /// # Errors
    /// The file cannot be read, a line is damaged, or its answers are not those of `evaluation`. Each names the file.
    pub fn read_csv(path: impl AsRef<Path>, evaluation: &Evaluation) -> Result<Self> {
        let path = path.as_ref();
        let mut reader = csv::Reader::from_reader(open(path)?);
        let names: Vec<String> = evaluation.per_class.iter().map(|class| class.name.clone()).collect();
        let heading = reader.headers().map_err(|error| Error::reading_csv(path, error))?;
        check_heading(heading, &names).map_err(|problem| Error::content(path, 1, problem))?;

        let mut answers =
            Self { class_names: names, labels: Vec::new(), predicted: Vec::new(), confidence: Vec::new() };
        for record in reader.records() {
            let record = record.map_err(|error| Error::reading_csv(path, error))?;
            let line = record.position().map_or(1, csv::Position::line);
            answers.push(&record).map_err(|problem| Error::content(path, line, problem))?;
            if answers.len() > evaluation.images {
                break; // One too many is enough to know, however many a packed file holds.
            }
        }
        if answers.confusion() == evaluation.confusion {
            Ok(answers)
        } else {
            let problem =
                "its answers are not those of evaluation.json; write both anew with `tailor evaluate`";
            Err(Error::content(path, answers.len() as u64 + 1, problem))
        }
    }

    /// Takes the fields of a line.
    fn push(&mut self, record: &StringRecord) -> std::result::Result<(), String> {
        let index = self.len();
        if record[0] != *index.to_string() {
            return Err(format!(
                "index {:?} where {index} is due; a line is missing or out of order",
                &record[0]
            ));
        }
        let class = |name: &str| {
            let position = self.class_names.iter().position(|class| class == name);
            position.ok_or_else(|| format!("class {name:?} is not in evaluation.json; correct the name"))
        };
        let (label, predicted) = (class(&record[1])?, class(&record[2])?);
        let confidence = record[3].parse().ok().filter(|confidence| (0.0..=1.0).contains(confidence));
        let confidence =
            confidence.ok_or_else(|| format!("confidence {:?} is not between 0 and 1", &record[3]))?;
        self.labels.push(label);
        self.predicted.push(predicted);
        self.confidence.push(confidence);
        Ok(())
    }

    fn confusion(&self) -> Confusion {
        Confusion::count(
            self.class_names.len(),
            self.labels.iter().copied().zip(self.predicted.iter().copied()),
        )
    }

    /// Number of images, N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The classes' names, in the order of the labels.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The true classes `[N]`.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The predicted class of image `i`.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len), as every accessor here does, like indexing a slice.
    pub fn predicted(&self, i: usize) -> usize {
        self.predicted[i]
    }

    /// The probability of the predicted class of image `i`.
    pub fn confidence(&self, i: usize) -> f64 {
        self.confidence[i]
    }

    /// Whether the predicted class of image `i` is the true one.
    pub fn is_correct(&self, i: usize) -> bool {
        self.predicted[i] == self.labels[i]
    }
}

impl From<&Predictions> for Answers {
    fn from(predictions: &Predictions) -> Self {
        let images = || 0..predictions.len();
        Self {
            class_names: predictions.class_names().to_vec(),
            labels: images().map(|i| predictions.label(i)).collect(),
            predicted: images().map(|i| predictions.predicted(i)).collect(),
            confidence: images().map(|i| predictions.confidence(i)).collect(),
        }
    }
}

fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file =
        File::open(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source })?;
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    Ok(if is_packed { Box::new(GzDecoder::new(BufReader::new(file))) } else { Box::new(file) })
}

/// The probabilities may be missing; if they are there, their classes are those of the evaluation.
fn check_heading(heading: &StringRecord, names: &[String]) -> std::result::Result<(), String> {
    let columns = class_names(heading)?;
    if columns.is_empty() || columns == names {
        return Ok(());
    }
    Err("its classes are not those of evaluation.json; write both anew with `tailor evaluate`".to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn predictions() -> Predictions {
        let names = ["Coat", "Shirt, long"].map(String::from).to_vec();
        Predictions::new(names, vec![0, 1, 1], vec![0.75, 0.25, 0.5, 0.5, 0.1, 0.9]).unwrap()
    }

    fn read(name: &str, bytes: &[u8]) -> Result<Answers> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Answers::read_csv(path, &Evaluation::of(&predictions()).unwrap())
    }

    const SHORT: &str = "index,label,predicted,confidence\n\
                         0,Coat,Coat,0.75\n1,\"Shirt, long\",Coat,0.5\n2,\"Shirt, long\",\"Shirt, long\",0.9\n";

    #[test]
    fn the_whole_file_the_short_one_and_a_packed_one_say_the_same() {
        let mut whole = Vec::new();
        predictions().write_csv(&mut whole).unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(SHORT.as_bytes()).unwrap();
        let expected = Answers::from(&predictions());
        assert_eq!(expected.confidence, [0.75, 0.5, 0.9]);
        assert_eq!(read("predictions.csv", &whole).unwrap(), expected);
        assert_eq!(read("predictions.csv", SHORT.as_bytes()).unwrap(), expected);
        assert_eq!(read("predictions.csv.gz", &packed.finish().unwrap()).unwrap(), expected);
    }

    #[test]
    fn what_is_damaged_or_of_another_evaluation_is_named() {
        for (from, to, line, says) in [
            ("2,\"Shirt", "3,\"Shirt", 4, "index \"3\" where 2 is due"),
            ("0,Coat", "0,Sock", 2, "class \"Sock\" is not in evaluation.json"),
            ("0.75", "75 %", 2, "\"75 %\" is not between 0 and 1"),
            ("0.75", "NaN", 2, "\"NaN\" is not between 0 and 1"),
            ("long\",Coat", "long\",\"Shirt, long\"", 4, "not those of evaluation.json"),
            ("0.9\n", "0.9\n3,Coat,Coat,1\n", 5, "not those of evaluation.json"),
            ("confidence\n", "certainty\n", 1, "no predictions file"),
        ] {
            let error =
                read("predictions.csv", SHORT.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("predictions.csv, line {line}: ")) && error.contains(says),
                "{error}"
            );
        }
        let other = "index,label,predicted,confidence,p(Coat),p(Sock)\n";
        assert!(
            read("predictions.csv", other.as_bytes()).unwrap_err().to_string().contains("classes are not")
        );
        assert!(read("predictions.csv.gz", b"not packed").is_err());
    }
}
