//! Mounting where the daemon is not: a daemon that is shut off from the machine lives in a mount namespace of its own
//! (`systemd.exec(5)`), and what it mounted there nobody else would see. So it asks a mounter, a process that lives where
//! users do and does nothing else; the daemon keeps no right to mount.
//!
//! One message on a connection, and one back, each with the descriptors that it speaks of. The mounter trusts root alone,
//! and mounts on nothing but a directory that whoever asks has open.

use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::mount::MntFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, accept4,
    connect, getsockopt, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::credentials::Lender;
use super::holders::Device;
use super::mount::{self, FuseMountOptions, Made};
use super::open::{open_as, open_root, path_of};
use super::process::own_descriptor;
use super::stat::stat;
use super::sys;

/// The socket of the mounter, if there is one.
static MOUNTER: OnceLock<PathBuf> = OnceLock::new();

/// Longer than this nobody waits for the other side.
const PATIENCE: i64 = 20;
/// A path, and some numbers.
const LONGEST: usize = 8192;

/// Has all mounts made and taken down by the mounter that listens at a socket. To be told before the first one.
pub fn mount_through(socket: PathBuf) {
    let _ = MOUNTER.set(socket);
}

/// Where there is a mounter, if there is one.
pub(super) fn mounter() -> Option<&'static Path> {
    MOUNTER.get().map(PathBuf::as_path)
}

/// What is mounted where users are (`proc_pid_mountinfo(5)`).
pub fn mountinfo() -> &'static str {
    match mounter() {
        None => "/proc/self/mountinfo",
        Some(_) => "/proc/1/mountinfo",
    }
}

/// Has a FUSE file system mounted on a directory that is held open.
pub(super) fn mount(mounter: &Path, at: BorrowedFd<'_>, options: &FuseMountOptions) -> io::Result<Made> {
    let FuseMountOptions { uid, gid, .. } = options;
    let flags = [
        options.allow_other,
        options.default_permissions,
        options.read_only,
    ]
    .map(u8::from);
    let [allow_other, default_permissions, read_only] = flags;
    let path = path_of(at)?;
    let request = format!("mount {uid} {gid} {allow_other} {default_permissions} {read_only}");
    let (answer, fds) = ask(mounter, &request, &path, &[at])?;
    let mut fds = fds.into_iter();
    let mut numbers = Words::of(&answer);
    Ok(Made {
        id: numbers.number()?,
        device: Device {
            major: numbers.number()?,
            minor: numbers.number()?,
        },
        fuse: fds.next().ok_or(io::ErrorKind::InvalidData)?,
        detached: fds.next(),
    })
}

/// Has what is topmost at a path unmounted, if it is that mount; tells whether it was.
pub(super) fn take_down(
    mounter: &Path, at: &Path, id: u64, device: Option<Device>, flags: MntFlags,
) -> io::Result<bool> {
    let known = u8::from(device.is_some());
    let Device { major, minor } = device.unwrap_or(Device { major: 0, minor: 0 });
    let flags = flags.bits();
    let (answer, _) = ask(
        mounter,
        &format!("unmount {id} {known} {major} {minor} {flags}"),
        at,
        &[],
    )?;
    Words::of(&answer).flag()
}

fn ask(
    mounter: &Path, request: &str, path: &Path, fds: &[BorrowedFd<'_>],
) -> io::Result<(String, Vec<OwnedFd>)> {
    let connection = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    be_patient(&connection)?;
    connect(connection.as_raw_fd(), &UnixAddr::new(mounter)?)?;
    let message = [request.as_bytes(), b"\0", path.as_os_str().as_bytes()].concat();
    send(&connection, &message, fds)?;
    let (answer, fds) = receive(&connection)?;
    let answer = String::from_utf8(answer).map_err(|_| io::ErrorKind::InvalidData)?;
    match answer.split_once(' ') {
        Some(("done", rest)) => Ok((rest.into(), fds)),
        Some(("error", number)) => Err(io::Error::from_raw_os_error(Words::of(number).number()?)),
        Some(("failed", why)) => Err(io::Error::other(why)),
        // Whoever is there ended without a word.
        _ => Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "the mounter gave no answer",
        )),
    }
}

/// Answers, one after the other, until nobody has asked for so long; [`Duration::MAX`] is for ever.
///
/// # Errors
/// Those of `poll(2)` and `accept4(2)`.
pub fn serve_mounts(listener: &OwnedFd, patience: Duration) -> io::Result<()> {
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::NONE);
    loop {
        let mut asked = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut asked, patience) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let connection = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
        if let Err(error) = serve(&own_descriptor(connection)) {
            tracing::warn!(%error, "who asked was not answered");
        }
    }
}

fn serve(connection: &OwnedFd) -> io::Result<()> {
    if getsockopt(connection, sockopt::PeerCredentials)?.uid() != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    be_patient(connection)?;
    let (message, fds) = receive(connection)?;
    match carry_out(&message, &fds) {
        Ok((answer, fds)) => {
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            send(connection, format!("done {answer}").as_bytes(), &fds)
        }
        Err(error) => {
            let answer = match error.raw_os_error() {
                Some(number) => format!("error {number}"),
                None => format!("failed {error}"),
            };
            send(connection, answer.as_bytes(), &[])
        }
    }
}

fn carry_out(message: &[u8], fds: &[OwnedFd]) -> io::Result<(String, Vec<OwnedFd>)> {
    let split = message.iter().position(|&byte| byte == 0);
    let (request, path) = message.split_at(split.ok_or(io::ErrorKind::InvalidData)?);
    let path = Path::new(OsStr::from_bytes(&path[1..]));
    let request = std::str::from_utf8(request).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut words = Words::of(request);
    match words.word()? {
        "mount" => {
            let options = FuseMountOptions {
                uid: words.number()?,
                gid: words.number()?,
                allow_other: words.flag()?,
                default_permissions: words.flag()?,
                read_only: words.flag()?,
            };
            let at = open_here(path, fds.first().ok_or(io::ErrorKind::InvalidData)?)?;
            let made = mount::make(at.as_fd(), &options)?;
            let Device { major, minor } = made.device;
            let fds = [Some(made.fuse), made.detached].into_iter().flatten();
            Ok((format!("{} {major} {minor}", made.id), fds.collect()))
        }
        "unmount" => {
            let id = words.number()?;
            let known = words.flag()?;
            let (major, minor) = (words.number()?, words.number()?);
            let device = known.then_some(Device { major, minor });
            let flags = MntFlags::from_bits(words.number()?).ok_or(io::ErrorKind::InvalidData)?;
            let was = mount::take_down_here(path, id, device, flags)?;
            Ok((u8::from(was).to_string(), Vec::new()))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Opens here what another has open in its mount namespace: the very same directory, or none. As its owner, for a home
/// on a server may be closed to root.
fn open_here(path: &Path, there: &OwnedFd) -> io::Result<OwnedFd> {
    let wanted = stat(there)?;
    let owner = Arc::new(Lender {
        uid: wanted.uid,
        gid: wanted.gid,
        groups: Vec::new(),
    });
    let here = open_root(path).or_else(|_| open_as(&owner, path))?;
    let found = stat(&here)?;
    let same = (found.dev, found.ino, found.kind) == (wanted.dev, wanted.ino, wanted.kind);
    if same && sys::device(here.as_fd())? == sys::device(there.as_fd())? {
        Ok(here)
    } else {
        Err(io::Error::other(
            "something else is there for others than for the daemon",
        ))
    }
}

fn send(connection: &OwnedFd, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let fds: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let with = if fds.is_empty() { &[][..] } else { &rights[..] };
    let text = [IoSlice::new(text)];
    sendmsg::<UnixAddr>(connection.as_raw_fd(), &text, with, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

fn receive(connection: &OwnedFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut text = vec![0; LONGEST];
    let mut room = nix::cmsg_space!([i32; 2]);
    let mut parts = [IoSliceMut::new(&mut text)];
    let message = recvmsg::<UnixAddr>(
        connection.as_raw_fd(),
        &mut parts,
        Some(&mut room),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            fds.extend(numbers.into_iter().map(own_descriptor));
        }
    }
    let (length, whole) = (message.bytes, !message.flags.contains(MsgFlags::MSG_TRUNC));
    if !whole {
        return Err(io::ErrorKind::InvalidData.into());
    }
    text.truncate(length);
    Ok((text, fds))
}

fn be_patient(connection: &OwnedFd) -> io::Result<()> {
    let patience = TimeVal::new(PATIENCE, 0);
    setsockopt(connection, sockopt::ReceiveTimeout, &patience)?;
    setsockopt(connection, sockopt::SendTimeout, &patience)?;
    Ok(())
}

struct Words<'a>(std::str::SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        Self(text.split_ascii_whitespace())
    }

    fn word(&mut self) -> io::Result<&'a str> {
        self.0.next().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn number<N: std::str::FromStr>(&mut self) -> io::Result<N> {
        self.word()?
            .parse()
            .map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn flag(&mut self) -> io::Result<bool> {
        Ok(self.number::<u8>()? != 0)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{Backlog, bind, listen};

    use super::*;

    const OPTIONS: FuseMountOptions = FuseMountOptions {
        uid: 0,
        gid: 0,
        allow_other: false,
        default_permissions: true,
        read_only: true,
    };

    /// Has a mounter listen in a directory while something is done. It ends by itself.
    fn with_mounter<T>(directory: &Path, done: impl FnOnce(&Path) -> T) -> T {
        let path = directory.join("mounter");
        let listener = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(8).unwrap()).unwrap();
        std::thread::scope(|scope| {
            let mounter = scope.spawn(move || serve_mounts(&listener, Duration::from_millis(300)));
            let done = done(&path);
            mounter.join().unwrap().unwrap();
            done
        })
    }

    #[test]
    fn a_mounter_mounts_on_the_directory_that_is_asked_for_and_takes_that_mount_down_again() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().join("a name\twith anything\n");
        std::fs::create_dir(&at).unwrap();
        let opened = open_root(&at).unwrap();
        with_mounter(scratch.path(), |mounter| {
            let Ok(made) = mount(mounter, opened.as_fd(), &OPTIONS) else {
                println!("SKIP: nothing can be mounted");
                return;
            };
            let mounted =
                || String::from_utf8_lossy(&std::fs::read("/proc/self/mountinfo").unwrap()).into_owned();
            let line = format!("{} ", made.id);
            let found = mounted()
                .lines()
                .find(|known| known.starts_with(&line))
                .map(str::to_owned);
            let found = found.unwrap();
            assert!(
                found.contains(" ro,nosuid,nodev") && found.contains(" - fuse.lendfs lendfs "),
                "{found}"
            );
            assert_eq!(sys::mount_id(open_root(&at).unwrap().as_fd()).unwrap(), made.id);
            let other = Device { major: 0, minor: 0 };
            let flags = MntFlags::MNT_DETACH;
            assert!(!take_down(mounter, &at, made.id, Some(other), flags).unwrap());
            assert!(take_down(mounter, &at, made.id, Some(made.device), flags).unwrap());
            // The number may be another's by now.
            let name = scratch.path().to_str().unwrap();
            let here = |known: &str| known.starts_with(&line) && known.contains(name);
            assert!(!mounted().lines().any(here));
            let gone = take_down(mounter, &scratch.path().join("gone/at"), 1, None, flags);
            assert_eq!(gone.unwrap_err().raw_os_error(), Some(libc::ENOENT));
        });
    }

    #[test]
    fn what_the_daemon_has_not_open_is_not_mounted_on() {
        let scratch = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| scratch.path().join(name));
        for directory in [&one, &other] {
            std::fs::create_dir(directory).unwrap();
        }
        let opened = open_root(&one).unwrap();
        assert!(open_here(&one, &opened).is_ok());
        assert!(open_here(&other, &opened).is_err());
        std::fs::rename(&other, scratch.path().join("third")).unwrap();
        std::os::unix::fs::symlink(&one, &other).unwrap();
        std::fs::remove_dir(&one).unwrap();
        assert!(open_here(&one, &opened).is_err());
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        for wrong in [
            "",
            "mount",
            "mount 0 0 0 0 0",
            "mount\0/",
            "unmount 1\0/",
            "unmount x 0 0 0 0\0/",
            "else\0/",
        ] {
            assert!(carry_out(wrong.as_bytes(), &[]).is_err(), "{wrong:?}");
        }
    }
}
