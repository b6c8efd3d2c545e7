//! The kernel of a mount, told by way of its `/dev/fuse` descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::backing;
use crate::vfs::ids::Ino;
use crate::vfs::kernel::Kernel;

/// See the module's doc.
#[derive(Debug)]
pub struct Notifier {
    device: Arc<OwnedFd>,
}

impl Notifier {
    /// `device` is the `/dev/fuse` descriptor of the mount, or a duplicate of it.
    pub fn new(device: OwnedFd) -> Self {
        Self {
            device: Arc::new(device),
        }
    }
}

impl Kernel for Notifier {
    fn drop_pages(&self, ino: Ino) -> bool {
        note(backing::tell_pages(self.device.as_fd(), ino.0), "pages", ino)
    }

    fn drop_attributes(&self, ino: Ino) -> bool {
        note(
            backing::notify_inode(self.device.as_fd(), ino.0, false),
            "attributes",
            ino,
        )
    }

    fn forget_name(&self, parent: Ino, name: &[u8]) {
        note(
            backing::tell_name(self.device.as_fd(), parent.0, name),
            "a name",
            parent,
        );
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
