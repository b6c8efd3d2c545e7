//! The daemon's own way into a FUSE mount of its, and what it is for: to let the kernel ask for a node.
//!
//! A mount admits its user alone, and only what was opened through it can name it to the kernel. So a short-lived
//! process that is the user opens the top directory, once, and the daemon keeps that. It lies on a mount of its own:
//! the one that users see can be taken down meanwhile.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::handle::{FileHandle, open_handle};
use super::sys;

/// How long the process may take. Its user can stop it, to his own loss alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// Opens the top directory of a FUSE mount, which is served already, as a user whom it admits. `mount` is a mount of
/// it ([`Mounted::detached`](super::Mounted)).
///
/// # Errors
/// If the process cannot be started, or does not come to it.
pub fn open_top(mount: impl AsFd, uid: u32, gid: u32) -> io::Result<OwnedFd> {
    let mount = mount.as_fd();
    let top = OwnedFd::from(File::open("/dev/null")?);
    let (pid, process) = sys::process::spawn_opener(mount, top.as_fd(), uid, gid)?;
    let ended = sys::process::poll_readable(process.as_fd(), PATIENCE);
    if !matches!(ended, Ok(true)) {
        let _ = sys::process::pidfd_send_signal(process.as_fd(), libc::SIGKILL);
    }
    sys::process::reap(pid);
    if sys::device(top.as_fd())? == sys::device(mount)? {
        Ok(top)
    } else {
        Err(io::Error::other(
            "the top directory could not be opened in its user's name",
        ))
    }
}

/// Lets the kernel ask a FUSE file system for the node of a number that it does not know: by a LOOKUP of `.` in it
/// (`fuse_get_dentry`; needs FUSE_EXPORT_SUPPORT). What it is answered it takes note of, whatever comes of this call.
/// Needs CAP_DAC_READ_SEARCH. Waits for the file system.
pub(super) fn ask_for_node(top: impl AsFd, number: u64) {
    /// `FILEID_INO64_GEN` of Linux's exportfs.h: three 32-bit words, the number's upper half first, then a generation.
    const KIND: i32 = 0x81;
    let words = [(number >> 32) as u32, number as u32, 0].map(u32::to_ne_bytes);
    let bytes = [&KIND.to_le_bytes()[..], words.as_flattened()].concat();
    if let Some(handle) = FileHandle::from_bytes(&bytes) {
        // ESTALE: the node that was told is another than was asked for.
        let _ = open_handle(top, &handle, libc::O_PATH);
    }
}
