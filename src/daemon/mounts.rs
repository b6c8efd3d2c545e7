//! mount, umount, mounts, and the end of mounts with the daemon.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::folders::said;
use super::server::Run;
use super::survive::{self, Former};
use crate::backing::{self, Device, FileKind, users};
use crate::control::wire::{PlaceRef, quoted};
use crate::control::{answers as answer, requests};
use crate::policy::{AccountId, Level};
use crate::store::StoreError;
use crate::vfs::view::Viewer;
use crate::vfs::{Charter, FileSystem, Mount, MountRequest};

/// A mount that is up.
pub(super) struct LiveMount {
    pub(super) subject: AccountId,
    login: String,
    mount: Mount,
}

impl LiveMount {
    pub(super) fn made(subject: AccountId, login: &str, mount: Mount) -> Self {
        Self {
            subject,
            login: login.into(),
            mount,
        }
    }

    /// One that a former daemon has made.
    pub(super) fn new(charter: &Charter, mount: Mount) -> Self {
        Self::made(AccountId(charter.account), &charter.login, mount)
    }

    /// Leaves it to the next daemon.
    pub(super) fn leave(self) {
        self.mount.leave();
    }

    /// What is mounted.
    pub(super) fn filesystem(&self) -> &Arc<FileSystem> {
        self.mount.filesystem()
    }

    /// Whether its data may bypass the daemon.
    pub(super) fn has_passthrough(&self) -> bool {
        self.mount.has_passthrough()
    }

    /// The number of its file system.
    pub(super) fn device(&self) -> Device {
        self.mount.device()
    }

    /// Where it is now.
    pub(super) fn at(&self) -> Option<PathBuf> {
        self.mount.at()
    }
}

/// How long the daemon waits at its end for those who have something open.
const FAREWELL: Duration = Duration::from_secs(2);

impl Run for requests::Mount {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let launcher = caller.is_root() || core.config.launchers.contains(&caller.actor.login);
        for (asked, option) in [
            (self.admit_all, "--admit all"),
            (self.online, "--online"),
            (self.own.is_some(), "--own"),
        ] {
            if asked && !launcher {
                return Err(Refused::denied(format!(
                    "{option} is for root and for the launchers that the configuration names"
                )));
            }
        }
        let ceiling = self.ceiling.as_deref().map(parse_ceiling).transpose()?;
        let own = self.own.as_deref().map(parse_ids).transpose()?;
        let (shown, subject) = (quoted(&self.at.0), caller.account.clone());
        if subject.frozen {
            return Err(Refused::denied(format!(
                "the account {} is frozen",
                subject.login
            )));
        }
        core.may_mount_more(caller)?;
        keep_reserve("mount")?;
        let at = core.mount_point(caller, &self.at.0)?;
        // His top directory has to be known before the first look at it.
        let tops = core.store.load_tops(&core.snapshot, subject.id)?;
        core.snapshot.tops.insert(subject.id, tops);
        core.shared.publish(core.snapshot.clone(), core.backings.clone());
        let recorded =
            backing::path_of(&at).unwrap_or_else(|_| Path::new(OsStr::from_bytes(&self.at.0)).into());
        let request = MountRequest {
            subject: subject.id,
            at,
            ceiling,
            online: self.online,
            read_only: self.read_only,
            admit_all: self.admit_all,
            default_permissions: self.default_permissions,
            own,
            strict: self.strict,
        };
        core.add_mount(request, &subject.login, &recorded)
            .map_err(|error| Refused::system("cannot mount on", &self.at.0, &error))?;
        tracing::info!(subject = subject.login, at = shown, "mounted");
        Ok(said(format!(
            "mounted the folders of {} at {shown}",
            subject.login
        )))
    }
}

impl Run for requests::Umount {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        core.forget_gone_mounts();
        let shown = quoted(&self.at.0);
        let at = Path::new(OsStr::from_bytes(&self.at.0));
        let missing = || {
            Refused::not_found(format!(
                "no folders of yours are mounted at {shown}: 'lendfs mounts' lists them"
            ))
        };
        let found = core.mounts.iter().position(|mount| {
            mount.at().is_some_and(|mounted| mounted == at)
                && (caller.is_root() || mount.subject == caller.account.id)
        });
        let index = found.ok_or_else(missing)?;
        core.mounts[index]
            .mount
            .unmount(self.lazy)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::EBUSY) => Refused::conflict(format!(
                    "{shown} is busy: close what is open there ('fuser -vm {shown}' shows it), or use --lazy"
                )),
                _ => Refused::system("cannot unmount", &self.at.0, &error),
            })?;
        let gone = core.mounts.swap_remove(index);
        survive::forget(gone.mount.number());
        core.store.forget_mount(gone.mount.id())?;
        Ok(said(format!("unmounted {shown}")))
    }
}

impl Run for requests::Mounts {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<Vec<answer::Mount>> {
        core.forget_gone_mounts();
        let all = caller.is_root() && caller.account.uid == 0;
        Ok(core
            .mounts
            .iter()
            .filter(|mount| all || mount.subject == caller.account.id)
            .filter_map(|mount| {
                let at = quoted(mount.at()?.as_os_str().as_bytes());
                Some(answer::Mount {
                    subject: mount.login.clone(),
                    at,
                    passthrough: mount.mount.has_passthrough(),
                })
            })
            .collect())
    }
}

impl Core {
    /// Each mount costs threads and descriptors: root alone, for whomever, makes any number.
    fn may_mount_more(&mut self, caller: &Caller) -> Result<()> {
        let limit = self.config.limits.mounts_of_one;
        if caller.is_root() {
            return Ok(());
        }
        self.forget_gone_mounts();
        let subject = caller.account.id;
        if self
            .mounts
            .iter()
            .filter(|mount| mount.subject == subject)
            .count()
            < limit
        {
            return Ok(());
        }
        Err(Refused {
            status: StatusCode::TOO_MANY_REQUESTS,
            line: format!(
                "{} has {limit} mounts, the most that one account may have: unmount some ('lendfs mounts' lists them), or \
                 let the administrator raise limits.mounts-of-one",
                caller.account.login
            ),
        })
    }

    /// Opens and checks a mount point: the checks are on what was opened, and the mount goes onto that.
    fn mount_point(&self, caller: &Caller, path: &[u8]) -> Result<std::os::fd::OwnedFd> {
        let shown = quoted(path);
        let path_os = Path::new(OsStr::from_bytes(path));
        if !path_os.is_absolute() {
            return Err(Refused::invalid(format!("{shown} is not an absolute path")));
        }
        let system = |error: io::Error| Refused::system("cannot mount on", path, &error);
        let actor = &caller.actor;
        let user = users::OsUser {
            name: actor.login.clone(),
            uid: actor.uid,
            gid: actor.gid,
        };
        let user = Arc::new(users::lender(&user).map_err(system)?);
        let opening = |error| Refused::opening("cannot mount on", path, &error);
        let at = backing::open_as(&user, path_os).map_err(opening)?;
        let stat = backing::stat(&at).map_err(system)?;
        if stat.kind != FileKind::Directory {
            return Err(Refused::invalid(format!("{shown} is not a directory")));
        }
        if ![actor.uid, caller.account.uid].contains(&stat.uid) {
            return Err(Refused::denied(format!(
                "{shown} belongs to another: mount on a directory of your own"
            )));
        }
        if backing::is_fuse(&at).map_err(system)? {
            return Err(Refused::conflict(format!(
                "{shown} is a FUSE mount, or lies in one: nothing is mounted there"
            )));
        }
        if !backing::is_empty(&at).map_err(system)? {
            return Err(Refused::conflict(format!(
                "{shown} is not empty: its files would be covered"
            )));
        }
        Ok(at)
    }

    /// Whose mount is at a path.
    pub(super) fn subject_at(&self, at: &[u8]) -> Option<AccountId> {
        let at = Path::new(OsStr::from_bytes(at));
        self.mounts
            .iter()
            .find(|mount| mount.at().is_some_and(|mounted| mounted == at))
            .map(|mount| mount.subject)
    }

    /// How far the mount reaches that a place was named in.
    pub(super) fn viewer_at(&self, place: &PlaceRef) -> Option<Viewer> {
        let PlaceRef::Local { mount, .. } = place else {
            return None;
        };
        let at = Path::new(OsStr::from_bytes(&mount.0));
        let mut mounts = self.mounts.iter();
        mounts
            .find(|mount| mount.at().is_some_and(|mounted| mounted == at))
            .map(|mount| mount.filesystem().viewer())
    }

    /// Takes note of mounts that were taken down from outside.
    pub(super) fn forget_gone_mounts(&mut self) {
        if let Err(error) = self.mount_table.refresh() {
            tracing::error!(%error, "cannot read what is mounted");
            return;
        }
        let table = &self.mount_table;
        let (gone, up): (Vec<_>, Vec<_>) = std::mem::take(&mut self.mounts)
            .into_iter()
            .partition(|mount| mount.mount.is_gone_from(table));
        self.mounts = up;
        for mount in gone {
            survive::forget(mount.mount.number());
            if let Err(error) = self.store.forget_mount(mount.mount.id()) {
                tracing::error!(%error, "cannot forget a mount");
            }
        }
    }

    /// Takes down what a daemon that was killed has left, but for what this one takes over.
    pub(super) fn drop_stale_mounts(&mut self, former: &Former) -> std::result::Result<(), StoreError> {
        let taken_over = former.mounts();
        for (id, at) in self.store.recorded_mounts()? {
            if taken_over.contains(&id) {
                continue;
            }
            if let Err(error) = backing::unmount_left(Path::new(OsStr::from_bytes(&at)), id) {
                tracing::warn!(at = quoted(&at), %error, "cannot take down the mount of an earlier daemon");
            }
            self.store.forget_mount(id)?;
        }
        Ok(())
    }

    /// Takes all mounts down: those with something open lazily, after a while.
    pub(super) fn stop(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        while !self.mounts.is_empty() {
            let late = Instant::now() >= deadline;
            self.mounts.retain(|mount| {
                let stays = mount.mount.unmount(late).is_err() && !mount.mount.is_gone() && !late;
                if !stays {
                    survive::forget(mount.mount.number());
                }
                stays
            });
            if !self.mounts.is_empty() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        for (id, _) in self.store.recorded_mounts().unwrap_or_default() {
            let _ = self.store.forget_mount(id);
        }
        self.catch_up();
    }
}

/// So many files are left for those who command, to take down what there is too much of.
const RESERVE: usize = 32;

/// Refuses what would take the last files that the daemon may have open.
pub(super) fn keep_reserve(what: &str) -> Result<()> {
    if backing::has_room_for(RESERVE) {
        return Ok(());
    }
    Err(Refused::failed(format!(
        "there is no room for one more {what}: the daemon has about as many files open as it may ('lendfs doctor' says more)"
    )))
}

fn parse_ceiling(word: &str) -> Result<Level> {
    word.parse()
        .map_err(|error: crate::policy::level::UnknownLevel| Refused::invalid(error.to_string()))
}

fn parse_ids(ids: &str) -> Result<(u32, u32)> {
    ids.split_once(':')
        .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)))
        .ok_or_else(|| Refused::invalid(format!("'{}' is not UID:GID, two numbers", ids.escape_debug())))
}
