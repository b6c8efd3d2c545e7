//! What the daemon sets for itself, and asks about other processes.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

use super::sys;

/// Lifts the limit of open files to the most that is allowed (`RLIMIT_NOFILE`), and tells it. Root lifts it to
/// what the kernel can do.
///
/// # Errors
/// Those of `setrlimit(2)`.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    const WANTED: u64 = 1 << 20;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    for limit in [hard.max(WANTED), hard] {
        if setrlimit(Resource::RLIMIT_NOFILE, limit, limit).is_ok() {
            return Ok(limit);
        }
    }
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Tells whether so many files could be opened yet.
pub fn has_room_for(files: usize) -> bool {
    let Ok(first) = File::open("/dev/null") else {
        return false;
    };
    (1..files)
        .map(|_| first.try_clone())
        .collect::<io::Result<Vec<_>>>()
        .is_ok()
}

/// Clears the umask: the kernel has applied the client's.
pub fn clear_umask() {
    umask(Mode::empty());
}

/// Lets large buffers be given back as soon as they are freed: fuser's receive buffers are 16 MiB each, of which
/// little is ever touched, and glibc would move its threshold after the first one (`mallopt(3)`).
pub fn return_large_memory() {
    sys::set_mmap_threshold(128 * 1024);
}

/// Takes so many descriptors, from number 3 on, that whoever started the process has left it (`sd_listen_fds(3)`),
/// close-on-exec from now on.
///
/// # Errors
/// EBADF if there are fewer; `ResourceBusy` if one was opened by the process itself, or taken before.
pub fn left_descriptors(count: usize) -> io::Result<Vec<OwnedFd>> {
    let past = i32::try_from(count).ok().and_then(|count| count.checked_add(3));
    let past = past.ok_or(io::ErrorKind::InvalidInput)?;
    (3..past).map(sys::process::adopt_descriptor).collect()
}

/// Starts a program with these descriptors from number 3 on, and with no signal blocked.
///
/// # Errors
/// Those of `fork(2)` and `execve(2)`; EMFILE.
pub fn spawn_with(
    command: std::process::Command, fds: &[std::os::fd::BorrowedFd<'_>],
) -> io::Result<std::process::Child> {
    sys::process::spawn_with(command, fds)
}

/// A descriptor that came with a message (`SCM_RIGHTS`), which nobody else has.
pub fn own_descriptor(number: i32) -> OwnedFd {
    sys::process::own_descriptor(number)
}

/// Takes a variable out of the environment, so that nobody inherits it. Leaves it there if threads run already, for
/// they may be reading.
pub fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if threads.is_ok_and(|threads| threads == 1) {
        sys::process::forget_variable(name);
    }
    Some(value)
}

/// Gives freed memory back to the system, also what lies between pieces that are in use (`malloc_trim(3)`). Takes
/// milliseconds where much is free.
pub fn return_freed_memory() {
    sys::trim_memory();
}

/// Tells whether a process has a file with this inode number open (`proc_pid_fdinfo(5)`, which tells it since Linux
/// 5.14). Where that is not to be seen it may have.
pub fn has_open(process: u32, ino: u64) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{process}/fdinfo")) else {
        return false;
    };
    let wanted = format!("ino:\t{ino}");
    open.flatten().any(|entry| {
        std::fs::read_to_string(entry.path())
            .is_ok_and(|info| !info.contains("ino:") || info.lines().any(|line| line == wanted))
    })
}

/// Tells whether a thread has a signal pending that it does not block: then it does not want to wait any longer.
/// A thread that is not there has nothing to wait for. What is pending for a process of several threads any other may
/// take.
pub fn signal_pending(thread: u32) -> bool {
    if thread == 0 {
        return false;
    }
    // The name of the program may be of any bytes.
    let Ok(status) = std::fs::read(format!("/proc/{thread}/status")) else {
        return true;
    };
    let status = String::from_utf8_lossy(&status);
    let field = |field: &str| {
        let mut lines = status.lines();
        lines
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .map(str::trim)
    };
    let mask = |name: &str| {
        field(name)
            .and_then(|mask| u64::from_str_radix(mask, 16).ok())
            .unwrap_or(0)
    };
    let alone = field("Threads") == Some("1");
    let pending = mask("SigPnd") | if alone { mask("ShdPnd") } else { 0 };
    pending & !mask("SigBlk") & !mask("SigIgn") != 0
}

/// The process that a thread belongs to: its number, and when it was started, in ticks since the machine was
/// (`proc_pid_stat(5)`).
///
/// # Errors
/// ENOENT if it has ended; InvalidData for what is no such file.
pub fn identity_of(thread: u32) -> io::Result<(u32, u64)> {
    // The name of the program may be of any bytes.
    let status = std::fs::read(format!("/proc/{thread}/status"))?;
    let status = String::from_utf8_lossy(&status);
    let id = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    let id = id.and_then(|id| id.trim().parse().ok());
    let id = id.ok_or(io::ErrorKind::InvalidData)?;
    Ok((id, started(id)?))
}

/// When a process was started, in ticks since the machine was.
///
/// # Errors
/// Like [`identity_of`].
pub fn started(process: u32) -> io::Result<u64> {
    let stat = std::fs::read(format!("/proc/{process}/stat"))?;
    // The name before may be of any bytes.
    let after = stat
        .iter()
        .rposition(|byte| *byte == b')')
        .map(|at| &stat[at + 1..]);
    let fields = after.and_then(|fields| std::str::from_utf8(fields).ok());
    let started = fields.and_then(|fields| fields.split_ascii_whitespace().nth(19)?.parse().ok());
    started.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A thread of any process, by a descriptor that never comes to mean another one.
#[derive(Debug)]
pub struct ThreadHandle(OwnedFd);

impl ThreadHandle {
    /// Needs Linux 6.9.
    ///
    /// # Errors
    /// ESRCH if there is none; EINVAL on an older kernel.
    pub fn open(thread: u32) -> io::Result<Self> {
        let thread = i32::try_from(thread).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(Self(sys::process::pidfd_open_thread(Pid::from_raw(thread))?))
    }

    /// Tells whether it has ended.
    pub fn has_ended(&self) -> bool {
        super::is_readable(&self.0)
    }
}

/// A process and its program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Its number (the thread group's).
    pub id: u32,
    /// The name of its program (`comm`).
    pub name: Vec<u8>,
}

/// The process that a thread belongs to, if it is there and visible (`proc_pid_status(5)`, `proc_pid_comm(5)`).
pub fn process_of(thread: u32) -> Option<Program> {
    if thread == 0 {
        return None;
    }
    let status = std::fs::read(format!("/proc/{thread}/status")).ok()?;
    let id = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| std::str::from_utf8(line.strip_prefix(b"Tgid:")?).ok())?;
    let id = id.trim().parse().ok()?;
    let mut name = std::fs::read(format!("/proc/{id}/comm")).ok()?;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Some(Program { id, name })
}

/// How busy the processors are.
#[derive(Debug)]
pub struct Processors {
    load: File,
    count: usize,
}

impl Processors {
    /// Finds out how many there are.
    ///
    /// # Errors
    /// Those of `open(2)` of `/proc/loadavg`.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            load: File::open("/proc/loadavg")?,
            count: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }

    /// Tells whether one of them has nothing to do, the calling thread not counted (`proc_loadavg(5)`: the threads
    /// that run or wait to).
    pub fn have_room(&self) -> bool {
        let mut text = [0; 64];
        let running = self.load.read_at(&mut text, 0).ok().and_then(|length| {
            let text = std::str::from_utf8(&text[..length]).ok()?;
            let (running, _) = text.split(' ').nth(3)?.split_once('/')?;
            running.parse::<usize>().ok()
        });
        running.is_some_and(|running| running <= self.count)
    }
}
