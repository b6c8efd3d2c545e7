//! setxattr, getxattr, listxattr, removexattr: attributes of the user's own (`user.`) and no others.
//!
//! ACLs would be a second set of rules beside those of lendfs; `security.` and `trusted.` are the system's. What is
//! called `user.lendfs.` is lendfs's own (`virtual_xattr`): it can be asked for, and nothing else.

use std::os::fd::AsFd;

use super::virtual_xattr::{Virtual, is_reserved, no_attribute};
use crate::backing;
use crate::policy::{Operation, Refusal};
use crate::vfs::error::Result;
use crate::vfs::filesystem::{FileSystem, Target};
use crate::vfs::ids::Ino;

/// The flags of `setxattr(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetXattr {
    /// `XATTR_CREATE`
    pub create: bool,
    /// `XATTR_REPLACE`
    pub replace: bool,
}

const USER: &[u8] = b"user.";

impl FileSystem {
    /// Sets an attribute.
    ///
    /// # Errors
    /// EOPNOTSUPP outside `user.`; EACCES without `write`; EPERM for what is lendfs's own.
    pub fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], flags: SetXattr) -> Result<()> {
        self.with_view(|view| {
            let Target::Entry(seen) = self.target(view, ino)? else {
                return self.authorize(&Operation::ChangeTop);
            };
            let seen = self.verify(view, seen)?;
            self.authorize(&Operation::SetXattr {
                entry: seen.verdict,
                user: name.starts_with(USER),
            })?;
            if is_reserved(name) {
                return Err(Refusal::NotPermitted.into());
            }
            let fd = self.fd(&seen)?;
            let _touching = self.touching(seen.node.ino.family());
            let _as = seen.folder.backing.credentials().assume()?;
            backing::set_xattr(fd.as_fd(), name, value, flags.create, flags.replace)?;
            self.touched(&seen.node);
            Ok(())
        })
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// EOPNOTSUPP outside `user.`; EACCES without `write`; EPERM for what is lendfs's own; ENODATA.
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        self.with_view(|view| {
            let Target::Entry(seen) = self.target(view, ino)? else {
                return self.authorize(&Operation::ChangeTop);
            };
            let seen = self.verify(view, seen)?;
            self.authorize(&Operation::SetXattr {
                entry: seen.verdict,
                user: name.starts_with(USER),
            })?;
            if is_reserved(name) {
                return Err(Refusal::NotPermitted.into());
            }
            let fd = self.fd(&seen)?;
            let _touching = self.touching(seen.node.ino.family());
            let _as = seen.folder.backing.credentials().assume()?;
            backing::remove_xattr(fd.as_fd(), name)?;
            self.touched(&seen.node);
            Ok(())
        })
    }

    /// The value of an attribute.
    ///
    /// # Errors
    /// EOPNOTSUPP outside `user.`; EACCES without `read`, but for what is lendfs's own; ENODATA.
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        self.with_view(|view| {
            let Target::Entry(seen) = self.target(view, ino)? else {
                self.authorize(&Operation::Top)?;
                return Err(no_attribute());
            };
            if let Some(ours) = Virtual::named(name) {
                return self.virtual_xattr(&seen, ours);
            }
            self.authorize(&Operation::GetXattr {
                entry: seen.verdict,
                user: name.starts_with(USER),
            })?;
            let fd = self.fd(&seen)?;
            let _as = seen.folder.backing.credentials().assume()?;
            Ok(backing::get_xattr(fd.as_fd(), name)?)
        })
    }

    /// The names of the attributes, each ended by NUL.
    ///
    /// # Errors
    /// EACCES without `read`.
    pub fn listxattr(&self, ino: Ino) -> Result<Vec<u8>> {
        self.with_view(|view| {
            let Target::Entry(seen) = self.target(view, ino)? else {
                self.authorize(&Operation::Top)?;
                return Ok(Vec::new());
            };
            self.authorize(&Operation::Read(seen.verdict))?;
            let fd = self.fd(&seen)?;
            let _as = seen.folder.backing.credentials().assume()?;
            let all = backing::list_xattr(fd.as_fd())?;
            Ok(all
                .split_inclusive(|&byte| byte == 0)
                .filter(|name| name.starts_with(USER) && !is_reserved(name))
                .flatten()
                .copied()
                .collect())
        })
    }
}
