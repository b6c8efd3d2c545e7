//! What has to be allowed: the simple cases of what programs expect.

use super::call::{Call, Flag};
use super::judge::Judge;
use super::tree::{Entry, Kind, parent};

impl Judge<'_> {
    /// Whether a call has to succeed.
    pub fn must_succeed(&self, call: &Call) -> bool {
        let paths = call.paths();
        let in_place = paths.iter().all(|path| self.tree.has_parent(path));
        // What is said to be removed is there for some, and for a while.
        if !in_place || paths.iter().any(|path| self.tree.is_gone_for_some(path)) {
            return false;
        }
        let is_free = |at: &str| !self.tree.entries.contains_key(at);
        match call {
            Call::Create { at, exclusively, .. } => {
                is_free(at) || !exclusively && self.tree.kind(at) == Some(Kind::File)
            }
            Call::Mkdir(at) | Call::Fifo(at) | Call::MakeFile(at) | Call::Symlink(at, _) => is_free(at),
            Call::Write { at, .. } | Call::Truncate(at, _) | Call::Read(at) | Call::Hold(at) => {
                self.tree.kind(at) == Some(Kind::File)
            }
            Call::Lock(at) => matches!(self.tree.kind(at), Some(Kind::File | Kind::Directory)),
            Call::Link(from, to) => self.tree.kind(from) == Some(Kind::File) && is_free(to),
            Call::Unlink(at) => self.must_be_unlinked(at),
            Call::Rmdir(at) => self.must_be_removed(at),
            Call::Rename(from, to, flag) => self.must_be_renamed(from, to, *flag),
            // What was opened before a restart is lost.
            Call::HeldWrite { .. } => false,
        }
    }

    fn must_be_unlinked(&self, at: &str) -> bool {
        let file = !matches!(self.tree.kind(at), None | Some(Kind::Directory));
        let certain = |entry: &Entry| entry.certain && self.may_go(at);
        let entry = self.tree.entries.get(at);
        let aside = entry
            .and_then(|entry| entry.aside.as_ref())
            .is_some_and(|aside| aside.certain);
        let anew = |left: String| aside && self.tree.entries[&left].certain;
        let replaceable = matches!(self.tree.kind(at), Some(Kind::File | Kind::Symlink));
        file && (self.rules.replace_by_unlink && replaceable
            || self.who.owner
            || entry.is_some_and(certain)
            || self.has_come_back(at).is_some_and(anew))
    }

    fn must_be_removed(&self, at: &str) -> bool {
        let empty = self.tree.below(at).next().is_none();
        let certain = |entry: &Entry| entry.certain && self.may_go(at);
        self.tree.kind(at) == Some(Kind::Directory) && empty && self.tree.entries.get(at).is_some_and(certain)
    }

    fn must_be_renamed(&self, from: &str, to: &str, flag: Flag) -> bool {
        let Some(entry) = self.tree.entries.get(from) else {
            return false;
        };
        let file = self.tree.kind(from) != Some(Kind::Directory);
        match self.tree.entries.get(to) {
            None => flag != Flag::Exchange && file && parent(from) == parent(to),
            Some(_) => flag == Flag::None && entry.certain && file && self.may_replace(from, to),
        }
    }
}
