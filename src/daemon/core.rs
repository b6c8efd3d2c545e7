//! All state of the daemon, and the way a change becomes policy in every mount.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::config::{Config, Hold, Use};
use super::door::Door;
use super::error::Result;
use super::mounts::LiveMount;
use super::steward::Registrar;
use super::survive::{self, Former};
use crate::backing::{self, MountTable, users};
use crate::policy::{AccountId, FolderId, Snapshot};
use crate::store::{AccountRow, By, FolderRow, GroupSource, Store, StoreError};
use crate::vfs::{Backing, Custody, Shared};

/// Who asks at the control socket.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The account in whose name.
    pub account: AccountRow,
    /// The account that asks; another than `account` only if it is root.
    pub actor: AccountRow,
}

impl Caller {
    /// For the audit.
    pub(super) fn by(&self) -> By {
        By {
            actor: self.actor.login.clone(),
            account: self.account.login.clone(),
        }
    }

    /// Tells whether root asks, for whomever.
    pub(super) fn is_root(&self) -> bool {
        self.actor.uid == 0
    }
}

/// See the module's doc.
pub(super) struct Core {
    pub(super) store: Store,
    pub(super) config: Config,
    pub(super) snapshot: Snapshot,
    pub(super) shared: Arc<Shared>,
    pub(super) registrar: Registrar,
    pub(super) mounts: Vec<LiveMount>,
    pub(super) mount_table: MountTable,
    pub(super) backings: HashMap<FolderId, Arc<Backing>>,
    pub(super) state: PathBuf,
    pub(super) started: Instant,
    pub(super) door: Arc<Door>,
    pub(super) check: Option<super::check::Job>,
}

impl Core {
    /// Reads the store and opens what is behind the folders.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn start(
        store: Store, state: PathBuf, config: Config, registrar: Registrar, files: usize, mut former: Former,
    ) -> std::result::Result<Self, StoreError> {
        for directory in ["folders", "trash"] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(state.join(directory))?;
        }
        let snapshot = store.snapshot()?;
        let shared = Shared::new(Arc::new(registrar.clone()), files, former.take_watch());
        survive::keep_watch(&shared);
        shared.allow_hold(config.latency.hold == Hold::Auto);
        shared.allow_kernel(
            config.kernel.passthrough == Use::Auto,
            config.kernel.names == Use::Auto,
        );
        let (mut store, audited) = (store, registrar.audited.clone());
        store.on_audit(move || audited.send_replace(()));
        let known = store.accounts()?.into_iter().map(|account| account.uid);
        let door = Door::new(config.limits.of_files(files), known);
        let mut core = Self {
            store,
            config,
            snapshot,
            shared,
            registrar,
            mounts: Vec::new(),
            mount_table: MountTable::read()?,
            backings: HashMap::new(),
            state,
            started: Instant::now(),
            door,
            check: None,
        };
        core.drop_stale_mounts(&former)?;
        core.refresh_people()?;
        for folder in core.store.folders()? {
            core.open_backing(&folder);
        }
        core.publish()?;
        core.take_over(former)?;
        core.shared.all_are_taken_over();
        Ok(core)
    }

    /// Brings the lines of a folder into force, everywhere, before it returns.
    pub(super) fn folder_changed(&mut self, folder: FolderId) -> Result<()> {
        self.store.load_folder(&mut self.snapshot, folder)?;
        Ok(self.publish()?)
    }

    /// Brings changed accounts and groups into force, everywhere, before it returns.
    pub(super) fn people_changed(&mut self) -> Result<()> {
        self.store.load_people(&mut self.snapshot)?;
        Ok(self.publish()?)
    }

    /// Like [`Core::people_changed`], where lines went with an account or a group.
    pub(super) fn all_changed(&mut self) -> Result<()> {
        self.snapshot = self.store.snapshot()?;
        Ok(self.publish()?)
    }

    pub(super) fn publish(&mut self) -> std::result::Result<(), StoreError> {
        let subjects: std::collections::BTreeSet<AccountId> =
            self.mounts.iter().map(|mount| mount.subject).collect();
        self.snapshot.tops.clear();
        for subject in subjects {
            let tops = self.store.load_tops(&self.snapshot, subject)?;
            self.snapshot.tops.insert(subject, tops);
        }
        self.shared.publish(self.snapshot.clone(), self.backings.clone());
        Ok(())
    }

    /// The account of a user, known from now on with all his groups.
    pub(super) fn ensure_account(&mut self, user: &users::OsUser) -> Result<AccountRow> {
        let before = self.store.account_by_login(&user.name)?;
        let account = self.store.ensure_account(user)?;
        let known = self.snapshot.accounts.get(&account.id);
        let changed =
            before.as_ref() != Some(&account) || known.is_none_or(|known| known.frozen != account.frozen);
        if changed {
            self.sync_unix_groups()?;
            self.people_changed()?;
        }
        Ok(account)
    }

    /// Asks the operating system for the members of its groups again, and whether accounts are still whom they were.
    pub(super) fn refresh_groups(&mut self) {
        if let Err(error) = self.refresh_people() {
            tracing::error!(%error, "cannot refresh accounts and groups");
        }
    }

    fn refresh_people(&mut self) -> std::result::Result<(), StoreError> {
        let mut changed = false;
        for account in self.store.accounts()? {
            // Gone from the operating system, or NSS does not answer: nobody can be him for now.
            if let Ok(Some(user)) = users::by_name(&account.login) {
                changed |= self.store.ensure_account(&user)? != account;
            }
        }
        changed |= self.sync_unix_groups()?;
        if changed {
            self.store.load_people(&mut self.snapshot)?;
            self.publish()?;
        }
        Ok(())
    }

    /// Tells whether anything changed.
    pub(super) fn sync_unix_groups(&mut self) -> std::result::Result<bool, StoreError> {
        let groups = self.store.groups(GroupSource::Unix)?;
        if groups.is_empty() {
            return Ok(false);
        }
        let mut memberships = Vec::new();
        for account in self.store.accounts()? {
            let user = users::OsUser {
                name: account.login,
                uid: account.uid,
                gid: account.gid,
            };
            memberships.push((account.id, users::groups_of(&user).unwrap_or_default()));
        }
        let mut changed = false;
        for group in groups {
            let gid = users::group_id(&group.name).ok().flatten();
            let members: Vec<_> = memberships
                .iter()
                .filter(|(_, gids)| gid.is_some_and(|gid| gids.contains(&gid)))
                .map(|(id, _)| *id)
                .collect();
            changed |= self.store.sync_group(group.id, &members)?;
        }
        Ok(changed)
    }

    /// Where the tree of a managed folder lies.
    pub(super) fn managed_path(&self, folder: FolderId) -> PathBuf {
        self.state.join("folders").join(folder.to_string())
    }

    /// The path of a folder's backing directory.
    pub(super) fn backing_path(&self, folder: &FolderRow) -> PathBuf {
        match &folder.adopted {
            Some(path) => Path::new(OsStr::from_bytes(path)).into(),
            None => self.managed_path(folder.id),
        }
    }

    /// Opens the directory behind a folder; if it is not there, or another, the folder is lost.
    pub(super) fn open_backing(&mut self, folder: &FolderRow) {
        let backing = self.try_backing(folder).unwrap_or_else(|why| {
            tracing::warn!(folder = %folder.id, name = folder.name, why, "the backing directory is lost");
            Backing::lost()
        });
        self.backings.insert(folder.id, Arc::new(backing));
    }

    fn try_backing(&self, folder: &FolderRow) -> std::result::Result<Backing, String> {
        let root = self.find_backing(folder)?;
        let custody = match &folder.lender {
            None => Custody::Managed,
            Some(login) => {
                let user = users::by_name(login).map_err(|error| error.to_string())?;
                let user = user.ok_or_else(|| format!("its lender {login} is no user any more"))?;
                Custody::Adopted(Arc::new(users::lender(&user).map_err(|error| error.to_string())?))
            }
        };
        Backing::new(root, custody).map_err(|error| error.to_string())
    }

    /// The directory behind a folder, if it is the one that it was made with.
    pub(super) fn find_backing(&self, folder: &FolderRow) -> std::result::Result<OwnedFd, String> {
        let root = backing::open_root(&self.backing_path(folder)).map_err(|error| error.to_string())?;
        if let Some(known) = &folder.handle {
            let handle = backing::handle(root.as_fd()).map_err(|error| error.to_string())?;
            if handle.as_ref().map(backing::FileHandle::as_bytes) != Some(known) {
                return Err("another directory stands in its place".into());
            }
        }
        Ok(root)
    }

    /// Takes note of mounts that were taken down from outside, and of backings that vanished or came back.
    pub(super) fn look_after(&mut self) {
        self.forget_gone_mounts();
        let mut changed = false;
        for folder in self.store.folders().unwrap_or_default() {
            let lost = self
                .backings
                .get(&folder.id)
                .is_none_or(|backing| backing.is_lost());
            if self.find_backing(&folder).is_err() != lost {
                self.open_backing(&folder);
                changed = true;
            }
        }
        if changed && let Err(error) = self.publish() {
            tracing::error!(%error, "cannot publish");
        }
    }
}
