//! Who made a file. Where only the daemon reaches the files it is their owner; elsewhere, and where another has
//! replaced the file since, it is kept in an extended attribute: a name belongs to who made the first of its files.

use std::os::fd::AsFd;

use super::backing::Custody;
use super::edits::At;
use super::error::{Error, Result};
use super::filesystem::{FileSystem, Seen};
use crate::backing::{self, FileKind};
use crate::policy::AccountId;

/// The extended attribute that tells the maker's uid.
pub(super) const MAKER: &[u8] = b"trusted.lendfs.maker";
/// To read and write.
const OWNERS_ACCESS: u32 = 0o600;

impl FileSystem {
    /// Tells whether what was found at a name is the subject's own, and such may be removed in the folder.
    pub(super) fn is_own(&self, at: At<'_>) -> Result<bool> {
        let removable = at.parent.folder.policy.protection.own_files_removable;
        Ok(removable && self.maker_at(at)? == Some(self.options.subject_ids.0))
    }

    /// The account that made a file; `None` if that is not known.
    ///
    /// # Errors
    /// Those of `statx(2)`.
    pub(super) fn made_by(&self, seen: &Seen) -> Result<Option<AccountId>> {
        let fd = self.fd(seen)?;
        let uid = match backing::get_xattr(fd.as_fd(), MAKER) {
            Ok(mark) => uid(&mark),
            Err(_) if is_managed(seen) => Some(backing::stat(&*fd)?.uid),
            Err(_) => None,
        };
        let Some(uid) = uid else { return Ok(None) };
        let snapshot = self.shared.snapshot();
        let mut accounts = snapshot.accounts.values();
        let account = accounts.find(|account| account.uid == uid);
        Ok(account.map(|account| account.id))
    }

    /// The uid of who made what was found at a name; `None` if that is not known: where no attributes are kept, another
    /// may have replaced the file.
    pub(super) fn maker_at(&self, at: At<'_>) -> Result<Option<u32>> {
        let Some(there) = at.there() else {
            return Ok(None);
        };
        let fd = self.open_found_at(at)?.ok_or(Error::Stale)?;
        match backing::get_xattr(fd.as_fd(), MAKER) {
            Ok(mark) => Ok(uid(&mark)),
            Err(error) if error.raw_os_error() == Some(libc::ENODATA) => {
                Ok(is_managed(at.parent).then_some(there.stat.uid))
            }
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets what takes the place of another file be known as made by who made that. To be called before it does.
    ///
    /// # Errors
    /// Those of `setxattr(2)`, where there are such attributes at all.
    pub(super) fn keep_maker(&self, replaced: At<'_>, by: At<'_>) -> Result<()> {
        let maker = self.maker_at(replaced)?;
        if self.maker_at(by)? == maker {
            return Ok(());
        }
        let fd = self.open_found_at(by)?.ok_or(Error::Stale)?;
        match maker {
            Some(maker) => set_maker(fd.as_fd(), maker),
            // Nobody is known to have made it; where the owner of a file is its maker, somebody is.
            None => match backing::remove_xattr(fd.as_fd(), MAKER) {
                Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(()),
                removed => Ok(removed?),
            },
        }
    }

    /// Lets the owner's access to what takes the place of another file be what it was: that is not to be taken away, by
    /// no chmod either.
    ///
    /// # Errors
    /// Those of `chmod(2)`.
    pub(super) fn keep_access(&self, replaced: At<'_>, by: At<'_>) -> Result<()> {
        let (Some(replaced), Some(there)) = (replaced.there(), by.there()) else {
            return Ok(());
        };
        if there.object.kind != FileKind::Regular {
            return Ok(());
        }
        let _held = self
            .shared
            .modes
            .hold_inode(by.parent.node.folder, there.object.number);
        let fd = self.open_found_at(by)?.ok_or(Error::Stale)?;
        let now = backing::stat(&fd)?.mode;
        let mode = now | replaced.stat.mode & OWNERS_ACCESS;
        if mode == now {
            return Ok(());
        }
        let _as = by.parent.folder.backing.credentials().assume()?;
        Ok(backing::chmod(&fd, mode)?)
    }

    /// Notes who made something, where that is not to be seen otherwise.
    pub(super) fn note_maker(&self, at: At<'_>) {
        let folder = &at.parent.folder;
        if !folder.policy.protection.own_files_removable || !folder.backing.is_adopted() {
            return;
        }
        let set = || -> Result<()> {
            if let Some(fd) = self.open_found_at(at)? {
                set_maker(fd.as_fd(), self.options.subject_ids.0)?;
            }
            Ok(())
        };
        // Who is not known to have made it may not remove it.
        if let Err(error) = set() {
            tracing::debug!(%error, name = ?at.name, "who made a file is not kept");
        }
    }
}

/// Where files belong to who made them.
fn is_managed(seen: &Seen) -> bool {
    matches!(seen.folder.backing.custody(), Some(Custody::Managed))
}

pub(super) fn uid(mark: &[u8]) -> Option<u32> {
    std::str::from_utf8(mark).ok()?.parse().ok()
}

fn set_maker(fd: std::os::fd::BorrowedFd<'_>, uid: u32) -> Result<()> {
    match backing::set_xattr(fd, MAKER, uid.to_string().as_bytes(), false, false) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        set => Ok(set?),
    }
}
