//! Accounts and groups, and what goes with them.

use super::*;
use crate::policy::AccountKind;

#[test]
fn an_e_mail_address_belongs_to_one_account() {
    let mut fixture = Fixture::new();
    let (root, bob, cara) = (By::daemon(), fixture.bob.clone(), fixture.cara.clone());
    fixture.store.set_email(&root, &bob, "bob@example.com").unwrap();
    for taken in ["bob@example.com", "BOB@Example.com"] {
        let error = fixture.store.set_email(&root, &cara, taken).unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    }
    // One's own can be set again, in other letters.
    fixture.store.set_email(&root, &bob, "Bob@Example.com").unwrap();
    let found = fixture.store.account_by_email("BOB@EXAMPLE.COM").unwrap();
    assert_eq!(found.map(|account| account.id), Some(bob.id));
    fixture.store.set_email(&root, &bob, "").unwrap();
    fixture.store.set_email(&root, &cara, "bob@example.com").unwrap();
    for nonsense in [
        "bob",
        "@example.com",
        "bob@",
        "b ob@example.com",
        "bob@exa\nmple.com",
    ] {
        let error = fixture.store.set_email(&root, &bob, nonsense).unwrap_err();
        assert!(matches!(error, StoreError::Invalid(_)), "{nonsense:?}");
    }
}

#[test]
fn login_name_and_uid_are_pinned_together() {
    let mut fixture = Fixture::new();
    let bob = account(&mut fixture.store, "bob", 4002);
    assert_eq!(bob, fixture.bob);
    // The name belongs to another number.
    assert!(account(&mut fixture.store, "bob", 4902).frozen);
    // The pair fits again, but only root says so.
    assert!(account(&mut fixture.store, "bob", 4002).frozen);
    fixture
        .store
        .set_frozen(&By::daemon(), &bob, false, &user("bob", 4902))
        .unwrap();
    let confirmed = account(&mut fixture.store, "bob", 4902);
    assert_eq!(
        (confirmed.frozen, confirmed.uid, confirmed.id),
        (false, 4902, bob.id)
    );
}

#[test]
fn a_number_that_has_another_name_now_is_trusted_for_neither() {
    let mut fixture = Fixture::new();
    let heir = account(&mut fixture.store, "heir", 4002);
    assert!(heir.frozen && heir.id != fixture.bob.id);
    let bob = fixture.store.account(fixture.bob.id).unwrap().unwrap();
    assert!(bob.frozen);
}

#[test]
fn a_new_primary_group_is_no_reason_to_freeze() {
    let mut fixture = Fixture::new();
    let moved = OsUser {
        gid: 77,
        ..user("bob", 4002)
    };
    let bob = fixture.store.ensure_account(&moved).unwrap();
    assert_eq!((bob.gid, bob.frozen), (77, false));
    assert_eq!(fixture.store.account(bob.id).unwrap(), Some(bob));
}

#[test]
fn with_an_account_go_its_lines_invitations_and_memberships() {
    let mut fixture = Fixture::new();
    let (olga, bob, cara) = (fixture.olga.clone(), fixture.bob.clone(), fixture.cara.clone());
    let folder = fixture.folder(&olga, "tests");
    let principal = Principal::Account(bob.id);
    fixture.line(&folder, LineKind::Grant, principal, "", "view");
    fixture.line(&folder, LineKind::Rule, principal, "A", "edit");
    fixture.line(&folder, LineKind::Rule, principal, "B", "edit");
    fixture.line(&folder, LineKind::Rule, Principal::Account(cara.id), "B", "edit");
    fixture.group("staff", &[&bob, &cara]);
    let at = (&path("C"), &directory());
    fixture
        .store
        .invite(&by(&olga), folder.id, &bob, level("view"), at)
        .unwrap();
    fixture.store.record_mount(1, b"/somewhere", bob.id).unwrap();
    fixture.store.remove_account(&By::daemon(), &bob).unwrap();
    let left: Vec<_> = fixture.store.lines(folder.id).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].principal, Principal::Account(cara.id));
    assert_eq!(fixture.count("invitations"), 0);
    assert_eq!(fixture.count("members"), 1);
    assert_eq!(fixture.count("mounts"), 0);
    // The places that nobody has a line at went as well: the root, and B, are left.
    assert_eq!(fixture.count("places"), 2);
}

#[test]
fn an_account_that_owns_a_folder_is_not_removed() {
    let mut fixture = Fixture::new();
    let olga = fixture.olga.clone();
    let folder = fixture.folder(&olga, "tests");
    let error = fixture.store.remove_account(&By::daemon(), &olga).unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    assert!(error.to_string().contains("tests"), "{error}");
    fixture.store.delete_folder(&By::daemon(), &folder).unwrap();
    fixture.store.remove_account(&By::daemon(), &olga).unwrap();
}

#[test]
fn with_a_group_go_its_lines() {
    let mut fixture = Fixture::new();
    let (olga, bob) = (fixture.olga.clone(), fixture.bob.clone());
    let folder = fixture.folder(&olga, "tests");
    let staff = fixture.group("staff", &[&bob]);
    let others = fixture.group("others", &[&bob]);
    for group in [staff, others] {
        fixture.line(&folder, LineKind::Grant, group, "A", "view");
    }
    let Principal::Group(id) = staff else {
        unreachable!()
    };
    fixture.store.delete_group(&By::daemon(), id, "staff").unwrap();
    let left = fixture.store.lines(folder.id).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].principal, others);
    assert_eq!(fixture.count("members"), 1);
}

#[test]
fn with_a_folder_go_its_lines_and_places_and_a_managed_one_is_in_the_trash() {
    let mut fixture = Fixture::new();
    let (olga, bob) = (fixture.olga.clone(), fixture.bob.clone());
    let managed = fixture.folder(&olga, "tests");
    let adopted = NewFolder {
        adopted: Some((b"/data", None)),
        lender: Some("olga"),
        ..new_folder(&olga, "data")
    };
    let adopted = fixture.store.create_folder(&by(&olga), &adopted).unwrap();
    let adopted = fixture.store.folder(adopted).unwrap().unwrap();
    for folder in [&managed, &adopted] {
        fixture.line(folder, LineKind::Grant, Principal::Account(bob.id), "A", "view");
        fixture.store.delete_folder(&by(&olga), folder).unwrap();
    }
    for table in ["folders", "places", "lines", "inodes", "tops"] {
        assert_eq!(fixture.count(table), 0, "{table}");
    }
    assert_eq!(
        fixture.store.trash().unwrap(),
        [(managed.id, "olga".to_owned(), "tests".to_owned())]
    );
    // Its number is never given again: the trash has it.
    let next = fixture.folder(&olga, "next");
    assert!(next.id > adopted.id);
}

#[test]
fn foreign_keys_hold() {
    let fixture = Fixture::new();
    for orphan in [
        "INSERT INTO folders (owner, name, inheritance) VALUES (999, 'x', 'override')",
        "INSERT INTO places (folder, path, kind) VALUES (999, x'', 'directory')",
        "INSERT INTO members VALUES (999, 1)",
        "INSERT INTO hidden VALUES (1, 999)",
        "INSERT INTO mounts VALUES (1, x'', 999)",
    ] {
        let error = fixture.store.db.execute(orphan, []).unwrap_err().to_string();
        assert!(error.contains("FOREIGN KEY"), "{orphan}: {error}");
    }
    let found = fixture
        .store
        .db
        .prepare("PRAGMA foreign_key_check")
        .unwrap()
        .exists([]);
    assert!(!found.unwrap());
}

#[test]
fn a_system_group_has_the_members_it_was_given_last() {
    let mut fixture = Fixture::new();
    let (bob, cara) = (fixture.bob.id, fixture.cara.id);
    let id = fixture
        .store
        .create_group(&By::daemon(), GroupSource::Unix, "staff")
        .unwrap();
    assert!(fixture.store.sync_group(id, &[cara, bob]).unwrap());
    assert!(!fixture.store.sync_group(id, &[bob, cara, bob]).unwrap());
    assert!(fixture.store.sync_group(id, &[cara]).unwrap());
    let groups = fixture.store.groups(GroupSource::Unix).unwrap();
    assert_eq!(groups[0].members, ["cara"]);
    // One of lendfs of the same name is another.
    fixture.group("staff", &[]);
    assert_eq!(
        fixture.store.principal_name(Principal::Group(id)).unwrap(),
        "unix:staff"
    );
    assert_eq!(
        fixture.store.groups(GroupSource::Own).unwrap()[0].members,
        [""; 0]
    );
}

#[test]
fn what_an_account_may_be_is_kept() {
    let mut fixture = Fixture::new();
    let bob = fixture.bob.clone();
    fixture
        .store
        .set_kind(&By::daemon(), &bob, AccountKind::Viewer)
        .unwrap();
    let fixture = fixture.reopened();
    let bob = fixture.store.account_by_login("bob").unwrap().unwrap();
    assert_eq!(bob.kind, AccountKind::Viewer);
}
