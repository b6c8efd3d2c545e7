//! Open file description locks (`fcntl_locking(2)`).

use std::io;
use std::os::fd::BorrowedFd;

use super::sys;

/// What a lock is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// To read while others read.
    Read,
    /// To be alone.
    Write,
    /// To give back.
    Unlock,
}

/// A lock on a range of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lock {
    /// What for.
    pub kind: LockKind,
    /// The first byte.
    pub start: u64,
    /// The last byte; `i64::MAX` or more means the end of the file, wherever it is.
    pub end: u64,
}

/// Takes or gives back a lock; tells whether it was to be had. Never waits.
///
/// # Errors
/// Those of `fcntl_locking(2)` but EAGAIN.
pub fn ofd_lock(fd: BorrowedFd<'_>, lock: Lock) -> io::Result<bool> {
    match sys::ofd_setlk(fd, &to_flock(lock)) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The lock that stands in the way of one; `None` if it could be had.
///
/// # Errors
/// Those of `fcntl_locking(2)`.
pub fn ofd_test(fd: BorrowedFd<'_>, lock: Lock) -> io::Result<Option<Lock>> {
    let found = sys::ofd_getlk(fd, to_flock(lock))?;
    let kind = match i32::from(found.l_type) {
        libc::F_UNLCK => return Ok(None),
        libc::F_RDLCK => LockKind::Read,
        _ => LockKind::Write,
    };
    let start = u64::try_from(found.l_start).unwrap_or(0);
    let end = match found.l_len {
        0 => i64::MAX as u64,
        length => start + u64::try_from(length).unwrap_or(1) - 1,
    };
    Ok(Some(Lock { kind, start, end }))
}

fn to_flock(lock: Lock) -> libc::flock {
    let kind = match lock.kind {
        LockKind::Read => libc::F_RDLCK,
        LockKind::Write => libc::F_WRLCK,
        LockKind::Unlock => libc::F_UNLCK,
    };
    let start = i64::try_from(lock.start).unwrap_or(i64::MAX);
    // Length 0 reaches to the end.
    let length = match i64::try_from(lock.end) {
        Ok(end) if end < i64::MAX => end - start + 1,
        _ => 0,
    };
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        // Demanded by F_OFD_*.
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn two_open_files_keep_each_other_out_and_closing_gives_back() {
        let scratch = tempfile::NamedTempFile::new().unwrap();
        let open = || {
            std::fs::File::options()
                .read(true)
                .write(true)
                .open(scratch.path())
                .unwrap()
        };
        let (one, two) = (open(), open());
        let lock = |kind, start, end| Lock { kind, start, end };
        let whole = lock(LockKind::Write, 0, i64::MAX as u64);
        assert!(ofd_lock(one.as_fd(), lock(LockKind::Write, 10, 19)).unwrap());
        assert!(!ofd_lock(two.as_fd(), whole).unwrap());
        assert_eq!(
            ofd_test(two.as_fd(), whole).unwrap(),
            Some(lock(LockKind::Write, 10, 19))
        );
        assert!(ofd_lock(two.as_fd(), lock(LockKind::Write, 20, 29)).unwrap());
        drop(one);
        assert!(ofd_lock(two.as_fd(), whole).unwrap());
    }
}
