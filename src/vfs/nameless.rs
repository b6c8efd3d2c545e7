//! Files that lose their last name while they are open, and whose data does not bypass the daemon: nothing but a
//! descriptor keeps them, so in a mount that outlives the daemon another one is kept outside of it.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::error::Result;
use super::filesystem::{FileSystem, Seen};
use super::ids::Ino;
use super::node::Node;
use crate::backing::{self, Name};

/// So many files of one mount are kept: what a user may take of who keeps them.
const MOST: usize = 256;

/// The nodes of a mount whose descriptors are kept.
#[derive(Debug, Default)]
pub(super) struct Nameless {
    kept: Mutex<HashSet<Ino>>,
    any: AtomicBool,
}

impl Nameless {
    fn add(&self, node: Ino) -> bool {
        let mut kept = self.kept.lock();
        self.any.store(true, Ordering::Release);
        kept.len() < MOST && kept.insert(node)
    }

    fn remove(&self, node: Ino) -> bool {
        self.any.load(Ordering::Acquire) && {
            let mut kept = self.kept.lock();
            let removed = kept.remove(&node);
            self.any.store(!kept.is_empty(), Ordering::Release);
            removed
        }
    }
}

impl FileSystem {
    /// Has a file kept that is about to lose its last name, for the mounts in which it is open.
    pub(super) fn keep_nameless(&self, directory: &Seen, name: &Name, number: Ino) -> Result<()> {
        let mut file = None;
        for mount in self.shared.mounts().filter(|mount| mount.journal.is_some()) {
            let mut nodes = Vec::new();
            mount.nodes.each_of(number, |node| {
                let open = mount.features().opens_itself || node.is_open() && !node.has_bypassed(false);
                if open && mount.nameless.add(node.ino) {
                    nodes.push(Arc::clone(node));
                }
            });
            for node in nodes {
                let fd = match &file {
                    Some(fd) => Arc::clone(fd),
                    None => Arc::new(backing::open_path(self.fd(directory)?, name)?),
                };
                self.shared.steward.keep_file(mount.id.0, node.ino.0, fd.as_fd());
                node.pin(Arc::clone(&fd));
                file = Some(fd);
            }
        }
        Ok(())
    }

    /// Lets go of a file that is open no more.
    pub(super) fn forget_nameless(&self, node: Ino) {
        if self.nameless.remove(node) {
            self.shared.steward.forget_file(self.id.0, node.0);
        }
    }

    /// Likewise of all: the mount ends.
    pub(super) fn forget_all_nameless(&self) {
        let kept = std::mem::take(&mut *self.nameless.kept.lock());
        for node in kept {
            self.shared.steward.forget_file(self.id.0, node.0);
        }
    }

    /// Takes a file over that is kept.
    pub(super) fn nameless_again(&self, node: Option<&Arc<Node>>, number: Ino, fd: OwnedFd) {
        if let Some(node) = node {
            node.pin(Arc::new(fd));
            self.nameless.add(number);
        } else {
            self.shared.steward.forget_file(self.id.0, number.0);
        }
    }
}
