//! POSIX and flock locks of clients, carried to the backing as open file description locks.
//!
//! Each (inode, lock owner) has one open file of the backing, so that its locks are its own, meet those of other
//! mounts and of native programs, and end with it. fuser does not tell flock from POSIX locks: both are ranges,
//! as on NFS. Nobody ever sleeps in the kernel for a lock: who wants to wait is asked again and again by one
//! thread, and gives up when he has a signal pending (fuser knows no INTERRUPT).

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::{Error, Result};
use super::ids::LockOwner;
use super::node::Node;
use crate::backing::{self, Lock, LockKind};

/// The locks of one node: few have any.
#[derive(Debug, Default)]
pub struct NodeLocks(OnceLock<Box<Owners>>);

type Owners = Mutex<HashMap<LockOwner, OwnedFd>>;

impl NodeLocks {
    /// Takes or gives back a lock for an owner, whose open file `open` makes if he has none yet.
    ///
    /// # Errors
    /// [`Error::Locked`] if another holds it; those of `fcntl_locking(2)`.
    pub fn set(&self, owner: LockOwner, lock: Lock, open: impl FnOnce() -> Result<OwnedFd>) -> Result<()> {
        let mut owners = self.0.get_or_init(Box::default).lock();
        let fd = match owners.entry(owner) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(_) if lock.kind == LockKind::Unlock => return Ok(()),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(open()?),
        };
        if backing::ofd_lock(fd.as_fd(), lock)? {
            Ok(())
        } else {
            Err(Error::Locked)
        }
    }

    /// The lock that stands in the way of one; `None` if it could be had.
    ///
    /// # Errors
    /// Those of `fcntl_locking(2)`.
    pub fn test(
        &self, owner: LockOwner, lock: Lock, open: impl FnOnce() -> Result<OwnedFd>,
    ) -> Result<Option<Lock>> {
        let owners = self.0.get().map(|owners| owners.lock());
        match owners.as_ref().and_then(|owners| owners.get(&owner)) {
            Some(fd) => Ok(backing::ofd_test(fd.as_fd(), lock)?),
            None => Ok(backing::ofd_test(open()?.as_fd(), lock)?),
        }
    }

    /// Tells whether anybody has, or had, locks here: then it matters who closes the file.
    pub fn are_used(&self) -> bool {
        self.0.get().is_some()
    }

    /// Ends all locks of an owner: he closed the file.
    pub fn release(&self, owner: LockOwner) {
        if let Some(owners) = self.0.get() {
            owners.lock().remove(&owner);
        }
    }

    /// Ends all locks: no client has the file open any more.
    pub fn release_all(&self) {
        if let Some(owners) = self.0.get() {
            owners.lock().clear();
        }
    }
}

/// How long a waiter waits between two tries; others may free the lock natively, of which nobody tells.
const PAUSE: Duration = Duration::from_millis(5);
/// The longest pause, for those who wait long.
const LONG_PAUSE: Duration = Duration::from_millis(50);

/// Those who wait for locks of one mount, and the thread that asks for them.
#[derive(Default)]
pub(super) struct Waiters {
    waiting: Arc<(Mutex<Queue>, Condvar)>,
}

#[derive(Default)]
struct Queue {
    running: bool,
    waiters: Vec<Waiter>,
}

/// One who waits.
struct Waiter {
    /// Tries once; `Err(Locked)` means to try again.
    attempt: Box<dyn FnMut() -> Result<()> + Send>,
    done: Box<dyn FnOnce(Result<()>) + Send>,
    pid: u32,
    tries: u32,
}

impl Waiters {
    /// Waits for a lock in behalf of a thread, without holding up the calling one. `done` gets the outcome.
    pub(super) fn wait(
        &self, pid: u32, attempt: impl FnMut() -> Result<()> + Send + 'static,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        let mut queue = self.waiting.0.lock();
        queue.waiters.push(Waiter {
            attempt: Box::new(attempt),
            done: Box::new(done),
            pid,
            tries: 0,
        });
        if queue.running {
            return;
        }
        let waiting = Arc::clone(&self.waiting);
        match std::thread::Builder::new()
            .name("locks".into())
            .spawn(move || serve(&waiting))
        {
            Ok(_) => queue.running = true,
            Err(error) => {
                tracing::error!(%error, "cannot start the thread that waits for locks");
                for waiter in queue.waiters.drain(..) {
                    (waiter.done)(Err(Error::Backing(std::io::Error::from_raw_os_error(
                        libc::ENOLCK,
                    ))));
                }
            }
        }
    }

    /// Lets all waiters go: a lock was given back, so one of them may have it now.
    pub(super) fn wake(&self) {
        self.waiting.1.notify_all();
    }
}

/// Serves the waiters until there is none.
fn serve((queue, woken): &(Mutex<Queue>, Condvar)) {
    loop {
        let mut waiters = {
            let mut queue = queue.lock();
            if queue.waiters.is_empty() {
                queue.running = false;
                return;
            }
            std::mem::take(&mut queue.waiters)
        };
        let mut pause = LONG_PAUSE;
        let mut left = Vec::with_capacity(waiters.len());
        for mut waiter in waiters.drain(..) {
            waiter.tries = waiter.tries.saturating_add(1);
            let outcome = match (waiter.attempt)() {
                Err(Error::Locked) if backing::signal_pending(waiter.pid) => Err(Error::Interrupted),
                outcome => outcome,
            };
            if let Err(Error::Locked) = outcome {
                pause = pause.min(if waiter.tries < 100 { PAUSE } else { LONG_PAUSE });
                left.push(waiter);
            } else {
                (waiter.done)(outcome);
            }
        }
        let mut queue = queue.lock();
        queue.waiters.append(&mut left);
        if !queue.waiters.is_empty() {
            woken.wait_for(&mut queue, pause);
        }
    }
}

/// Keeps the type in the signature of [`Waiters::wait`]'s callers readable.
pub(super) fn on_node(
    node: Arc<Node>, owner: LockOwner, lock: Lock, open: impl Fn() -> Result<OwnedFd> + Send + 'static,
) -> impl FnMut() -> Result<()> + Send + 'static {
    move || node.locks.set(owner, lock, &open)
}
