//! How long a token is to live, as a caller may write it.

use std::time::Duration;

/// A string that is no lifetime.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// The longest lifetime that can be written: 100 years. Tenants allow less.
const MAX: Duration = Duration::from_secs(100 * YEAR);
const DAY: u64 = 86_400;
const YEAR: u64 = 31_557_600; // 365.25 days, as the libraries that vendors use count it

/// Reads `"3600"` (seconds) or a number with a unit: `ms`, `s`, `m`, `h`, `d`, `w`, `y` or their long forms, with or
/// without a space: `"90m"`, `"12hr"`, `"7 days"`. Zero, negative, fractional and overflowing lifetimes are malformed.
pub fn parse(text: &str) -> Result<Duration, Malformed> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit = match unit.strip_prefix(' ') {
        // "7 " is no number with a unit.
        Some("") => return Err(Malformed),
        Some(unit) => unit,
        None => unit,
    };
    let number: u64 = number.parse().map_err(|_| Malformed)?;
    let millis = match unit.to_ascii_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 1,
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => DAY * 1000,
        "w" | "week" | "weeks" => 7 * DAY * 1000,
        "y" | "yr" | "yrs" | "year" | "years" => YEAR * 1000,
        _ => return Err(Malformed),
    };
    let lifetime = Duration::from_millis(number.checked_mul(millis).ok_or(Malformed)?);
    if lifetime.is_zero() || lifetime > MAX {
        return Err(Malformed);
    }
    Ok(lifetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_the_vendors_is_read() {
        for (text, secs) in [
            ("3600", 3600),
            ("1h", 3600),
            ("60m", 3600),
            ("12hr", 43_200),
            ("24h", 86_400),
            ("30d", 30 * DAY),
            ("7 days", 7 * DAY),
            ("1 Week", 7 * DAY),
            ("1y", YEAR),
            ("90 seconds", 90),
            ("2000ms", 2),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(secs)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_malformed() {
        let huge = "9".repeat(300);
        for text in [
            "",
            " ",
            "0",
            "0h",
            "-1h",
            "+1h",
            "1fortnight",
            "1e9",
            "1.5h",
            "h",
            "7  days",
            "7 ",
            "١h",
            "18446744073709551615y",
            "101y",
            &huge,
        ] {
            assert_eq!(parse(text), Err(Malformed), "{text}");
        }
    }
}
