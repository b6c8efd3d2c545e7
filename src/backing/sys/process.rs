//! Processes, by descriptors that never come to mean another one.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use nix::unistd::Pid;

use super::{check, owned};

/// `pidfd_open(2)`.
pub(in crate::backing) fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers.
    Ok(owned(check(unsafe {
        libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0)
    })?))
}

/// `pidfd_send_signal(2)`.
pub(in crate::backing) fn pidfd_send_signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo the kernel fills in one like that of kill(2).
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, none, 0) })?;
    Ok(())
}

/// `poll(2)` for reading; tells whether there is something to read, which of a pidfd is its process's end.
pub(in crate::backing) fn poll_readable(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let mut polled = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let patience = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the kernel reads and writes one struct pollfd.
    let ready = check(unsafe { libc::poll(&raw mut polled, 1, patience) })?;
    Ok(ready > 0)
}
