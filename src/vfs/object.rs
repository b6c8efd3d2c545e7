//! An inode of a backing, and what tells it from all others: see [`super::node`] for where that is not enough.

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use crate::backing::{Birth, FileHandle, FileKind, Stat};

/// An inode of a backing.
#[derive(Clone, Debug)]
pub struct Object {
    /// What it is.
    pub kind: FileKind,
    /// Its inode number on the backing.
    pub number: u64,
    /// The backing's device number.
    pub device: u64,
    /// When it was made, where the backing tells.
    pub birth: Option<Birth>,
    handle: OnceLock<FileHandle>,
}

impl Object {
    /// The inode with these attributes.
    pub fn of(stat: &Stat) -> Self {
        Self {
            kind: stat.kind,
            number: stat.ino,
            device: stat.dev,
            birth: stat.birth,
            handle: OnceLock::new(),
        }
    }

    /// Its file handle, if that was asked for. Where the backing has none, and where no birth is told, it is asked
    /// for at once.
    pub fn handle(&self) -> Option<&FileHandle> {
        self.handle.get()
    }

    /// Notes its file handle; tells whether it was not known.
    pub(super) fn learn(&self, handle: FileHandle) -> bool {
        // Another may have been quicker, with the same.
        self.handle.set(handle).is_ok()
    }

    /// The inode that a former daemon knew.
    pub(super) fn again(
        kind: FileKind, number: u64, device: u64, birth: Option<Birth>, handle: Option<FileHandle>,
    ) -> Self {
        Self {
            kind,
            number,
            device,
            birth,
            handle: handle.map(OnceLock::from).unwrap_or_default(),
        }
    }

    /// Tells whether both are one inode.
    pub fn is(&self, other: &Self) -> bool {
        // Where there is neither birth nor handle, the numbers suffice: the node's descriptor is held as long as
        // the node, and keeps its number from being given anew.
        let same = (self.number, self.device, self.birth) == (other.number, other.device, other.birth);
        match (self.handle(), other.handle()) {
            (Some(one), Some(other)) => same && one == other,
            _ => same,
        }
    }

    /// Tells whether these are attributes of it, as far as attributes tell.
    pub(super) fn has(&self, stat: &Stat) -> bool {
        (self.number, self.device, self.birth) == (stat.ino, stat.dev, stat.birth)
    }

    /// A number that stays, and that differs, but for chance, between two inodes that bore one number.
    pub(super) fn generation(&self) -> u64 {
        match (self.birth, self.handle()) {
            (Some(birth), _) => birth.generation(),
            (None, Some(handle)) => handle.generation(),
            (None, None) => 0,
        }
    }
}

/// An inode that was just found.
#[derive(Debug)]
pub struct Opened {
    /// An `O_PATH` descriptor of it, if its attributes were not enough.
    pub fd: Option<Arc<OwnedFd>>,
    /// Which it is.
    pub object: Object,
    /// Its attributes.
    pub stat: Stat,
}
