//! A folder with one folder of images a class, with or without `train`, `validation` and `test` above them.
//!
//! ```text
//! wardrobe/                   wardrobe/
//!   hat/  a.jpg  b.png          train/       hat/ …   shoe/ …
//!   shoe/ c.webp                validation/  hat/ …   shoe/ …     (also `val`, `valid`)
//!                               test/        hat/ …   shoe/ …
//! ```
//! Everything is read in the order of its name. Hidden entries are ignored; folders within a class are not
//! entered, so that a link which leads back cannot trap the reader.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::dataset::{Dataset, ImageShape, Origins};
use crate::error::{Error, Result};
use crate::form::Parts;
use crate::image_cache::ImageCache;
use crate::memory;
use crate::photo::{self, Header};
use crate::photographs::{OnDisk, Photograph};
use crate::source::{OpenOptions, Watch};

/// The size of images that come in different sizes, unless the caller wants another.
const DEFAULT_SIZE: (usize, usize) = (64, 64);

/// Images that all have one size keep it up to this height and width.
const LARGEST_KEPT: usize = 256;

/// Bytes of images that are held in memory where the system does not tell how much is free.
const WHERE_UNKNOWN: u64 = 2_000_000_000;

/// One image in so many may be damaged and is left out; where it is more, something else is wrong.
const FEWEST_PER_DAMAGED: usize = 10;

/// Damaged images that a note names.
const NAMED: usize = 5;

/// The visible entries of a folder, sorted by name.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The folders of the parts; `train` is the folder itself if there are only classes.
///
/// # Errors
/// [`Error::Folder`] if two folders stand for the same part.
pub(crate) fn parts(folder: &Path) -> Result<Option<Parts<PathBuf>>> {
    let mut parts = Parts::default();
    for path in class_folders(folder)? {
        let part = match name(&path).to_lowercase().as_str() {
            "train" | "training" => &mut parts.train,
            "validation" | "val" | "valid" => &mut parts.validation,
            "test" | "testing" => &mut parts.test,
            _ => continue,
        };
        // A class may well be called "test": then there are images in it, and no folders.
        if class_folders(&path)?.is_empty() {
            continue;
        }
        if let Some(other) = part.replace(path.clone()) {
            let problem =
                format!("{:?} and {:?} both stand for the same part; keep one", name(&other), name(&path));
            return Err(Error::folder(folder, problem));
        }
    }
    if parts.iter().next().is_some() {
        return Ok(Some(parts));
    }
    for class in class_folders(folder)? {
        if has_images(&class)? {
            return Ok(Some(Parts { train: Some(folder.to_owned()), ..Parts::default() }));
        }
    }
    Ok(None)
}

/// Whether there are images directly in the folder.
pub(crate) fn has_images(folder: &Path) -> Result<bool> {
    Ok(!Class::list(folder)?.files.is_empty())
}

/// Reads the folders of `wanted` in the folder `root`, whose classes are those of all `parts` together.
///
/// Photographs are decoded in parallel, and each is let go as soon as it is brought to its size. If all of them would
/// take too much memory at that size, they are read from the cache whenever they are looked at.
///
/// # Errors
/// [`Error::Folder`] for a class without images or one that nobody knows, and where more than a few images cannot be
/// decoded. A few are left out, and noted.
pub(crate) fn read(
    root: &Path,
    parts: &Parts<PathBuf>,
    wanted: Parts<PathBuf>,
    options: &OpenOptions,
    watch: Watch,
    notes: &mut Vec<String>,
) -> Result<Parts<Dataset>> {
    note_left_out(root, parts, notes)?;
    let class_names = class_names(parts, options)?;
    if class_names.len() > usize::from(u16::MAX) {
        return Err(Error::Dataset(format!("{} classes are more than are possible", class_names.len())));
    }
    let listed = wanted.try_map(|folder| Listing::of(folder, &class_names, notes))?;
    if let (Some(train), None) = (&listed.train, &options.class_names) {
        let labels: BTreeSet<u16> = train.files.iter().map(|&(_, label)| label).collect();
        if let Some(class) = (0..class_names.len()).find(|&class| !labels.contains(&(class as u16))) {
            return Err(Error::Dataset(format!(
                "the class {:?} has images in other parts, but none to train with",
                class_names[class]
            )));
        }
    }
    let shape = common_shape(&listed, options, notes)?;
    let stored = match options.store_size {
        Some((height, width)) => ImageShape { height, width, ..shape },
        None => shape,
    };
    stored.check()?;
    let bytes = |listing: &Option<Listing>, shape: ImageShape| {
        listing.as_ref().map_or(0, |listing| shape.len() as u64 * listing.files.len() as u64)
    };
    let bytes = bytes(&listed.train, stored) + bytes(&listed.validation, shape) + bytes(&listed.test, shape);
    let allowed = options.memory.unwrap_or_else(|| memory::free().map_or(WHERE_UNKNOWN, |free| free / 4));
    if bytes > allowed {
        notes.push(format!(
            "the images take {} MB, more than the {} MB of memory that they may have: {}",
            bytes / 1_000_000,
            allowed / 1_000_000,
            match &options.cache {
                Some(cache) => format!("they are read from {} in each epoch", cache.display()),
                None => "they are decoded in each epoch, as there is no cache".into(),
            }
        ));
    }
    let decoder = Decoder {
        class_names,
        cache: options.cache.clone().map(ImageCache::new),
        is_held: bytes <= allowed,
        watch,
        done: AtomicUsize::new(0),
        total: listed.iter().map(|listing| listing.files.len()).sum(),
    };
    let mut decode = |listing: Option<Listing>, shape| {
        listing.map(|listing| decoder.decode(listing, shape, notes)).transpose()
    };
    Ok(Parts {
        train: decode(listed.train, stored)?,
        validation: decode(listed.validation, shape)?,
        test: decode(listed.test, shape)?,
    })
}

/// Notes images, and folders of them, that belong to no class or no part and are therefore not used.
fn note_left_out(root: &Path, parts: &Parts<PathBuf>, notes: &mut Vec<String>) -> Result<()> {
    let mut folders: Vec<&Path> = parts.iter().map(PathBuf::as_path).collect();
    if !folders.contains(&root) {
        for folder in class_folders(root)?.iter().filter(|folder| !folders.contains(&folder.as_path())) {
            notes.push(format!("{} is not used: it is none of the parts beside it", folder.display()));
        }
        folders.insert(0, root);
    }
    for folder in folders {
        let loose = Class::list(folder)?.files;
        if let [first, ..] = &loose[..] {
            notes.push(format!(
                "{}: {} not used, such as {:?}: move them into the folder of their class",
                folder.display(),
                if loose.len() == 1 { "1 image is".into() } else { format!("{} images are", loose.len()) },
                name(first)
            ));
        }
    }
    Ok(())
}

/// The classes that the caller wants, else the names of the folders in any part.
fn class_names(parts: &Parts<PathBuf>, options: &OpenOptions) -> Result<Vec<String>> {
    if let Some(names) = &options.class_names {
        return Ok(names.clone());
    }
    let mut names = BTreeSet::new();
    for part in parts.iter() {
        names.extend(class_folders(part)?.iter().map(|path| name(path)));
    }
    Ok(names.into_iter().collect())
}

/// The one shape that all images get.
fn common_shape(
    parts: &Parts<Listing>,
    options: &OpenOptions,
    notes: &mut Vec<String>,
) -> Result<ImageShape> {
    // Where both are given, no file need be looked at for it.
    let headers = match (options.channels, options.size) {
        (Some(_), Some(_)) => Vec::new(),
        _ => headers(parts),
    };
    let has_color = headers.iter().any(|header| header.has_color);
    let channels = options.channels.unwrap_or(if has_color { 3 } else { 1 });
    let (height, width) = options.size.unwrap_or_else(|| {
        let sizes: BTreeSet<_> = headers.iter().map(|header| (header.height, header.width)).collect();
        match sizes.first() {
            Some(&(height, width)) if sizes.len() == 1 && height.max(width) <= LARGEST_KEPT => (height, width),
            _ => {
                let (height, width) = DEFAULT_SIZE;
                notes.push(format!(
                    "the images have {} sizes; each was resized to {height}×{width} with its proportions kept, \
                     on the color of its border",
                    sizes.len()
                ));
                DEFAULT_SIZE
            }
        }
    });
    let shape = ImageShape::new(height, width, channels);
    shape.check()?;
    Ok(shape)
}

/// Of all images that have a sound one: the others cannot be decoded, which is seen to later.
fn headers(parts: &Parts<Listing>) -> Vec<Header> {
    let files: Vec<_> = parts.iter().flat_map(|listing| &listing.files).collect();
    files.into_par_iter().filter_map(|(path, _)| photo::header(path).ok()).collect()
}

/// The images of one part with their labels, not yet decoded.
struct Listing {
    folder: PathBuf,
    files: Vec<(PathBuf, u16)>,
}

impl Listing {
    fn of(folder: PathBuf, class_names: &[String], notes: &mut Vec<String>) -> Result<Listing> {
        let mut files = Vec::new();
        for path in class_folders(&folder)? {
            let class = name(&path);
            let Some(label) = class_names.iter().position(|name| *name == class) else {
                let problem =
                    format!("the folder {class:?} is none of the classes {}", class_names.join(", "));
                return Err(Error::folder(&folder, problem));
            };
            let listed = Class::list(&path)?;
            if !listed.skipped.is_empty() {
                notes.push(format!(
                    "{}: {} skipped that are not images{}, such as {:?}",
                    path.display(),
                    listed.skipped.len(),
                    unreadable(&listed.skipped),
                    name(&listed.skipped[0])
                ));
            }
            if listed.files.is_empty() {
                let problem = format!(
                    "the class {class:?} has no images{}; add some or remove its folder",
                    unreadable(&listed.skipped)
                );
                return Err(Error::folder(&folder, problem));
            }
            files.extend(listed.files.into_iter().map(|file| (file, label as u16)));
        }
        if files.is_empty() {
            return Err(Error::folder(&folder, "it has no folders of images, one a class"));
        }
        Ok(Listing { folder, files })
    }
}

/// Where files are photographs of a format that telephones write and nobody here reads, what to do with them.
fn unreadable(files: &[PathBuf]) -> &'static str {
    let is_heif = |path: &PathBuf| {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        extension.is_some_and(|extension| ["heic", "heif", "avif"].contains(&extension.as_str()))
    };
    if files.iter().any(is_heif) {
        " that can be read (convert HEIC, HEIF and AVIF to JPEG first)"
    } else {
        ""
    }
}

/// Brings photographs to their size.
struct Decoder<'a> {
    class_names: Vec<String>,
    cache: Option<ImageCache>,
    /// Whether their pixels are held in memory.
    is_held: bool,
    watch: Watch<'a>,
    /// Of all parts.
    done: AtomicUsize,
    total: usize,
}

impl Decoder<'_> {
    fn decode(&self, listing: Listing, shape: ImageShape, notes: &mut Vec<String>) -> Result<Dataset> {
        let Listing { folder, files } = listing;
        let (paths, labels): (Vec<PathBuf>, Vec<u16>) = files.into_iter().unzip();
        let photograph = |path: &PathBuf| Photograph::new(path, shape, self.cache.as_ref());
        let photographs: Vec<Photograph> = paths.par_iter().map(photograph).collect();
        let (class_names, origins) = (self.class_names.clone(), Origins::Files(paths));
        // Results are gathered one by one: a common one would be any of the errors, not the same each time.
        let (dataset, read) = if self.is_held {
            let mut pixels = vec![0; shape.len() * photographs.len()];
            let pairs = pixels.par_chunks_exact_mut(shape.len()).zip(&photographs);
            let read = pairs.map(|(out, photograph)| self.counted(photograph.read(out))).collect();
            (Dataset::with_origins(shape, pixels, labels, class_names, origins)?, read)
        } else {
            let cached = photographs.par_iter().map(|photograph| self.counted(photograph.cache()));
            let (read, kept): (Vec<Result<()>>, Vec<_>) = cached
                .map(|cached| match cached {
                    Ok(kept) => (Ok(()), kept.err()),
                    Err(error) => (Err(error), None),
                })
                .unzip();
            note_not_kept(&kept.into_iter().flatten().collect::<Vec<_>>(), notes);
            (Dataset::made(shape, OnDisk(photographs), labels, class_names, origins)?, read)
        };
        without_damaged(&folder, dataset, read, notes)
    }

    fn counted<T>(&self, result: T) -> T {
        (self.watch)(self.done.fetch_add(1, Ordering::Relaxed) + 1, self.total);
        result
    }
}

/// Notes photographs that did not fit into the cache, with what the system said of each.
fn note_not_kept(errors: &[io::Error], notes: &mut Vec<String>) {
    if let [first, ..] = errors {
        notes.push(format!(
            "{} images could not be written into the cache ({first}) and are decoded in each epoch; make room there, or \
             set TAILOR_CACHE to another folder",
            errors.len()
        ));
    }
}

/// The images of a part without those that could not be read, if these are few.
///
/// # Errors
/// The only error, or [`Error::Folder`] with the first in the order of names.
fn without_damaged(
    folder: &Path,
    dataset: Dataset,
    read: Vec<Result<()>>,
    notes: &mut Vec<String>,
) -> Result<Dataset> {
    let images = read.len();
    let (mut sound, mut errors) = (Vec::with_capacity(images), Vec::new());
    for (i, result) in read.into_iter().enumerate() {
        match result {
            Ok(()) => sound.push(i),
            Err(error) => errors.push(error),
        }
    }
    let Some(first) = errors.first() else { return Ok(dataset) };
    let rest = dataset.subset(&sound);
    let mut classes = dataset.class_counts().into_iter().zip(rest.class_counts());
    let lost_class = classes.position(|(before, after)| before > 0 && after == 0);
    if lost_class.is_none() && errors.len() * FEWEST_PER_DAMAGED <= images {
        let named: Vec<String> = errors.iter().take(NAMED).map(Error::with_cause).collect();
        let more = errors.len().saturating_sub(NAMED);
        notes.push(format!(
            "{}: {} of {images} images left out: {}{}",
            folder.display(),
            errors.len(),
            named.join("; "),
            if more > 0 { format!("; and {more} more") } else { String::new() }
        ));
        return Ok(rest);
    }
    let which = match lost_class {
        Some(class) => format!("all images of the class {:?} are among them", dataset.class_names()[class]),
        None => "so many are not left out silently".into(),
    };
    match errors.len() {
        1 => Err(errors.remove(0)),
        damaged => Err(Error::folder(
            folder,
            format!(
                "{damaged} of {images} images cannot be used, and {which}; repair or remove them; the first: {}",
                first.with_cause()
            ),
        )),
    }
}

/// The entries of a class folder.
struct Class {
    files: Vec<PathBuf>,
    skipped: Vec<PathBuf>,
}

impl Class {
    /// A file is an image if its name or its content says so. One that only the name says is an image is
    /// damaged, which decoding finds out.
    fn list(folder: &Path) -> Result<Class> {
        let is_image =
            |path: &PathBuf| path.is_file() && (photo::is_named_as_image(path) || begins_as_image(path));
        let (files, skipped) = entries(folder)?.into_iter().partition(is_image);
        Ok(Class { files, skipped })
    }
}

/// Whether a file begins as an image does.
pub(crate) fn begins_as_image(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    read.is_ok() && photo::begins_as_image(&start)
}

fn class_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
