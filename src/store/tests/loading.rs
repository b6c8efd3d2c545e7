//! What is loaded piece by piece, as the daemon does it, equals what is loaded whole.

use proptest::prelude::*;

use super::*;
use crate::policy::{AccountKind, PlaceChange, Protection, Snapshot};

const PATHS: [&str; 5] = ["", "A", "A/B", "A/B/c", "D"];
const LEVELS: [&str; 4] = ["invisible", "view", "edit", "online-edit"];
const NAMES: [&str; 3] = ["tests", "trials", "docs"];
const GROUPS: [&str; 2] = ["g1", "g2"];

#[derive(Clone, Debug)]
enum Change {
    Create {
        owner: usize,
        name: usize,
    },
    Rename {
        folder: usize,
        name: usize,
    },
    Transfer {
        folder: usize,
        to: usize,
    },
    Delete {
        folder: usize,
    },
    Widen {
        folder: usize,
    },
    Strict {
        folder: usize,
    },
    Set {
        folder: usize,
        rule: bool,
        principal: usize,
        at: usize,
        level: usize,
    },
    Remove {
        folder: usize,
        rule: bool,
        principal: usize,
        at: usize,
    },
    Move {
        folder: usize,
        at: usize,
        change: usize,
    },
    Member {
        group: usize,
        account: usize,
        member: bool,
    },
    DeleteGroup {
        group: usize,
    },
    Viewer {
        account: usize,
    },
    RemoveAccount {
        account: usize,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let small = 0..5_usize;
    let folder = 0..4_usize;
    prop_oneof![
        3 => (small.clone(), small.clone()).prop_map(|(owner, name)| Change::Create { owner, name }),
        1 => (folder.clone(), small.clone()).prop_map(|(folder, name)| Change::Rename { folder, name }),
        1 => (folder.clone(), small.clone()).prop_map(|(folder, to)| Change::Transfer { folder, to }),
        1 => folder.clone().prop_map(|folder| Change::Delete { folder }),
        1 => folder.clone().prop_map(|folder| Change::Widen { folder }),
        1 => folder.clone().prop_map(|folder| Change::Strict { folder }),
        8 => (folder.clone(), any::<bool>(), small.clone(), small.clone(), small.clone())
            .prop_map(|(folder, rule, principal, at, level)| Change::Set { folder, rule, principal, at, level }),
        2 => (folder.clone(), any::<bool>(), small.clone(), small.clone())
            .prop_map(|(folder, rule, principal, at)| Change::Remove { folder, rule, principal, at }),
        2 => (folder, small.clone(), small.clone())
            .prop_map(|(folder, at, change)| Change::Move { folder, at, change }),
        4 => (small.clone(), small.clone(), any::<bool>())
            .prop_map(|(group, account, member)| Change::Member { group, account, member }),
        1 => small.clone().prop_map(|group| Change::DeleteGroup { group }),
        1 => small.clone().prop_map(|account| Change::Viewer { account }),
        1 => small.prop_map(|account| Change::RemoveAccount { account }),
    ]
}

/// The n-th of what is there, round and round.
fn pick<T: Clone>(of: &[T], number: usize) -> Option<T> {
    (!of.is_empty()).then(|| of[number % of.len()].clone())
}

struct Model {
    fixture: Fixture,
    snapshot: Snapshot,
}

impl Model {
    fn account(&self, number: usize) -> AccountRow {
        let accounts = self.fixture.store.accounts().unwrap();
        pick(&accounts, number).unwrap()
    }

    fn principal(&self, number: usize) -> Principal {
        let own = self.fixture.store.groups(GroupSource::Own).unwrap();
        match pick(&own, number) {
            Some(group) if number % 2 == 1 => Principal::Group(group.id),
            _ => Principal::Account(self.account(number).id),
        }
    }

    /// Makes a change as the daemon does: the store's word first, then what it touched is loaded again.
    fn apply(&mut self, change: &Change) -> Result<()> {
        let folders = self.fixture.store.folders()?;
        let folder = |number| pick(&folders, number).ok_or_else(|| StoreError::NotFound("a folder".into()));
        let by = By::daemon();
        let kind = |rule| if rule { LineKind::Rule } else { LineKind::Grant };
        let store = &self.fixture.store;
        let groups = store.groups(GroupSource::Own)?;
        let group = |number: usize| groups.iter().find(|group| group.name == GROUPS[number % 2]);
        let touched = match *change {
            Change::Create { owner, name } => {
                let owner = self.account(owner);
                let new = new_folder(&owner, NAMES[name % 3]);
                self.fixture.store.create_folder(&by, &new)?
            }
            Change::Rename { folder: number, name } => {
                let folder = folder(number)?;
                self.fixture.store.rename_folder(&by, &folder, NAMES[name % 3])?;
                folder.id
            }
            Change::Transfer { folder: number, to } => {
                let (folder, to) = (folder(number)?, self.account(to));
                self.fixture.store.transfer_folder(&by, &folder, &to)?;
                folder.id
            }
            Change::Delete { folder: number } => {
                let folder = folder(number)?;
                self.fixture.store.delete_folder(&by, &folder)?;
                folder.id
            }
            Change::Widen { folder: number } => {
                let folder = folder(number)?;
                self.fixture
                    .store
                    .set_inheritance(&by, &folder, Inheritance::Widen)?;
                folder.id
            }
            Change::Strict { folder: number } => {
                let folder = folder(number)?;
                self.fixture.store.set_strict(&by, &folder, !folder.strict)?;
                let protection = Protection {
                    own_files_removable: !folder.strict,
                    replace_by_unlink: folder.strict,
                    ..folder.protection.clone()
                };
                let what = serde_json::Value::Null;
                self.fixture
                    .store
                    .set_protection(&by, &folder, &protection, what)?;
                let again = self.fixture.store.folder(folder.id)?.unwrap();
                assert_eq!((again.strict, again.protection), (!folder.strict, protection));
                folder.id
            }
            Change::Set {
                folder: number,
                rule,
                principal,
                at,
                level,
            } => {
                let (folder, principal) = (folder(number)?, self.principal(principal));
                let anchor = Anchor {
                    kind: if at == 3 {
                        PlaceKind::File
                    } else {
                        PlaceKind::Directory
                    },
                    handle: Some(vec![at as u8]),
                };
                let (place, level) = (path(PATHS[at]), self::level(LEVELS[level % 4]));
                let at = (&place, &anchor);
                self.fixture
                    .store
                    .set_line(&by, folder.id, kind(rule), principal, level, at)?;
                folder.id
            }
            Change::Remove {
                folder: number,
                rule,
                principal,
                at,
            } => {
                let (folder, principal) = (folder(number)?, self.principal(principal));
                let place = path(PATHS[at]);
                self.fixture
                    .store
                    .remove_line(&by, folder.id, kind(rule), principal, &place)?;
                folder.id
            }
            Change::Move {
                folder: number,
                at,
                change,
            } => {
                let folder = folder(number)?;
                let place = self.snapshot.folders[&folder.id].places.find(&path(PATHS[at]));
                let place = place.filter(|place| !place.path.is_root()).map(|place| place.id);
                let place = place.ok_or_else(|| StoreError::NotFound("a place".into()))?;
                let change = match change % 3 {
                    0 => PlaceChange::Gone,
                    1 => PlaceChange::Observed((&[77_u8][..]).into()),
                    _ => PlaceChange::Moved(path(&format!("moved-{}", place.0))),
                };
                self.fixture.store.change_place(place, &change)?;
                // The file system applies it itself, without the store.
                let policy = self.snapshot.folders[&folder.id].with_changes(&[(place, change)]);
                self.snapshot.folders.insert(folder.id, policy.into());
                return Ok(());
            }
            Change::Member {
                group: number,
                account,
                member,
            } => {
                let name = GROUPS[number % 2];
                let id = match group(number) {
                    Some(group) => group.id,
                    None => self.fixture.store.create_group(&by, GroupSource::Own, name)?,
                };
                let account = self.account(account);
                self.fixture.store.set_member(&by, id, name, &account, member)?;
                return self.fixture.store.load_people(&mut self.snapshot);
            }
            Change::DeleteGroup { group: number } => {
                let id = group(number).map(|group| group.id);
                let id = id.ok_or_else(|| StoreError::NotFound("a group".into()))?;
                self.fixture.store.delete_group(&by, id, GROUPS[number % 2])?;
                self.snapshot = self.fixture.store.snapshot()?;
                return Ok(());
            }
            Change::Viewer { account } => {
                let account = self.account(account);
                self.fixture.store.set_kind(&by, &account, AccountKind::Viewer)?;
                return self.fixture.store.load_people(&mut self.snapshot);
            }
            Change::RemoveAccount { account } => {
                let account = self.account(account);
                if self.fixture.store.accounts()?.len() == 1 {
                    return Ok(());
                }
                self.fixture.store.remove_account(&by, &account)?;
                self.snapshot = self.fixture.store.snapshot()?;
                return Ok(());
            }
        };
        self.fixture.store.load_folder(&mut self.snapshot, touched)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_loaded_piece_by_piece_equals_what_is_loaded_whole(
        changes in proptest::collection::vec(change(), 1..40),
    ) {
        let fixture = Fixture::new();
        // Durability is tested elsewhere, and many changes are made here.
        fixture.store.db.pragma_update(None, "synchronous", "OFF").unwrap();
        let snapshot = fixture.store.snapshot().unwrap();
        let mut model = Model { fixture, snapshot };
        for change in &changes {
            match model.apply(change) {
                Ok(()) | Err(StoreError::NotFound(_) | StoreError::Conflict(_)) => {}
                Err(error) => return Err(TestCaseError::fail(format!("{change:?}: {error}"))),
            }
            let whole = model.fixture.store.snapshot().unwrap();
            prop_assert_eq!(&model.snapshot, &whole, "after {:?}", change);
            for account in model.fixture.store.accounts().unwrap() {
                let tops = model.fixture.store.load_tops(&model.snapshot, account.id).unwrap();
                let again = model.fixture.store.load_tops(&whole, account.id).unwrap();
                prop_assert_eq!(&tops, &again);
                let mut names: Vec<_> = tops.iter().map(|entry| &entry.name).collect();
                names.dedup();
                prop_assert_eq!(names.len(), tops.len(), "names are sorted and unique");
            }
        }
    }
}
