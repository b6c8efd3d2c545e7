//! A further session on the device of a mount.
//!
//! fuser begins a session with a handshake, which a mount has only once. So the session starts on a socket, where it
//! is told what a kernel would say, and then a greeting: its worker's first request, at which that puts the device in
//! the socket's place ([`super::Seat::begin`]). In the end another socket takes that place, where it is told that the
//! mount is gone ([`farewell`]). What it answers there, it had read from the device before, and fuser has answered it
//! without asking anyone (STATX, say, which it does not know): that is passed on to the device.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::unistd::write;

use super::Seat;
use crate::backing::Slot;
use crate::vfs::adapter::Adapter;
use crate::vfs::filesystem::FileSystem;

/// `fuse_in_header.opcode` of what the session is told.
const FUSE_FORGET: u32 = 2;
const FUSE_INIT: u32 = 26;
const FUSE_DESTROY: u32 = 38;
/// `fuse_in_header.unique` of these: no request of the kernel's has it.
const OURS: u64 = u64::MAX;
/// The version that the session is told: nothing that it does later depends on it.
const VERSION: [u32; 2] = [7, 31];

/// Serves requests until the worker is sent away or the mount ends.
pub(super) fn serve(seat: &Arc<Seat>) {
    if let Err(error) = start(seat).and_then(fuser::Session::run) {
        tracing::warn!(%error, "a worker ended");
    }
    let farewell = seat.farewell.lock().take();
    if let Some(Err(error)) = farewell.map(|kernel| pass_on(&kernel, &seat.pool.device)) {
        tracing::error!(%error, "an answer is lost");
    }
}

/// A socket on which a session reads that the mount is gone, and the kernel's end of it.
///
/// # Errors
/// Those of `socketpair(2)` and `send(2)`.
pub(super) fn farewell() -> io::Result<(OwnedFd, OwnedFd)> {
    let (kernel, session) = pair()?;
    tell(&kernel, FUSE_DESTROY, &[])?;
    Ok((kernel, session))
}

/// Gives the device what a session that has ended answered on the socket.
fn pass_on(kernel: &OwnedFd, device: &OwnedFd) -> io::Result<()> {
    // fuser's own answers are errors: a struct fuse_out_header.
    let mut answer = [0; 256];
    loop {
        let length = match recv(kernel.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) | Err(Errno::EAGAIN) => return Ok(()),
            received => received?,
        };
        let answer = &answer[..length];
        if answer.get(8..16) != Some(&OURS.to_ne_bytes()) {
            write(device, answer)?;
        }
    }
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?)
}

/// A session that believes to have had its handshake with a kernel, and the end of the socket on which it reads.
///
/// # Errors
/// Those of `socketpair(2)`, and of [`fuser::Session::from_fd`].
pub(in crate::vfs) fn greet(
    filesystem: &Arc<FileSystem>, seat: &Arc<Seat>,
) -> io::Result<(fuser::Session<Adapter>, OwnedFd)> {
    let (kernel, session) = pair()?;
    let [major, minor] = VERSION;
    let mut hello = [0; 16];
    hello[..2].copy_from_slice(&[major, minor]);
    tell(&kernel, FUSE_INIT, &hello)?;
    let mut config = fuser::Config::default();
    config.n_threads = Some(1);
    let adapter = Adapter(Arc::clone(filesystem), Arc::clone(seat));
    let session = fuser::Session::from_fd(adapter, session, fuser::SessionACL::All, config)?;
    // What is left unread when a socket closes costs its peer what that has not read yet.
    recv(kernel.as_raw_fd(), &mut [0; 256], MsgFlags::empty())?;
    Ok((session, kernel))
}

fn start(seat: &Arc<Seat>) -> io::Result<fuser::Session<Adapter>> {
    let (session, kernel) = greet(&seat.pool.filesystem, seat)?;
    let slot = Slot::new(session.as_fd(), session.notifier());
    // Set here alone.
    let _ = seat.slot.set(slot);
    tell(&kernel, FUSE_FORGET, &[0; 2])?;
    Ok(session)
}

/// Sends a request about the top directory: `struct fuse_in_header` and a body.
fn tell(socket: &OwnedFd, opcode: u32, body: &[u32]) -> io::Result<()> {
    const HEADER: usize = 40;
    const TOP: u64 = 1;
    let length = u32::try_from(HEADER + 4 * body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + 4 * body.len());
    message.extend(length.to_ne_bytes());
    message.extend(opcode.to_ne_bytes());
    message.extend(OURS.to_ne_bytes());
    message.extend(TOP.to_ne_bytes());
    message.resize(HEADER, 0);
    message.extend(body.iter().flat_map(|word| word.to_ne_bytes()));
    send(socket.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}
