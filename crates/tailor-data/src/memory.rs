//! How much memory there is, where the system tells (Linux).

use std::fs;
use std::path::Path;

/// Where the system shows control groups, version 2.
const GROUPS: &str = "/sys/fs/cgroup";

/// What new allocations could get, in bytes: of the machine, and of the control groups (of a container, for instance) that this
/// process is in.
pub fn free() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let group = Path::new(GROUPS).join(own);
    let groups = group.ancestors().take_while(|group| group.starts_with(GROUPS));
    groups.filter_map(left_by).chain(entry("/proc/meminfo", "MemAvailable:")).min()
}

/// What a control group leaves, if it has a limit. Files that are kept in memory as long as nobody needs it do not count.
fn left_by(group: &Path) -> Option<u64> {
    let number = |file| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    let limit = number("memory.max")?; // "max" where there is none
    let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let kept_files = statistics.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok());
    Some(limit.saturating_sub(number("memory.current")?.saturating_sub(kept_files.unwrap_or(0))))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_leaves_what_is_below_its_limit() {
        let group = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(group.path().join(file), text).unwrap();
        assert_eq!(left_by(group.path()), None);
        write("memory.max", "max\n");
        write("memory.current", "700\n");
        assert_eq!(left_by(group.path()), None);
        write("memory.max", "1000\n");
        assert_eq!(left_by(group.path()), Some(300));
        write("memory.stat", "anon 5\ninactive_file 200\nactive_file 9\n");
        assert_eq!(left_by(group.path()), Some(500));
        write("memory.current", "2000\n");
        assert_eq!(left_by(group.path()), Some(0));
    }
}
