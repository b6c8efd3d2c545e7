//! user add, set, list, remove; group create, add, remove, delete, list.

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::folders::said;
use super::server::Run;
use crate::backing::users;
use crate::control::{answers as answer, requests};
use crate::policy::{AccountKind, GroupId};
use crate::store::{AccountRow, GroupSource};

impl Run for requests::UserAdd {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        for_root(caller)?;
        let account = core.user(&self.name)?;
        if let Some(kind) = &self.kind {
            core.store.set_kind(&caller.by(), &account, parse_kind(kind)?)?;
        }
        if let Some(email) = &self.email {
            core.store.set_email(&caller.by(), &account, email)?;
        }
        core.people_changed()?;
        Ok(said(format!("{} has an account", account.login)))
    }
}

impl Run for requests::UserSet {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        for_root(caller)?;
        let account = core.user(&self.name)?;
        let known = "the keys are: email=ADDRESS, type=member|viewer, frozen=no|yes";
        let (key, value) = self.assignment.split_once('=').ok_or_else(|| {
            Refused::invalid(format!(
                "'{}' is not KEY=VALUE; {known}",
                self.assignment.escape_debug()
            ))
        })?;
        match (key, value) {
            ("email", email) => core.store.set_email(&caller.by(), &account, email)?,
            ("type", kind) => core.store.set_kind(&caller.by(), &account, parse_kind(kind)?)?,
            ("frozen", "yes" | "no") => {
                let user = users::by_name(&account.login).ok().flatten().ok_or_else(|| {
                    Refused::conflict(format!("{} is no user of this system any more", account.login))
                })?;
                core.store
                    .set_frozen(&caller.by(), &account, value == "yes", &user)?;
            }
            _ => {
                return Err(Refused::invalid(format!(
                    "'{}' cannot be set; {known}",
                    self.assignment.escape_debug()
                )));
            }
        }
        core.people_changed()?;
        Ok(said(format!("{}: {key}={value}", account.login)))
    }
}

impl Run for requests::UserList {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<Vec<answer::User>> {
        let root = caller.is_root();
        let accounts = core.store.accounts()?.into_iter();
        Ok(accounts
            .map(|account| answer::User {
                // Addresses are for those who have them, and for root.
                email: account
                    .email
                    .clone()
                    .filter(|_| root || account.id == caller.account.id),
                kind: kind_word(account.kind).into(),
                frozen: account.frozen,
                uid: account.uid,
                name: account.login,
            })
            .collect())
    }
}

impl Run for requests::UserRemove {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        for_root(caller)?;
        let account = core.store.account_by_login(&self.name)?.ok_or_else(|| {
            Refused::not_found(format!(
                "there is no account '{}': 'lendfs user list' lists them",
                self.name.escape_debug()
            ))
        })?;
        if let Some(mount) = core.mounts.iter().find(|mount| mount.subject == account.id) {
            let at = mount.at().unwrap_or_default();
            return Err(Refused::conflict(format!(
                "folders of {} are mounted at {}: unmount them first",
                self.name,
                at.display()
            )));
        }
        core.store.remove_account(&caller.by(), &account)?;
        core.all_changed()?;
        // Another account may get its number.
        core.shared.forget_refusals(account.id);
        Ok(said(format!(
            "{} has no account any more, nor any share",
            self.name
        )))
    }
}

impl Run for requests::GroupCreate {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        core.for_group_admins(caller)?;
        let name = own_name(&self.group);
        core.store.create_group(&caller.by(), GroupSource::Own, name)?;
        Ok(said(format!("created group:{name}")))
    }
}

impl Run for requests::GroupDelete {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        core.for_group_admins(caller)?;
        let name = own_name(&self.group);
        let group = core.own_group(name)?;
        core.store.delete_group(&caller.by(), group, name)?;
        core.all_changed()?;
        Ok(said(format!("deleted group:{name}, and all lines that named it")))
    }
}

impl Run for requests::GroupMember {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        core.for_group_admins(caller)?;
        let name = own_name(&self.group);
        let group = core.own_group(name)?;
        let account = core.find_account(&self.name)?;
        core.store
            .set_member(&caller.by(), group, name, &account, self.member)?;
        core.people_changed()?;
        let is = if self.member { "is in" } else { "is no longer in" };
        Ok(said(format!("{} {is} group:{name}", account.login)))
    }
}

impl Run for requests::GroupList {
    fn run(self, core: &mut Core, _caller: &Caller) -> Result<Vec<answer::Group>> {
        let groups = core.store.groups(GroupSource::Own)?;
        Ok(groups
            .into_iter()
            .map(|group| answer::Group {
                name: group.name,
                members: group.members,
            })
            .collect())
    }
}

impl Core {
    /// The account of a user of this system.
    fn user(&mut self, name: &str) -> Result<AccountRow> {
        match users::by_name(name).ok().flatten() {
            Some(user) => self.ensure_account(&user),
            None => Err(Refused::not_found(format!(
                "there is no user '{}' on this system: make one first ('useradd')",
                name.escape_debug()
            ))),
        }
    }

    fn own_group(&self, name: &str) -> Result<GroupId> {
        let known = || {
            self.store
                .groups(GroupSource::Own)
                .unwrap_or_default()
                .into_iter()
                .map(|group| group.name)
        };
        self.store.group(GroupSource::Own, name)?.ok_or_else(|| {
            Refused::not_found(format!(
                "there is no group '{}' (known: {})",
                name.escape_debug(),
                known().take(8).collect::<Vec<_>>().join(", ")
            ))
        })
    }

    fn for_group_admins(&self, caller: &Caller) -> Result<()> {
        if caller.is_root() || self.config.group_admins.contains(&caller.actor.login) {
            return Ok(());
        }
        Err(Refused::denied(
            "groups are made by root, and by those whom the configuration names as group-admins",
        ))
    }
}

fn for_root(caller: &Caller) -> Result<()> {
    if caller.is_root() {
        Ok(())
    } else {
        Err(Refused::denied("accounts are root's affair"))
    }
}

/// `group:staff` and `staff` are the same where only groups of lendfs can be meant.
fn own_name(group: &str) -> &str {
    group.strip_prefix("group:").unwrap_or(group)
}

fn parse_kind(word: &str) -> Result<AccountKind> {
    match word {
        "member" => Ok(AccountKind::Member),
        "viewer" => Ok(AccountKind::Viewer),
        word => Err(Refused::invalid(format!(
            "'{}' is no type of account: say member or viewer",
            word.escape_debug()
        ))),
    }
}

fn kind_word(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::Member => "member",
        AccountKind::Viewer => "viewer",
    }
}
