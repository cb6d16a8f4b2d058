//! Measures how long it takes to open a folder of photographs, twice with an empty cache at first, and the most
//! memory that the process had by then (on Linux):
//! `cargo run --release -p tailor-data --example open_speed -- FOLDER SIZE CACHE`

use std::path::PathBuf;
use std::time::Instant;

use tailor_data::{OpenOptions, Source, open};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [_, folder, size, cache] = &std::env::args().collect::<Vec<_>>()[..] else {
        return Err("FOLDER, SIZE and CACHE are needed".into());
    };
    let size = size.parse()?;
    let options = OpenOptions {
        size: Some((size, size)),
        channels: Some(3),
        cache: Some(PathBuf::from(cache)),
        ..OpenOptions::default()
    };
    for time in ["first", "second"] {
        let start = Instant::now();
        let splits = open(&Source::parse(folder), &options)?;
        let seconds = start.elapsed().as_secs_f64();
        let images: usize = splits.train.len()
            + [splits.validation, splits.test].into_iter().flatten().map(|part| part.len()).sum::<usize>();
        println!("{time} opening: {images} images in {seconds:.2} s; {}", peak_memory());
    }
    Ok(())
}

/// As Linux counts it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    format!("at most {} of memory", peak.map_or("an unknown amount", str::trim))
}
