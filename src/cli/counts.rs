//! Large numbers with a unit.

use indicatif::DecimalBytes;

/// A size in bytes, as in `344.21 MB`.
pub(super) fn bytes(count: u64) -> String {
    DecimalBytes(count).to_string()
}

/// A count in millions, as in `86.57 M`.
pub(super) fn mega(count: u64) -> String {
    scaled(count, 1e6, "M")
}

/// A count in billions (10⁹), as in `16.85 G`.
pub(super) fn giga(count: u64) -> String {
    scaled(count, 1e9, "G")
}

/// A count in multiples of `unit`, with two decimals. A count below a tenth of the unit is written out
/// in full.
fn scaled(count: u64, unit: f64, name: &str) -> String {
    let value = count as f64 / unit;
    if value < 0.1 {
        return count.to_string();
    }
    format!("{value:.2} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_never_rounded_to_nothing() {
        for (count, expected) in [
            (0, "0"),
            (22_400, "22400"),
            (999_999, "1.00 M"),
            (86_567_656, "86.57 M"),
        ] {
            assert_eq!(mega(count), expected);
        }
        assert_eq!(giga(16_848_000_000), "16.85 G");
        assert_eq!(giga(96_200), "96200");
    }
}
