//! What a ledger knows, entry by entry: for who keeps it somewhere else as well.

use super::{Aside, Inode, Ledger, Made, Own, Process, Spot};

/// An entry of a ledger: what a process did with what bears a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// The name.
    pub spot: Spot,
    /// What bears it.
    pub inode: Inode,
    /// Who.
    pub by: Process,
    /// What.
    pub what: Did,
    /// Entries are counted up.
    pub turn: u64,
}

/// What a process did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Did {
    /// It made it.
    Make(Made),
    /// It stepped aside with it.
    StepAside {
        /// From where.
        left: Spot,
        /// Whether it has gone on.
        moved_on: bool,
        /// Whether it is what left that name last.
        last: bool,
        /// What it made there.
        anew: Option<Inode>,
    },
}

impl Ledger {
    /// Notes from now on which names something is learned or forgotten of.
    pub fn track(&mut self) {
        self.tracks = true;
    }

    /// Which names something was learned or forgotten of since this was asked last.
    pub fn take_changed(&mut self) -> Vec<Spot> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// What is known of what bears a name: up to two entries.
    pub fn known(&self, spot: &Spot) -> Vec<Known> {
        let own = self.own.get(spot).map(|own| Known {
            spot: spot.clone(),
            inode: own.inode,
            by: own.by,
            what: Did::Make(own.how),
            turn: own.turn,
        });
        let aside = self.aside.get(spot).map(|aside| Known {
            spot: spot.clone(),
            inode: aside.inode,
            by: aside.by,
            what: Did::StepAside {
                left: aside.left.clone(),
                moved_on: aside.moved_on,
                last: self.left.get(&aside.left) == Some(spot),
                anew: aside.anew,
            },
            turn: aside.turn,
        });
        own.into_iter().chain(aside).collect()
    }

    /// Knows again what another ledger knew: all of it at once, for entries hang together.
    pub fn know(&mut self, mut entries: Vec<Known>) {
        entries.sort_by_key(|known| known.turn);
        for Known {
            spot,
            inode,
            by,
            what,
            ..
        } in entries
        {
            let turn = self.next_turn(&spot, by);
            match what {
                Did::Make(how) => {
                    self.own.insert(spot, Own { inode, by, how, turn });
                }
                Did::StepAside {
                    left,
                    moved_on,
                    last,
                    anew,
                } => {
                    if last {
                        self.left.insert(left.clone(), spot.clone());
                    }
                    let aside = Aside {
                        inode,
                        by,
                        left,
                        moved_on,
                        anew,
                        turn,
                    };
                    self.aside.insert(spot, aside);
                }
            }
        }
        self.changed.clear();
    }
}
