//! create, list, rename, delete, transfer.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::mounts::keep_reserve;
use super::server::Run;
use crate::backing::{self, FileHandle, FileKind, users};
use crate::control::wire::quoted;
use crate::control::{answers as answer, requests};
use crate::policy::authority::{Denied, may_own};
use crate::policy::{FolderPolicy, Inheritance, PlacePath, Principal, Subject, explain};
use crate::store::{AccountRow, FolderRow, NewFolder};

impl Run for requests::Create {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let owner = &caller.account;
        may_own(&core.snapshot, owner.id)
            .map_err(|denied| Refused::because(denied, || Refused::not_found("there is no such account")))?;
        keep_reserve("folder")?;
        let inheritance = parse_inheritance(self.inherit.as_deref().unwrap_or("override"))?;
        let mut warnings = Vec::new();
        let adopted = match &self.path {
            Some(path) => Some(core.examine(caller, &path.0, &mut warnings)?),
            None => None,
        };
        let new = NewFolder {
            owner,
            name: &self.name,
            adopted: adopted
                .as_ref()
                .map(|adopted| (&adopted.path[..], adopted.handle.as_deref())),
            lender: adopted.as_ref().map(|adopted| &adopted.lender[..]),
            inheritance,
        };
        let id = core.store.create_folder(&caller.by(), &new)?;
        if adopted.is_none()
            && let Err(error) = make_managed(&core.managed_path(id), owner)
        {
            let path = core.managed_path(id);
            if let Some(folder) = core.store.folder(id)? {
                core.store.delete_folder(&caller.by(), &folder)?;
            }
            return Err(Refused::system(
                "cannot make",
                path.as_os_str().as_bytes(),
                &error,
            ));
        }
        if let Some(folder) = core.store.folder(id)? {
            core.open_backing(&folder);
        }
        core.folder_changed(id)?;
        Ok(answer::Said {
            done: format!("created {}", self.name),
            warnings,
        })
    }
}

impl Run for requests::List {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<Vec<answer::Folder>> {
        let account = &caller.account;
        let tops = core.store.load_tops(&core.snapshot, account.id)?;
        let mounted: Vec<_> = core
            .mounts
            .iter()
            .filter(|mount| mount.subject == account.id)
            .filter_map(|mount| mount.at())
            .collect();
        let mut folders = Vec::new();
        for entry in tops.iter() {
            let Some(folder) = core.store.folder(entry.folder)? else {
                continue;
            };
            let policy = core.policy(&folder)?;
            let path = policy
                .places
                .get(entry.place)
                .map(|place| place.path.clone())
                .unwrap_or_default();
            let Some(level) = core.shown_level(&policy, account, &path) else {
                continue;
            };
            let name = quoted(&entry.name);
            folders.push(answer::Folder {
                owner: folder.owner_login.clone(),
                level,
                mine: folder.owner == account.id,
                via: core.came_by(&policy, account, &path)?,
                revoke: if folder.strict { "strict" } else { "default" }.into(),
                mounted_at: mounted
                    .iter()
                    .map(|at| format!("{}/{name}", quoted(at.as_os_str().as_bytes())))
                    .collect(),
                name,
            });
        }
        Ok(folders)
    }
}

impl Run for requests::Rename {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let folder = core.owned_folder(caller, &self.folder)?;
        core.store.rename_folder(&caller.by(), &folder, &self.new)?;
        core.folder_changed(folder.id)?;
        Ok(said(format!("renamed {} to {}", folder.name, self.new)))
    }
}

impl Run for requests::Delete {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let folder = core.owned_folder(caller, &self.folder)?;
        if !self.force {
            let shared = core.store.shared_with(folder.id)?;
            if !shared.is_empty() {
                return Err(Refused::conflict(format!(
                    "'{}' is shared with {}: unshare it first, or delete it with --force",
                    folder.name,
                    shared.join(", ")
                )));
            }
            if let Some(at) = core.mounted_with(&folder)? {
                return Err(Refused::conflict(format!(
                    "'{}' is mounted at {at}: unmount it first, or delete it with --force",
                    folder.name
                )));
            }
        }
        let (from, to) = (
            core.managed_path(folder.id),
            core.state.join("trash").join(folder.id.to_string()),
        );
        let managed = folder.adopted.is_none();
        if managed
            && let Err(error) = std::fs::rename(&from, &to)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Refused::system(
                "cannot move to the trash",
                from.as_os_str().as_bytes(),
                &error,
            ));
        }
        if let Err(error) = core.store.delete_folder(&caller.by(), &folder) {
            if managed {
                let _ = std::fs::rename(&to, &from);
            }
            return Err(error.into());
        }
        core.backings.remove(&folder.id);
        core.folder_changed(folder.id)?;
        let data = if managed {
            "its files are in the trash"
        } else {
            "its files stay where they are"
        };
        Ok(said(format!("deleted {}: {data}", folder.name)))
    }
}

impl Run for requests::Transfer {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let folder = core.owned_folder(caller, &self.folder)?;
        let to = core.find_account(&self.to)?;
        if to.id == folder.owner {
            return Err(Refused::conflict(format!(
                "'{}' belongs to {} already",
                folder.name, to.login
            )));
        }
        match may_own(&core.snapshot, to.id) {
            Ok(()) => {}
            Err(Denied::Viewer) => {
                return Err(Refused::denied(format!(
                    "{} is a viewer, who cannot receive a folder",
                    to.login
                )));
            }
            Err(denied) => return Err(Refused::denied(format!("{}: {denied}", to.login))),
        }
        core.store.transfer_folder(&caller.by(), &folder, &to)?;
        core.folder_changed(folder.id)?;
        Ok(said(format!("{} belongs to {} now", folder.name, to.login)))
    }
}

/// A directory that may be adopted.
struct Adoptable {
    path: Vec<u8>,
    handle: Option<Vec<u8>>,
    lender: String,
}

impl Core {
    /// A folder of the caller's own.
    pub(super) fn owned_folder(
        &mut self, caller: &Caller, folder: &crate::control::wire::PlaceRef,
    ) -> Result<FolderRow> {
        let folder = self.find_folder(caller, folder)?;
        let policy = self.policy(&folder)?;
        self.actor(caller, &policy)?.owns().map_err(|denied| {
            Refused::because(denied, || {
                Refused::not_found(format!("there is no folder '{}'", folder.name))
            })
        })?;
        Ok(folder)
    }

    /// Checks that a directory may be adopted by the caller, on the directory itself and not on its path.
    fn examine(&mut self, caller: &Caller, path: &[u8], warnings: &mut Vec<String>) -> Result<Adoptable> {
        let shown = quoted(path);
        let os_path = Path::new(OsStr::from_bytes(path));
        if !os_path.is_absolute() {
            return Err(Refused::invalid(format!("{shown} is not an absolute path")));
        }
        let system = |error: std::io::Error| Refused::system("cannot adopt", path, &error);
        let user = users::OsUser {
            name: caller.actor.login.clone(),
            uid: caller.actor.uid,
            gid: caller.actor.gid,
        };
        let lender = Arc::new(users::lender(&user).map_err(system)?);
        let opening = |error| Refused::opening("cannot adopt", path, &error);
        let root = backing::open_as(&lender, os_path).map_err(opening)?;
        let stat = backing::stat(&root).map_err(system)?;
        if stat.kind != FileKind::Directory {
            return Err(Refused::invalid(format!("{shown} is not a directory")));
        }
        if stat.uid != caller.account.uid && !caller.is_root() {
            return Err(Refused::denied(format!(
                "{shown} belongs to another: only its owner or root adopts a directory"
            )));
        }
        if backing::is_fuse(&root).map_err(system)? {
            return Err(Refused::denied(format!(
                "{shown} lies on a FUSE mount, which cannot be lent again"
            )));
        }
        let state = backing::open_root(&self.state).map_err(system)?;
        let overlaps = |other: &dyn AsFd| -> std::io::Result<bool> {
            Ok(backing::is_within(root.as_fd(), other.as_fd())?
                || backing::is_within(other.as_fd(), root.as_fd())?)
        };
        // Above the state directory is also the root of the file system.
        if overlaps(&state).map_err(system)? {
            return Err(Refused::denied(format!(
                "{shown} is above or inside the daemon's state directory"
            )));
        }
        for backing in self.backings.values() {
            if let Ok(other) = backing.root()
                && overlaps(&other).map_err(system)?
            {
                return Err(Refused::denied(format!(
                    "{shown} is above, inside or the same as the directory of another folder"
                )));
            }
        }
        if stat.mode & 0o077 != 0 {
            warnings.push(format!(
                "{shown} has mode {:04o}: members of its group or everybody reach it natively, past all rules ('chmod 700' \
                 keeps them out)",
                stat.mode
            ));
        }
        let handle = backing::handle(&root).map_err(system)?;
        // Where it really is, whatever links led there.
        let path = backing::path_of(&root).map_err(system)?;
        Ok(Adoptable {
            path: path.as_os_str().as_bytes().into(),
            handle: handle.as_ref().map(FileHandle::as_bytes).map(Into::into),
            lender: caller.account.login.clone(),
        })
    }

    /// The level of an account at a place as a listing shows it; `None` if it is not there for him.
    fn shown_level(&self, policy: &FolderPolicy, account: &AccountRow, path: &PlacePath) -> Option<String> {
        let verdict = |online| {
            Subject::of(&self.snapshot, account.id, None, online)
                .map(|subject| explain(policy, &subject, path).verdict)
        };
        let (personal, online) = (verdict(false)?, verdict(true)?);
        if personal.sees() {
            Some(personal.standing.to_string())
        } else if online.sees() {
            Some(format!("online-{}", online.standing))
        } else {
            None
        }
    }

    /// How a folder came to an account.
    fn came_by(&self, policy: &FolderPolicy, account: &AccountRow, path: &PlacePath) -> Result<String> {
        if policy.owner == account.id {
            return Ok("owner".into());
        }
        let grants = |principal| {
            policy.lines.get(&principal).is_some_and(|lines| {
                lines.iter().any(|line| {
                    line.kind == crate::policy::LineKind::Grant
                        && policy
                            .places
                            .get(line.place)
                            .is_some_and(|place| place.path == *path)
                })
            })
        };
        if grants(Principal::Account(account.id)) {
            return Ok("share".into());
        }
        let groups = self.snapshot.groups.get(&account.id).cloned().unwrap_or_default();
        match groups
            .iter()
            .copied()
            .map(Principal::Group)
            .find(|&group| grants(group))
        {
            Some(group) => Ok(self.store.principal_name(group)?),
            None => Ok("share".into()),
        }
    }

    /// Where a folder is mounted for someone.
    fn mounted_with(&mut self, folder: &FolderRow) -> Result<Option<String>> {
        self.forget_gone_mounts();
        for mount in &self.mounts {
            let tops = self
                .snapshot
                .tops
                .get(&mount.subject)
                .cloned()
                .unwrap_or_default();
            if tops.iter().any(|entry| entry.folder == folder.id)
                && let Some(at) = mount.at()
            {
                return Ok(Some(quoted(at.as_os_str().as_bytes())));
            }
        }
        Ok(None)
    }
}

/// Makes the tree of a managed folder, which only the daemon reaches.
fn make_managed(path: &Path, owner: &AccountRow) -> std::io::Result<()> {
    std::fs::create_dir(path)?;
    // One that it inherits from where the state lies would come before the umask of all who make something in it.
    backing::remove_acls(std::fs::File::open(path)?.as_fd())?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755))?;
    std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid))?;
    debug_assert!(std::fs::metadata(path).is_ok_and(|made| made.uid() == owner.uid));
    Ok(())
}

pub(super) fn parse_inheritance(word: &str) -> Result<Inheritance> {
    match word {
        "override" => Ok(Inheritance::Override),
        "widen" => Ok(Inheritance::Widen),
        word => Err(Refused::invalid(format!(
            "'{}' is no way to inherit: say override or widen",
            word.escape_debug()
        ))),
    }
}

/// What was done, and nothing to warn of.
pub(super) fn said(done: String) -> answer::Said {
    answer::Said {
        done,
        warnings: Vec::new(),
    }
}
