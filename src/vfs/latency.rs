//! Keeps the processors awake while requests follow each other closely.
//!
//! Most of the time that a small request takes goes by until a halted processor is awake. While a file is held open
//! to which 0 was written, `/dev/cpu_dma_latency` keeps idle processors from halting
//! (`Documentation/admin-guide/pm/cpuidle.rst`); those that have work are not touched. That is so for the whole
//! machine, therefore it is let go a few milliseconds after the last request.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the kernel takes the wish.
pub const DEVICE: &str = "/dev/cpu_dma_latency";

/// Requests follow each other closely where the mean time from one to the next is shorter than this. With longer
/// ones the waking is a small part of the whole.
const CLOSELY: Duration = Duration::from_micros(200);
/// Over less than this no mean is taken.
const SPAN: Duration = Duration::from_millis(1);
/// So long after the last of them it is let go.
const AFTER: Duration = Duration::from_millis(5);

/// Holds the processors awake, or not.
#[derive(Debug)]
pub(super) struct Latency {
    device: PathBuf,
    held: Option<File>,
    /// The requests since the last mean was taken, and when that was.
    requests: u64,
    before: Instant,
    /// Since when requests do not follow each other closely.
    apart: Instant,
    close: bool,
    refused: bool,
}

impl Latency {
    /// Holds nothing yet.
    pub(super) fn new(device: &Path, now: Instant) -> Self {
        Self {
            device: device.into(),
            held: None,
            requests: 0,
            before: now,
            apart: now,
            close: false,
            refused: false,
        }
    }

    /// Takes note of how many requests there were since the last time, and holds or lets go.
    pub(super) fn see(&mut self, now: Instant, requests: u64, allowed: bool) {
        self.requests += requests;
        let passed = now.duration_since(self.before);
        if passed >= SPAN {
            let requests = u32::try_from(self.requests).unwrap_or(u32::MAX);
            self.close = CLOSELY.saturating_mul(requests) > passed;
            (self.requests, self.before) = (0, now);
        }
        if self.close {
            self.apart = now;
        }
        if !allowed || now.duration_since(self.apart) >= AFTER {
            self.held = None;
        } else if self.close && self.held.is_none() && !self.refused {
            self.hold();
        }
    }

    /// Tells whether it is held.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Tells whether it would be held if the machine had what it takes.
    pub(super) fn is_missed(&self) -> bool {
        self.close && self.refused
    }

    fn hold(&mut self) {
        match hold(&self.device) {
            Ok(held) => self.held = Some(held),
            Err(error) => {
                let device = self.device.display();
                tracing::info!(%error, %device, "requests wait for processors that sleep");
                self.refused = true;
            }
        }
    }
}

/// Keeps all processors awake as long as the file is open.
///
/// # Errors
/// Those of `open(2)` and `write(2)`.
fn hold(device: &Path) -> std::io::Result<File> {
    let mut held = File::options().write(true).open(device)?;
    held.write_all(&0_i32.to_ne_bytes())?;
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(2);

    /// What was written, and whether it was held after each tick.
    fn hold_for(requests: &[u64]) -> (Vec<u8>, Vec<bool>) {
        let device = tempfile::NamedTempFile::new().unwrap();
        let start = Instant::now();
        let mut latency = Latency::new(device.path(), start);
        let held = (1..)
            .zip(requests)
            .map(|(tick, &requests)| {
                latency.see(start + tick * TICK, requests, true);
                latency.is_held()
            })
            .collect();
        (std::fs::read(device.path()).unwrap(), held)
    }

    #[test]
    fn single_requests_hold_nothing() {
        assert_eq!(hold_for(&[1, 3, 0, 0, 9, 10]), (vec![], vec![false; 6]));
    }

    #[test]
    fn what_follows_closely_is_held_until_a_few_milliseconds_after() {
        let (written, held) = hold_for(&[50, 40, 0, 20, 0, 1, 0, 0]);
        assert_eq!(written, [0; 4]);
        assert_eq!(held, [true, true, true, true, true, true, false, false]);
    }

    #[test]
    fn two_at_the_same_moment_do_not_make_a_mean() {
        let device = tempfile::NamedTempFile::new().unwrap();
        let start = Instant::now();
        let mut latency = Latency::new(device.path(), start);
        for moment in 1..100 {
            // Each of many mounts has a request of its own, and calls.
            latency.see(start + TICK * moment / 20, moment.is_multiple_of(20).into(), true);
            assert!(!latency.is_held(), "{moment}");
        }
    }

    #[test]
    fn without_the_device_it_is_missed_and_asked_for_once() {
        let directory = tempfile::tempdir().unwrap();
        let device = directory.path().join("device");
        let start = Instant::now();
        let mut latency = Latency::new(&device, start);
        latency.see(start + TICK, 50, true);
        std::fs::write(&device, "").unwrap();
        latency.see(start + 2 * TICK, 50, true);
        assert!(latency.is_missed() && !latency.is_held());
        latency.see(start + 3 * TICK, 1, true);
        assert!(!latency.is_missed());
    }

    #[test]
    fn it_is_let_go_at_once_where_it_is_not_allowed() {
        let device = tempfile::NamedTempFile::new().unwrap();
        let start = Instant::now();
        let mut latency = Latency::new(device.path(), start);
        latency.see(start + TICK, 50, true);
        latency.see(start + 2 * TICK, 50, false);
        assert!(!latency.is_held());
    }
}
