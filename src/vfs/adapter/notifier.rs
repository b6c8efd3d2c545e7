//! The kernel of a mount, told by way of its `/dev/fuse` descriptor.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use fuser::INodeNo;

use crate::backing;
use crate::vfs::ids::Ino;
use crate::vfs::kernel::Kernel;

/// See the module's doc.
#[derive(Debug)]
pub struct Notifier {
    notifier: fuser::Notifier,
    device: Arc<OwnedFd>,
}

impl Notifier {
    /// `device` is the descriptor that `notifier` writes to, or a duplicate of it.
    pub fn new(notifier: fuser::Notifier, device: OwnedFd) -> Self {
        Self {
            notifier,
            device: Arc::new(device),
        }
    }
}

impl Kernel for Notifier {
    fn drop_pages(&self, ino: Ino) -> bool {
        note(
            backing::notify_inode(self.device.as_fd(), ino.0, true),
            "pages",
            ino,
        )
    }

    fn drop_attributes(&self, ino: Ino) -> bool {
        note(
            backing::notify_inode(self.device.as_fd(), ino.0, false),
            "attributes",
            ino,
        )
    }

    fn forget_name(&self, parent: Ino, name: &[u8]) {
        let told = self
            .notifier
            .inval_entry(INodeNo(parent.0), OsStr::from_bytes(name));
        note(told, "a name", parent);
    }

    fn forget_names(&self) {
        note(backing::notify_epoch(self.device.as_fd()), "all names", Ino::TOP);
    }

    fn device(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.device)
    }
}

/// Of a mount that has ended the kernel knows nothing any more.
fn note<T: Default>(told: io::Result<T>, what: &str, ino: Ino) -> T {
    told.unwrap_or_else(|error| {
        tracing::debug!(%error, ?ino, "the kernel did not forget {what}");
        T::default()
    })
}
