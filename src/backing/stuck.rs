//! Whether a thread of this process waits in a file system: for a disk, a server, another FUSE daemon. Then it is not
//! the process's own fault that it gets no further.

use std::collections::BTreeMap;
use std::time::Duration;

use libc::c_long;

/// What threads call that have nothing to do, or wait for each other.
#[rustfmt::skip]
const AT_REST: &[c_long] = &[
    libc::SYS_futex, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_ppoll, libc::SYS_pselect6,
    libc::SYS_clock_nanosleep, libc::SYS_nanosleep, libc::SYS_restart_syscall, libc::SYS_accept4, libc::SYS_recvmsg,
    libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_sendto, libc::SYS_rt_sigtimedwait, libc::SYS_wait4,
    #[cfg(target_arch = "x86_64")] libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")] libc::SYS_poll,
    #[cfg(target_arch = "x86_64")] libc::SYS_select,
];

/// Tells whether a thread is in one and the same call to a file system for so long (`proc_pid_syscall(5)`).
pub fn waits_in_a_file_system(patience: Duration) -> bool {
    let before = in_file_systems();
    if before.is_empty() {
        return false;
    }
    std::thread::sleep(patience);
    let after = in_file_systems();
    // With its arguments and the stack it is the same call, or an exact repetition.
    before
        .iter()
        .any(|(thread, call)| after.get(thread) == Some(call))
}

/// The threads that are in a file system, each with its call.
fn in_file_systems() -> BTreeMap<std::ffi::OsString, String> {
    let threads = std::fs::read_dir("/proc/self/task");
    let threads = threads.into_iter().flatten().flatten();
    threads
        .filter_map(|thread| {
            let call = std::fs::read_to_string(thread.path().join("syscall")).ok()?;
            is_in_a_file_system(&call).then(|| (thread.file_name(), call))
        })
        .collect()
}

/// Of a thread that does not sleep the kernel says `running`, and -1 of one that sleeps outside of calls.
fn is_in_a_file_system(call: &str) -> bool {
    let mut words = call.split_ascii_whitespace();
    let Some(number) = words.next().and_then(|number| number.parse::<c_long>().ok()) else {
        return false;
    };
    if number < 0 || AT_REST.contains(&number) {
        return false;
    }
    if number != libc::SYS_read {
        return true;
    }
    // Workers wait for requests so, and others for events.
    let descriptor = words
        .next()
        .and_then(|word| u32::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    let Some(file) = descriptor.and_then(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()) else {
        return false;
    };
    file.is_absolute() && !file.starts_with("/dev")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use nix::sys::stat::Mode;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    /// Waits until the thread is where it is to be.
    fn soon(wanted: bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while waits_in_a_file_system(PATIENCE) != wanted {
            assert!(std::time::Instant::now() < deadline);
        }
    }

    /// Threads of other tests of this process would be seen, so it runs alone.
    #[test]
    fn who_waits_in_a_file_system_is_told_from_who_waits_for_another_thread() {
        const ALONE: &str = "LENDFS_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let test =
                "backing::stuck::tests::who_waits_in_a_file_system_is_told_from_who_waits_for_another_thread";
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            let ended = alone.args(["--exact", test]).env(ALONE, "yes").output().unwrap();
            assert!(
                ended.status.success(),
                "{}",
                String::from_utf8_lossy(&ended.stdout)
            );
            return;
        }
        let (tell, told) = channel::<()>();
        let waits = std::thread::spawn(move || told.recv());
        let (reader, writer) = std::io::pipe().unwrap();
        let reads = std::thread::spawn(move || std::io::Read::read(&mut { reader }, &mut [0]));
        soon(false);
        let scratch = tempfile::tempdir().unwrap();
        let fifo = scratch.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let opened = fifo.clone();
        // It waits for a writer, as long as for any disk.
        let opens = std::thread::spawn(move || std::fs::File::open(opened).map(drop));
        soon(true);
        drop(std::fs::File::options().write(true).open(fifo).unwrap());
        opens.join().unwrap().unwrap();
        soon(false);
        drop((tell, writer));
        waits.join().unwrap().unwrap_err();
        reads.join().unwrap().unwrap();
    }
}
