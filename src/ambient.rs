//! The clock and the source of randomness.
//!
//! Invariant: no other module reads the wall clock or the random generator, so tests can freeze the one and a reviewer
//! can find every use of the other.

use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

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

/// Tells the time: the system's, or one that a test sets.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

/// The system's random generator failed. Nothing can be issued without it.
#[derive(Debug)]
pub struct NoEntropy;

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

// === impl Clock ===

impl Clock {
    /// A clock that stands at `start` until it is moved.
    pub fn manual(start: Time) -> Self {
        Self(Some(Arc::new(AtomicU64::new(start.0))))
    }

    /// Moves a manual clock forward; the system's clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Some(manual) = &self.0 {
            let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            manual.fetch_add(millis, Ordering::SeqCst);
        }
    }

    pub fn now(&self) -> Time {
        match &self.0 {
            Some(manual) => Time(manual.load(Ordering::SeqCst)),
            None => Time(u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Microseconds since the epoch, for positions of the revocation log.
    pub fn now_micros(&self) -> u64 {
        match &self.0 {
            Some(manual) => manual.load(Ordering::SeqCst).saturating_mul(1000),
            None => u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn since_epoch() -> Duration {
    // A clock before 1970 reads as 1970: everything is then unexpired for us, and our tokens are expired for the world.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

// === randomness ===

/// Random bytes for ids and keys.
#[expect(clippy::disallowed_methods, reason = "the one place that reads randomness")]
pub fn random<const N: usize>() -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoEntropy)?;
    Ok(bytes)
}

thread_local! {
    /// Where this thread's sequence of [`chance`] stands.
    static CHANCE: Cell<u64> = Cell::new(u64::from_ne_bytes(random().unwrap_or_default()));
}

/// A number by chance, all equally likely, in a nanosecond (SplitMix64, seeded anew on every thread). Whoever sees some can tell the
/// next: it decides which calls are sampled, and nothing that must not be guessed.
pub fn chance() -> u64 {
    let state = CHANCE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    CHANCE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("read the system's random generator")
    }
}

impl std::error::Error for NoEntropy {}
