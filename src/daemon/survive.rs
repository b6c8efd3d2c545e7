//! Mounts that outlive the daemon: what whoever started it keeps of them, and the taking over from the one before.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::core::Core;
use super::mounts::LiveMount;
use super::service;
use crate::backing::{self, FileKind, Watch, users};
use crate::policy::AccountId;
use crate::store::StoreError;
use crate::vfs::{Charter, Keepsake, Mount, MountRequest, Shared};

/// The names under which the parts of a mount are kept; its number follows.
const PARTS: [&str; 3] = [DEVICE, JOURNAL, WAY];
const DEVICE: &str = "device-";
const JOURNAL: &str = "journal-";
const WAY: &str = "way-";
/// Of an open file without a name; the numbers of its mount and its node.
const FILE: &str = "file-";
/// Of what the daemon watches the file systems with; its number and what it can follow.
const WATCH: &str = "watch-";

/// The mounts of a former daemon, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Former {
    mounts: BTreeMap<u64, Parts>,
    watch: Option<Watch>,
}

#[derive(Debug, Default)]
struct Parts {
    device: Option<OwnedFd>,
    journal: Option<OwnedFd>,
    way: Option<OwnedFd>,
    files: Vec<(u64, OwnedFd)>,
}

impl Former {
    /// Of the descriptors that came with the daemon. What is none of a mount is let go.
    pub(super) fn of(received: Vec<(String, OwnedFd)>) -> Self {
        let mut former = Self::default();
        for (name, fd) in received {
            if let Some(told) = name.strip_prefix(WATCH) {
                former.watch = watch_of(told, fd);
                // This daemon keeps it under a name of its own.
                let _ = service::remove_fd(&name);
                continue;
            }
            if let Some((mount, node)) = file_of(&name) {
                former.mounts.entry(mount).or_default().files.push((node, fd));
                continue;
            }
            let part = PARTS.iter().find_map(|part| {
                let number: u64 = name.strip_prefix(part)?.parse().ok()?;
                Some((*part, number))
            });
            let Some((part, number)) = part else {
                tracing::warn!(name, "a descriptor was left that means nothing to this daemon");
                let _ = service::remove_fd(&name);
                continue;
            };
            let parts = former.mounts.entry(number).or_default();
            let place = match part {
                DEVICE => &mut parts.device,
                JOURNAL => &mut parts.journal,
                _ => &mut parts.way,
            };
            *place = Some(fd);
        }
        former
    }

    /// Its watch over the file systems.
    pub(super) fn take_watch(&mut self) -> Option<Watch> {
        self.watch.take()
    }

    /// The kernel's numbers of them.
    pub(super) fn mounts(&self) -> Vec<u64> {
        let journals = self.mounts.values().filter_map(|parts| parts.journal.as_ref());
        journals
            .filter_map(|journal| Some(Charter::of(journal).ok()?.mount))
            .collect()
    }

    /// Those of which all is there that they need, with what they are. The others are let go.
    fn charters(self) -> Vec<(u64, Charter, Keepsake)> {
        let read = |(number, parts): (u64, Parts)| {
            let (Some(device), Some(journal)) = (parts.device, parts.journal) else {
                tracing::error!(number, "a mount was not kept whole");
                parts
                    .files
                    .iter()
                    .for_each(|(node, _)| forget_file(number, *node));
                forget(number);
                return None;
            };
            let charter = Charter::of(&journal)
                .inspect_err(|error| {
                    tracing::error!(%error, number, "what is kept of a mount cannot be read");
                    forget(number);
                })
                .ok()?;
            let keepsake = Keepsake {
                device,
                journal,
                top: parts.way,
                files: parts.files,
            };
            Some((number, charter, keepsake))
        };
        self.mounts.into_iter().filter_map(read).collect()
    }
}

/// What a former daemon watched with, by what its name tells: the number of that, and what it can.
fn watch_of(told: &str, fd: OwnedFd) -> Option<Watch> {
    let (former, has_rename) = told.split_once('-')?;
    Watch::again(fd, former.parse().ok()?, has_rename == "1")
        .inspect_err(|error| tracing::error!(%error, "what a former daemon watched with is of no use"))
        .ok()
}

/// Has the watch kept for the next daemon.
pub(super) fn keep_watch(shared: &Shared) {
    let Some(watch) = shared.watch_to_keep().filter(|_| service::has_store()) else {
        return;
    };
    let name = format!("{WATCH}{}-{}", std::process::id(), u8::from(watch.has_rename()));
    if let Err(error) = service::store_fd(&name, watch.as_fd()) {
        tracing::warn!(%error, "what is changed before the next daemon runs will be seen late");
    }
}

/// Has a mount kept for the next daemon, if it can be. To be called when it is served.
pub(super) fn keep(mount: &Mount) -> io::Result<()> {
    let Some(Keepsake {
        device, journal, top, ..
    }) = mount.keepsake()?
    else {
        return Ok(());
    };
    let number = mount.number();
    let parts = [
        (WAY, top.as_ref()),
        (JOURNAL, Some(&journal)),
        (DEVICE, Some(&device)),
    ];
    for (part, fd) in parts {
        if let Some(fd) = fd {
            service::store_fd(&format!("{part}{number}"), fd.as_fd())?;
        }
    }
    Ok(())
}

/// Has an open file of a mount kept for the next daemon.
pub(super) fn keep_file(mount: u64, node: u64, fd: BorrowedFd<'_>) {
    if let Err(error) = service::store_fd(&format!("{FILE}{mount}-{node}"), fd) {
        tracing::warn!(%error, "an open file without a name will not outlive the daemon");
    }
}

/// Lets go of it.
pub(super) fn forget_file(mount: u64, node: u64) {
    let _ = service::remove_fd(&format!("{FILE}{mount}-{node}"));
}

/// Of which mount and node a kept file is.
fn file_of(name: &str) -> Option<(u64, u64)> {
    let (mount, node) = name.strip_prefix(FILE)?.split_once('-')?;
    Some((mount.parse().ok()?, node.parse().ok()?))
}

/// Lets go of what is kept of a mount.
pub(super) fn forget(number: u64) {
    for part in PARTS {
        if let Err(error) = service::remove_fd(&format!("{part}{number}")) {
            tracing::warn!(%error, number, "what is kept of a mount that is gone is not let go");
        }
    }
}

impl Core {
    /// Takes the mounts of a former daemon over. One that cannot be is taken down and made anew, so that its users see a
    /// mount, if not what they had open.
    pub(super) fn take_over(&mut self, former: Former) -> std::result::Result<(), StoreError> {
        let begun = Instant::now();
        let former = former.charters();
        if former.is_empty() {
            return Ok(());
        }
        for (_, charter, _) in &former {
            // His top directory has to be known before the first look at it.
            let account = AccountId(charter.account);
            let tops = self.store.load_tops(&self.snapshot, account)?;
            self.snapshot.tops.insert(account, tops);
        }
        self.shared.publish(self.snapshot.clone(), self.backings.clone());
        let mut taken = 0;
        for (number, charter, keepsake) in former {
            match Mount::resume(&self.shared, keepsake, &charter) {
                Ok(mount) => {
                    taken += 1;
                    self.mounts.push(LiveMount::new(&charter, mount));
                }
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    tracing::info!(subject = charter.login, "a mount was taken down meanwhile");
                    forget(number);
                }
                Err(error) => {
                    tracing::error!(%error, subject = charter.login, "a mount cannot be taken over: it is made anew");
                    forget(number);
                    if let Err(error) = self.mount_anew(&charter) {
                        tracing::error!(%error, subject = charter.login, "a mount is lost");
                    }
                }
            }
        }
        tracing::info!(mounts = taken, elapsed = ?begun.elapsed(), "took over the mounts of a former daemon");
        self.shared.taken_over(taken);
        Ok(())
    }

    fn mount_anew(&mut self, charter: &Charter) -> io::Result<()> {
        let left = backing::Mounted::again(charter.mount, charter.device);
        let at = left.at().ok_or(io::ErrorKind::NotFound)?;
        left.end()?;
        let user = users::by_name(&charter.login)?.ok_or(io::ErrorKind::NotFound)?;
        let directory = backing::open_as(&Arc::new(users::lender(&user)?), &at)?;
        let stat = backing::stat(&directory)?;
        let his = [user.uid, 0].contains(&stat.uid) && stat.kind == FileKind::Directory;
        if !his || backing::is_fuse(&directory)? || !backing::is_empty(&directory)? {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let request = MountRequest {
            subject: AccountId(charter.account),
            at: directory,
            ceiling: charter
                .ceiling
                .as_deref()
                .map(str::parse)
                .transpose()
                .map_err(|_| io::ErrorKind::InvalidData)?,
            online: charter.online,
            read_only: charter.read_only,
            admit_all: charter.admit_all,
            default_permissions: charter.default_permissions,
            own: charter.own,
            strict: charter.strict,
        };
        self.add_mount(request, &charter.login, &at)
    }

    /// Mounts, and has it kept for the next daemon.
    pub(super) fn add_mount(&mut self, request: MountRequest, login: &str, at: &Path) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let subject = request.subject;
        let mount = Mount::start(&self.shared, request, service::has_store())?;
        self.store
            .record_mount(mount.id(), at.as_os_str().as_bytes(), subject)
            .map_err(io::Error::other)?;
        if let Err(error) = keep(&mount) {
            tracing::warn!(%error, "a mount will not outlive the daemon");
        }
        self.mounts.push(LiveMount::made(subject, login, mount));
        Ok(())
    }

    /// Leaves all mounts to the next daemon.
    pub(super) fn leave(&mut self) {
        self.catch_up();
        for mount in std::mem::take(&mut self.mounts) {
            mount.leave();
        }
    }
}
