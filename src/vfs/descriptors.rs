//! The `O_PATH` descriptors of nodes: those in use are held, the rest is opened anew by file handle.
//!
//! The kernel may know of more files than a process may have open, and a descriptor keeps the space of a file that
//! was removed behind the daemon's back. So at most so many are held, and those that nobody asked for in the last
//! second or two are let go. A node without handle, and one with an open file (it may have no name left), keeps its
//! descriptor as long as it lives.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::{Error, Result};
use super::node::{Node, Object, Opened};
use super::view::FolderView;
use crate::backing;

/// How many are considered at most to let one go: a request must not walk the whole queue.
const CONSIDERED: usize = 64;
/// How often those that are not in use are looked for.
const ROUND: Duration = Duration::from_secs(1);

/// Which nodes hold a descriptor, and the thread that lets go of those not in use.
#[derive(Debug)]
pub(super) struct Descriptors {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    /// In the order in which they came to it.
    queue: Mutex<VecDeque<Weak<Node>>>,
    filled: Condvar,
    limit: usize,
}

impl Descriptors {
    /// At most `limit` are held for nodes that can do without.
    pub(super) fn new(limit: usize) -> Self {
        let held = Arc::new(Held {
            queue: Mutex::default(),
            filled: Condvar::new(),
            limit,
        });
        let watched = Arc::downgrade(&held);
        let spawned = std::thread::Builder::new()
            .name("descriptors".into())
            .spawn(move || sweep(&watched));
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread lets go of descriptors: removed files keep their space for longer");
        }
        Self { held }
    }

    /// The descriptor of a node, opened anew if it was let go. To be called with the daemon's own credentials.
    pub(super) fn of(&self, folder: &FolderView, node: &Arc<Node>) -> Result<Arc<OwnedFd>> {
        let mut descriptor = node.descriptor.lock();
        descriptor.used = true;
        if let Some(fd) = &descriptor.fd {
            return Ok(Arc::clone(fd));
        }
        let handle = node.object.handle.as_ref().ok_or(Error::Stale)?;
        let fd = Arc::new(backing::open_handle(
            folder.backing.anchor()?,
            handle,
            libc::O_PATH | libc::O_NOFOLLOW,
        )?);
        descriptor.fd = Some(Arc::clone(&fd));
        drop(descriptor);
        self.enqueue(node);
        Ok(fd)
    }

    /// Gives a node the descriptor that was opened to find it.
    pub(super) fn keep(&self, node: &Arc<Node>, opened: &Arc<OwnedFd>) {
        {
            let mut descriptor = node.descriptor.lock();
            descriptor.used = true;
            descriptor.fd.get_or_insert_with(|| Arc::clone(opened));
        }
        self.enqueue(node);
    }

    fn enqueue(&self, node: &Arc<Node>) {
        if node.object.handle.is_none() || std::mem::replace(&mut node.descriptor.lock().queued, true) {
            return;
        }
        let mut queue = self.held.queue.lock();
        if queue.is_empty() {
            self.held.filled.notify_one();
        }
        queue.push_back(Arc::downgrade(node));
        for _ in 0..CONSIDERED {
            if queue.len() <= self.held.limit {
                break;
            }
            let first = queue.pop_front();
            queue.extend(first.and_then(let_go_unless_used));
        }
    }
}

/// Lets go, round by round, of what was not used since the round before.
fn sweep(held: &Weak<Held>) {
    loop {
        {
            let Some(held) = held.upgrade() else { return };
            let mut queue = held.queue.lock();
            if queue.is_empty() {
                held.filled.wait_for(&mut queue, 60 * ROUND);
            }
        }
        std::thread::sleep(ROUND);
        let Some(held) = held.upgrade() else { return };
        let mut left = held.queue.lock().len();
        while left > 0 {
            // Requests come in between.
            let mut queue = held.queue.lock();
            for _ in 0..left.min(CONSIDERED) {
                let first = queue.pop_front();
                queue.extend(first.and_then(let_go_unless_used));
            }
            left = left.saturating_sub(CONSIDERED);
        }
    }
}

/// Gives the node back to the queue if it has to keep its descriptor for now.
fn let_go_unless_used(node: Weak<Node>) -> Option<Weak<Node>> {
    let alive = node.upgrade()?;
    let mut descriptor = alive.descriptor.lock();
    if alive.is_open() || std::mem::take(&mut descriptor.used) {
        return Some(node);
    }
    descriptor.fd = None;
    descriptor.queued = false;
    None
}

impl Opened {
    /// What stands behind an `O_PATH` descriptor.
    pub(super) fn of(fd: OwnedFd) -> Result<Self> {
        let stat = backing::stat(&fd)?;
        let object = Object {
            handle: backing::handle(&fd)?,
            kind: stat.kind,
            number: stat.ino,
            device: stat.dev,
        };
        Ok(Self {
            fd: Arc::new(fd),
            object,
            stat,
        })
    }
}
