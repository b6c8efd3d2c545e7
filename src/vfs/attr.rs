//! Attributes as a mount shows them: the backing's, without what the level forbids and without what would betray
//! an entry that the subject does not see.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::coherence::LONG;
use super::filesystem::{FileSystem, Seen};
use super::ids::Ino;
use crate::backing::{FileKind, Stat};
use crate::policy::Right;

/// The attributes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// The node number.
    pub ino: Ino,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, `0o777` at most (more in a folder that is served bare).
    pub mode: u32,
    /// Names that lead to it, as far as that may be told.
    pub nlink: u32,
    /// The owner shown.
    pub uid: u32,
    /// The group shown.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Allocated 512-byte blocks.
    pub blocks: u64,
    /// The preferred block size.
    pub blksize: u32,
    /// The device number of a device.
    pub rdev: u32,
    /// Last read.
    pub atime: SystemTime,
    /// Last written.
    pub mtime: SystemTime,
    /// Last changed.
    pub ctime: SystemTime,
    /// How long the kernel may keep all this.
    pub lasts: Duration,
}

/// A node told to the kernel by a lookup or a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its attributes.
    pub attr: Attr,
    /// The generation: two files that bore one number, one after the other, differ in it.
    pub generation: u64,
    /// How long the kernel may keep that the name leads to it.
    pub name_lasts: Duration,
}

const READ: u32 = 0o444;
const WRITE: u32 = 0o222;
const EXECUTE: u32 = 0o111;
/// The size and blocks of a directory whose true size would tell of hidden names.
const PLAIN_SIZE: u64 = 4096;
const PLAIN_BLOCKS: u64 = 8;

impl FileSystem {
    /// The attributes of the top directory: nothing in it tells what folders there are.
    pub(super) fn top_attr(&self) -> Attr {
        let (uid, gid) = self.options.own.unwrap_or(self.options.subject_ids);
        Attr {
            uid,
            gid,
            mtime: self.mounted,
            ctime: self.mounted,
            atime: self.mounted,
            lasts: LONG,
            ..constant(Ino::TOP)
        }
    }

    /// The attributes of a node, with the `stat` of its inode.
    pub(super) fn attr(&self, seen: &Seen, stat: &Stat) -> Attr {
        if self.options.read_only {
            return self.attr_as_judged(seen, stat);
        }
        let rights = seen.verdict.rights;
        let (uid, gid) = self.options.own.unwrap_or((stat.uid, stat.gid));
        if !rights.contains(Right::Read) && stat.kind == FileKind::Directory {
            let mode = if seen.verdict.corridor { 0o555 } else { 0 };
            return Attr {
                mode,
                uid: 0,
                gid: 0,
                ..constant(seen.node.ino)
            };
        }
        let mut mode = stat.mode & if self.is_bare(seen) { 0o7777 } else { 0o777 };
        if stat.kind != FileKind::Symlink {
            if !rights.contains(Right::Read) {
                mode &= !(READ | EXECUTE);
            }
            let change = if stat.kind == FileKind::Directory {
                Right::Create
            } else {
                Right::Write
            };
            if !rights.contains(change) {
                mode &= !WRITE;
            }
        }
        self.attr_with(seen, stat, mode, (uid, gid))
    }

    /// The attributes in a read-only mount: all is the subject's, and the modes are the verdict, for it is by them that
    /// the kernel judges (`default_permissions`).
    fn attr_as_judged(&self, seen: &Seen, stat: &Stat) -> Attr {
        let ids = self.options.own.unwrap_or(self.options.subject_ids);
        let enters = stat.kind == FileKind::Directory || stat.mode & EXECUTE != 0;
        let mode = if seen.verdict.rights.contains(Right::Read) {
            READ | if enters { EXECUTE } else { 0 }
        } else if seen.verdict.corridor && stat.kind == FileKind::Directory {
            READ | EXECUTE
        } else {
            0
        };
        if mode == 0 || !seen.verdict.rights.contains(Right::Read) {
            return Attr {
                kind: stat.kind,
                mode,
                uid: ids.0,
                gid: ids.1,
                ..constant(seen.node.ino)
            };
        }
        self.attr_with(seen, stat, mode, ids)
    }

    fn attr_with(&self, seen: &Seen, stat: &Stat, mode: u32, (uid, gid): (u32, u32)) -> Attr {
        let mut attr = Attr {
            ino: seen.node.ino,
            kind: stat.kind,
            mode,
            nlink: stat.nlink,
            uid,
            gid,
            size: stat.size,
            blocks: stat.blocks,
            blksize: stat.blksize,
            rdev: stat.rdev,
            atime: stat.atime,
            mtime: stat.mtime,
            ctime: stat.ctime,
            lasts: self.attributes_last(seen),
        };
        let tree = &seen.folder.tree;
        if stat.kind == FileKind::Directory {
            if !tree.all_below(seen.cursor, Right::See) {
                (attr.nlink, attr.size, attr.blocks) = (1, PLAIN_SIZE, PLAIN_BLOCKS);
            }
        } else if attr.nlink > 1 && !tree.all_below(tree.root(), Right::See) {
            attr.nlink = 1;
        }
        attr
    }

    /// An answer to a lookup.
    pub(super) fn entry(&self, seen: &Seen, stat: &Stat, name_lasts: Duration) -> Entry {
        Entry {
            attr: self.attr(seen, stat),
            generation: seen.node.generation(),
            name_lasts,
        }
    }
}

/// What a corridor shows of itself: the same always.
pub(super) fn constant(ino: Ino) -> Attr {
    Attr {
        ino,
        kind: FileKind::Directory,
        mode: 0o555,
        nlink: 1,
        uid: 0,
        gid: 0,
        size: 0,
        blocks: 0,
        blksize: 4096,
        rdev: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        lasts: Duration::ZERO,
    }
}
