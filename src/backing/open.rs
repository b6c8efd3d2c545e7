//! Opening: by name, by path inside a tree, anew.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::Mode;

use super::credentials::{Credentials, Lender};
use super::name::Name;
use super::stat::{Stat, may_search, stat};

const PATH: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Opens what a name leads to, whatever it is, to point at it (`O_PATH`).
///
/// # Errors
/// Those of `openat(2)`.
pub fn open_path(directory: impl AsFd, name: &Name) -> io::Result<OwnedFd> {
    Ok(openat(directory, name.as_c_str(), PATH, Mode::empty())?)
}

/// Opens what a name leads to with these flags; a symbolic link is not followed, and no terminal becomes the daemon's.
///
/// # Errors
/// ELOOP for a symbolic link; those of `openat(2)`.
pub fn open_at(directory: impl AsFd, name: &Name, flags: i32) -> io::Result<OwnedFd> {
    let flags = OFlag::from_bits_retain(flags & !libc::O_CREAT)
        | OFlag::O_NOFOLLOW
        | OFlag::O_CLOEXEC
        | OFlag::O_NOCTTY;
    Ok(openat(directory, name.as_c_str(), flags, Mode::empty())?)
}

/// Opens a directory by its path, at start-up or when a folder is made. Symbolic links on the way are followed.
///
/// # Errors
/// Those of `open(2)`.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, Mode::empty())?)
}

/// Opens a directory by a path as a user would: what he cannot reach is not found for him.
///
/// # Errors
/// Those of `open(2)` for that user.
pub fn open_as(user: &std::sync::Arc<Lender>, path: &Path) -> io::Result<OwnedFd> {
    let _as = Credentials::Lender(std::sync::Arc::clone(user)).assume()?;
    open_root(path)
}

/// Tells whether a user can enter a directory by a path, past whatever lies on the way.
///
/// # Errors
/// Those of `open(2)` for that user, but what means that he cannot.
pub fn reaches(user: &std::sync::Arc<Lender>, path: &Path) -> io::Result<bool> {
    let _as = Credentials::Lender(std::sync::Arc::clone(user)).assume()?;
    match open_root(path) {
        Ok(directory) => may_search(directory),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EACCES | libc::ENOENT | libc::ENOTDIR)
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Opens (`O_PATH`) what a path below a directory leads to: no symbolic link, no `..`, no other mount. No
/// component at all means the directory itself.
///
/// # Errors
/// ELOOP at a symbolic link, EXDEV at a mount; those of `openat2(2)`.
pub fn open_beneath<'a>(
    directory: impl AsFd, components: impl IntoIterator<Item = &'a [u8]>,
) -> io::Result<OwnedFd> {
    let path = components.into_iter().collect::<Vec<_>>().join(&b'/');
    let path = if path.is_empty() {
        c".".into()
    } else {
        CString::new(path)?
    };
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    // The last component is opened even if it is a symbolic link: O_PATH|O_NOFOLLOW points at the link itself,
    // but RESOLVE_NO_SYMLINKS says ELOOP to it.
    match openat2(
        &directory,
        path.as_c_str(),
        OpenHow::new().flags(PATH).resolve(resolve),
    ) {
        Err(nix::errno::Errno::ELOOP) => open_link_beneath(directory, path.as_bytes(), resolve),
        opened => Ok(opened?),
    }
}

fn open_link_beneath(directory: impl AsFd, path: &[u8], resolve: ResolveFlag) -> io::Result<OwnedFd> {
    let (above, name) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&b"."[..], path),
    };
    let flags = PATH | OFlag::O_DIRECTORY;
    let above = openat2(
        &directory,
        CString::new(above)?.as_c_str(),
        OpenHow::new().flags(flags).resolve(resolve),
    )?;
    open_path(above, &Name::new(name).map_err(|_| io::ErrorKind::InvalidInput)?)
}

/// Opens a file anew through a descriptor that points at it, with the rights of the calling thread.
///
/// # Errors
/// ELOOP for a symbolic link; those of `open(2)`.
pub fn reopen(fd: impl AsFd, flags: i32) -> io::Result<OwnedFd> {
    let flags = OFlag::from_bits_retain(flags & !(libc::O_CREAT | libc::O_NOFOLLOW))
        | OFlag::O_CLOEXEC
        | OFlag::O_NOCTTY;
    Ok(nix::fcntl::open(proc_path(&fd).as_c_str(), flags, Mode::empty())?)
}

/// Where the kernel has an open file now, as an absolute path.
///
/// # Errors
/// Those of `readlink(2)`.
pub fn path_of(fd: impl AsFd) -> io::Result<PathBuf> {
    Ok(nix::fcntl::readlink(proc_path(&fd).as_c_str())?.into())
}

/// The content of a symbolic link that a descriptor points at.
///
/// # Errors
/// ENOENT if it is none; those of `readlinkat(2)`.
pub fn readlink(fd: impl AsFd) -> io::Result<Vec<u8>> {
    Ok(OsString::into_vec(readlinkat(fd, c"")?))
}

/// Tells whether one directory is another or lies somewhere inside it.
///
/// # Errors
/// Those of `openat(2)`.
pub fn is_within(inner: impl AsFd, outer: impl AsFd) -> io::Result<bool> {
    let same = |one: &Stat, other: &Stat| (one.dev, one.ino) == (other.dev, other.ino);
    let outer = stat(outer)?;
    let mut at = inner.as_fd().try_clone_to_owned()?;
    loop {
        let here = stat(&at)?;
        if same(&here, &outer) {
            return Ok(true);
        }
        let above = openat(
            &at,
            c"..",
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        if same(&stat(&above)?, &here) {
            return Ok(false);
        }
        at = above;
    }
}

/// The way to an open file through /proc: works on descriptors that only point at a file.
pub(super) fn proc_path(fd: &impl AsFd) -> CString {
    // Digits hold no NUL.
    CString::new(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).unwrap_or_default()
}
