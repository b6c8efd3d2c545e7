//! On whose behalf a mount acts.

use std::sync::Arc;

use super::ids::{AccountId, GroupId};
use super::level::{Level, Standing};
use super::line::Principal;
use super::snapshot::{AccountKind, Snapshot};

/// An account as a mount, or a question, takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The account.
    pub account: AccountId,
    /// The groups that it is in.
    pub groups: Arc<[GroupId]>,
    /// What it may be at most.
    pub kind: AccountKind,
    /// Whether it may do nothing until root confirms it.
    pub frozen: bool,
    /// The level that nothing in the mount exceeds.
    pub ceiling: Option<Level>,
    /// Whether the mount is declared online.
    pub online: bool,
}

impl Subject {
    /// An account as it stands in a snapshot; `None` if it is not there.
    pub fn of(snapshot: &Snapshot, account: AccountId, ceiling: Option<Level>, online: bool) -> Option<Self> {
        let known = snapshot.accounts.get(&account)?;
        Some(Self {
            account,
            groups: snapshot.groups.get(&account).cloned().unwrap_or_default(),
            kind: known.kind,
            frozen: known.frozen,
            ceiling,
            online,
        })
    }

    /// Whom lines may name to mean it.
    pub fn principals(&self) -> impl Iterator<Item = Principal> {
        std::iter::once(Principal::Account(self.account))
            .chain(self.groups.iter().copied().map(Principal::Group))
    }

    /// What nothing exceeds, the owner's standing included.
    pub fn limit(&self) -> Standing {
        if self.frozen {
            return Standing::Level(Level::Invisible);
        }
        let viewer = match self.kind {
            AccountKind::Viewer => Standing::Level(Level::View),
            AccountKind::Member => Standing::Owner,
        };
        self.ceiling
            .map_or(viewer, |ceiling| viewer.min(Standing::Level(ceiling)))
    }
}
