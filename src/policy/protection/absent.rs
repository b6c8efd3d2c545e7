//! What is gone for a process that unlinked it, and there for all others: see `replace-by-unlink` in the module above.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::ledger::{Inode, Process, Spot};

/// What a process said to be gone.
#[derive(Clone, Copy, Debug)]
struct Gone {
    inode: Inode,
    by: Process,
    until: Duration,
    directory: bool,
}

/// What a process said to be gone, and is not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CameBack {
    /// Which.
    pub spot: Spot,
    /// Who.
    pub by: Process,
    /// Whether it is a directory.
    pub directory: bool,
}

/// See the module's doc.
#[derive(Debug, Default)]
pub struct Absences {
    gone: HashMap<Spot, Gone>,
}

/// More than this is not gone at a time.
const MOST: usize = 4096;

impl Absences {
    /// A process unlinked an entry that stays all the same, until that process makes it anew.
    pub fn said_gone(&mut self, spot: &Spot, inode: Inode, by: Process, directory: bool, until: Duration) {
        if self.has_room() || self.gone.contains_key(spot) {
            let gone = Gone {
                inode,
                by,
                until,
                directory,
            };
            self.gone.insert(spot.clone(), gone);
        }
    }

    /// Tells whether there is room for another.
    pub fn has_room(&self) -> bool {
        self.gone.len() < MOST
    }

    /// Tells whether an entry is gone for a process; for `None`, whether it is for any.
    pub fn is_gone(&self, spot: &Spot, inode: Inode, by: Option<Process>, now: Duration) -> bool {
        self.gone
            .get(spot)
            .is_some_and(|gone| gone.inode == inode && gone.until > now && by.is_none_or(|by| gone.by == by))
    }

    /// Tells whether any entry of a directory is gone for anybody.
    pub fn any_in(&self, directory: Inode) -> bool {
        self.gone.keys().any(|spot| spot.directory == directory)
    }

    /// Tells whether nothing is gone for anybody.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty()
    }

    /// An entry is there again for all, or something else is.
    pub fn is_back(&mut self, spot: &Spot) {
        self.gone.remove(spot);
    }

    /// The processes for which something is gone.
    pub fn processes(&self) -> HashSet<Process> {
        self.gone.values().map(|gone| gone.by).collect()
    }

    /// Forgets what has come back by itself, for it is time or the process has ended, and tells of it.
    pub fn come_back(&mut self, now: Duration, ended: &HashSet<Process>) -> Vec<CameBack> {
        let back = self
            .gone
            .extract_if(|_, gone| gone.until <= now || ended.contains(&gone.by));
        back.map(|(spot, gone)| CameBack {
            spot,
            by: gone.by,
            directory: gone.directory,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ids::FolderId;

    const P: Process = Process {
        id: 7,
        started: 1,
        mount: 1,
    };
    const Q: Process = Process { id: 8, ..P };

    fn inode(number: u64) -> Inode {
        Inode {
            folder: FolderId(1),
            number,
            birth: 0,
        }
    }

    #[test]
    fn what_is_said_to_be_gone_is_so_for_one_process_and_for_a_while() {
        let mut absences = Absences::default();
        let (now, until) = (Duration::from_secs(1), Duration::from_secs(6));
        let doc = Spot {
            directory: inode(1),
            name: (*b"doc").into(),
        };
        absences.said_gone(&doc, inode(2), P, false, until);
        let gone = |absences: &Absences, number, by, now| absences.is_gone(&doc, inode(number), by, now);
        assert!(gone(&absences, 2, Some(P), now));
        assert!(gone(&absences, 2, None, now));
        assert!(absences.any_in(inode(1)) && !absences.any_in(inode(2)));
        assert!(!gone(&absences, 2, Some(Q), now));
        assert!(!gone(&absences, 3, Some(P), now), "another took its place");
        assert!(!gone(&absences, 2, Some(P), until));
        assert_eq!(absences.come_back(now, &HashSet::new()), []);
        let back = CameBack {
            spot: doc.clone(),
            by: P,
            directory: false,
        };
        assert_eq!(absences.come_back(now, &absences.processes()), [back]);
        assert!(absences.is_empty());
    }
}
