//! What the tests of the command line share: the real binary, scratch folders, small data sets.

// Each test file compiles this module for itself and uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// A scratch folder in which the program runs.
pub struct Bench {
    folder: TempDir,
    threads: &'static str,
}

/// What a command left behind.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Bench {
    pub fn new() -> Self {
        Bench { folder: tempfile::tempdir().unwrap(), threads: "2" }
    }

    /// For tests that run beside each other.
    pub fn single_threaded() -> Self {
        Bench { threads: "1", ..Bench::new() }
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("tailor").unwrap();
        command.current_dir(self.folder.path()).args(arguments).args(["--threads", self.threads]);
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs the program and expects success.
    pub fn succeed(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "tailor {arguments:?}\n{}\n{}", ran.out, ran.err);
        ran
    }

    /// Runs the program and expects this exit code and one sentence with these parts.
    pub fn fail(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "tailor {arguments:?}\n{}\n{}", ran.out, ran.err);
        let errors: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("error")).collect();
        assert_eq!(errors.len(), 1, "tailor {arguments:?} should say one thing:\n{}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "{part:?} is not in: {}", ran.err);
        }
        assert!(!ran.err.contains("panicked") && !ran.err.contains("backtrace"), "{}", ran.err);
    }

    /// The names of all files and folders, hidden ones included, for showing that nothing was left behind.
    pub fn listing(&self) -> Vec<String> {
        let mut names: Vec<String> = walkdir::WalkDir::new(self.folder.path())
            .into_iter()
            .map(|entry| {
                entry.unwrap().path().strip_prefix(self.folder.path()).unwrap().display().to_string()
            })
            .collect();
        names.sort();
        names
    }

    /// IDX files of a data set that is learned in one epoch: class k is a bright row 2k+1 of 8×8 pixels.
    pub fn stripes(&self, name: &str) -> PathBuf {
        for (part, images) in [("train", 400u32), ("t10k", 80)] {
            self.write(
                &format!("{name}/{part}-images-idx3-ubyte"),
                idx_images(images, 8, stripe_pixels(images)),
            );
            self.write(
                &format!("{name}/{part}-labels-idx1-ubyte"),
                idx_labels(images, (0..images).map(|i| (i % 4) as u8)),
            );
        }
        self.path(name)
    }

    /// A recipe for [`Bench::stripes`] that trains in a moment.
    pub fn stripes_recipe(&self) -> String {
        let recipe = "name = \"stripes\"\n\
            [model]\nlayers = [{ type = \"conv\", filters = 4 }, \"max-pool\", { type = \"dropout\", rate = 0.1 }]\n\
            [data]\nsource = \"stripes\"\nvalidation = 40\n\
            [train]\nepochs = 3\nbatch-size = 20\nlr = 1e-2\n";
        self.stripes("stripes");
        self.write("stripes.toml", recipe);
        "stripes.toml".into()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn stripe_pixels(images: u32) -> impl Iterator<Item = u8> {
    (0..images).flat_map(|i| {
        (0..64u32).map(move |p| {
            let noise = (i.wrapping_mul(2_654_435_761).wrapping_add(p * 40_503) >> 13) as u8 % 50;
            if p / 8 == 2 * (i % 4) + 1 { 200 + noise } else { noise }
        })
    })
}

/// An IDX file of square images.
pub fn idx_images(images: u32, side: u32, pixels: impl Iterator<Item = u8>) -> Vec<u8> {
    let header = [0x0000_0803, images, side, side].map(u32::to_be_bytes).concat();
    header.into_iter().chain(pixels).collect()
}

/// An IDX file of labels.
pub fn idx_labels(images: u32, labels: impl Iterator<Item = u8>) -> Vec<u8> {
    let header = [0x0000_0801, images].map(u32::to_be_bytes).concat();
    header.into_iter().chain(labels).collect()
}

/// A PNG of the given grey pixels.
pub fn png(side: u32, pixel: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    let image = image::GrayImage::from_fn(side, side, |x, y| image::Luma([pixel(x, y)]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}
