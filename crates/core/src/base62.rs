//! Base62 of binary ids and secrets: letters and digits only, so that a double click selects all of it.
//!
//! Bytes are written in blocks of 8, each as 11 digits; a shorter last block takes as many digits as it needs. There is
//! exactly one text for each byte string: whatever decodes, encodes to the same text again.

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits that hold a block of `index` bytes.
const WIDTH: [usize; 9] = [0, 2, 3, 5, 6, 7, 9, 10, 11];

#[expect(clippy::as_conversions, reason = "a constant cannot convert otherwise, and 62 fits")]
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut digit = 0;
    while digit < DIGITS.len() {
        values[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

/// Appends the text of `bytes`.
pub fn encode_into(bytes: &[u8], out: &mut String) {
    for block in bytes.chunks(8) {
        let mut value = block.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let mut digits = [b'0'; 11];
        let width = WIDTH[block.len()];
        for digit in digits[..width].iter_mut().rev() {
            *digit = DIGITS[usize::try_from(value % 62).unwrap_or(0)];
            value /= 62;
        }
        out.extend(digits[..width].iter().map(|digit| char::from(*digit)));
    }
}

/// The bytes of `text`, or `None` if no byte string has this text.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 8 / 11 + 1);
    for block in text.chunks(11) {
        let len = WIDTH.iter().position(|width| *width == block.len())?;
        let mut value = 0_u64;
        for digit in block {
            let digit = VALUES[usize::from(*digit)];
            if digit == u8::MAX {
                return None;
            }
            value = value.checked_mul(62)?.checked_add(u64::from(digit))?;
        }
        if len < 8 && value >> (8 * len) != 0 {
            return None;
        }
        bytes.extend_from_slice(&value.to_be_bytes()[8 - len..]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_string_has_one_text(bytes: Vec<u8>) {
            let mut text = String::new();
            encode_into(&bytes, &mut text);
            prop_assert_eq!(decode(text.as_bytes()), Some(bytes));
        }

        #[test]
        fn every_text_that_decodes_is_the_only_one(text in "[0-9A-Za-z]{0,40}") {
            if let Some(bytes) = decode(text.as_bytes()) {
                let mut again = String::new();
                encode_into(&bytes, &mut again);
                prop_assert_eq!(again, text);
            }
        }
    }
}
