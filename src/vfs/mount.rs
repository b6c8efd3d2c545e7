//! A live mount: the kernel's superblock, the threads that serve it, and its end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::adapter::{Adapter, Notifier};
use super::filesystem::{FileSystem, Options};
use super::ids::MountId;
use super::journal::{Charter, Journal};
use super::kernel::{Features, Offer};
use super::pool::{Pool, extra};
use super::resume::Keepsake;
use super::shared::Shared;
use super::view::Viewer;
use crate::backing::{self, Device, FuseMountOptions, MountTable, Mounted, Slot};
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
    /// Whether it is left to the next daemon.
    leaves: bool,
}

impl Mount {
    /// Mounts and begins to serve. Where the kernel allows it, a mount that shall outlive the daemon `lasts`: it keeps for
    /// the next one what that has to know.
    ///
    /// # Errors
    /// Those of `fsopen`, `fsmount` and `move_mount`; NotFound if the account is not known.
    pub fn start(shared: &Arc<Shared>, request: MountRequest, lasts: bool) -> io::Result<Self> {
        let snapshot = shared.snapshot();
        let account = snapshot
            .accounts
            .get(&request.subject)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the account is not known"))?;
        let journal = lasts.then(Journal::new).transpose()?.map(Arc::new);
        let options = Options {
            viewer: Viewer {
                account: request.subject,
                ceiling: request.ceiling,
                online: request.online,
            },
            own: request.own,
            default_permissions: request.default_permissions,
            subject_ids: (account.uid, account.gid),
            strict: request.strict,
            read_only: request.read_only,
        };
        let filesystem = FileSystem::lasting(shared, options, shared.next_mount(), journal);
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
        let mount = Self {
            mounted,
            server: Some(server),
            filesystem,
            leaves: false,
        };
        if let Some(journal) = mount.journal() {
            journal.charter(&mount.charter(&account.login, request.admit_all))?;
        }
        Ok(mount)
    }

    /// Takes a mount over from a daemon that has ended: what its kernel has asked and was not answered is answered now.
    ///
    /// # Errors
    /// InvalidData if what is kept of it cannot be read, or the account is not the same any more; NotConnected if it is
    /// not mounted any more. Then nothing was changed.
    pub fn resume(shared: &Arc<Shared>, keepsake: Keepsake, charter: &Charter) -> io::Result<Self> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let journal = Arc::new(Journal::open(keepsake.journal)?);
        let survived = journal.survived()?;
        let account = AccountId(charter.account);
        let snapshot = shared.snapshot();
        let known = snapshot.accounts.get(&account);
        if known.map(|known| (known.uid, known.gid)) != Some(charter.subject_ids) {
            return Err(invalid("the account is another, or none any more"));
        }
        let ceiling = charter.ceiling.as_deref().map(str::parse).transpose();
        let options = Options {
            viewer: Viewer {
                account,
                ceiling: ceiling.map_err(|_| invalid("a ceiling that is no level"))?,
                online: charter.online,
            },
            own: charter.own,
            default_permissions: charter.default_permissions,
            subject_ids: charter.subject_ids,
            strict: charter.strict,
            read_only: charter.read_only,
        };
        let mounted = Mounted::again(charter.mount, charter.device);
        if !mounted.is_mounted() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if charter.passthrough && keepsake.top.is_none() {
            return Err(invalid("there is no way in by which open files could be cut"));
        }
        let number = MountId(charter.number);
        shared.mount_taken_over(number);
        let filesystem = FileSystem::lasting(shared, options, number, Some(Arc::clone(&journal)));
        let _ = filesystem.features.set(Features {
            passthrough: charter.passthrough,
            epoch: charter.epoch,
            resends: true,
            opens_itself: charter.opens_itself,
        });
        if let Some(top) = keepsake.top {
            filesystem.reach.open(top);
        }
        let device = keepsake.device;
        let pool = Pool::new(&filesystem, device.try_clone()?, shared.pacing.pacer());
        let (session, _kernel) = extra::greet(&filesystem, &pool.first())?;
        filesystem.attach(Box::new(Notifier::new(device.try_clone()?)));
        filesystem.take_over(&journal, survived, keepsake.files)?;
        Slot::new(session.as_fd(), session.notifier()).put(device.as_fd())?;
        backing::notify_resend(device.as_fd())?;
        let server = run(session)?;
        filesystem.settle();
        Ok(Self {
            mounted,
            server: Some(server),
            filesystem,
            leaves: false,
        })
    }

    /// What is to be kept of it for the next daemon, if it outlives this one: its `/dev/fuse`, the journal, and the
    /// daemon's way in.
    pub fn keepsake(&self) -> io::Result<Option<Keepsake>> {
        let (Some(journal), Some(kernel)) = (self.journal(), self.filesystem.kernel.get()) else {
            return Ok(None);
        };
        let top = self.filesystem.reach.top();
        Ok(Some(Keepsake {
            device: kernel.device().try_clone()?,
            journal: journal.as_fd().try_clone_to_owned()?,
            top: top.map(|top| top.try_clone()).transpose()?,
            files: Vec::new(),
        }))
    }

    /// Lets go of it without taking it down: the next daemon takes it over.
    pub fn leave(mut self) {
        self.leaves = true;
    }

    /// The journal, if the kernel can be asked again what it has asked.
    fn journal(&self) -> Option<&Arc<Journal>> {
        let resends = self.filesystem.features().resends;
        self.filesystem.journal.as_ref().filter(|_| resends)
    }

    fn charter(&self, login: &str, admit_all: bool) -> Charter {
        let filesystem = &self.filesystem;
        let (options, features) = (&filesystem.options, filesystem.features());
        let Device { major, minor } = self.mounted.device();
        Charter {
            mount: self.mounted.id(),
            device: (major, minor),
            number: filesystem.id.0,
            account: options.viewer.account.0,
            login: login.into(),
            subject_ids: options.subject_ids,
            ceiling: options.viewer.ceiling.map(|level| level.to_string()),
            online: options.viewer.online,
            read_only: options.read_only,
            admit_all,
            default_permissions: options.default_permissions,
            own: options.own,
            strict: options.strict,
            passthrough: self.has_passthrough(),
            epoch: features.epoch,
            opens_itself: features.opens_itself,
        }
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

    /// The daemon's number for it, which no other one had before or has after, also under the daemons that take it over.
    pub fn number(&self) -> u64 {
        self.filesystem.id.0
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

    /// What its kernel offered; `None` as long as that has not said anything.
    pub fn offer(&self) -> Option<Offer> {
        self.filesystem.offer.get().copied()
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
        if self.leaves {
            return;
        }
        self.filesystem.forget_all_nameless();
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
    filesystem.attach(Box::new(Notifier::new(own)));
    run(session)
}

fn run(session: fuser::Session<Adapter>) -> io::Result<JoinHandle<io::Result<()>>> {
    std::thread::Builder::new()
        .name("fuse-session".into())
        .spawn(move || session.run())
}
