//! What section 4 of the design lets a process do with a tree, independent of how the daemon decides it.

use super::tree::{Aside, Asker, Kind, Tree, join, name, parent};

/// How the folder is set.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub adopted: bool,
    pub own_files: bool,
    pub replace_by_unlink: bool,
    pub strict: bool,
}

/// Who makes a call.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    pub uid: u32,
    pub asker: Asker,
    /// May do anything.
    pub owner: bool,
}

/// What a process may do with the entries of a tree.
pub struct Judge<'a> {
    pub tree: &'a Tree,
    pub who: Who,
    pub rules: Rules,
}

impl Judge<'_> {
    /// Whether an entry may cease to be, whoever else has need of it.
    pub fn may_go(&self, path: &str) -> bool {
        let entry = &self.tree.entries[path];
        self.is_transient(path) || self.rules.own_files && entry.maker == self.who.uid
    }

    /// Whether it was made to be removed.
    pub fn is_transient(&self, path: &str) -> bool {
        let entry = &self.tree.entries[path];
        let scratch = |(uid, made): &(u32, String)| *uid == self.who.uid && made == name(path);
        self.who.owner
            || entry.transient == Some(self.who.asker)
            || self.tree.bodies[&entry.body]
                .scratch
                .as_ref()
                .is_some_and(scratch)
    }

    /// Whether an entry may leave its directory, with all that is in it.
    pub fn may_leave(&self, path: &str) -> bool {
        let asker = Some(self.who.asker);
        match self.tree.kind(path) {
            _ if self.who.owner => true,
            Some(Kind::Directory) => {
                self.tree.entries[path].transient == asker
                    && self.tree.below(path).all(|(_, entry)| entry.transient == asker)
            }
            _ => self.may_go(path),
        }
    }

    /// Whether what an entry names may take the place of another.
    pub fn may_replace(&self, from: &str, to: &str) -> bool {
        let kind = self.tree.kind(from);
        let one_name = self.tree.names_of(self.tree.entries[from].body).count() == 1;
        let new = self.tree.entries[from].new_by == Some(self.who.asker);
        (new || self.is_transient(from))
            && kind == self.tree.kind(to)
            && matches!(kind, Some(Kind::File | Kind::Symlink))
            && one_name
    }

    /// The name that this process moved an entry away from, if it has made that anew.
    pub fn has_come_back(&self, path: &str) -> Option<String> {
        let aside = self.tree.entries[path].aside.as_ref()?;
        let Aside { by, left, .. } = Some(aside).filter(|aside| !aside.moved_on)?;
        let left = join(parent(path), left);
        let anew = self.tree.entries.get(&left)?;
        let one_name = self.tree.names_of(anew.body).count() == 1;
        let new = *by == self.who.asker && anew.new_by == Some(*by) && one_name;
        (new && self.tree.kind(&left) == Some(Kind::File)).then_some(left)
    }

    /// Whether this process was told that it is removed.
    pub fn is_gone(&self, path: &str) -> bool {
        let mut gone = self.tree.entries[path].gone.iter();
        gone.any(|(asker, told)| *asker == self.who.asker && told == name(path))
    }
}
