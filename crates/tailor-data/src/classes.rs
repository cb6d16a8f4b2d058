//! The names of the classes of a source that numbers them.

use std::fs;
use std::path::Path;

use crate::dataset::Dataset;
use crate::error::{Error, Result};

/// A file beside IDX or CSV files with one class name a line, in the order of the labels.
const NAMES_FILE: &str = "classes.txt";

/// A label beyond this is more likely a mistake than a thousand classes without names.
const MOST_UNNAMED_CLASSES: usize = 1000;

/// Images with numbers for labels, of which nobody has yet said what they mean.
pub(crate) trait Unnamed {
    /// The greatest label, if there is any image.
    fn greatest_label(&self) -> Option<usize>;

    /// Names the classes; fails at the first label without a name.
    fn into_dataset(self, class_names: Vec<String>) -> Result<Dataset>;
}

/// Decides the names: the source's `own` or those of `classes.txt` in `folder`; else those `wanted` by the
/// caller; else "0", "1" … up to the greatest label.
///
/// # Errors
/// [`Error::Dataset`] if the source has names of its own and others are wanted, or if labels are very large
/// and without names.
pub(crate) fn names(
    folder: &Path,
    own: Option<Vec<String>>,
    wanted: Option<&[String]>,
    greatest_label: Option<usize>,
) -> Result<Vec<String>> {
    let own = match own {
        Some(names) => Some(names),
        None => from_file(&folder.join(NAMES_FILE))?,
    };
    match (own, wanted) {
        (Some(own), Some(wanted)) if own != wanted => Err(Error::Dataset(format!(
            "the classes of {} are {}, but {} are needed",
            folder.display(),
            own.join(", "),
            wanted.join(", ")
        ))),
        (Some(own), _) => Ok(own),
        (None, Some(wanted)) => Ok(wanted.to_vec()),
        (None, None) => {
            let classes = greatest_label.map_or(0, |label| label + 1);
            if classes > MOST_UNNAMED_CLASSES {
                return Err(Error::Dataset(format!(
                    "the greatest label in {} is {}; for more than {MOST_UNNAMED_CLASSES} classes, name them \
                     in a file {NAMES_FILE} beside the data, one name a line",
                    folder.display(),
                    classes - 1
                )));
            }
            Ok((0..classes).map(|class| class.to_string()).collect())
        }
    }
}

fn from_file(path: &Path) -> Result<Option<Vec<String>>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Error::Dataset(format!(
            "{} is empty; write one class name a line, or remove it",
            path.display()
        )));
    }
    Ok(Some(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_file_beside_the_data_names_the_classes() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(names(folder.path(), None, None, Some(2)).unwrap(), ["0", "1", "2"]);
        fs::write(folder.path().join("classes.txt"), "hat\n shoe \n\n").unwrap();
        assert_eq!(names(folder.path(), None, None, Some(1)).unwrap(), ["hat", "shoe"]);
    }

    #[test]
    fn other_names_than_the_source_has_are_refused() {
        let here = Path::new("here");
        let wanted = owned(&["cat", "dog"]);
        assert_eq!(names(here, None, Some(&wanted), Some(0)).unwrap(), wanted);
        let error = names(here, Some(owned(&["hat", "shoe"])), Some(&wanted), Some(0)).unwrap_err();
        assert!(error.to_string().contains("the classes of here are hat, shoe, but cat, dog are needed"));
    }

    #[test]
    fn a_stray_label_does_not_make_thousands_of_classes() {
        let error = names(Path::new("here"), None, None, Some(5000)).unwrap_err();
        assert!(error.to_string().contains("the greatest label in here is 5000"));
    }
}
