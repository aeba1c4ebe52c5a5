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

use jeton_core::Time;
use jeton_core::id::{Id, Tag};

/// Tells the time: the system's, or one that a test sets.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

/// Ids that nobody has had before.
pub trait Fresh: Sized {
    /// A new id.
    fn random() -> Result<Self, NoEntropy>;

    /// A new id of which there will be many: it begins with its time, so that what is made together stands together.
    fn made_at(now: Time) -> Result<Self, NoEntropy>;
}

/// The system's random generator failed. Nothing can be issued without it.
#[derive(Debug)]
pub struct NoEntropy;

// === impl Clock ===

impl Clock {
    /// A clock that stands at `start` until it is moved.
    pub fn manual(start: Time) -> Self {
        Self(Some(Arc::new(AtomicU64::new(start.as_millis()))))
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
            Some(manual) => Time::from_millis(manual.load(Ordering::SeqCst)),
            None => Time::from_millis(u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)),
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

impl<K: Tag> Fresh for Id<K> {
    fn random() -> Result<Self, NoEntropy> {
        Ok(Self::from_bytes(random()?))
    }

    fn made_at(now: Time) -> Result<Self, NoEntropy> {
        Ok(Self::from_time(now, random()?))
    }
}

thread_local! {
    /// Where this thread's sequence of [`chance`] stands.
    static CHANCE: Cell<u64> = Cell::new(u64::from_ne_bytes(random().unwrap_or_default()));
}

/// A number by chance, all equally likely, in a nanosecond (SplitMix64, seeded anew on every thread). From some of them
/// one can compute the next: it decides which calls are sampled, and nothing that must not be guessed.
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
