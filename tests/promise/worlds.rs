//! What a call may have made of the tree, and whether section 4 of the design lets it: independent of how the daemon
//! decides. Every way in which the disk may look afterwards is a world; what is wrong in it is said.

use super::call::{Call, Flag};
use super::judge::{Judge, Rules, Who};
use super::tree::{Aside, Asker, Entry, Kind, Tree, is_below, name, parent};

/// A tree, and what should not have come to it.
#[derive(Clone, Debug)]
pub struct World {
    pub tree: Tree,
    pub wrong: Option<String>,
}

/// Whether programs remove again what they make under a name.
pub fn is_scratch_name(name: &str) -> bool {
    let swap = name.starts_with('.') && name.len() > 4 && name[..name.len() - 1].ends_with(".sw");
    swap || name.starts_with(".#") || name.ends_with("-journal") || name == "4913"
}

/// The worlds after a call that succeeded, the likeliest first.
pub fn after(tree: &Tree, call: &Call, who: Who, rules: Rules) -> Vec<World> {
    let judge = Judge { tree, who, rules };
    let worlds = match call {
        Call::Create {
            at,
            exclusively,
            content,
        } => judge.create(at, *exclusively, content.as_bytes()),
        Call::Write { at, content } => judge.write(at, |old| *old = content.as_bytes().into()),
        Call::Truncate(at, length) => judge.write(at, |old| old.resize(*length, 0)),
        Call::HeldWrite { number, content, .. } => judge.write_body(tree.numbered(*number), |old| {
            let new = content.as_bytes();
            let rest = old.get(new.len()..).unwrap_or_default();
            *old = [new, rest].concat();
        }),
        Call::Mkdir(at) => judge.make(at, Kind::Directory, b""),
        Call::Fifo(at) => judge.make(at, Kind::Fifo, b""),
        Call::MakeFile(at) => judge.make(at, Kind::File, b""),
        Call::Symlink(at, target) => judge.make(at, Kind::Symlink, target.as_bytes()),
        Call::Link(from, to) => judge.link(from, to),
        Call::Unlink(at) => judge.remove(at),
        Call::Rmdir(at) => judge.remove(at),
        Call::Rename(from, to, flag) => judge.rename(from, to, *flag),
        Call::Lock(at) | Call::Read(at) | Call::Hold(at) => judge.look(at),
    };
    let impossible = World {
        tree: tree.clone(),
        wrong: Some("this could not succeed".into()),
    };
    if worlds.is_empty() {
        vec![impossible]
    } else {
        worlds
    }
}

impl Judge<'_> {
    fn right(&self, change: impl FnOnce(&mut Tree)) -> World {
        let mut tree = self.tree.clone();
        change(&mut tree);
        World { tree, wrong: None }
    }

    fn look(&self, at: &str) -> Vec<World> {
        let there = self.tree.entries.contains_key(at);
        there.then(|| self.right(|_| {})).into_iter().collect()
    }

    fn write(&self, at: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<World> {
        match self.tree.kind(at) {
            Some(Kind::File) => self.write_body(Some(self.tree.entries[at].body), change),
            _ => vec![],
        }
    }

    fn write_body(&self, body: Option<u32>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<World> {
        vec![self.right(|tree| {
            if let Some(body) = body.and_then(|body| tree.bodies.get_mut(&body)) {
                change(&mut body.content);
            }
        })]
    }

    fn create(&self, at: &str, exclusively: bool, content: &[u8]) -> Vec<World> {
        if !self.tree.entries.contains_key(at) {
            return self.make_new(at, Kind::File, content, exclusively);
        }
        let mut worlds = Vec::new();
        if !exclusively {
            worlds.extend(self.write(at, |old| *old = content.into()));
        }
        worlds.extend(self.make_anew(at, Kind::File, content));
        worlds
    }

    fn make(&self, at: &str, kind: Kind, content: &[u8]) -> Vec<World> {
        if self.tree.entries.contains_key(at) {
            return self.make_anew(at, kind, content).into_iter().collect();
        }
        self.make_new(at, kind, content, true)
    }

    fn make_new(&self, at: &str, kind: Kind, content: &[u8], exclusively: bool) -> Vec<World> {
        if !self.tree.has_parent(at) {
            return vec![];
        }
        // What is put into a directory that is to be removed is, too.
        let above = self.tree.entries.get(parent(at));
        let in_own = above.is_some_and(|above| above.transient == Some(self.who.asker));
        let exclusively = exclusively || in_own;
        vec![self.right(|tree| {
            let body = tree.body(kind, content);
            let who = self.who;
            if !who.owner && matches!(kind, Kind::File | Kind::Symlink) && is_scratch_name(name(at)) {
                tree.bodies.get_mut(&body).unwrap().scratch = Some((who.uid, name(at).to_owned()));
            }
            let entry = tree.place(at, body, who.uid);
            if !who.owner {
                entry.transient = exclusively.then_some(who.asker);
                entry.new_by = (kind == Kind::File).then_some(who.asker);
            }
        })]
    }

    /// What takes the place of what this process was told to be removed.
    fn make_anew(&self, at: &str, kind: Kind, content: &[u8]) -> Option<World> {
        if !self.is_gone(at) || self.tree.kind(at) != Some(kind) {
            return None;
        }
        Some(self.right(|tree| {
            if kind == Kind::Directory {
                tree.entries.get_mut(at).unwrap().gone.clear();
                return;
            }
            let body = tree.body(kind, content);
            replace(tree.entries.get_mut(at).unwrap(), body);
        }))
    }

    fn link(&self, from: &str, to: &str) -> Vec<World> {
        let Some(source) = self.tree.entries.get(from) else {
            return vec![];
        };
        if self.tree.entries.contains_key(to) || !self.tree.has_parent(to) {
            return vec![];
        }
        vec![self.right(|tree| {
            let transient = (!self.who.owner).then_some(self.who.asker);
            tree.place(to, source.body, source.maker).transient = transient;
            self.lose_mark(tree, &[to], source.body);
        })]
    }

    fn remove(&self, at: &str) -> Vec<World> {
        let Some(entry) = self.tree.entries.get(at) else {
            return vec![];
        };
        if self.tree.below(at).next().is_some() && !self.rules.replace_by_unlink {
            return vec![];
        }
        let mut worlds = Vec::new();
        if let Some(left) = self.has_come_back(at) {
            worlds.push(self.right(|tree| come_back(tree, at, &left)));
        }
        let gone = self.right(|tree| drop(tree.entries.remove(at)));
        let may_go = self.may_go(at);
        if may_go {
            worlds.push(gone.clone());
        }
        // Of two names of one inode nobody can say which of them went.
        let other = (self.tree.names_of(entry.body)).find(|(other, _)| *other != at && self.may_go(other));
        if let Some((other, _)) = other {
            worlds.push(self.right(|tree| {
                let staying = tree.entries.remove(at).unwrap();
                tree.entries.insert(other.clone(), staying);
            }));
        }
        if self.rules.replace_by_unlink && !self.who.owner {
            worlds.push(self.right(|tree| {
                let entry = tree.entries.get_mut(at).unwrap();
                entry.gone.insert((self.who.asker, name(at).to_owned()));
            }));
        }
        if !may_go {
            let wrong = Some(format!("{at} has disappeared: {entry:?}"));
            worlds.push(World { wrong, ..gone });
        }
        worlds
    }

    fn rename(&self, from: &str, to: &str, flag: Flag) -> Vec<World> {
        let Some(entry) = self.tree.entries.get(from) else {
            return vec![];
        };
        if is_below(to, from) || is_below(from, to) || !self.tree.has_parent(to) {
            return vec![];
        }
        let Some(target) = self.tree.entries.get(to) else {
            return match flag {
                Flag::Exchange => vec![],
                Flag::None | Flag::NoReplace => vec![self.move_to_free_name(from, to)],
            };
        };
        if flag == Flag::NoReplace && !self.is_gone(to) {
            return vec![];
        }
        if entry.body == target.body {
            return vec![self.right(|_| {})];
        }
        if flag == Flag::Exchange {
            return vec![World {
                wrong: (!self.who.owner).then(|| format!("{from} and {to} are exchanged")),
                ..self.right(|tree| exchange(tree, from, to))
            }];
        }
        let directory = |path| self.tree.kind(path) == Some(Kind::Directory);
        if directory(from) != directory(to) || self.tree.below(to).next().is_some() {
            return vec![];
        }
        self.move_over(from, to)
    }

    fn move_to_free_name(&self, from: &str, to: &str) -> World {
        let stays = parent(from) == parent(to) && self.tree.kind(from) != Some(Kind::Directory);
        let wrong = !stays && !self.may_leave(from);
        World {
            wrong: wrong.then(|| format!("{from} has left its directory")),
            ..self.right(|tree| {
                tree.shift(from, to);
                self.renamed(tree, from, to);
            })
        }
    }

    fn move_over(&self, from: &str, to: &str) -> Vec<World> {
        let mut worlds = Vec::new();
        if self.may_replace(from, to) && !self.who.owner {
            worlds.push(self.right(|tree| {
                let body = tree.entries.remove(from).unwrap().body;
                replace(tree.entries.get_mut(to).unwrap(), body);
                self.lose_mark(tree, &[from, to], body);
            }));
        }
        let moved = self.move_to_free_name(from, to);
        let wrong = (moved.wrong).or_else(|| {
            (!self.may_go(to))
                .then(|| format!("{to} has been replaced by {from}, which was not made for that"))
        });
        let mut tree = moved.tree;
        let entry = tree.entries.get_mut(to).unwrap();
        if !self.who.owner {
            // A name that held something is protected again.
            (entry.transient, entry.aside) = (None, None);
        }
        worlds.push(World { tree, wrong });
        worlds
    }

    /// What an editor gives another name was not made under that.
    fn lose_mark(&self, tree: &mut Tree, names: &[&str], body: u32) {
        if !self.who.owner && names.iter().any(|path| is_scratch_name(name(path))) {
            tree.bodies.get_mut(&body).unwrap().scratch = None;
        }
    }

    /// What is to be remembered of an entry that got another name.
    fn renamed(&self, tree: &mut Tree, from: &str, to: &str) {
        let (same_directory, regular) = (parent(from) == parent(to), tree.kind(to) == Some(Kind::File));
        let asker = self.who.asker;
        self.lose_mark(tree, &[from, to], tree.entries[to].body);
        let entry = tree.entries.get_mut(to).unwrap();
        if !same_directory {
            entry.aside = None;
        }
        if self.who.owner {
            entry.certain = false;
            entry.aside.iter_mut().for_each(|aside| aside.certain = false);
            return;
        }
        if entry.transient == Some(asker) {
            return;
        }
        entry.certain &= entry.new_by == Some(asker);
        // What other mounts know of it they may believe again when it comes back.
        let lasts = |other: &Asker| *other == asker || other.mount != asker.mount;
        entry.new_by = entry.new_by.filter(lasts);
        entry.transient = entry.transient.filter(lasts);
        let before = entry.aside.take().filter(|aside| aside.by == asker);
        if !regular || !same_directory || before.as_ref().is_some_and(|aside| aside.left == name(to)) {
            return;
        }
        let (moved_on, certain) = (before.is_some(), true);
        let left = before.map_or_else(|| name(from).to_owned(), |aside| aside.left);
        // Of several that left one name the last is meant.
        let siblings = tree
            .entries
            .iter_mut()
            .filter(|(path, _)| parent(path) == parent(to));
        let asides = siblings.filter_map(|(_, entry)| entry.aside.as_mut());
        asides
            .filter(|aside| aside.left == left)
            .for_each(|aside| aside.certain = false);
        let by = asker;
        tree.entries.get_mut(to).unwrap().aside = Some(Aside {
            by,
            left,
            moved_on,
            certain,
        });
    }
}

/// A place holds another inode: its name is protected.
fn replace(entry: &mut Entry, body: u32) {
    entry.body = body;
    entry.transient = None;
    entry.new_by = None;
    entry.aside = None;
    entry.gone.clear();
    entry.certain = false;
}

/// A place is back at the name that it left, with what was made anew there.
fn come_back(tree: &mut Tree, at: &str, left: &str) {
    let mut place = tree.entries.remove(at).unwrap();
    let anew = tree.entries.remove(left).unwrap();
    replace(&mut place, anew.body);
    tree.bodies.get_mut(&anew.body).unwrap().scratch = None;
    tree.entries.insert(left.into(), place);
}

fn exchange(tree: &mut Tree, one: &str, other: &str) {
    let between = "(between)";
    tree.shift(one, between);
    tree.shift(other, one);
    tree.shift(between, other);
    for path in [one, other] {
        let entry = tree.entries.get_mut(path).unwrap();
        entry.certain = false;
        if parent(one) != parent(other) {
            entry.aside = None;
        }
    }
}
