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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_parted() {
        let cases =
            [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678"), (123_456, "123,456")];
        for (count, text) in cases {
            assert_eq!(thousands(count), text);
        }
    }
}
