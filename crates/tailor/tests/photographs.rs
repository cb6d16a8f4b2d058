//! Training on folders of photographs that do not fit into memory, or that are damaged.

mod workbench;

use std::process::{Child, Stdio};
use std::time::Duration;

use tailor_nn::weights::{NamedTensor, from_safetensors};
use workbench::{Bench, png};

/// Photographs a class.
const IMAGES: u32 = 150;

/// A folder of two classes, and a recipe whose images take 46 MB of memory.
fn photographs(bench: &Bench) -> &'static str {
    for i in 0..IMAGES {
        bench.write(&format!("photos/rows/{i}.png"), png(224, |x, y| (y * (5 + i % 7) + x / 9) as u8));
        bench.write(&format!("photos/columns/{i}.png"), png(224, |x, y| (x * (5 + i % 7) + y / 9) as u8));
    }
    let recipe = "name = \"small\"\n\
        [model]\nlayers = [{ type = \"conv\", filters = 4, kernel = 8, stride = 8 }, \"global-average-pool\"]\n\
        [data]\nsource = \"photos\"\nsize = 96\nstore-size = 224\nchannels = 3\nvalidation = 30\n\
        augment = [\"random-resized-crop\"]\n\
        [train]\nepochs = 2\nbatch-size = 10\n";
    bench.write("small.toml", recipe);
    "small.toml"
}

/// Starts a training in the folder `run`, with a cache of its own.
fn start(bench: &Bench, recipe: &str, run: &str, settings: &[&str]) -> Child {
    std::process::Command::new(assert_cmd::cargo::cargo_bin("tailor"))
        .current_dir(bench.path(""))
        .env("TAILOR_CACHE", bench.path("cache"))
        .args(["train", recipe, "--run", run, "--threads", "2"])
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn weights(bench: &Bench, run: &str) -> Vec<NamedTensor> {
    from_safetensors(&bench.read(&format!("{run}/last.checkpoint"))).unwrap().0
}

/// The most megabytes that a process had, as Linux counts them, and what it said.
#[cfg(target_os = "linux")]
fn peak(mut child: Child) -> (u64, String) {
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        most = most.max(kilobytes.unwrap_or(0) / 1000);
        std::thread::sleep(Duration::from_millis(3));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    (most, said)
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_beyond_its_memory_trains_to_the_same_bits() {
    let bench = Bench::new();
    let recipe = photographs(&bench);
    let (held, _) = peak(start(&bench, recipe, "held", &[]));
    let (on_disk, said) = peak(start(&bench, recipe, "on-disk", &["data.memory=10"]));
    assert!(said.contains("note: the images take 45 MB, more than the 10 MB"), "{said}");
    // Of 300 photographs, 224×224×3 bytes each.
    assert!(on_disk + 35 < held, "{on_disk} MB from disk, {held} MB in memory");
    assert_eq!(weights(&bench, "held"), weights(&bench, "on-disk"));

    let (decoded, said) = peak(start(&bench, recipe, "decoded", &["data.memory=10", "data.cache=false"]));
    assert!(said.contains("there is no cache"), "{said}");
    assert!(decoded + 35 < held, "{decoded} MB decoded, {held} MB in memory");
    assert_eq!(weights(&bench, "held"), weights(&bench, "decoded"));
}

#[test]
fn damaged_photographs_are_left_out_with_a_note() {
    let bench = Bench::new();
    for i in 0..15 {
        bench.write(&format!("photos/hat/{i}.png"), png(28, |x, _| (x * 3 + i) as u8));
        bench.write(&format!("photos/shoe/{i}.png"), png(28, |_, y| (y * 3 + i) as u8));
    }
    bench.write("photos/hat/7.png", &bench.read("photos/hat/7.png")[..60]);
    let stripes = bench.stripes_recipe();
    let ran =
        bench.succeed(&["train", &stripes, "--data", "photos", "--set", "data.validation=4", "--run", "run"]);
    assert!(
        ran.err.contains("note: ") && ran.err.contains("1 of 30 images left out: cannot decode"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("25 training, 4 validation"), "{}", ran.err);
}

#[test]
fn photographs_that_vanish_in_training_end_it_with_a_sentence() {
    let bench = Bench::new();
    let recipe = photographs(&bench);
    let settings = ["data.memory=10", "data.cache=false", "train.epochs=1000"];
    let child = start(&bench, recipe, "run", &settings);
    while !bench.path("run/metrics.csv").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::remove_dir_all(bench.path("photos")).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("error")).collect();
    assert!(matches!(errors[..], [error] if error.starts_with("error: cannot read")), "{said}");
    assert!(!said.contains("panicked") && bench.path("run/last.checkpoint").exists(), "{said}");
}
