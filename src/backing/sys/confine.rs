//! What a process gives up for good: capabilities that it could have (`capabilities(7)`), system calls (`seccomp(2)`).

use std::io;

use seccompiler::BpfProgram;

use super::check;

/// `prctl(2)` PR_CAPBSET_READ: whether a capability can be had; nothing if the kernel knows none of that number.
pub(in crate::backing) fn is_in_bounding_set(capability: u32) -> Option<bool> {
    // SAFETY: takes numbers.
    let found = check(unsafe { libc::prctl(libc::PR_CAPBSET_READ, u64::from(capability), 0, 0, 0) });
    found.ok().map(|found| found != 0)
}

/// `prctl(2)` PR_CAPBSET_DROP, of the calling thread. Needs CAP_SETPCAP.
pub(in crate::backing) fn drop_from_bounding_set(capability: u32) -> io::Result<()> {
    // SAFETY: takes numbers.
    check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, u64::from(capability), 0, 0, 0) })?;
    Ok(())
}

/// `prctl(2)` PR_CAP_AMBIENT_CLEAR_ALL, of the calling thread.
pub(in crate::backing) fn clear_ambient_set() -> io::Result<()> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as u64;
    // SAFETY: takes numbers.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, 0, 0, 0) })?;
    Ok(())
}

/// `seccomp(2)` SECCOMP_SET_MODE_FILTER, of all threads. What it refuses may be logged.
pub(in crate::backing) fn filter(program: &BpfProgram, logs: bool) -> io::Result<()> {
    let log = if logs { libc::SECCOMP_FILTER_FLAG_LOG } else { 0 };
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC | log;
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len: length,
        // seccompiler's struct is the kernel's, as is libc's.
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: the kernel reads as many instructions as told.
    let thread = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    })?;
    if thread == 0 {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "the thread {thread} cannot be filtered"
        )))
    }
}
