//! Files that are written all the time: for each write to be told would double what the write costs.
//!
//! Who was written to in two rounds of reading one after the other is not listened to for a while, and taken to be
//! written to when that is over. So between the last write and the word of it there are never more than [`HUSH`]
//! and one round, and while it lasts a write costs what it costs without a watcher.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::{Batch, Watched};
use crate::backing::{Change, Changed, Watch};

/// How long a busy file is not listened to.
pub(super) const HUSH: Duration = Duration::from_millis(20);
/// More files than this are not busy: it costs some system calls for each.
const MOST: usize = 64;
/// Of so many files it is kept that they were written to.
const REMEMBERED: usize = 4096;

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Busy {
    hushed: HashMap<Changed, Hushed>,
    /// Written to in this round, and in the one before, by [`short`].
    written: HashSet<u64>,
    before: HashSet<u64>,
    ended: Option<Instant>,
}

#[derive(Debug)]
struct Hushed {
    /// Holds the mark's inode, also when its last name goes.
    file: OwnedFd,
    until: Instant,
}

impl Busy {
    /// Tells whether any file may be found to be busy in the next round.
    pub(super) fn is_any(&self) -> bool {
        !self.before.is_empty() && self.ended.is_some_and(|ended| ended.elapsed() < HUSH)
    }

    /// How long until one has to be listened to again.
    pub(super) fn due(&self) -> Option<Duration> {
        let until = self.hushed.values().map(|hushed| hushed.until).min()?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Takes a write to a file; tells whether it is told later.
    pub(super) fn hush(&mut self, file: &Changed, watch: &Watch, watched: &Watched) -> bool {
        if self.hushed.contains_key(file) {
            return true;
        }
        let short = short(file);
        if self.before.contains(&short)
            && self
                .ended
                .is_some_and(|ended| ended.elapsed() < HUSH + super::BATCH)
            && self.hushed.len() < MOST
            && let Some(fd) = watched.open(file)
            && watch.ignore_content(&fd).is_ok()
        {
            let until = Instant::now() + HUSH;
            self.hushed.insert(file.clone(), Hushed { file: fd, until });
            return true;
        }
        if self.written.len() < REMEMBERED {
            self.written.insert(short);
        }
        false
    }

    /// Listens again to whom it is time to, and tells of them.
    pub(super) fn end_round(&mut self, watch: &Watch, batch: &mut Batch) {
        let now = Instant::now();
        self.before = std::mem::take(&mut self.written);
        self.ended = Some(now);
        for (file, hushed) in self.hushed.extract_if(|_, hushed| hushed.until <= now) {
            // First to listen and then to tell: what comes in between is told twice.
            if let Err(error) = watch.heed_content(&hushed.file) {
                tracing::debug!(%error, "a file is not listened to any more");
            }
            self.before.insert(short(&file));
            batch.add(Change::Content(file));
        }
    }
}

/// A number for a file. Who has the same by chance may be taken to be busy.
fn short(file: &Changed) -> u64 {
    let mut hasher = DefaultHasher::new();
    file.file.hash(&mut hasher);
    hasher.finish()
}
