//! share, unshare, invitations, accept, decline, leave.

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::folders::said;
use super::resolve::Found;
use super::server::{Remains, Run};
use crate::control::wire::quoted;
use crate::control::{answers as answer, requests};
use crate::policy::{LineKind, Principal};
use crate::store::{Invitation, InvitationState, StoreError};

impl Run for requests::Share {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let level = Core::parse_level(&self.level)?;
        let found = core.find_place(caller, &self.place)?;
        let anchor = core.anchor(caller, &found)?;
        let principal = core.find_principal(&self.with)?;
        let policy = core.policy(&found.folder)?;
        core.actor(caller, &policy)?
            .writes(&found.path, principal, level)
            .map_err(|denied| Refused::because(denied, || found.missing()))?;
        let (folder, typed, with) = (found.folder.id, &found.typed, &self.with);
        let has = core
            .store
            .line(folder, LineKind::Grant, principal, &found.path)?
            .is_some();
        let done = match principal {
            Principal::Account(account) if !has => {
                let account = core
                    .store
                    .account(account)?
                    .ok_or_else(|| Refused::not_found(format!("there is no account '{with}'")))?;
                core.store
                    .invite(&caller.by(), folder, &account, level, (&found.path, &anchor))?;
                let own = found.folder.owner_login.as_str();
                let name = if found.path.is_root() {
                    format!("{own}:{}", found.folder.name)
                } else {
                    quoted(
                        &[
                            own.as_bytes(),
                            b":",
                            found.folder.name.as_bytes(),
                            b"/",
                            &found.path.to_bytes(),
                        ]
                        .concat(),
                    )
                };
                return Ok(said(format!(
                    "invited {} to {typed} as {level}: it is theirs after 'lendfs accept {name}'",
                    account.login
                )));
            }
            _ => {
                let anchored = (&found.path, &anchor);
                core.store
                    .set_line(&caller.by(), folder, LineKind::Grant, principal, level, anchored)?;
                format!("{with} has {typed} as {level}")
            }
        };
        core.folder_changed(folder)?;
        core.after_line(&found, principal, level, done, false)
    }
}

impl Run for requests::Unshare {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let found = core.find_place(caller, &self.place)?;
        let principal = core.find_principal(&self.with)?;
        core.may_remove(caller, &found, principal)?;
        let folder = found.folder.id;
        if let Principal::Account(account) = principal
            && let Some(invitation) = core.store.pending(folder, &found.path, account)?
        {
            core.store
                .end_invitation(&caller.by(), &invitation, InvitationState::Cancelled)?;
            return Ok(said(format!(
                "took back the invitation of {} to {}",
                self.with, found.typed
            )));
        }
        match core
            .store
            .remove_line(&caller.by(), folder, LineKind::Grant, principal, &found.path)
        {
            // It was taken back before, and now what is left of it ends as well.
            Err(StoreError::NotFound(_)) if self.kill => {}
            done => done?,
        }
        core.folder_changed(folder)?;
        Ok(said(format!(
            "{} has no share of {} any more",
            self.with, found.typed
        )))
    }

    fn remains(&self, core: &mut Core, caller: &Caller) -> Result<Option<Remains<answer::Said>>> {
        let found = core.find_place(caller, &self.place)?;
        let principal = core.find_principal(&self.with)?;
        core.search(caller, &found, principal, self.kill)
    }
}

impl Run for requests::Invitations {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<Vec<answer::Invitation>> {
        let invitations = core.store.invitations_of(caller.account.id)?;
        Ok(invitations
            .into_iter()
            .map(|invitation| answer::Invitation {
                folder: invitation.name,
                owner: invitation.owner,
                path: quoted(&invitation.path.to_bytes()),
                level: invitation.level.to_string(),
                state: invitation.state.name().into(),
            })
            .collect())
    }
}

impl Run for requests::Accept {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let found = core.find_place(caller, &self.place)?;
        let account = &caller.account;
        let Some(invitation) = core.invited(caller, &found)? else {
            if core.store.is_hidden(account.id, found.folder.id)? {
                core.store.unhide(&caller.by(), account, &found.folder)?;
                core.publish()?;
                return Ok(said(format!("{} is shown again", found.folder.name)));
            }
            return Err(Refused::not_found(format!(
                "no invitation to '{}' waits for you: 'lendfs invitations' lists them",
                found.typed
            )));
        };
        // Names that others have already are not taken from them.
        core.store.load_tops(&core.snapshot, account.id)?;
        core.store
            .accept(&caller.by(), &invitation, self.name.as_deref())?;
        core.folder_changed(invitation.folder)?;
        let own = invitation.path.file_name().unwrap_or(invitation.name.as_bytes());
        let name = self.name.unwrap_or_else(|| quoted(own));
        Ok(said(format!("accepted: it is '{name}' in your mounts")))
    }
}

impl Run for requests::Decline {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let found = core.find_place(caller, &self.place)?;
        let invitation = core.invited(caller, &found)?.ok_or_else(|| {
            Refused::not_found(format!(
                "no invitation to '{}' waits for you: 'lendfs invitations' lists them",
                found.typed
            ))
        })?;
        core.store
            .end_invitation(&caller.by(), &invitation, InvitationState::Declined)?;
        Ok(said(format!("declined {}", found.typed)))
    }
}

impl Run for requests::Leave {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let folder = core.find_place(caller, &self.folder)?.folder;
        let account = &caller.account;
        if folder.owner == account.id {
            return Err(Refused::conflict(format!(
                "'{}' is your own: transfer or delete it",
                folder.name
            )));
        }
        let policy = core.policy(&folder)?;
        let groups = core.snapshot.groups.get(&account.id).cloned().unwrap_or_default();
        let by_group = policy
            .lines_of(groups.iter().copied().map(Principal::Group))
            .any(|line| line.kind == LineKind::Grant);
        core.store.leave(&caller.by(), &folder, account, by_group)?;
        core.folder_changed(folder.id)?;
        let back = if by_group {
            format!(
                " ('lendfs accept {}:{}' brings it back)",
                folder.owner_login, folder.name
            )
        } else {
            String::new()
        };
        Ok(said(format!("left {}{back}", folder.name)))
    }
}

impl Core {
    /// The invitation that waits for the caller at a place; if none does there, the only one to that folder.
    fn invited(&self, caller: &Caller, found: &Found) -> Result<Option<Invitation>> {
        let account = caller.account.id;
        if let Some(invitation) = self.store.pending(found.folder.id, &found.path, account)? {
            return Ok(Some(invitation));
        }
        let mut waiting: Vec<_> = self
            .store
            .invitations_of(account)?
            .into_iter()
            .filter(|invitation| {
                invitation.folder == found.folder.id && invitation.state == InvitationState::Pending
            })
            .collect();
        if !found.path.is_root() || waiting.len() != 1 {
            return Ok(None);
        }
        Ok(waiting.pop())
    }

    /// Whether the caller may take a line away from a place, which need not be there any more.
    pub(super) fn may_remove(&self, caller: &Caller, found: &Found, principal: Principal) -> Result<()> {
        let policy = self.policy(&found.folder)?;
        let actor = self.actor(caller, &policy)?;
        self.must_be_known(&actor, &policy, found)?;
        actor
            .removes(&found.path, principal)
            .map_err(|denied| Refused::because(denied, || found.missing()))
    }
}
