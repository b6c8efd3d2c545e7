//! What is kept with a file in extended attributes that only the daemon reaches: here, that it was made under a scratch
//! name, by whom and which. It is all that outlives the daemon of what programs may remove again.

use std::os::fd::{AsFd, OwnedFd};

use super::edits::At;
use super::error::Result;
use super::filesystem::{FileSystem, Seen};
use super::maker::{MAKER, uid};
use crate::backing::{self, FileKind, Name};
use crate::policy::ScratchMark;

/// The extended attribute that marks what was made under a scratch name.
const SCRATCH: &[u8] = b"trusted.lendfs.scratch";

/// Tells whether a mark of the daemon's (`trusted.lendfs.*`) holds what the daemon writes there.
pub fn is_mark_sound(attribute: &[u8], value: &[u8]) -> bool {
    match attribute {
        SCRATCH => ScratchMark::parse(value).is_ok(),
        MAKER => uid(value).is_some(),
        _ => false,
    }
}

impl FileSystem {
    /// Tells whether an entry was made under a scratch name by the subject and still bears it.
    pub(super) fn is_scratch(&self, at: At<'_>) -> Result<bool> {
        let scratch = &at.parent.folder.policy.protection.scratch;
        if at.kind() == Some(FileKind::Directory) || !scratch.match_name(at.name.as_bytes()) {
            return Ok(false);
        }
        let Some(mark) = self.mark(at, SCRATCH)? else {
            return Ok(false);
        };
        Ok(ScratchMark::parse(&mark).is_ok_and(|mark| mark == self.scratch_mark(at.name)))
    }

    fn scratch_mark(&self, name: &Name) -> ScratchMark {
        ScratchMark {
            uid: self.options.subject_ids.0,
            name: name.as_bytes().into(),
        }
    }

    /// Opens what was found at a name (`O_PATH`), if it is there still.
    pub(super) fn open_found_at(&self, at: At<'_>) -> Result<Option<OwnedFd>> {
        let Some(there) = at.there() else {
            return Ok(None);
        };
        let Ok(fd) = backing::open_path(self.fd(at.parent)?, at.name) else {
            return Ok(None);
        };
        Ok(there.object.has(&backing::stat(&fd)?).then_some(fd))
    }

    /// The value of an attribute of what was found at a name, if it is there still and has one.
    ///
    /// # Errors
    /// Those of `getxattr(2)`, but where there is no such attribute or none at all.
    pub(super) fn mark(&self, at: At<'_>, attribute: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(fd) = self.open_found_at(at)? else {
            return Ok(None);
        };
        match backing::get_xattr(fd.as_fd(), attribute) {
            Ok(mark) => Ok(Some(mark)),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Marks what was made under a scratch name.
    pub(super) fn set_scratch_mark(&self, at: At<'_>) {
        let set = || -> Result<()> {
            if let Some(fd) = self.open_found_at(at)? {
                let mark = self.scratch_mark(at.name).to_bytes();
                backing::set_xattr(fd.as_fd(), SCRATCH, &mark, false, false)?;
            }
            Ok(())
        };
        // Without a mark it is protected when its process has ended.
        if let Err(error) = set() {
            tracing::debug!(%error, name = ?at.name, "a scratch file is not marked");
        }
    }

    /// Removes the mark of what gets a further name.
    ///
    /// # Errors
    /// Those of `removexattr(2)`.
    pub(super) fn remove_scratch_mark_of(&self, seen: &Seen) -> Result<()> {
        let fd = self.fd(seen)?;
        match backing::remove_xattr(fd.as_fd(), SCRATCH) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    /// Removes the mark of what gets another name.
    ///
    /// # Errors
    /// Those of `removexattr(2)`.
    pub(super) fn remove_scratch_mark(&self, at: At<'_>) -> Result<()> {
        let marked = self.mark(at, SCRATCH)?.is_some();
        if let Some(fd) = self.open_found_at(at)?.filter(|_| marked) {
            backing::remove_xattr(fd.as_fd(), SCRATCH)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_was_written_by_another_is_noticed() {
        for (attribute, value, sound) in [
            (SCRATCH, &b"1000 name"[..], true),
            (SCRATCH, b"name", false),
            (MAKER, b"1000", true),
            (MAKER, b"bob", false),
            (b"trusted.lendfs.other", b"1000", false),
        ] {
            assert_eq!(is_mark_sound(attribute, value), sound, "{attribute:?} {value:?}");
        }
    }
}
