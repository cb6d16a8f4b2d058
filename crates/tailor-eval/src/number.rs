//! Numbers as people read them.

/// A count with a comma between thousands: `12,345`.
pub fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let is_after_comma = |i: usize| i > 0 && (digits.len() - i).is_multiple_of(3);
    digits
        .char_indices()
        .flat_map(|(i, digit)| is_after_comma(i).then_some(',').into_iter().chain([digit]))
        .collect()
}

/// A time: `5.2 s`, `80 s`, `12 min`, `3.4 h`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The size of a file: `812 B`, `375 KB`, `1.2 MB`; a KB is 1000 bytes.
pub fn bytes(size: usize) -> String {
    let kilobytes = size as f64 / 1000.0;
    match size {
        0..1000 => format!("{size} B"),
        1000..999_500 => format!("{kilobytes:.0} KB"),
        999_500..9_950_000 => format!("{:.1} MB", kilobytes / 1000.0),
        9_950_000..999_500_000 => format!("{:.0} MB", kilobytes / 1000.0),
        _ => format!("{:.1} GB", kilobytes / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_two_or_three_digits() {
        let times = [(0.04, "0.0 s"), (9.96, "10 s"), (80.2, "80 s"), (121.0, "2 min"), (12_240.0, "3.4 h")];
        assert!(times.iter().all(|&(seconds, text)| duration(seconds) == text));
        let sizes = [
            (812, "812 B"),
            (375_488, "375 KB"),
            (999_600, "1.0 MB"),
            (188_000_000, "188 MB"),
            (2_100_000_000, "2.1 GB"),
        ];
        for (size, text) in sizes {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn thousands_are_parted() {
        let cases =
            [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678"), (123_456, "123,456")];
        for (count, text) in cases {
            assert_eq!(thousands(count), text);
        }
    }
}
