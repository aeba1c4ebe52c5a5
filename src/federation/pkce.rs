//! Proof Key for Code Exchange (RFC 7636).

/// The fewest and the most characters of a verifier (RFC 7636 §4.1).
const VERIFIER_LEN: std::ops::RangeInclusive<usize> = 43..=128;

/// Whether the text has the form of a verifier. With fewer characters it could be guessed.
pub(super) fn is_verifier(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    VERIFIER_LEN.contains(&text.len()) && text.bytes().all(is_unreserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_43_to_128_unreserved_characters() {
        for (text, is_one) in [
            ("a".repeat(42), false),
            ("a".repeat(43), true),
            ("-._~0Zz".repeat(18), true),
            ("a".repeat(128), true),
            ("a".repeat(129), false),
            ("a".repeat(42) + "+", false),
            ("a".repeat(42) + " ", false),
            ("ä".repeat(43), false),
        ] {
            assert_eq!(is_verifier(&text), is_one, "{text}");
        }
    }
}
