//! Memory that outlives the process: a file without a name, mapped.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use super::{check, owned};

/// A mapping of an entire file (`mmap(2)`, MAP_SHARED).
#[derive(Debug)]
pub(in crate::backing) struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: what it points at is atomic, and stays mapped as long as it lives.
unsafe impl Send for Mapping {}
// SAFETY: likewise.
unsafe impl Sync for Mapping {}

/// `memfd_create(2)`, close-on-exec, that can be sealed.
pub(in crate::backing) fn memfd() -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name ends in NUL.
    Ok(owned(i64::from(
        check(unsafe { libc::memfd_create(c"lendfs".as_ptr(), flags) })? as i32,
    )))
}

/// `fcntl(2)` F_ADD_SEALS: it stays as long as it is.
pub(in crate::backing) fn seal_size(file: BorrowedFd<'_>) -> io::Result<()> {
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: takes numbers.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(())
}

/// `fcntl(2)` F_GET_SEALS: whether it stays as long as it is.
pub(in crate::backing) fn is_size_sealed(file: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: takes numbers.
    let seals = check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) })?;
    Ok(seals & i64::from(libc::F_SEAL_SHRINK) != 0)
}

impl Mapping {
    /// Maps that many words of a file, which has to have them and must never be shorter: a word that is not there would
    /// end the process.
    pub(in crate::backing) fn new(file: BorrowedFd<'_>, words: usize) -> io::Result<Self> {
        // SAFETY: the kernel chooses a place where nothing is.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                words * size_of::<u64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { start, words })
    }

    /// The words.
    pub(in crate::backing) fn words(&self) -> &[AtomicU64] {
        // SAFETY: they are mapped as long as this lives, a page is aligned for them, all bits are valid, and nobody here
        // has them but as atomics.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * size_of::<u64>()) };
    }
}
