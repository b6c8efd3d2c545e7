//! POSIX and flock locks of clients, carried to the backing as open file description locks.
//!
//! Each (inode, lock owner) has one open file of the backing, so that its locks are its own, meet those of other
//! mounts and of native programs, and end with it. fuser does not tell flock from POSIX locks: both are ranges,
//! as on NFS. Nobody ever sleeps in the kernel for a lock: who wants to wait is asked again and again by one
//! thread, and gives up when he has a signal pending (fuser knows no INTERRUPT).
//!
//! The closing of a file that had no locks when it was opened is not told (`FOPEN_NOFLUSH`): its locks end when the
//! kernel lets go of it, a moment after the last close. So who finds a lock in his way whose holder does not have the file
//! open any more waits for that moment.

mod ranges;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::error::{Error, Result};
use super::ids::LockOwner;
use super::journal::{LockSlots, NodeSlot};
use crate::backing::{self, Lock, LockKind};
use ranges::Ranges;

/// The locks of one node: few have any.
#[derive(Debug, Default)]
pub struct NodeLocks(OnceLock<Box<Owners>>);

type Owners = Mutex<HashMap<LockOwner, Held>>;

/// Who asks for a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Whose the lock is to be.
    pub owner: LockOwner,
    /// The process that asks, 0 if it is not visible here.
    pub process: u32,
}

#[derive(Debug)]
struct Held {
    /// The open file of the backing that bears the locks.
    fd: OwnedFd,
    process: u32,
    /// What is kept of them for the next daemon, in a mount that outlives this one.
    kept: Option<(Ranges, LockSlots)>,
}

impl NodeLocks {
    /// Takes or gives back a lock for an owner, whose open file `open` makes if he has none yet. It is kept for the next
    /// daemon if the node is, in a `slot`.
    ///
    /// # Errors
    /// [`Error::Locked`] if another holds it; those of `fcntl_locking(2)`.
    pub(super) fn set(
        &self, claim: Claim, lock: Lock, slot: Option<&NodeSlot>, open: impl FnOnce() -> Result<OwnedFd>,
    ) -> Result<()> {
        let mut owners = self.0.get_or_init(Box::default).lock();
        let held = match owners.entry(claim.owner) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if lock.kind == LockKind::Unlock => return Ok(()),
            Entry::Vacant(entry) => entry.insert(Held {
                fd: open()?,
                process: claim.process,
                kept: slot.map(|slot| (Ranges::default(), LockSlots::new(slot, claim.owner))),
            }),
        };
        if !backing::ofd_lock(held.fd.as_fd(), lock)? {
            return Err(Error::Locked);
        }
        held.process = claim.process;
        if let Some((ranges, slots)) = &mut held.kept {
            ranges.set(lock);
            slots.hold(ranges.as_slice());
        }
        Ok(())
    }

    /// Takes the locks again that an owner held under a former daemon, kept in these slots.
    ///
    /// # Errors
    /// [`Error::Locked`] if another was quicker, natively; those of `fcntl_locking(2)`.
    pub(super) fn take_over(
        &self, owner: LockOwner, locks: &[Lock], slots: LockSlots, fd: OwnedFd,
    ) -> Result<()> {
        let mut kept = (Ranges::default(), slots);
        let mut outcome = Ok(());
        for lock in locks {
            match backing::ofd_lock(fd.as_fd(), *lock) {
                Ok(true) => kept.0.set(*lock),
                Ok(false) => outcome = Err(Error::Locked),
                Err(error) => outcome = Err(error.into()),
            }
        }
        kept.1.hold(kept.0.as_slice());
        let held = Held {
            fd,
            // Who that was is not known: he is waited for until he gives them back.
            process: 0,
            kept: Some(kept),
        };
        self.0.get_or_init(Box::default).lock().insert(owner, held);
        outcome
    }

    /// Tells whether a process took a lock here that does not have the file open any more: then the lock may be about to
    /// end, unless others have inherited the open file.
    pub(super) fn is_ending(&self, has_open: impl Fn(u32) -> bool) -> bool {
        let Some(owners) = self.0.get() else { return false };
        let processes: Vec<_> = owners.lock().values().map(|held| held.process).collect();
        processes
            .into_iter()
            .any(|process| process != 0 && !has_open(process))
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
            Some(held) => Ok(backing::ofd_test(held.fd.as_fd(), lock)?),
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

/// How long one who does not want to wait does so all the same, where a lock is about to end.
const MOMENT: Duration = Duration::from_millis(20);
/// How long he waits between two tries.
const SHORT_PAUSE: Duration = Duration::from_millis(1);

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
    /// When he gives up.
    until: Option<Instant>,
}

impl Waiters {
    /// Waits for a lock in behalf of a thread, without holding up the calling one; only for a moment if he does not
    /// `want_to`. `done` gets the outcome.
    pub(super) fn wait(
        &self, pid: u32, want_to: bool, attempt: impl FnMut() -> Result<()> + Send + 'static,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        let mut queue = self.waiting.0.lock();
        queue.waiters.push(Waiter {
            attempt: Box::new(attempt),
            done: Box::new(done),
            pid,
            tries: 0,
            until: (!want_to).then(|| Instant::now() + MOMENT),
        });
        if queue.running {
            self.waiting.1.notify_all();
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

impl Waiter {
    fn pause(&self) -> Duration {
        match self.until {
            Some(_) => SHORT_PAUSE,
            None if self.tries < 100 => PAUSE,
            None => LONG_PAUSE,
        }
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
            let late = waiter.until.is_some_and(|until| Instant::now() >= until);
            if matches!(outcome, Err(Error::Locked)) && !late {
                pause = pause.min(waiter.pause());
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
