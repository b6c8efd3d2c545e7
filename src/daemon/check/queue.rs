//! What a check found and was not asked for yet.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::control::answers::{Checking, Finding};

/// So many findings wait; the check waits with the next one.
const MOST: usize = 256;
/// Who does not ask on for so long has gone.
const GONE: Duration = Duration::from_secs(30);
/// For so long nobody takes his check from him.
const BUSY: Duration = Duration::from_secs(5);

/// See the module's doc.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

struct Waiting {
    checking: Checking,
    asked: Instant,
    abandoned: bool,
}

impl Waiting {
    fn is_abandoned(&self) -> bool {
        self.abandoned || self.asked.elapsed() > GONE
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                checking: Checking::default(),
                asked: Instant::now(),
                abandoned: false,
            }),
            changed: Condvar::new(),
        }
    }
}

/// Nobody asks any more.
#[derive(Debug)]
pub(super) struct Abandoned;

impl Queue {
    /// Adds a finding, as soon as there is room.
    pub(super) fn push(&self, finding: Finding) -> Result<(), Abandoned> {
        let mut waiting = self.waiting.lock();
        while waiting.checking.findings.len() >= MOST {
            if waiting.is_abandoned() {
                return Err(Abandoned);
            }
            self.changed.wait_for(&mut waiting, GONE);
        }
        waiting.checking.findings.push(finding);
        self.changed.notify_all();
        Ok(())
    }

    /// Notes how far it is.
    pub(super) fn looked(&self, more: u64, folder: &str) -> Result<(), Abandoned> {
        let mut waiting = self.waiting.lock();
        if waiting.is_abandoned() {
            return Err(Abandoned);
        }
        let checking = &mut waiting.checking;
        checking.looked += more;
        if checking.folder.as_deref() != Some(folder) {
            checking.folder = Some(folder.into());
        }
        Ok(())
    }

    /// There is no more.
    pub(super) fn end(&self) {
        self.waiting.lock().checking.ended = true;
        self.changed.notify_all();
    }

    /// What was found since the last time; waits a while for something, and for more that comes at once.
    pub(super) fn take(&self, patience: Duration) -> Checking {
        let deadline = Instant::now() + patience;
        let mut waiting = self.waiting.lock();
        waiting.asked = Instant::now();
        while !waiting.checking.ended && waiting.checking.findings.len() < MOST {
            if self.changed.wait_until(&mut waiting, deadline).timed_out() {
                break;
            }
        }
        waiting.asked = Instant::now();
        let findings = std::mem::take(&mut waiting.checking.findings);
        self.changed.notify_all();
        Checking {
            findings,
            ..waiting.checking.clone()
        }
    }

    /// Tells whether someone still asks on, or may.
    pub(super) fn is_wanted(&self) -> bool {
        let waiting = self.waiting.lock();
        !waiting.checking.ended && waiting.asked.elapsed() <= BUSY
    }

    /// Ends the check: another one is begun.
    pub(super) fn abandon(&self) {
        self.waiting.lock().abandoned = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_come_once_each_and_in_order_however_slowly_they_are_taken() {
        let queue = std::sync::Arc::new(Queue::default());
        let fills = std::sync::Arc::clone(&queue);
        let filler = std::thread::spawn(move || {
            for number in 0..3 * MOST {
                fills.push(Finding::ok("test", number.to_string())).unwrap();
            }
            fills.end();
        });
        let mut told = Vec::new();
        loop {
            let checking = queue.take(Duration::from_secs(10));
            assert!(checking.findings.len() <= MOST);
            told.extend(checking.findings.into_iter().map(|finding| finding.what));
            if checking.ended {
                break;
            }
        }
        filler.join().unwrap();
        assert!(!queue.is_wanted());
        let expected: Vec<_> = (0..3 * MOST).map(|number| number.to_string()).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_check_that_is_given_up_does_not_wait_for_room() {
        let queue = Queue::default();
        for _ in 0..MOST {
            queue.push(Finding::ok("test", "")).unwrap();
        }
        queue.abandon();
        assert!(queue.push(Finding::ok("test", "")).is_err());
        assert!(queue.looked(1, "folder").is_err());
    }
}
