//! What the lines on the way down amount to.

use crate::policy::folder::Inheritance;
use crate::policy::level::Level;
use crate::policy::line::{Line, LineKind, Principal};
use crate::policy::subject::Subject;

/// The lines of the subject at a node.
#[derive(Default)]
pub(super) struct Lines<'a> {
    pub(super) lines: Vec<&'a Line>,
    /// What some of them were made for is gone.
    pub(super) gone: bool,
    /// What some of them were made for is there: with others it may have been moved to where that is gone.
    pub(super) there: bool,
}

impl<'a> Lines<'a> {
    /// Adds a line. Of two for the same principal at one path the lower holds: one was made for what is lost, and a
    /// directory with the other was moved there.
    pub(super) fn add(&mut self, line: &'a Line, subject: &Subject) {
        let level = |line: &Line| line.level.in_mount(subject.online);
        let twin = self
            .lines
            .iter_mut()
            .find(|known| known.kind == line.kind && known.principal == line.principal);
        match twin {
            Some(known) if level(line) < level(known) => *known = line,
            Some(_) => {}
            None => self.lines.push(line),
        }
    }
}

/// The lines that reach a node, as far as they matter: of each sort the deepest.
#[derive(Clone, Copy)]
pub(super) struct State {
    depth: u32,
    own_rule: Option<Level>,
    group_rule: Option<(u32, Level)>,
    own_grant: Option<(u32, Level)>,
    group_grant: Option<(u32, Level)>,
    /// The highest of all lines, for `widen`.
    highest: Option<Level>,
    /// What gone targets above leave.
    pub(super) cap: Level,
}

impl Default for State {
    fn default() -> Self {
        Self {
            depth: 0,
            own_rule: None,
            group_rule: None,
            own_grant: None,
            group_grant: None,
            highest: None,
            cap: Level::Admin,
        }
    }
}

impl State {
    /// One level deeper, where these lines stand.
    pub(super) fn under(mut self, lines: &[&Line], subject: &Subject) -> Self {
        self.depth += 1;
        for line in lines {
            let level = line.level.in_mount(subject.online);
            self.highest = self.highest.max(Some(level));
            let own = line.principal == Principal::Account(subject.account);
            match (line.kind, own) {
                (LineKind::Rule, true) => self.own_rule = Some(level),
                (LineKind::Rule, false) => self.group_rule = deepest(self.group_rule, self.depth, level),
                (LineKind::Grant, true) => self.own_grant = deepest(self.own_grant, self.depth, level),
                (LineKind::Grant, false) => self.group_grant = deepest(self.group_grant, self.depth, level),
            }
        }
        self
    }

    /// The same, where nothing exceeds `cap`.
    pub(super) fn capped(self, cap: Level) -> Self {
        Self { cap, ..self }
    }

    pub(super) fn level(&self, inheritance: Inheritance) -> Level {
        let Some((granted_at, granted)) = self.own_grant.or(self.group_grant) else {
            return Level::Invisible;
        };
        let level = match inheritance {
            Inheritance::Widen => self.highest.unwrap_or(Level::Invisible),
            Inheritance::Override => {
                let group_rule = self
                    .group_rule
                    .filter(|(depth, _)| self.own_grant.is_none() || *depth >= granted_at);
                self.own_rule
                    .or(group_rule.map(|(_, level)| level))
                    .unwrap_or(granted)
            }
        };
        level.min(self.cap)
    }
}

/// The deeper of two lines; at the same depth the higher.
fn deepest(known: Option<(u32, Level)>, depth: u32, level: Level) -> Option<(u32, Level)> {
    known.max(Some((depth, level)))
}
