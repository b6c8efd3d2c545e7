//! The lines as the owner wrote them, what became of their targets, and the literal reading of section 3 of the
//! design: `lendfs::policy::explain`, on a policy that is made anew for each question.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lendfs::policy::{
    self, AccountId, AccountKind, FolderId, FolderPolicy, GroupId, Inheritance, Level, LineId, LineKind,
    PlaceId, PlaceKind, PlacePath, Places, Principal, Right, Rights, Subject, Target,
};

use super::tree::{Id, Names, Tree};
use crate::common::{BOB, CARA, DAN, OLGA, User};

/// The group of Bob and Dan.
pub const TEAM: &str = "group:team";
const TEAM_ID: GroupId = GroupId(1);

/// A place with lines.
#[derive(Clone, Debug)]
struct Place {
    id: i64,
    path: Names,
    kind: PlaceKind,
    gone: bool,
    /// The directory that its lines are for, or all that bore a file's name.
    bearers: BTreeSet<Id>,
}

/// A line.
#[derive(Clone, Debug)]
struct Line {
    place: i64,
    kind: LineKind,
    principal: Principal,
    level: Level,
}

/// All lines of the folder.
#[derive(Default)]
pub struct Rules {
    places: Vec<Place>,
    lines: Vec<Line>,
    last: i64,
}

/// Whom a line names, by the word of the command line.
pub fn principal(word: &str) -> Principal {
    if word == TEAM {
        return Principal::Group(TEAM_ID);
    }
    let user = [OLGA, BOB, CARA, DAN].into_iter().find(|user| user.name == word);
    Principal::Account(account(user.unwrap()))
}

fn account(user: User) -> AccountId {
    AccountId(i64::from(user.uid))
}

fn subject(user: User) -> Subject {
    let team = user == BOB || user == DAN;
    Subject {
        account: account(user),
        groups: if team {
            Arc::from([TEAM_ID])
        } else {
            Arc::default()
        },
        kind: AccountKind::Member,
        frozen: false,
        ceiling: None,
        online: false,
    }
}

impl Rules {
    pub fn new() -> Self {
        let mut rules = Self::default();
        rules.place(&[], PlaceKind::Directory);
        rules
    }

    /// Writes a line.
    pub fn write(&mut self, tree: &Tree, path: &[String], kind: LineKind, of: &str, level: Level) {
        let inode = tree.find(path).unwrap();
        let target = if tree.is_directory(inode) {
            PlaceKind::Directory
        } else {
            PlaceKind::File
        };
        let place = self.place(path, target);
        if target == PlaceKind::Directory {
            place.bearers.clear();
        }
        (place.kind, place.gone) = (target, false);
        place.bearers.insert(inode);
        let place = place.id;
        self.take_out(place, kind, of);
        self.lines.push(Line {
            place,
            kind,
            principal: principal(of),
            level,
        });
    }

    /// Takes a line away.
    pub fn remove(&mut self, path: &[String], kind: LineKind, of: &str) {
        let place = self.places.iter().find(|place| place.path == path).unwrap().id;
        self.take_out(place, kind, of);
        let lines = &self.lines;
        self.places
            .retain(|place| place.path.is_empty() || lines.iter().any(|line| line.place == place.id));
    }

    fn take_out(&mut self, place: i64, kind: LineKind, of: &str) {
        let principal = principal(of);
        self.lines
            .retain(|line| (line.place, line.kind, line.principal) != (place, kind, principal));
    }

    fn place(&mut self, path: &[String], kind: PlaceKind) -> &mut Place {
        let at = self.places.iter().position(|place| place.path == path);
        let at = at.unwrap_or_else(|| {
            self.last += 1;
            self.places.push(Place {
                id: self.last,
                path: path.to_vec(),
                kind,
                gone: false,
                bearers: BTreeSet::new(),
            });
            self.places.len() - 1
        });
        &mut self.places[at]
    }

    /// The rules there are: path and principal.
    pub fn rules(&self) -> Vec<(Names, Principal)> {
        let of = |line: &Line| self.places.iter().find(|place| place.id == line.place).unwrap();
        let rules = self.lines.iter().filter(|line| line.kind == LineKind::Rule);
        rules
            .map(|line| (of(line).path.clone(), line.principal))
            .collect()
    }

    /// Tells whether a line stands at a path or below it.
    pub fn stand_below(&self, path: &[String]) -> bool {
        self.places.iter().any(|place| place.path.starts_with(path))
    }

    /// Tells whether a line stands at a path.
    pub fn stand_at(&self, path: &[String]) -> bool {
        self.places.iter().any(|place| place.path == path)
    }

    /// The most that any line gives a user.
    pub fn most(&self, user: User) -> Level {
        let subject = subject(user);
        let mut named = self
            .lines
            .iter()
            .filter(|line| subject.principals().any(|one| one == line.principal));
        named
            .by_ref()
            .map(|line| line.level)
            .max()
            .unwrap_or(Level::Invisible)
    }

    /// A name was removed.
    pub fn removed(&mut self, path: &[String], directory: bool) {
        for place in &mut self.places {
            if place.path == path && (place.kind == PlaceKind::Directory) == directory {
                place.gone = true;
            }
        }
    }

    /// An inode that is no directory got a name.
    pub fn named(&mut self, path: &[String], id: Id) {
        for place in &mut self.places {
            if place.path == path && place.kind == PlaceKind::File {
                place.bearers.insert(id);
            }
        }
    }

    /// Directories were renamed, all at once.
    pub fn moved(&mut self, moves: &[(Names, Names)]) {
        for place in &mut self.places {
            let Some((from, to)) = moves.iter().find(|(from, _)| place.path.starts_with(from)) else {
                continue;
            };
            place.path = [&to[..], &place.path[from.len()..]].concat();
        }
    }

    /// The deepest place at or above a path.
    pub fn zone(&self, path: &[String]) -> Option<i64> {
        let above = self.places.iter().filter(|place| path.starts_with(&place.path));
        above.max_by_key(|place| place.path.len()).map(|place| place.id)
    }

    /// What the lines say to one user at this moment.
    pub fn sight<'a>(&'a self, tree: &'a Tree, user: User) -> Sight<'a> {
        let subject = subject(user);
        let mut places = Places::default();
        for place in &self.places {
            places.insert(policy::Place {
                id: PlaceId(place.id),
                path: place_path(&place.path),
                kind: place.kind,
                target: if place.is_gone(tree) {
                    Target::Gone
                } else {
                    Target::There
                },
                inodes: Vec::new(),
            });
        }
        let mut lines: HashMap<Principal, Vec<policy::Line>> = HashMap::new();
        for (number, line) in (1..).zip(&self.lines) {
            lines.entry(line.principal).or_default().push(policy::Line {
                id: LineId(number),
                kind: line.kind,
                principal: line.principal,
                level: line.level.into(),
                place: PlaceId(line.place),
            });
        }
        let policy = FolderPolicy {
            id: FolderId(1),
            owner: account(OLGA),
            name: "tests".into(),
            inheritance: Inheritance::Override,
            strict: false,
            protection: Default::default(),
            places,
            lines: lines.into_iter().map(|(of, lines)| (of, lines.into())).collect(),
        };
        let own = |place: &&Place| {
            user != OLGA
                && self.lines.iter().any(|line| {
                    line.place == place.id && subject.principals().any(|one| one == line.principal)
                })
        };
        Sight {
            own: self.places.iter().filter(own).collect(),
            rules: self,
            tree,
            policy,
            subject,
        }
    }
}

impl Place {
    /// Tells whether something else is there than what the lines were made for.
    fn is_gone(&self, tree: &Tree) -> bool {
        if self.path.is_empty() {
            return false;
        }
        let there = tree.find(&self.path);
        self.gone
            || match self.kind {
                PlaceKind::Directory => there.is_none_or(|id| !self.bearers.contains(&id)),
                PlaceKind::File => there.is_some_and(|id| tree.is_directory(id)),
            }
    }
}

fn place_path(path: &[String]) -> PlacePath {
    PlacePath::parse(path.join("/").as_bytes()).unwrap()
}

/// What one user may do where.
pub struct Sight<'a> {
    pub rules: &'a Rules,
    pub tree: &'a Tree,
    /// The places with lines for him.
    own: Vec<&'a Place>,
    policy: FolderPolicy,
    subject: Subject,
}

/// What he may do at one place.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub rights: Rights,
    pub corridor: bool,
}

impl Verdict {
    pub fn has(&self, right: Right) -> bool {
        self.rights.contains(right)
    }

    pub fn sees(&self) -> bool {
        self.corridor || self.has(Right::See)
    }
}

impl Sight<'_> {
    /// What holds at a path, for what is there.
    pub fn at(&self, path: &[String]) -> Verdict {
        let inode = self.tree.find(path);
        let mut rights = self.by_path(path);
        // What left a name with a line stays lowered by it.
        if let Some(id) = inode.filter(|&id| !self.tree.is_directory(id)) {
            for place in &self.own {
                let left = place.path != path && self.tree.find(&place.path) != Some(id);
                if place.kind == PlaceKind::File && place.bearers.contains(&id) && left {
                    rights = rights.intersection(self.by_path(&place.path));
                }
            }
        }
        let below = self.own.iter().any(|place| {
            place.path.len() > path.len()
                && place.path.starts_with(path)
                && self.tree.find(&place.path).is_some()
                && self.shows(place)
        });
        let corridor = !rights.contains(Right::Read) && below;
        Verdict { rights, corridor }
    }

    /// Tells whether a line of his makes something at a path or below it seen.
    pub fn leads(&self, path: &[String]) -> bool {
        self.own
            .iter()
            .any(|place| place.path.starts_with(path) && self.shows(place))
    }

    /// Tells whether he has a right at a path and wherever a line of his reaches below it.
    pub fn all_below(&self, path: &[String], right: Right) -> bool {
        let mut below = self.own.iter().filter(|place| place.path.starts_with(path));
        self.by_path(path).contains(right) && below.all(|place| self.by_path(&place.path).contains(right))
    }

    fn shows(&self, place: &Place) -> bool {
        !place.is_gone(self.tree) && self.by_path(&place.path).contains(Right::See)
    }

    fn by_path(&self, path: &[String]) -> Rights {
        policy::explain(&self.policy, &self.subject, &place_path(path))
            .verdict
            .rights
    }
}
