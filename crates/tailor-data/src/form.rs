//! What a path holds, found out from names and first bytes: IDX, CSV, folders of images.

use std::path::{Path, PathBuf};

use crate::csv;
use crate::error::{Error, Result};
use crate::folder;
use crate::idx::{self, Pair};
use crate::photo;

/// What a path holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// IDX or CSV files, or a folder with them: open it as a [`Source::Path`](crate::Source::Path).
    Dataset,
    /// A folder with a folder of images for every class, perhaps with `train` and the like above them: a data
    /// set, but its files are photographs all the same.
    ClassFolders,
    /// A folder with images in it.
    ImageFolder,
    /// One image.
    Image,
}

/// Finds out what a path holds, from names and first bytes.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::UnknownFormat`] if it holds nothing that this crate reads.
pub fn kind_of(path: &Path) -> Result<PathKind> {
    let is_folder = path.metadata().map_err(Error::io("read", path))?.is_dir();
    match Form::of(path)? {
        Some(Form::Idx(_) | Form::Csv(_)) => Ok(PathKind::Dataset),
        _ if is_folder && folder::has_images(path)? => Ok(PathKind::ImageFolder),
        Some(Form::Folders(_)) => Ok(PathKind::ClassFolders),
        None if !is_folder && (folder::begins_as_image(path) || photo::is_named_as_image(path)) => {
            Ok(PathKind::Image)
        }
        None => Err(Error::UnknownFormat { path: path.to_owned() }),
    }
}

/// The form of the data in a path, and the files of its parts.
pub(crate) enum Form {
    Idx(Parts<Pair>),
    Csv(Parts<PathBuf>),
    Folders(Parts<PathBuf>),
}

impl Form {
    pub(crate) fn of(path: &Path) -> Result<Option<Form>> {
        if !path.metadata().map_err(Error::io("read", path))?.is_dir() {
            return Form::of_file(path);
        }
        let files: Vec<PathBuf> = folder::entries(path)?.into_iter().filter(|path| path.is_file()).collect();
        let mut pairs = Parts::default();
        for images in files.iter().filter(|path| is_named_as_idx_images(path)) {
            // A file that was unpacked beside its archive is the same one.
            if images.extension().is_some_and(|gz| gz == "gz") && files.contains(&images.with_extension("")) {
                continue;
            }
            let pair = Pair { labels: labels_of(images)?, images: images.clone() };
            pairs
                .set_by_name(&lower_name(images), pair)
                .map_err(|other| ambiguous(path, &other.images, images))?;
        }
        if pairs.iter().next().is_some() {
            return Ok(Some(Form::Idx(pairs)));
        }
        let mut tables = Parts::default();
        for table in files.iter().filter(|path| csv::is_csv(path)) {
            tables
                .set_by_name(&lower_name(table), table.clone())
                .map_err(|other| ambiguous(path, &other, table))?;
        }
        if tables.iter().next().is_some() {
            return Ok(Some(Form::Csv(tables)));
        }
        Ok(folder::parts(path)?.map(Form::Folders))
    }

    /// One file is a training part.
    fn of_file(path: &Path) -> Result<Option<Form>> {
        if csv::is_csv(path) {
            return Ok(Some(Form::Csv(Parts { train: Some(path.to_owned()), ..Parts::default() })));
        }
        if is_named_as_idx_images(path) || idx::is_images(path) {
            let pair = Pair { labels: labels_of(path)?, images: path.to_owned() };
            return Ok(Some(Form::Idx(Parts { train: Some(pair), ..Parts::default() })));
        }
        Ok(None)
    }
}

fn lower_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().to_lowercase()
}

fn is_named_as_idx_images(path: &Path) -> bool {
    let name = lower_name(path);
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    name.contains("images") && (stem.ends_with("-idx3-ubyte") || stem.ends_with(".idx3-ubyte"))
}

/// The file of labels beside a file of images, compressed or not.
fn labels_of(images: &Path) -> Result<PathBuf> {
    let name = images.file_name().unwrap_or_default().to_string_lossy();
    let name = name.replace("images", "labels").replace("idx3", "idx1");
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let candidates = [images.with_file_name(plain), images.with_file_name(format!("{plain}.gz"))];
    match candidates.iter().find(|path| path.is_file() && path.as_path() != images) {
        Some(labels) => Ok(labels.clone()),
        None => Err(Error::Idx {
            path: images.to_owned(),
            problem: format!("its labels are missing: there is no {plain} (or {plain}.gz) beside it"),
        }),
    }
}

fn ambiguous(folder: &Path, one: &Path, other: &Path) -> Error {
    let problem = format!(
        "{} and {} stand for the same part; keep one of them in a folder of its own",
        lower_name(one),
        lower_name(other)
    );
    Error::folder(folder, problem)
}

/// The parts of a data set, whatever stands for one: files, folders, contents.
#[derive(Clone, Debug)]
pub(crate) struct Parts<T> {
    pub(crate) train: Option<T>,
    pub(crate) validation: Option<T>,
    pub(crate) test: Option<T>,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Parts { train: None, validation: None, test: None }
    }
}

impl<T> Parts<T> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.train, &self.validation, &self.test].into_iter().flatten()
    }

    pub(crate) fn try_map<U>(self, mut map: impl FnMut(T) -> Result<U>) -> Result<Parts<U>> {
        Ok(Parts {
            train: self.train.map(&mut map).transpose()?,
            validation: self.validation.map(&mut map).transpose()?,
            test: self.test.map(&mut map).transpose()?,
        })
    }

    /// Only the part that a model is judged by: the test part, else validation, else all there is.
    pub(crate) fn into_judged(self) -> Parts<T> {
        match self {
            Parts { test: Some(test), .. } => Parts { test: Some(test), ..Parts::default() },
            Parts { validation: Some(part), .. } => Parts { validation: Some(part), ..Parts::default() },
            Parts { train, .. } => Parts { train, ..Parts::default() },
        }
    }

    /// Sets the part that a file's name speaks of, if any; `Err` with the file that already stands for it.
    fn set_by_name(&mut self, name: &str, value: T) -> std::result::Result<(), T> {
        let speaks_of = |words: &[&str]| words.iter().any(|word| name.contains(word));
        let part = if speaks_of(&["train"]) {
            &mut self.train
        } else if speaks_of(&["t10k", "test"]) {
            &mut self.test
        } else if speaks_of(&["val"]) {
            &mut self.validation
        } else {
            return Ok(());
        };
        part.replace(value).map_or(Ok(()), Err)
    }
}
