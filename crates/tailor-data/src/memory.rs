//! How much memory there is, where the system tells (Linux).

use std::fs;

/// What new allocations could get, in bytes.
pub fn free() -> Option<u64> {
    entry("/proc/meminfo", "MemAvailable:")
}

/// The most that this process has had so far, in bytes.
pub fn peak() -> Option<u64> {
    entry("/proc/self/status", "VmHWM:")
}

/// A line such as "MemAvailable: 1024 kB".
fn entry(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kilobytes)
}
