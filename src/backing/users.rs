//! The operating system's users and groups, through NSS. Look-ups may ask a network: never in a request.

use std::io;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use super::credentials::Lender;

/// A user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OsUser {
    /// The login name.
    pub name: String,
    /// The uid.
    pub uid: u32,
    /// The primary gid.
    pub gid: u32,
}

impl From<User> for OsUser {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        }
    }
}

/// The user of a login name.
///
/// # Errors
/// Those of `getpwnam_r(3)`.
pub fn by_name(name: &str) -> io::Result<Option<OsUser>> {
    Ok(User::from_name(name)?.map(Into::into))
}

/// The user of a uid.
///
/// # Errors
/// Those of `getpwuid_r(3)`.
pub fn by_uid(uid: u32) -> io::Result<Option<OsUser>> {
    Ok(User::from_uid(Uid::from_raw(uid))?.map(Into::into))
}

/// Tells whether there is a group of that name.
///
/// # Errors
/// Those of `getgrnam_r(3)`.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// The gids of a user, the primary one first.
///
/// # Errors
/// Those of `getgrouplist(3)`.
pub fn groups_of(user: &OsUser) -> io::Result<Vec<u32>> {
    let name = std::ffi::CString::new(user.name.as_str())?;
    Ok(getgrouplist(&name, Gid::from_raw(user.gid))?
        .into_iter()
        .map(Gid::as_raw)
        .collect())
}

/// A user as he touches files.
///
/// # Errors
/// Those of `getgrouplist(3)`.
pub fn lender(user: &OsUser) -> io::Result<Lender> {
    Ok(Lender {
        uid: user.uid,
        gid: user.gid,
        groups: groups_of(user)?,
    })
}
