//! Calls that change names and attributes.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{AtFlags, OFlag, openat, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag};
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags};

use super::name::Name;
use super::open::proc_path;
use super::stat::FileKind;
use super::sys;

/// The flags of `renameat2(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RenameFlags {
    /// `RENAME_NOREPLACE`
    pub no_replace: bool,
    /// `RENAME_EXCHANGE`
    pub exchange: bool,
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetTime {
    /// `UTIME_NOW`
    Now,
    /// This one.
    At(SystemTime),
}

/// Makes a regular file and opens it. `flags` as of `openat(2)`; a symbolic link is never followed.
///
/// # Errors
/// Those of `openat(2)`.
pub fn create(directory: BorrowedFd<'_>, name: &Name, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(
        directory,
        name.as_c_str(),
        flags,
        Mode::from_bits_truncate(mode),
    )?)
}

/// Makes a directory.
///
/// # Errors
/// Those of `mkdirat(2)`.
pub fn mkdir(directory: impl AsFd, name: &Name, mode: u32) -> io::Result<()> {
    Ok(nix::sys::stat::mkdirat(
        directory,
        name.as_c_str(),
        Mode::from_bits_truncate(mode),
    )?)
}

/// Makes a regular file, a FIFO, a socket or a device.
///
/// # Errors
/// Those of `mknodat(2)`.
pub fn mknod(
    directory: BorrowedFd<'_>, name: &Name, kind: FileKind, mode: u32, device: u32,
) -> io::Result<()> {
    let kind = SFlag::from_bits_truncate(kind.mode());
    let mode = Mode::from_bits_truncate(mode);
    Ok(nix::sys::stat::mknodat(
        directory,
        name.as_c_str(),
        kind,
        mode,
        u64::from(device),
    )?)
}

/// Makes a symbolic link.
///
/// # Errors
/// Those of `symlinkat(2)`.
pub fn symlink(content: &[u8], directory: impl AsFd, name: &Name) -> io::Result<()> {
    Ok(nix::unistd::symlinkat(
        OsStr::from_bytes(content),
        directory,
        name.as_c_str(),
    )?)
}

/// Gives an open file (O_PATH suffices) another name.
///
/// # Errors
/// Those of `linkat(2)`.
pub fn link(file: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &Name) -> io::Result<()> {
    // AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH, which a lender does not have.
    let file = proc_path(&file);
    let follow = LinkatFlags::AT_SYMLINK_FOLLOW;
    Ok(nix::unistd::linkat(
        nix::fcntl::AT_FDCWD,
        file.as_c_str(),
        directory,
        name.as_c_str(),
        follow,
    )?)
}

/// Removes a name that is not a directory's.
///
/// # Errors
/// Those of `unlinkat(2)`.
pub fn unlink(directory: impl AsFd, name: &Name) -> io::Result<()> {
    Ok(nix::unistd::unlinkat(
        directory,
        name.as_c_str(),
        UnlinkatFlags::NoRemoveDir,
    )?)
}

/// Removes an empty directory.
///
/// # Errors
/// Those of `unlinkat(2)`.
pub fn rmdir(directory: impl AsFd, name: &Name) -> io::Result<()> {
    Ok(nix::unistd::unlinkat(
        directory,
        name.as_c_str(),
        UnlinkatFlags::RemoveDir,
    )?)
}

/// Renames.
///
/// # Errors
/// Those of `renameat2(2)`.
pub fn rename(
    directory: impl AsFd, name: &Name, new_directory: impl AsFd, new_name: &Name, flags: RenameFlags,
) -> io::Result<()> {
    let mut how = nix::fcntl::RenameFlags::empty();
    how.set(nix::fcntl::RenameFlags::RENAME_NOREPLACE, flags.no_replace);
    how.set(nix::fcntl::RenameFlags::RENAME_EXCHANGE, flags.exchange);
    Ok(renameat2(
        directory,
        name.as_c_str(),
        new_directory,
        new_name.as_c_str(),
        how,
    )?)
}

/// Sets the permission bits of an open file (O_PATH suffices).
///
/// # Errors
/// EOPNOTSUPP for a symbolic link; those of `chmod(2)`.
pub fn chmod(fd: impl AsFd, mode: u32) -> io::Result<()> {
    let (path, mode) = (proc_path(&fd), Mode::from_bits_truncate(mode));
    Ok(nix::sys::stat::fchmodat(
        nix::fcntl::AT_FDCWD,
        path.as_c_str(),
        mode,
        FchmodatFlags::FollowSymlink,
    )?)
}

/// Sets owner and group of an open file (O_PATH suffices).
///
/// # Errors
/// Those of `fchownat(2)`.
pub fn chown(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    Ok(nix::unistd::fchownat(fd, c"", uid, gid, AtFlags::AT_EMPTY_PATH)?)
}

/// Sets the size of a file that is open for writing.
///
/// # Errors
/// Those of `ftruncate(2)`.
pub fn truncate(fd: impl AsFd, size: u64) -> io::Result<()> {
    let size = i64::try_from(size).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    Ok(nix::unistd::ftruncate(fd, size)?)
}

/// Sets the times of an open file (O_PATH suffices), a symbolic link's own too. `None` leaves a time as it is.
///
/// # Errors
/// Those of `utimensat(2)`.
pub fn utimens(fd: BorrowedFd<'_>, atime: Option<SetTime>, mtime: Option<SetTime>) -> io::Result<()> {
    sys::utimens(fd, [to_timespec(atime), to_timespec(mtime)])
}

/// Sets the times of what a name in a directory leads to, a symbolic link's own too.
///
/// # Errors
/// Those of `utimensat(2)`.
pub fn utimens_at(
    directory: BorrowedFd<'_>, name: &Name, atime: Option<SetTime>, mtime: Option<SetTime>,
) -> io::Result<()> {
    sys::utimens_at(
        directory,
        name.as_c_str(),
        [to_timespec(atime), to_timespec(mtime)],
    )
}

fn to_timespec(time: Option<SetTime>) -> libc::timespec {
    let (tv_sec, tv_nsec) = match time {
        None => (0, libc::UTIME_OMIT),
        Some(SetTime::Now) => (0, libc::UTIME_NOW),
        Some(SetTime::At(time)) => match time.duration_since(UNIX_EPOCH) {
            Ok(after) => (
                i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                i64::from(after.subsec_nanos()),
            ),
            Err(before) => {
                let before = before.duration();
                let seconds = -i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => (seconds, 0),
                    nanos => (seconds - 1, 1_000_000_000 - i64::from(nanos)),
                }
            }
        },
    };
    libc::timespec { tv_sec, tv_nsec }
}

/// The name of an extended attribute, or EINVAL if it holds a NUL.
pub(super) fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::{open_path, open_root, readlink, stat};
    use std::time::Duration;

    fn name(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    #[test]
    fn times_before_1970_and_of_symbolic_links_are_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let root = open_root(scratch.path()).unwrap();
        symlink(b"nowhere", &root, &name("link")).unwrap();
        let link = open_path(&root, &name("link")).unwrap();
        let time = UNIX_EPOCH - Duration::from_millis(1500);
        utimens(link.as_fd(), None, Some(SetTime::At(time))).unwrap();
        assert_eq!(stat(&link).unwrap().mtime, time);
        assert_eq!(readlink(&link).unwrap(), b"nowhere");
    }

    #[test]
    fn a_symbolic_link_is_never_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let root = open_root(scratch.path()).unwrap();
        std::fs::write(scratch.path().join("target"), "kept").unwrap();
        symlink(b"target", &root, &name("link")).unwrap();
        let link = open_path(&root, &name("link")).unwrap();
        assert_eq!(stat(&link).unwrap().kind, FileKind::Symlink);
        let opened = crate::backing::reopen(&link, libc::O_RDWR | libc::O_TRUNC);
        assert_eq!(opened.unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert!(create(root.as_fd(), &name("link"), libc::O_RDWR | libc::O_TRUNC, 0o600).is_err());
        assert_eq!(
            chmod(&link, 0o777).unwrap_err().raw_os_error(),
            Some(libc::EOPNOTSUPP)
        );
        link_to(&root, &link);
        assert_eq!(std::fs::read(scratch.path().join("target")).unwrap(), b"kept");
    }

    fn link_to(root: &OwnedFd, file: &OwnedFd) {
        super::link(file.as_fd(), root.as_fd(), &name("other")).unwrap();
        let other = open_path(root, &name("other")).unwrap();
        assert_eq!(
            stat(&other).unwrap().kind,
            FileKind::Symlink,
            "the link got another name, not its target"
        );
    }
}
