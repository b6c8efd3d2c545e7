//! What the daemon and whoever started it tell each other: systemd, or a keeper that speaks as systemd does
//! (`sd_notify(3)`, `sd_listen_fds(3)`). Without either, all of this does nothing.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::backing;

/// Who started the daemon, as its environment tells.
#[derive(Debug, Default)]
struct Manager {
    notify: Option<UnixAddr>,
    watchdog: Option<Duration>,
    /// How many descriptors it keeps; not known of systemd before 254.
    keeps: Option<usize>,
    store: OnceLock<bool>,
}

static MANAGER: OnceLock<Manager> = OnceLock::new();

/// Longer than this nobody waits for it: should it hang, the daemon must not.
const PATIENCE: Duration = Duration::from_secs(5);

/// The name of the listening control socket among the descriptors (`FileDescriptorName=`).
pub(super) const CONTROL: &str = "control";

/// Reads the environment, and takes the descriptors that came with it, each with its name. To be called once, before
/// any thread starts.
///
/// # Errors
/// If the environment names descriptors that are not there.
pub(super) fn received() -> io::Result<Vec<(String, OwnedFd)>> {
    let (manager, received) = Manager::of(backing::take_variable, std::process::id())?;
    let _ = MANAGER.set(manager);
    Ok(received)
}

/// Says that commands are answered from now on: a line for people, and READY=1.
///
/// # Errors
/// Those of `sendmsg(2)`.
pub(super) fn ready(socket: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    // Nobody may be reading; that is no reason to stop.
    let _ = writeln!(out, "lendfs: ready on {}", socket.display()).and_then(|()| out.flush());
    manager().tell("READY=1", &[])
}

/// Says that the daemon comes to its end.
pub(super) fn stopping() {
    if let Err(error) = manager().tell("STOPPING=1", &[]) {
        tracing::warn!(%error, "cannot tell the service manager that the daemon stops");
    }
}

/// Tells whether somebody looks after the daemon.
pub(super) fn is_there() -> bool {
    manager().notify.is_some()
}

/// How often the daemon has to say that it is alive.
pub(super) fn watchdog() -> Option<Duration> {
    manager().watchdog
}

/// Says that the daemon is alive.
///
/// # Errors
/// Those of `sendmsg(2)`.
pub(super) fn alive() -> io::Result<()> {
    manager().tell("WATCHDOG=1", &[])
}

/// Tells whether descriptors are kept for the next daemon.
pub(super) fn has_store() -> bool {
    manager().has_store()
}

/// Has a descriptor kept, whatever happens to what it leads to, until [`remove_fd`]. Several may have one name.
///
/// # Errors
/// InvalidInput if the name cannot be one; those of `sendmsg(2)`.
pub(super) fn store_fd(name: &str, fd: BorrowedFd<'_>) -> io::Result<()> {
    manager().store_fd(name, fd)
}

/// Has all descriptors of that name let go.
///
/// # Errors
/// As [`store_fd`].
pub(super) fn remove_fd(name: &str) -> io::Result<()> {
    let name = descriptor_name(name)?;
    manager().tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[])
}

fn manager() -> &'static Manager {
    static NOBODY: Manager = Manager {
        notify: None,
        watchdog: None,
        keeps: None,
        store: OnceLock::new(),
    };
    MANAGER.get().unwrap_or(&NOBODY)
}

impl Manager {
    fn of(
        mut variable: impl FnMut(&str) -> Option<OsString>, process: u32,
    ) -> io::Result<(Self, Vec<(String, OwnedFd)>)> {
        let mut text = |name| variable(name).and_then(|value| value.into_string().ok());
        let notify = text("NOTIFY_SOCKET");
        let (fds, names) = (text("LISTEN_FDS"), text("LISTEN_FDNAMES"));
        let (usec, keeps) = (text("WATCHDOG_USEC"), text("FDSTORE"));
        // They may have been meant for whoever started this process, and inherited by mistake.
        let mut is_ours = |name, unless| {
            // A keeper knows the number of its child no sooner than that runs.
            let meant = text(name).map_or(unless, |pid| pid == "self" || pid.parse() == Ok(process));
            meant.then_some(())
        };
        let listens = is_ours("LISTEN_PID", false);
        let watched = is_ours("WATCHDOG_PID", true);
        let count = listens.and(fds).and_then(|fds| fds.parse().ok()).unwrap_or(0);
        let manager = Self {
            notify: notify.and_then(|path| address(OsStr::new(&path))),
            watchdog: watched
                .and(usec)
                .and_then(|usec| usec.parse().ok())
                .filter(|&usec| usec > 0)
                .map(Duration::from_micros),
            keeps: keeps.and_then(|keeps| keeps.parse().ok()),
            store: OnceLock::new(),
        };
        let fds = backing::left_descriptors(count)?;
        Ok((manager, with_names(fds, names.as_deref())?))
    }

    fn tell(&self, text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let Some(address) = &self.notify else {
            return Ok(());
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let fds: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let with = if fds.is_empty() { &[][..] } else { &rights[..] };
        let text = [IoSlice::new(text.as_bytes())];
        sendmsg(
            socket.as_raw_fd(),
            &text,
            with,
            MsgFlags::MSG_NOSIGNAL,
            Some(address),
        )?;
        Ok(())
    }

    fn store_fd(&self, name: &str, fd: BorrowedFd<'_>) -> io::Result<()> {
        let name = descriptor_name(name)?;
        self.tell(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), &[fd])
    }

    /// systemd says so since 254. What is older is put to the test once: it closes what it does not keep.
    fn has_store(&self) -> bool {
        if self.notify.is_none() {
            return false;
        }
        *self.store.get_or_init(|| match self.keeps {
            Some(most) => most > 0,
            None => self.keeps_a_descriptor().unwrap_or(false),
        })
    }

    fn keeps_a_descriptor(&self) -> io::Result<bool> {
        const PROBE: &str = "lendfs-probe";
        let (ours, theirs) = io::pipe()?;
        self.store_fd(PROBE, theirs.as_fd())?;
        drop(theirs);
        self.wait()?;
        let is_closed = hangs_up(ours.as_fd(), Duration::ZERO)?;
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={PROBE}"), &[])?;
        Ok(!is_closed)
    }

    /// Waits until all is done that it was told.
    fn wait(&self) -> io::Result<()> {
        let (ours, theirs) = io::pipe()?;
        self.tell("BARRIER=1", &[theirs.as_fd()])?;
        drop(theirs);
        if hangs_up(ours.as_fd(), PATIENCE)? {
            Ok(())
        } else {
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}

fn hangs_up(pipe: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let mut asked = [PollFd::new(pipe, PollFlags::empty())];
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    Ok(poll(&mut asked, patience)? > 0)
}

/// A socket that begins with `@` has no file. Others than unix sockets (of virtual machines) are of no use here.
fn address(socket: &OsStr) -> Option<UnixAddr> {
    match socket.as_bytes() {
        [b'@', name @ ..] => UnixAddr::new_abstract(name).ok(),
        [b'/', ..] => UnixAddr::new(Path::new(socket)).ok(),
        _ => None,
    }
}

fn with_names(fds: Vec<OwnedFd>, names: Option<&str>) -> io::Result<Vec<(String, OwnedFd)>> {
    let names: Vec<String> = match names {
        Some(names) => names.split(':').map(Into::into).collect(),
        None => vec!["unknown".into(); fds.len()],
    };
    if fds.is_empty() {
        return Ok(Vec::new());
    }
    if names.len() != fds.len() {
        let message = "LISTEN_FDNAMES does not name as many descriptors as LISTEN_FDS says";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(names.into_iter().zip(fds).collect())
}

/// What systemd takes for a name (`sd_pid_notify_with_fds(3)`); another one it would silently replace.
fn descriptor_name(name: &str) -> io::Result<&str> {
    let fits = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b':';
    if name.is_empty() || name.len() > 255 || !name.bytes().all(fits) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use nix::sys::socket::{ControlMessageOwned, UnixAddr, recvmsg};

    use super::*;

    /// What a manager hears, and the descriptors that came with it.
    fn heard(socket: &UnixDatagram) -> (String, usize) {
        let mut text = [0; 512];
        let mut buffer = nix::cmsg_space!([i32; 2]);
        let mut parts = [io::IoSliceMut::new(&mut text)];
        let message = recvmsg::<UnixAddr>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut buffer),
            MsgFlags::MSG_CMSG_CLOEXEC,
        );
        let message = message.unwrap();
        let fds = message.cmsgs().unwrap().map(|control| match control {
            ControlMessageOwned::ScmRights(fds) => fds.len(),
            _ => 0,
        });
        let (length, fds) = (message.bytes, fds.sum());
        (String::from_utf8(text[..length].to_vec()).unwrap(), fds)
    }

    fn started_with(variables: &[(&str, &str)]) -> Manager {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        };
        Manager::of(variable, 7).unwrap().0
    }

    #[test]
    fn a_manager_is_told_at_a_file_and_at_a_name_without_one() {
        use std::os::linux::net::SocketAddrExt;
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("notify");
        let name = format!("lendfs-test-{}", std::process::id());
        let nameless = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [
            (
                path.to_str().unwrap().to_owned(),
                UnixDatagram::bind(&path).unwrap(),
            ),
            (format!("@{name}"), UnixDatagram::bind_addr(&nameless).unwrap()),
        ];
        for (told_at, socket) in sockets {
            let manager = started_with(&[("NOTIFY_SOCKET", &told_at)]);
            manager.tell("READY=1", &[]).unwrap();
            assert_eq!(heard(&socket), ("READY=1".into(), 0));
            let file = File::open("/dev/null").unwrap();
            manager.store_fd("a name", file.as_fd()).unwrap();
            let told = "FDSTORE=1\nFDNAME=a name\nFDPOLL=0";
            assert_eq!(heard(&socket), (told.into(), 1));
        }
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        for variables in [&[][..], &[("NOTIFY_SOCKET", "vsock:2:1234")]] {
            let manager = started_with(variables);
            manager.tell("READY=1", &[]).unwrap();
            assert!(!manager.has_store());
        }
    }

    #[test]
    fn a_watchdog_of_another_process_is_none_of_ours() {
        let watched = |pid| started_with(&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", pid)]).watchdog;
        assert_eq!(watched("7"), Some(Duration::from_secs(2)));
        assert_eq!(watched("8"), None);
        assert_eq!(started_with(&[("WATCHDOG_USEC", "0")]).watchdog, None);
    }

    #[test]
    fn descriptors_of_another_process_are_left_alone() {
        let variables = [("LISTEN_FDS", "100000"), ("LISTEN_PID", "8")];
        started_with(&variables);
    }

    #[test]
    fn descriptors_that_are_not_there_are_an_error() {
        let variable = |name: &str| match name {
            "LISTEN_FDS" => Some("100000".into()),
            "LISTEN_PID" => Some("7".into()),
            _ => None,
        };
        assert!(Manager::of(variable, 7).is_err());
    }

    /// Keeps what it is given, or closes it, as systemd does. Tells what it heard.
    fn older_manager(keeps: bool) -> bool {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = started_with(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut kept = Vec::new();
                loop {
                    let mut text = [0; 512];
                    let mut buffer = nix::cmsg_space!([i32; 2]);
                    let mut parts = [io::IoSliceMut::new(&mut text)];
                    let message = recvmsg::<UnixAddr>(
                        socket.as_raw_fd(),
                        &mut parts,
                        Some(&mut buffer),
                        MsgFlags::MSG_CMSG_CLOEXEC,
                    )
                    .unwrap();
                    let fds = message.cmsgs().unwrap().flat_map(|control| match control {
                        ControlMessageOwned::ScmRights(fds) => fds,
                        _ => Vec::new(),
                    });
                    let fds: Vec<_> = fds.collect();
                    let length = message.bytes;
                    let text = String::from_utf8(text[..length].to_vec()).unwrap();
                    if keeps && text.starts_with("FDSTORE=1") {
                        kept.extend(fds);
                        continue;
                    }
                    for fd in fds {
                        nix::unistd::close(fd).unwrap();
                    }
                    if text.starts_with("FDSTOREREMOVE=1") {
                        for fd in kept {
                            nix::unistd::close(fd).unwrap();
                        }
                        break;
                    }
                }
            });
            manager.has_store()
        })
    }

    #[test]
    fn a_manager_that_does_not_say_whether_it_keeps_descriptors_is_put_to_the_test() {
        assert!(older_manager(true));
        assert!(!older_manager(false));
        let says = |most| {
            let nowhere = ("NOTIFY_SOCKET", "/nowhere");
            started_with(&[nowhere, ("FDSTORE", most)]).has_store()
        };
        assert!(says("16") && !says("0"));
    }

    #[test]
    fn a_name_that_systemd_would_replace_is_refused() {
        for name in ["", "a:b", "ä", "a\nFDSTORE=1", &"x".repeat(256)] {
            assert!(descriptor_name(name).is_err(), "{name:?}");
        }
        assert!(descriptor_name("mount-7").is_ok());
    }

    #[test]
    fn what_is_received_has_a_name_each() {
        let two = || -> Vec<OwnedFd> {
            let (reader, writer) = io::pipe().unwrap();
            vec![reader.into(), writer.into()]
        };
        let names =
            |names| with_names(two(), names).map(|named| named.into_iter().map(|(name, _)| name).collect());
        let told: Vec<String> = names(Some("control:mount")).unwrap();
        assert_eq!(told, ["control", "mount"]);
        let untold: Vec<String> = names(None).unwrap();
        assert_eq!(untold, ["unknown", "unknown"]);
        assert!(names(Some("control")).is_err());
        let mut named = with_names(two(), Some("reader:writer")).unwrap();
        drop(named.pop());
        let mut text = String::new();
        File::from(named.pop().unwrap().1)
            .read_to_string(&mut text)
            .unwrap();
    }
}
