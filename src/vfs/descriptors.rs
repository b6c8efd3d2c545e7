//! The `O_PATH` descriptors of nodes: some thousands are held, the rest is opened anew by file handle.
//!
//! The kernel may know of more files than a process may have open. A node without handle, and one with an open
//! file (it may have no name left), keeps its descriptor as long as it lives.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::error::{Error, Result};
use super::node::{Node, Opened};
use super::view::FolderView;
use crate::backing;

/// How many are considered at most to let one go: a request must not walk the whole queue.
const CONSIDERED: usize = 64;

/// Which nodes hold a descriptor, in the order in which they came to it.
#[derive(Debug)]
pub(super) struct Descriptors {
    queue: Mutex<VecDeque<Weak<Node>>>,
    limit: usize,
}

impl Descriptors {
    /// At most `limit` are held for nodes that can do without.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            queue: Mutex::default(),
            limit,
        }
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
            descriptor.fd.get_or_insert_with(|| Arc::clone(opened));
        }
        self.enqueue(node);
    }

    fn enqueue(&self, node: &Arc<Node>) {
        if node.object.handle.is_none() || std::mem::replace(&mut node.descriptor.lock().queued, true) {
            return;
        }
        let mut queue = self.queue.lock();
        queue.push_back(Arc::downgrade(node));
        for _ in 0..CONSIDERED {
            if queue.len() <= self.limit {
                break;
            }
            let Some(node) = queue.pop_front().and_then(|node| node.upgrade()) else {
                continue;
            };
            let mut descriptor = node.descriptor.lock();
            if node.is_open() || std::mem::take(&mut descriptor.used) {
                queue.push_back(Arc::downgrade(&node));
            } else {
                descriptor.fd = None;
                descriptor.queued = false;
            }
        }
    }
}

impl Opened {
    /// What stands behind an `O_PATH` descriptor.
    pub(super) fn of(fd: OwnedFd) -> Result<Self> {
        let stat = backing::stat(&fd)?;
        let object = super::node::Object {
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
