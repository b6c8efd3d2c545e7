//! How many workers a mount should have, by what is seen of them. Pure: no clock, no threads.

use std::time::{Duration, Instant};

/// What the workers of a mount do at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sample {
    /// How many there are.
    pub workers: usize,
    /// How many of them serve a request, or are about to come.
    pub busy: usize,
    /// How many requests they have begun since they exist.
    pub begun: u64,
    /// Whether a request waits that nobody is free for.
    pub waiting: bool,
}

/// What to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Advice {
    /// One worker more.
    Grow,
    /// All is well.
    Keep,
    /// So many workers less.
    Shrink(usize),
}

/// What was seen of a mount so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    last: Option<Sample>,
    /// How often in succession a request was seen to wait.
    pressed: u32,
    /// How often in succession nothing had moved by then.
    stuck: u32,
    since: Instant,
    /// The most that were busy at a time since then.
    peak: usize,
}

/// The most workers of one mount.
pub(super) const MOST: usize = 8;
/// How long workers are kept that are not needed.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// So often a request is seen to wait before those who do their work get company.
const PRESSED: u32 = 3;
/// So often nothing has moved on a full machine before that is taken for more than waiting for a processor.
const STUCK: u32 = 10;

impl Demand {
    /// Begins to look.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: None,
            pressed: 0,
            stuck: 0,
            since: now,
            peak: 0,
        }
    }

    /// Takes note of a moment. `room` tells whether a processor has nothing to do.
    pub(super) fn see(&mut self, now: Instant, sample: Sample, room: bool) -> Advice {
        let last = self.last.replace(sample);
        self.peak = self.peak.max(sample.busy);
        let moved = last.is_none_or(|last| (last.begun, last.workers) != (sample.begun, sample.workers));
        self.pressed = if sample.waiting { self.pressed + 1 } else { 0 };
        self.stuck = if sample.waiting && !moved {
            self.stuck + 1
        } else {
            0
        };
        // Those who hang need company at any rate; of those who compute, more than two compute no faster on a machine
        // that is full.
        let hangs = self.stuck >= if room { 1 } else { STUCK };
        let pressed = self.pressed >= PRESSED && (room || sample.workers < 2);
        if (hangs || pressed) && sample.workers < MOST {
            (self.pressed, self.stuck) = (0, 0);
            self.restart(now, sample.workers + 1);
            return Advice::Grow;
        }
        if now.duration_since(self.since) < PATIENCE {
            return Advice::Keep;
        }
        let surplus = sample.workers.saturating_sub(self.peak.max(1));
        self.restart(now, sample.busy);
        if surplus > 0 {
            Advice::Shrink(surplus)
        } else {
            Advice::Keep
        }
    }

    /// How many requests were begun since the moment before, by workers that still exist.
    pub(super) fn progress(&self, sample: Sample) -> u64 {
        // The first moment tells nothing: it counts what was long ago.
        self.last
            .map_or(0, |last| sample.begun.saturating_sub(last.begun))
    }

    fn restart(&mut self, now: Instant, peak: usize) {
        self.since = now;
        self.peak = peak;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(2);

    fn busy(workers: usize, begun: u64) -> Sample {
        Sample {
            workers,
            busy: workers,
            begun,
            waiting: true,
        }
    }

    fn advice(samples: &[Sample], room: bool) -> Vec<Advice> {
        let start = Instant::now();
        let mut demand = Demand::new(start);
        (1..)
            .zip(samples)
            .map(|(tick, &sample)| demand.see(start + tick * TICK, sample, room))
            .collect()
    }

    #[test]
    fn one_that_hangs_gets_company_at_once() {
        let hangs = [busy(1, 6), busy(1, 7), busy(1, 7)];
        let [.., second, third] = advice(&hangs, true)[..] else {
            panic!()
        };
        assert_eq!((second, third), (Advice::Keep, Advice::Grow));
    }

    #[test]
    fn on_a_full_machine_one_that_hangs_is_told_from_one_that_waits_for_a_processor() {
        let seen = advice(&[busy(2, 7); 12], false);
        assert_eq!(seen[..10], [Advice::Keep; 10]);
        assert_eq!(seen[10], Advice::Grow);
    }

    #[test]
    fn what_was_before_the_first_moment_is_no_progress() {
        let now = Instant::now();
        let mut demand = Demand::new(now);
        assert_eq!(demand.progress(busy(1, 1000)), 0);
        demand.see(now, busy(1, 1000), true);
        assert_eq!(demand.progress(busy(1, 1003)), 3);
    }

    #[test]
    fn a_moment_of_haste_is_no_reason_to_grow() {
        let calm = Sample {
            waiting: false,
            ..busy(1, 40)
        };
        let haste = [
            busy(1, 10),
            busy(1, 20),
            calm,
            busy(1, 30),
            busy(1, 40),
            busy(1, 50),
        ];
        let seen = advice(&haste, false);
        assert_eq!(seen[..5], [Advice::Keep; 5]);
        assert_eq!(seen[5], Advice::Grow);
    }

    #[test]
    fn more_than_two_need_room() {
        let work: Vec<_> = (1..).map(|begun| busy(2, begun)).take(6).collect();
        assert_eq!(advice(&work, false), [Advice::Keep; 6]);
        assert_eq!(advice(&work, true)[2], Advice::Grow);
    }

    #[test]
    fn there_are_never_more_than_the_most() {
        assert_eq!(advice(&[busy(MOST, 1); 10], true), [Advice::Keep; 10]);
    }

    #[test]
    fn those_that_were_not_needed_for_a_while_go() {
        let start = Instant::now();
        let mut demand = Demand::new(start);
        let mut begun = 0;
        let mut see = |ticks: u32| {
            begun += 10;
            let calm = Sample {
                workers: 4,
                busy: 2,
                begun,
                waiting: false,
            };
            demand.see(start + ticks * TICK, calm, true)
        };
        let whole = u32::try_from(PATIENCE.as_millis()).unwrap() / 2;
        for tick in 1..whole {
            assert_eq!(see(tick), Advice::Keep);
        }
        assert_eq!(see(whole), Advice::Shrink(2));
        assert_eq!(see(whole + 1), Advice::Keep);
    }
}
