//! Keeps the mounts of a daemon, its child, where there is no systemd: holds the descriptors that the daemon gives it,
//! and starts the next one with them when it ends. Does nothing else, so that it has no reason to end.
//!
//! It speaks as systemd does (`sd_notify(3)`, `sd_listen_fds(3)`), so the daemon does not tell them apart.

use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, bind, getsockname, recvmsg,
    setsockopt, socket,
};
use nix::unistd::Pid;

use crate::backing::{self, Mounted};
use crate::vfs::Charter;

/// So many that end at once, one after the other, are followed at once, if they came as far as to be ready.
const FORGIVEN: u32 = 8;
/// What the next one waits: doubled each time, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A daemon that ran so long did not end at once.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// All names together go to the next daemon in one variable, and the kernel lets no program start with one of 128 KiB.
const LONGEST_NAMES: usize = 120 * 1024;

/// How many descriptors are kept at most, of as many as a process may have open.
const SPARE: u64 = 64;

/// Descriptors that are kept, with their names.
type Kept = Vec<(String, OwnedFd)>;

struct Keeper {
    program: PathBuf,
    arguments: Vec<OsString>,
    socket: OwnedFd,
    address: String,
    signals: SignalFd,
    kept: Kept,
    most: usize,
    /// Whether a daemon has ever said that it is ready.
    was_ready: bool,
    /// Whether the one that runs, or ran last, has.
    is_ready: bool,
    ends: bool,
}

/// Runs `lendfs daemon` with these arguments, again and again, until it is told to end by SIGTERM or SIGINT: then the
/// daemon takes its mounts down, and its exit status is told. SIGHUP starts the program that is there now in its place, and the mounts stay.
///
/// # Errors
/// If the daemon cannot be started at all.
pub fn run(arguments: Vec<OsString>) -> io::Result<i32> {
    let limit = backing::raise_descriptor_limit()?;
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        mask.add(signal);
    }
    mask.thread_block()?;
    let socket = socket(
        AddressFamily::Unix,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    // A name that the kernel chooses and no file has.
    bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
    setsockopt(&socket, PassCred, &true)?;
    let address: UnixAddr = getsockname(socket.as_raw_fd())?;
    let address = address.as_abstract().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let address = format!("@{}", String::from_utf8_lossy(address));
    let mut keeper = Keeper {
        program: std::env::current_exe()?,
        arguments,
        socket,
        address,
        signals: SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
        kept: Vec::new(),
        most: usize::try_from(limit.saturating_sub(SPARE)).unwrap_or(usize::MAX),
        was_ready: false,
        is_ready: false,
        ends: false,
    };
    keeper.keep()
}

impl Keeper {
    fn keep(&mut self) -> io::Result<i32> {
        let mut at_once = 0;
        loop {
            let begun = Instant::now();
            self.is_ready = false;
            let (ended, code) = match self.start() {
                Ok(daemon) => {
                    let status = self.accompany(daemon)?;
                    (format!("it ended at once ({status})"), status.code())
                }
                // The program may be about to be replaced.
                Err(error) if self.was_ready => (format!("it cannot be started: {error}"), None),
                Err(error) => return Err(error),
            };
            if self.ends || !self.was_ready {
                return Ok(code.unwrap_or(1));
            }
            at_once = if begun.elapsed() >= LONG_ENOUGH {
                0
            } else {
                at_once + 1
            };
            let pause = pause_after(at_once, self.is_ready);
            if pause.is_zero() {
                continue;
            }
            eprintln!("lendfs: keeper: the daemon is to be started again, for {ended}");
            self.wait(pause)?;
            if self.ends {
                self.take_down();
                return Ok(0);
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        let names: Vec<_> = self.kept.iter().map(|(name, _)| name.as_str()).collect();
        let fds: Vec<_> = self.kept.iter().map(|(_, fd)| fd.as_fd()).collect();
        let mut command = Command::new(&self.program);
        command
            .arg("daemon")
            .args(&self.arguments)
            .env("NOTIFY_SOCKET", &self.address)
            .env("FDSTORE", self.most.to_string())
            .env("LISTEN_PID", "self")
            .env("LISTEN_FDS", fds.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
        backing::spawn_with(command, &fds)
    }

    /// Stays with a daemon until it ends.
    fn accompany(&mut self, mut daemon: Child) -> io::Result<ExitStatus> {
        let pid = Pid::from_raw(daemon.id().cast_signed());
        loop {
            {
                let mut asked = [
                    PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                    PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                ];
                match poll(&mut asked, PollTimeout::NONE) {
                    Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            while self.hear(pid) {}
            while let Some(signal) = self.signals.read_signal()? {
                match Signal::try_from(signal.ssi_signo.cast_signed()) {
                    Ok(Signal::SIGTERM | Signal::SIGINT) => {
                        self.ends = true;
                        kill(pid, Signal::SIGINT)?;
                    }
                    Ok(Signal::SIGHUP) => kill(pid, Signal::SIGTERM)?,
                    _ => {}
                }
            }
            if let Some(status) = daemon.try_wait()? {
                // What it said last.
                while self.hear(pid) {}
                return Ok(status);
            }
        }
    }

    /// Takes the mounts down itself: there is no daemon that would.
    fn take_down(&self) {
        let journals = self.kept.iter().filter(|(name, _)| name.starts_with("journal-"));
        for charter in journals.filter_map(|(_, journal)| Charter::of(journal).ok()) {
            if let Err(error) = Mounted::again(charter.mount, charter.device).end() {
                eprintln!("lendfs: keeper: a mount of {} is left: {error}", charter.login);
            }
        }
    }

    /// Waits, unless it is told to end, or to start what is there now.
    fn wait(&mut self, pause: Duration) -> io::Result<()> {
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.ends {
                return Ok(());
            }
            let mut asked = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            let _ = poll(
                &mut asked,
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
            );
            while let Some(signal) = self.signals.read_signal()? {
                match Signal::try_from(signal.ssi_signo.cast_signed()) {
                    Ok(Signal::SIGTERM | Signal::SIGINT) => self.ends = true,
                    Ok(Signal::SIGHUP) => return Ok(()),
                    _ => {}
                }
            }
        }
    }

    /// Hears one message, if there is one. Anybody can send some: of others than the daemon nothing is believed, and
    /// whatever comes, the keeper goes on.
    fn hear(&mut self, daemon: Pid) -> bool {
        let mut text = [0; 4096];
        // Room for as many as the kernel lets through (`SCM_MAX_FD`): what is cut off could not be closed.
        let mut control = nix::cmsg_space!([i32; 253], nix::libc::ucred);
        let mut parts = [IoSliceMut::new(&mut text)];
        let received = recvmsg::<UnixAddr>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        );
        let message = match received {
            Ok(message) => message,
            Err(error) => return error == nix::errno::Errno::EINTR,
        };
        let mut fds = Vec::new();
        let mut sender = None;
        let Ok(controls) = message.cmsgs() else {
            return true;
        };
        for control in controls {
            match control {
                ControlMessageOwned::ScmRights(received) => {
                    fds.extend(received.into_iter().map(backing::own_descriptor));
                }
                ControlMessageOwned::ScmCredentials(credentials) => sender = Some(credentials),
                _ => {}
            }
        }
        let length = message.bytes;
        let is_daemon = sender.is_some_and(|sender| sender.pid() == daemon.as_raw() && sender.uid() == 0);
        if is_daemon && let Ok(text) = std::str::from_utf8(&text[..length]) {
            self.obey(text, fds);
        }
        true
    }

    fn obey(&mut self, text: &str, fds: Vec<OwnedFd>) {
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME="));
        let name = name.unwrap_or("stored");
        for line in text.lines() {
            match line {
                "READY=1" => {
                    self.was_ready = true;
                    self.is_ready = true;
                }
                "FDSTOREREMOVE=1" => self.kept.retain(|(kept, _)| kept != name),
                "FDSTORE=1" => {
                    let names: usize = self.kept.iter().map(|(kept, _)| kept.len() + 1).sum();
                    let room = self.most.saturating_sub(self.kept.len());
                    let room = if names + name.len() > LONGEST_NAMES {
                        0
                    } else {
                        room
                    };
                    let fds = fds.into_iter().take(room).map(|fd| (name.to_owned(), fd));
                    self.kept.extend(fds);
                    return;
                }
                _ => {}
            }
        }
    }
}

/// How long is waited after so many that ended at once, one after the other.
fn pause_after(at_once: u32, was_ready: bool) -> Duration {
    let forgiven = if was_ready { FORGIVEN } else { 0 };
    match at_once.saturating_sub(forgiven) {
        0 => Duration::ZERO,
        more => FIRST_PAUSE
            .saturating_mul(1 << (more - 1).min(10))
            .min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_killed_again_and_again_is_followed_at_once_and_who_cannot_start_is_not() {
        assert_eq!(pause_after(0, false), Duration::ZERO);
        assert_eq!(pause_after(FORGIVEN, true), Duration::ZERO);
        assert_eq!(pause_after(1, false), FIRST_PAUSE);
        assert_eq!(pause_after(3, false), 4 * FIRST_PAUSE);
        assert_eq!(pause_after(FORGIVEN + 1, true), FIRST_PAUSE);
        assert_eq!(pause_after(u32::MAX, true), LONGEST_PAUSE);
    }
}
