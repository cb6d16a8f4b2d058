//! CSV files: `label,pixel1..pixelN`, one image a line, with or without a header line.
//!
//! `N` is a square (gray) or three times a square (RGB, `[H, W, C]` order). The file may be compressed with
//! gzip.

use std::io;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder};

use crate::classes::Unnamed;
use crate::dataset::{Dataset, ImageShape, Origins};
use crate::error::{Error, Result};
use crate::gzip::{Content, Explanation};

/// The content of one file, before the classes have names.
pub(crate) struct Contents {
    path: PathBuf,
    shape: ImageShape,
    pixels: Vec<u8>,
    labels: Vec<u16>,
    /// The line of each image, for errors about its label.
    lines: Vec<u64>,
}

/// Whether the name ends as a CSV file's does.
pub(crate) fn is_csv(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.ends_with(".csv") || name.ends_with(".csv.gz")
}

impl Contents {
    /// Reads a whole file.
    ///
    /// # Errors
    /// [`Error::Csv`] with the number of the line that is too short or long, not numeric or out of range.
    pub(crate) fn read(path: &Path) -> Result<Contents> {
        let (reader, explanation) = Content::open(path)?.into_parts();
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(reader);
        let mut record = ByteRecord::new();
        let mut contents: Option<Contents> = None;
        let mut last_line = 0;
        while read_record(&mut reader, &mut record, path, &explanation)? {
            let line = record.position().map_or(1, csv::Position::line);
            let begins = last_line == 0;
            last_line = line;
            if begins && is_header(&record) {
                check_header(&record).map_err(|problem| Error::Csv {
                    path: path.to_owned(),
                    line,
                    problem,
                })?;
                continue;
            }
            let row = Row { path, line, fields: &record };
            match &mut contents {
                Some(contents) => contents.push(&row)?,
                None => {
                    let shape = row.shape()?;
                    let mut first = Contents {
                        path: path.to_owned(),
                        shape,
                        pixels: Vec::new(),
                        labels: Vec::new(),
                        lines: Vec::new(),
                    };
                    first.push(&row)?;
                    contents = Some(first);
                }
            }
        }
        contents.ok_or_else(|| Error::Csv {
            path: path.to_owned(),
            line: last_line + 1,
            problem: "there is no image in the file".into(),
        })
    }

    fn push(&mut self, row: &Row) -> Result<()> {
        let expected = self.shape.len() + 1;
        if row.fields.len() != expected {
            return Err(row.invalid(format!(
                "it has {} values, the first image has {expected} (a label and {} pixels)",
                row.fields.len(),
                expected - 1
            )));
        }
        self.lines.push(row.line);
        self.labels.push(row.number(0, u16::MAX)?);
        for column in 1..expected {
            // Nearly every field is right: look closer only when it is not.
            let pixel = match parse_u8(&row.fields[column]) {
                Some(pixel) => pixel,
                None => row.number(column, 255)? as u8,
            };
            self.pixels.push(pixel);
        }
        Ok(())
    }
}

impl Unnamed for Contents {
    fn greatest_label(&self) -> Option<usize> {
        self.labels.iter().max().map(|&label| usize::from(label))
    }

    /// # Errors
    /// [`Error::Csv`] at the first label without a name.
    fn into_dataset(self, class_names: Vec<String>) -> Result<Dataset> {
        let classes = class_names.len();
        if let Some(i) = self.labels.iter().position(|&label| usize::from(label) >= classes) {
            return Err(Error::Csv {
                path: self.path,
                line: self.lines[i],
                problem: format!("the label {} is out of range: there are {classes} classes", self.labels[i]),
            });
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Dataset::with_origins(self.shape, self.pixels, self.labels, class_names, Origins::Numbered(name))
    }
}

fn read_record(
    reader: &mut csv::Reader<impl io::Read>,
    record: &mut ByteRecord,
    path: &Path,
    explanation: &Explanation,
) -> Result<bool> {
    reader.read_byte_record(record).map_err(|error| {
        let line = error.position().map_or(0, csv::Position::line);
        match error.into_kind() {
            csv::ErrorKind::Io(source) => explanation.of(source),
            kind => Error::Csv { path: path.to_owned(), line, problem: format!("{kind:?}") },
        }
    })
}

/// A header has words where an image has numbers, in every column.
fn is_header(record: &ByteRecord) -> bool {
    record.iter().all(|field| {
        std::str::from_utf8(field)
            .is_ok_and(|field| field.trim().parse::<f64>().is_err() && !field.is_empty())
    })
}

/// Refuses a header that says that the label stands elsewhere than in the first column.
fn check_header(header: &ByteRecord) -> std::result::Result<(), String> {
    let is_label = |field: &[u8]| field.trim_ascii().eq_ignore_ascii_case(b"label");
    match header.iter().position(is_label) {
        None | Some(0) => Ok(()),
        Some(column) => Err(format!("the label is in column {}, but must be in the first", column + 1)),
    }
}

/// A number from 0 to 255 without blanks or signs.
fn parse_u8(field: &[u8]) -> Option<u8> {
    if field.is_empty() || field.len() > 3 {
        return None;
    }
    let value = field.iter().try_fold(0u16, |value, digit| {
        digit.is_ascii_digit().then(|| value * 10 + u16::from(digit - b'0'))
    })?;
    u8::try_from(value).ok()
}

/// A line and where it stands, to name it in errors.
struct Row<'a> {
    path: &'a Path,
    line: u64,
    fields: &'a ByteRecord,
}

impl Row<'_> {
    /// The shape that as many pixels make.
    fn shape(&self) -> Result<ImageShape> {
        let pixels = self.fields.len() - 1;
        [1, 3]
            .into_iter()
            .map(|channels| (channels, (pixels / channels).isqrt()))
            .find(|&(channels, side)| side > 0 && side * side * channels == pixels)
            .map(|(channels, side)| ImageShape::new(side, side, channels))
            .ok_or_else(|| {
                self.invalid(format!(
                    "a label and {pixels} pixels; the pixels must be a square number (gray) or three times one (RGB)"
                ))
            })
    }

    /// The number in a column, at most `greatest`.
    fn number(&self, column: usize, greatest: u16) -> Result<u16> {
        let what = if column == 0 { "the label".to_owned() } else { format!("pixel {column}") };
        let text = String::from_utf8_lossy(&self.fields[column]);
        let text = text.trim();
        // Some programs write whole numbers as "12.0".
        let value: f64 =
            text.parse().map_err(|_| self.invalid(format!("{what} is {text:?}, not a number")))?;
        if value.fract() != 0.0 {
            return Err(self.invalid(format!("{what} is {text}, not a whole number")));
        }
        if !(0.0..=f64::from(greatest)).contains(&value) {
            return Err(self.invalid(format!("{what} is {text}, out of 0..={greatest}")));
        }
        Ok(value as u16)
    }

    fn invalid(&self, problem: String) -> Error {
        Error::Csv { path: self.path.to_owned(), line: self.line, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, classes: usize) -> Result<Dataset> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.csv");
        std::fs::write(&path, text).unwrap();
        Contents::read(&path)?.into_dataset((0..classes).map(|class| class.to_string()).collect())
    }

    #[test]
    fn a_header_is_optional() {
        for header in ["", "label,p1,p2,p3,p4\n"] {
            let data = read(&format!("{header}1,0,10,20,255\n0,1,2,3,4\n"), 2).unwrap();
            assert_eq!(data.shape(), ImageShape::new(2, 2, 1));
            assert_eq!((data.label(0), &*data.image(0)), (1, &[0, 10, 20, 255][..]));
            assert_eq!((data.label(1), &*data.image(1)), (0, &[1, 2, 3, 4][..]));
            assert_eq!(data.origin(1), "some.csv #1");
        }
    }

    #[test]
    fn three_times_a_square_is_rgb() {
        assert_eq!(read("0,1,2,3\n", 1).unwrap().shape(), ImageShape::new(1, 1, 3));
        let twelve = "0".to_owned() + &",7".repeat(12) + "\n";
        assert_eq!(read(&twelve, 1).unwrap().shape(), ImageShape::new(2, 2, 3));
    }

    #[test]
    fn blanks_decimals_and_windows_line_ends_are_read() {
        let data = read("1, 7,8.0,9,10\r\n0,1,2,3,4\r\n", 2).unwrap();
        assert_eq!(*data.image(0), [7, 8, 9, 10]);
        assert_eq!(data.len(), 2);
    }

    #[test]
    fn each_fault_names_its_line() {
        struct Case(&'static str, &'static str);
        for Case(text, reason) in [
            Case("", "line 1: there is no image"),
            Case("label,p1\n", "line 2: there is no image"),
            Case("0,1,2\n", "line 1: a label and 2 pixels; the pixels must be a square number"),
            Case("0\n", "line 1: a label and 0 pixels"),
            Case("0,1,2,3,4\n1,1,2,3\n", "line 2: it has 4 values, the first image has 5"),
            Case("0,1,2,3,4\n1,1,2,3,4,5\n", "line 2: it has 6 values"),
            Case("l,a,b,c,d\n0,1,2,3,4\n1,1,x,3,4\n", "line 3: pixel 2 is \"x\", not a number"),
            Case("0,1,2,3,4\n1,1,,3,4\n", "line 2: pixel 2 is \"\", not a number"),
            Case("0,1,2,3,4\n1,1,2,3,256\n", "line 2: pixel 4 is 256, out of 0..=255"),
            Case("0,-1,2,3,4\n", "line 1: pixel 1 is -1, out of 0..=255"),
            Case("0,1.5,2,3,4\n", "line 1: pixel 1 is 1.5, not a whole number"),
            Case("0,NaN,2,3,4\n", "line 1: pixel 1 is NaN, not a whole number"),
            Case("-1,1,2,3,4\n", "line 1: the label is -1, out of 0..=65535"),
            Case(
                "l,a,b,c,d\n0,1,2,3,4\n2,1,2,3,4\n",
                "line 3: the label 2 is out of range: there are 2 classes",
            ),
        ] {
            let error = read(text, 2).unwrap_err().to_string();
            assert!(error.contains(reason), "expected {reason:?} in {error:?}");
        }
    }
}
