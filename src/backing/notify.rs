//! What is told to the kernel through `/dev/fuse` of the daemon's own accord and fuser has no call for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::sys;

/// `FUSE_NOTIFY_INC_EPOCH` (`linux/fuse.h`, ABI 7.44, Linux 6.16).
const INC_EPOCH: i32 = 8;
/// `FUSE_NOTIFY_RESEND` (ABI 7.40, Linux 6.9).
const RESEND: i32 = 7;
/// `FUSE_NOTIFY_INVAL_ENTRY`
const INVAL_ENTRY: i32 = 3;
/// `FUSE_NOTIFY_INVAL_INODE`
const INVAL_INODE: i32 = 2;
/// The size of `struct fuse_out_header`.
const HEADER: usize = 16;

/// Lets the kernel look up every name of a FUSE mount anew when it is next used (`FUSE_NOTIFY_INC_EPOCH`, Linux
/// 6.16). `device` is the `/dev/fuse` descriptor of the mount. It waits for no request and takes the same time
/// however much is cached; attributes and pages of inodes that are held open are not dropped by it.
///
/// # Errors
/// EINVAL where the kernel does not have it; EPERM if nothing is mounted on the descriptor; ENODEV or ENOTCONN if
/// the mount has ended; those of `write(2)`.
pub fn notify_epoch(device: BorrowedFd<'_>) -> io::Result<()> {
    notify_alone(device, INC_EPOCH)
}

/// Lets the kernel ask again what it has asked and nobody has answered (`FUSE_NOTIFY_RESEND`, Linux 6.9): for who takes
/// a mount over. Those requests come before all others, with `FUSE_UNIQUE_RESEND` set in their numbers.
///
/// # Errors
/// EINVAL where the kernel does not have it; EPERM if nothing is mounted on the descriptor; those of `write(2)`.
pub fn notify_resend(device: BorrowedFd<'_>) -> io::Result<()> {
    notify_alone(device, RESEND)
}

/// A notification that has nothing to say but its code.
fn notify_alone(device: BorrowedFd<'_>, code: i32) -> io::Result<()> {
    let mut message = [0; HEADER];
    // len, error (which is the code where `unique` is 0), unique
    message[..4].copy_from_slice(&(HEADER as u32).to_ne_bytes());
    message[4..8].copy_from_slice(&code.to_ne_bytes());
    // The kernel takes a message whole or not at all.
    nix::unistd::write(device, &message)?;
    Ok(())
}

/// Lets the kernel ask again for the attributes of an inode of a FUSE mount before it uses them, and with `pages` drop
/// what it keeps of its content, or of a directory's listing (`FUSE_NOTIFY_INVAL_INODE`). Tells whether the kernel
/// knew the inode: if not, it may hear of it from an answer that is on its way. With `pages` it waits for reads of the
/// inode that are under way; answers to other requests that were made before it do not bring back what it dropped
/// (`fuse_inode.attr_version`).
///
/// # Errors
/// EPERM if nothing is mounted on the descriptor; those of `write(2)`.
pub fn notify_inode(device: BorrowedFd<'_>, inode: u64, pages: bool) -> io::Result<bool> {
    let offset: i64 = if pages { 0 } else { -1 };
    let mut message = [0; HEADER + 24];
    message[..4].copy_from_slice(&((HEADER + 24) as u32).to_ne_bytes());
    message[4..8].copy_from_slice(&INVAL_INODE.to_ne_bytes());
    // struct fuse_notify_inval_inode_out: ino, off, len; a length of 0 means all that follows.
    message[16..24].copy_from_slice(&inode.to_ne_bytes());
    message[24..32].copy_from_slice(&offset.to_ne_bytes());
    match nix::unistd::write(device, &message) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Lets the kernel forget a name of a directory of a FUSE mount, be it there or missing, and the attributes of the
/// directory (`FUSE_NOTIFY_INVAL_ENTRY`). Tells whether it knew the name. It waits for requests in that directory.
///
/// # Errors
/// EPERM if nothing is mounted on the descriptor; those of `write(2)`.
pub(super) fn notify_name(device: BorrowedFd<'_>, directory: u64, name: &[u8]) -> io::Result<bool> {
    let mut message = vec![0; HEADER + 16];
    // struct fuse_notify_inval_entry_out: parent, namelen, flags; then the name, ended by NUL.
    message[4..8].copy_from_slice(&INVAL_ENTRY.to_ne_bytes());
    message[16..24].copy_from_slice(&directory.to_ne_bytes());
    message[24..28].copy_from_slice(&(name.len() as u32).to_ne_bytes());
    message.extend(name);
    message.push(0);
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    match nix::unistd::write(device, &message) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// fuser's form of the number of a backing file that the kernel was given, to be told with an answer and then taken
/// apart again ([`fuser::BackingId::into_raw`]): dropped, it would close it.
pub fn backing_of_open(reply: &fuser::ReplyOpen, id: u32) -> fuser::BackingId {
    sys::fuse::wrap_for_open(reply, id)
}

/// Likewise, for a file that was made.
pub fn backing_of_create(reply: &fuser::ReplyCreate, id: u32) -> fuser::BackingId {
    sys::fuse::wrap_for_create(reply, id)
}

/// Ends what the kernel reads and writes by itself (`FUSE_DEV_IOC_BACKING_CLOSE`, Linux 6.9); files that are open by
/// it go on.
///
/// # Errors
/// ENOENT for a number that is not open; those of `ioctl(2)`.
pub fn close_backing(device: impl AsFd, id: u32) -> io::Result<()> {
    sys::fuse_backing_close(device.as_fd(), id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::{FuseMountOptions, mount_fuse, open_root};

    #[test]
    fn the_kernel_takes_the_notification_or_says_that_it_has_none() {
        let Ok(device) = std::fs::File::options().read(true).write(true).open("/dev/fuse") else {
            return println!("SKIP: needs /dev/fuse");
        };
        let error = notify_epoch(device.as_fd()).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(libc::EPERM),
            "nothing is mounted on it"
        );
        if !nix::unistd::geteuid().is_root() {
            return println!("SKIP: needs root");
        }
        let scratch = tempfile::tempdir().unwrap();
        let options = FuseMountOptions {
            uid: 0,
            gid: 0,
            allow_other: false,
            default_permissions: false,
            read_only: false,
        };
        let at = open_root(scratch.path()).unwrap();
        let (device, mounted) = mount_fuse(at.as_fd(), &options).unwrap();
        let notified = notify_epoch(device.as_fd());
        let known = [1, 77].map(|inode| notify_inode(device.as_fd(), inode, true).ok());
        let attributes = [1, 77].map(|inode| notify_inode(device.as_fd(), inode, false).ok());
        mounted.unmount(true).unwrap();
        assert_eq!(
            (known, attributes),
            ([Some(true), Some(false)], [Some(true), Some(false)]),
            "of the top directory"
        );
        match notified {
            Ok(()) => {}
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "a kernel before 6.16"),
        }
    }
}
