//! One-time passwords: codes that people type.

use aws_lc_rs::constant_time;

use jeton_core::secret::{DerivationKeyId, Mac, SecretKind, SecretText};

/// A code, by what makes it again: like every secret it is derived when it is needed and never stored.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct OneTimeCode {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub nonce: [u8; 16],
    #[n(1)]
    pub key: DerivationKeyId,
}

/// Digits of a code. Of those who may try it [`ATTEMPTS`] times, one in 20 million guesses it.
pub const DIGITS: usize = 8;
/// How often a code may be tried.
pub const ATTEMPTS: u8 = 5;

// === impl OneTimeCode ===

impl OneTimeCode {
    /// The digits; `None` if the key that made it is gone.
    pub fn text(&self, mac: &impl Mac) -> Option<SecretText> {
        let mac = mac.mac(self.key, SecretKind::Code, &self.nonce)?;
        let number = mac.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))?;
        // 2^64 is so much larger that every code is as likely as any other, to one part in 10^11.
        let modulus = 10_u64.pow(u32::try_from(DIGITS).ok()?);
        Some(SecretText::new(format!("{:0DIGITS$}", number % modulus)))
    }

    /// Whether these are the digits, in constant time.
    pub fn is(&self, presented: &str, mac: &impl Mac) -> bool {
        self.text(mac).is_some_and(|text| {
            constant_time::verify_slices_are_equal(text.expose().as_bytes(), presented.as_bytes()).is_ok()
        })
    }
}
