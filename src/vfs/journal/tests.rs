//! What is written is read back, at whatever moment the writer stopped.

use std::os::fd::AsFd;
use std::sync::Arc;

use proptest::prelude::*;

use super::requests::{self, Progress, Records};
use super::*;
use crate::backing::{FileHandle, FileKind, KeptName, Lock, LockKind, Name};
use crate::policy::{FolderId, PlaceId};
use crate::vfs::ids::{Fh, Ino, LockOwner};
use crate::vfs::object::Object;

fn again(journal: &Arc<Journal>) -> Survived {
    let file = journal.as_fd().try_clone_to_owned().unwrap();
    Journal::open(file).unwrap().survived().unwrap()
}

fn object(number: u64, kind: FileKind) -> Object {
    Object::again(kind, number, 1, None, None)
}

fn node(journal: &Arc<Journal>, number: u64, place: Place<'_>) -> NodeSlot {
    let object = object(number, FileKind::Directory);
    let kept = Kept {
        ino: Ino::of(FolderId(3), number).unwrap(),
        folder: FolderId(3),
        object: &object,
        lookups: 1,
    };
    NodeSlot::new(journal, kept, place)
}

fn name_of(record: &NodeRecord) -> Option<(u32, Vec<u8>)> {
    match &record.position {
        PositionRecord::Under { parent, name } => Some((*parent, name.as_bytes().to_vec())),
        _ => None,
    }
}

#[test]
fn nodes_are_found_again_with_names_of_any_length_and_all_that_changed() {
    let journal = Arc::new(Journal::new().unwrap());
    let root = node(&journal, 1, Place::Root);
    let granted = node(&journal, 2, Place::Granted(PlaceId(9)));
    let names: Vec<Vec<u8>> = [1, 15, 16, 17, 40, 41, 64, 255]
        .map(|length| vec![b'n'; length])
        .into();
    let under: Vec<_> = (10..)
        .zip(&names)
        .map(|(number, name)| {
            let parent = root.index();
            node(&journal, number, Place::Under { parent, name })
        })
        .collect();
    under[0].looked_up();
    under[0].looked_up();
    under[0].forgotten(1);
    under[0].bypassed(2);
    let parent = granted.index();
    under[1].placed(Place::Under {
        parent,
        name: b"moved",
    });
    let handle = FileHandle::from_bytes(&[7; 20]).unwrap();
    let known = Object::again(FileKind::Directory, 12, 1, None, Some(handle.clone()));
    under[2].learned(FolderId(3), &known, 5);
    drop(root);
    let found = again(&journal);
    assert_eq!(found.nodes.len(), 9);
    let of = |number| found.nodes.iter().find(|record| record.number == number).unwrap();
    assert!(matches!(of(2).position, PositionRecord::Granted(PlaceId(9))));
    assert_eq!((of(10).lookups, of(10).bypassed), (2, 2));
    assert_eq!(name_of(of(11)), Some((parent, b"moved".to_vec())));
    assert_eq!((of(12).handle.as_ref(), of(12).cuts), (Some(&handle), 5));
    for (number, name) in (10..).zip(&names).filter(|(number, _)| *number != 11) {
        assert_eq!(name_of(of(number)).unwrap().1, *name);
    }
    drop((under, granted));
    assert_eq!(journal.used(), 0, "all is given back");
}

#[test]
fn what_is_open_and_locked_is_found_again() {
    let journal = Arc::new(Journal::new().unwrap());
    let node = node(&journal, 1, Place::Root);
    let file = FileSlot::new(&node, Fh(7), libc::O_RDWR, true, RouteRecord::Kernel, 4, 2);
    let locker = LockerSlot::new(&file, LockOwner(5));
    let directory = DirectorySlot::new(&journal, Some(&node), Fh(8), true);
    let listing: Vec<u8> = (0..10_000).map(|byte| byte as u8).collect();
    directory.listed(b"before");
    directory.listed(&listing);
    let mut locks = LockSlots::new(&node, LockOwner(5));
    let lock = |kind, start, end| Lock { kind, start, end };
    locks.hold(&[lock(LockKind::Read, 0, 9)]);
    let held = [lock(LockKind::Write, 0, 3), lock(LockKind::Read, 4, u64::MAX)];
    locks.hold(&held);
    let found = again(&journal);
    let file_found = &found.files[0];
    assert_eq!(
        (
            file_found.fh,
            file_found.node,
            file_found.backing,
            file_found.cuts
        ),
        (Fh(7), node.index(), 4, 2)
    );
    assert_eq!(
        (file_found.flags, file_found.writable, file_found.route),
        (libc::O_RDWR, true, RouteRecord::Kernel)
    );
    assert_eq!(found.lockers, [(Fh(7), LockOwner(5))]);
    assert_eq!((found.directories[0].fh, found.last_handle), (Fh(8), 8));
    assert_eq!(found.directories[0].listing, listing);
    let mut locks_found: Vec<_> = found.locks.iter().map(|record| record.lock).collect();
    locks_found.sort_by_key(|lock| lock.start);
    assert_eq!(locks_found, held);
    drop((locker, file, directory, locks, node));
    assert_eq!(journal.used(), 0);
}

#[test]
fn requests_are_found_as_far_as_they_had_come() {
    let journal = Arc::new(Journal::new().unwrap());
    let records = Arc::new(Records::new(&journal));
    let each: Vec<_> = (0..4).map(|_| records.take()).collect();
    requests::begin(each[0].as_ref(), 10);
    requests::begin(each[1].as_ref(), 12);
    requests::reach(Some((77, None)), 3);
    requests::opened(9);
    requests::begin(each[2].as_ref(), 14);
    requests::answer(5);
    requests::end(0);
    requests::begin(each[3].as_ref(), 16);
    requests::end(libc::EEXIST);
    let former = journal.former_requests();
    assert_eq!(former[&10].progress, Progress::Begun);
    let Progress::Reached { inode, value, time } = former[&12].progress else {
        panic!("{former:?}");
    };
    assert_eq!((inode, value, former[&12].handle), ((77, 0), 3, 9));
    assert!(time.is_some());
    assert_eq!(former[&14].progress, Progress::Done { errno: 0, value: 5 });
    let refused = Progress::Done {
        errno: libc::EEXIST,
        value: 0,
    };
    assert_eq!(former[&16].progress, refused);
    // The next daemon is killed as well, while it is asked again what the first had come to.
    let next = Arc::new(Records::new(&journal));
    let record = next.take();
    requests::begin(record.as_ref(), 12 | 1 << 63);
    let before = former[&12];
    requests::redoes(&before);
    assert!(matches!(
        journal.former_requests()[&12].progress,
        Progress::Reached { .. }
    ));
    requests::end(0);
    assert!(matches!(
        journal.former_requests()[&12].progress,
        Progress::Done { .. }
    ));
    assert_eq!(requests::resent(12), None);
    assert_eq!(requests::resent(12 | 1 << 63), Some(12));
}

#[test]
fn one_of_another_form_is_not_read_and_tells_what_it_is_all_the_same() {
    let journal = Journal::new().unwrap();
    let charter: Charter = serde_json::from_value(serde_json::json!({
        "mount": 1, "device": [0, 44], "number": 3, "account": 2, "login": "bob", "subject_ids": [1000, 1000],
        "what a later version adds": true,
    }))
    .unwrap();
    journal.charter(&charter).unwrap();
    journal.header(word::FORMAT).store(FORMAT + 1, Ordering::Release);
    let file = journal.as_fd().try_clone_to_owned().unwrap();
    assert_eq!(Charter::of(&file).unwrap(), charter);
    let refused = Journal::open(file).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn what_ledgers_know_is_found_again() {
    use crate::policy::{Did, Inode, Known, Made, Process, Spot};
    let journal = Arc::new(Journal::new().unwrap());
    let inode = Inode {
        folder: FolderId(3),
        number: 5,
        birth: 7,
    };
    let spot = Spot {
        directory: inode,
        name: [b'n'; 255].into(),
    };
    let by = Process {
        id: 1,
        started: 2,
        mount: 3,
    };
    let made = Did::Make(Made {
        exclusively: true,
        new_file: false,
    });
    let aside = |anew| Did::StepAside {
        left: spot.clone(),
        moved_on: false,
        last: true,
        anew,
    };
    let entries = [made, aside(None), aside(Some(inode))].map(|what| Known {
        spot: spot.clone(),
        inode,
        by,
        what,
        turn: 4,
    });
    let slots = entries.each_ref().map(|known| LedgerSlot::new(&journal, known));
    let found = again(&journal).ledger;
    let found: Vec<_> = found.into_iter().map(|(_, known)| known).collect();
    assert_eq!(found, entries);
    drop(slots);
    assert_eq!(journal.used(), 0);
}

fn any_word() -> impl Strategy<Value = u64> {
    // Kinds, small numbers and links of small numbers are what it is made of.
    let small = 0..24u64;
    prop_oneof![
        any::<u64>(),
        small.clone(),
        (small.clone(), small.clone(), small)
            .prop_map(|(kind, middle, link)| kind | middle << 8 | link << 32),
    ]
}

proptest! {
    #[test]
    fn no_content_makes_the_reader_fall(
        words in proptest::collection::vec(any_word(), 0..96),
        used in 0..24u16,
    ) {
        let words = words.iter().flat_map(|word| word.to_le_bytes());
        read_any(&used.to_le_bytes().into_iter().chain(words).collect::<Vec<_>>());
    }

    /// A writer that is killed leaves what was before its change or after it, and nothing of what it had begun.
    #[test]
    fn names_change_at_once(names in proptest::collection::vec("[a-z]{1,60}", 1..8)) {
        let journal = Arc::new(Journal::new().unwrap());
        let root = node(&journal, 1, Place::Root);
        let parent = root.index();
        let moving = node(&journal, 2, Place::Under { parent, name: names[0].as_bytes() });
        for name in &names {
            moving.placed(Place::Under { parent, name: name.as_bytes() });
            let found = again(&journal);
            let record = found.nodes.iter().find(|record| record.number == 2).unwrap();
            let kept: KeptName = (&Name::new(name).unwrap()).into();
            prop_assert_eq!(name_of(record), Some((parent, kept.as_bytes().to_vec())));
        }
        let long = names[names.len() - 1].len();
        let slots = 4 + long.saturating_sub(16).div_ceil(24);
        prop_assert_eq!(journal.used(), slots);
    }
}
