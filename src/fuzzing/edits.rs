//! What `edit` protects: whatever processes do in two directories, and in whatever order, the name of each file that was
//! there stays where a rename took it, and holds something.
//!
//! The file system is played as `vfs` plays it: it asks the ledger and [`judge`], does what they let, and tells the ledger.

use std::collections::HashMap;

use super::Choices;
use crate::policy::{
    Exemption, FolderId, Inode, Ledger, Level, Made, Operation, Process, Renamed, Spot, Standing, Verdict,
    judge,
};

/// Names in each directory.
const NAMES: usize = 4;

/// A directory's number, and a name in it.
type At = (u64, u8);

pub(super) fn run(bytes: &[u8]) {
    let choices = &mut Choices::new(bytes);
    let mut play = Play::new();
    while !choices.is_done() {
        let said = play.step(choices);
        for place in &play.places {
            assert!(
                play.names.contains_key(place),
                "nothing is at {place:?} after {said}"
            );
        }
    }
}

struct Play {
    ledger: Ledger,
    /// What bears each name.
    names: HashMap<At, u64>,
    made: u64,
    /// Where the files that were there have to be.
    places: Vec<At>,
}

impl Play {
    fn new() -> Self {
        let places = vec![(1, 0), (1, 1), (2, 0)];
        Self {
            ledger: Ledger::default(),
            names: places.iter().copied().zip(1..).collect(),
            made: 3,
            places,
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) -> String {
        let by = Process {
            id: [7, 8, 8][choices.below(3)],
            started: 1,
            mount: 1 + u64::from(choices.below(4) == 3),
        };
        let name =
            |choices: &mut Choices<'_>| (1 + u64::from(choices.below(8) >= 6), choices.below(NAMES) as u8);
        let (from, to) = (name(choices), name(choices));
        match choices.below(12) {
            0..=2 => self.make(from, choices.flag(), by),
            3 => self.link(from, to, by),
            4..=6 => self.rename(from, to, by),
            7..=9 => self.unlink(from, by),
            10 => self.exchange(from, to),
            _ => {
                self.ledger.forget_ended(&[by].into());
                format!("{by:?} ended")
            }
        }
    }

    fn make(&mut self, at: At, exclusively: bool, by: Process) -> String {
        if self.names.contains_key(&at) {
            return String::new();
        }
        self.made += 1;
        self.names.insert(at, self.made);
        let how = Made {
            exclusively,
            new_file: true,
        };
        self.ledger.made(&spot(at), inode(self.made), by, how);
        format!("make {at:?}")
    }

    fn link(&mut self, from: At, to: At, by: Process) -> String {
        let (Some(&bearer), false) = (self.names.get(&from), self.names.contains_key(&to)) else {
            return String::new();
        };
        self.names.insert(to, bearer);
        let how = Made {
            exclusively: true,
            new_file: false,
        };
        self.ledger.made(&spot(to), inode(bearer), by, how);
        format!("link {from:?} {to:?}")
    }

    fn rename(&mut self, from: At, to: At, by: Process) -> String {
        let (Some(&bearer), target) = (self.names.get(&from), self.names.get(&to).copied()) else {
            return String::new();
        };
        // Of one file's two names rename(2) does nothing.
        if target == Some(bearer) || from == to {
            return String::new();
        }
        let made = self.is_transient(from, by);
        let own = self.ledger.is_own(&spot(from), inode(bearer), by);
        let exemption = Exemption {
            entry: made,
            target: target.is_some() && self.is_transient(to, by),
            saves: (made || own) && self.links(bearer) == 1,
            line_at_old_name: false,
            line_at_new_name: false,
        };
        if judge(&renaming(from, to, target.is_some(), false, exemption)).is_err() {
            return String::new();
        }
        self.names.remove(&from);
        self.names.insert(to, bearer);
        let renamed = Renamed {
            from: spot(from),
            to: spot(to),
            inode: inode(bearer),
            regular: true,
            replaced: target.is_some(),
        };
        self.ledger.renamed(&renamed, Some(by));
        self.follow(from, to);
        format!("rename {from:?} {to:?}")
    }

    /// Two names are never exchanged under `edit`, whoever made what is there.
    fn exchange(&mut self, from: At, to: At) -> String {
        if !self.names.contains_key(&from) || !self.names.contains_key(&to) || from == to {
            return String::new();
        }
        let exchange = renaming(from, to, true, true, Exemption::default());
        assert!(judge(&exchange).is_err(), "{exchange:?}");
        String::new()
    }

    fn unlink(&mut self, at: At, by: Process) -> String {
        let Some(&bearer) = self.names.get(&at) else {
            return String::new();
        };
        let left = self.anew(at, bearer, by);
        let removal = Operation::Remove {
            parent: edit(),
            entry: edit(),
            below: true,
            exempt: self.is_transient(at, by) || left.is_some(),
        };
        if judge(&removal).is_err() {
            return String::new();
        }
        let transient = self.is_transient(at, by);
        self.names.remove(&at);
        self.ledger.removed(&spot(at));
        // What stepped aside is cleared, and what was made anew is what it was.
        if let Some(left) = left.filter(|_| !transient) {
            self.follow(at, left);
        }
        format!("unlink {at:?}")
    }

    fn follow(&mut self, from: At, to: At) {
        for place in &mut self.places {
            if *place == from {
                *place = to;
            }
        }
    }

    /// What was made at the name that an entry left.
    fn anew(&self, at: At, bearer: u64, by: Process) -> Option<At> {
        let (left, anew) = self.ledger.stepped_aside(&spot(at), inode(bearer), by)?;
        let left = (at.0, *left.first()?);
        let there = *self.names.get(&left)?;
        (inode(there) == anew && self.links(there) == 1).then_some(left)
    }

    fn is_transient(&self, at: At, by: Process) -> bool {
        let bearer = self.names.get(&at);
        bearer.is_some_and(|&bearer| self.ledger.is_transient(&spot(at), inode(bearer), by))
    }

    fn links(&self, bearer: u64) -> usize {
        self.names.values().filter(|other| **other == bearer).count()
    }
}

fn edit() -> Verdict {
    Verdict {
        standing: Standing::Level(Level::Edit),
        rights: Level::Edit.rights(),
        corridor: false,
    }
}

fn renaming(from: At, to: At, occupied: bool, exchange: bool, exemption: Exemption) -> Operation {
    Operation::Rename {
        parent: edit(),
        entry: edit(),
        directory: false,
        new_parent: edit(),
        target: edit(),
        occupied,
        same_directory: from.0 == to.0,
        same_folder: true,
        below: true,
        no_replace: false,
        exchange,
        whiteout: false,
        exemption,
    }
}

fn inode(number: u64) -> Inode {
    Inode {
        folder: FolderId(1),
        number,
        birth: 0,
    }
}

fn spot((directory, name): At) -> Spot {
    Spot {
        directory: inode(1000 + directory),
        name: [name].into(),
    }
}
