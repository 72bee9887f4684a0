//! Bytes for people.

/// So many bytes, in a unit that leaves at least three digits, where there are as many.
pub fn human(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{count} bytes"),
        1_000_000..99_950_000 => format!("{:.1} MB", count as f64 / 1e6),
        99_950_000..9_999_500_000 => format!("{:.0} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn three_digits_at_least() {
        for (count, text) in [
            (12, "12 bytes"),
            (999_999, "999999 bytes"),
            (1_250_000, "1.2 MB"),
            (99_949_999, "99.9 MB"),
            (99_950_000, "100 MB"),
            (2_130_000_000, "2130 MB"),
            (9_999_500_000, "10.0 GB"),
        ] {
            assert_eq!(human(count), text, "{count}");
        }
    }
}
