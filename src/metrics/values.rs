//! Values as they are read: families of points, and distributions.

use std::borrow::Cow;

/// How a value may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instrument {
    /// It only grows.
    Counter,
    Gauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    None,
    Seconds,
    Bytes,
}

/// One metric with its current values.
#[derive(Debug)]
pub struct Family {
    /// As OpenTelemetry writes it; [`super::text::name`] is Prometheus's.
    pub name: &'static str,
    pub help: &'static str,
    pub unit: Unit,
    pub points: Points,
}

#[derive(Debug)]
pub enum Points {
    Counter(Vec<Point<f64>>),
    Gauge(Vec<Point<f64>>),
    Histogram(Vec<Point<Distribution>>),
}

/// A value and the labels that distinguish it from the other points of its family.
#[derive(Clone, Debug)]
pub struct Point<T> {
    pub labels: Labels,
    pub value: T,
}

/// Names and values, from closed sets only.
pub type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// A histogram of durations.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// How many took at most the bound at the same place of [`BOUNDS_SECONDS`], and more than the one before; one more
    /// at the end for what took longer than all of them.
    pub buckets: [u64; BUCKETS],
    pub sum_seconds: f64,
}

/// Upper bounds of the buckets. From 5 ms on those that OpenTelemetry recommends for calls; most calls take less.
pub const BOUNDS_SECONDS: [f64; BUCKETS - 1] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0,
];
pub(super) const BOUNDS_NANOS: [u64; BUCKETS - 1] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];
pub const BUCKETS: usize = 20;

// === impl Distribution ===

impl Distribution {
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.wrapping_add(*bucket))
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (own, more) in self.buckets.iter_mut().zip(other.buckets) {
            *own = own.wrapping_add(more);
        }
        self.sum_seconds += other.sum_seconds;
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], sum_seconds: 0.0 }
    }
}

/// A count as a floating-point value: exact up to 2^53.
pub fn number(count: u64) -> f64 {
    let half = |bits: u64| f64::from(u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX));
    half(count >> 32) * 4_294_967_296.0 + half(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_numbers_without_loss() {
        assert_eq!(number(0), 0.0);
        assert_eq!(number(4_294_967_296), 4_294_967_296.0);
        assert_eq!(number(9_007_199_254_740_991), 9_007_199_254_740_991.0);
    }
}
