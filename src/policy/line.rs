//! Lines: what somebody wrote down about who may do what.

use super::ids::{AccountId, GroupId, LineId, PlaceId};
use super::level::LineLevel;

/// Whom a line names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Principal {
    /// One account.
    Account(AccountId),
    /// All members of a group.
    Group(GroupId),
}

/// What a line does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LineKind {
    /// It shares the place.
    Grant,
    /// It changes the level inside what was shared.
    Rule,
}

/// A grant or a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its number.
    pub id: LineId,
    /// Grant or rule.
    pub kind: LineKind,
    /// Whom it names.
    pub principal: Principal,
    /// The level it gives.
    pub level: LineLevel,
    /// Where.
    pub place: PlaceId,
}
