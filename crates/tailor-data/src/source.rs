//! Where data comes from: a published data set by its name, or a path whose form is found out.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::cache;
use crate::classes::{self, Unnamed};
use crate::csv;
use crate::dataset::{Dataset, Splits};
use crate::error::{Error, Result};
use crate::folder;
use crate::form::{Form, Parts};
use crate::idx::{self, Pair};
use crate::official::{FASHION_MNIST, MNIST, Official, Sum};

/// A data set that can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The official Fashion-MNIST, found by itself and checked by its sums.
    FashionMnist,
    /// The official MNIST, found by itself and checked by its sums.
    Mnist,
    /// IDX or CSV files or folders of images, as they are.
    Path(PathBuf),
}

impl Source {
    /// "fashion-mnist", "mnist", or a path. (A folder of that very name is meant by "./mnist".)
    pub fn parse(text: &str) -> Source {
        match text {
            "fashion-mnist" => Source::FashionMnist,
            "mnist" => Source::Mnist,
            path => Source::Path(path.into()),
        }
    }

    /// Its folder or file, and the published data set that it must be, if any.
    fn resolve(&self) -> Result<(PathBuf, Option<&'static Official>)> {
        let official = match self {
            Source::FashionMnist => &FASHION_MNIST,
            Source::Mnist => &MNIST,
            Source::Path(path) => return Ok((path.clone(), None)),
        };
        Ok((cache::locate(official)?, Some(official)))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::FashionMnist => f.write_str("fashion-mnist"),
            Source::Mnist => f.write_str("mnist"),
            Source::Path(path) => path.display().fmt(f),
        }
    }
}

/// How to open a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Height and width that images in folders are brought to. By default those of the images if all are
    /// equal and not above 256, else 64×64. The other forms have a size that stays.
    pub size: Option<(usize, usize)>,
    /// Height and width at which the training images in folders are kept, if they are to be larger than `size`,
    /// so that random crops have pixels to choose from; see [`Pipeline::resizing`](crate::Pipeline::resizing).
    pub store_size: Option<(usize, usize)>,
    /// A folder in which the decoded images of folders are kept, so that opening them again takes no time: as
    /// many bytes as they have pixels. It can be removed at any time: images that it lacks are decoded.
    pub cache: Option<PathBuf>,
    /// Bytes that the decoded images of folders may take in memory, all parts together; by default a quarter of what is
    /// free. If they are more, they stay in the cache, and are read whenever they are looked at.
    pub memory: Option<u64>,
    /// 1 for gray or 3 for RGB, for images in folders. By default RGB if any image has color.
    pub channels: Option<usize>,
    /// The classes of a model, whose order the labels are to follow. A source that has names of its own must
    /// have these (in folders: no others).
    pub class_names: Option<Vec<String>>,
}

/// Is told, from any thread, how many images in folders are decoded, and how many there are.
pub type Watch<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Opens all parts of a source.
///
/// # Errors
/// Any [`Error`] about the files; [`Error::NotFound`] if a published data set is nowhere;
/// [`Error::UnknownFormat`] if the path is no data set; [`Error::Folder`] if it has no training part.
pub fn open(source: &Source, options: &OpenOptions) -> Result<Splits> {
    open_watched(source, options, &|_, _| {})
}

/// As [`open`], while someone watches.
///
/// # Errors
/// As [`open`].
pub fn open_watched(source: &Source, options: &OpenOptions, watch: Watch) -> Result<Splits> {
    let Opened { parts, name, notes } = Opened::read(source, options, Wanted::All, watch)?;
    let Parts { train: Some(train), validation, test } = parts else {
        return Err(Error::Dataset(format!("{source} has no training part, only one to evaluate with")));
    };
    for other in [&validation, &test].into_iter().flatten() {
        // Only images in folders are brought to other sizes, each part to its own.
        if other.shape() != train.shape() && options.store_size.is_none() {
            return Err(Error::Dataset(format!(
                "the training images of {source} are {}, others are {}",
                train.shape(),
                other.shape()
            )));
        }
    }
    Ok(Splits { name, train, validation, test, notes })
}

/// What a model is judged by.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What the source calls itself.
    pub name: String,
    /// "test", "validation", or "only" where the source has no parts.
    pub part: &'static str,
    /// The part.
    pub images: Dataset,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Opens only what a model is judged by: the test part, else the validation part, else all there is. The
/// other parts are not read.
///
/// # Errors
/// As [`open`]; a source without a training part is fine.
pub fn open_judged(source: &Source, options: &OpenOptions) -> Result<Judged> {
    let Opened { parts, name, notes } = Opened::read(source, options, Wanted::Judged, &|_, _| {})?;
    let (part, images) = match parts {
        Parts { test: Some(images), .. } => ("test", images),
        Parts { validation: Some(images), .. } => ("validation", images),
        Parts { train: Some(images), .. } => ("only", images),
        Parts { .. } => return Err(Error::Dataset(format!("{source} has no images"))),
    };
    Ok(Judged { name, part, images, notes })
}

/// Which parts to read.
#[derive(Clone, Copy)]
enum Wanted {
    All,
    Judged,
}

impl Wanted {
    fn of<T>(self, parts: Parts<T>) -> Parts<T> {
        match self {
            Wanted::All => parts,
            Wanted::Judged => parts.into_judged(),
        }
    }
}

struct Opened {
    parts: Parts<Dataset>,
    name: String,
    notes: Vec<String>,
}

impl Opened {
    fn read(source: &Source, options: &OpenOptions, wanted: Wanted, watch: Watch) -> Result<Opened> {
        let (path, official) = source.resolve()?;
        let name = official.map_or_else(|| data_set_name(&path), |official| official.name.to_owned());
        let mut notes = Vec::new();
        let parts = match Form::of(&path)? {
            Some(Form::Idx(pairs)) => read_idx(&path, wanted.of(pairs), official, options, &mut notes)?,
            Some(Form::Csv(tables)) => {
                let contents = wanted.of(tables).try_map(|table| csv::Contents::read(&table))?;
                named_datasets(&path, contents, None, options)?
            }
            Some(Form::Folders(folders)) => {
                folder::read(&path, &folders, wanted.of(folders.clone()), options, watch, &mut notes)?
            }
            None => return Err(Error::UnknownFormat { path }),
        };
        if let Some(empty) = parts.iter().find(|part| part.is_empty()) {
            return Err(Error::Dataset(format!("a part of {source}, of {} images, is empty", empty.shape())));
        }
        Ok(Opened { parts, name, notes })
    }
}

/// Reads pairs of IDX files, which must be those of `official` if one is given, and may be a published data
/// set's anyway.
fn read_idx(
    path: &Path,
    pairs: Parts<Pair>,
    official: Option<&'static Official>,
    options: &OpenOptions,
    notes: &mut Vec<String>,
) -> Result<Parts<Dataset>> {
    let contents = pairs.clone().try_map(|pair| pair.read())?;
    let sums: Vec<(Sum, Sum)> = contents.iter().map(idx::Contents::sums).collect();
    if let Some(official) = official {
        for (pair, found) in pairs.iter().zip(&sums) {
            official.check(pair, *found)?;
        }
    }
    let recognized = official.or_else(|| Official::recognize(&sums));
    if recognized.is_none() && data_set_name(path).to_lowercase().contains("fashion-mnist") {
        notes.push(format!(
            "{} is not the official Fashion-MNIST: its contents have other SHA-256 sums",
            path.display()
        ));
    }
    named_datasets(path, contents, recognized.map(Official::class_names), options)
}

/// Gives the parts their class names, which are the same for all.
fn named_datasets(
    path: &Path,
    parts: Parts<impl Unnamed>,
    own: Option<Vec<String>>,
    options: &OpenOptions,
) -> Result<Parts<Dataset>> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let greatest = parts.iter().filter_map(Unnamed::greatest_label).max();
    let names = classes::names(folder, own, options.class_names.as_deref(), greatest)?;
    parts.try_map(|part| part.into_dataset(names.clone()))
}

/// The last part of a path, also of "." and "..".
fn data_set_name(path: &Path) -> String {
    let whole = path.canonicalize();
    let whole = whole.as_deref().unwrap_or(path);
    whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned()
}
