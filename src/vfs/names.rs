//! Keeps a name what it was found to be, until what was judged by it is done.
//!
//! The kernel lets one request at a time change a directory, but of one mount: through another, what has the name could
//! become something else in between. So who renames, and who removes what is protected, holds the directories.

use parking_lot::{Mutex, MutexGuard};

use super::edits::protects;
use super::filesystem::{FileSystem, Seen};
use super::locate::Probe;
use super::node::Node;

const STRIPES: usize = 256;

/// Locks of directories, of all mounts; some share one.
#[derive(Debug)]
pub(super) struct NameLocks([Mutex<()>; STRIPES]);

impl Default for NameLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }
}

impl FileSystem {
    /// Holds a directory in which something is to be made, where the level protects that.
    pub(super) fn hold_if_protected(&self, directory: &Seen, made: &Probe) -> Option<Held<'_>> {
        protects(made.verdict).then(|| self.shared.names.hold(&directory.node))
    }
}

/// Directories in which no name is given another meaning.
#[must_use]
pub(super) struct Held<'a> {
    _one: MutexGuard<'a, ()>,
    _other: Option<MutexGuard<'a, ()>>,
}

impl NameLocks {
    /// Holds a directory.
    pub(super) fn hold(&self, directory: &Node) -> Held<'_> {
        self.hold_both(directory, directory)
    }

    /// Holds an inode.
    pub(super) fn hold_inode(&self, folder: crate::policy::FolderId, number: u64) -> Held<'_> {
        Held {
            _one: self.0[stripe_of(folder, number)].lock(),
            _other: None,
        }
    }

    /// Holds two.
    pub(super) fn hold_both(&self, one: &Node, other: &Node) -> Held<'_> {
        // Always in this order, so that nobody waits for each other.
        let (first, second) = (stripe(one).min(stripe(other)), stripe(one).max(stripe(other)));
        Held {
            _one: self.0[first].lock(),
            _other: (second != first).then(|| self.0[second].lock()),
        }
    }
}

/// By the inode: the numbers that nodes have may differ between mounts.
fn stripe(directory: &Node) -> usize {
    stripe_of(directory.folder, directory.object.number)
}

fn stripe_of(folder: crate::policy::FolderId, number: u64) -> usize {
    let number = number ^ folder.0.cast_unsigned() << 32;
    (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as usize % STRIPES
}
