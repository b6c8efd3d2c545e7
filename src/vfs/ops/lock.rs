//! getlk, setlk: POSIX locks and flock, see [`crate::vfs::locks`].

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::backing::{self, Lock, LockKind};
use crate::policy::Operation;
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::{Caller, FileSystem, Seen};
use crate::vfs::handles::OpenFile;
use crate::vfs::ids::{Fh, LockOwner};
use crate::vfs::locks::Claim;
use crate::vfs::node::Node;
use crate::vfs::shared::Shared;

impl FileSystem {
    /// The lock that stands in the way of one, if any.
    ///
    /// # Errors
    /// EACCES without the right that the lock needs; those of `fcntl_locking(2)`.
    pub fn getlk(&self, fh: Fh, owner: LockOwner, lock: Lock) -> Result<Option<Lock>> {
        let (seen, file) = self.judge_lock(fh, lock)?;
        let fd = self.fd(&seen)?;
        file.node.locks.test(owner, lock, || open_for(&seen, &fd, lock))
    }

    /// Takes, changes or gives back a lock. With `wait` it is `done` that gets the outcome, at once or later, in
    /// another thread.
    pub fn setlk(
        &self, caller: Caller, fh: Fh, claim: Claim, lock: Lock, wait: bool,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        let (seen, file, fd) = match self.judge_lock(fh, lock) {
            Ok((seen, file)) => match self.fd(&seen) {
                Ok(fd) => (seen, file, fd),
                Err(error) => return done(Err(error)),
            },
            Err(error) => return done(Err(error)),
        };
        if lock.kind != LockKind::Unlock {
            file.locked_by(claim.owner);
        }
        let node = Arc::clone(&file.node);
        let attempt = move || {
            node.locks
                .set(claim, lock, node.slot(), || open_for(&seen, &fd, lock))
        };
        let outcome = attempt();
        // The locks of who closed the file without a word end in a moment.
        let ending = matches!(outcome, Err(Error::Locked)) && self.shared.is_lock_ending(&file.node);
        if lock.kind != LockKind::Write {
            // Others may have what was given back, or what was a write lock before.
            self.waiters.wake();
        }
        match outcome {
            Err(Error::Locked) if wait || ending => {
                self.waiters.wait(caller.pid, wait, attempt, done);
            }
            outcome => done(outcome),
        }
    }

    /// A lock keeps others out: to read while one reads needs `read`, to be alone needs `write`.
    fn judge_lock(&self, fh: Fh, lock: Lock) -> Result<(Seen, Arc<OpenFile>)> {
        let file = self.handles.file(fh)?;
        let seen = self.with_view(|view| {
            let seen = self.seen_node(view, Arc::clone(&file.node))?;
            self.authorize(&match lock.kind {
                LockKind::Read => Operation::Read(seen.verdict),
                LockKind::Write => Operation::Write(seen.verdict),
                LockKind::Unlock => Operation::Close,
            })?;
            Ok(seen)
        })?;
        Ok((seen, file))
    }
}

impl Shared {
    /// Tells whether a process took a lock on a file, in whatever mount, that has closed it since.
    fn is_lock_ending(&self, node: &Node) -> bool {
        let mut any = false;
        for mount in self.mounts() {
            mount.nodes.each_of(node.ino.family(), |node| {
                any |= node
                    .locks
                    .is_ending(|process| backing::has_open(process, node.ino.0));
            });
        }
        any
    }
}

/// Opens the backing for a lock: a lock of one's own needs a file of one's own.
pub(in crate::vfs) fn open_for(seen: &Seen, fd: &OwnedFd, lock: Lock) -> Result<OwnedFd> {
    let _as = seen.folder.backing.credentials().assume()?;
    // Both kinds of lock may follow each other on one open file.
    match backing::reopen(fd, libc::O_RDWR) {
        Err(_) if lock.kind == LockKind::Read => Ok(backing::reopen(fd, libc::O_RDONLY)?),
        opened => Ok(opened?),
    }
}
