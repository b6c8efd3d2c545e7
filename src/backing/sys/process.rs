//! Processes, by descriptors that never come to mean another one.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::Pid;

use super::{check, owned};

/// Makes a descriptor the process's own that whoever started it has left it, close-on-exec from now on.
///
/// Nothing that this process opens lacks that mark, so nobody else owns what lacks it.
pub(in crate::backing) fn adopt_descriptor(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if flags & i64::from(libc::FD_CLOEXEC) != 0 {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    // SAFETY: takes numbers.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(owned(i64::from(number)))
}

/// A descriptor that came with a message (`SCM_RIGHTS`).
pub(in crate::backing) fn own_descriptor(number: i32) -> OwnedFd {
    owned(i64::from(number))
}

/// Starts a program with these descriptors from number 3 on, and with no signal blocked.
pub(in crate::backing) fn spawn_with(
    mut command: std::process::Command, fds: &[BorrowedFd<'_>],
) -> io::Result<std::process::Child> {
    use std::os::unix::process::CommandExt;
    // First out of the way of where they are to go, and to go by themselves when the program is started.
    let past = 3 + fds.len() as i32;
    let aside = fds.iter().map(|fd| {
        // SAFETY: takes numbers.
        Ok(owned(check(unsafe {
            libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, past)
        })?))
    });
    let aside = aside.collect::<io::Result<Vec<_>>>()?;
    // Nor may what the standard library opens for itself lie there.
    let mut filling = Vec::new();
    while let Some(fd) = fds.first() {
        // SAFETY: takes numbers.
        let filler = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) })?;
        filling.push(owned(filler));
        if filler >= i64::from(past) {
            break;
        }
    }
    let numbers: Vec<_> = (3..).zip(aside.iter().map(AsRawFd::as_raw_fd)).collect();
    let unblocked = SigSet::empty();
    let place = move || {
        for (number, fd) in &numbers {
            // SAFETY: takes numbers. What was behind this one is the copy of another's.
            check(unsafe { libc::dup2(*fd, *number) })?;
        }
        unblocked.thread_set_mask()?;
        Ok(())
    };
    // SAFETY: between fork and exec it calls the kernel alone, and takes no memory.
    unsafe { command.pre_exec(place) };
    command.spawn()
}

/// `unsetenv(3)`, while there is one thread.
pub(in crate::backing) fn forget_variable(name: &str) {
    // SAFETY: the caller sees to it that no other thread reads or changes the environment.
    unsafe { std::env::remove_var(name) };
}

/// `pidfd_open(2)`.
pub(in crate::backing) fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    pidfd_open_with(pid, 0)
}

/// Likewise, of a thread (`PIDFD_THREAD`, Linux 6.9).
pub(in crate::backing) fn pidfd_open_thread(thread: Pid) -> io::Result<OwnedFd> {
    const PIDFD_THREAD: u32 = libc::O_EXCL as u32;
    pidfd_open_with(thread, PIDFD_THREAD)
}

fn pidfd_open_with(pid: Pid, flags: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers.
    Ok(owned(check(unsafe {
        libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), flags)
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

/// Starts a process of its own (`clone(2)`) that becomes another user, without groups, opens a directory anew and
/// puts it in the place of `into`: descriptors are shared, memory is not. Gives its number and a pidfd.
///
/// A thread would not do: whose ids a thread has may send it SIGKILL (`kill(2)`), which ends all others as well.
pub(in crate::backing) fn spawn_opener(
    directory: BorrowedFd<'_>, into: BorrowedFd<'_>, uid: u32, gid: u32,
) -> io::Result<(Pid, OwnedFd)> {
    let mut pidfd: i32 = -1;
    let flags = libc::CLONE_FILES | libc::CLONE_PIDFD | libc::SIGCHLD;
    let none = ptr::null::<u8>();
    // Handlers of the daemon's must not run over there.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    // SAFETY: the kernel writes one int to where pidfd points; without CLONE_VM and a stack this is fork(2), and the
    // child goes on with a copy of this one. The last two arguments mean nothing then, in whatever order.
    let started = check(unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none) });
    if matches!(started, Ok(0)) {
        open_as_other(directory, into, uid, gid);
    }
    let restored = mask.thread_set_mask();
    let pid = started?;
    let pidfd = owned(i64::from(pidfd));
    restored?;
    Ok((Pid::from_raw(pid as i32), pidfd))
}

/// What the process of [`spawn_opener`] does. It is the copy of one thread of many: nothing that takes a lock may be
/// called (`fork(2)`), so the kernel alone is.
fn open_as_other(directory: BorrowedFd<'_>, into: BorrowedFd<'_>, uid: u32, gid: u32) -> ! {
    let (directory, into) = (directory.as_raw_fd(), into.as_raw_fd());
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: system calls that take numbers, and one path that ends in NUL. No memory is shared.
    unsafe {
        let failed = libc::syscall(libc::SYS_setgroups, 0, ptr::null::<u32>()) < 0
            || libc::syscall(libc::SYS_setresgid, gid, gid, gid) < 0
            || libc::syscall(libc::SYS_setresuid, uid, uid, uid) < 0;
        if !failed {
            let opened = libc::syscall(libc::SYS_openat, directory, c".".as_ptr(), flags, 0);
            if opened >= 0 {
                libc::syscall(libc::SYS_dup3, opened, into, libc::O_CLOEXEC);
                libc::syscall(libc::SYS_close, opened);
            }
        }
        loop {
            libc::syscall(libc::SYS_exit_group, 0);
        }
    }
}

/// `waitpid(2)` of a child that has ended or is about to.
pub(in crate::backing) fn reap(pid: Pid) {
    let mut status = 0;
    // SAFETY: the kernel writes one int.
    unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) };
}
