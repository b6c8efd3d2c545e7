//! Cuts files that are open past the daemon when the right to them is taken back.
//!
//! The daemon cannot take such an open file back, but the kernel gives an inode up for good when a lookup tells of
//! its number with another generation: from then on read, write, stat, sync and truncate answer EIO through whatever
//! is open of it, and a new lookup makes a new inode of the same number (`fuse_iget`). So the daemon lets the kernel
//! ask for a number that nobody but it knows, in a way that nobody but it has, and answers with the node to be cut.
//!
//! What still reaches the daemon through an open file that was cut (fallocate, lseek, locks) it refuses by itself.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::gettid;
use parking_lot::Mutex;

use super::attr::{Attr, Entry, constant};
use super::error::{Error, Result};
use super::filesystem::FileSystem;
use super::ids::Ino;
use super::node::Node;
use crate::backing::{self, FileKind};

/// What the kernel is about to ask for.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    asked: Mutex<HashMap<Ino, Asked>>,
}

#[derive(Debug)]
struct Asked {
    /// The thread that lets the kernel ask.
    thread: i32,
    node: Arc<Node>,
    answered: bool,
}

impl FileSystem {
    /// Marks the files that are open past the daemon without a right to it as cut, and tells which the kernel has to
    /// be told of.
    pub(super) fn begin_cut(&self) -> Vec<Arc<Node>> {
        let mut revoked = self.handles.open_past_daemon();
        revoked.retain(|(node, writable)| !self.covers(node, *writable));
        for (node, _) in &revoked {
            node.cut();
            // The kernel tells nothing any more of the closing of what was cut.
            node.locks.release_all();
        }
        if !revoked.is_empty() {
            self.waiters.wake();
        }
        revoked.into_iter().map(|(node, _)| node).collect()
    }

    /// Lets the kernel give up the inodes of nodes that were marked. Waits for a worker: not for a request to call.
    pub(super) fn cut(&self, nodes: &[Arc<Node>]) {
        let Some(top) = self.reach.top() else {
            // Nothing is open past the daemon but with a way to cut it.
            tracing::debug!("nothing is left to be cut");
            return;
        };
        for node in nodes {
            let number = self.unknown_number();
            let asked = Asked {
                thread: backing::asking_thread(),
                node: Arc::clone(node),
                answered: false,
            };
            self.cuts.asked.lock().insert(number, asked);
            backing::tell_node(top.as_fd(), number.0);
            let asked = self.cuts.asked.lock().remove(&number);
            if !asked.is_some_and(|asked| asked.answered) {
                tracing::error!(ino = ?node.ino, "the kernel did not ask for what was to be cut: it stays open");
            }
        }
    }

    /// Answers what [`FileSystem::cut`] lets the kernel ask, and nothing else.
    ///
    /// # Errors
    /// ESTALE for everything else.
    pub fn answer_cut(&self, number: Ino, thread: u32) -> Result<Entry> {
        let node = {
            let mut asked = self.cuts.asked.lock();
            let asked = asked
                .get_mut(&number)
                .filter(|asked| u32::try_from(asked.thread) == Ok(thread))
                .ok_or(Error::Stale)?;
            asked.answered = true;
            Arc::clone(&asked.node)
        };
        // The kernel forgets it again at once.
        node.looked_up();
        let size = node.held().and_then(|fd| backing::stat(&*fd).ok());
        Ok(Entry {
            attr: Attr {
                kind: FileKind::Regular,
                mode: 0,
                size: size.map_or(0, |stat| stat.size),
                lasts: Duration::ZERO,
                ..constant(node.ino)
            },
            generation: node.generation(),
            name_lasts: Duration::ZERO,
        })
    }

    /// A number that no node has, and that nobody can guess.
    fn unknown_number(&self) -> Ino {
        loop {
            let number = Ino(RandomState::new().hash_one(gettid().as_raw()));
            if number > Ino::TOP && self.nodes.find(number).is_none() {
                return number;
            }
        }
    }
}
