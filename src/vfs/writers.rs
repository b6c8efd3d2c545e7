//! Which files are open for writing, and through which nodes.
//!
//! What is written past the daemon shows in the attributes of the node it is written through; the kernel's picture of
//! every other node of the same inode, in this mount and in others, would grow old without a word. So as long as a
//! file is open for writing through one node, the attributes of all others are not kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::ids::{Ino, MountId};

const SHARDS: usize = 16;

/// The open files of all mounts, by the number that all nodes of an inode share ([`Ino::family`]).
#[derive(Debug)]
pub(super) struct Writers {
    /// How many inodes are open for writing at all: mostly none, and then nobody has to look.
    inodes: AtomicUsize,
    shards: [Mutex<HashMap<Ino, Vec<Writer>>>; SHARDS],
}

#[derive(Debug)]
struct Writer {
    mount: MountId,
    ino: Ino,
    opens: u32,
}

impl Default for Writers {
    fn default() -> Self {
        Self {
            inodes: AtomicUsize::new(0),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Writers {
    /// Notes that a file was opened for writing; tells whether this is the first time through this node, so that what
    /// others have cached has to be dropped.
    pub(super) fn opened(&self, mount: MountId, ino: Ino) -> bool {
        let mut shard = self.shard(ino).lock();
        let writers = shard.entry(ino.family()).or_default();
        if writers.is_empty() {
            self.inodes.fetch_add(1, Ordering::Release);
        }
        match writers.iter_mut().find(|writer| writer.is(mount, ino)) {
            Some(writer) => {
                writer.opens += 1;
                false
            }
            None => {
                writers.push(Writer { mount, ino, opens: 1 });
                true
            }
        }
    }

    /// Takes back what [`Writers::opened`] noted.
    pub(super) fn closed(&self, mount: MountId, ino: Ino) {
        let mut shard = self.shard(ino).lock();
        let Some(writers) = shard.get_mut(&ino.family()) else {
            return;
        };
        if let Some(writer) = writers.iter_mut().find(|writer| writer.is(mount, ino)) {
            writer.opens -= 1;
        }
        writers.retain(|writer| writer.opens > 0);
        if writers.is_empty() {
            shard.remove(&ino.family());
            self.inodes.fetch_sub(1, Ordering::Release);
        }
    }

    /// Forgets what a mount that has ended had open.
    pub(super) fn ended(&self, mount: MountId) {
        for shard in &self.shards {
            shard.lock().retain(|_, writers| {
                writers.retain(|writer| writer.mount != mount);
                if writers.is_empty() {
                    self.inodes.fetch_sub(1, Ordering::Release);
                }
                !writers.is_empty()
            });
        }
    }

    /// Tells whether a file is open for writing through another node than this.
    pub(super) fn is_elsewhere(&self, mount: MountId, ino: Ino) -> bool {
        self.inodes.load(Ordering::Acquire) > 0
            && self
                .shard(ino)
                .lock()
                .get(&ino.family())
                .is_some_and(|writers| writers.iter().any(|writer| !writer.is(mount, ino)))
    }

    fn shard(&self, ino: Ino) -> &Mutex<HashMap<Ino, Vec<Writer>>> {
        &self.shards[ino.family().spread(SHARDS)]
    }
}

impl Writer {
    fn is(&self, mount: MountId, ino: Ino) -> bool {
        (self.mount, self.ino) == (mount, ino)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::FolderId;

    #[test]
    fn a_file_is_written_elsewhere_as_long_as_another_node_of_it_is_open_for_writing() {
        let writers = Writers::default();
        let (one, two) = (MountId(1), MountId(2));
        let ino = Ino::of(FolderId(1), 7).unwrap();
        let relative = ino.salted(1).unwrap();
        assert!(writers.opened(one, ino));
        assert!(!writers.opened(one, ino));
        assert!(!writers.is_elsewhere(one, ino), "the kernel knows what it writes");
        assert!(writers.is_elsewhere(two, ino) && writers.is_elsewhere(one, relative));
        assert!(!writers.is_elsewhere(two, Ino::of(FolderId(1), 8).unwrap()));
        assert!(writers.opened(two, ino));
        assert!(writers.is_elsewhere(one, ino));
        writers.closed(two, ino);
        writers.closed(one, ino);
        assert!(writers.is_elsewhere(two, ino), "it is open twice");
        writers.closed(one, ino);
        assert!(!writers.is_elsewhere(two, ino));
        writers.opened(one, ino);
        writers.ended(one);
        assert!(!writers.is_elsewhere(two, ino), "the mount has ended");
        assert_eq!(writers.inodes.load(Ordering::Relaxed), 0);
    }
}
