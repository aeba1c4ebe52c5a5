//! The seeded source of every choice of a run.

use std::time::Duration;

use parking_lot::Mutex;

/// SplitMix64: the same seed makes the same choices on every machine.
#[derive(Debug)]
pub struct Chance(Mutex<u64>);

// === impl Chance ===

impl Chance {
    pub fn new(seed: u64) -> Self {
        // One round first, so that neighbouring seeds do not begin alike.
        let chance = Self(Mutex::new(seed));
        let mixed = chance.next();
        *chance.0.lock() = mixed;
        chance
    }

    pub fn next(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from(self.next() % bound).unwrap()
    }

    /// True once in `n` times.
    pub fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub fn bytes(&self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()
    }

    /// Whole milliseconds, tokio's grain, from `from` to below `to`.
    pub fn millis(&self, from: usize, to: usize) -> Duration {
        Duration::from_millis(u64::try_from(from + self.below(to - from)).unwrap())
    }

    /// How long a message travels: mostly next to nothing, now and then longer than anybody waits.
    pub fn travel(&self) -> Duration {
        match self.below(100) {
            0..=1 => self.millis(200, 1400),
            2..=9 => self.millis(20, 200),
            _ => self.millis(0, 6),
        }
    }
}
