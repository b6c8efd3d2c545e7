//! What a mount asks of the kernel of its own accord, and what the kernel it runs on can do.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::ids::Ino;
use super::reach::Held;

/// What the file system tells the kernel of its own accord.
///
/// Only [`Kernel::forget_name`] and [`Kernel::drop_pages`] may wait for requests that are under way: no request may
/// call these two.
pub trait Kernel: Send + Sync {
    /// Drops the attributes and the pages that are cached of an inode, a directory's listing too. Tells whether the
    /// kernel knew the inode; if not, an answer that tells it of it may still be on its way.
    fn drop_pages(&self, ino: Ino) -> bool;
    /// Drops the attributes that are cached of an inode, and tells the same. Never waits.
    fn drop_attributes(&self, ino: Ino) -> bool;
    /// Drops one cached name of a directory, be it there or missing, and the directory's attributes.
    fn forget_name(&self, parent: Ino, name: &[u8]);
    /// Lets every name be looked up anew before it is used again. Never waits.
    fn forget_names(&self);
    /// The `/dev/fuse` descriptor of the mount.
    fn device(&self) -> Arc<OwnedFd>;
}

/// What the kernel of a mount can do, as far as it matters here; of an older one little is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features {
    /// Data may bypass the daemon (Linux 6.9).
    pub passthrough: bool,
    /// All names can be forgotten at once without a wait (`FUSE_NOTIFY_INC_EPOCH`, Linux 6.16). Only then are names
    /// kept: any other way to forget one waits for requests under way, and could so come too late.
    pub epoch: bool,
    /// What was asked and not answered can be asked again (`FUSE_HAS_RESEND`, Linux 6.9): then a mount can outlive its
    /// daemon.
    pub resends: bool,
    /// The kernel opens the files of this mount by itself (`FUSE_NO_OPEN_SUPPORT`).
    pub opens_itself: bool,
}

/// What the kernel of a mount offered at its start (`FUSE_INIT`), used or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The version of the FUSE ABI.
    pub abi: (u32, u32),
    /// `FUSE_INIT` flags.
    pub flags: u64,
}

/// Lets the kernel read and write a file of the backing by itself; in tests nobody does.
pub trait Passthrough {
    /// Registers an open file (`O_PATH` suffices) with the kernel (`FUSE_DEV_IOC_BACKING_OPEN`). The credentials of
    /// the calling thread are those that reads and writes happen with.
    ///
    /// # Errors
    /// Those of the call: of a backing that is stacked too deep (ELOOP), say.
    fn open_backing(&self, fd: BorrowedFd<'_>) -> io::Result<u32>;
}

/// Nothing bypasses the daemon.
#[derive(Clone, Copy, Debug)]
pub struct NoPassthrough;

impl Passthrough for NoPassthrough {
    fn open_backing(&self, _fd: BorrowedFd<'_>) -> io::Result<u32> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A file of the backing that the kernel reads and writes by itself as long as this lives: all handles of one inode
/// have to share it (Linux 6.9, `fuse_inode_uncached_io_start`).
#[derive(Debug)]
pub struct BackingFile {
    id: u32,
    device: Arc<OwnedFd>,
    _reach: Held,
}

impl BackingFile {
    /// `reach` is the way by which it could be cut.
    pub(super) fn new(id: u32, device: Arc<OwnedFd>, reach: Held) -> Self {
        Self {
            id,
            device,
            _reach: reach,
        }
    }

    /// The kernel's number for it.
    pub(super) fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for BackingFile {
    fn drop(&mut self) {
        if let Err(error) = crate::backing::close_backing(&*self.device, self.id) {
            tracing::debug!(%error, id = self.id, "the kernel did not close a backing file");
        }
    }
}
