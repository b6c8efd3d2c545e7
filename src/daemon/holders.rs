//! Processes that hold on to what was taken back: the one who took it is told of them, or they are ended.
//!
//! What a program has mapped of a file lives on until the program lets go of it, whatever the policy says; and what it
//! still has open it can map, though it can neither read nor write it any more. The search for both reads `/proc` of
//! every process, without the lock of the core: others command meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use parking_lot::Mutex;
use serde_json::json;

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::resolve::Found;
use super::server::Remains;
use crate::backing::{self, Device, Hold, Process, Wanted};
use crate::control::answers::Said;
use crate::control::wire::quoted;
use crate::policy::authority::Actor;
use crate::policy::{FolderId, FolderPolicy, PlacePath, Principal};
use crate::vfs::{FileSystem, Revoked};

/// How long the end of the killed is waited for: it comes at once, but from one who waits for a dead disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many processes are told of one by one.
const TOLD: usize = 8;

/// A search to be made after a change.
struct Search {
    caller: Caller,
    kill: bool,
    may_kill: bool,
    /// Whether the caller is root or the owner: he may know of files of which it is not known any more where they are.
    may_know_all: bool,
    folder: FolderId,
    /// The folder as it was before the change: where a share stood is not in it any more afterwards.
    before: Arc<FolderPolicy>,
    place: PlacePath,
    mounts: Vec<Searched>,
}

/// A mount, where files may be open that were taken back.
struct Searched {
    login: String,
    uid: u32,
    device: Device,
    filesystem: Arc<FileSystem>,
}

/// A process that holds something.
struct Holding<'a> {
    pid: Pid,
    name: String,
    uid: u32,
    mount: &'a Searched,
    /// Whether it has it mapped, and not only open.
    mapped: bool,
    /// Whether all its uids are the subject's.
    his: bool,
    path: Option<PlacePath>,
}

/// What became of a holder.
enum Fate {
    Left,
    Ended,
    Lingers,
    Failed(std::io::Error),
}

impl Core {
    /// Prepares the search for those who still hold what a change at a place takes from a principal; to be asked for
    /// before the change. Nothing is to be searched where nothing is open.
    ///
    /// # Errors
    /// If `kill` is asked for by one who may not.
    pub(super) fn search(
        &self, caller: &Caller, found: &Found, principal: Principal, kill: bool,
    ) -> Result<Option<Remains<Said>>> {
        let may_kill = caller.is_root() || self.config.may_kill.contains(&caller.actor.login);
        if kill && !may_kill {
            return Err(Refused::denied(
                "--kill is for root and for those whom the configuration names under may-kill",
            ));
        }
        let before = self.policy(&found.folder)?;
        let mounts: Vec<_> = self
            .mounts
            .iter()
            .filter(|mount| match principal {
                Principal::Account(account) => mount.subject == account,
                Principal::Group(group) => {
                    let groups = self.snapshot.groups.get(&mount.subject);
                    groups.is_some_and(|groups| groups.contains(&group))
                }
            })
            .filter_map(|mount| {
                let subject = self.snapshot.accounts.get(&mount.subject)?;
                Some(Searched {
                    login: subject.login.clone(),
                    uid: subject.uid,
                    device: mount.device(),
                    filesystem: Arc::clone(mount.filesystem()),
                })
            })
            .collect();
        if mounts.is_empty() {
            return Ok(None);
        }
        let search = Search {
            caller: caller.clone(),
            kill,
            may_kill,
            may_know_all: caller.is_root() || before.owner == caller.account.id,
            folder: found.folder.id,
            before,
            place: found.path.clone(),
            mounts,
        };
        Ok(Some(Box::new(move |core, said: &mut Said| {
            said.warnings.extend(search.run(core));
        })))
    }
}

impl Search {
    /// Searches, ends what is to be ended, and tells of it line by line.
    fn run(mut self, core: &Mutex<Core>) -> Vec<String> {
        let before = Arc::clone(&self.before);
        self.mounts.retain(|mount| mount.filesystem.may_be_held(&before));
        if self.mounts.is_empty() {
            return Vec::new();
        }
        let found = match self.look(backing::holders) {
            Ok(found) => found,
            Err(error) => {
                return vec![format!(
                    "the processes that still hold it cannot be listed: {error}"
                )];
            }
        };
        let holding: Vec<_> = found
            .found
            .iter()
            .filter_map(|holder| self.holding(holder.pid, &holder.holds))
            .collect();
        let fates = self.end(holding);
        self.audit(core, &fates);
        let mut told = self.tell(core, &fates);
        told.extend(found.closed.iter().filter_map(|&pid| {
            let owner = backing::owner_of(pid)?;
            let mount = self.mounts.iter().find(|mount| owner.uids.contains(&mount.uid))?;
            Some(format!(
                "process {pid} ({}) of {} cannot be looked into: whether it still holds something is not known",
                owner.name, mount.login
            ))
        }));
        told
    }

    /// Looks for what was taken back.
    fn look<T>(&self, look: impl FnOnce(Wanted<'_>) -> T) -> T {
        let devices: Vec<_> = self.mounts.iter().map(|mount| mount.device).collect();
        let mut mounts = self.mounts.iter();
        look(Wanted {
            devices: &devices,
            file: &|device, inode| self.revoked(device, inode).is_some(),
            open: mounts.any(|mount| mount.filesystem.is_cut_and_open(self.folder)),
        })
    }

    /// What was taken back of a file, if it lies where the change was made.
    fn revoked(&self, device: Device, inode: u64) -> Option<(&Searched, Revoked)> {
        let mount = self.mounts.iter().find(|mount| mount.device == device)?;
        let revoked = mount.filesystem.revoked(&self.before, inode)?;
        let concerned = match &revoked.path {
            Some(path) => path.starts_with(&self.place),
            None => self.may_know_all,
        };
        concerned.then_some((mount, revoked))
    }

    /// What of all that a process holds was taken back.
    fn holding(&self, pid: Pid, holds: &[Hold]) -> Option<Holding<'_>> {
        let (hold, (mount, revoked)) = holds.iter().find_map(|hold| {
            let revoked = self.revoked(hold.device, hold.inode)?;
            (!revoked.1.readable || hold.writes).then_some((hold, revoked))
        })?;
        let owner = backing::owner_of(pid)?;
        Some(Holding {
            pid,
            uid: owner.uids[0],
            his: owner.uids == [mount.uid; 3],
            name: owner.name,
            mount,
            mapped: hold.mapped,
            path: revoked.path,
        })
    }

    /// Ends the subject's own processes among these, if that is asked for.
    fn end<'a>(&'a self, holding: Vec<Holding<'a>>) -> Vec<(Holding<'a>, Fate)> {
        let mut fates = Vec::new();
        let mut killed = Vec::new();
        for holder in holding {
            if !self.kill || !holder.his {
                fates.push((holder, Fate::Left));
                continue;
            }
            match self.kill(holder.pid) {
                Ok(Some((holder, process))) => killed.push((holder, process)),
                Ok(None) => {}
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => fates.push((holder, Fate::Failed(error))),
            }
        }
        let deadline = Instant::now() + PATIENCE;
        for (holder, process) in killed {
            let left = deadline.saturating_duration_since(Instant::now());
            let fate = match process.ended(left) {
                Ok(true) => Fate::Ended,
                Ok(false) => Fate::Lingers,
                Err(error) => Fate::Failed(error),
            };
            fates.push((holder, fate));
        }
        fates
    }

    /// Kills the process of this number, if what bears the number when it is held is still one to be killed.
    fn kill(&self, pid: Pid) -> std::io::Result<Option<(Holding<'_>, Process)>> {
        let process = Process::open(pid)?;
        let holds = match self.look(|wanted| backing::holds(pid, wanted)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            holds => holds?,
        };
        let Some(holder) = self.holding(pid, &holds).filter(|holder| holder.his) else {
            return Ok(None);
        };
        process.end()?;
        Ok(Some((holder, process)))
    }

    fn audit(&self, core: &Mutex<Core>, fates: &[(Holding<'_>, Fate)]) {
        for (holder, fate) in fates {
            if !matches!(fate, Fate::Ended | Fate::Lingers) {
                continue;
            }
            let details = json!({
                "process": holder.pid.as_raw(),
                "name": holder.name,
                "of": holder.mount.login,
                "path": holder.path.as_ref().map(ToString::to_string),
            });
            let written = core
                .lock()
                .store
                .note(&self.caller.by(), "kill", self.folder, details);
            if let Err(error) = written {
                tracing::error!(%error, "cannot keep in the audit that a process was ended");
            }
        }
    }

    /// What the caller is told: of what he does not see, nothing.
    fn tell(&self, core: &Mutex<Core>, fates: &[(Holding<'_>, Fate)]) -> Vec<String> {
        let (snapshot, folder) = {
            let core = core.lock();
            let folder = core.snapshot.folders.get(&self.folder).cloned();
            (core.snapshot.clone(), folder)
        };
        let actor = folder
            .as_deref()
            .and_then(|folder| Actor::new(&snapshot, folder, self.caller.account.id).ok());
        let may_know = |holder: &Holding<'_>| {
            self.caller.is_root()
                || actor.as_ref().is_some_and(|actor| {
                    actor.is_owner() || holder.path.as_ref().is_some_and(|path| actor.sees(path))
                })
        };
        let mut told: Vec<_> = fates
            .iter()
            .filter(|(holder, _)| may_know(holder))
            .map(|(holder, fate)| self.line(holder, fate))
            .collect();
        let more = told.len().saturating_sub(TOLD);
        if more > 0 {
            told.truncate(TOLD);
            told.push(format!("and so it is with {more} processes more"));
        }
        told
    }

    fn line(&self, holder: &Holding<'_>, fate: &Fate) -> String {
        let Holding { pid, name, mount, .. } = holder;
        let whose = if holder.his {
            mount.login.clone()
        } else {
            format!("uid {}", holder.uid)
        };
        let what = match &holder.path {
            Some(path) => quoted(&[self.before.name.as_bytes(), b"/", &path.to_bytes()].concat()),
            None => format!("a file of {}", self.before.name),
        };
        let process = format!("process {pid} ({name}) of {whose}");
        let how = if holder.mapped { "mapped" } else { "open" };
        match fate {
            Fate::Ended => format!("ended {process}, which had {what} {how}"),
            Fate::Lingers => format!("killed {process}, which had {what} {how}, but it has not ended yet"),
            Fate::Failed(error) => format!("{process} has {what} {how} and cannot be ended: {error}"),
            Fate::Left if !holder.his => {
                format!(
                    "{process} still has {what} {how} and is left alone: only processes of {} are ended",
                    mount.login
                )
            }
            Fate::Left => {
                let so = if holder.mapped { "" } else { " and could map it" };
                let who = if self.may_kill { "" } else { " of root" };
                format!(
                    "{process} still has {what} {how}{so}, until it lets go of it or is ended: a --kill{who} ends it"
                )
            }
        }
    }
}
