//! Moments as RFC 3339 text, for filters.

use jeton_core::Time;
use prost_types::Timestamp;

/// A moment in UTC with whole seconds: texts of this form compare as the moments do.
pub fn format(time: Time) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanos: 0 }.to_string()
}

/// Any RFC 3339 text in the form of [`format()`]; `None` if it is none.
pub fn canonical(text: &str) -> Option<String> {
    let timestamp: Timestamp = text.parse().ok()?;
    Some(format(Time::from_secs(u64::try_from(timestamp.seconds).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_any_zone_and_compare_as_text() {
        assert_eq!(canonical("2027-01-01T00:00:00Z").as_deref(), Some("2027-01-01T00:00:00Z"));
        assert_eq!(canonical("2027-01-01T01:00:00.5+01:00").as_deref(), Some("2027-01-01T00:00:00Z"));
        assert!(format(Time::from_secs(1_000_000_000)) < format(Time::NEVER));
        for bad in ["", "tomorrow", "2027-13-01T00:00:00Z"] {
            assert_eq!(canonical(bad), None, "{bad}");
        }
    }
}
