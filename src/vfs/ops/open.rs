//! open, release, flush.

use std::sync::Arc;

use crate::backing;
use crate::policy::{Operation, Refusal};
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::{FileSystem, Seen};
use crate::vfs::ids::{Fh, Ino, LockOwner};

/// What of the client's flags reaches the backing. O_APPEND is told with each write, O_TRUNC comes as a truncate,
/// O_DIRECT would put demands on the buffers that the client does not know of.
const PASSED_ON: i32 = libc::O_ACCMODE | libc::O_SYNC | libc::O_DSYNC;

impl FileSystem {
    /// Opens a file.
    ///
    /// # Errors
    /// EACCES without the rights that the flags need.
    pub fn open(&self, ino: Ino, flags: i32) -> Result<Fh> {
        self.with_view(|view| {
            let seen = self.verify(view, self.seen(view, ino)?)?;
            self.authorize(&opening(&seen, flags))?;
            self.open_judged(&seen, flags)
        })
    }

    /// Opens what was judged.
    pub(super) fn open_judged(&self, seen: &Seen, flags: i32) -> Result<Fh> {
        let path = self.fd(seen)?;
        let _as = seen.folder.backing.credentials().assume()?;
        let fd = backing::reopen(&path, flags & (PASSED_ON | libc::O_TRUNC))?;
        let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
        self.handles.open_file(&seen.node, fd, writable)
    }

    /// Ends what a client's `close` ends: his POSIX locks. Needs no right: it takes nothing and tells nothing.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn flush(&self, fh: Fh, owner: LockOwner) -> Result<()> {
        let file = self.handles.file(fh)?;
        file.node.locks.release(owner);
        self.waiters.wake();
        Ok(())
    }

    /// Forgets a handle: the last descriptor and mapping of it are gone. Needs no right, like [`FileSystem::flush`].
    pub fn release(&self, fh: Fh, flock_owner: Option<LockOwner>) {
        let Some(file) = self.handles.release_file(fh) else {
            return;
        };
        let node = Arc::clone(&file.node);
        if let Some(owner) = flock_owner {
            node.locks.release(owner);
        }
        drop(file);
        if !node.is_open() {
            node.locks.release_all();
        }
        self.waiters.wake();
    }
}

/// The question that opening with these flags asks.
pub(super) fn opening(seen: &Seen, flags: i32) -> Operation {
    let mode = flags & libc::O_ACCMODE;
    // O_TRUNC writes, whatever the access mode. The mode 3 is for ioctl alone, and asks for both.
    let write = mode != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
    Operation::Open {
        entry: seen.verdict,
        read: mode != libc::O_WRONLY,
        write,
    }
}

/// Turns a refusal on something open into what the kernel answers on a handle that was cut.
pub(super) fn revoked(error: Error) -> Error {
    match error {
        Error::Refused(Refusal::NotFound | Refusal::Access | Refusal::NotPermitted) => Error::Revoked,
        other => other,
    }
}
