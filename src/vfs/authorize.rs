//! The chokepoint: every operation of the file system asks here, once, before it touches the backing.

use std::cell::Cell;

use super::error::Result;
use super::filesystem::{FileSystem, Seen};
use crate::policy::{Operation, Refusal, Standing, judge};

thread_local! {
    static ASKED: Cell<u32> = const { Cell::new(0) };
    static REFUSED: Cell<Option<(Operation, Refusal)>> = const { Cell::new(None) };
}

impl FileSystem {
    /// Judges an operation by the table of the design (`policy::operation`).
    ///
    /// # Errors
    /// The refusal, which is also what the caller sees.
    pub(super) fn authorize(&self, operation: &Operation) -> Result<()> {
        ASKED.with(|asked| asked.set(asked.get() + 1));
        judge(operation).inspect_err(|refusal| {
            REFUSED.set(Some((*operation, *refusal)));
            tracing::debug!(account = %self.options.viewer.account, ?operation, ?refusal, "refused");
        })?;
        Ok(())
    }

    /// Tells whether this is root in a folder of root, which is served as the bare directory would be.
    pub(super) fn is_bare(&self, seen: &Seen) -> bool {
        self.options.subject_ids.0 == 0 && seen.verdict.standing == Standing::Owner
    }
}

/// Tells how often this thread asked since the last call: the adapter holds each request to one question.
pub(super) fn take_asked() -> u32 {
    ASKED.with(|asked| asked.replace(0))
}

/// What this thread was refused last, for the one who tells why.
pub(super) fn take_refused() -> Option<(Operation, Refusal)> {
    REFUSED.take()
}

/// Forgets what this thread was refused before.
pub(super) fn forget_refused() {
    REFUSED.set(None);
}
