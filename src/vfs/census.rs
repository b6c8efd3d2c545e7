//! Which inodes the kernel of any mount may know: of most files on a file system no mount has ever heard, and what
//! others do to them must cost next to nothing, however many folders and mounts there are.
//!
//! Counts by a number that other inodes may share: so it never says no wrongly, and yes wrongly now and then.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use super::ids::Ino;

/// The counters are made so many at a time (4 KiB), where inodes are known: numbers of one directory lie together.
const CHUNK: usize = 2048;
const CHUNKS: usize = 1024;

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Census {
    chunks: Box<[OnceLock<Box<[AtomicU16]>>]>,
}

impl Default for Census {
    fn default() -> Self {
        Self {
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
        }
    }
}

impl Census {
    /// Counts a node of an inode in.
    pub(super) fn comes(&self, ino: Ino) {
        let (chunk, at) = place(ino);
        let counters = self.chunks[chunk].get_or_init(|| (0..CHUNK).map(|_| AtomicU16::new(0)).collect());
        update(&counters[at], |count| count.saturating_add(1));
    }

    /// Counts it out.
    pub(super) fn goes(&self, ino: Ino) {
        let (chunk, at) = place(ino);
        if let Some(counters) = self.chunks[chunk].get() {
            // What could not be counted up any more stays for good.
            update(&counters[at], |count| {
                if count == u16::MAX {
                    count
                } else {
                    count.saturating_sub(1)
                }
            });
        }
    }

    /// Tells whether there may be a node of an inode.
    pub(super) fn may_know(&self, ino: Ino) -> bool {
        let (chunk, at) = place(ino);
        self.chunks[chunk]
            .get()
            .is_some_and(|counters| counters[at].load(Ordering::Acquire) > 0)
    }
}

fn update(counter: &AtomicU16, change: impl Fn(u16) -> u16) {
    let _ = counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| Some(change(count)));
}

/// All nodes of an inode have one.
fn place(ino: Ino) -> (usize, usize) {
    let number = ino.family().0;
    // The folder stands in the high bits.
    let mixed = number.wrapping_add((number >> 32).wrapping_mul(0x9E37_79B9));
    let at = mixed as usize % (CHUNK * CHUNKS);
    (at / CHUNK, at % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::FolderId;

    #[test]
    fn what_came_is_known_until_all_of_it_went() {
        let census = Census::default();
        let ino = Ino::of(FolderId(3), 77).unwrap();
        assert!(!census.may_know(ino));
        census.comes(ino);
        census.comes(ino.salted(2).unwrap());
        census.goes(ino);
        assert!(census.may_know(ino));
        census.goes(ino.salted(2).unwrap());
        assert!(!census.may_know(ino));
        census.goes(ino);
        census.comes(ino);
        assert!(census.may_know(ino), "what never came has not gone");
    }

    #[test]
    fn more_than_can_be_counted_is_known_for_good() {
        let census = Census::default();
        let ino = Ino::of(FolderId(3), 77).unwrap();
        (0..=u16::MAX).for_each(|_| census.comes(ino));
        (0..u16::MAX).for_each(|_| census.goes(ino));
        assert!(census.may_know(ino));
    }

    #[test]
    fn the_same_numbers_of_other_folders_are_told_apart() {
        let census = Census::default();
        for number in 0..1000 {
            census.comes(Ino::of(FolderId(1), 500_000 + number).unwrap());
        }
        let others = (2..1000).map(|folder| Ino::of(FolderId(folder), 500_123).unwrap());
        let known = others.filter(|ino| census.may_know(*ino)).count();
        assert!(known < 20, "{known} of 998");
    }
}
