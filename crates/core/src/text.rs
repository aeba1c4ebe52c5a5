//! Texts that are shared, each of a type of its own.

use std::{fmt, str::FromStr, sync::Arc};

/// A text that is none of the type.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

macro_rules! text {
    ($($(#[$doc:meta])* $name:ident: $read:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let malformed = |_| minicbor::decode::Error::message(concat!("malformed ", stringify!($name)));
                $read(d.str()?).map_err(malformed)
            }
        }
    )*};
}

text! {
    /// The id of a session, as the platform chose it: up to 128 visible characters of ASCII.
    SessionId: str::parse;
    /// The id of a signing key (`kid`): of the same form.
    KeyId: str::parse;
    /// JSON text. Who made it knows that it is.
    Json: Json::read;
}

/// The longest name, in bytes.
const MAX_NAME: usize = 128;

/// Names stand in the entries of the revocation log, with spaces between them.
fn name(text: &str) -> Result<Arc<str>, Malformed> {
    let fits = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.into()) } else { Err(Malformed) }
}

impl FromStr for SessionId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        name(text).map(Self)
    }
}

impl FromStr for KeyId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        name(text).map(Self)
    }
}

impl Json {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    fn read(text: &str) -> Result<Self, std::convert::Infallible> {
        Ok(Self::new(text))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed text")
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_up_to_128_visible_characters_of_ascii() {
        let (longest, longer) = ("s".repeat(128), "s".repeat(129));
        for text in ["s", "a:b{c}/%00\"~!", &longest] {
            let session: SessionId = text.parse().unwrap();
            assert_eq!(session.as_str(), text);
            assert_eq!(minicbor::decode::<SessionId>(&minicbor::to_vec(&session).unwrap()).unwrap(), session);
        }
        for text in ["", " ", "a b", "a\nb", "a\u{7f}", "ü", &longer] {
            assert_eq!(text.parse::<SessionId>(), Err(Malformed), "{text:?}");
            assert!(minicbor::decode::<SessionId>(&minicbor::to_vec(text).unwrap()).is_err(), "{text:?}");
        }
    }
}
