//! From what was typed to what is meant, without telling anyone of what he may not see.

use std::os::fd::AsFd;

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use crate::backing::{self, FileHandle, FileKind, users};
use crate::control::wire::{PlaceRef, quoted};
use crate::policy::authority::Actor;
use crate::policy::{
    AccountId, FolderPolicy, LineLevel, PathError, PlaceKind, PlacePath, Principal, Subject, explain,
    top_places,
};
use crate::store::{AccountRow, Anchor, FolderRow, GroupSource};

/// A place, found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The folder.
    pub folder: FolderRow,
    /// The path in it.
    pub path: PlacePath,
    /// As it was typed, for messages.
    pub typed: String,
}

impl Found {
    /// What is said of a place that is not there, and of one that the caller may not see.
    pub(super) fn missing(&self) -> Refused {
        Refused::not_found(format!("there is no '{}'", self.typed))
    }
}

impl Core {
    /// The account of a login name or an e-mail address.
    pub(super) fn find_account(&mut self, name: &str) -> Result<AccountRow> {
        if let Ok(Some(user)) = users::by_name(name) {
            return self.ensure_account(&user);
        }
        if let Some(account) = self.store.account_by_email(name)? {
            return Ok(account);
        }
        let some: Vec<_> = self
            .store
            .accounts()?
            .into_iter()
            .take(8)
            .map(|account| account.login)
            .collect();
        Err(Refused::not_found(format!(
            "there is no account '{}': give the login name of a user of this system or an e-mail address that \
             'lendfs user list' shows (known: {})",
            name.escape_debug(),
            some.join(", ")
        )))
    }

    /// Whom `bob`, `bob@example.com`, `group:staff` or `unix:staff` means.
    pub(super) fn find_principal(&mut self, name: &str) -> Result<Principal> {
        if let Some(group) = name.strip_prefix("group:") {
            if let Some(id) = self.store.group(GroupSource::Own, group)? {
                return Ok(Principal::Group(id));
            }
            let known: Vec<_> = self
                .store
                .groups(GroupSource::Own)?
                .into_iter()
                .take(8)
                .map(|group| group.name)
                .collect();
            let known = if known.is_empty() {
                "there is none yet".into()
            } else {
                format!("known: {}", known.join(", "))
            };
            return Err(Refused::not_found(format!(
                "there is no group '{}' ({known})",
                group.escape_debug()
            )));
        }
        let Some(group) = name.strip_prefix("unix:") else {
            return Ok(Principal::Account(self.find_account(name)?.id));
        };
        if let Some(id) = self.store.group(GroupSource::Unix, group)? {
            return Ok(Principal::Group(id));
        }
        if users::group_id(group).ok().flatten().is_none() {
            return Err(Refused::not_found(format!(
                "there is no operating-system group '{}': 'getent group' lists them",
                group.escape_debug()
            )));
        }
        let id = self
            .store
            .create_group(&crate::store::By::daemon(), GroupSource::Unix, group)?;
        self.sync_unix_groups()?;
        self.people_changed()?;
        Ok(Principal::Group(id))
    }

    /// The level of a word.
    pub(super) fn parse_level(word: &str) -> Result<LineLevel> {
        word.parse()
            .map_err(|error: crate::policy::level::UnknownLevel| Refused::invalid(error.to_string()))
    }

    /// A folder that the caller has, or that is offered to him.
    pub(super) fn find_folder(&mut self, caller: &Caller, place: &PlaceRef) -> Result<FolderRow> {
        let found = self.find_place(caller, place)?;
        if found.path.is_root() {
            return Ok(found.folder);
        }
        Err(Refused::invalid(format!(
            "'{}' is a place inside a folder: give the folder's name alone",
            found.typed
        )))
    }

    /// A place in a folder that the caller has, or that is offered to him. Whether he sees the place itself is
    /// another question.
    pub(super) fn find_place(&mut self, caller: &Caller, place: &PlaceRef) -> Result<Found> {
        let (folder, below, typed) = match place {
            PlaceRef::Named(name) => {
                let mut parts = name.0.splitn(2, |&byte| byte == b'/');
                let first = parts.next().unwrap_or_default();
                let (folder, above) = self.find_named(caller, first)?;
                (
                    folder,
                    parts
                        .next()
                        .map(|below| (above.clone(), below))
                        .unwrap_or((above, b"")),
                    quoted(&name.0),
                )
            }
            PlaceRef::Local { mount, path } => {
                let mut parts = path.0.splitn(2, |&byte| byte == b'/');
                let first = parts.next().unwrap_or_default();
                let (folder, above) = self.find_mounted(caller, &mount.0, first)?;
                let full = [&mount.0[..], b"/", &path.0].concat();
                (folder, (above, parts.next().unwrap_or_default()), quoted(&full))
            }
        };
        let (above, below) = below;
        let invalid = |error: PathError| Refused::invalid(format!("'{typed}': {error}"));
        // One slash at the end is how shells complete a directory.
        let below = below.strip_suffix(b"/").unwrap_or(below);
        let path = above.join_path(&PlacePath::parse(below).map_err(invalid)?);
        Ok(Found { folder, path, typed })
    }

    fn find_named(&mut self, caller: &Caller, name: &[u8]) -> Result<(FolderRow, PlacePath)> {
        let text = std::str::from_utf8(name).ok();
        if let Some((owner, name)) = text.and_then(|text| text.split_once(':')) {
            if let Some(owner) = self.store.account_by_login(owner)?
                && let Some(folder) = self.store.folder_of(owner.id, name)?
                && self.knows(caller, &folder)?
            {
                return Ok((folder, PlacePath::root()));
            }
            return Err(self.no_folder(caller, format!("{owner}:{name}").as_bytes())?);
        }
        if let Some(text) = text
            && let Some(folder) = self.store.folder_of(caller.account.id, text)?
        {
            return Ok((folder, PlacePath::root()));
        }
        self.store.load_tops(&self.snapshot, caller.account.id)?;
        if let Some(entry) = self.store.top_named(caller.account.id, name)?
            && let Some(folder) = self.store.folder(entry.folder)?
        {
            let place = self
                .policy(&folder)?
                .places
                .get(entry.place)
                .map(|place| place.path.clone());
            return Ok((folder, place.unwrap_or_default()));
        }
        // An invitation that waits is known by the folder's own name.
        let invited = self
            .store
            .invitations_of(caller.account.id)?
            .into_iter()
            .rev()
            .find(|invitation| {
                invitation.state == crate::store::InvitationState::Pending
                    && invitation.name.as_bytes() == name
            });
        if let Some(invitation) = invited
            && let Some(folder) = self.store.folder(invitation.folder)?
        {
            return Ok((folder, PlacePath::root()));
        }
        // A folder of a group that was left is known by its own name.
        for folder in self.store.folders()? {
            if folder.name.as_bytes() == name
                && self.store.is_hidden(caller.account.id, folder.id)?
                && self.knows(caller, &folder)?
            {
                return Ok((folder, PlacePath::root()));
            }
        }
        Err(self.no_folder(caller, name)?)
    }

    fn find_mounted(&mut self, caller: &Caller, mount: &[u8], name: &[u8]) -> Result<(FolderRow, PlacePath)> {
        let missing = || Refused::not_found(format!("there is no '{}' in {}", quoted(name), quoted(mount)));
        let subject = self.own_mount(caller, mount)?;
        if name.is_empty() {
            return Err(Refused::invalid(format!(
                "{} is the list of folders: name one of them",
                quoted(mount)
            )));
        }
        let entry = self.store.top_named(subject, name)?.ok_or_else(missing)?;
        let folder = self.store.folder(entry.folder)?.ok_or_else(missing)?;
        let place = self
            .policy(&folder)?
            .places
            .get(entry.place)
            .map(|place| place.path.clone());
        Ok((folder, place.unwrap_or_default()))
    }

    /// The caller, if this is a mount of his.
    pub(super) fn own_mount(&self, caller: &Caller, mount: &[u8]) -> Result<AccountId> {
        let Some(subject) = self.subject_at(mount) else {
            return Err(Refused::not_found(format!(
                "{} is not a mount of this daemon",
                quoted(mount)
            )));
        };
        if subject != caller.account.id {
            return Err(Refused::denied(format!(
                "{} is another account's mount",
                quoted(mount)
            )));
        }
        Ok(subject)
    }

    /// Tells whether a folder is the caller's, shared with him, or offered to him.
    pub(super) fn knows(&self, caller: &Caller, folder: &FolderRow) -> Result<bool> {
        let account = caller.account.id;
        let policy = self.policy(folder)?;
        if !top_places(&self.snapshot, account, &policy).is_empty() {
            return Ok(true);
        }
        let invitations = self.store.invitations_of(account)?;
        Ok(invitations.iter().any(|invitation| {
            invitation.folder == folder.id && invitation.state == crate::store::InvitationState::Pending
        }))
    }

    fn no_folder(&mut self, caller: &Caller, name: &[u8]) -> Result<Refused> {
        let tops = self.store.load_tops(&self.snapshot, caller.account.id)?;
        let have: Vec<_> = tops.iter().take(8).map(|entry| quoted(&entry.name)).collect();
        let have = if have.is_empty() {
            "you have none yet".into()
        } else {
            format!("you have: {}", have.join(", "))
        };
        Ok(Refused::not_found(format!(
            "there is no folder '{}' ({have}; a path in a mount begins with ./ or /)",
            quoted(name)
        )))
    }

    /// The lines of a folder.
    pub(super) fn policy(&self, folder: &FolderRow) -> Result<std::sync::Arc<FolderPolicy>> {
        self.snapshot
            .folders
            .get(&folder.id)
            .cloned()
            .ok_or_else(|| Refused::failed(format!("the folder '{}' is not loaded", folder.name)))
    }

    /// The caller, as he stands in a folder.
    pub(super) fn actor<'a>(&'a self, caller: &Caller, folder: &'a FolderPolicy) -> Result<Actor<'a>> {
        Actor::new(&self.snapshot, folder, caller.account.id)
            .map_err(|denied| Refused::because(denied, || Refused::not_found("there is no such account")))
    }

    /// What stands at a place, which the caller sees; where it is not there, and where he does not see it, the
    /// answer is the same.
    pub(super) fn anchor(&self, caller: &Caller, found: &Found) -> Result<Anchor> {
        let policy = self.policy(&found.folder)?;
        let actor = self.actor(caller, &policy)?;
        let target = self.target(found)?;
        target
            .filter(|_| actor.sees(&found.path))
            .ok_or_else(|| found.missing())
    }

    /// What stands at a place on the backing.
    pub(super) fn target(&self, found: &Found) -> Result<Option<Anchor>> {
        let lost = || {
            Refused::failed(format!(
                "the backing directory of '{}' is not there: 'lendfs status' says more",
                found.folder.name
            ))
        };
        let backing = self.backings.get(&found.folder.id).ok_or_else(lost)?;
        let root = backing.root().map_err(|_| lost())?;
        let Ok(fd) = backing::open_beneath(root, found.path.components()) else {
            return Ok(None);
        };
        let failed = |error: std::io::Error| Refused::failed(format!("'{}': {error}", found.typed));
        let stat = backing::stat(fd.as_fd()).map_err(failed)?;
        let handle = backing::handle(fd.as_fd()).map_err(failed)?;
        let kind = if stat.kind == FileKind::Directory {
            PlaceKind::Directory
        } else {
            PlaceKind::File
        };
        Ok(Some(Anchor {
            kind,
            handle: handle.as_ref().map(FileHandle::as_bytes).map(Into::into),
        }))
    }

    /// What a principal has at a place, in words: after a change, for the one who made it.
    pub(super) fn verdict_words(
        &self, folder: &FolderPolicy, principal: Principal, path: &PlacePath,
    ) -> String {
        let Principal::Account(account) = principal else {
            return String::new();
        };
        let word = |online| {
            Subject::of(&self.snapshot, account, None, online)
                .map(|subject| explain(folder, &subject, path).verdict)
                .map_or_else(String::new, |verdict| verdict.standing.to_string())
        };
        let (personal, online) = (word(false), word(true));
        if personal == online {
            personal
        } else {
            format!("{personal}, {online} in online mounts")
        }
    }
}
