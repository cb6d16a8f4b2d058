//! The images that a command is given, as the model sees them: files, folders and data sets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use rayon::prelude::*;
use tailor_data::preparation::{is_prepared, prepare, take_as_is};
use tailor_data::{Dataset, OpenOptions, PathKind, Photo, Preparation, Source, kind_of, open_judged, photo};
use tailor_train::ModelInfo;
use walkdir::WalkDir;

use crate::progress::say;

/// How photographs are prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrepareArg {
    /// Trim, shrink, sharpen, center, negate and turn grey, as Fashion-MNIST was made
    FashionMnist,
    /// Only resize
    Resize,
}

/// An image as the model sees it.
pub struct Input {
    /// Its file, or its place in a data set.
    pub name: String,
    /// `[H, W, C]`
    pub pixels: Vec<u8>,
    /// Its class among the model's, where it came with one.
    pub label: Option<usize>,
}

/// Images that are in memory at the same time.
const CHUNK: usize = 256;

/// Reads images, and counts them and what could not be read.
pub struct Inputs<'a> {
    info: &'a ModelInfo,
    preparation: Preparation,
    /// Images that are still wanted.
    wanted: usize,
    /// Whether there are more than that.
    is_cut: bool,
    done: usize,
    failed: usize,
}

impl<'a> Inputs<'a> {
    /// For a model; photographs are prepared as its data was, unless something else is asked for.
    pub fn new(info: &'a ModelInfo, prepare: Option<PrepareArg>) -> Self {
        let preparation = match prepare {
            None => info.preparation,
            Some(PrepareArg::FashionMnist) => Preparation::FashionMnist,
            Some(PrepareArg::Resize) => Preparation::Resize,
        };
        Inputs { info, preparation, wanted: usize::MAX, is_cut: false, done: 0, failed: 0 }
    }

    /// So many images at most.
    pub fn at_most(self, wanted: usize) -> Self {
        Inputs { wanted, ..self }
    }

    /// Whether images were left out because no more were wanted.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Hands over the images of a path, or of a published data set by its name, some at a time. What cannot be read is reported
    /// and counted.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn read(
        &mut self,
        path: &Path,
        take: &mut impl FnMut(&[Input]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.wanted == 0 {
            self.is_cut = true;
            return Ok(());
        }
        let source = path.to_str().map_or_else(|| Source::Path(path.into()), Source::parse);
        let kind = match &source {
            Source::Path(path) => kind_of(path),
            _ => Ok(PathKind::Dataset),
        };
        match kind {
            Ok(PathKind::Image) => self.read_files(None, &[path.to_path_buf()], take),
            Ok(PathKind::ImageFolder | PathKind::ClassFolders) => self.read_folder(path, take),
            Ok(PathKind::Dataset) => match self.open_dataset(&source) {
                Ok(dataset) => self.read_dataset(&dataset, take),
                Err(error) => {
                    self.fail(&error);
                    Ok(())
                }
            },
            Err(error) => {
                match error {
                    tailor_data::Error::UnknownFormat { .. } if path.is_dir() => {
                        self.fail(&anyhow::anyhow!("{} holds no image and no data set", path.display()));
                    }
                    error => self.fail(&error.into()),
                }
                Ok(())
            }
        }
    }

    /// Says how many inputs could not be read, if any, in the words of what was to be done with them.
    pub fn conclude(&self, done: &str) -> ExitCode {
        if self.failed == 0 {
            return ExitCode::SUCCESS;
        }
        let inputs = self.failed + self.done;
        say(format_args!("error: {} of {inputs} inputs could not be {done}", self.failed));
        ExitCode::FAILURE
    }

    /// Every image below a folder, in the order of names.
    fn read_folder(
        &mut self,
        folder: &Path,
        take: &mut impl FnMut(&[Input]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut chunk = Vec::with_capacity(CHUNK);
        for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(entry) if self.wanted == 0 && matches!(kind_of(entry.path()), Ok(PathKind::Image)) => {
                    self.is_cut = true;
                    break;
                }
                Ok(entry) if matches!(kind_of(entry.path()), Ok(PathKind::Image)) => {
                    chunk.push(entry.into_path());
                }
                Ok(_) => {}
                Err(error) => self.fail(&error.into()),
            }
            if !chunk.is_empty() && chunk.len() == CHUNK.min(self.wanted) {
                self.read_files(Some(folder), &chunk, take)?;
                chunk.clear();
            }
        }
        self.read_files(Some(folder), &chunk, take)
    }

    /// Files, below a folder or by themselves; those in a folder, this one or beneath it, that is named as one of the model's
    /// classes are taken to be of it.
    fn read_files(
        &mut self,
        folder: Option<&Path>,
        files: &[PathBuf],
        take: &mut impl FnMut(&[Input]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let decoded: Vec<_> =
            files.par_iter().map(|path| photo::decode(path).map(|photo| self.pixels(&photo))).collect();
        let mut images = Vec::with_capacity(files.len());
        for (path, pixels) in files.iter().zip(decoded) {
            match pixels {
                Ok(pixels) => {
                    let label = folder.and_then(|folder| self.class_of(folder, path));
                    images.push(Input { name: path.display().to_string(), pixels, label });
                }
                Err(error) => self.fail(&error.into()),
            }
        }
        self.hand_over(&images, take)
    }

    /// The class that the innermost of the folders from `folder` to a file is named as.
    fn class_of(&self, folder: &Path, file: &Path) -> Option<usize> {
        let named = |folder: &Path| {
            let is_this = |name: &String| folder.file_name().is_some_and(|folder| folder == &name[..]);
            self.info.class_names.iter().position(is_this)
        };
        file.ancestors().skip(1).take_while(|above| above.starts_with(folder)).find_map(named)
    }

    fn read_dataset(
        &mut self,
        dataset: &Dataset,
        take: &mut impl FnMut(&[Input]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let label = |i: usize| {
            let name = &dataset.class_names()[dataset.label(i)];
            self.info.class_names.iter().position(|known| known == name)
        };
        self.is_cut |= dataset.len() > self.wanted;
        let labels: Vec<Option<usize>> = (0..dataset.len().min(self.wanted)).map(label).collect();
        for (chunk, labels) in labels.chunks(CHUNK).enumerate() {
            let of_image = |(i, &label): (usize, &Option<usize>)| {
                let i = chunk * CHUNK + i;
                Input { name: dataset.origin(i), pixels: dataset.image(i).to_vec(), label }
            };
            let images: Vec<Input> = labels.iter().enumerate().map(of_image).collect();
            self.hand_over(&images, take)?;
        }
        Ok(())
    }

    fn hand_over(
        &mut self,
        images: &[Input],
        take: &mut impl FnMut(&[Input]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if images.is_empty() {
            return Ok(());
        }
        self.done += images.len();
        self.wanted = self.wanted.saturating_sub(images.len());
        take(images)
    }

    /// What the model sees of a photograph. One that has its shape and has no more color is taken as it is.
    fn pixels(&self, photo: &Photo) -> Vec<u8> {
        let shape = self.info.shape;
        match is_prepared(photo, shape) {
            true => take_as_is(photo, shape.channels),
            false => prepare(photo, shape, self.preparation),
        }
    }

    fn open_dataset(&self, source: &Source) -> anyhow::Result<Dataset> {
        let dataset = open_judged(source, &OpenOptions::default())?.images;
        let needed = self.info.shape;
        anyhow::ensure!(
            dataset.shape() == needed,
            "{source} holds images of {}, but the model takes {needed}",
            dataset.shape()
        );
        Ok(dataset)
    }

    fn fail(&mut self, error: &anyhow::Error) {
        say(format_args!("error: {error:#}"));
        self.failed += 1;
    }
}
