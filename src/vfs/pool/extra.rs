//! A further session on the device of a mount.
//!
//! fuser begins a session with a handshake, which a mount has only once. So the session starts on a socket, where it
//! is told what a kernel would say, and then a greeting: its worker's first request, at which that puts the device in
//! the socket's place ([`super::Seat::begin`]).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::Seat;
use crate::backing::Slot;
use crate::vfs::adapter::Adapter;

/// `fuse_in_header.opcode` and what follows in the two messages.
const FUSE_FORGET: u32 = 2;
const FUSE_INIT: u32 = 26;
/// The version that the session is told: nothing that it does later depends on it.
const VERSION: [u32; 2] = [7, 31];

/// Serves requests until the worker is sent away or the mount ends.
pub(super) fn serve(seat: &Arc<Seat>) {
    let ended = start(seat).and_then(fuser::Session::run);
    seat.hand_on();
    match ended {
        Err(error) if seat.state() != Seat::LEAVING => tracing::warn!(%error, "a worker ended"),
        _ => {}
    }
}

fn start(seat: &Arc<Seat>) -> io::Result<fuser::Session<Adapter>> {
    let (kernel, session) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    let [major, minor] = VERSION;
    let mut hello = [0; 16];
    hello[..2].copy_from_slice(&[major, minor]);
    tell(&kernel, FUSE_INIT, &hello)?;
    let mut config = fuser::Config::default();
    config.n_threads = Some(1);
    let adapter = Adapter(Arc::clone(&seat.pool.filesystem), Arc::clone(seat));
    let session = fuser::Session::from_fd(adapter, session, fuser::SessionACL::All, config)?;
    // What is left unread when a socket closes costs its peer what that has not read yet.
    recv(kernel.as_raw_fd(), &mut [0; 256], MsgFlags::empty())?;
    let slot = Slot::new(session.as_fd(), session.notifier());
    // Set here alone.
    let _ = seat.slot.set(slot);
    tell(&kernel, FUSE_FORGET, &[0; 2])?;
    Ok(session)
}

/// Sends a request about the top directory (`struct fuse_in_header` and a body).
fn tell(socket: &OwnedFd, opcode: u32, body: &[u32]) -> io::Result<()> {
    const HEADER: usize = 10;
    const TOP: u32 = 1;
    // No id of a request: 1 is as good as any.
    let mut message = vec![0_u32; HEADER];
    message[1] = opcode;
    message[2..6].copy_from_slice(&halves(1, TOP));
    message.extend(body);
    message[0] = u32::try_from(message.len() * 4).unwrap_or(u32::MAX);
    let bytes: Vec<u8> = message.iter().flat_map(|word| word.to_ne_bytes()).collect();
    send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

/// Two small numbers as 64 bits each.
fn halves(one: u32, other: u32) -> [u32; 4] {
    if cfg!(target_endian = "little") {
        [one, 0, other, 0]
    } else {
        [0, one, 0, other]
    }
}
