//! Durations as operators write them: `200ms`, `10s`, `15m`, `1h30m`, `14d`.

use std::time::Duration;

/// Longest first, which is also the order in which they are written.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads numbers with units. A bare number is refused: nobody remembers which unit it would have.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(Duration::from_millis(millis))
}

/// Writes what [`parse`] reads, to the millisecond.
pub fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, unit) in UNITS {
        if rest >= unit {
            text += &format!("{}{name}", rest / unit);
            rest %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["0s", "1ms", "200ms", "10s", "15m", "1h30m", "14d", "1d2h3m4s5ms"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(format(Duration::from_secs(5400)), "1h30m");
        assert_eq!(parse("90m"), Some(Duration::from_secs(5400)));
    }

    #[test]
    fn numbers_without_a_unit_and_nonsense_are_refused() {
        for text in ["", "10", "s", "10 s", "-1s", "1.5h", "1w", "10sec", "1m30", "99999999999999999999d"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
