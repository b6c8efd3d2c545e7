//! What lendfs tells of an entry in extended attributes of its own: `user.lendfs.level` and others.
//!
//! They are answered to who asks for them, and never listed, so that nothing copies them. `see` is enough to ask: what
//! `lendfs explain` says to everyone of himself. What is called `user.lendfs.` on the backing is not there.
//!
//! Some the kernel refuses by itself: `user.` attributes of what is neither a file nor a directory (ENODATA,
//! `xattr(7)`), and, where it applies the shown modes, those of what may not be read. `system.lendfs.level` asks
//! without that.

use crate::policy::{AccountId, Operation, Right};
use crate::vfs::error::{Error, Result};
use crate::vfs::filesystem::{FileSystem, Seen};

/// What names of the user's own may not begin with.
const OURS: &[u8] = b"user.lendfs.";
/// The same for who asks past the kernel's rules on `user.`.
const SYSTEM: &[u8] = b"system.lendfs.";

/// An attribute of lendfs's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Virtual {
    Level,
    Folder,
    Owner,
    Maker,
    Rights,
    /// A name that means nothing yet.
    Unknown,
}

impl Virtual {
    /// What an attribute's name means; `None` if it is not one of ours.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let name = name.strip_prefix(OURS).or_else(|| name.strip_prefix(SYSTEM))?;
        Some(match name {
            b"level" => Self::Level,
            b"folder" => Self::Folder,
            b"owner" => Self::Owner,
            b"maker" => Self::Maker,
            b"rights" => Self::Rights,
            _ => Self::Unknown,
        })
    }
}

/// Tells whether a name of the user's own is taken by lendfs.
pub(super) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(OURS)
}

impl FileSystem {
    /// The value of an attribute of lendfs's own.
    ///
    /// # Errors
    /// ENOENT without `see`; ENODATA for what is not known.
    pub(super) fn virtual_xattr(&self, seen: &Seen, which: Virtual) -> Result<Vec<u8>> {
        let verdict = seen.verdict;
        self.authorize(&Operation::Look(verdict))?;
        let value = match which {
            Virtual::Level => Some(verdict.standing.to_string()),
            Virtual::Rights => {
                let rights: Vec<_> = verdict.rights.iter().map(Right::name).collect();
                Some(rights.join(","))
            }
            Virtual::Folder => Some(seen.folder.policy.name.clone()),
            Virtual::Owner => self.login(seen.folder.policy.owner),
            // Whose it is, a stat does not tell either of what may not be read.
            Virtual::Maker if verdict.rights.contains(Right::Read) => {
                self.made_by(seen)?.and_then(|maker| self.login(maker))
            }
            Virtual::Maker | Virtual::Unknown => None,
        };
        value.map(String::into_bytes).ok_or_else(no_attribute)
    }

    fn login(&self, account: AccountId) -> Option<String> {
        let snapshot = self.shared.snapshot();
        Some(snapshot.accounts.get(&account)?.login.clone())
    }
}

/// There is no attribute of that name.
pub(super) fn no_attribute() -> Error {
    std::io::Error::from_raw_os_error(libc::ENODATA).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ours_are_told_from_those_of_the_users() {
        for (name, meaning) in [
            (&b"user.lendfs.level"[..], Some(Virtual::Level)),
            (b"system.lendfs.rights", Some(Virtual::Rights)),
            (b"user.lendfs.", Some(Virtual::Unknown)),
            (b"user.lendfs.Level", Some(Virtual::Unknown)),
            (b"user.lendfs", None),
            (b"user.lendfsx.level", None),
            (b"trusted.lendfs.level", None),
        ] {
            assert_eq!(Virtual::named(name), meaning, "{}", name.escape_ascii());
        }
        assert!(is_reserved(b"user.lendfs.x") && !is_reserved(b"user.lendfs"));
    }
}
