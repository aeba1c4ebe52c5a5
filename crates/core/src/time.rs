//! Moments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment, in milliseconds since the Unix epoch.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    minicbor::Encode,
    minicbor::Decode,
    minicbor::CborLen,
)]
#[cbor(transparent)]
pub struct Time(#[n(0)] u64);

// === impl Time ===

impl Time {
    /// Later than every real moment: the expiry of what never expires.
    pub const NEVER: Self = Self(253_402_300_799_000); // 9999-12-31T23:59:59Z, the last that protobuf can say

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The same moment with the fraction of its second cut off, as JWTs write it.
    pub const fn whole_secs(self) -> Self {
        Self(self.0 - self.0 % 1000)
    }

    pub const fn is_never(self) -> bool {
        self.0 >= Self::NEVER.0
    }

    /// The same moment as the standard library has it.
    pub fn system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }

    /// `self + duration`, at most NEVER.
    pub fn plus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis).min(Self::NEVER.0))
    }

    /// `self - duration`, at least the epoch.
    pub fn minus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero if it is before.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Moments and spans of which a record keeps whole seconds: half the bytes of milliseconds.
pub(crate) mod secs {
    use std::time::Duration;

    use minicbor::{
        Decoder, Encoder,
        data::Type,
        decode::Error as Malformed,
        encode::{Error, Write},
    };

    use super::Time;

    /// What has whole seconds, or none.
    pub trait Secs: Sized {
        fn to_secs(&self) -> Option<u64>;
        fn from_secs(secs: Option<u64>) -> Option<Self>;
    }

    impl Secs for Time {
        fn to_secs(&self) -> Option<u64> {
            Some(self.as_secs())
        }

        fn from_secs(secs: Option<u64>) -> Option<Self> {
            secs.map(|secs| Self::from_secs(secs).min(Self::NEVER))
        }
    }

    impl Secs for Duration {
        fn to_secs(&self) -> Option<u64> {
            Some(self.as_secs())
        }

        fn from_secs(secs: Option<u64>) -> Option<Self> {
            secs.map(Self::from_secs)
        }
    }

    impl Secs for Option<Duration> {
        fn to_secs(&self) -> Option<u64> {
            self.map(|span| span.as_secs())
        }

        fn from_secs(secs: Option<u64>) -> Option<Self> {
            Some(secs.map(Duration::from_secs))
        }
    }

    pub fn encode<T: Secs, C, W: Write>(value: &T, e: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        match value.to_secs() {
            Some(secs) => e.u64(secs)?.ok(),
            None => e.null()?.ok(),
        }
    }

    pub fn decode<T: Secs, C>(d: &mut Decoder<'_>, _: &mut C) -> Result<T, Malformed> {
        let secs = if d.datatype()? == Type::Null { d.null().map(|()| None) } else { d.u64().map(Some) }?;
        T::from_secs(secs).ok_or_else(|| Malformed::message("a time is missing"))
    }
}
