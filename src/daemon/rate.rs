//! So many at once, and so many a second in the long run. Pure: the clock is the caller's.

use std::time::{Duration, Instant};

/// What may still be spent: fills up again with time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    left: f64,
    seen: Instant,
}

/// How an allowance fills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// The most that it holds.
    pub at_once: u32,
    /// What comes back in a second.
    pub per_second: u32,
}

impl Allowance {
    /// A full one.
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self {
            left: f64::from(rate.at_once),
            seen: now,
        }
    }

    /// Spends one.
    ///
    /// # Errors
    /// How long it takes until there is one again.
    pub(super) fn spend(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.fill(rate, now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(
            (1.0 - self.left) / f64::from(rate.per_second),
        ))
    }

    /// Tells whether it holds all that it can, so that it may as well be forgotten.
    pub(super) fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        self.left >= f64::from(rate.at_once)
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.seen).as_secs_f64();
        self.seen = now;
        self.left = (self.left + passed * f64::from(rate.per_second)).min(f64::from(rate.at_once));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        at_once: 3,
        per_second: 2,
    };

    #[test]
    fn what_is_spent_comes_back_with_time_and_no_more() {
        let start = Instant::now();
        let mut allowance = Allowance::new(RATE, start);
        for _ in 0..3 {
            allowance.spend(RATE, start).unwrap();
        }
        assert_eq!(allowance.spend(RATE, start), Err(Duration::from_millis(500)));
        let later = start + Duration::from_millis(500);
        allowance.spend(RATE, later).unwrap();
        assert!(!allowance.is_full(RATE, later + Duration::from_secs(1)));
        let much_later = later + Duration::from_secs(3600);
        assert!(allowance.is_full(RATE, much_later));
        let spent = (0..10).filter(|_| allowance.spend(RATE, much_later).is_ok());
        assert_eq!(spent.count(), 3);
    }
}
