//! Threads and descriptors that are changed under another thread.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::check;

/// `dup3(2)` onto a number that is open, close-on-exec. Whoever is in a system call on the number finishes that with
/// what was behind it before.
pub(in crate::backing) fn replace(number: RawFd, by: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes numbers. The caller's is open and stays so: no other file is closed by this.
    check(unsafe { libc::dup3(by.as_raw_fd(), number, libc::O_CLOEXEC) })?;
    Ok(())
}

/// The signal that wakes a thread: it does nothing else.
fn wake_signal() -> i32 {
    libc::SIGRTMIN() + 1
}

extern "C" fn nothing(_: libc::c_int) {}

/// `sigaction(2)` of the signal that [`wake`] sends. With SA_RESTART a system call begins anew, looking up its
/// descriptor again, and no other one that is hit fails.
pub(in crate::backing) fn prepare_waking() -> io::Result<()> {
    // SAFETY: all bit patterns are valid for it: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler does nothing, so it may interrupt anything; the old action is not asked for.
    check(unsafe { libc::sigaction(wake_signal(), &raw const action, std::ptr::null_mut()) })?;
    Ok(())
}

/// `tgkill(2)` to a thread of this process, which wakes it from a system call.
pub(in crate::backing) fn wake(thread: i32) -> io::Result<()> {
    // SAFETY: takes numbers.
    check(unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            libc::c_long::from(std::process::id() as i32),
            libc::c_long::from(thread),
            libc::c_long::from(wake_signal()),
        )
    })?;
    Ok(())
}
