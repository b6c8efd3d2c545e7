//! One store for a state directory, of a version that is known.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn what_was_changed_is_there_when_it_is_opened_again() {
    let mut fixture = Fixture::new();
    let (olga, bob) = (fixture.olga.clone(), Principal::Account(fixture.bob.id));
    let folder = fixture.folder(&olga, "tests");
    fixture.line(&folder, LineKind::Grant, bob, "", "view");
    let before = dump(&fixture.store);
    let fixture = fixture.reopened();
    assert_eq!(dump(&fixture.store), before);
    assert_eq!(fixture.store.folder(folder.id).unwrap(), Some(folder));
}

#[test]
fn nobody_else_can_read_the_state_directory() {
    let fixture = Fixture::new();
    let mode = |name: &str| {
        std::fs::metadata(fixture.dir.path().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("lendfs.db"), 0o600);
    assert_eq!(mode("lock"), 0o600);
    let inside = fixture.dir.path().join("made");
    drop(Store::open(&inside).unwrap());
    assert_eq!(
        std::fs::metadata(inside).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn a_second_store_on_the_same_directory_is_refused() {
    let fixture = Fixture::new();
    let error = Store::open(fixture.dir.path()).err().unwrap();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(fixture.dir.path().to_str().unwrap()) && text.contains("--state-dir"),
        "{text}"
    );
    let Fixture { store, dir, .. } = fixture;
    drop(store);
    assert!(Store::open(dir.path()).is_ok());
}

/// As `journal` leaves it: a later lendfs need not keep its database the way this one does.
fn newer_is_refused_and_left_alone(journal: &str) {
    let Fixture { store, dir, .. } = Fixture::new();
    store.db.pragma_update(None, "user_version", 7).unwrap();
    store.db.pragma_update(None, "journal_mode", journal).unwrap();
    drop(store);
    let file = dir.path().join("lendfs.db");
    let before = std::fs::read(&file).unwrap();
    let error = Store::open(dir.path()).err().unwrap();
    assert!(
        matches!(
            error,
            StoreError::Newer {
                found: 7,
                known: KNOWN_VERSION
            }
        ),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("version 7") && text.contains(&format!("knows up to {KNOWN_VERSION}")),
        "{text}"
    );
    assert!(std::fs::read(&file).unwrap() == before, "it was written to");
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    newer_is_refused_and_left_alone("WAL");
}

#[test]
fn a_database_of_a_newer_version_keeps_its_journal_mode() {
    newer_is_refused_and_left_alone("DELETE");
}

#[test]
fn the_known_version_is_that_of_the_migrations() {
    assert!(migrations().validate().is_ok());
    let fixture = Fixture::new();
    let version: i64 = fixture
        .store
        .db
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(usize::try_from(version).unwrap(), KNOWN_VERSION);
}

#[test]
fn what_the_first_version_wrote_is_read_as_it_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = Connection::open(dir.path().join("lendfs.db")).unwrap();
    migrations().to_version(&mut db, 1).unwrap();
    db.execute_batch(
        "INSERT INTO accounts (id, login, uid, gid) VALUES (1, 'olga', 4001, 4001);
         INSERT INTO folders (owner, name, inheritance) VALUES (1, 'tests', 'widen');
         INSERT INTO places (folder, path, kind) VALUES (1, x'', 'directory');",
    )
    .unwrap();
    drop(db);
    let store = Store::open(dir.path()).unwrap();
    let folder = &store.snapshot().unwrap().folders[&crate::policy::FolderId(1)];
    assert_eq!((folder.inheritance, folder.strict), (Inheritance::Widen, false));
    assert_eq!(folder.protection, crate::policy::Protection::default());
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lendfs.db");
    let content = "not a database, but somebody's letters\n".repeat(100);
    std::fs::write(&file, &content).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Damaged { .. })));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
}

#[test]
fn damage_is_found() {
    let fixture = Fixture::new();
    fixture.store.integrity().unwrap();
    // An index that lacks a row of its table.
    fixture
        .store
        .db
        .pragma_update(None, "writable_schema", true)
        .unwrap();
    fixture
        .store
        .db
        .execute("DELETE FROM sqlite_schema WHERE name = 'places_by_path'", [])
        .unwrap();
    let Fixture { store, dir, .. } = fixture;
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert!(store.integrity().is_err());
}
