//! Positions: places in the revocation log.

use std::{fmt, str::FromStr};

/// A place in the revocation log: *(line, µs)*, compared line first.
///
/// The line grows whenever the store's history may have forked (failover, restore), so that what is appended
/// afterwards stands above every position from before, whatever the clocks say. Written as 20 lowercase hex digits, 6 of
/// line and 14 of µs, which compare as text; the same string stands in replies, requests and the claim `rev`.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, minicbor::Encode, minicbor::Decode, minicbor::CborLen,
)]
#[cbor(array)]
pub struct Position {
    #[n(0)]
    line: u32,
    #[n(1)]
    micros: u64,
}

/// A string that is no position.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

const MAX_LINE: u32 = (1 << 24) - 1;
const MAX_MICROS: u64 = (1 << 56) - 1;
const MICROS_PER_MINUTE: u64 = 60_000_000;
/// Minutes from 1970 to 2026. 24 bits of minutes last until 2057; after that lines only count.
const MINUTES_UNTIL_2026: u64 = 29_453_760;

// === impl Position ===

impl Position {
    /// Before every entry.
    pub const START: Self = Self { line: 0, micros: 0 };

    /// The position *(line, µs)*, or `None` outside of 24 and 56 bits.
    pub const fn new(line: u32, micros: u64) -> Option<Self> {
        if line > MAX_LINE || micros > MAX_MICROS {
            return None;
        }
        Some(Self { line, micros })
    }

    pub const fn line(self) -> u32 {
        self.line
    }

    pub const fn micros(self) -> u64 {
        self.micros
    }

    /// Where the next entry of the same line stands: above this one, at the store's clock if that is later.
    pub fn next(self, clock_micros: u64) -> Option<Self> {
        Self::new(self.line, clock_micros.max(self.micros + 1))
    }

    /// Where the next line begins: above this one, and not below the minutes since 2026 by the store's clock. Counting
    /// alone would use a line again when a copy is restored that is older than the last raise.
    pub fn next_line(self, clock_micros: u64) -> Option<Self> {
        let minutes = (clock_micros / MICROS_PER_MINUTE).saturating_sub(MINUTES_UNTIL_2026);
        let minutes = u32::try_from(minutes).unwrap_or(MAX_LINE).min(MAX_LINE);
        Self::new(minutes.max(self.line + 1), clock_micros)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}{:014x}", self.line, self.micros)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Position {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let canonical = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 20 || !text.bytes().all(canonical) {
            return Err(Malformed);
        }
        let line = u32::from_str_radix(&text[..6], 16).map_err(|_| Malformed)?;
        let micros = u64::from_str_radix(&text[6..], 16).map_err(|_| Malformed)?;
        Ok(Self { line, micros })
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed position")
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_that_was_lost_is_not_used_again() {
        let at = |minutes: u64| (MINUTES_UNTIL_2026 + minutes) * MICROS_PER_MINUTE;
        let copied = Position::START.next_line(at(10)).unwrap();
        let lost = copied.next_line(at(20)).unwrap().next_line(at(30)).unwrap();
        let restored = copied.next_line(at(31)).unwrap();
        assert!(restored.line() > lost.line());
        // A clock that stands still or is wrong leaves the counting.
        assert_eq!(copied.next_line(0).unwrap().line(), copied.line() + 1);
        assert_eq!(lost.next_line(at(30)).unwrap().line(), lost.line() + 1);
    }

    proptest! {
        #[test]
        fn positions_compare_as_their_texts(a in 0..=MAX_LINE, b in 0..=MAX_MICROS, c in 0..=MAX_LINE, d in 0..=MAX_MICROS) {
            let (left, right) = (Position::new(a, b).unwrap(), Position::new(c, d).unwrap());
            prop_assert_eq!(left.cmp(&right), left.to_string().cmp(&right.to_string()));
            prop_assert_eq!(left.to_string().parse(), Ok(left));
        }
    }
}
