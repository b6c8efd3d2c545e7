//! audit: what was changed and what was refused, for those who may know.

mod refusals;
mod sight;

use std::time::Duration;

pub(super) use refusals::{GATHER, Refusals, Who};
use sight::{Reader, reads_all};

use super::core::{Caller, Core};
use super::error::{Refused, Result};
use super::resolve::Found;
use super::server::Run;
use crate::control::wire::{PlaceRef, quoted};
use crate::control::{answers as answer, requests};
use crate::policy::PlacePath;
use crate::store::{AuditBounds, AuditFilter, AuditKind, AuditLine};

/// Of so many lines those are shown that the caller may see.
const LOOKED_THROUGH: u32 = 10_000;

/// How often it is seen to that there are not too many lines.
pub(super) const TRIM_EVERY: Duration = Duration::from_secs(60);

impl Run for requests::Audit {
    fn run(self, core: &mut Core, caller: &Caller) -> Result<answer::Audit> {
        let found = match &self.folder {
            Some(folder) => Some(core.audited_place(caller, folder)?),
            None => None,
        };
        let reader = Reader::new(core, caller)?;
        // Without a folder of his, one reads of oneself; root of everyone.
        let own = found.is_none() && !reader.is_root();
        let login = &caller.account.login;
        if own && !caller.is_root() && self.account.as_ref().is_some_and(|account| account != login) {
            return Err(Refused::denied("without --folder one reads of oneself alone"));
        }
        let kind = self.kind.as_deref().map(parse_kind).transpose()?;
        // Read first: what comes meanwhile is told twice rather than never.
        let last = core.store.last_audit()?;
        let mut lines = core.store.audit(&AuditFilter {
            folder: found.as_ref().map(|found| found.folder.id),
            account: self.account.or_else(|| own.then(|| login.clone())),
            actor: self.actor,
            kind,
            action: self.action,
            since: self.since,
            until: self.until,
            after: self.after,
            limit: self.limit.max(LOOKED_THROUGH),
        })?;
        let looked = match lines.last() {
            Some(line) if lines.len() >= LOOKED_THROUGH as usize && self.after.is_some() => line.id,
            _ => last,
        };
        reader.leave_out(&mut lines, found.as_ref().map(|found| &found.path));
        let limit = self.limit as usize;
        let mut last = looked;
        if self.after.is_none() {
            lines.drain(..lines.len().saturating_sub(limit));
        } else if lines.len() > limit {
            lines.truncate(limit);
            last = lines.last().map_or(looked, |line| line.id);
        }
        let lines = lines
            .into_iter()
            .map(|line| core.audit_line(caller, line))
            .collect::<Result<_>>()?;
        Ok(answer::Audit { last, lines })
    }
}

impl Core {
    /// The place that the audit is asked of, if the caller administers it.
    fn audited_place(&mut self, caller: &Caller, place: &PlaceRef) -> Result<Found> {
        if let Some(found) = self.any_folder(caller, place)? {
            return Ok(found);
        }
        let found = self.find_place(caller, place)?;
        let policy = self.policy(&found.folder)?;
        let actor = self.actor(caller, &policy)?;
        self.must_be_known(&actor, &policy, &found)?;
        actor
            .inspects(&found.path)
            .map_err(|denied| Refused::because(denied, || found.missing()))?;
        Ok(found)
    }

    /// For root, who reads of every folder: the one that `OWNER:NAME` names.
    fn any_folder(&self, caller: &Caller, place: &PlaceRef) -> Result<Option<Found>> {
        let PlaceRef::Named(name) = place else {
            return Ok(None);
        };
        let whole = std::str::from_utf8(&name.0)
            .ok()
            .and_then(|name| name.split_once(':'));
        let Some((owner, name)) = whole.filter(|_| reads_all(caller)) else {
            return Ok(None);
        };
        let (name, below) = name.split_once('/').unwrap_or((name, ""));
        let owner = self.store.account_by_login(owner)?;
        let folder = owner
            .map(|owner| self.store.folder_of(owner.id, name))
            .transpose()?;
        let below = PlacePath::parse(below.trim_end_matches('/').as_bytes());
        Ok(folder.flatten().zip(below.ok()).map(|(folder, path)| Found {
            typed: format!("{}:{name}", folder.owner_login),
            folder,
            path,
        }))
    }

    fn audit_line(&self, caller: &Caller, line: AuditLine) -> Result<answer::AuditLine> {
        let folder = line
            .folder
            .map(|id| self.store.folder(crate::policy::FolderId(id)));
        let folder = folder.transpose()?.flatten();
        // What it is called now is not for who has left it.
        let known = match &folder {
            Some(folder) => caller.is_root() || self.knows(caller, folder)?,
            None => false,
        };
        let name = folder
            .filter(|_| known)
            .map(|folder| quoted(format!("{}:{}", folder.owner_login, folder.name).as_bytes()));
        Ok(answer::AuditLine {
            at: line.at,
            kind: AuditKind::of(&line.action).name().into(),
            actor: line.actor,
            account: line.account,
            action: line.action,
            folder: line.folder,
            name,
            details: line.details,
        })
    }

    /// Lets go of what is too much.
    pub(super) fn trim_audit(&mut self) {
        let super::config::Audit {
            changes,
            refusals,
            days,
        } = self.config.audit;
        let bounds = AuditBounds {
            changes,
            refusals,
            days,
        };
        if let Err(error) = self.store.trim_audit(bounds) {
            tracing::error!(%error, "the audit cannot be made shorter");
        }
    }
}

fn parse_kind(word: &str) -> Result<AuditKind> {
    [AuditKind::Change, AuditKind::Refusal]
        .into_iter()
        .find(|kind| kind.name() == word)
        .ok_or_else(|| {
            let word = word.escape_debug();
            Refused::invalid(format!("'{word}' is no kind of line: say change or refusal"))
        })
}
