//! permit, unpermit, permissions, explain.

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::folders::said;
use super::resolve::Found;
use super::server::{Remains, Run};
use crate::control::wire::quoted;
use crate::control::{answers as answer, requests};
use crate::policy::authority::{Actor, Denied};
use crate::policy::{
    Decided, FolderPolicy, Inheritance, Level, LineKind, LineLevel, PlacePath, Principal, Subject, Target,
    explain,
};
use crate::store::InvitationState;

impl Run for requests::Permit {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let level = Core::parse_level(&self.level)?;
        let found = core.find_place(caller, &self.place)?;
        let anchor = core.anchor(caller, &found)?;
        let principal = core.find_principal(&self.principal)?;
        let policy = core.policy(&found.folder)?;
        core.actor(caller, &policy)?
            .writes(&found.path, principal, level)
            .map_err(|denied| Refused::because(denied, || found.missing()))?;
        let folder = found.folder.id;
        core.store.set_line(
            &caller.by(),
            folder,
            LineKind::Rule,
            principal,
            level,
            (&found.path, &anchor),
        )?;
        core.folder_changed(folder)?;
        let done = format!("rule: {} has {} as {level}", self.principal, found.typed);
        core.after_line(&found, principal, level, done, true)
    }

    fn remains(&self, core: &mut Core, caller: &Caller) -> Result<Option<Remains<answer::Said>>> {
        let found = core.find_place(caller, &self.place)?;
        let principal = core.find_principal(&self.principal)?;
        core.search(caller, &found, principal, self.kill)
    }
}

impl Run for requests::Unpermit {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Said> {
        let found = core.find_place(caller, &self.place)?;
        let principal = core.find_principal(&self.principal)?;
        core.may_remove(caller, &found, principal)?;
        core.store.remove_line(
            &caller.by(),
            found.folder.id,
            LineKind::Rule,
            principal,
            &found.path,
        )?;
        core.folder_changed(found.folder.id)?;
        Ok(said(format!(
            "there is no rule for {} at {} any more",
            self.principal, found.typed
        )))
    }
}

impl Run for requests::Permissions {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Permissions> {
        let found = core.find_place(caller, &self.folder)?;
        let policy = core.policy(&found.folder)?;
        let actor = core.actor(caller, &policy)?;
        core.must_be_known(&actor, &policy, &found)?;
        // Whoever administers some place in it is shown those places.
        let shown = |path: &PlacePath| path.starts_with(&found.path) && actor.inspects(path).is_ok();
        let mut permissions = answer::Permissions::default();
        for line in core.store.lines(found.folder.id)? {
            // The file system may know of a move that the store does not yet.
            if !shown(&line.path) {
                continue;
            }
            let path = quoted(&line.path.to_bytes());
            let (principal, level) = (core.store.principal_name(line.principal)?, line.level.to_string());
            match line.kind {
                LineKind::Grant => permissions.grants.push(answer::Grant {
                    path,
                    principal,
                    level,
                }),
                LineKind::Rule => {
                    let there = line.target == Target::There && core.target_exists(&found, &line.path);
                    let target = if there { "there" } else { "gone" }.into();
                    permissions.rules.push(answer::Rule {
                        path,
                        principal,
                        level,
                        target,
                    });
                }
            }
        }
        for invitation in core.store.invitations_to(found.folder.id)? {
            if invitation.state != InvitationState::Pending || !shown(&invitation.path) {
                continue;
            }
            permissions.invitations.push(answer::PendingInvitation {
                path: quoted(&invitation.path.to_bytes()),
                principal: core
                    .store
                    .principal_name(Principal::Account(invitation.account))?,
                level: invitation.level.to_string(),
                state: invitation.state.name().into(),
            });
        }
        match actor.inspects(&found.path) {
            Err(denied) if permissions == answer::Permissions::default() => {
                Err(Refused::because(denied, || found.missing()))
            }
            _ => Ok(permissions),
        }
    }
}

impl Run for requests::Explain {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Explanation> {
        let found = core.find_place(caller, &self.place)?;
        let policy = core.policy(&found.folder)?;
        let subject = match &self.principal {
            Some(name) => core.find_account(name)?,
            None => caller.account.clone(),
        };
        let actor = core.actor(caller, &policy)?;
        core.must_be_known(&actor, &policy, &found)?;
        match actor.inspects(&found.path) {
            Ok(()) => {}
            Err(Denied::NotAdmin) if subject.id == caller.account.id => {}
            Err(denied) => return Err(Refused::because(denied, || found.missing())),
        }
        // In a mount of his, what holds in that mount.
        let viewer = core
            .viewer_at(&self.place)
            .filter(|viewer| viewer.account == subject.id);
        let ceiling = viewer.and_then(|viewer| viewer.ceiling);
        let online = self.online || viewer.is_some_and(|viewer| viewer.online);
        let subject_of = Subject::of(&core.snapshot, subject.id, ceiling, online)
            .ok_or_else(|| Refused::not_found(format!("there is no account '{}'", subject.login)))?;
        let told = explain(&policy, &subject_of, &found.path);
        let decided_by = core.decided_by(&told.decided)?;
        let mut chain = Vec::new();
        for looked in &told.chain {
            chain.push(answer::ChainLine {
                kind: if looked.line.kind == LineKind::Grant {
                    "grant"
                } else {
                    "rule"
                }
                .into(),
                principal: core.store.principal_name(looked.line.principal)?,
                path: quoted(&looked.path.to_bytes()),
                level: looked.line.level.to_string(),
                outcome: looked.outcome.reason().into(),
            });
        }
        Ok(answer::Explanation {
            folder: found.folder.name,
            path: quoted(&found.path.to_bytes()),
            subject: subject.login,
            level: told.verdict.standing.to_string(),
            rights: told
                .verdict
                .rights
                .iter()
                .map(|right| right.name().into())
                .collect(),
            corridor: told.verdict.corridor,
            decided_by,
            chain,
        })
    }
}

impl Core {
    /// What decided, in words.
    pub(super) fn decided_by(&self, decided: &Decided) -> Result<answer::DecidedBy> {
        let of = |kind: &str| answer::DecidedBy {
            kind: kind.into(),
            principal: None,
            path: None,
            level: None,
        };
        Ok(match decided {
            Decided::Owner => of("owner"),
            Decided::Nothing => of("none"),
            Decided::Gone(path) => answer::DecidedBy {
                path: Some(quoted(&path.to_bytes())),
                ..of("none")
            },
            Decided::Ceiling(level) => answer::DecidedBy {
                level: Some(level.to_string()),
                ..of("ceiling")
            },
            Decided::Line(line, path) => answer::DecidedBy {
                principal: Some(self.store.principal_name(line.principal)?),
                path: Some(quoted(&path.to_bytes())),
                level: Some(line.level.to_string()),
                ..of(match line.kind {
                    LineKind::Grant => "grant",
                    LineKind::Rule => "rule",
                })
            },
        })
    }

    /// Refuses to speak of what is not there, but to the owner, and to who administers lines that are left there: the
    /// answer would tell it from what the caller does not see.
    pub(super) fn must_be_known(
        &self, actor: &Actor<'_>, policy: &FolderPolicy, found: &Found,
    ) -> Result<()> {
        let lines_are_left =
            || policy.places.find(&found.path).is_some() && actor.inspects(&found.path).is_ok();
        if actor.is_owner() || self.target(found)?.is_some() || lines_are_left() {
            Ok(())
        } else {
            Err(found.missing())
        }
    }

    /// What to say after a line was written: what holds now, and where it changes nothing.
    pub(super) fn after_line(
        &self, found: &Found, principal: Principal, level: LineLevel, done: String, rule: bool,
    ) -> Result<answer::Said> {
        let policy = self.policy(&found.folder)?;
        let mut warnings = Vec::new();
        let now = self.verdict_words(&policy, principal, &found.path);
        let done = if now.is_empty() {
            done
        } else {
            format!("{done}; in force there: {now}")
        };
        if let Principal::Account(account) = principal
            && let Some(subject) = Subject::of(&self.snapshot, account, None, true)
        {
            let told = explain(&policy, &subject, &found.path);
            let wanted = level.in_mount(true);
            let effective = told.verdict.standing.level();
            if effective != wanted {
                let why = match &told.decided {
                    Decided::Nothing => "nothing is shared with them there: a rule needs a share".into(),
                    Decided::Ceiling(level) => format!("the account has at most {level}"),
                    Decided::Line(line, path) => format!(
                        "another line comes first: {} at '{}'",
                        line.level,
                        quoted(&path.to_bytes())
                    ),
                    Decided::Owner => "the owner has every right".into(),
                    Decided::Gone(path) => format!(
                        "what the line at '{}' was made for is gone",
                        quoted(&path.to_bytes())
                    ),
                };
                warnings.push(format!("this changes nothing for now: {why}"));
            }
        }
        if rule && policy.inheritance == Inheritance::Widen && level.in_mount(true) < Level::Admin {
            warnings
                .push("this folder inherits by 'widen': a rule can raise a level here, not lower it".into());
        }
        if level.in_mount(false) < Level::Full {
            warnings.extend(self.other_names(found));
        }
        Ok(answer::Said { done, warnings })
    }

    /// Files at or below a place that have other names, which the line does not reach. Looks at so many entries only.
    pub(super) fn other_names(&self, found: &Found) -> Vec<String> {
        const ENTRIES: usize = 20_000;
        const NAMES: usize = 8;
        let Some(backing) = self.backings.get(&found.folder.id) else {
            return Vec::new();
        };
        let Ok(root) = backing.root() else {
            return Vec::new();
        };
        let mut linked = Vec::new();
        let mut way = vec![found.path.clone()];
        let mut looked = 0;
        while let Some(path) = way.pop() {
            let Ok(fd) = crate::backing::open_beneath(root, path.components()) else {
                continue;
            };
            let Ok(stat) = crate::backing::stat(&fd) else {
                continue;
            };
            if stat.kind != crate::backing::FileKind::Directory {
                if stat.nlink > 1 {
                    linked.push(path);
                }
                continue;
            }
            let Ok(mut entries) = crate::backing::DirStream::open(&fd) else {
                continue;
            };
            while let Ok(Some(entry)) = entries.next() {
                looked += 1;
                if entry.kind == crate::backing::FileKind::Directory
                    || crate::backing::Name::new(entry.name).is_ok_and(|name| {
                        crate::backing::stat_at(&fd, &name).is_ok_and(|stat| stat.nlink > 1)
                    })
                {
                    way.extend(path.join(entry.name));
                }
            }
            if looked > ENTRIES || linked.len() >= NAMES {
                break;
            }
        }
        if linked.is_empty() {
            return Vec::new();
        }
        let names: Vec<_> = linked
            .iter()
            .take(NAMES)
            .map(|path| quoted(&path.to_bytes()))
            .collect();
        vec![format!(
            "these files have other names (hard links), which this line does not reach: {}",
            names.join(", ")
        )]
    }

    fn target_exists(&self, found: &Found, path: &PlacePath) -> bool {
        let found = Found {
            path: path.clone(),
            ..found.clone()
        };
        self.target(&found).is_ok_and(|target| target.is_some())
    }
}
