//! How many files all mounts together may have open, so that the daemon keeps descriptors for all else.

use std::sync::atomic::{AtomicIsize, Ordering};

/// How many files all mounts together may have open yet.
#[derive(Debug)]
pub(super) struct Budget(AtomicIsize);

impl Budget {
    /// So many.
    pub(super) fn new(files: usize) -> Self {
        Self(AtomicIsize::new(files.try_into().unwrap_or(isize::MAX)))
    }

    /// Takes one; tells whether there was any.
    pub(super) fn take(&self) -> bool {
        let less = |left: isize| (left > 0).then_some(left - 1);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .is_ok()
    }

    /// Takes what is open already.
    pub(super) fn take_anyway(&self, files: usize) {
        self.0.fetch_sub(files.cast_signed(), Ordering::AcqRel);
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&self, files: usize) {
        self.0.fetch_add(files.cast_signed(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_over_counts_though_there_was_no_room() {
        let budget = Budget::new(2);
        budget.take_anyway(3);
        assert!(!budget.take());
        budget.give_back(2);
        assert!(budget.take() && !budget.take());
    }
}
