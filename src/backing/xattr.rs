//! Extended attributes, on descriptors that only point at a file.

use std::io;
use std::os::fd::BorrowedFd;

use super::change::c_string;
use super::open::proc_path;
use super::sys;

/// Sets an attribute. `create`: it must be new; `replace`: it must be there.
///
/// # Errors
/// Those of `setxattr(2)`.
pub fn set_xattr(
    fd: BorrowedFd<'_>, name: &[u8], value: &[u8], create: bool, replace: bool,
) -> io::Result<()> {
    let flags = if create { libc::XATTR_CREATE } else { 0 } | if replace { libc::XATTR_REPLACE } else { 0 };
    sys::setxattr(&proc_path(&fd), &c_string(name)?, value, flags)
}

/// The value of an attribute.
///
/// # Errors
/// ENODATA if it is not there; those of `getxattr(2)`.
pub fn get_xattr(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    sys::getxattr(&proc_path(&fd), &c_string(name)?)
}

/// The names of all attributes, each ended by NUL.
///
/// # Errors
/// Those of `listxattr(2)`.
pub fn list_xattr(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    sys::listxattr(&proc_path(&fd))
}

/// Removes an attribute.
///
/// # Errors
/// ENODATA if it is not there; those of `removexattr(2)`.
pub fn remove_xattr(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    sys::removexattr(&proc_path(&fd), &c_string(name)?)
}

/// Removes the access control lists of a directory, where it has any.
///
/// # Errors
/// Those of `removexattr(2)`.
pub fn remove_acls(directory: BorrowedFd<'_>) -> io::Result<()> {
    for name in ["system.posix_acl_default", "system.posix_acl_access"] {
        match remove_xattr(directory, name.as_bytes()) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}
