//! What programs made and moved aside in one folder, and what may go therefore.
//!
//! Events in, verdicts out. Everything is tied to three things at once: the name in its directory, the inode that
//! bears it, and the process; where one of them is another, nothing is known, and what is not known is protected. To forget
//! anything is always safe. But all that gives a name to something else has to be told, whoever does it and through whatever
//! mount: an inode could come back to a name as something else than what it was there.

mod known;

use std::collections::{BTreeMap, HashMap, HashSet};

pub use self::known::{Did, Known};
use crate::policy::ids::FolderId;

/// A process in a mount: a number of the kernel's and when it was started, in ticks of `proc_pid_stat(5)` since the
/// machine was. No two that ever ran have the same. What it made through one mount it did not through another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Process {
    /// The thread group's number.
    pub id: u32,
    /// When its first thread was started.
    pub started: u64,
    /// The mount.
    pub mount: u64,
}

/// An inode: its number, and its birth, which tells it from those that had the number before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Inode {
    /// The folder it lies in.
    pub folder: FolderId,
    /// Its number on the backing.
    pub number: u64,
    /// Told by the backing.
    pub birth: u64,
}

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Spot {
    /// The directory.
    pub directory: Inode,
    /// The name.
    pub name: Box<[u8]>,
}

/// How something was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Made {
    /// To be removed again: so that it could not have been there before (O_EXCL, mkdir, symlink, link, mknod), or in a
    /// directory of the process's own. What is made otherwise is a document for all that is known.
    pub exclusively: bool,
    /// A new regular file, and no further name of one.
    pub new_file: bool,
}

/// What was renamed.
#[derive(Clone, Debug)]
pub struct Renamed {
    /// The name it left.
    pub from: Spot,
    /// The name it has.
    pub to: Spot,
    /// What it is.
    pub inode: Inode,
    /// Whether it is a regular file.
    pub regular: bool,
    /// Whether something else had the name.
    pub replaced: bool,
}

/// What a process made.
#[derive(Clone, Copy, Debug)]
struct Own {
    inode: Inode,
    by: Process,
    how: Made,
    turn: u64,
}

/// What stepped aside, by the name that it has now.
#[derive(Clone, Debug)]
struct Aside {
    inode: Inode,
    by: Process,
    left: Spot,
    /// Whether it has gone on from where it stepped: then it is where a rename took it, and nothing is to be cleared.
    moved_on: bool,
    /// What the process made at the name that was left.
    anew: Option<Inode>,
    turn: u64,
}

/// See the module's doc.
#[derive(Debug, Default)]
pub struct Ledger {
    own: HashMap<Spot, Own>,
    aside: HashMap<Spot, Aside>,
    /// Where what left a name is now.
    left: HashMap<Spot, Spot>,
    /// All of them, those of each mount the oldest first.
    turns: BTreeMap<Turn, Spot>,
    /// How many of them each mount has.
    of_mounts: HashMap<u64, usize>,
    turn: u64,
    /// From how many entries on it is worth while to look which processes have ended.
    due: usize,
    /// Whether it is noted what changed, and of which names it did.
    tracks: bool,
    changed: HashSet<Spot>,
}

/// A mount, and a number that counts up.
type Turn = (u64, u64);

/// More than this is not kept of one mount: the oldest is protected then.
const MOST: usize = 4096;
/// Below this it is not worth while to look which processes have ended.
const LEAST_DUE: usize = 64;

impl Ledger {
    /// A process made an entry at a free name.
    pub fn made(&mut self, spot: &Spot, inode: Inode, by: Process, how: Made) {
        self.forget(spot);
        let turn = self.next_turn(spot, by);
        let own = Own { inode, by, how, turn };
        self.own.insert(spot.clone(), own);
        self.note(spot);
        self.came_anew(spot, inode, by, how.new_file);
    }

    /// Tells whether a process made this very entry exclusively, under this name or another: then it may go.
    pub fn is_transient(&self, spot: &Spot, inode: Inode, by: Process) -> bool {
        self.own_of(spot, inode, by)
            .is_some_and(|own| own.how.exclusively)
    }

    /// Tells whether a process made this very entry in whatever way: then it may take another's place.
    pub fn is_own(&self, spot: &Spot, inode: Inode, by: Process) -> bool {
        self.own_of(spot, inode, by).is_some()
    }

    fn own_of(&self, spot: &Spot, inode: Inode, by: Process) -> Option<Own> {
        let own = self.own.get(spot).copied();
        own.filter(|own| own.inode == inode && own.by == by)
    }

    /// The name that an entry left when this process stepped aside with it, and what it has made there since.
    pub fn stepped_aside(&self, spot: &Spot, inode: Inode, by: Process) -> Option<(&[u8], Inode)> {
        let aside = self.aside.get(spot)?;
        let same = aside.inode == inode && aside.by == by && !aside.moved_on;
        Some((&*aside.left.name, aside.anew.filter(|_| same)?))
    }

    /// Tells whether nothing is known at all.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// An entry was removed. If it had stepped aside, what took its name is as protected as it was.
    pub fn removed(&mut self, spot: &Spot) {
        if let Some(aside) = self.aside.get(spot).filter(|aside| aside.anew.is_some()) {
            let left = aside.left.clone();
            self.forget_own(&left);
        }
        self.anew(spot, None);
        self.forget(spot);
    }

    /// An entry was renamed, by a process if that is known.
    pub fn renamed(&mut self, renamed: &Renamed, by: Option<Process>) {
        let Renamed {
            from,
            to,
            inode,
            regular,
            replaced,
        } = renamed;
        if from == to {
            return;
        }
        let own = by.and_then(|by| self.own_of(from, *inode, by));
        // A rename by another process is final.
        let aside = self.aside.get(from);
        let aside = aside.filter(|aside| aside.inode == *inode && Some(aside.by) == by);
        let aside = aside.map(|aside| aside.left.clone());
        // What had come anew to a name is there no more.
        for spot in [from, to] {
            self.anew(spot, None);
        }
        self.forget(from);
        self.forget(to);
        let Some(by) = by else { return };
        // A name that held something is protected again, whoever owns what holds it now; nor is it what left the name
        // before that has come back then.
        if let Some(own) = own.filter(|_| !replaced) {
            let turn = self.next_turn(to, by);
            self.own.insert(to.clone(), Own { turn, ..own });
            self.note(to);
            self.came_anew(to, *inode, by, own.how.new_file);
        }
        let protected = own.is_none_or(|own| !own.how.exclusively);
        if protected && *regular && !replaced && from.directory == to.directory {
            match aside {
                None => self.step_aside(from, to, *inode, by, false),
                // It is back, and no name of its own was left.
                Some(left) if left == *to => {}
                Some(left) => self.step_aside(&left, to, *inode, by, true),
            }
        }
    }

    /// Two entries have changed names.
    pub fn exchanged(&mut self, one: &Spot, other: &Spot) {
        self.removed(one);
        self.removed(other);
    }

    /// Tells whether so much has come together that it is worth while to look which processes have ended.
    pub fn is_due(&self) -> bool {
        self.turns.len() >= self.due.max(LEAST_DUE)
    }

    /// The processes of which anything is known.
    pub fn processes(&self) -> HashSet<Process> {
        let own = self.own.values().map(|own| own.by);
        own.chain(self.aside.values().map(|aside| aside.by)).collect()
    }

    /// Forgets what processes that have ended made and moved.
    pub fn forget_ended(&mut self, ended: &HashSet<Process>) {
        let own = self.own.iter().map(|(spot, own)| (spot, own.by));
        let aside = self.aside.iter().map(|(spot, aside)| (spot, aside.by));
        let theirs = own.chain(aside).filter(|(_, by)| ended.contains(by));
        let spots: Vec<_> = theirs.map(|(spot, _)| spot.clone()).collect();
        spots.iter().for_each(|spot| self.forget(spot));
        self.due = 2 * self.turns.len();
    }

    fn step_aside(&mut self, from: &Spot, to: &Spot, inode: Inode, by: Process, moved_on: bool) {
        let turn = self.next_turn(to, by);
        let aside = Aside {
            inode,
            by,
            left: from.clone(),
            moved_on,
            anew: None,
            turn,
        };
        self.aside.insert(to.clone(), aside);
        self.note(to);
        if !moved_on && let Some(before) = self.left.insert(from.clone(), to.clone()) {
            self.note(&before);
        }
    }

    /// Something came to a name that another may have left.
    fn came_anew(&mut self, spot: &Spot, inode: Inode, by: Process, new_file: bool) {
        self.anew(spot, new_file.then_some((inode, by)));
    }

    /// Notes what is there by now at a name that another may have left, if it is that one's process that made it.
    fn anew(&mut self, spot: &Spot, made: Option<(Inode, Process)>) {
        let Some(now) = self.left.get(spot).cloned() else {
            return;
        };
        if let Some(aside) = self.aside.get_mut(&now) {
            aside.anew = made.filter(|(_, by)| aside.by == *by).map(|(inode, _)| inode);
            self.note(&now);
        }
    }

    /// Notes that something was learned or forgotten of a name.
    fn note(&mut self, spot: &Spot) {
        if self.tracks {
            self.changed.insert(spot.clone());
        }
    }

    /// Where one mount has as much as it may, its oldest goes: nobody is disturbed by what others do.
    fn next_turn(&mut self, spot: &Spot, by: Process) -> u64 {
        while self.of_mounts.get(&by.mount).is_some_and(|count| *count >= MOST) {
            let mut theirs = self.turns.range((by.mount, 0)..=(by.mount, u64::MAX));
            let Some((&turn, oldest)) = theirs.next() else {
                break;
            };
            let oldest = oldest.clone();
            self.give_back(turn);
            self.forget(&oldest);
        }
        self.turn += 1;
        self.turns.insert((by.mount, self.turn), spot.clone());
        *self.of_mounts.entry(by.mount).or_default() += 1;
        self.turn
    }

    fn give_back(&mut self, turn: Turn) {
        if self.turns.remove(&turn).is_some()
            && let Some(count) = self.of_mounts.get_mut(&turn.0)
        {
            *count -= 1;
            if *count == 0 {
                self.of_mounts.remove(&turn.0);
            }
        }
    }

    /// Forgets what is known of the entry that has a name.
    fn forget(&mut self, spot: &Spot) {
        self.forget_own(spot);
        if let Some(aside) = self.aside.remove(spot) {
            self.note(spot);
            self.give_back((aside.by.mount, aside.turn));
            if self.left.get(&aside.left) == Some(spot) {
                self.left.remove(&aside.left);
            }
        }
    }

    fn forget_own(&mut self, spot: &Spot) {
        if let Some(entry) = self.own.remove(spot) {
            self.note(spot);
            self.give_back((entry.by.mount, entry.turn));
        }
    }
}

#[cfg(test)]
mod tests;
