//! What may wait in the kernel for the daemon itself, done by another process.
//!
//! A notification through `/dev/fuse` waits for requests on the same directory or page, and a question about a node for
//! its answer: of them a process cannot be killed out. So a daemon that is killed meanwhile would never end, for nobody
//! answers those, and nobody could take its mounts over, for it has not ended. The teller is another process: it
//! serves each thread of the daemon by one of its own, and ends when the daemon does, or as soon as the next daemon has
//! answered.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recv,
    recvmsg, send, sendmsg, socketpair,
};
use nix::unistd::gettid;

use super::notify::{notify_inode, notify_name};
use super::process::own_descriptor;
use super::top::ask_for_node;

/// What is asked of the teller, with a descriptor that comes along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Errand<'a> {
    /// To serve another thread: its end of a connection.
    Connect,
    /// To let the kernel drop what it keeps of an inode ([`notify_inode`]): a `/dev/fuse`.
    Pages(u64),
    /// To let it forget a name in a directory ([`notify_name`]): likewise.
    Name(u64, &'a [u8]),
    /// To let it ask for a node ([`ask_for_node`]): a top directory.
    Node(u64),
}

/// An errand in bytes is no longer than with a name of 255.
const LONGEST: usize = 512;

static TELLER: OnceLock<OwnedFd> = OnceLock::new();

/// The connection of a thread with its own thread of the teller.
struct Connection {
    socket: OwnedFd,
    /// The number of that thread.
    thread: i32,
}

thread_local! {
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// The command that [`serve_teller`].
pub const TELLER_COMMAND: &str = "teller";

/// Starts the teller: the program itself, with that command. Without one, all is done by the threads that ask for it.
///
/// # Errors
/// Those of `socketpair(2)`, `fork(2)` and `execve(2)`.
pub fn start_teller() -> io::Result<()> {
    let (ours, theirs) = pair()?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(TELLER_COMMAND)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null());
    // It ends with its last socket; nobody waits for it.
    command.spawn()?;
    let _ = TELLER.set(ours);
    Ok(())
}

/// Does errands until nobody has any more, from the socket that is standard input.
///
/// # Errors
/// If that is none.
pub fn serve_teller() -> io::Result<()> {
    super::confine(false)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    serve(&socket)
}

/// Lets the kernel drop what it keeps of an inode of a FUSE mount: see [`notify_inode`].
///
/// # Errors
/// As there.
pub fn tell_pages(device: BorrowedFd<'_>, inode: u64) -> io::Result<bool> {
    run(device, Errand::Pages(inode))
}

/// Lets the kernel forget a name: see [`notify_name`].
///
/// # Errors
/// As there.
pub fn tell_name(device: BorrowedFd<'_>, directory: u64, name: &[u8]) -> io::Result<()> {
    run(device, Errand::Name(directory, name)).map(drop)
}

/// Lets the kernel ask for a node: see [`ask_for_node`]. It asks in the name of [`asking_thread`].
pub fn tell_node(top: BorrowedFd<'_>, number: u64) {
    let _ = run(top, Errand::Node(number));
}

/// The thread in whose name the kernel asks when this one calls [`tell_node`].
pub fn asking_thread() -> i32 {
    with_connection(|connection| Ok(connection.thread))
        .unwrap_or_else(|| Ok(gettid().as_raw()))
        .unwrap_or_default()
}

/// By the teller if there is one, else here.
fn run(fd: BorrowedFd<'_>, errand: Errand<'_>) -> io::Result<bool> {
    let asked = with_connection(|connection| {
        tell(connection.socket.as_fd(), errand, fd)?;
        let mut answer = [0; 8];
        // A thread that is woken for something else goes on waiting.
        let length = retry(|| recv(connection.socket.as_raw_fd(), &mut answer, MsgFlags::empty()))?;
        if length != answer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let [errno, known] = [&answer[..4], &answer[4..]].map(number);
        match errno {
            0 => Ok(known != 0),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    });
    asked.unwrap_or_else(|| carry_out(errand, fd))
}

/// `None` where there is no teller, or none any more.
fn with_connection<T>(call: impl FnOnce(&Connection) -> io::Result<T>) -> Option<io::Result<T>> {
    let teller = TELLER.get()?;
    CONNECTION.with_borrow_mut(|connection| {
        if connection.is_none() {
            *connection = connect(teller)
                .inspect_err(|error| tracing::error!(%error, "there is no teller any more"))
                .ok();
        }
        let done = call(connection.as_ref()?);
        if matches!(&done, Err(error) if is_lost(error)) {
            *connection = None;
        }
        Some(done)
    })
}

/// Tells whether it is the teller that is gone.
fn is_lost(error: &io::Error) -> bool {
    let lost = [libc::EPIPE, libc::ECONNRESET];
    error.kind() == io::ErrorKind::UnexpectedEof
        || error.raw_os_error().is_some_and(|errno| lost.contains(&errno))
}

fn connect(teller: &OwnedFd) -> io::Result<Connection> {
    let (ours, theirs) = pair()?;
    tell(teller.as_fd(), Errand::Connect, theirs.as_fd())?;
    drop(theirs);
    let mut thread = [0; 4];
    let length = retry(|| recv(ours.as_raw_fd(), &mut thread, MsgFlags::empty()))?;
    if length != thread.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Connection {
        socket: ours,
        thread: number(&thread),
    })
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?)
}

fn number(bytes: &[u8]) -> i32 {
    bytes.try_into().map_or(0, i32::from_ne_bytes)
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return Ok(done?),
        }
    }
}

fn tell(socket: BorrowedFd<'_>, errand: Errand<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    let (kind, number, name) = match errand {
        Errand::Connect => (0, 0, &[][..]),
        Errand::Pages(inode) => (1, inode, &[][..]),
        Errand::Name(directory, name) => (2, directory, name),
        Errand::Node(number) => (3, number, &[][..]),
    };
    let number = number.to_ne_bytes();
    let kind = [kind];
    let parts = [IoSlice::new(&kind), IoSlice::new(&number), IoSlice::new(name)];
    let fds = [fd.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    retry(|| sendmsg::<UnixAddr>(socket.as_raw_fd(), &parts, &rights, flags, None))?;
    Ok(())
}

/// Does what comes in on a socket, until nobody has its other end.
fn serve(socket: &OwnedFd) -> io::Result<()> {
    let mut bytes = [0; LONGEST];
    while let Some((length, fd)) = hear(socket, &mut bytes)? {
        let Some(errand) = parse(&bytes[..length]) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        if errand == Errand::Connect {
            std::thread::Builder::new().name("teller".into()).spawn(move || {
                let thread = gettid().as_raw().to_ne_bytes();
                let greeted = retry(|| send(fd.as_raw_fd(), &thread, MsgFlags::MSG_NOSIGNAL));
                greeted.and_then(|_| serve(&fd))
            })?;
            continue;
        }
        let (errno, known) = match carry_out(errand, fd.as_fd()) {
            Ok(known) => (0, i32::from(known)),
            Err(error) => (error.raw_os_error().unwrap_or(libc::EIO), 0),
        };
        let answer = [errno.to_ne_bytes(), known.to_ne_bytes()];
        retry(|| send(socket.as_raw_fd(), answer.as_flattened(), MsgFlags::MSG_NOSIGNAL))?;
    }
    Ok(())
}

/// An errand and the descriptor that came along; `None` at the end.
fn hear(socket: &OwnedFd, bytes: &mut [u8]) -> io::Result<Option<(usize, OwnedFd)>> {
    let mut control = nix::cmsg_space!([i32; 1]);
    let (length, fd) = loop {
        let mut parts = [IoSliceMut::new(bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => {
                let mut fds = message.cmsgs()?.filter_map(|control| match control {
                    ControlMessageOwned::ScmRights(fds) => fds.first().copied().map(own_descriptor),
                    _ => None,
                });
                break (message.bytes, fds.next());
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    match fd {
        Some(fd) => Ok(Some((length, fd))),
        None if length == 0 => Ok(None),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn parse(bytes: &[u8]) -> Option<Errand<'_>> {
    let (kind, rest) = bytes.split_first()?;
    let (number, name) = rest.split_first_chunk()?;
    let number = u64::from_ne_bytes(*number);
    match kind {
        0 => Some(Errand::Connect),
        1 => Some(Errand::Pages(number)),
        2 => Some(Errand::Name(number, name)),
        3 => Some(Errand::Node(number)),
        _ => None,
    }
}

/// Tells whether the kernel knew what it was told of.
fn carry_out(errand: Errand<'_>, fd: BorrowedFd<'_>) -> io::Result<bool> {
    match errand {
        Errand::Connect => Err(io::ErrorKind::InvalidInput.into()),
        Errand::Pages(inode) => notify_inode(fd, inode, true),
        Errand::Name(directory, name) => notify_name(fd, directory, name),
        Errand::Node(number) => {
            ask_for_node(fd, number);
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errands_are_done_by_a_thread_for_each_and_answered() {
        let (ours, theirs) = pair().unwrap();
        let server = std::thread::spawn(move || serve(&theirs));
        let connection = connect(&ours).unwrap();
        assert_ne!(connection.thread, gettid().as_raw());
        let nothing = std::fs::File::open("/dev/null").unwrap();
        let mut answer = [0; 8];
        for (errand, errno) in [
            (Errand::Name(7, b"name"), libc::EBADF),
            (Errand::Pages(7), libc::EBADF),
            (Errand::Node(7), 0),
        ] {
            tell(connection.socket.as_fd(), errand, nothing.as_fd()).unwrap();
            recv(connection.socket.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
            assert_eq!(number(&answer[..4]), errno, "{errand:?}");
        }
        drop((connection, ours));
        server.join().unwrap().unwrap();
    }

    #[test]
    fn errands_are_read_as_they_were_told() {
        let long = [b'x'; 255];
        let (ours, theirs) = pair().unwrap();
        for errand in [
            Errand::Connect,
            Errand::Pages(u64::MAX),
            Errand::Name(1, &long),
            Errand::Node(3),
        ] {
            tell(ours.as_fd(), errand, ours.as_fd()).unwrap();
            let mut bytes = [0; LONGEST];
            let (length, _) = hear(&theirs, &mut bytes).unwrap().unwrap();
            assert_eq!(parse(&bytes[..length]), Some(errand));
        }
        drop(ours);
        assert!(hear(&theirs, &mut [0; LONGEST]).unwrap().is_none());
        assert_eq!(parse(b""), None);
        assert_eq!(parse(&[9; 9]), None);
    }
}
