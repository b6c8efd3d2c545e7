//! What real programs do, what tricks do, and that no sequence of calls makes a file vanish.

use proptest::prelude::*;

use super::*;

const P: Process = Process {
    id: 7,
    started: 1,
    mount: 1,
};
const Q: Process = Process { id: 8, ..P };
const EXCLUSIVE: Made = Made {
    exclusively: true,
    new_file: true,
};
const PLAIN: Made = Made {
    exclusively: false,
    new_file: true,
};
const LINK: Made = Made {
    exclusively: true,
    new_file: false,
};

fn inode(number: u64) -> Inode {
    Inode {
        folder: FolderId(1),
        number,
        birth: 0,
    }
}

fn at(name: &str) -> Spot {
    Spot {
        directory: inode(1),
        name: name.as_bytes().into(),
    }
}

fn rename(ledger: &mut Ledger, (from, to): (&str, &str), number: u64, replaced: bool, by: Process) {
    let renamed = Renamed {
        from: at(from),
        to: at(to),
        inode: inode(number),
        regular: true,
        replaced,
    };
    ledger.renamed(&renamed, Some(by));
}

fn anew(ledger: &Ledger, name: &str, number: u64, by: Process) -> Option<(String, u64)> {
    let (left, anew) = ledger.stepped_aside(&at(name), inode(number), by)?;
    Some((String::from_utf8_lossy(left).into_owned(), anew.number))
}

#[test]
fn what_a_process_made_exclusively_is_its_own_and_nobody_else_s() {
    let mut ledger = Ledger::default();
    ledger.made(&at("t"), inode(2), P, EXCLUSIVE);
    assert!(ledger.is_transient(&at("t"), inode(2), P));
    assert!(!ledger.is_transient(&at("t"), inode(2), Q));
    assert!(
        !ledger.is_transient(&at("t"), inode(3), P),
        "another took its place"
    );
    assert!(!ledger.is_transient(&at("u"), inode(2), P), "another name of it");
    let again = Process { started: 2, ..P };
    assert!(
        !ledger.is_transient(&at("t"), inode(2), again),
        "the number was used again"
    );
    let elsewhere = Process { mount: 2, ..P };
    assert!(
        !ledger.is_transient(&at("t"), inode(2), elsewhere),
        "another mount"
    );
    let reborn = Inode { birth: 5, ..inode(2) };
    assert!(
        !ledger.is_transient(&at("t"), reborn, P),
        "the inode's number was used again"
    );
    ledger.made(&at("plain"), inode(4), P, PLAIN);
    assert!(!ledger.is_transient(&at("plain"), inode(4), P));
    assert!(
        ledger.is_own(&at("plain"), inode(4), P),
        "it may take another's place"
    );
    assert!(!ledger.is_own(&at("plain"), inode(4), Q));
    rename(&mut ledger, ("plain", "doc"), 4, true, P);
    assert!(
        !ledger.is_own(&at("doc"), inode(4), P),
        "the name is protected as it was"
    );
}

#[test]
fn who_made_a_document_steps_aside_with_it_like_others() {
    let mut ledger = Ledger::default();
    ledger.made(&at("doc"), inode(2), P, PLAIN);
    rename(&mut ledger, ("doc", "doc~"), 2, false, P);
    assert!(!ledger.is_transient(&at("doc~"), inode(2), P));
    ledger.made(&at("doc"), inode(3), P, PLAIN);
    assert_eq!(anew(&ledger, "doc~", 2, P), Some(("doc".into(), 3)));
    ledger.removed(&at("doc~"));
    assert!(!ledger.is_own(&at("doc"), inode(3), P));
}

#[test]
fn what_is_transient_stays_so_under_a_free_name_and_is_protected_in_place_of_another() {
    let mut ledger = Ledger::default();
    ledger.made(&at("t"), inode(2), P, EXCLUSIVE);
    rename(&mut ledger, ("t", "free"), 2, false, P);
    assert!(ledger.is_transient(&at("free"), inode(2), P));
    assert!(!ledger.is_transient(&at("t"), inode(2), P));
    rename(&mut ledger, ("free", "doc"), 2, true, P);
    assert!(!ledger.is_transient(&at("doc"), inode(2), P));
    assert!(ledger.is_empty());
}

#[test]
fn what_another_process_renames_is_transient_no_more() {
    let mut ledger = Ledger::default();
    ledger.made(&at("t"), inode(2), P, EXCLUSIVE);
    rename(&mut ledger, ("t", "u"), 2, false, Q);
    rename(&mut ledger, ("u", "t"), 2, false, Q);
    assert!(!ledger.is_transient(&at("t"), inode(2), P));
    assert!(!ledger.is_transient(&at("t"), inode(2), Q));
}

#[test]
fn who_steps_aside_and_comes_back_may_clear_what_stepped_aside() {
    let mut ledger = Ledger::default();
    rename(&mut ledger, ("doc", "doc~"), 2, false, P);
    assert_eq!(anew(&ledger, "doc~", 2, P), None, "nothing is there yet");
    ledger.made(&at("doc"), inode(3), P, PLAIN);
    assert_eq!(anew(&ledger, "doc~", 2, P), Some(("doc".into(), 3)));
    assert_eq!(anew(&ledger, "doc~", 2, Q), None);
    assert_eq!(anew(&ledger, "doc~", 9, P), None);
    ledger.removed(&at("doc~"));
    assert!(ledger.is_empty());
}

#[test]
fn what_came_back_is_protected_when_what_stepped_aside_is_gone() {
    let mut ledger = Ledger::default();
    rename(&mut ledger, ("doc", "doc~"), 2, false, P);
    ledger.made(&at("doc"), inode(3), P, EXCLUSIVE);
    assert!(
        ledger.is_transient(&at("doc"), inode(3), P),
        "it may be taken back until then"
    );
    ledger.removed(&at("doc~"));
    assert!(!ledger.is_transient(&at("doc"), inode(3), P));
}

#[test]
fn a_transient_file_that_is_renamed_to_the_name_has_come_back_as_well() {
    let mut ledger = Ledger::default();
    ledger.made(&at("t"), inode(3), P, EXCLUSIVE);
    rename(&mut ledger, ("doc", "doc~"), 2, false, P);
    rename(&mut ledger, ("t", "doc"), 3, false, P);
    assert_eq!(anew(&ledger, "doc~", 2, P), Some(("doc".into(), 3)));
}

type Trick = fn(&mut Ledger);

#[test]
fn nothing_else_has_come_back() {
    let step = |ledger: &mut Ledger| rename(ledger, ("doc", "doc~"), 2, false, P);
    let tricks: &[(&str, Trick)] = &[
        ("someone else's file", |ledger| {
            rename(ledger, ("other", "doc"), 4, false, P)
        }),
        ("another process's file", |ledger| {
            ledger.made(&at("doc"), inode(3), Q, EXCLUSIVE)
        }),
        ("another name of a file", |ledger| {
            ledger.made(&at("doc"), inode(4), P, LINK)
        }),
        ("what was there and went again", |ledger| {
            ledger.made(&at("doc"), inode(3), P, EXCLUSIVE);
            ledger.removed(&at("doc"));
        }),
        ("what was there and moved on", |ledger| {
            ledger.made(&at("doc"), inode(3), P, EXCLUSIVE);
            rename(ledger, ("doc", "elsewhere"), 3, false, P);
        }),
        ("what replaced someone else's file", |ledger| {
            rename(ledger, ("other", "doc"), 4, false, P);
            ledger.made(&at("t"), inode(3), P, EXCLUSIVE);
            rename(ledger, ("t", "doc"), 3, true, P);
        }),
        ("a name of a file, renamed", |ledger| {
            ledger.made(&at("t"), inode(4), P, LINK);
            rename(ledger, ("t", "doc"), 4, false, P);
        }),
    ];
    for (trick, play) in tricks {
        let mut ledger = Ledger::default();
        step(&mut ledger);
        play(&mut ledger);
        assert_eq!(anew(&ledger, "doc~", 2, P), None, "{trick}");
    }
}

#[test]
fn a_second_step_aside_does_not_count() {
    let mut ledger = Ledger::default();
    rename(&mut ledger, ("doc", "a"), 2, false, P);
    rename(&mut ledger, ("a", "b"), 2, false, P);
    ledger.made(&at("a"), inode(3), P, EXCLUSIVE);
    ledger.made(&at("doc"), inode(4), P, EXCLUSIVE);
    assert_eq!(anew(&ledger, "b", 2, P), None);
    rename(&mut ledger, ("b", "doc"), 2, false, P);
    ledger.made(&at("b"), inode(5), P, EXCLUSIVE);
    assert_eq!(anew(&ledger, "doc", 2, P), None, "it is back");
    let mut ledger = Ledger::default();
    rename(&mut ledger, ("doc", "doc~"), 2, false, P);
    rename(&mut ledger, ("doc~", "doc"), 2, false, P);
    ledger.made(&at("doc~"), inode(3), P, EXCLUSIVE);
    assert_eq!(
        anew(&ledger, "doc", 2, P),
        None,
        "it is back, and where it was a moment ago is no name of its own"
    );
}

#[test]
fn what_another_process_has_renamed_before_steps_aside_like_others() {
    let mut ledger = Ledger::default();
    rename(&mut ledger, ("a", "doc"), 2, false, Q);
    rename(&mut ledger, ("doc", "doc~"), 2, false, P);
    ledger.made(&at("doc"), inode(3), P, PLAIN);
    assert_eq!(anew(&ledger, "doc~", 2, P), Some(("doc".into(), 3)));
}

#[test]
fn much_is_forgotten_the_oldest_first_and_nothing_is_kept_of_it() {
    let mut ledger = Ledger::default();
    let name = |number: u64| at(&format!("t{number}"));
    let last = 2 * MOST as u64;
    ledger.made(&at("other"), inode(last), Process { mount: 2, ..P }, EXCLUSIVE);
    for number in 0..last {
        ledger.made(&name(number), inode(number), P, EXCLUSIVE);
    }
    assert!(!ledger.is_transient(&name(0), inode(0), P));
    assert!(ledger.is_transient(&name(last - 1), inode(last - 1), P));
    let other = Process { mount: 2, ..P };
    assert!(
        ledger.is_transient(&at("other"), inode(last), other),
        "another mount's"
    );
    assert_eq!((ledger.own.len(), ledger.turns.len()), (MOST + 1, MOST + 1));
    assert_eq!(ledger.of_mounts, HashMap::from([(1, MOST), (2, 1)]));
    assert!(ledger.is_due());
    ledger.forget_ended(&ledger.processes());
    assert!(ledger.is_empty() && ledger.own.is_empty() && !ledger.is_due());
    assert_eq!(ledger.of_mounts, HashMap::new());
}

/// A call on a directory of a few names, by one of two processes.
#[derive(Clone, Debug)]
enum Call {
    Make(usize, bool),
    Link(usize, usize),
    Rename(usize, usize),
    Unlink(usize),
    Forget,
}

fn calls() -> impl Strategy<Value = Vec<(bool, Call)>> {
    let name = || 0..4_usize;
    let call = prop_oneof![
        3 => (name(), any::<bool>()).prop_map(|(at, exclusive)| Call::Make(at, exclusive)),
        1 => (name(), name()).prop_map(|(from, to)| Call::Link(from, to)),
        5 => (name(), name()).prop_map(|(from, to)| Call::Rename(from, to)),
        4 => name().prop_map(Call::Unlink),
        1 => Just(Call::Forget),
    ];
    prop::collection::vec((prop::bool::weighted(0.8), call), 1..30)
}

/// A directory that is asked as `vfs` asks.
#[derive(Default)]
struct Directory {
    ledger: Ledger,
    /// By name: the inode.
    names: HashMap<usize, u64>,
    made: u64,
    /// What is kept of the ledger, from change to change.
    kept: HashMap<Spot, Vec<Known>>,
}

impl Directory {
    /// A ledger that is told what was kept of this one knows the same.
    fn keep(&mut self) {
        for spot in self.ledger.take_changed() {
            let known = self.ledger.known(&spot);
            self.kept.insert(spot, known);
        }
        self.ledger.track();
        let mut next = Ledger::default();
        next.know(self.kept.values().flatten().cloned().collect());
        let all = |ledger: &Ledger| {
            let spots: HashSet<_> = ledger.own.keys().chain(ledger.aside.keys()).cloned().collect();
            let known = spots.iter().flat_map(|spot| ledger.known(spot));
            let mut known: Vec<_> = known.map(|known| Known { turn: 0, ..known }).collect();
            known.sort_by_key(|known| format!("{known:?}"));
            known
        };
        assert_eq!(all(&next), all(&self.ledger));
        assert_eq!(next.left, self.ledger.left);
    }

    fn spot(name: usize) -> Spot {
        at(&name.to_string())
    }

    fn links(&self, inode: u64) -> usize {
        self.names.values().filter(|other| **other == inode).count()
    }

    fn is_own(&self, name: usize, by: Process) -> bool {
        let bearer = self.names.get(&name);
        bearer.is_some_and(|&bearer| self.ledger.is_own(&Self::spot(name), inode(bearer), by))
    }

    fn is_transient(&self, name: usize, by: Process) -> bool {
        let bearer = self.names.get(&name);
        bearer.is_some_and(|&bearer| self.ledger.is_transient(&Self::spot(name), inode(bearer), by))
    }

    fn make(&mut self, name: usize, exclusively: bool, by: Process) {
        if !self.names.contains_key(&name) {
            self.made += 1;
            self.names.insert(name, self.made);
            let how = Made {
                exclusively,
                new_file: true,
            };
            self.ledger.made(&Self::spot(name), inode(self.made), by, how);
        }
    }

    fn link(&mut self, from: usize, to: usize, by: Process) {
        if let (Some(&bearer), false) = (self.names.get(&from), self.names.contains_key(&to)) {
            self.names.insert(to, bearer);
            self.ledger.made(&Self::spot(to), inode(bearer), by, LINK);
        }
    }

    /// Whether it was allowed.
    fn rename(&mut self, from: usize, to: usize, by: Process) -> bool {
        let Some(&bearer) = self.names.get(&from) else {
            return false;
        };
        let target = self.names.get(&to).copied();
        if target == Some(bearer) {
            return false;
        }
        let saves = self.is_own(from, by) && self.links(bearer) == 1;
        if target.is_some() && !saves && !self.is_transient(to, by) {
            return false;
        }
        self.names.remove(&from);
        self.names.insert(to, bearer);
        let renamed = Renamed {
            from: Self::spot(from),
            to: Self::spot(to),
            inode: inode(bearer),
            regular: true,
            replaced: target.is_some(),
        };
        self.ledger.renamed(&renamed, Some(by));
        true
    }

    /// The name that it left, if there is something anew.
    fn left(&self, name: usize, bearer: u64, by: Process) -> Option<usize> {
        let (left, anew) = self.ledger.stepped_aside(&Self::spot(name), inode(bearer), by)?;
        let left: usize = std::str::from_utf8(left).unwrap().parse().unwrap();
        let there = *self.names.get(&left)?;
        (inode(there) == anew && self.links(there) == 1).then_some(left)
    }

    /// Likewise.
    fn unlink(&mut self, name: usize, by: Process) -> bool {
        let Some(&bearer) = self.names.get(&name) else {
            return false;
        };
        if !self.is_transient(name, by) && self.left(name, bearer, by).is_none() {
            return false;
        }
        self.names.remove(&name);
        self.ledger.removed(&Self::spot(name));
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// The name of each original is there under whatever name a rename gave it; or, where it had stepped aside, under the
    /// one that it left.
    #[test]
    fn no_file_disappears(calls in calls()) {
        let mut directory = Directory {
            made: 3,
            ..Directory::default()
        };
        directory.names.extend([(0, 1), (1, 2), (2, 3)]);
        directory.keep();
        let mut places = vec![0, 1, 2];
        for (first, call) in calls {
            let by = if first { P } else { Q };
            let moved = match call {
                Call::Make(name, exclusively) => {
                    directory.make(name, exclusively, by);
                    None
                }
                Call::Link(from, to) => {
                    directory.link(from, to, by);
                    None
                }
                Call::Rename(from, to) => directory.rename(from, to, by).then_some((from, to)),
                Call::Unlink(name) => {
                    let bearer = directory.names.get(&name).copied();
                    let left = bearer.and_then(|bearer| directory.left(name, bearer, by));
let unlinked = directory.unlink(name, by);
                    left.filter(|_| unlinked).map(|left| (name, left))
                }
                Call::Forget => {
                    directory.ledger.forget_ended(&HashSet::from([by]));
                    None
                }
            };
            directory.keep();
            for place in &mut places {
                if let Some((from, to)) = moved && *place == from {
                    *place = to;
                }
                prop_assert!(directory.names.contains_key(place), "nothing is at {place} after {call:?}");
            }
        }
    }
}
