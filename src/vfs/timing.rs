//! How long requests take, by opcode: of each worker's requests one in [`EVERY`] is timed, from when it was read until
//! its answer is written, so that the others pay nothing for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A prime, for what programs do comes in rounds.
pub(super) const EVERY: u64 = 17;

/// What the buckets hold at most, in microseconds; one more holds the rest.
pub const BOUNDS: [u64; 15] = [
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// The times of one opcode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Times {
    /// How many were in each bucket, the rest last.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Times {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The times of one opcode, as they are gathered.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// In nanoseconds.
    sum: AtomicU64,
}

impl Histogram {
    pub(super) const fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BOUNDS.len() + 1],
            sum: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|&bound| bound * 1000 < nanoseconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn times(&self) -> Times {
        Times {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.sum.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_bucket_that_holds_it() {
        let histogram = Histogram::new();
        for (took, bucket) in [(0, 0), (5_000, 0), (5_001, 1), (1_000_000, 7), (1_000_001, 8)] {
            let before = histogram.times().buckets[bucket];
            histogram.add(Duration::from_nanos(took));
            assert_eq!(histogram.times().buckets[bucket], before + 1, "{took}");
        }
        histogram.add(Duration::from_secs(1000));
        let times = histogram.times();
        assert_eq!((times.buckets[BOUNDS.len()], times.count()), (1, 6));
        assert_eq!(times.sum, Duration::new(1000, 2_010_002));
    }
}
