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

/// So many files are kept in all mounts of one account, and in all: what users may take of who keeps them, whose room is
/// that of the mounts.
const MOST_OF_ONE: usize = 128;
const MOST: usize = 1024;

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
        kept.insert(node)
    }

    fn len(&self) -> usize {
        self.kept.lock().len()
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
        let mut open = Vec::new();
        for mount in self.shared.mounts().filter(|mount| mount.journal.is_some()) {
            mount.nodes.each_of(number, |node| {
                if mount.features().opens_itself || node.is_open() && !node.has_bypassed(false) {
                    open.push((Arc::clone(&mount), Arc::clone(node)));
                }
            });
        }
        let mut file = None;
        for (mount, node) in open {
            if !mount.has_room_for_nameless() || !mount.nameless.add(node.ino) {
                continue;
            }
            let fd = match &file {
                Some(fd) => Arc::clone(fd),
                None => Arc::new(backing::open_path(self.fd(directory)?, name)?),
            };
            self.shared.steward.keep_file(mount.id.0, node.ino.0, fd.as_fd());
            node.pin(Arc::clone(&fd));
            file = Some(fd);
        }
        Ok(())
    }

    fn has_room_for_nameless(&self) -> bool {
        let account = self.options.viewer.account;
        let (mut all, mut his) = (0, 0);
        for mount in self.shared.mounts() {
            let count = mount.nameless.len();
            all += count;
            if mount.options.viewer.account == account {
                his += count;
            }
        }
        all < MOST && his < MOST_OF_ONE
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
