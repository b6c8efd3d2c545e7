//! Numbers that the kernel and the file system exchange.
//!
//! fuser takes the node id from `attr.ino`, so a node id *is* the `st_ino` that programs see: it has to stay the
//! same over forget and restart. It is made of the folder's id, the inode number on the backing, and a salt that
//! is zero but where one inode is seen through names under different rules.

use std::fmt;

use crate::policy::FolderId;

/// A node id, shown as `st_ino`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ino(pub u64);

/// An open file or directory, as told to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fh(pub u64);

/// One mount of the daemon, counted up and never given twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MountId(pub u64);

/// Who holds a lock, in the kernel's words (`fuse_lk_in.owner`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LockOwner(pub u64);

impl Fh {
    /// What the kernel sends where it opened a file by itself.
    pub const NONE: Self = Self(0);
}

const BACKING_BITS: u32 = 40;
const SALT_BITS: u32 = 4;
const FOLDER_SHIFT: u32 = BACKING_BITS + SALT_BITS;
const SALT_MASK: u64 = ((1 << SALT_BITS) - 1) << BACKING_BITS;
/// The folder field of numbers that are counted up because the parts do not fit.
const COUNTED: u64 = 0xF_FFFF;

impl Ino {
    /// The top directory of a mount (`FUSE_ROOT_ID`).
    pub const TOP: Self = Self(1);
    /// How many nodes may share one inode before their numbers are counted up.
    pub const SALTS: u64 = 1 << SALT_BITS;

    /// Makes the number of the first node of a backing inode; `None` where the parts do not fit into it.
    pub fn of(folder: FolderId, backing: u64) -> Option<Self> {
        let folder = u64::try_from(folder.0)
            .ok()
            .filter(|&id| (1..COUNTED).contains(&id))?;
        (backing < 1 << BACKING_BITS).then_some(Self(folder << FOLDER_SHIFT | backing))
    }

    /// The folder and the inode number that a number was made of; `None` for one that was counted.
    pub fn parts(self) -> Option<(FolderId, u64)> {
        let folder = self.0 >> FOLDER_SHIFT;
        let folder = (1..COUNTED)
            .contains(&folder)
            .then(|| FolderId(folder.cast_signed()))?;
        Some((folder, self.0 & ((1 << BACKING_BITS) - 1)))
    }

    /// Makes a number that was never given before, for what [`Ino::of`] has no room for.
    pub fn counted(count: u64) -> Self {
        Self(COUNTED << FOLDER_SHIFT | count & !(COUNTED << FOLDER_SHIFT))
    }

    /// The same inode's node number `salt`; salts of a counted number do not exist.
    pub fn salted(self, salt: u64) -> Option<Self> {
        (salt < Self::SALTS && !self.is_counted()).then_some(Self(self.0 & !SALT_MASK | salt << BACKING_BITS))
    }

    /// The number that all nodes of one inode share.
    pub fn family(self) -> Self {
        if self.is_counted() {
            self
        } else {
            Self(self.0 & !SALT_MASK)
        }
    }

    /// A number below `parts` by which a table of numbers is cut.
    pub(super) fn spread(self, parts: usize) -> usize {
        (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as usize % parts
    }

    /// Tells whether other mounts have the same number for the same inode, so that they can be told of it.
    pub fn is_shared(self) -> bool {
        !self.is_counted()
    }

    fn is_counted(self) -> bool {
        self.0 >> FOLDER_SHIFT == COUNTED
    }
}

impl fmt::Debug for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ino({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_one_inode_share_a_family_and_differ() {
        let first = Ino::of(FolderId(7), 1234).unwrap();
        let second = first.salted(3).unwrap();
        assert_ne!(first, second);
        assert_eq!(first.family(), second.family());
        assert_eq!(second.parts(), Some((FolderId(7), 1234)));
        assert_ne!(first.family(), Ino::of(FolderId(8), 1234).unwrap().family());
    }

    #[test]
    fn what_does_not_fit_is_counted_and_never_collides() {
        assert_eq!(Ino::of(FolderId(7), 1 << 40), None);
        assert_eq!(Ino::of(FolderId(0xF_FFFF), 5), None);
        assert_eq!(Ino::of(FolderId(0), 1), None, "would be the top directory");
        let counted = Ino::counted(u64::MAX);
        assert_eq!(counted.family(), counted);
        assert_eq!(counted.salted(1), None);
        assert_eq!(counted.parts(), None);
        assert_ne!(Ino::counted(1), Ino::counted(2));
    }
}
