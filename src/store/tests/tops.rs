//! The names in top directories: unique, and stable.

use super::*;

fn tops(fixture: &mut Fixture) -> Vec<String> {
    let snapshot = fixture.store.snapshot().unwrap();
    let tops = fixture.store.load_tops(&snapshot, fixture.bob.id).unwrap();
    tops.iter()
        .map(|entry| String::from_utf8(entry.name.to_vec()).unwrap())
        .collect()
}

fn folder_named(fixture: &Fixture, name: &str) -> Option<FolderId> {
    let entry = fixture.store.top_named(fixture.bob.id, name.as_bytes()).unwrap();
    entry.map(|entry| entry.folder)
}

/// Olga's and Cara's folders of one name, in this order, shared with Bob.
fn two() -> (Fixture, FolderRow, FolderRow) {
    let mut fixture = Fixture::new();
    let (olga, cara) = (fixture.olga.clone(), fixture.cara.clone());
    let first = fixture.folder(&olga, "tests");
    share(&mut fixture, &first, "");
    assert_eq!(tops(&mut fixture), ["tests"]);
    let second = fixture.folder(&cara, "tests");
    share(&mut fixture, &second, "");
    assert_eq!(tops(&mut fixture), ["tests", "tests (cara)"]);
    (fixture, first, second)
}

fn share(fixture: &mut Fixture, folder: &FolderRow, at: &str) {
    let bob = Principal::Account(fixture.bob.id);
    fixture.line(folder, LineKind::Grant, bob, at, "view");
}

#[test]
fn who_comes_later_gives_way_and_names_stay_over_a_restart() {
    let (fixture, first, second) = two();
    let mut fixture = fixture.reopened();
    assert_eq!(tops(&mut fixture), ["tests", "tests (cara)"]);
    assert_eq!(folder_named(&fixture, "tests"), Some(first.id));
    assert_eq!(folder_named(&fixture, "tests (cara)"), Some(second.id));
}

#[test]
fn a_folder_with_a_smaller_number_that_comes_later_gives_way_too() {
    let mut fixture = Fixture::new();
    let (olga, cara) = (fixture.olga.clone(), fixture.cara.clone());
    let early = fixture.folder(&olga, "tests");
    let late = fixture.folder(&cara, "tests");
    share(&mut fixture, &late, "");
    assert_eq!(tops(&mut fixture), ["tests"]);
    share(&mut fixture, &early, "");
    assert_eq!(tops(&mut fixture), ["tests", "tests (olga)"]);
    assert_eq!(folder_named(&fixture, "tests"), Some(late.id));
}

#[test]
fn who_gave_way_keeps_that_name_when_the_other_is_gone() {
    let (mut fixture, first, second) = two();
    fixture.store.delete_folder(&By::daemon(), &first).unwrap();
    assert_eq!(tops(&mut fixture), ["tests (cara)"]);
    assert_eq!(folder_named(&fixture, "tests (cara)"), Some(second.id));
}

#[test]
fn a_folder_that_is_renamed_into_a_name_comes_later() {
    let mut fixture = Fixture::new();
    let (olga, cara) = (fixture.olga.clone(), fixture.cara.clone());
    let renamed = fixture.folder(&olga, "a");
    let there = fixture.folder(&cara, "tests");
    share(&mut fixture, &renamed, "");
    share(&mut fixture, &there, "");
    assert_eq!(tops(&mut fixture), ["a", "tests"]);
    fixture
        .store
        .rename_folder(&By::daemon(), &renamed, "tests")
        .unwrap();
    assert_eq!(tops(&mut fixture), ["tests", "tests (olga)"]);
    assert_eq!(folder_named(&fixture, "tests"), Some(there.id));
}

#[test]
fn a_name_of_one_s_own_choice_outlives_the_folder_s_renaming() {
    let mut fixture = Fixture::new();
    let (olga, bob) = (fixture.olga.clone(), fixture.bob.clone());
    let folder = fixture.folder(&olga, "tests");
    let at = (&PlacePath::root(), &directory());
    fixture
        .store
        .invite(&by(&olga), folder.id, &bob, level("view"), at)
        .unwrap();
    let invitation = fixture
        .store
        .pending(folder.id, &PlacePath::root(), bob.id)
        .unwrap()
        .unwrap();
    fixture
        .store
        .accept(&by(&bob), &invitation, Some("mine"))
        .unwrap();
    fixture
        .store
        .rename_folder(&by(&olga), &folder, "trials")
        .unwrap();
    assert_eq!(tops(&mut fixture), ["mine"]);
}

#[test]
fn three_of_one_name_and_one_owner_are_numbered() {
    let mut fixture = Fixture::new();
    let olga = fixture.olga.clone();
    let folder = fixture.folder(&olga, "tests");
    for at in ["a/x", "b/x", "c/x", "d/x"] {
        share(&mut fixture, &folder, at);
    }
    assert_eq!(tops(&mut fixture), ["x", "x (olga)", "x (olga) 2", "x (olga) 3"]);
}

#[test]
fn of_nested_grants_the_outermost_shows() {
    let mut fixture = Fixture::new();
    let olga = fixture.olga.clone();
    let folder = fixture.folder(&olga, "tests");
    for at in ["a/b", "a/b/c", "a/bb"] {
        share(&mut fixture, &folder, at);
    }
    assert_eq!(tops(&mut fixture), ["b", "bb"]);
    share(&mut fixture, &folder, "");
    assert_eq!(tops(&mut fixture), ["tests"]);
}

#[test]
fn a_name_never_exceeds_what_a_directory_entry_may_have() {
    let mut fixture = Fixture::new();
    let (olga, cara) = (fixture.olga.clone(), fixture.cara.clone());
    let name = "x".repeat(255);
    for owner in [&olga, &cara] {
        let folder = fixture.folder(owner, &name);
        share(&mut fixture, &folder, "");
    }
    let tops = tops(&mut fixture);
    assert_eq!(tops.len(), 2);
    assert!(tops.iter().all(|name| name.len() <= 255), "{tops:?}");
    assert!(tops.iter().any(|name| name.ends_with(" (cara)")), "{tops:?}");
}
