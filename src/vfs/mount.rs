//! A live mount: the kernel's superblock, the threads that serve it, and its end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::adapter::{Adapter, Notifier};
use super::filesystem::{FileSystem, Options};
use super::pool::Pool;
use super::shared::Shared;
use super::view::Viewer;
use crate::backing::{self, Device, FuseMountOptions, MountTable, Mounted};
use crate::policy::{AccountId, Level};

/// What a mount is asked to be.
#[derive(Debug)]
pub struct MountRequest {
    /// On whose behalf it acts.
    pub subject: AccountId,
    /// The mount point: an empty directory, checked on this descriptor.
    pub at: OwnedFd,
    /// The level that nothing in it exceeds.
    pub ceiling: Option<Level>,
    /// Whether it is declared online (a managed session).
    pub online: bool,
    /// Whether the kernel refuses every change.
    pub read_only: bool,
    /// Whether others than the subject are let in.
    pub admit_all: bool,
    /// Whether the kernel applies the shown modes and owners on top.
    pub default_permissions: bool,
    /// The ids that everything is shown to belong to.
    pub own: Option<(u32, u32)>,
    /// Whether no data may bypass the daemon, so that all that is open ends at once with the right.
    pub strict: bool,
}

/// A live mount. Dropping it unmounts, lazily if need be.
pub struct Mount {
    mounted: Mounted,
    server: Option<JoinHandle<io::Result<()>>>,
    filesystem: Arc<FileSystem>,
}

impl Mount {
    /// Mounts and begins to serve.
    ///
    /// # Errors
    /// Those of `fsopen`, `fsmount` and `move_mount`; NotFound if the account is not known.
    pub fn start(shared: &Arc<Shared>, request: MountRequest) -> io::Result<Self> {
        let snapshot = shared.snapshot();
        let account = snapshot
            .accounts
            .get(&request.subject)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the account is not known"))?;
        let viewer = Viewer {
            account: request.subject,
            ceiling: request.ceiling,
            online: request.online,
        };
        let filesystem = FileSystem::new(
            shared,
            Options {
                viewer,
                own: request.own,
                default_permissions: request.default_permissions,
                subject_ids: (account.uid, account.gid),
                strict: request.strict,
                read_only: request.read_only,
            },
        );
        let (device, mut mounted) = backing::mount_fuse(
            request.at.as_fd(),
            &FuseMountOptions {
                uid: account.uid,
                gid: account.gid,
                allow_other: request.admit_all,
                // What is shown of a read-only mount is what its subject may, so the kernel can judge by it.
                default_permissions: request.default_permissions || request.read_only,
                read_only: request.read_only,
            },
        )?;
        let server = serve(&filesystem, device, shared)?;
        let detached = mounted.take_detached();
        if filesystem.has_passthrough() {
            let top = detached
                .ok_or_else(|| io::ErrorKind::Unsupported.into())
                .and_then(|mount| backing::open_top(mount, account.uid, account.gid));
            match top {
                Ok(top) => filesystem.reach.open(top),
                Err(error) => tracing::warn!(%error, "no data bypasses the daemon, for it could not be cut"),
            }
        }
        Ok(Self {
            mounted,
            server: Some(server),
            filesystem,
        })
    }

    /// Unmounts. A `lazy` one leaves those that have something open to finish with it.
    ///
    /// # Errors
    /// Those of `umount2(2)`; EBUSY while something is open and `lazy` is not set.
    pub fn unmount(&self, lazy: bool) -> io::Result<()> {
        self.mounted.unmount(lazy)?;
        self.filesystem.reach.end();
        Ok(())
    }

    /// The kernel's number for it.
    pub fn id(&self) -> u64 {
        self.mounted.id()
    }

    /// The number of its file system, as `st_dev` tells it.
    pub fn device(&self) -> Device {
        self.mounted.device()
    }

    /// What is mounted.
    pub fn filesystem(&self) -> &Arc<FileSystem> {
        &self.filesystem
    }

    /// Tells whether data may bypass the daemon, and could be cut.
    pub fn has_passthrough(&self) -> bool {
        self.filesystem.has_passthrough() && self.filesystem.reach.top().is_some()
    }

    /// Where it is mounted now; `None` if it is not.
    pub fn at(&self) -> Option<std::path::PathBuf> {
        self.mounted.at()
    }

    /// Tells whether the kernel has ended the mount, by whomever it was unmounted.
    pub fn is_gone(&self) -> bool {
        self.server.as_ref().is_none_or(JoinHandle::is_finished) || !self.mounted.is_mounted()
    }

    /// Likewise, by a table that was read for many.
    pub fn is_gone_from(&self, table: &MountTable) -> bool {
        self.server.as_ref().is_none_or(JoinHandle::is_finished) || !self.mounted.is_in(table)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !self.is_gone()
            && let Err(error) = self.mounted.unmount(true)
        {
            tracing::warn!(%error, "a mount could not be taken down");
        }
        self.filesystem.reach.end();
    }
}

/// Serves with one worker; there are more when there is more to do.
pub(super) fn serve(
    filesystem: &Arc<FileSystem>, device: OwnedFd, shared: &Shared,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let mut config = fuser::Config::default();
    config.n_threads = Some(1);
    let own = device.try_clone()?;
    let pool = Pool::new(filesystem, device.try_clone()?, shared.pacing.pacer());
    let adapter = Adapter(Arc::clone(filesystem), pool.first());
    let session = fuser::Session::from_fd(adapter, device, fuser::SessionACL::All, config)?;
    filesystem.attach(Box::new(Notifier::new(session.notifier(), own)));
    std::thread::Builder::new()
        .name("fuse-session".into())
        .spawn(move || session.run())
}
